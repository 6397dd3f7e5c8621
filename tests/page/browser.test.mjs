// The page in a real browser: every control by mouse and by keyboard.
//
// tests/it/page.rs makes the pages with fg-render and names in the environment where they are
// (PAGES), where playwright-core is (PLAYWRIGHT) and which browser to start (BROWSER).

import assert from "node:assert/strict";
import { basename } from "node:path";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";

import { downloaded, isChromium, launch, watched } from "./launch.mjs";

const { PAGES, BROWSER } = process.env;
// What browsers do alike, or their drivers cannot do, is only tested in Chromium.
const IN_CHROMIUM = { skip: !isChromium };

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

// Opens a page. Whatever goes wrong in it fails the test.
async function open(context, name, { hash = "", ...options } = {}) {
  const { page, close } = await watched(browser, {
    viewport: { width: 1000, height: 700 },
    reducedMotion: "reduce",
    ...options,
  });
  context.after(async () => assert.deepEqual(await close(), []));
  await page.goto(pathToFileURL(`${PAGES}/${name}.html`) + hash);
  await page.waitForFunction(() => !document.getElementById("wait"));
  await settled(page);
  return page;
}

// Until what was asked for is drawn.
const settled = (page) => page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
const press = async (page, ...keys) => {
  for (const key of keys) await page.keyboard.press(key);
  await settled(page);
};
const selected = (page) => page.getAttribute('#outline [aria-selected="true"]', "aria-label");
const path = (page) => page.$$eval("#path button", (steps) => steps.map((step) => step.textContent));
const hash = (page) => page.evaluate(() => decodeURIComponent(location.hash));
const text = (page, selector) => page.textContent(selector);
const current = (page) => text(page, "#views [aria-current]");
// Where a row of the flame graph is, from below: the roots are row 0.
const row = async (page, number, part = 0.1) => {
  const box = await page.locator("canvas").boundingBox();
  return [box.x + box.width * part, box.y + box.height - number * 20 - 10];
};

test("it opens with the roots below, and says what it shows", async (context) => {
  const page = await open(context, "profile");
  assert.equal(await page.title(), "Flame graph");
  assert.equal(await text(page, "#summary"), "100 ms · 5 stacks");
  await page.mouse.move(...(await row(page, 0)));
  assert.match(await text(page, "#tip"), /all · 100 ms/);
  await page.mouse.move(...(await row(page, 1)));
  const tip = await text(page, "#tip");
  assert.match(tip, /^main/);
  assert.match(tip, /Total90.0 ms90.0 % of all/);
  assert.match(tip, /Self0 s0 % of all/);
});

test("the line under the title is shown whole by a click", IN_CHROMIUM, async (context) => {
  const page = await open(context, "chart", { viewport: { width: 250, height: 700 } });
  const isCut = () => page.$eval("#summary", (line) => line.scrollWidth > line.clientWidth);
  assert.ok(await isCut());
  await page.click("#summary");
  assert.ok(!(await isCut()));
  await press(page, "Enter");
  assert.ok(await isCut());
});

test("clicks zoom, and the browser goes back and forward", async (context) => {
  const page = await open(context, "profile");
  await page.mouse.click(...(await row(page, 2)));
  assert.deepEqual(await path(page), ["all", "main", "app::read::lines"]);
  assert.equal(await text(page, "#chosen-name"), "app::read::lines");
  await page.mouse.click(...(await row(page, 3)));
  assert.equal((await path(page)).length, 4);
  await page.goBack();
  assert.equal((await path(page)).length, 3);
  await page.goForward();
  assert.equal((await path(page)).length, 4);
  await page.click("#path button:nth-child(2)");
  assert.deepEqual(await path(page), ["all", "main"]);
  await press(page, "Escape");
  assert.deepEqual(await path(page), []);
});

test("the address brings all back", IN_CHROMIUM, async (context) => {
  const page = await open(context, "profile");
  await page.mouse.click(...(await row(page, 2)));
  await page.fill("#find", "memcpy");
  await press(page, "Tab");
  const address = await page.evaluate(() => location.hash);
  const other = await open(context, "profile", { hash: address });
  assert.deepEqual(await path(other), await path(page));
  assert.equal(await text(other, "#found"), await text(page, "#found"));
});

test("arrows walk through the tree, and Enter zooms", IN_CHROMIUM, async (context) => {
  const page = await open(context, "profile");
  await press(page, "ArrowUp");
  assert.equal(await selected(page), "main, 90.0 ms, 90.0 %");
  await press(page, "ArrowUp");
  assert.equal(await selected(page), "app::read::lines, 60.0 ms, 60.0 %");
  await press(page, "ArrowRight");
  assert.match(await selected(page), /^app::write/);
  await press(page, "ArrowLeft", "ArrowDown", "ArrowDown");
  assert.match(await selected(page), /^all/);
  await press(page, "ArrowUp", "ArrowUp", "Enter");
  assert.deepEqual(await path(page), ["all", "main", "app::read::lines"]);
  await press(page, "Backspace");
  assert.deepEqual(await path(page), []);
  await press(page, "f", "ArrowDown", "ArrowDown");
  assert.equal(await selected(page), "app::read::lines, 60.0 ms, 60.0 %");
});

test("a screen reader finds a tree with names", IN_CHROMIUM, async (context) => {
  const page = await open(context, "profile");
  await press(page, "ArrowUp");
  assert.equal(await page.evaluate(() => document.activeElement.getAttribute("role")), "treeitem");
  const tree = page.getByRole("tree", { name: "Frames" });
  const names = await tree.getByRole("treeitem").evaluateAll((items) => items.map((item) => item.ariaLabel));
  assert.ok(names.includes("main, 90.0 ms, 90.0 %"), names.join());
  assert.ok(names.includes("app::read::lines, 60.0 ms, 60.0 %"), names.join());
  assert.equal(await tree.getByRole("treeitem", { selected: true }).count(), 1);
});

test("wheel, drag and keys move the part that is shown", async (context) => {
  const page = await open(context, "profile");
  const shown = async () => {
    await page.waitForFunction(() => location.hash.includes("range"));
    const range = /range=([^&]*)/.exec(await hash(page))[1].split("~").map(Number);
    return { lo: range[0], width: range[1] - range[0] };
  };
  await page.mouse.move(...(await row(page, 1, 0.5)));
  await page.mouse.wheel(0, -200);
  await page.waitForFunction(() => location.hash.includes("range"));
  const zoomed = await shown();
  assert.ok(zoomed.width < 0.7 && zoomed.lo > 0.1, JSON.stringify(zoomed));
  const before = await hash(page);
  await page.mouse.down();
  await page.mouse.move(...(await row(page, 1, 0.3)), { steps: 4 });
  await page.mouse.up();
  await page.waitForFunction((before) => decodeURIComponent(location.hash) !== before, before);
  assert.ok((await shown()).lo > zoomed.lo);
  assert.deepEqual(await path(page), [], "a drag is no click");
  await press(page, "0");
  assert.doesNotMatch(await hash(page), /range/);
  await press(page, "+", "+", "a");
  assert.ok((await shown()).width < 0.5);
  await press(page, "Home");
  assert.doesNotMatch(await hash(page), /range/);
});

test("search tells the share of what matches, and goes from match to match", async (context) => {
  const page = await open(context, "profile");
  await press(page, "/");
  await page.keyboard.type("MEMCPY|lines");
  assert.equal(await text(page, "#found"), "70.0 % in 2");
  await press(page, "Enter");
  assert.match(await text(page, "#said"), /Match 1 of 2/);
  assert.match(await selected(page), /^app::read::lines/);
  await press(page, "n");
  assert.match(await selected(page), /^memcpy/);
  await press(page, "N");
  assert.match(await selected(page), /^app::read::lines/);
  await page.click("#following");
  assert.match(await selected(page), /^memcpy/);
  await page.click("#previous");
  assert.match(await selected(page), /^app::read::lines/);
  await page.click("#exact");
  assert.equal(await text(page, "#found"), "60.0 % in 1");
  await page.fill("#find", "(");
  assert.match(await text(page, "#found"), /unterminated|missing \)/i);
  await page.fill("#find", "nothing like it");
  assert.equal(await text(page, "#found"), "none");
  await press(page, "Escape");
  assert.equal(await page.inputValue("#find"), "");
  await page.click("#legend button:not([disabled])");
  assert.equal(await page.inputValue("#find"), "app");
});

test("the table sorts, filters, and leads to callers and callees", async (context) => {
  const page = await open(context, "profile");
  const names = () => page.$$eval("tr[data-at] th", (rows) => rows.map((row) => row.textContent));
  await page.click('[data-view="table"]');
  assert.deepEqual((await names()).slice(0, 2), ["parse_line", "memcpy"]);
  assert.equal(await page.getAttribute("th.self", "aria-sort"), "descending");
  await page.click("th.total button");
  assert.equal((await names())[0], "main");
  await page.click("th.name button");
  assert.equal((await names())[0], "app::read::lines");
  await page.fill("#find", "^m");
  assert.deepEqual(await names(), ["main", "memcpy"]);
  await page.click("tr[data-at] >> text=memcpy");
  assert.equal(await current(page), "Function");
  assert.match(await hash(page), /fn=memcpy/);
  await press(page, "t", "ArrowDown", "ArrowUp", "End", "Enter");
  assert.equal(await current(page), "Function");
  // A frame under the pointer would have a tip, which goes before all.
  await page.mouse.move(1, 1);
  await press(page, "Escape");
  assert.equal(await current(page), "Function", "the search goes first");
  await press(page, "Escape");
  assert.equal(await current(page), "Graph");
});

test("the table shows the end of a long name", IN_CHROMIUM, async (context) => {
  const page = await open(context, "profile", { hash: "#view=table", viewport: { width: 230, height: 700 } });
  assert.equal(await text(page, '[aria-label="app::read::lines"] bdi'), "read::lines");
  await page.setViewportSize({ width: 1000, height: 700 });
  await page.waitForFunction(() => !document.querySelector('[aria-label="app::read::lines"]'));
  assert.ok(await page.isVisible("text=app::read::lines"));
});

test("a search becomes a filter, by mouse and by keys", IN_CHROMIUM, async (context) => {
  const page = await open(context, "profile");
  const search = async (pattern) => {
    await page.fill("#find", pattern);
    await page.locator("canvas").dispatchEvent("pointerdown");
    await page.$eval("#find", (find) => find.blur());
  };
  await search("memcpy");
  await page.click("text=Keep only their stacks");
  await press(page, "ArrowUp");
  assert.equal(await selected(page), "main, 30.0 ms, 100 %");
  await search("write");
  await press(page, "e", "ArrowUp");
  assert.equal(await selected(page), "main, 20.0 ms, 100 %");
  await page.click('[aria-label="Remove the filter: only memcpy"]');
  await page.click('[aria-label="Remove the filter: without write"]');
  await search("^app");
  await press(page, "h", "ArrowUp", "ArrowUp");
  assert.equal(await selected(page), "parse_line, 40.0 ms, 40.0 %");
  await press(page, "Enter");
  assert.deepEqual(await path(page), ["all", "main", "parse_line"]);
  await page.reload();
  await page.waitForFunction(() => document.querySelectorAll("#path button").length === 3);
  await page.goBack();
  await page.goBack();
  assert.equal(await page.$$eval("#filters .chip", (chips) => chips.length), 0);
});

test("the selected function becomes a filter", IN_CHROMIUM, async (context) => {
  const page = await open(context, "profile");
  await page.mouse.click(...(await row(page, 2, 0.7)));
  assert.equal(await text(page, "#chosen-name"), "app::write::all<u8>");
  await page.click("#leave-out");
  assert.match(await text(page, "#filters"), /without\^app::write::all<u8>\$/);
  await press(page, "ArrowUp", "ArrowUp");
  assert.match(await selected(page), /^app::read::lines, 60.0 ms, 85.7 %/);
  await press(page, "k", "ArrowUp");
  assert.equal(await selected(page), "main, 60.0 ms, 100 %");
  await press(page, "ArrowUp", "h", "ArrowUp", "ArrowUp");
  assert.match(await selected(page), /^parse_line/);
});

test("recursion is folded", IN_CHROMIUM, async (context) => {
  const page = await open(context, "deep");
  await press(page, "ArrowUp", "ArrowUp", "ArrowUp");
  assert.match(await selected(page), /^again/);
  await press(page, "r", "ArrowUp", "ArrowUp", "ArrowUp");
  assert.match(await selected(page), /^leaf/);
  await press(page, "r", "Home");
  await page.fill("#find", "leaf");
  await press(page, "Enter", "Tab");
  assert.match(await selected(page), /^leaf/);
  await press(page, "x");
  assert.equal(await current(page), "Function");
});

test("callers are above a function, callees below", IN_CHROMIUM, async (context) => {
  const page = await open(context, "profile");
  await press(page, "ArrowUp", "ArrowUp", "x");
  assert.equal(await current(page), "Function");
  assert.match(await selected(page), /^app::read::lines, 60.0 ms/);
  await press(page, "ArrowDown");
  assert.match(await selected(page), /^parse_line, 40.0 ms/);
  await press(page, "ArrowUp", "ArrowUp");
  assert.match(await selected(page), /^main, 60.0 ms/);
  await press(page, "Enter");
  assert.deepEqual(await path(page), ["app::read::lines", "main"]);
  await page.goBack();
  await press(page, "ArrowDown");
  await page.click("#around");
  assert.match(await hash(page), /fn=parse_line/);
});

test("callers begin with what uses the weight", IN_CHROMIUM, async (context) => {
  const page = await open(context, "profile");
  await page.click('[data-view="callers"]');
  await press(page, "ArrowUp");
  assert.equal(await selected(page), "parse_line, 40.0 ms, 40.0 %");
  await press(page, "ArrowUp");
  assert.match(await selected(page), /^app::read::lines/);
  await press(page, "g");
  assert.equal(await current(page), "Graph");
});

test("names and stacks are copied", async (context) => {
  const page = await open(context, "profile");
  const copied = async () => {
    await page.waitForFunction(() => document.getElementById("said").textContent === "Copied");
    await page.evaluate(() => (document.getElementById("said").textContent = ""));
    await press(page, "/", "Control+v");
    const pasted = await page.inputValue("#find");
    await page.fill("#find", "");
    await press(page, "Escape");
    return pasted;
  };
  await press(page, "ArrowUp", "ArrowUp", "d", "y");
  assert.equal(await copied(), "app::read::lines");
  await page.click("#copy-stack");
  assert.equal(await copied(), "main;app::read::lines");
});

test("options, by mouse and by keys", async (context) => {
  const page = await open(context, "profile");
  await page.click("#options summary");
  await page.check('[name="flip"][value="1"]');
  await page.check('[name="order"][value="name"]');
  await page.check('[name="colour"][value="name"]');
  await page.check('[name="theme"][value="dark"]');
  assert.equal(await hash(page), "#flip=1&order=name&colour=name&theme=dark");
  assert.equal(await page.getAttribute("html", "data-theme"), "dark");
  assert.ok(!(await page.isVisible('[name="width"]')), "that is for differentials");
  await press(page, "Escape");
  assert.equal(await page.getAttribute("#options", "open"), null);
  await press(page, "f", "o", "m", "d");
  assert.equal(await hash(page), "#theme=light");
  const box = await page.locator("canvas").boundingBox();
  await press(page, "f");
  await page.mouse.move(box.x + 10, box.y + 10);
  assert.match(await text(page, "#tip"), /^all/, "an icicle hangs from its root");
});

test("the options are in sight, however wide the window is", IN_CHROMIUM, async (context) => {
  const page = await open(context, "profile");
  await page.click("#options summary");
  for (const width of [400, 600, 700, 800, 900, 1000, 1400]) {
    await page.setViewportSize({ width, height: 600 });
    await settled(page);
    const panel = await page.locator("#options > div").boundingBox();
    assert.ok(panel.x >= 0 && panel.x + panel.width <= width, `${width}: ${JSON.stringify(panel)}`);
  }
});

test("stacks and the picture are saved", async (context) => {
  const page = await open(context, "profile");
  const saved = async (button) => {
    await page.click("#options summary");
    const file = await downloaded(page, () => page.click(button));
    await press(page, "Escape");
    return file;
  };
  await press(page, "/");
  await page.keyboard.type("memcpy");
  await page.click("text=Keep only their stacks");
  const [name, stacks] = await saved("#save-stacks");
  assert.match(name, /\.folded$/);
  const lines = stacks.toString().trim().split("\n");
  assert.equal(lines[0], "# unit: ns 0");
  assert.ok(lines.slice(1).every((line) => /memcpy.* \d+$/.test(line)) && lines.length > 1, lines.join());
  const [, picture] = await saved("#save-picture");
  assert.equal(picture.subarray(1, 4).toString(), "PNG");
});

test("the help lists the keys", async (context) => {
  const page = await open(context, "profile");
  await page.setViewportSize({ width: 1000, height: 450 });
  await press(page, "?");
  assert.ok(await page.isVisible("#help"));
  assert.ok((await page.$$("#help dt")).length > 15);
  assert.equal(await page.$eval("#help", (help) => help.scrollTop), 0, "it begins with its first line");
  await press(page, "Escape");
  assert.ok(!(await page.isVisible("#help")));
  await page.click("#options summary");
  await page.click("#keys");
  assert.ok(await page.isVisible("#help"));
  await page.click("#help button");
  assert.ok(!(await page.isVisible("#help")));
});

test("it is dark where the system is", IN_CHROMIUM, async (context) => {
  const page = await open(context, "profile", { colorScheme: "dark" });
  assert.equal(await page.getAttribute("html", "data-theme"), "dark");
  await page.emulateMedia({ colorScheme: "light" });
  await page.waitForSelector('html[data-theme="light"]');
});

test("names do no harm, whatever is in them", async (context) => {
  const page = await open(context, "hostile");
  await press(page, "t");
  const names = await page.$$eval("tr[data-at] th", (rows) => rows.map((row) => row.textContent));
  assert.ok(names.includes("</script><script>alert(1)</script>"), names.join());
  assert.ok(names.includes(`<img src=x onerror=alert(1)>"'\`&amp`));
  assert.ok(names.includes("abc\\u{202e}def"));
  assert.ok(names.includes("a\\u{1}\\u{7f}b"));
  assert.ok(names.some((name) => name.startsWith("not\ufffdUTF-8")), names.join());
  assert.ok(names.includes("שלום"));
  assert.ok(names.some((name) => name.startsWith("xxxx") && name.length >= 2000));
  await press(page, "Enter");
  assert.equal(await current(page), "Function");
  await press(page, "g");
  for (let row = 0; row < 10; row++) await press(page, "ArrowUp");
  await page.fill("#find", "<script>");
  assert.equal(await text(page, "#found"), "100 % in 1");
  const box = await page.locator("canvas").boundingBox();
  for (let y = 5; y < box.height; y += 10) await page.mouse.move(box.x + 5, box.y + y);
  assert.equal(await page.$$eval("script", (scripts) => scripts.length), 3);
  assert.equal(await page.$$eval("img", (images) => images.length), 0);
});

test("one root frame can be shown alone", IN_CHROMIUM, async (context) => {
  const page = await open(context, "profile");
  await page.click("#options summary");
  const listed = await page.$$eval("#roots option", (options) => options.map((option) => option.textContent));
  assert.deepEqual(listed, ["All", "main 90.0 %", "idle 10.0 %"]);
  await page.selectOption("#roots", "idle");
  assert.match(await text(page, "#filters"), /thread|idle/);
  await press(page, "Escape", "ArrowUp");
  assert.match(await selected(page), /^idle, 10.0 ms, 100 %/);
  assert.match(await hash(page), /root=idle/);
  await page.click("#filters button");
  await press(page, "ArrowUp");
  assert.match(await selected(page), /^main, 90.0 ms, 90.0 %/);
});

test("a differential tells what changed, is new and vanished", async (context) => {
  const page = await open(context, "differential");
  await press(page, "ArrowUp", "ArrowUp");
  assert.match(await selected(page), /^grown, 20.0 % before, 60.0 % after, \+40.00 points/);
  await press(page, "ArrowRight");
  assert.match(await selected(page), /^(same|fresh)/);
  await page.mouse.move(...(await row(page, 2)));
  assert.match(await text(page, "#tip"), /Before.*After.*Change\+40.00 points/);
  assert.ok(await page.isVisible("#legend >> text=new"));
  await page.click("#options summary");
  await page.check('[name="width"][value="before"]');
  await press(page, "Escape", "t");
  const rows = await page.$$eval("tr[data-at]", (rows) => rows.map((row) => row.textContent));
  assert.ok(rows.some((row) => row.startsWith("gone") && row.endsWith("vanished")), rows.join());
  assert.ok(rows.some((row) => row.startsWith("fresh") && row.endsWith("new")), rows.join());
  await page.click("th.change button");
  // The profiles can change places, and be compared by weight.
  await press(page, "g", "v", "w", "w", "ArrowUp", "ArrowUp");
  const swapped = await page.$$eval("#outline [role=treeitem]", (items) => items.map((item) => item.ariaLabel).join("; "));
  assert.match(swapped, /gone, 0 % before, 60.0 % after, new/);
  await press(page, "b");
  assert.match(await hash(page), /swap=1&compare=weight/);
  await press(page, "t");
  const byWeight = await page.$$eval("tr[data-at]", (rows) => rows.map((row) => row.textContent));
  assert.ok(byWeight.some((row) => /^grown.*−40 samples$/.test(row)), byWeight.join());
  await press(page, "g", "v", "b", "w", "w");
  assert.match(await hash(page), /width=both/);
  await press(page, "w");
  assert.doesNotMatch(await hash(page), /width/);
});

test("a flame chart has a lane for each thread, and can be merged", async (context) => {
  const page = await open(context, "chart");
  assert.equal(await current(page), "Chart");
  assert.match(await text(page, "#summary"), /2 threads/);
  const box = await page.locator("canvas").boundingBox();
  await page.mouse.move(box.x + 10, box.y + 35);
  assert.match(await text(page, "#tip"), /^one-1\/1/);
  await page.mouse.click(box.x + 10, box.y + 55);
  assert.equal((await path(page)).length, 3);
  await press(page, "Escape");
  // A lane that is closed leaves its room to those below.
  const second = async () => {
    for (let y = 35; y < box.height; y += 4) {
      await page.mouse.move(box.x + 10, box.y + y);
      if ((await text(page, "#tip")).startsWith("two")) return y;
    }
    return Infinity;
  };
  const before = await second();
  await page.mouse.click(box.x + 10, box.y + 35);
  assert.match(await selected(page), /^one-1\/1/);
  assert.ok((await second()) < before);
  await press(page, "Enter");
  assert.equal(await second(), before);
  await press(page, "L");
  assert.ok((await second()) < before);
  // A search opens the lane of its match.
  await press(page, "L");
  assert.equal(await second(), before);
  await press(page, "g", "ArrowUp");
  assert.match(await selected(page), /^(one|two)/);
  await press(page, "c", "ArrowUp");
  assert.doesNotMatch(await selected(page), /^(one|two)/, "gaps are nobody's time");
  await press(page, "l");
  assert.equal(await current(page), "Chart");
});

test("the order of the input is kept where it was asked for", IN_CHROMIUM, async (context) => {
  const page = await open(context, "sequence");
  assert.equal(await current(page), "Chart");
  await press(page, "ArrowUp", "ArrowUp", "ArrowRight");
  assert.match(await selected(page), /^b/);
  await press(page, "ArrowRight");
  assert.match(await selected(page), /^a/);
});

test("it fits a phone, and fingers", IN_CHROMIUM, async (context) => {
  const page = await open(context, "profile", { viewport: { width: 400, height: 800 }, hasTouch: true, isMobile: true });
  const width = await page.evaluate(() => document.documentElement.scrollWidth);
  assert.equal(width, 400);
  for (const selector of ["#views", "#find", "#options", "canvas"]) {
    const box = await page.locator(selector).boundingBox();
    assert.ok(box.x >= 0 && box.x + box.width <= 400, selector);
  }
  await page.touchscreen.tap(...(await row(page, 2)));
  await settled(page);
  assert.equal((await path(page)).length, 3);
  await page.tap("#around");
  assert.equal(await current(page), "Function");
});

test("labels fit into their boxes, however large the text is", IN_CHROMIUM, async (context) => {
  const page = await open(context, "profile", { viewport: { width: 300, height: 900 } });
  await page.evaluate(() => {
    const canvas = CanvasRenderingContext2D.prototype;
    const { fillText } = canvas;
    window.drawn = [];
    canvas.fillText = function (text, x, y) {
      window.drawn.push({ text, from: x, to: x + this.measureText(text).width, y });
      fillText.call(this, text, x, y);
    };
    document.documentElement.style.fontSize = "200%";
  });
  await page.setViewportSize({ width: 300, height: 910 });
  await settled(page);
  const drawn = await page.evaluate(() => window.drawn);
  const [parse, main] = ["parse", "main"].map((name) => drawn.findLast(({ text }) => text.startsWith(name)));
  assert.ok(parse.to <= 120 && main.to <= 270, JSON.stringify([parse, main]));
});

test("a resized window is filled", IN_CHROMIUM, async (context) => {
  const page = await open(context, "profile");
  await page.setViewportSize({ width: 700, height: 500 });
  await settled(page);
  const [canvas, box] = [await page.$eval("canvas", (canvas) => canvas.width), await page.locator("canvas").boundingBox()];
  assert.equal(canvas, box.width);
});

test("a page that is cut short says so", async (context) => {
  const { page, close } = await watched(browser, { viewport: { width: 1000, height: 700 } });
  context.after(close);
  await page.goto(pathToFileURL(`${PAGES}/broken.html`).href);
  await page.waitForFunction(() => document.getElementById("wait").textContent.startsWith("This page cannot be shown"));
});

// Times are printed, not judged: they are those of the machine.
test("a million frames", async (context) => {
  const page = await open(context, "million", { viewport: { width: 1400, height: 900 }, reducedMotion: "no-preference" });
  const first = await page.evaluate(() => Math.round(performance.now() - performance.getEntriesByType("navigation")[0].responseEnd));
  const frames = async (act) => {
    await page.evaluate(() => {
      window.times = [];
      const count = (now) => window.times.push(now) && requestAnimationFrame(count);
      requestAnimationFrame(count);
    });
    await act();
    await settled(page);
    const times = await page.evaluate(() => window.times.splice(0));
    return Math.round((1000 * (times.length - 1)) / (times[times.length - 1] - times[0]));
  };
  await page.mouse.move(500, 800);
  const zoom = await frames(async () => {
    for (let i = 0; i < 30; i++) await page.mouse.wheel(0, -40);
  });
  const pan = await frames(async () => {
    await page.mouse.down();
    for (let i = 0; i < 60; i++) await page.mouse.move(500 + 5 * i, 800 - i);
    await page.mouse.up();
  });
  const search = await page.evaluate(() => {
    const find = document.getElementById("find");
    find.value = "parse.*[0-9]";
    const start = performance.now();
    find.dispatchEvent(new Event("input", { bubbles: true }));
    return Math.round(performance.now() - start);
  });
  context.diagnostic(`${basename(BROWSER)}: first picture after ${first} ms, zoom ${zoom} and pan ${pan} frames a second, search ${search} ms`);
  assert.match(await text(page, "#found"), /% in/);
  for (const key of ["c", "t", "Enter", "g"]) await press(page, key);
  assert.equal(await current(page), "Graph");
});
