// The SVG in a real browser: what flamepipe adds to inferno's page.
//
// tests/it/page.rs makes it, and names in the environment what browser.test.mjs needs too.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";

import { isChromium, launch } from "./launch.mjs";

const { PAGES } = process.env;
const GRAPH = pathToFileURL(`${PAGES}/profile.svg`).href;

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

// Opens the graph. An error of its script fails the test; what it asks is answered with `answer`.
async function open(context, { query = "", answer = "", ...options } = {}) {
  const page = await browser.newPage({ viewport: { width: 1000, height: 700 }, ...options });
  const problems = [];
  page.on("pageerror", (error) => problems.push(error.stack));
  page.on("dialog", (dialog) => dialog.accept(answer));
  context.after(async () => {
    await page.close();
    assert.deepEqual(problems, []);
  });
  await page.goto(GRAPH + query);
  // inferno lays the page out once it has loaded.
  await page.evaluate(() => new Promise((done) => setTimeout(() => requestAnimationFrame(done), 0)));
  return page;
}

const shown = (page, selector) =>
  page.$eval(selector, (element) => {
    const { top, bottom, height } = element.getBoundingClientRect();
    return height > 0 && top >= 0 && bottom <= innerHeight;
  });
const frame = (name) => `#frames > g:has(> title:text-matches("^${name} "))`;
const matched = (page) => page.textContent("#matched");

test("it opens where the roots are, with the buttons in view", async (context) => {
  const page = await open(context);
  assert.ok(await shown(page, frame("burn")));
  assert.equal(await page.$eval(frame("Leaf"), (leaf) => leaf.getBoundingClientRect().bottom < 0), true);
  assert.ok(await shown(page, "#search"));
  await page.hover(`${frame("other")} rect`);
  assert.equal(await page.textContent("#details"), "Function: other (10.0 ms, 25.00%)");
  assert.ok(await shown(page, "#details"));
  await page.evaluate(() => window.scrollTo(0, 0));
  await page.waitForFunction(() => document.getElementById("details").getBoundingClientRect().bottom <= innerHeight);
  assert.ok(await shown(page, "#search"));
  assert.equal(await page.textContent("#title"), "burn · 40.0 ms");
});

test("a click zooms, and the address keeps that", async (context) => {
  const page = await open(context);
  await page.click(`${frame("other")} rect`);
  const width = () => page.$eval(`${frame("other")} rect`, (box) => box.getBoundingClientRect().width);
  assert.ok((await width()) > 900);
  assert.match(page.url(), /x=\d+&y=\d+/);
  await page.reload();
  await page.waitForFunction(() => !document.getElementById("unzoom").classList.contains("hide"));
  assert.ok((await width()) > 900);
  assert.ok(await shown(page, frame("other")));
});

test("a search ignores case unless it has capitals, and only looks at names", async (context) => {
  for (const [term, said] of [
    ["leaf", /^Matched: 75.0%$/],
    ["LEAF", /^Matched: 0%$/],
    ["^other$", /^Matched: 25.0%$/],
    ["ms", /^Matched: 0%$/],
    ["\\W", /^Matched: 0%$/],
    ["(", /unterminated (group|parenthetical)$/i],
  ]) {
    const page = await open(context, { answer: term });
    await page.keyboard.press("Control+f");
    assert.match(await matched(page), said, term);
    assert.ok(await shown(page, "#matched"));
  }
  const page = await open(context, { query: "?s=leaf" });
  assert.equal(await matched(page), "Matched: 75.0%");
});

test("colours follow the scheme", { skip: !isChromium }, async (context) => {
  for (const [colorScheme, paper, words] of [
    ["light", "rgb(238, 238, 238)", "rgb(0, 0, 0)"],
    ["dark", "rgb(28, 30, 34)", "rgb(230, 230, 230)"],
  ]) {
    const page = await open(context, { colorScheme });
    const style = (selector, name) => page.$eval(selector, (element, name) => getComputedStyle(element)[name], name);
    assert.equal(await style("#background stop", "stopColor"), paper);
    assert.equal(await style("#title", "fill"), words);
  }
});
