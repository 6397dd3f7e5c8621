// Reads the profile and shows it.

async function start() {
  const data = document.querySelector('script[id^="flamepipe-graph"]');
  const notes = JSON.parse(document.getElementById("flamepipe-notes").textContent);
  const graph = decode(await inflate(fromBase64(data.textContent)));
  if (notes.unit) graph.unit = notes.unit;
  const state = fromHash(location.hash);
  if (location.hash.length < 2) {
    if (graph.isChart || graph.keepsOrder) state.view = "chart";
    if (notes.reverse) state.view = "callers";
    if (graph.names.includes(notes.fn)) Object.assign(state, { view: "function", fn: notes.fn });
    state.flip = notes.flip === true;
  }
  const view = new View(graph, document.getElementById("stage"));
  const controls = new Controls(view, notes);
  document.getElementById("wait").remove();
  view.layout();
  controls.show(state);
  // The size of the stage depends on what is around it.
  view.layout();
}

start().catch((error) => {
  const wait = document.getElementById("wait");
  if (wait) wait.textContent = `This page cannot be shown: ${error.message}`;
  throw error;
});
