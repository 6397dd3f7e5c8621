// Draws the visible part of a tree on a canvas that is as large as the window.
//
// A pane shows the part of a tree between the weights `lo` and `hi`. Rows go up from its lower edge,
// or down from its upper edge. A flame chart has several lanes in a pane, each with rows of its own.

// Boxes narrower than this many pixels are drawn together.
const NARROW = 1;
// A row counts if it has at least as many narrow boxes, or a wide one.
const FEW = 4;
// A lane that is closed shows its name and when its thread was busy.
const CLOSED_ROWS = 2;
// Boxes narrower than this many pixels have no text.
const NO_TEXT = 24;

// Visits the visible boxes of a subtree. A subtree that is too narrow or out of sight costs one step,
// however large it is. If siblings are sorted by weight, the narrow ones become one box, `rest`.
// Otherwise the first one in each pixel of a row stands for the others.
function walk(tree, root, { lo, hi, scale, rows }, box, rest) {
  const narrow = NARROW / scale;
  const pixels = [];
  let i = root;
  let row = 0;
  for (;;) {
    const { x, total, parent } = tree;
    const start = x[i];
    const end = start + total[i];
    let child = -1;
    let isPast = start >= hi;
    if (!isPast && end > lo) {
      let isDrawn = total[i] >= narrow;
      if (!isDrawn && tree.isSorted) {
        const p = parent[i];
        const behind = x[p] + total[p] - tree.self[p];
        if (behind - start >= narrow) rest(row, start, behind);
        isPast = true;
      } else if (!isDrawn && tree.name[i]) {
        const pixel = Math.floor((start - lo) * scale);
        isDrawn = pixels[row] !== pixel;
        pixels[row] = pixel;
      }
      if (isDrawn) {
        if (tree.name[i] || i === root) box(i, row);
        if (row + 1 < rows) {
          tree.open(i);
          child = tree.first[i];
        }
      }
    }
    if (child >= 0) {
      i = child;
      row++;
      continue;
    }
    // Siblings are in the order of x.
    while (i !== root && (isPast || tree.next[i] < 0)) {
      i = tree.parent[i];
      row--;
      isPast = false;
    }
    if (i === root) return;
    i = tree.next[i];
  }
}

// Returns the node at a weight and a row, or the narrow neighbours that are drawn there as one.
function nodeAt(tree, root, { lo, hi, scale }, at, row) {
  const narrow = NARROW / scale;
  let i = root;
  if (at < tree.x[i] || at >= tree.x[i] + tree.total[i]) return null;
  for (let depth = 0; depth < row; depth++) {
    let child = tree.first[i];
    while (child >= 0 && tree.x[child] + tree.total[child] <= at) child = tree.next[child];
    if (child < 0) return null;
    i = child;
    if (tree.isSorted && tree.total[i] < narrow) return depth + 1 === row ? restAt(tree, i, lo, hi, narrow) : null;
  }
  return tree.name[i] || i === root ? { node: i } : null;
}

// Returns the narrow neighbours of a node, which are drawn as one.
function restAt(tree, i, lo, hi, narrow) {
  const p = tree.parent[i];
  let start = null;
  let end = 0;
  let count = 0;
  let isSeen = false;
  for (let child = tree.first[p]; child >= 0; child = tree.next[child]) {
    if (tree.total[child] >= narrow) {
      if (isSeen) break;
      start = null;
      continue;
    }
    if (start === null) {
      start = tree.x[child];
      count = 0;
    }
    count++;
    end = tree.x[child] + tree.total[child];
    isSeen ||= child === i;
  }
  return { parent: p, lo: Math.max(start, lo), hi: Math.min(end, hi), count };
}

class Pane {
  constructor(tree, options) {
    this.tree = tree;
    this.name = options.name;
    this.lanes = (options.lanes ?? [0]).map((root) => ({ root, row: 0, rows: 1 }));
    // Whether the lane of a root is closed.
    this.isClosed = options.isClosed ?? (() => false);
    // The first rows are not drawn if another pane shows them.
    this.hidden = options.hidden ?? 0;
    this.isUp = options.isUp;
    this.focus = 0;
    this.selected = 0;
    this.scroll = 0;
    this.shown = 1;
    this.lo = 0;
    this.hi = this.whole;
    this.place(0, 0, 1, 1, 20);
  }

  get whole() {
    return this.lanes[0].root === 0 ? this.tree.total[0] : this.tree.total[this.lanes[0].root];
  }

  place(left, top, width, height, row) {
    Object.assign(this, { left, top, width, height, row });
  }

  get scale() {
    return this.width / (this.hi - this.lo);
  }

  view(rows = Infinity) {
    return { lo: this.lo, hi: this.hi, scale: this.scale, rows };
  }

  // Each lane of a chart begins at 0.
  origin(lane) {
    return lane.root === 0 ? 0 : this.tree.x[lane.root];
  }

  laneView(lane, rows) {
    const origin = this.origin(lane);
    return { lo: this.lo + origin, hi: this.hi + origin, scale: this.scale, rows };
  }

  laneOf(node) {
    if (this.lanes[0].root === 0) return this.lanes[0];
    let root = node;
    while (this.tree.depth[root] > 1) root = this.tree.parent[root];
    return this.lanes.find((lane) => lane.root === root) ?? this.lanes[0];
  }

  // Whether a node is the name of one of several lanes.
  isLane(node) {
    return this.lanes.length > 1 && this.tree.depth[node] === 1;
  }

  // Whether a closed lane hides a node.
  hides(node) {
    const lane = this.laneOf(node);
    return this.isClosed(lane.root) && this.tree.depth[node] - this.tree.depth[lane.root] >= CLOSED_ROWS;
  }

  get isWhole() {
    return this.lo <= 0 && this.hi >= this.whole;
  }

  // Returns the upper edge of a row.
  y(row) {
    const offset = (row - this.hidden) * this.row - this.scroll;
    return this.isUp ? this.top + this.height - offset - this.row : this.top + offset;
  }

  // Returns where a node is drawn, in pixels. It may be out of sight.
  boxOf(node) {
    const lane = this.laneOf(node);
    const { tree, scale } = this;
    const row = lane.row + tree.depth[node] - tree.depth[lane.root];
    const left = this.left + (tree.x[node] - this.origin(lane) - this.lo) * scale;
    return { left, width: tree.total[node] * scale, top: this.y(row), height: this.row, row };
  }

  at(px, py) {
    if (py < this.top || py >= this.top + this.height || px < this.left || px >= this.left + this.width) return null;
    const fromEdge = this.isUp ? this.top + this.height - py : py - this.top;
    const row = Math.floor((fromEdge + this.scroll) / this.row) + this.hidden;
    const weight = this.lo + (px - this.left) / this.scale;
    for (const lane of this.lanes) {
      if (this.lanes.length > 1 && (row < lane.row || row >= lane.row + lane.rows)) continue;
      const origin = this.origin(lane);
      const found = nodeAt(this.tree, lane.root, this.laneView(lane), weight + origin, row - lane.row);
      if (found && "lo" in found) {
        found.lo -= origin;
        found.hi -= origin;
      }
      return found;
    }
    return null;
  }

  // Counts the rows that scrolling can show. Rows whose boxes are hardly visible do not count.
  measure() {
    const anchor = this.lanes.find((lane) => (lane.row + lane.rows) * this.row > this.scroll);
    const offset = anchor && anchor.row * this.row - this.scroll;
    let row = 0;
    for (const lane of this.lanes) {
      lane.row = row;
      lane.rows = this.isClosed(lane.root) ? Math.min(CLOSED_ROWS, this.rowsOf(lane)) : this.rowsOf(lane);
      row += lane.rows + 1;
    }
    this.shown = row - 1 - this.hidden;
    // The lane at the top of the screen stays there, even if those above it grew.
    this.scrollTo(anchor && this.lanes.length > 1 ? anchor.row * this.row - offset : this.scroll);
  }

  rowsOf(lane) {
    const { total } = this.tree;
    const view = this.laneView(lane, Infinity);
    view.scale /= 2;
    // One narrow box does not make a row.
    const boxes = [FEW];
    const box = (i, row) => (boxes[row] = (boxes[row] ?? 0) + (total[i] * view.scale >= NARROW ? FEW : 1));
    walk(this.tree, lane.root, view, box, () => {});
    return 1 + boxes.findLastIndex((count, row) => count >= FEW || row === 1);
  }

  get mostScroll() {
    return Math.max(0, this.shown * this.row - this.height);
  }

  scrollTo(scroll) {
    this.scroll = Math.max(0, Math.min(this.mostScroll, scroll));
  }

  // Keeps a range within the tree, and wide enough for the precision of numbers.
  range(lo, hi) {
    const { whole } = this;
    const width = Math.min(whole, Math.max(hi - lo, whole * 1e-9));
    lo = Math.max(0, Math.min(whole - width, lo));
    return [lo, lo + width];
  }
}

class Painter {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { alpha: false });
    this.widths = new Map();
  }

  resize(width, height, font) {
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    Object.assign(this, { width, height, ratio });
    if (font !== this.font) this.widths.clear();
    this.font = font;
    // A canvas of another size forgets its font.
    this.context.font = font;
  }

  // Returns the width of a text. Each character is measured once.
  measure(text) {
    let width = 0;
    for (const c of text) {
      let one = this.widths.get(c);
      if (one === undefined) {
        one = this.context.measureText(c).width;
        this.widths.set(c, one);
      }
      width += one;
    }
    return width;
  }

  begin(theme) {
    const { context, ratio } = this;
    this.theme = theme;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.fillStyle = theme.paper;
    context.fillRect(0, 0, this.width, this.height);
    context.textBaseline = "middle";
    context.direction = "ltr";
  }

  // Rounds to whole pixels of the screen, so that edges are sharp.
  snap(x) {
    return Math.round(x * this.ratio) / this.ratio;
  }

  // Draws a pane. `look` gives the colour and the label of a node.
  pane(pane, look) {
    const { context } = this;
    context.save();
    context.beginPath();
    context.rect(pane.left, pane.top, pane.width, pane.height);
    context.clip();
    this.texts = [];
    for (const lane of pane.lanes) this.lane(pane, lane, look);
    this.labels(look);
    context.restore();
    if (pane.mostScroll > 0) this.scrollBar(pane);
  }

  lane(pane, lane, look) {
    const { context, theme, texts } = this;
    const { tree, scale, left, width } = pane;
    let rows = Math.ceil((pane.scroll + pane.height) / pane.row) + pane.hidden - lane.row;
    if (pane.lanes.length > 1) rows = Math.min(rows, lane.rows);
    if (rows <= 0 || (pane.lanes.length > 1 && (lane.row + lane.rows) * pane.row < pane.scroll)) return;
    const view = pane.laneView(lane, rows);
    const right = left + width;
    let last = -1;
    const fill = (from, to, row, colour) => {
      const y = pane.y(row + lane.row);
      if (y > pane.top + pane.height || y + pane.row < pane.top) return null;
      from = this.snap(Math.max(left, left + (from - view.lo) * scale));
      to = this.snap(Math.min(right, left + (to - view.lo) * scale));
      if (colour !== last) context.fillStyle = theme.colours[(last = colour)];
      // Neighbours have a gap between them if they are wide enough.
      const gap = to - from > 3 ? 1 / this.ratio : 0;
      context.fillRect(from, y, Math.max(to - from - gap, NARROW), pane.row - 1);
      return { from, to, y };
    };
    const box = (i, row) => {
      if (row + lane.row < pane.hidden) return;
      const drawn = fill(tree.x[i], tree.x[i] + tree.total[i], row, look.colour(tree, i));
      if (drawn && drawn.to - drawn.from >= NO_TEXT) texts.push(tree, i, drawn.from, drawn.to, drawn.y + pane.row / 2);
    };
    const rest = (row, from, to) => fill(from, to, row, REST);
    walk(tree, lane.root, view, box, rest);
  }

  labels(look) {
    const { context, theme, texts } = this;
    const width = (text) => this.measure(text);
    for (let k = 0; k < texts.length; k += 5) {
      const [tree, i, from, to, y] = texts.slice(k, k + 5);
      const label = look.label(tree, i, to - from - 9, width);
      if (!label) continue;
      context.fillStyle = theme.ink[look.ink(tree, i)];
      context.fillText(label, from + 4, y);
    }
  }

  scrollBar(pane) {
    const { context, theme } = this;
    const whole = pane.shown * pane.row;
    const height = Math.max(24, (pane.height * pane.height) / whole);
    const at = (pane.scroll / pane.mostScroll) * (pane.height - height);
    context.fillStyle = theme.thumb;
    context.beginPath();
    const y = pane.isUp ? pane.top + pane.height - height - at : pane.top + at;
    context.roundRect(pane.left + pane.width - 6, y + 2, 4, height - 4, 2);
    context.fill();
  }

  line(y) {
    this.context.fillStyle = this.theme.line;
    this.context.fillRect(0, Math.round(y) - 1, this.width, 1);
  }

  // Draws the lines behind a chart, and the time since the recording began above them.
  grid(pane, unit) {
    const { context, theme } = this;
    const step = roundStep((120 / pane.width) * (pane.hi - pane.lo));
    for (let at = Math.ceil(pane.lo / step) * step; at < pane.hi; at += step) {
      const x = this.snap(pane.left + (at - pane.lo) * pane.scale);
      context.fillStyle = theme.line;
      context.fillRect(x, 0, 1 / this.ratio, pane.top + pane.height);
      context.fillStyle = theme.ink[2];
      const label = tick(at, step, unit);
      if (x + this.measure(label) + 5 < this.width) context.fillText(label, x + 4, pane.top / 2);
    }
    this.line(pane.top);
  }
}

// Returns 1, 2 or 5 times a power of ten that is not less than `least`.
function roundStep(least) {
  const power = 10 ** Math.floor(Math.log10(least));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= least);
}
