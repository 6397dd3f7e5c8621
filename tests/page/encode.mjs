// A second writer of the data in a graph, for tests: simple, slow, and independent of src/graph/.

// Lines of folded text become stacks: their names, and one or two weights.
export function stacksOf(text, isDifferential = false) {
  const lines = text.split("\n").filter((line) => line && !line.startsWith("# "));
  return lines.map((line) => {
    const parts = line.split(" ");
    const after = isDifferential ? Number(parts.pop()) : undefined;
    const weight = Number(parts.pop());
    return { names: parts.join(" ").split(";"), weights: isDifferential ? [weight, after] : [weight] };
  });
}

// A node: its name (or null for the time of its parent), its own weights and its children.
function node(name, columns) {
  return { name, self: new Array(columns).fill(0), children: [] };
}

// Equal stacks are one, siblings are sorted by name.
function merged(stacks, columns) {
  const root = node(null, columns);
  root.byName = new Map();
  for (const { names, weights } of stacks) {
    let at = root;
    for (const name of names) {
      let child = at.byName.get(name);
      if (!child) {
        child = node(name, columns);
        child.byName = new Map();
        at.byName.set(name, child);
        at.children.push(child);
      }
      at = child;
    }
    weights.forEach((weight, i) => (at.self[i] += weight));
  }
  const byBytes = (a, b) => Buffer.compare(Buffer.from(a.name), Buffer.from(b.name));
  const sort = (at) => {
    at.children.sort(byBytes);
    at.children.forEach(sort);
  };
  sort(root);
  return root;
}

// Only neighbours are one.
function inOrder(stacks, columns) {
  const root = node(null, columns);
  for (const { names, weights } of stacks) {
    let at = root;
    for (const name of names) {
      const last = at.children[at.children.length - 1];
      if (last && last.name === name) {
        at = last;
      } else {
        const child = node(name, columns);
        at.children.push(child);
        at = child;
      }
    }
    if (at.children.length) {
      const own = node(null, columns);
      own.self = weights;
      at.children.push(own);
    } else {
      weights.forEach((weight, i) => (at.self[i] += weight));
    }
  }
  return root;
}

export function encode(stacks, { unit = "", isDifferential = false, isChart = false, keepsOrder = false } = {}) {
  const bytes = [];
  const put = (number) => {
    let rest = BigInt(number);
    while (rest > 127n) {
      bytes.push(Number(rest & 127n) | 128);
      rest >>= 7n;
    }
    bytes.push(Number(rest));
  };
  const columns = isDifferential ? 2 : 1;
  const root = isChart || keepsOrder ? inOrder(stacks, columns) : merged(stacks, columns);
  const names = new Map();
  const nodes = [];
  const pending = root.children.map((child) => [child, 0]).reverse();
  while (pending.length) {
    const [one, depth] = pending.pop();
    if (one.name !== null && !names.has(one.name)) names.set(one.name, names.size + 1);
    nodes.push({ depth, name: one.name === null ? 0 : names.get(one.name), self: one.self });
    for (let i = one.children.length - 1; i >= 0; i--) pending.push([one.children[i], depth + 1]);
  }
  put((isDifferential ? 1 : 0) | (isChart ? 2 : 0) | (keepsOrder ? 4 : 0));
  const text = (value) => Buffer.from(value);
  put(text(unit).length);
  bytes.push(...text(unit));
  put(1);
  put(names.size);
  for (const name of names.keys()) put(text(name).length);
  for (const name of names.keys()) for (const byte of text(name)) bytes.push(byte);
  put(nodes.length);
  nodes.forEach((one, i) => put(i === 0 ? 0 : nodes[i - 1].depth + 1 - one.depth));
  nodes.forEach((one) => put(one.name));
  for (let i = 0; i < columns; i++) nodes.forEach((one) => put(one.self[i]));
  return Uint8Array.from(bytes);
}
