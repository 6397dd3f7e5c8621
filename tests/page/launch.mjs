// Starts the browser of a test: the one at BROWSER, mostly through playwright-core in PLAYWRIGHT.

import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { launchWebKit, until } from "./webkit.mjs";

const { PLAYWRIGHT, BROWSER } = process.env;
const ARGUMENTS = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync";

const isWebKit = /WebKit/.test(BROWSER);
const isFirefox = /firefox[^/]*$/.test(BROWSER);
export const isChromium = !isWebKit && !isFirefox;

// Where files are saved.
const downloadsPath = mkdtempSync(join(tmpdir(), "flamepipe-saved-"));
process.on("exit", () => rmSync(downloadsPath, { recursive: true }));

export async function launch() {
  if (isWebKit) return launchWebKit(BROWSER, downloadsPath);
  const { chromium, firefox } = createRequire(`${PLAYWRIGHT}/`)("playwright-core");
  // Firefox as it is released, not the one that playwright changes.
  if (isFirefox) return firefox.launch({ executablePath: BROWSER, channel: "moz-firefox", downloadsPath });
  return chromium.launch({ executablePath: BROWSER, args: ARGUMENTS.split(" ") });
}

// Returns the name and the bytes of the file that a click saves.
export async function downloaded(page, click) {
  if (isChromium) {
    const [download] = await Promise.all([page.waitForEvent("download"), click()]);
    return [download.suggestedFilename(), readFileSync(await download.path())];
  }
  // Their drivers do not tell, but the file appears.
  await click();
  const saved = () => readdirSync(downloadsPath).filter((name) => /\.(folded|png)$/.test(name));
  await until(() => saved().some((name) => statSync(join(downloadsPath, name)).size > 0), "saving a file");
  const [name] = saved();
  const bytes = readFileSync(join(downloadsPath, name));
  rmSync(join(downloadsPath, name));
  return [name, bytes];
}

// Returns a page, and what closes it and tells what went wrong in it: errors, dialogs, violations
// of its policy, and requests that leave the machine. Firefox starts processes for each page, so
// there it is one page again and again.
let kept = null;
export async function watched(browser, options) {
  if (kept) {
    await kept.page.setViewportSize(options.viewport);
    return kept;
  }
  const page = await browser.newPage(options);
  const problems = [];
  page.on("pageerror", (error) => problems.push(error.stack));
  page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
  page.on("dialog", (dialog) => problems.push(dialog.message()) && dialog.dismiss());
  page.on("request", (request) => request.url().startsWith("file:") || problems.push(request.url()));
  const watched = {
    page,
    async close() {
      const found = [...problems.splice(0), ...((await page.problems?.()) ?? [])];
      if (!isFirefox) await page.close();
      return found;
    },
  };
  if (isFirefox) kept = watched;
  return watched;
}
