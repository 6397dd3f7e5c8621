// The state of the page stands in its address, so a link shows the same again.

const DEFAULTS = {
  view: "graph", // or "chart", "callers", "function", "table"
  flip: false, // an icicle instead of a flame
  order: "weight", // or "name"
  colour: "module", // or "name"
  width: "after", // of a differential: "after", "before" or "both"
  swap: false, // the second profile of a differential counts as the first
  compare: "share", // what changed in a differential: "share" or "weight"
  zoom: "", // the node that is zoomed to
  range: "", // the part that is shown, if it is not that of a node
  fn: "", // the function whose callers and callees are shown
  find: "", // what is searched for
  exact: false, // case counts
  root: "", // the root frame that stacks must have: a thread, a process, a CPU or an event
  only: "", // what stacks must have to count
  without: "", // what they must not have
  hide: "", // frames that are passed over
  fold: false, // a function that calls itself is one frame
  sort: "self", // the column of the table
  theme: "", // "dark" or "light"; empty is that of the system
};

function toHash(state) {
  const said = new URLSearchParams();
  for (const [key, value] of Object.entries(DEFAULTS)) {
    if (state[key] !== value) said.set(key, typeof value === "boolean" ? Number(state[key]) : state[key]);
  }
  return `#${said}`;
}

function fromHash(hash) {
  const said = new URLSearchParams(hash.replace(/^#/, ""));
  const state = { ...DEFAULTS };
  for (const [key, value] of said) {
    if (!(key in DEFAULTS)) continue;
    state[key] = typeof DEFAULTS[key] === "boolean" ? value === "1" : value;
  }
  return state;
}

// The address names a node of the recorded tree by its number, and one of a merged tree by the names on
// its path.
function nodeToText(tree, node) {
  if (node === 0) return "";
  if (tree instanceof Tree) return String(node);
  const path = [];
  for (let i = node; i > 0; i = tree.parent[i]) path.unshift(tree.name[i]);
  return path.join(".");
}

function textToNode(tree, text) {
  if (tree instanceof Tree) {
    const node = Number(text);
    return Number.isInteger(node) && node > 0 && node < tree.name.length ? node : 0;
  }
  let node = 0;
  for (const name of text ? text.split(".") : []) {
    tree.open(node);
    let child = tree.first[node];
    while (child >= 0 && tree.name[child] !== Number(name)) child = tree.next[child];
    if (child < 0) return node;
    node = child;
  }
  return node;
}
