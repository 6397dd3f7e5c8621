// Merges nodes of one name into new trees: the callers of a function, its callees, and the whole
// profile from its leaves. Most of such a tree is too narrow to be seen, so a node gets its children
// when it is drawn.

// Returns the callers of the nodes that were reached with some weights. `reached` has the nodes and a
// column for each kind of weight.
function callersOf(tree, reached) {
  const node = [];
  const kept = [];
  for (let i = 0; i < reached.node.length; i++) {
    const caller = passed(tree, tree.parent[reached.node[i]]);
    if (caller <= 0) continue;
    node.push(caller);
    kept.push(i);
  }
  const callers = { node: Int32Array.from(node) };
  for (const kind of tree.kinds) callers[kind] = Float64Array.from(kept, (i) => reached[kind][i]);
  return callers;
}

// Returns the first node from `node` towards the root that is not passed over.
function passed(tree, node) {
  while (node > 0 && tree.passesOver(node)) node = tree.parent[node];
  return node;
}

function calleesOf(tree, reached) {
  const { first, next, name } = tree;
  const found = [];
  const pending = Array.from(reached.node);
  while (pending.length) {
    for (let child = first[pending.pop()]; child >= 0; child = next[child]) {
      if (!name[child]) continue;
      if (tree.passesOver(child)) pending.push(child);
      else found.push(child);
    }
  }
  return whole(tree, found);
}

// Returns nodes with the weight of everything that they call.
function whole(tree, nodes) {
  const reached = { node: Int32Array.from(nodes) };
  for (const kind of tree.kinds) {
    const column = kind === "total" ? tree.busy : tree[kind];
    reached[kind] = Float64Array.from(nodes, (i) => column[i]);
  }
  return reached;
}

class Merged {
  // The root stands for the function of all nodes in `reached`. `next` returns what is reached from
  // there.
  constructor(tree, name, reached, next) {
    this.tree = tree;
    this.names = tree.names;
    this.kinds = tree.kinds;
    this.step = next;
    this.isSorted = true;
    this.count = 0;
    this.reached = [];
    this.columns = { name: Int32Array, parent: Int32Array, depth: Int32Array, first: Int32Array, next: Int32Array };
    for (const column of ["x", "self", ...tree.kinds]) this.columns[column] = Float64Array;
    for (const [column, Kind] of Object.entries(this.columns)) this[column] = new Kind(256);
    this.slots = new Int32Array(tree.names.length);
    const sums = { name, reached };
    for (const kind of tree.kinds) sums[kind] = reached[kind].reduce((a, b) => a + b, 0);
    this.add(-1, sums, 0);
  }

  add(parent, group, x) {
    if (this.count === this.name.length) this.grow();
    const i = this.count++;
    this.name[i] = group.name;
    this.parent[i] = parent;
    this.depth[i] = parent < 0 ? 0 : this.depth[parent] + 1;
    this.first[i] = -1;
    this.next[i] = -1;
    this.x[i] = x;
    this.self[i] = group.total;
    for (const kind of this.kinds) this[kind][i] = group[kind];
    this.reached[i] = group.reached;
    return i;
  }

  grow() {
    for (const [column, Kind] of Object.entries(this.columns)) {
      const old = this[column];
      this[column] = new Kind(2 * old.length);
      this[column].set(old);
    }
  }

  // Makes the children of a node.
  open(i) {
    const reached = this.reached[i];
    if (!reached) return;
    this.reached[i] = null;
    let x = this.x[i];
    let last = -1;
    for (const group of this.groups(this.step(this.tree, reached))) {
      const child = this.add(i, group, x);
      if (last < 0) this.first[i] = child;
      else this.next[last] = child;
      last = child;
      x += group.total;
      this.self[i] -= group.total;
    }
    // Sums of fractions are not exact.
    if (this.self[i] < this.total[i] * 1e-12) this.self[i] = 0;
  }

  // Groups what was reached by name, the heaviest first.
  groups(reached) {
    const { name } = this.tree;
    const { slots, kinds } = this;
    const { node } = reached;
    const groups = [];
    for (let i = 0; i < node.length; i++) {
      const id = name[node[i]];
      if (slots[id] === 0) {
        slots[id] = groups.push({ name: id, size: 0, total: 0, before: 0, after: 0 });
      }
      const group = groups[slots[id] - 1];
      group.size++;
      for (const kind of kinds) group[kind] += reached[kind][i];
    }
    for (const group of groups) {
      group.reached = { node: new Int32Array(group.size) };
      for (const kind of kinds) group.reached[kind] = new Float64Array(group.size);
      group.size = 0;
    }
    for (let i = 0; i < node.length; i++) {
      const group = groups[slots[name[node[i]]] - 1];
      const at = group.size++;
      group.reached.node[at] = node[i];
      for (const kind of kinds) group.reached[kind][at] = reached[kind][i];
    }
    for (const group of groups) slots[group.name] = 0;
    return groups.sort((a, b) => b.total - a.total || a.name - b.name);
  }
}

// Turns the profile around: the roots are the functions that use the weight themselves, and their
// callers follow.
function fromLeaves(tree) {
  const leaves = [];
  for (let i = 1; i < tree.name.length; i++) {
    if (!tree.isIdle?.[i] && tree.kinds.some((kind) => tree.own[kind][i] > 0)) leaves.push(i);
  }
  const node = Int32Array.from(leaves, (i) => passed(tree, tree.name[i] ? i : tree.parent[i]));
  const reached = { node };
  for (const kind of tree.kinds) reached[kind] = Float64Array.from(leaves, (i) => tree.own[kind][i]);
  let isFirst = true;
  const next = (tree, reached) => {
    if (!isFirst) return callersOf(tree, reached);
    isFirst = false;
    return reached;
  };
  return new Merged(tree, 0, reached, next);
}

// Merges a tree whose siblings may have the same name, such as a flame chart.
function fromRoots(tree) {
  return new Merged(tree, 0, whole(tree, [0]), calleesOf);
}

// Returns the callers and the callees of a function.
function aroundFunction(tree, name) {
  const isWanted = new Uint8Array(tree.names.length);
  isWanted[name] = 1;
  const reached = whole(tree, tree.outermost(isWanted));
  return {
    callers: new Merged(tree, name, reached, callersOf),
    callees: new Merged(tree, name, reached, calleesOf),
  };
}
