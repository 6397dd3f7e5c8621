// The page of --live in a real browser, while a program is recorded.
//
// tests/it/page.rs records one, and names in the environment the page's address (LIVE), the file
// that ends the program (END), the view that it opens with (VIEW), and what browser.test.mjs needs
// too.

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { test } from "node:test";

import { launch } from "./launch.mjs";

const { LIVE, END, VIEW } = process.env;

test("the page is renewed, and the zoom stays", async () => {
  const browser = await launch();
  const page = await browser.newPage({ viewport: { width: 1000, height: 700 } });
  const problems = [];
  page.on("pageerror", (error) => problems.push(error.stack));
  page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
  try {
    await page.goto(LIVE);
    await page.waitForFunction(() => !document.getElementById("wait"));
    const summary = () => page.textContent("#summary");
    const selected = () => page.getAttribute('#outline [aria-selected="true"]', "aria-label");
    const isChart = VIEW === "chart";
    assert.match(await summary(), isChart ? /^\d.* m?s · 1 thread · recording …$/ : /^\d.* m?s · recording …$/);
    // A chart hangs from its lanes.
    const key = isChart ? "ArrowDown" : "ArrowUp";
    for (const pressed of [key, key, key, "Enter"]) await page.keyboard.press(pressed);
    const name = (await selected()).split(", ")[0];
    const path = await page.textContent("#path");
    assert.match(path, isChart ? /edited-\d+/ : /sh/);
    // Two newer versions.
    for (let i = 0; i < 2; i++) {
      const before = await summary();
      await page.waitForFunction((before) => document.getElementById("summary").textContent !== before, before);
      assert.equal(await page.textContent("#path"), path);
      assert.equal((await selected()).split(", ")[0], name);
    }
    writeFileSync(END, "");
    await page.waitForFunction(() => document.getElementById("summary").textContent.endsWith("the recording has ended"));
    assert.equal(await page.textContent("#path"), path);
  } finally {
    writeFileSync(END, "");
    await browser.close();
  }
  assert.deepEqual(problems, []);
});
