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

// Returns where a node is: the names on its path, the root's first, and its place in its lane.
function placeOf(pane, node) {
  const { tree } = pane;
  const names = [];
  for (let i = node; i > 0; i = tree.parent[i]) names.unshift(tree.names[tree.name[i]]);
  return { names, at: tree.x[node] - pane.origin(pane.laneOf(node)) };
}

// Returns the node at a place, or the last one on its path that there is. In a lane, neighbours may have
// the same name, but a time never changes.
function nodeOf(pane, { names, at }) {
  const { tree } = pane;
  const isLane = pane.lanes[0].root !== 0;
  let node = 0;
  for (const name of names) {
    const isThere = (child) => {
      if (tree.names[tree.name[child]] !== name) return false;
      if (!isLane || node === 0) return true;
      const start = tree.x[child] - pane.origin(pane.laneOf(child));
      return start <= at && at < start + tree.total[child];
    };
    tree.open(node);
    let child = tree.first[node];
    while (child >= 0 && !isThere(child)) child = tree.next[child];
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
    focus: placeOf(pane, pane.focus),
    selected: placeOf(pane, pane.selected),
    whole: pane.whole,
    scroll: pane.scroll,
  }));
  const isFocused = this.$("outline").contains(document.activeElement);
  const table = this.$("functions").scrollTop;
  view.take(graph);
  view.isStill = true;
  // Without a zoom, the new panes.
  view.show({ ...state, zoom: "", range: "" });
  const said = state.zoom.startsWith("^") ? 0 : view.panes.length - 1;
  let { zoom, range } = state;
  if (zoom && kept[said]) {
    const pane = view.panes[said];
    const mark = zoom.startsWith("^") ? "^" : "";
    const text = nodeToText(pane.tree, nodeOf(pane, kept[said].focus));
    zoom = text && mark + text;
  }
  // A chart grows to the right, and what is seen of it stays.
  if (view.lanes && kept[0] && view.panes[0]?.name === "chart") {
    const parts = range.split("~").map((at) => at * (kept[0].whole / view.panes[0].whole));
    range = range && parts.join("~");
  }
  this.header();
  this.show({ ...state, zoom, range });
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
