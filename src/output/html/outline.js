// The tree behind the canvas is for screen readers and the keyboard. It has the selected frame, the path
// to it, the number of its siblings and its callees. The selected item has the focus.

// Limits on what a screen reader is told.
const DEEPEST = 100;
const MOST_CHILDREN = 20;
const MOST_SIBLINGS = 1000;

class Outline {
  constructor(element) {
    this.element = element;
  }

  show(view, pane) {
    const { tree, selected } = pane;
    const path = [];
    for (let i = selected; i >= 0 && path.length < DEEPEST; i = tree.parent[i]) path.unshift(i);
    this.element.replaceChildren();
    let into = this.element;
    for (const node of path) {
      const item = this.item(view, pane, node);
      const position = this.position(tree, node);
      item.setAttribute("aria-posinset", position.at);
      item.setAttribute("aria-setsize", position.of);
      item.setAttribute("aria-expanded", "true");
      into.append(item);
      into = document.createElement("div");
      into.setAttribute("role", "group");
      item.append(into);
      this.last = item;
    }
    this.last.tabIndex = 0;
    this.last.setAttribute("aria-selected", "true");
    tree.open(selected);
    const children = childrenOf(tree, selected);
    for (const child of children.slice(0, MOST_CHILDREN)) into.append(this.item(view, pane, child));
  }

  item(view, pane, node) {
    const item = document.createElement("div");
    item.setAttribute("role", "treeitem");
    item.setAttribute("aria-level", pane.tree.depth[node] + 1);
    item.setAttribute("aria-selected", "false");
    item.setAttribute("aria-label", `${view.nameOf(pane.tree, node)}, ${view.said(pane, node)}`);
    item.tabIndex = -1;
    return item;
  }

  position(tree, node) {
    const siblings = node === 0 ? [0] : childrenOf(tree, tree.parent[node]);
    return { at: siblings.indexOf(node) + 1, of: siblings.length };
  }

  focus() {
    this.last?.focus({ preventScroll: true });
  }
}

// Returns the visible children of a node, in the order in which they are drawn.
function childrenOf(tree, node) {
  const children = [];
  for (let child = tree.first[node]; child >= 0; child = tree.next[child]) {
    if (tree.name[child] && tree.total[child] > 0) children.push(child);
    if (children.length === MOST_SIBLINGS) break;
  }
  return children;
}
