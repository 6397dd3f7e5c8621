// Drives WebKit as playwright drives other browsers: the part of playwright that our tests use,
// over WebDriver. playwright itself only drives a WebKit of its own make.
//
// The browser is WebKitGTK's, with Debian's webkit2gtk-driver. It has no headless mode, so Xvfb is its
// display.

import { spawn } from "node:child_process";

// Keys that have no character, as WebDriver writes them.
const KEYS = {
  Control: "\ue009", Backspace: "\ue003", Tab: "\ue004", Enter: "\ue007", Escape: "\ue00c", PageUp: "\ue00e", PageDown: "\ue00f",
  End: "\ue010", Home: "\ue011", ArrowLeft: "\ue012", ArrowUp: "\ue013", ArrowRight: "\ue014", ArrowDown: "\ue015",
};
// Waiting ends after so many milliseconds.
const PATIENCE = 30_000;

const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

export async function until(isTrue, what) {
  for (const start = Date.now(); !(await isTrue()); await pause(10)) {
    if (Date.now() - start > PATIENCE) throw new Error(`this took too long: ${what}`);
  }
}

// Starts Xvfb, and returns it with the display that it chose.
async function display() {
  const xvfb = spawn("Xvfb", ["-displayfd", "1", "-screen", "0", "1600x1200x24", "-nolisten", "tcp"], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  let number = "";
  for await (const bytes of xvfb.stdout.iterator({ destroyOnReturn: false })) {
    number += bytes;
    if (number.endsWith("\n")) return [xvfb, `:${number.trim()}`];
  }
  throw new Error("Xvfb does not start");
}

// Runs in the page: the elements of a selector. `a >> b` is b within a, and `text=b` what says b.
const FIND = `(selector) => selector.split(" >> ").reduce((roots, part) => {
  const text = /^text=(.*)/.exec(part)?.[1].toLowerCase();
  const says = (element) => element.textContent.toLowerCase().includes(text);
  const found = (root) => {
    if (text === undefined) return [...root.querySelectorAll(part)];
    const all = [root, ...root.querySelectorAll("*")].filter((element) => element.matches?.("body, body *") && says(element));
    return all.filter((element) => ![...element.children].some(says));
  };
  return roots.flatMap(found);
}, [document])`;

// Runs in the page: remembers what went wrong.
const WATCH = `() => {
  window.problems = [];
  addEventListener("error", (event) => problems.push(event.message));
  addEventListener("unhandledrejection", (event) => problems.push(String(event.reason)));
  addEventListener("securitypolicyviolation", (event) => problems.push(event.violatedDirective));
}`;

class Page {
  constructor(call) {
    this.call = call;
    this.keyboard = {
      press: (keys) => this.press(keys.split(/(?<=.)\+/).map((key) => KEYS[key] ?? key)),
      type: (text) => this.keys(...text),
    };
    this.mouse = {
      move: (x, y) => this.pointer([this.moveTo(x, y)]),
      down: () => this.pointer([{ type: "pointerDown", button: 0 }]),
      up: () => this.pointer([{ type: "pointerUp", button: 0 }]),
      click: (x, y) => this.pointer([this.moveTo(x, y), { type: "pointerDown", button: 0 }, { type: "pointerUp", button: 0 }]),
      wheel: (deltaX, deltaY) => this.wheel(deltaX, deltaY),
    };
  }

  // Playwright calls back once something happens; the page remembers its problems instead.
  on() {}

  async goto(url) {
    await this.call("POST", "/url", { url: String(url) });
    await this.evaluate(WATCH);
  }

  async reload() {
    await this.call("POST", "/refresh", {});
    await this.evaluate(WATCH);
  }

  goBack() {
    return this.call("POST", "/back", {});
  }

  goForward() {
    return this.call("POST", "/forward", {});
  }

  problems() {
    return this.evaluate("() => window.problems");
  }

  // There is one window for all pages.
  async close() {}

  title() {
    return this.call("GET", "/title");
  }

  screenshot() {
    return this.call("GET", "/screenshot").then((text) => Buffer.from(text, "base64"));
  }

  async evaluate(act, given) {
    const script = `const done = arguments[arguments.length - 1];
      (async () => (${act})(arguments[0]))().then((value) => done([value]), (error) => done([null, String(error)]));`;
    const [value, error] = await this.call("POST", "/execute/async", { script, args: [given ?? null] });
    if (error) throw new Error(error);
    return value;
  }

  // Calls a function with all elements of a selector, and with `given`.
  $$eval(selector, act, given) {
    return this.evaluate(`([selector, given]) => (${act})((${FIND})(selector), given)`, [selector, given ?? null]);
  }

  async $$(selector) {
    return Array(await this.$$eval(selector, (found) => found.length)).fill(null);
  }

  async $eval(selector, act, given) {
    await this.waitForSelector(selector);
    return this.$$eval(selector, `([first], given) => (${act})(first, given)`, given);
  }

  waitForFunction(isTrue, given) {
    return until(() => this.evaluate(isTrue, given), isTrue);
  }

  waitForSelector(selector) {
    return until(() => this.$$eval(selector, (found) => found.length > 0), selector);
  }

  getAttribute(selector, name) {
    return this.$eval(selector, (element, name) => element.getAttribute(name), name);
  }

  textContent(selector) {
    return this.$eval(selector, (element) => element.textContent);
  }

  inputValue(selector) {
    return this.$eval(selector, (element) => element.value);
  }

  isVisible(selector) {
    return this.$$eval(selector, ([first]) => Boolean(first?.checkVisibility() && first.getClientRects().length));
  }

  locator(selector) {
    const boundingBox = () => this.$eval(selector, (element) => element.getBoundingClientRect().toJSON());
    const dispatchEvent = (name) =>
      this.$eval(selector, (element, name) => element.dispatchEvent(new Event(name, { bubbles: true })), name);
    return { boundingBox, dispatchEvent };
  }

  async click(selector) {
    await until(() => this.isVisible(selector), selector);
    const box = await this.$eval(selector, (element) => {
      element.scrollIntoView({ block: "nearest" });
      return element.getBoundingClientRect().toJSON();
    });
    await this.mouse.click(box.x + box.width / 2, box.y + box.height / 2);
  }

  async check(selector) {
    await this.click(selector);
    if (!(await this.$eval(selector, (element) => element.checked))) throw new Error(`${selector} is not checked`);
  }

  fill(selector, text) {
    return this.$eval(selector, (element, text) => {
      element.focus();
      element.value = text;
      element.dispatchEvent(new Event("input", { bubbles: true }));
    }, text);
  }

  selectOption(selector, value) {
    return this.$eval(selector, (element, value) => {
      element.value = value;
      element.dispatchEvent(new Event("change", { bubbles: true }));
    }, value);
  }

  // Sets the size of the page, not that of the window around it.
  async setViewportSize({ width, height }) {
    const size = () => this.evaluate("() => [innerWidth, innerHeight]");
    const [outer, [x, y]] = [await this.call("GET", "/window/rect"), await size()];
    await this.call("POST", "/window/rect", { width: outer.width + width - x, height: outer.height + height - y });
    await until(async () => String(await size()) === `${width},${height}`, "resizing");
  }

  act(source) {
    return this.call("POST", "/actions", { actions: [source] });
  }

  keys(...keys) {
    const actions = keys.flatMap((value) => [{ type: "keyDown", value }, { type: "keyUp", value }]);
    return this.act({ type: "key", id: "keys", actions });
  }

  // Presses keys together.
  press(keys) {
    const down = keys.map((value) => ({ type: "keyDown", value }));
    const up = keys.map((value) => ({ type: "keyUp", value }));
    return this.act({ type: "key", id: "keys", actions: [...down, ...up.reverse()] });
  }

  moveTo(x, y) {
    this.at = { x: Math.round(x), y: Math.round(y) };
    return { type: "pointerMove", duration: 0, origin: "viewport", ...this.at };
  }

  pointer(actions) {
    return this.act({ type: "pointer", id: "mouse", parameters: { pointerType: "mouse" }, actions });
  }

  wheel(deltaX, deltaY) {
    const scroll = { type: "scroll", duration: 0, origin: "viewport", deltaX, deltaY, ...this.at };
    return this.act({ type: "wheel", id: "wheel", actions: [scroll] });
  }
}

// Starts WebKit with the driver at `program`. Files are saved in `home`.
export async function launchWebKit(program, home) {
  const [xvfb, name] = await display();
  const address = `http://127.0.0.1:${4000 + (process.pid % 20_000)}`;
  const driver = spawn(program, [`--port=${new URL(address).port}`, "--host=127.0.0.1"], {
    stdio: ["ignore", "ignore", "ignore"],
    env: { ...process.env, HOME: home, DISPLAY: name, GDK_BACKEND: "x11" },
  });
  const call = async (method, path, body) => {
    const answer = await fetch(address + path, { method, body: body && JSON.stringify(body) });
    const { value } = await answer.json();
    if (value?.error) throw new Error(`${value.error}: ${value.message}`);
    return value;
  };
  await until(() => call("GET", "/status").then(() => true, () => false), "WebKitWebDriver does not start");
  const { sessionId } = await call("POST", "/session", { capabilities: {} });
  const inSession = (method, path, body) => call(method, `/session/${sessionId}${path}`, body);
  return {
    // All pages are one after the other in one window.
    async newPage({ viewport }) {
      const page = new Page(inSession);
      await page.setViewportSize(viewport);
      return page;
    },
    async close() {
      await inSession("DELETE", "").catch(() => {});
      driver.kill();
      xvfb.kill();
    },
  };
}
