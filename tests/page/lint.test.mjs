// Lints the page's script as a browser reads it, in one piece, and these tests. ESLINT names where
// eslint is.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { test } from "node:test";

const require = createRequire(`${process.env.ESLINT}/`);
const { ESLint } = require("eslint");
const js = require("@eslint/js");

const BROWSER = [
  "atob Blob DecompressionStream ResizeObserver Response TextDecoder URL URLSearchParams",
  "cancelAnimationFrame clearTimeout document fetch getComputedStyle history innerHeight innerWidth location",
  "matchMedia navigator performance requestAnimationFrame setTimeout window",
];
const TESTS = [...BROWSER, "Buffer CanvasRenderingContext2D Event process"];
const globals = (lists) => Object.fromEntries(lists.join(" ").split(" ").map((name) => [name, "readonly"]));

const RULES = {
  ...js.configs.recommended.rules,
  eqeqeq: "error",
  // Names are shown without control characters, so an expression has to name them.
  "no-control-regex": "off",
  "no-unused-vars": ["error", { args: "all", argsIgnorePattern: "^_" }],
  "no-var": "error",
  "object-shorthand": "error",
  "prefer-const": "error",
};

function linter(sourceType, lists) {
  const languageOptions = { ecmaVersion: 2023, sourceType, globals: globals(lists) };
  return new ESLint({
    overrideConfigFile: true,
    overrideConfig: { files: ["**/*.js", "**/*.mjs"], languageOptions, rules: RULES },
  });
}

const PAGE = new URL("../../src/output/html/", import.meta.url);

test("the page's script", async () => {
  const order = readFileSync(new URL("mod.rs", PAGE), "utf8").matchAll(/include_str!\("(\w+\.js)"\)/g);
  const lines = [...order].flatMap(([, name]) => {
    const source = readFileSync(new URL(name, PAGE), "utf8").trimEnd();
    return source.split("\n").map((text, at) => ({ place: `${name}:${at + 1}`, text }));
  });
  assert.ok(lines.length > 2000);
  const whole = lines.map(({ text }) => text).join("\n");
  const [{ messages }] = await linter("script", BROWSER).lintText(whole, { filePath: "page.js" });
  const said = messages.map(({ line, message, ruleId }) => `${lines[line - 1].place}: ${message} (${ruleId})`);
  assert.deepEqual(said, []);
});

test("the tests of the page", async () => {
  const eslint = linter("module", TESTS);
  const results = await eslint.lintFiles(["tests/page/*.mjs"]);
  const said = results.flatMap(({ filePath, messages }) =>
    messages.map(({ line, message, ruleId }) => `${filePath}:${line}: ${message} (${ruleId})`));
  assert.deepEqual(said, []);
});
