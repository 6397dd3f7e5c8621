// Renews the page while the program runs. The server (src/watch/server.rs) answers once it has something
// newer, or once the recording has ended.

async function followRecording(notes) {
  const wait = document.getElementById("wait");
  wait.textContent = "Waiting for the first samples …";
  notes.quality = "recording …";
  let controls = null;
  let version = 0;
  let isLast = false;
  while (!isLast) {
    const answer = await fetch(`graph?after=${version}`).catch(() => null);
    // Without an answer the program was ended by force.
    if (answer?.status !== 200) break;
    version = Number(answer.headers.get("X-Version"));
    isLast = answer.headers.has("X-Last");
    const graph = await graphOf(await answer.text(), notes);
    if (controls) controls.renew(graph);
    else controls = open(graph, notes);
  }
  notes.quality = "the recording has ended";
  if (controls) controls.header();
  else wait.textContent = "The recording has ended without a sample.";
}

// Returns the names on the path to a node, the root's first.
function namesTo({ tree }, node) {
  const path = [];
  for (let i = node; i > 0; i = tree.parent[i]) path.unshift(tree.names[tree.name[i]]);
  return path;
}

// Returns the node with these names on its path, or the last one on the path that there is.
function nodeOf({ tree }, path) {
  let node = 0;
  for (const name of path) {
    tree.open(node);
    let child = tree.first[node];
    while (child >= 0 && tree.names[tree.name[child]] !== name) child = tree.next[child];
    if (child < 0) break;
    node = child;
  }
  return node;
}

// Shows newer data of the same profile. The zoom, the selection and the place stay.
Controls.prototype.renew = function (graph) {
  const { view } = this;
  const { state } = view;
  const at = view.panes.indexOf(view.active);
  const kept = view.panes.map((pane) => ({
    focus: namesTo(pane, pane.focus),
    selected: namesTo(pane, pane.selected),
    scroll: pane.scroll,
  }));
  const isFocused = this.$("outline").contains(document.activeElement);
  const table = this.$("functions").scrollTop;
  view.take(graph);
  view.isStill = true;
  // Without a zoom, the new panes.
  view.show({ ...state, zoom: "", range: "" });
  const said = state.zoom.startsWith("^") ? 0 : view.panes.length - 1;
  let { zoom } = state;
  if (zoom && kept[said]) {
    const pane = view.panes[said];
    const mark = zoom.startsWith("^") ? "^" : "";
    const text = nodeToText(pane.tree, nodeOf(pane, kept[said].focus));
    zoom = text && mark + text;
  }
  this.header();
  this.show({ ...state, zoom });
  view.isStill = false;
  view.panes.forEach((pane, i) => {
    pane.selected = nodeOf(pane, kept[i].selected);
    pane.scrollTo(kept[i].scroll);
  });
  const active = view.panes[at];
  if (active) this.select(active, active.selected, false);
  if (isFocused) this.outline.focus();
  this.$("functions").scrollTop = table;
  try {
    history.replaceState(null, "", toHash(view.state));
  } catch {
    // An embedded page may not change its address.
  }
};
