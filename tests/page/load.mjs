// The parts of the page's script that need no browser.

import { readFileSync } from "node:fs";

const PURE = ["decode", "tree", "merged", "format", "colour", "search", "draw", "state", "save"];
const NAMES = [
  "fromBase64, inflate, decode, visible",
  "Tree, lanesOf, Merged, fromLeaves, fromRoots, aroundFunction",
  "weight, percent, change, difference, tick, forms, fitted, moduleOf",
  "palette, hex, modulesOf, heaviest, byModule, byChange, inkOn, CHANGES, STEPS, NEW, VANISHED, NO_MODULE",
  "matching, matchesBelow, walk, nodeAt, Pane, roundStep",
  "foldedText, fileName",
  "DEFAULTS, toHash, fromHash, nodeToText, textToNode",
];

const source = (name) => readFileSync(new URL(`../../src/output/html/${name}.js`, import.meta.url), "utf8");

export const page = new Function(`"use strict";\n${PURE.map(source).join("")}return { ${NAMES.join(", ")} };`)();
