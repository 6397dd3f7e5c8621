// The view makes panes from a profile and a state, moves them, and draws them.

class View {
  constructor(graph, stage) {
    this.stage = stage;
    this.painter = new Painter(stage.querySelector("canvas"));
    this.state = { ...DEFAULTS };
    this.panes = [];
    this.active = null;
    this.isMatch = null;
    this.isQueued = false;
    // Panes do not move smoothly while newer data replace old ones.
    this.isStill = false;
    // The names of the lanes that are closed.
    this.closed = new Set();
    this.take(graph);
  }

  // Takes a profile, or newer data of the same one.
  take(graph) {
    this.graph = graph;
    this.tree = new Tree(graph);
    this.tree.weigh(this.ownWeights(), null);
    this.arrange();
    this.lanes = lanesOf(graph, this.tree);
    this.weigh();
    this.colourNames();
    this.find();
    this.shownKey = null;
  }

  // Sets the weights, which the filters decide.
  weigh() {
    const { graph, tree, state } = this;
    const match = (pattern) => filtering(pattern, state.exact, graph.names);
    const [only, without] = [match(state.only), match(state.without)];
    const out = only || without || state.root ? tree.leftOut(only, without, state.root) : null;
    tree.hidden = match(state.hide);
    tree.foldsRecursion = state.fold;
    const own = this.ownWeights();
    if (this.isSequence) {
      // A chart keeps the place of what filters leave out.
      const gaps = this.lanes && tree.gaps();
      tree.weigh(own, out && gaps ? out.map((mark, i) => mark | gaps[i]) : out ?? gaps);
    } else {
      const kept = (weights) => (out ? weights.map((weight, i) => (out[i] ? 0 : weight)) : weights);
      for (const kind of Object.keys(own)) own[kind] = kept(own[kind]);
      tree.weigh(own, null);
    }
    this.arrange();
    this.functionSums = null;
    this.made = new Map();
    // The label of the root says the weight.
    this.fits = null;
  }

  ownWeights() {
    const { self, before: first } = this.graph;
    if (!first) return { total: self };
    const [before, after] = this.state.swap ? [self, first] : [first, self];
    const larger = () => after.map((weight, i) => Math.max(weight, before[i]));
    const { width } = this.state;
    return { total: width === "both" ? larger() : width === "before" ? before : after, before, after };
  }

  arrange() {
    const { graph, tree, state } = this;
    const order = graph.isChart ? "time" : graph.keepsOrder ? "name" : state.order;
    if (tree.order === order && tree.orderedBy === tree.total) return;
    tree.arrange(order);
    tree.order = order;
    tree.orderedBy = tree.total;
  }

  // Whether siblings may have the same name.
  get isSequence() {
    return this.graph.isChart || this.graph.keepsOrder;
  }

  get functions() {
    return (this.functionSums ??= this.tree.functions());
  }

  colourNames() {
    const { names } = this.graph;
    // A module that has a colour keeps it.
    const old = new Map(this.moduleOfName?.map((module) => [module.name, module.slot]));
    this.moduleOfName = modulesOf(names, this.functions);
    this.colours = { module: byModule(names, this.moduleOfName, old), name: byName(names) };
  }

  // The root frames with their weights in the whole profile, the heaviest first.
  get roots() {
    const { graph, tree } = this;
    const weights = new Map();
    let root = "";
    for (let i = 1; i < graph.depth.length; i++) {
      if (graph.depth[i] === 1) root = graph.names[tree.name[i]];
      weights.set(root, (weights.get(root) ?? 0) + graph.self[i]);
    }
    return [...weights].sort(([a, one], [b, two]) => two - one || (a < b ? -1 : 1));
  }

  // The modules with their weights under the filters, the heaviest first.
  get modules() {
    return this.once("modules", () => {
      const { self, total } = this.functions;
      for (const module of this.moduleOfName) module.weight = module.drawn = 0;
      this.moduleOfName.forEach((module, id) => {
        module.weight += self[id];
        module.drawn += total[id];
      });
      return heaviest(this.moduleOfName);
    });
  }

  // Makes something once until the weights change.
  once(key, make) {
    if (!this.made.has(key)) this.made.set(key, make());
    return this.made.get(key);
  }

  // Shows a state.
  show(state) {
    const old = this.state;
    this.state = state;
    const changed = (...names) => names.some((name) => state[name] !== old[name]);
    if (changed("width", "swap", "root", "only", "without", "hide", "fold")) this.weigh();
    this.arrange();
    if (changed("find", "exact")) this.find();
    const shaping = ["view", "flip", "width", "swap", "order", "fn", "root", "only", "without", "hide", "fold"];
    const key = shaping.map((name) => state[name]).join("\n");
    // What is selected stays selected if only the looks change.
    const isSame = key === this.shownKey && state.zoom === old.zoom;
    if (key !== this.shownKey) {
      this.panes = this.makePanes();
      this.active = this.panes[this.panes.length - 1] ?? null;
      this.shownKey = key;
      this.layout();
    }
    for (const pane of this.panes) {
      const isSaid = !state.zoom.startsWith("^") !== (pane.name === "callers" && this.panes.length > 1);
      const text = isSaid ? state.zoom.replace("^", "") : "";
      const node = textToNode(pane.tree, text);
      pane.focus = node;
      if (!isSame) pane.selected = node;
      if (isSaid && !isSame) this.active = pane;
      const range = isSaid && /^([\d.e-]+)~([\d.e-]+)$/.exec(state.range);
      const box = pane.boxOf(node);
      const start = pane.lo + (box.left - pane.left) / pane.scale;
      const [lo, hi] = range
        ? [range[1] * pane.whole, range[2] * pane.whole]
        : [start, start + pane.tree.total[node]];
      this.moveTo(pane, ...pane.range(lo, hi), !range);
    }
    this.queue();
  }

  makePanes() {
    const { state, tree, lanes } = this;
    const isUp = !state.flip;
    switch (state.view) {
      case "chart":
        return [new Pane(tree, { name: "chart", isUp: !lanes && isUp, lanes, isClosed: this.isClosed.bind(this) })];
      case "callers": {
        const leaves = this.once("leaves", () => fromLeaves(tree));
        return [new Pane(leaves, { name: "callers", isUp })];
      }
      case "function": {
        const id = Math.max(0, this.graph.names.indexOf(state.fn));
        const { callers, callees } = this.once(`fn ${id}`, () => aroundFunction(tree, id));
        return [
          new Pane(callers, { name: "callers", isUp: true, hidden: 1 }),
          new Pane(callees, { name: "callees", isUp: false }),
        ];
      }
      case "table":
        return [];
      default: {
        const isMerged = this.isSequence || state.hide || state.fold;
        const shown = isMerged ? this.once("roots", () => fromRoots(tree)) : tree;
        return [new Pane(shown, { name: "graph", isUp })];
      }
    }
  }

  layout() {
    const { width, height } = this.stage.getBoundingClientRect();
    const size = parseFloat(getComputedStyle(document.documentElement).fontSize);
    const font = `${Math.round(size * 0.75)}px system-ui, sans-serif`;
    const row = Math.round(size * 1.25);
    // Labels are fitted to a font.
    if (font !== this.painter.font) this.fits = null;
    this.painter.resize(width, height, font);
    // A canvas of another size is black until it is drawn.
    if (this.theme) this.painter.begin(this.theme);
    const axis = this.state.view === "chart" ? row + 4 : 0;
    if (this.panes.length === 2) {
      const [callers, callees] = this.panes;
      for (const pane of this.panes) pane.place(0, 0, width, height, row);
      callers.measure();
      const upper = Math.min(callers.shown * row, Math.round(height / 2 / row) * row);
      callers.place(0, 0, width, upper, row);
      callees.place(0, upper, width, height - upper, row);
    } else if (this.panes.length) {
      this.panes[0].place(0, axis, width, height - axis, row);
    }
    for (const pane of this.panes) pane.measure();
    this.queue();
  }

  // Tests all names. If the expression is wrong, `findError` says why.
  find() {
    this.findError = "";
    this.isMatch = null;
    try {
      this.isMatch = matching(this.state.find, this.state.exact, this.graph.names);
    } catch (error) {
      this.findError = error.message.replace(/^Invalid regular expression: /, "");
    }
  }

  // Moves to a range, smoothly unless the system asks for less motion.
  moveTo(pane, lo, hi, isSmooth) {
    const from = [pane.lo, pane.hi];
    pane.target = [lo, hi];
    cancelAnimationFrame(pane.frame);
    const finish = () => {
      [pane.lo, pane.hi] = [lo, hi];
      pane.target = null;
      pane.measure();
      this.reveal(pane, pane.selected);
      this.queue();
    };
    const isCalm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (!isSmooth || isCalm || this.isStill || (from[0] === lo && from[1] === hi)) return finish();
    const start = performance.now();
    const step = (now) => {
      const part = Math.min(1, Math.max(0, (now - start) / 160));
      if (part === 1) return finish();
      const eased = 1 - (1 - part) ** 3;
      pane.lo = from[0] + (lo - from[0]) * eased;
      pane.hi = from[1] + (hi - from[1]) * eased;
      this.queue();
      pane.frame = requestAnimationFrame(step);
    };
    pane.frame = requestAnimationFrame(step);
  }

  // Zooms by a factor around a place of the screen.
  zoomAt(pane, px, factor) {
    const [from, to] = pane.target ?? [pane.lo, pane.hi];
    const at = from + ((px - pane.left) / pane.width) * (to - from);
    const range = pane.range(at - (at - from) * factor, at + (to - at) * factor);
    this.pan(pane, ...range);
  }

  pan(pane, lo, hi) {
    cancelAnimationFrame(pane.frame);
    pane.target = null;
    [pane.lo, pane.hi] = pane.range(lo, hi);
    this.queue();
    this.onPan(pane);
  }

  // Counts the rows again once a pane rests.
  settle(pane) {
    pane.measure();
    this.queue();
  }

  // Scrolls to a node's row.
  reveal(pane, node) {
    if (pane.hides(node)) this.closeLane(pane, pane.laneOf(node).root);
    const { row } = pane.boxOf(node);
    const from = (row - pane.hidden) * pane.row;
    if (from < pane.scroll) pane.scrollTo(from);
    const most = from + 2 * pane.row - pane.height;
    if (most > pane.scroll) pane.scrollTo(most);
  }

  isClosed(root) {
    return this.lanes?.length > 1 && this.closed.has(this.nameOf(this.tree, root));
  }

  // Closes a lane, or opens it.
  closeLane(pane, root) {
    const name = this.nameOf(pane.tree, root);
    if (!this.closed.delete(name)) this.closed.add(name);
    pane.measure();
    this.queue();
  }

  // Closes all lanes, or opens them if all are closed.
  closeLanes() {
    const names = (this.lanes ?? []).map((root) => this.nameOf(this.tree, root));
    const isAll = names.every((name) => this.closed.has(name));
    this.closed = new Set(isAll ? [] : names);
    for (const pane of this.panes) pane.measure();
    this.queue();
  }

  paneAt(py) {
    return this.panes.find((pane) => py >= pane.top && py < pane.top + pane.height) ?? null;
  }

  queue() {
    if (this.isQueued) return;
    this.isQueued = true;
    requestAnimationFrame(() => {
      this.isQueued = false;
      this.draw();
    });
  }

  draw() {
    if (!this.panes.length || !this.theme) return;
    const { painter, theme } = this;
    painter.begin(theme);
    const look = {
      colour: (tree, i) => this.colourOf(tree, i),
      ink: (tree, i) => inkOn(this.colourOf(tree, i)),
      label: (tree, i, room, width) => this.labelOf(tree, i, room, width),
    };
    if (this.state.view === "chart") painter.grid(this.panes[0], this.graph.unit);
    for (const pane of this.panes) painter.pane(pane, look);
    if (this.panes.length === 2) painter.line(this.panes[1].top);
    this.onDraw();
  }

  get wholes() {
    const { tree } = this;
    return { before: tree.before?.[0], after: tree.after?.[0], total: tree.busy[0] };
  }

  // The wholes of which the weights of both profiles of a differential are parts.
  get measures() {
    const { before, after } = this.wholes;
    return this.state.compare === "weight" ? [1, 1] : [before, after];
  }

  // Says how a weight changed.
  changeOf(before, after) {
    if (this.state.compare === "weight") return difference(before, after, this.graph.unit);
    return change(before, after, ...this.measures);
  }

  colourOf(tree, i) {
    const id = tree.name[i];
    if (i === 0 && id) return CENTRE;
    if (this.isMatch && id) return this.isMatch[id] ? MATCH : DIM;
    if (!id) return ROOT;
    if (this.lanes && tree === this.tree && tree.depth[i] === 1) return ROOT;
    if (tree.before) return byChange(tree.before[i], tree.after[i], ...this.measures);
    return this.colours[this.state.colour][id];
  }

  // Returns the label of a box. Labels are kept for each name and width.
  labelOf(tree, i, room, width) {
    const id = tree.name[i];
    let mark = "";
    if (tree.before && id && tree.before[i] === 0) mark = "+ ";
    if (tree.before && id && tree.after[i] === 0) mark = "− ";
    if (this.state.view === "chart" && this.panes[0]?.isLane(i)) mark = this.isClosed(i) ? "▸ " : "▾ ";
    const name = id ? this.graph.names[id] : this.rootName;
    const key = `${id} ${room | 0} ${mark}`;
    let label = this.fits?.get(key);
    if (label === undefined) {
      if (!this.fits || this.fits.size > 20000) this.fits = new Map();
      label = fitted(name, room - width(mark), width);
      label = label && mark + label;
      this.fits.set(key, label);
    }
    return label;
  }

  nameOf(tree, i) {
    return tree.name[i] ? this.graph.names[tree.name[i]] : this.rootName;
  }

  get rootName() {
    return `all · ${weight(this.wholes.total, this.graph.unit)}`;
  }
}
