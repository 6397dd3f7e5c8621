// Saves what is shown: the stacks as folded text, which fg-fold and its peers read, or the picture.

// The number of lines in one piece of text.
const LINES_OF_PIECE = 10_000;

// Returns the pieces of a folded text: what the filters leave, without hidden frames. A differential
// has two weights in each line.
function foldedText(tree, unit) {
  const { names, name, depth, own, isIdle } = tree;
  const isDifferential = Boolean(own.before);
  const pieces = [];
  let lines = unit && unit !== "samples" ? [`# unit: ${unit} 0${isDifferential ? " 0" : ""}\n`] : [];
  // The stack at each depth.
  const stacks = [""];
  for (let i = 1; i < name.length; i++) {
    const caller = stacks[depth[i] - 1];
    const isShown = !tree.passesOver(i);
    const stack = isShown ? (caller ? `${caller};${names[name[i]]}` : names[name[i]]) : caller;
    stacks[depth[i]] = stack;
    const weights = (isDifferential ? [own.before[i], own.after[i]] : [own.total[i]]).map(Math.round);
    if (!stack || isIdle?.[i] || weights.every((weight) => weight === 0)) continue;
    lines.push(`${stack} ${weights.join(" ")}\n`);
    if (lines.length === LINES_OF_PIECE) {
      pieces.push(lines.join(""));
      lines = [];
    }
  }
  pieces.push(lines.join(""));
  return pieces;
}

// Hands `blob` to the browser as a file to be saved.
function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  // The browser has begun to read it by then.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

// A file name for a page with this title.
function fileName(title, end) {
  return (title || "flamegraph").replace(/[^\p{L}\p{N}._-]+/gu, "-").slice(0, 80) + end;
}
