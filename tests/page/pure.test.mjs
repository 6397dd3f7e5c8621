// The parts of the page's script that need no browser, against slow and obvious twins.

import assert from "node:assert/strict";
import { test } from "node:test";
import { deflateRawSync } from "node:zlib";

import { encode, stacksOf } from "./encode.mjs";
import { page } from "./load.mjs";

const TEXT = `main;read;parse 3
main;read 1
main;write;flush;write 2
main;parse 4
idle 5
`;

function treeOf(text, options = {}, stacks = stacksOf(text, options.isDifferential)) {
  const graph = page.decode(encode(stacks, options));
  const tree = new page.Tree(graph);
  const { self, before } = graph;
  tree.weigh(before ? { total: self, before, after: self } : { total: self }, null);
  tree.arrange(options.isChart ? "time" : "weight");
  return { graph, tree };
}

// All nodes that are reachable, as `path total`, each with where it begins.
function nodesOf(tree) {
  const found = [];
  const visit = (node, path) => {
    tree.open(node);
    for (let child = tree.first[node]; child >= 0; child = tree.next[child]) {
      const names = [...path, tree.names[tree.name[child]]];
      found.push(`${names.join(";")} ${tree.total[child]} @${tree.x[child]}`);
      visit(child, names);
    }
  };
  visit(0, []);
  return found;
}

// A small generator of numbers, the same in each run.
function random(seed) {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

function someStacks(seed, count = 60) {
  const next = random(seed);
  return Array.from({ length: count }, () => ({
    names: Array.from({ length: 1 + next(6) }, () => "abcde"[next(5)]),
    weights: [1 + next(9)],
  }));
}

// Node 18 has no raw deflate streams.
const skip = Number(process.versions.node.split(".")[0]) < 20 && "this node is too old";

test("data are unpacked as a browser does", { skip }, async () => {
  const bytes = encode(stacksOf(TEXT), { unit: "ns" });
  const text = deflateRawSync(bytes).toString("base64");
  assert.deepEqual(await page.inflate(page.fromBase64(text)), bytes);
  const graph = page.decode(bytes);
  assert.equal(graph.unit, "ns");
  assert.deepEqual([...graph.names].sort(), ["", "flush", "idle", "main", "parse", "read", "write"]);
});

test("large numbers, names of any bytes", () => {
  const names = ["é\u202e", "a\u0000b", "x".repeat(20000)];
  const bytes = encode([{ names, weights: [2 ** 40 + 1] }]);
  const graph = page.decode(bytes);
  assert.equal(graph.self[3], 2 ** 40 + 1);
  assert.deepEqual(graph.names.slice(1, 3), ["é\\u{202e}", "a\\u{0}b"]);
  assert.equal(graph.names[3].length, 20000);
  const broken = bytes.slice();
  broken.fill(0xff, 5);
  assert.throws(() => page.decode(broken), /cut short|broken|Invalid/);
  assert.throws(() => page.decode(bytes.slice(0, 30)), /cut short|broken|Invalid/);
});

test("siblings are in order, and side by side", () => {
  const { tree } = treeOf(TEXT);
  assert.deepEqual(nodesOf(tree), [
    "main 10 @0",
    "main;parse 4 @0",
    "main;read 4 @4",
    "main;read;parse 3 @4",
    "main;write 2 @8",
    "main;write;flush 2 @8",
    "main;write;flush;write 2 @8",
    "idle 5 @10",
  ]);
  tree.arrange("name");
  assert.deepEqual(nodesOf(tree).slice(0, 3), ["idle 5 @0", "main 10 @5", "main;parse 4 @5"]);
});

test("a flame chart goes from left to right", () => {
  const { tree } = treeOf("t;b 2\nt 3\nt;a 1\n", { isChart: true });
  assert.deepEqual(nodesOf(tree), ["t 6 @0", "t;a 1 @0", "t; 3 @1", "t;b 2 @4"]);
});

test("a lane is a root that is as long as all, in time", () => {
  const lanes = (text, unit) => {
    const { graph, tree } = treeOf(text, { isChart: true, unit });
    return page.lanesOf(graph, tree)?.length ?? 0;
  };
  assert.equal(lanes("b;x 2\nb 2\na;y 4\n", "ns"), 2);
  assert.equal(lanes("b;x 2\nb 2\na;y 4\n", ""), 0);
  assert.equal(lanes("b;x 2\na;y 4\n", "ns"), 0);
});

test("the gaps of lanes are not counted", () => {
  const { tree } = treeOf("t;a 2\nt 3\nt;b;c 1\n", { isChart: true, unit: "ns" });
  tree.weigh({ total: tree.own.total }, tree.gaps());
  assert.equal(tree.busy[0], 3);
  assert.equal(page.fromLeaves(tree).total[0], 3);
  assert.equal(page.fromRoots(tree).total[0], 3);
  const sums = tree.functions();
  assert.deepEqual([...tree.names].map((name, id) => [name, sums.self[id], sums.total[id]]).sort(), [
    ["", 0, 0],
    ["a", 2, 2],
    ["b", 0, 1],
    ["c", 1, 1],
    ["t", 0, 3],
  ]);
});

test("functions weigh what a slow count says", () => {
  for (let seed = 1; seed < 30; seed++) {
    const stacks = someStacks(seed);
    const graph = page.decode(encode(stacks));
    const tree = new page.Tree(graph);
    tree.weigh({ total: graph.self }, null);
    const { self, total } = tree.functions();
    graph.names.forEach((name, id) => {
      if (!id) return;
      const sum = (is) => stacks.reduce((all, { names, weights }) => all + (is(names) ? weights[0] : 0), 0);
      assert.equal(self[id], sum((names) => names[names.length - 1] === name));
      assert.equal(total[id], sum((names) => names.includes(name)));
    });
  }
});

test("callers, callees and leaves are what a slow merge says", () => {
  // Paths as `path weight`, of which equal ones are one.
  const merge = (paths) => {
    const sums = new Map();
    for (const [names, weight] of paths) {
      for (let end = 1; end <= names.length; end++) {
        const key = names.slice(0, end).join(";");
        sums.set(key, (sums.get(key) ?? 0) + weight);
      }
    }
    return [...sums].map(([key, weight]) => `${key} ${weight}`).sort();
  };
  const plain = (tree) => nodesOf(tree).map((node) => node.replace(/ @.*/, "")).sort();
  for (let seed = 1; seed < 30; seed++) {
    const stacks = someStacks(seed);
    const graph = page.decode(encode(stacks));
    const tree = new page.Tree(graph);
    tree.weigh({ total: graph.self }, null);
    tree.arrange("weight");
    const leaves = stacks.map(({ names, weights }) => [[...names].reverse(), weights[0]]);
    assert.deepEqual(plain(page.fromLeaves(tree)), merge(leaves));
    const roots = stacks.map(({ names, weights }) => [names, weights[0]]);
    assert.deepEqual(plain(page.fromRoots(tree)), merge(roots));
    assert.deepEqual(plain(tree), merge(roots));

    const { callers, callees } = page.aroundFunction(tree, graph.names.indexOf("a"));
    const with_a = stacks.filter(({ names }) => names.includes("a"));
    const at = ({ names }) => names.indexOf("a");
    const above = with_a.map((stack) => [stack.names.slice(0, at(stack)).reverse(), stack.weights[0]]);
    const below = with_a.map((stack) => [stack.names.slice(at(stack) + 1), stack.weights[0]]);
    assert.deepEqual(plain(callers), merge(above));
    assert.deepEqual(plain(callees), merge(below));
    assert.equal(callers.total[0], callees.total[0]);
  }
});

test("filters leave out, hide and fold as a slow edit of the stacks does", () => {
  const merge = (stacks) => nodesOf(page.fromRoots(treeOf("", {}, stacks).tree)).map((node) => node.replace(/ @.*/, "")).sort();
  for (let seed = 1; seed < 30; seed++) {
    const stacks = someStacks(seed);
    const filtered = (keep, edit, hidden, folds) => {
      const { graph, tree } = treeOf("", {}, stacks);
      const is = (names) => names && Uint8Array.from(graph.names, (name) => (names.includes(name) ? 1 : 0));
      tree.hidden = is(hidden);
      tree.foldsRecursion = folds;
      if (keep) {
        const out = tree.leftOut(is(keep.only), is(keep.without));
        tree.weigh({ total: graph.self.map((weight, i) => (out[i] ? 0 : weight)) }, null);
      }
      const nodes = nodesOf(page.fromRoots(tree)).map((node) => node.replace(/ @.*/, ""));
      const edited = stacks.map(({ names, weights }) => ({ names: edit(names), weights }));
      const wanted = merge(edited.filter(({ names }) => names));
      assert.deepEqual(nodes.filter((node) => !node.endsWith(" 0")).sort(), wanted);
    };
    const has = (names, wanted) => wanted.some((name) => names.includes(name));
    filtered({ only: ["a", "b"] }, (names) => has(names, ["a", "b"]) && names);
    filtered({ without: ["c"] }, (names) => !has(names, ["c"]) && names);
    filtered({ only: ["a"], without: ["b", "c"] }, (names) => has(names, ["a"]) && !has(names, ["b", "c"]) && names);
    const visible = (names) => names.filter((name) => !["b", "c"].includes(name));
    filtered(null, (names) => visible(names).length > 0 && visible(names), ["b", "c"]);
    filtered(null, (names) => names.filter((name, i) => name !== names[i - 1]), null, true);
  }
});

test("callers are passed over as callees are", () => {
  const { graph, tree } = treeOf("a;h;b;b;c 3\na;c 1\nh 2\n");
  tree.hidden = Uint8Array.from(graph.names, (name) => (name === "h" ? 1 : 0));
  tree.foldsRecursion = true;
  const nodes = nodesOf(page.fromLeaves(tree)).map((node) => node.replace(/ @.*/, ""));
  assert.deepEqual(nodes, ["c 4", "c;b 3", "c;b;a 3", "c;a 1", " 2"]);
});

test("a differential keeps both weights", () => {
  const { tree } = treeOf("main;a 4 2\nmain;b 0 3\nmain;c 5 0\n", { isDifferential: true });
  assert.deepEqual([tree.before[0], tree.after[0], tree.total[0]], [9, 5, 5]);
  const { callers } = page.aroundFunction(tree, tree.names.indexOf("c"));
  assert.deepEqual([callers.before[0], callers.after[0]], [5, 0]);
  assert.equal(page.byChange(0, 3, 9, 5), page.NEW);
  assert.equal(page.byChange(5, 0, 9, 5), page.VANISHED);
  assert.equal(page.byChange(9, 5, 9, 5), page.CHANGES + page.STEPS);
  assert.equal(page.byChange(1, 400, 9, 5), page.CHANGES + 2 * page.STEPS);
  assert.deepEqual([page.change(0, 1, 9, 5), page.change(1, 0, 9, 5)], ["new", "vanished"]);
  assert.equal(page.change(50, 100, 1000, 1000), "+5.00 points");
  assert.deepEqual(
    [page.difference(3e9, 1e9, "ns"), page.difference(1, 2, ""), page.difference(0, 1, ""), page.difference(5, 5, "")],
    ["−2.00 s", "+1 sample", "new", "unchanged"],
  );
});

test("a match is counted once, whatever matches in it", () => {
  const { tree } = treeOf(TEXT);
  const share = (pattern, isExact = false, root = 0) => {
    const isMatch = page.matching(pattern, isExact, tree.names);
    const { nodes, weight } = page.matchesBelow(tree, root, isMatch);
    return [nodes.length, weight];
  };
  assert.deepEqual(share("write|flush"), [1, 2]);
  assert.deepEqual(share("PARSE"), [2, 7]);
  assert.deepEqual(share("PARSE", true), [0, 0]);
  const main = tree.name.indexOf(tree.names.indexOf("main"));
  assert.deepEqual(share("main", false, main + 1), [1, tree.total[main + 1]]);
  assert.equal(page.matching("", false, tree.names), null);
  assert.throws(() => page.matching("(", false, tree.names), SyntaxError);
});

test("walking meets all that is wide enough, and nothing else", () => {
  for (let seed = 1; seed < 20; seed++) {
    const graph = page.decode(encode(someStacks(seed, 300)));
    const tree = new page.Tree(graph);
    tree.weigh({ total: graph.self }, null);
    for (const order of ["weight", "name", "time"]) {
      tree.arrange(order);
      const next = random(seed);
      const lo = next(tree.total[0]);
      const hi = lo + 1 + next(tree.total[0] - lo);
      const scale = (1 + next(40)) / 10;
      const seen = new Set();
      let rest = 0;
      page.walk(tree, 0, { lo, hi, scale, rows: Infinity }, (i) => seen.add(i), (_row, from, to) => (rest += to - from));
      const isWide = (i) => i < 0 || (tree.total[i] * scale >= 1 && tree.x[i] < hi && tree.x[i] + tree.total[i] > lo && isWide(tree.parent[i]));
      const pixels = new Set();
      for (let i = 0; i < tree.name.length; i++) {
        if (order === "weight" || isWide(i)) assert.equal(seen.has(i), isWide(i), `node ${i}`);
        if (!seen.has(i) || tree.total[i] * scale >= 1) continue;
        const pixel = `${tree.depth[i]} ${Math.floor((tree.x[i] - lo) * scale)}`;
        assert.ok(!pixels.has(pixel), `two narrow boxes at ${pixel}`);
        pixels.add(pixel);
      }
      if (order !== "weight" || (scale >= 1 && lo === 0)) assert.equal(rest, 0);
      for (const i of seen) {
        if (!isWide(i)) continue;
        const at = Math.max(lo, tree.x[i]) + (Math.min(hi, tree.x[i] + tree.total[i]) - Math.max(lo, tree.x[i])) / 2;
        assert.deepEqual(page.nodeAt(tree, 0, { lo, hi, scale }, at, tree.depth[i]), { node: i });
      }
    }
  }
});

test("weights as people say them", () => {
  const said = [
    [1, "", "1 sample"],
    [1615, "", "1,615 samples"],
    [1.24e9, "ns", "1.24 s"],
    [76.7e9, "ns", "76.7 s"],
    [999.9e6, "ns", "1.00 s"],
    [1003009, "ns", "1.00 ms"],
    [667000, "ns", "667 µs"],
    [12, "ns", "12 ns"],
    [0, "ns", "0 s"],
    [3 * 2 ** 20, "bytes", "3.00 MiB"],
    [12, "bytes", "12 B"],
    [1.2345e10, "cycles", "12.3 G cycles"],
    [-2, "page-faults", "−2 page-faults"],
  ];
  for (const [value, unit, text] of said) assert.equal(page.weight(value, unit), text);
  const shares = [[0, 5, "0 %"], [1, 100000, "< 0.01 %"], [5, 1000, "0.50 %"], [123, 1000, "12.3 %"], [1, 1, "100 %"], [1, 0, "0 %"]];
  for (const [part, whole, text] of shares) assert.equal(page.percent(part, whole), text);
  assert.equal(page.tick(1.5e9, 0.5e9, "ns"), "1.5 s");
  assert.equal(page.tick(12e6, 1e6, "ns"), "12 ms");
  assert.deepEqual([0.3, 1, 1.2, 37, 501].map(page.roundStep), [0.5, 1, 2, 50, 1000]);
});

test("labels keep the end that tells", () => {
  const fit = (name, room) => page.fitted(name, room, (text) => text.length);
  assert.equal(fit("main", 10), "main");
  assert.equal(fit("alloc::vec::Vec<T, A>::push", 30), "alloc::vec::Vec<T, A>::push");
  assert.equal(fit("alloc::vec::Vec<T, A>::push", 22), "alloc::vec::Vec::push");
  assert.equal(fit("alloc::vec::Vec<T, A>::push", 10), "Vec::push");
  assert.equal(fit("alloc::vec::Vec<T, A>::push", 4), "push");
  assert.equal(fit("<alloc::vec::Vec<T> as core::iter::FromIterator<T>>::from_iter", 15), "Vec::from_iter");
  assert.equal(fit("<a::B>::f::<a::C::{closure#2}>::{closure#0}", 15), "f::{closure#0}");
  assert.equal(fit("std::operator<< <char>", 14), "operator<<");
  assert.equal(fit("JS:*fib /srv/app/main.js:12:1", 20), "JS:*fib main.js:12:1");
  assert.equal(fit("JS:*fib /srv/app/main.js:12:1", 10), "JS:*fib");
  assert.equal(fit("py::load:/srv/app/main.py", 15), "load:main.py");
  assert.equal(fit("py::load:/srv/app/main.py", 5), "load");
  assert.equal(fit("github.com/a/http.(*conn).serve", 20), "http.(*conn).serve");
  assert.equal(fit("a_long_function_name", 6), "a_lon…");
  assert.equal(fit("abcdef", 3), "");
  assert.equal(fit("abcdef", 1), "");
});

test("modules that names tell", () => {
  const told = {
    "alloc::vec::Vec<T>::push": "alloc",
    "<rustc_middle::ty::Ty as core::fmt::Debug>::fmt": "rustc_middle",
    "std::vector<int>::push_back": "std",
    "[cc1plus]": "cc1plus",
    "[/usr/lib/libc.so.6]": "libc.so.6",
    "do_idle_[k]": "kernel",
    "java.util.HashMap.put": "java.util",
    "net/http.(*conn).serve": "net/http",
    "runtime.mallocgc": "runtime",
    "py::f:/srv/app/m.py": "py",
    "f (app/m.py:12)": "m.py",
    "memcpy.constprop.0": "",
    main: "",
  };
  for (const [name, module] of Object.entries(told)) assert.equal(page.moduleOf(name), module, name);
});

test("every colour has its place", () => {
  for (const isDark of [false, true]) {
    const colours = page.palette(isDark);
    assert.equal(colours.length, page.VANISHED + 7);
    assert.ok(colours.every((colour) => /^#[\da-f]{6}$/.test(colour)), colours.join());
  }
  // As browsers convert them.
  assert.equal(page.hex(0.62796, 0.25768, 29.234), "#ff0000");
  assert.equal(page.hex(1, 0, 0), "#ffffff");
  const names = ["", "a::x", "b::y", "z", "a::y"];
  const modules = page.modulesOf(names, { self: [0, 1, 5, 2, 2], total: [0, 9, 5, 2, 2] });
  const colour = page.byModule(names, modules);
  assert.deepEqual(page.heaviest(modules).map((module) => [module.name, module.weight]), [["b", 5], ["a", 3], ["", 2]]);
  assert.equal(Math.floor(colour[1] / 3), Math.floor(colour[4] / 3));
  assert.equal(Math.floor(colour[3] / 3), page.NO_MODULE);
});

test("the address tells the state", () => {
  const state = { ...page.DEFAULTS, view: "function", fn: "a<b>&c=d;#é", flip: true, find: "x|y" };
  assert.deepEqual(page.fromHash(page.toHash(state)), state);
  assert.deepEqual(page.fromHash("#nothing=1&flip=0"), { ...page.DEFAULTS });
  assert.equal(page.toHash(page.DEFAULTS), "#");
  const { tree } = treeOf(TEXT);
  assert.equal(page.textToNode(tree, page.nodeToText(tree, 3)), 3);
  assert.equal(page.textToNode(tree, "99999"), 0);
  const merged = page.fromLeaves(tree);
  merged.open(0);
  const node = merged.first[0];
  merged.open(node);
  const deep = merged.first[node];
  const again = page.fromLeaves(tree);
  const found = page.textToNode(again, page.nodeToText(merged, deep));
  assert.equal(again.name[found], merged.name[deep]);
});

test("stacks are saved as they are shown", () => {
  const text = (tree, unit) => page.foldedText(tree, unit).join("");
  const sorted = (text) => text.split("\n").filter(Boolean).sort();
  for (const seed of [1, 2, 3]) {
    const all = someStacks(seed, 400);
    const sums = new Map();
    for (const { names, weights } of all) {
      const stack = names.join(";");
      sums.set(stack, (sums.get(stack) ?? 0) + weights[0]);
    }
    const { tree } = treeOf("", {}, all);
    assert.deepEqual(sorted(text(tree, "")), [...sums].map((pair) => pair.join(" ")).sort());
  }
  const { tree } = treeOf(TEXT);
  assert.match(text(tree, "ns"), /^# unit: ns 0\n/);
  tree.hidden = Uint8Array.from(tree.names, (name) => (name === "write" || name === "idle" ? 1 : 0));
  assert.ok(sorted(text(tree, "samples")).includes("main;flush 2"), text(tree, "samples"));
  assert.ok(!text(tree, "samples").includes("idle"));
  const differential = treeOf("a;b 1 2\na 3 0\n", { isDifferential: true });
  assert.deepEqual(sorted(text(differential.tree, "")), ["a 3 0", "a;b 1 2"]);
  assert.equal(page.fileName("app: ./a b", ".png"), "app-.-a-b.png");
  assert.equal(page.fileName("", ".folded"), "flamegraph.folded");
});
