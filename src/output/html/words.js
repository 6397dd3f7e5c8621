// The texts of the header, the tooltip, the footer, the legend and the help.

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

// Returns the line under the title: what was recorded, how much, and how good it is.
function summary(graph, notes, view) {
  const { before, after, total } = view.wholes;
  const parts = [];
  for (const text of [notes.subtitle, notes.command, notes.notes]) if (text) parts.push(text);
  const how = [notes.event, notes.rate && `at ${notes.rate}`, notes.host && `on ${notes.host}`];
  if (how.some(Boolean)) parts.push(how.filter(Boolean).join(" "));
  if (graph.isDifferential) {
    parts.push(`${weight(before, graph.unit)} before, ${weight(after, graph.unit)} after`);
  } else {
    parts.push(weight(total, graph.unit) + (notes.span ? ` in ${weight(notes.span, "ns")}` : ""));
  }
  if (view.lanes) parts.push(view.lanes.length === 1 ? "1 thread" : `${grouped(view.lanes.length)} threads`);
  if (notes.quality) parts.push(notes.quality);
  return parts.join(" · ");
}

// Returns the weights of a frame, as rows of a term and one or two values.
function facts(view, pane, node) {
  const { tree } = pane;
  const { graph, wholes } = view;
  const { unit } = graph;
  const rows = [];
  const share = (part) => {
    const focus = tree.total[pane.focus];
    const ofAll = `${percent(part, wholes.total)} of all`;
    return pane.focus && focus > 0 && node !== pane.focus ? `${ofAll}, ${percent(part, focus)} of view` : ofAll;
  };
  if (tree.before && node >= 0) {
    const [before, after] = [tree.before[node], tree.after[node]];
    rows.push(["Before", weight(before, unit), percent(before, wholes.before)]);
    rows.push(["After", weight(after, unit), percent(after, wholes.after)]);
    const said = view.changeOf(before, after);
    if (said) rows.push(["Change", said]);
  } else {
    rows.push(["Total", weight(tree.total[node], unit), share(tree.total[node])]);
    if (pane.name !== "callers") rows.push(["Self", weight(tree.self[node], unit), share(tree.self[node])]);
  }
  const module = moduleOf(view.nameOf(tree, node));
  if (module && tree.name[node]) rows.push(["Module", module]);
  return rows;
}

// Returns the same as one phrase.
function phrase(view, pane, node) {
  const { tree } = pane;
  const { wholes, graph } = view;
  if (!tree.before) {
    return `${weight(tree.total[node], graph.unit)}, ${percent(tree.total[node], wholes.total)}`;
  }
  const [before, after] = [tree.before[node], tree.after[node]];
  const said = view.changeOf(before, after);
  return `${percent(before, wholes.before)} before, ${percent(after, wholes.after)} after${said && `, ${said}`}`;
}

// Makes the legend of the colours. A click on a module searches for it.
function legend(view, theme, search) {
  const swatch = (colour) => {
    const made = element("i");
    made.style.background = theme.colours[colour];
    return made;
  };
  const entry = (colour, text) => {
    const made = element("span");
    made.append(swatch(colour), text);
    return made;
  };
  if (view.graph.isDifferential) {
    const scale = element("span", undefined, "scale");
    scale.append("half or less", element("b"));
    for (let step = -STEPS; step <= STEPS; step++) scale.append(swatch(CHANGES + STEPS + step));
    scale.append("twice or more");
    const shown = [scale, entry(NEW, "new (+)")];
    shown.push(entry(VANISHED, `vanished (−)${view.state.width === "after" ? ": see Options, Width" : ""}`));
    return shown;
  }
  if (view.state.colour === "name") return [];
  const all = view.wholes.total;
  const isSeen = (module) => module.weight > all / 500 || module.drawn > all / 20;
  return view.modules.filter(isSeen).slice(0, 12).map((module) => {
    const made = element("button");
    const name = module.name || "no module";
    const share = module.weight > 0 ? ` ${percent(module.weight, all)}` : "";
    made.append(swatch(module.slot * SHADES + 1), name.slice(0, 40) + share);
    made.title = `Search for ${name}`;
    made.disabled = !module.name;
    made.addEventListener("click", () => search(module.name));
    return made;
  });
}

const KEYS = [
  ["↑ ↓ ← →", "Select a caller, a callee, a neighbour"],
  ["Enter, click", "Zoom to a frame"],
  ["Escape", "Zoom out; leave a view, a search, a menu"],
  ["Backspace", "Back; the browser's back and forward work too"],
  ["/", "Search"],
  ["n N", "Next and previous match, the heaviest first"],
  ["k e h", "Keep only the stacks of the matches or the selected function, leave them out, hide the frames"],
  ["r", "Fold recursion into one frame"],
  ["i", "Match upper and lower case, or not"],
  ["g l c t", "Graph, chart, callers, functions"],
  ["L", "Close all lanes of a chart, or open them; a click on the name of one does it for that one"],
  ["x", "Callers and callees of the selected frame"],
  ["f", "Turn flame and icicle round"],
  ["o", "Order: heaviest first, or alphabetical"],
  ["m", "Colour by module or by name"],
  ["w", "Width of a differential: after, before, both"],
  ["v", "Swap before and after"],
  ["b", "Compare shares or weights"],
  ["d", "Dark or light"],
  ["y Y", "Copy the name, the stack"],
  ["+ −, wheel", "Zoom in and out"],
  ["a s, drag, Shift+wheel", "Move left and right"],
  ["Page Up, Page Down, Alt+wheel", "Scroll"],
  ["0, Home", "Show all"],
  ["?", "This list"],
];

function helpRows() {
  return KEYS.flatMap(([keys, what]) => {
    const term = element("dt");
    for (const part of keys.split(", ")) term.append(term.childNodes.length ? " " : "", element("kbd", part));
    return [term, element("dd", what)];
  });
}
