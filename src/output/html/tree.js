// The call tree as it was recorded, in typed arrays with an entry for each node in preorder.
//
// `first` and `next` link the children of a node in the order in which they are drawn. `x` is where a
// node begins, in the unit of the weights. `end` is the node after the last one of a subtree.

class Tree {
  constructor(graph) {
    const { depth } = graph;
    const count = depth.length;
    this.names = graph.names;
    this.name = graph.name;
    this.depth = depth;
    this.parent = new Int32Array(count).fill(-1);
    this.end = new Int32Array(count).fill(count);
    this.first = new Int32Array(count);
    this.next = new Int32Array(count);
    this.x = new Float64Array(count);
    const open = [0];
    for (let i = 1; i < count; i++) {
      while (depth[open[open.length - 1]] >= depth[i]) this.end[open.pop()] = i;
      this.parent[i] = open[open.length - 1];
      open.push(i);
    }
  }

  // All nodes exist from the start, unlike those of a merged tree.
  open() {}

  // Returns the weight of each node including everything that it calls.
  sums(self) {
    const { parent } = this;
    const total = self.slice();
    for (let i = total.length - 1; i > 0; i--) total[parent[i]] += total[i];
    return total;
  }

  // Sets the nodes' own weights. `total` decides how wide they are drawn; nodes of a differential also
  // have a weight `before` and `after`. Nodes that `isIdle` marks are drawn but not counted.
  weigh(own, isIdle) {
    this.own = own;
    this.kinds = Object.keys(own);
    for (const kind of this.kinds) this[kind] = this.sums(own[kind]);
    this.self = own.total;
    this.isIdle = isIdle;
    this.busy = isIdle ? this.sums(own.total.map((weight, i) => (isIdle[i] ? 0 : weight))) : this.total;
  }

  // Marks what filters leave out: stacks without a match of `only`, stacks with a match of `without`,
  // and stacks of another `root`. Filters may be null or empty.
  leftOut(only, without, root = "") {
    const { name, names, depth, end } = this;
    const marks = new Uint8Array(name.length);
    let kept = only ? 0 : name.length;
    let dropped = 0;
    for (let i = 0; i < name.length; i++) {
      if (root && depth[i] === 1 && names[name[i]] !== root) dropped = end[i];
      if (only && i >= kept && only[name[i]]) kept = end[i];
      if (without && i >= dropped && without[name[i]]) dropped = end[i];
      marks[i] = i >= kept || i < dropped ? 1 : 0;
    }
    return marks;
  }

  // Marks the gaps of lanes, in which their threads were not sampled.
  gaps() {
    return Uint8Array.from(this.name, (name, i) => this.depth[i] === 1 || (this.depth[i] === 2 && name === 0));
  }

  // Merged trees pass over a node if it is hidden, or if it is called by itself and recursion is folded.
  // Its callees then belong to its caller.
  passesOver(i) {
    const { name } = this;
    return (this.hidden && this.hidden[name[i]]) || (this.foldsRecursion && name[i] === name[this.parent[i]]);
  }

  // Puts siblings in order: by "weight", by "name" as in the data, or by "time", which is the reverse
  // of the data.
  arrange(order) {
    const { parent, first, next, total, x } = this;
    const count = parent.length;
    first.fill(-1);
    next.fill(-1);
    const link = (i) => {
      next[i] = first[parent[i]];
      first[parent[i]] = i;
    };
    if (order === "time") {
      for (let i = 1; i < count; i++) link(i);
    } else {
      for (let i = count - 1; i > 0; i--) link(i);
    }
    this.isSorted = order === "weight";
    if (this.isSorted) this.sort();
    for (let i = 0; i < count; i++) {
      let at = x[i];
      for (let child = first[i]; child >= 0; child = next[child]) {
        x[child] = at;
        at += total[child];
      }
    }
  }

  // Links the heaviest children first.
  sort() {
    const { first, next, total } = this;
    const children = [];
    const heaviest = (a, b) => total[b] - total[a] || a - b;
    for (let i = 0; i < first.length; i++) {
      const one = first[i];
      const two = one < 0 ? -1 : next[one];
      if (two < 0) continue;
      if (next[two] < 0) {
        if (total[one] >= total[two]) continue;
        first[i] = two;
        next[two] = one;
        next[one] = -1;
        continue;
      }
      children.length = 0;
      for (let child = one; child >= 0; child = next[child]) children.push(child);
      children.sort(heaviest);
      first[i] = children[0];
      for (let k = 1; k < children.length; k++) next[children[k - 1]] = children[k];
      next[children[children.length - 1]] = -1;
    }
  }

  // Returns the outermost nodes of the wanted names. Their weights together count each sample once.
  outermost(isWanted) {
    const { name, end } = this;
    const found = [];
    for (let i = 1; i < name.length; ) {
      if (isWanted[name[i]]) {
        found.push(i);
        i = end[i];
      } else {
        i++;
      }
    }
    return found;
  }

  // Returns each function's own weight, and its weight including everything that it calls. A function
  // that calls itself counts once.
  functions() {
    const { name, names, depth, busy } = this;
    const sums = { self: new Float64Array(names.length) };
    for (const kind of this.kinds) sums[kind] = new Float64Array(names.length);
    const active = new Int32Array(names.length);
    const stack = [];
    for (let i = 1; i < name.length; i++) {
      while (stack.length >= depth[i]) active[stack.pop()]--;
      const id = name[i] || name[this.parent[i]];
      stack.push(id);
      if (!this.isIdle?.[i]) sums.self[id] += this.self[i];
      if (active[id]++ > 0) continue;
      for (const kind of this.kinds) sums[kind][id] += (kind === "total" ? busy : this[kind])[i];
    }
    return sums;
  }
}

// Returns the lanes of a flame chart: the roots, if each is as long as the recording. Folded text that
// is drawn in the order of its lines has no lanes.
function lanesOf(graph, tree) {
  const roots = [];
  for (let root = tree.first[0]; root >= 0; root = tree.next[root]) roots.push(root);
  const isLane = (root) => tree.total[root] === tree.total[roots[0]];
  return graph.isChart && graph.unit === "ns" && roots.every(isLane) ? roots : null;
}
