// Reads the profile and shows it.

async function start() {
  const notes = JSON.parse(document.getElementById("flamepipe-notes").textContent);
  if (notes.live) return followRecording(notes);
  const data = document.querySelector('script[id^="flamepipe-graph"]');
  open(await graphOf(data.textContent, notes), notes);
}

// Shows the profile for the first time.
function open(graph, notes) {
  // The page opens like this unless its address says otherwise.
  if (graph.isChart || graph.keepsOrder) DEFAULTS.view = "chart";
  if (notes.reverse) DEFAULTS.view = "callers";
  if (graph.names.includes(notes.fn)) Object.assign(DEFAULTS, { view: "function", fn: notes.fn });
  DEFAULTS.flip = notes.flip === true;
  const view = new View(graph, document.getElementById("stage"));
  const controls = new Controls(view, notes);
  document.getElementById("wait").remove();
  view.layout();
  controls.show(fromHash(location.hash));
  // The header and the footer have their texts now, so the stage has another size.
  view.layout();
  return controls;
}

start().catch((error) => {
  const wait = document.getElementById("wait");
  if (wait) wait.textContent = `This page cannot be shown: ${error.message}`;
  throw error;
});
