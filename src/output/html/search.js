// A search tests its expression once for each name, not for each node.

// Marks the names that match. It is null without a pattern.
function matching(pattern, isExact, names) {
  if (!pattern) return null;
  const expression = new RegExp(pattern, isExact ? "" : "i");
  const isMatch = new Uint8Array(names.length);
  for (let id = 1; id < names.length; id++) {
    if (expression.test(names[id])) isMatch[id] = 1;
  }
  return isMatch;
}

// The same for a filter. If the address has a wrong expression, it filters nothing.
function filtering(pattern, isExact, names) {
  try {
    return matching(pattern, isExact, names);
  } catch {
    return null;
  }
}

// Returns the outermost matches in a subtree and their weight, so each sample counts once.
function matchesBelow(tree, root, isMatch) {
  const weight = tree.busy;
  for (let i = root; i > 0; i = tree.parent[i]) {
    if (isMatch[tree.name[i]]) return { nodes: [root], weight: weight[root] };
  }
  const found = { nodes: [], weight: 0 };
  for (let i = root + 1; i < tree.end[root]; ) {
    if (isMatch[tree.name[i]]) {
      found.nodes.push(i);
      found.weight += weight[i];
      i = tree.end[i];
    } else {
      i++;
    }
  }
  return found;
}

// Returns an expression that matches a text and nothing else.
function literal(text) {
  return text.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");
}
