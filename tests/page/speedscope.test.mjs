// speedscope, in a real browser, shows what fg-export writes for it.
//
// tests/it/export.rs writes the files and names in the environment where they are (FILES), and what
// browser.test.mjs needs too. speedscope is where playwright is.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";

import { launch, watched } from "./launch.mjs";

const { FILES, PLAYWRIGHT } = process.env;
const SPEEDSCOPE = pathToFileURL(`${PLAYWRIGHT}/node_modules/speedscope/dist/release/index.html`).href;

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

// Returns the table of functions of each profile in a file: total, self, and name.
async function tablesOf(context, file, profiles = 1) {
  const { page, close } = await watched(browser, { viewport: { width: 1000, height: 600 } });
  context.after(async () => assert.deepEqual(await close(), []));
  await page.goto(SPEEDSCOPE);
  await page.setInputFiles("input[type=file]", `${FILES}/${file}`);
  await page.waitForFunction(() => document.title.includes(" - "));
  // The sandwich has the table.
  await page.keyboard.press("3");
  const tables = {};
  for (let shown = 1; shown <= profiles; shown++) {
    const wanted = ["Symbol Name", profiles > 1 ? `(${shown}/${profiles})` : ""];
    await page.waitForFunction((wanted) => wanted.every((text) => document.body.innerText.includes(text)), wanted);
    const name = profiles > 1 ? await page.evaluate(() => /.*(?= \(\d\/\d\))/.exec(document.body.innerText)[0]) : "";
    const rows = await page.$$eval("tr", (rows) => rows.map((row) => row.innerText.replace(/\s+/g, " ")));
    // Functions without a weight of their own are in no order.
    tables[name] = rows.slice(1 + rows.findIndex((row) => /^Total Self/.test(row))).sort();
    await page.keyboard.press("n");
  }
  return tables;
}

const functions = (ms, zero) => [
  `${ms(40)} (40%) ${ms(40)} (40%) parse_line`,
  `${ms(30)} (30%) ${ms(30)} (30%) memcpy`,
  `${ms(20)} (20%) ${ms(20)} (20%) write`,
  `${ms(5)} (5.0%) ${ms(5)} (5.0%) idle </script>`,
  `${ms(5)} (5.0%) ${ms(5)} (5.0%) again`,
  `${ms(30)} (30%) ${zero} (<0.01%) app::write::all<u8>`,
  `${ms(60)} (60%) ${zero} (<0.01%) app::read::lines`,
  `${ms(95)} (95%) ${zero} (<0.01%) main`,
].sort();

for (const file of ["x.speedscope.json", "x.pb.gz"]) {
  test(`times of ${file}`, async (context) => {
    const wanted = functions((ms) => `${ms}.00ms`, "0.00ns");
    assert.deepEqual(await tablesOf(context, file), { "": wanted });
  });
}

for (const file of ["callgrind.out.x", "x.folded"]) {
  test(`numbers of ${file}`, async (context) => {
    const wanted = functions((ms) => `${ms},000,000`, "0");
    assert.deepEqual(await tablesOf(context, file), { "": wanted });
  });
}

for (const [file, name] of [
  ["threads.speedscope.json", (thread, tid) => `${thread} pid: 1 tid: ${tid}`],
  ["threads.json", (thread, tid) => `${thread} (pid 1, tid ${tid})`],
]) {
  test(`threads of ${file}`, async (context) => {
    assert.deepEqual(await tablesOf(context, file, 2), {
      [name("one", 1)]: [
        "1.00ms (50%) 1.00ms (50%) leaf",
        "1.00ms (50%) 1.00ms (50%) other",
        "2.00ms (100%) 0.00ns (<0.01%) main",
      ],
      [name("two", 2)]: ["1.00ms (100%) 0.00ns (<0.01%) main", "1.00ms (100%) 1.00ms (100%) leaf"],
    });
  });
}
