// A search can become one of these filters: name in the state, label, button, key.
const FILTERS = [
  ["only", "only", "Keep only their stacks", "k"],
  ["without", "without", "Leave their stacks out", "e"],
  ["hide", "hidden", "Hide these frames", "h"],
];

// The controls change the state, show it, and keep the header, the footer and the address up to date.

// The most root frames that are listed.
const MOST_ROOTS = 200;
// A pane rests if nothing has moved it for as many milliseconds.
const RESTS_AFTER = 150;

class Controls {
  constructor(view, notes) {
    this.view = view;
    this.notes = notes;
    this.$ = (id) => document.getElementById(id);
    this.outline = new Outline(this.$("outline"));
    this.table = new FunctionTable(this.$("functions"), (id) => this.openFunction(id));
    view.said = (pane, node) => phrase(view, pane, node);
    view.onDraw = () => this.marks();
    view.onPan = (pane) => this.panned(pane);
    this.matches = [];
    this.matchAt = -1;
    this.header();
    this.menus();
    this.pointer();
    document.addEventListener("keydown", (event) => this.key(event));
    window.addEventListener("hashchange", () => this.show(fromHash(location.hash)));
    new ResizeObserver(() => this.resize()).observe(this.$("stage"));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.dress());
  }

  header() {
    const { graph } = this.view;
    this.$("title").textContent = this.notes.title || "Flame graph";
    this.$("summary").textContent = summary(graph, this.notes, this.view);
    this.$("summary").title = this.$("summary").textContent;
    const isThere = { chart: graph.isChart || graph.keepsOrder, width: graph.isDifferential };
    document.querySelector('[data-view="chart"]').hidden = !isThere.chart;
    this.rootMenu();
    for (const key of ["width", "swap"]) document.querySelector(`[data-key="${key}"]`).hidden = !isThere.width;
    document.querySelector('[data-key="colour"]').hidden = graph.isDifferential;
    document.querySelector('[data-key="order"]').hidden = this.view.isSequence;
  }

  // Lists the root frames.
  rootMenu() {
    const { view } = this;
    const { roots } = view;
    const whole = roots.reduce((sum, [, weight]) => sum + weight, 0);
    const option = (value, text) => {
      const made = element("option", text);
      made.value = value;
      return made;
    };
    const listed = roots.slice(0, MOST_ROOTS).map(([name, weight]) => {
      return option(name, `${fitted(name, 40, (text) => text.length)} ${percent(weight, whole)}`);
    });
    this.$("roots").replaceChildren(option("", "All"), ...listed);
    document.querySelector('[data-key="root"]').hidden = roots.length < 2;
  }

  // Shows a state. The address already says it.
  show(state) {
    const { view } = this;
    clearTimeout(this.resting);
    const isSearch = state.find !== view.state.find || state.exact !== view.state.exact;
    if (state.view === "chart" && !view.isSequence) state.view = "graph";
    if (state.view === "function" && !view.graph.names.includes(state.fn)) state.view = "graph";
    const isTable = state.view === "table";
    const isSwapped = state.swap !== view.state.swap;
    this.$("stage").hidden = isTable;
    this.$("functions").hidden = !isTable;
    this.hideTip();
    view.show(state);
    if (isSwapped) this.header();
    this.dress();
    for (const button of this.$("views").children) {
      if (button.dataset.view === state.view) button.setAttribute("aria-current", "page");
      else button.removeAttribute("aria-current");
    }
    const isFunction = state.view === "function";
    const around = document.querySelector('[data-view="function"]');
    around.hidden = !isFunction;
    for (const input of document.querySelectorAll("fieldset input")) {
      const value = state[input.name];
      input.checked = input.value === (value === true ? "1" : value === false ? "" : value);
    }
    if (this.$("find").value !== state.find) this.$("find").value = state.find;
    this.$("exact").setAttribute("aria-pressed", state.exact);
    if (isTable) this.table.show(view, (key) => this.go({ sort: key }, false));
    this.path();
    this.filters();
    this.$("roots").value = state.root;
    this.found(isSearch);
    this.select(view.active, view.active?.selected ?? 0, false);
  }

  // Changes the state. It becomes a step in the browser's history if `isStep`.
  go(changes, isStep = true) {
    const state = { ...this.view.state, range: "", ...changes };
    const hash = toHash(state);
    if (hash === (location.hash || "#")) return this.show(state);
    try {
      history[isStep ? "pushState" : "replaceState"](null, "", hash);
    } catch {
      // An embedded page may not change its address.
    }
    this.show(state);
  }

  zoom(pane, node) {
    const mark = pane.name === "callers" && this.view.panes.length > 1 ? "^" : "";
    this.go({ zoom: node ? mark + nodeToText(pane.tree, node) : "" });
  }

  // Settles the pane once it rests, and writes the visible range into the address.
  panned(pane) {
    clearTimeout(this.resting);
    this.resting = setTimeout(() => {
      this.view.settle(pane);
      const range = [pane.lo, pane.hi].map((at) => (at / pane.whole).toPrecision(9)).join("~");
      this.view.state.range = range;
      try {
        history.replaceState(null, "", toHash(this.view.state));
      } catch {
        // An embedded page may not change its address.
      }
    }, RESTS_AFTER);
  }

  openFunction(id) {
    if (id) this.go({ view: "function", fn: this.view.graph.names[id], zoom: "" });
  }

  // Selects a node and shows its name and weight.
  select(pane, node, hasFocus = true) {
    const { view } = this;
    this.$("chosen").hidden = !pane || !pane.tree.name[node];
    if (!pane) return;
    view.active = pane;
    pane.selected = node;
    if (hasFocus) view.reveal(pane, node);
    this.outline.show(view, pane);
    if (hasFocus) this.outline.focus();
    this.$("chosen-name").textContent = view.nameOf(pane.tree, node).slice(0, 300);
    this.$("chosen-weight").textContent = phrase(view, pane, node);
    this.$("around").hidden = view.state.view === "function" && view.state.fn === view.nameOf(pane.tree, node);
    view.queue();
  }

  // Selects a node, and zooms to it if it is too narrow or out of sight.
  selectVisible(pane, node) {
    const box = pane.boxOf(node);
    const isSeen = box.width >= 6 && box.left < pane.left + pane.width - 3 && box.left + box.width > pane.left + 3;
    if (!isSeen) {
      const start = pane.lo + (box.left - pane.left) / pane.scale;
      const width = pane.tree.total[node];
      const parent = pane.tree.parent[node];
      const around = Math.min(pane.tree.total[parent < 0 ? 0 : parent], width * 12);
      const [lo, hi] = pane.range(start + width / 2 - around / 2, start + width / 2 + around / 2);
      pane.selected = node;
      this.view.moveTo(pane, lo, hi, true);
      this.panned(pane);
    }
    this.select(pane, node);
  }

  path() {
    const { view } = this;
    const pane = view.active;
    const steps = [];
    for (let i = pane?.focus ?? 0; i > 0 && steps.length < DEEPEST; i = pane.tree.parent[i]) steps.unshift(i);
    if (steps.length) steps.unshift(0);
    const shown = steps.map((node) => {
      const whole = node ? view.nameOf(pane.tree, node) : view.state.view === "function" ? view.state.fn : "all";
      const button = element("button", fitted(whole, 36, (text) => text.length));
      button.title = whole.slice(0, 1000);
      button.addEventListener("click", () => this.zoom(pane, node));
      return button;
    });
    this.$("path").replaceChildren(...shown);
    this.$("path").scrollLeft = 1e6;
  }

  // Shows the active filters, and offers to make the search one.
  filters() {
    const { state, isMatch } = this.view;
    const button = (text, key, act) => {
      const made = element("button", text);
      if (key) made.title = `Key: ${key}`;
      made.addEventListener("click", act);
      return made;
    };
    const chip = ([name, text]) => {
      const made = element("span", text, "chip");
      const remove = button("×", "", () => this.go({ [name]: "", zoom: "" }));
      remove.setAttribute("aria-label", `Remove the filter: ${text} ${state[name]}`);
      made.append(element("bdi", state[name]), remove);
      return made;
    };
    const shown = [["root", "thread"], ...FILTERS].filter(([name]) => state[name]).map(chip);
    if (isMatch) {
      shown.push("Matches:");
      for (const [name, , text, key] of FILTERS) shown.push(button(text, key, () => this.filter(name)));
    }
    this.$("filters").replaceChildren(...shown);
  }

  // Makes the search a filter, or else the selected function, in addition to the one of that kind.
  filter(name, isSearch = this.view.isMatch !== null) {
    const { state, active, graph } = this.view;
    const id = active?.tree.name[active.selected];
    if (!isSearch && !id) return;
    const wanted = isSearch ? state.find : `^${literal(graph.names[id])}$`;
    const pattern = state[name] ? `(?:${state[name]})|(?:${wanted})` : wanted;
    this.go({ [name]: pattern, ...(isSearch && { find: "" }), zoom: "" });
  }

  // Shows the share of what the search found.
  found(isNew) {
    const { view } = this;
    const output = this.$("found");
    output.className = this.$("find").className = view.findError ? "bad" : "";
    this.matches = [];
    if (isNew) this.matchAt = -1;
    if (view.findError) {
      output.textContent = view.findError;
    } else if (!view.isMatch) {
      output.textContent = "";
    } else {
      const pane = view.panes.length === 1 && view.active.tree === view.tree ? view.active : null;
      const root = pane?.focus ?? 0;
      const { nodes, weight } = matchesBelow(view.tree, root, view.isMatch);
      this.matches = nodes;
      this.isOfTree = pane !== null;
      const share = percent(weight, view.tree.busy[root]);
      output.textContent = nodes.length ? `${share} in ${grouped(nodes.length)}` : "none";
      output.title = `Frames that match, and what they call, are ${share} of ${root ? "the view" : "all"}`;
    }
    this.$("previous").disabled = this.$("following").disabled = !view.isMatch;
  }

  // Goes to the next match. The heaviest comes first.
  next(step) {
    const { view } = this;
    if (!view.isMatch) return;
    if (view.state.view === "table") return this.table.go(this.table.current + step);
    const pane = view.active;
    let nodes = this.matches;
    if (!this.isOfTree) {
      nodes = [];
      walk(pane.tree, 0, pane.view(1000), (i) => view.isMatch[pane.tree.name[i]] && nodes.push(i), () => {});
    }
    if (!nodes.length) return;
    const { total } = pane.tree;
    nodes.sort((a, b) => total[b] - total[a] || a - b);
    this.matchAt = (this.matchAt + step + nodes.length + (this.matchAt < 0 && step < 0 ? 1 : 0)) % nodes.length;
    this.selectVisible(pane, nodes[this.matchAt]);
    this.say(`Match ${this.matchAt + 1} of ${nodes.length}`);
  }

  say(text) {
    this.$("said").textContent = text;
  }

  // Outlines the selected frame and the one under the pointer.
  marks() {
    const { view } = this;
    const put = (mark, pane, node) => {
      const isShown = pane && node >= 0 && (node > 0 || mark.id === "hover") && view.state.view !== "table";
      const box = isShown && pane.boxOf(node);
      const left = box && Math.max(pane.left, box.left);
      const right = box && Math.min(pane.left + pane.width, box.left + box.width);
      mark.hidden = !box || right <= left || box.row < pane.hidden || box.top < pane.top - 1 || box.top + 2 > pane.top + pane.height;
      if (mark.hidden) return;
      mark.style.transform = `translate(${left}px, ${box.top}px)`;
      mark.style.width = `${Math.max(3, right - left)}px`;
      mark.style.height = `${box.height - 1}px`;
    };
    put(this.$("cursor"), view.active, view.active?.selected);
    put(this.$("hover"), this.hovered?.pane, this.hovered?.node);
  }

  menus() {
    const { $ } = this;
    $("views").addEventListener("click", (event) => {
      const { view } = event.target.dataset;
      if (view) this.go({ view, zoom: "" });
    });
    $("find").addEventListener("input", () => this.go({ find: $("find").value }, false));
    $("search").addEventListener("submit", (event) => {
      event.preventDefault();
      this.next(1);
    });
    $("exact").addEventListener("click", () => this.go({ exact: !this.view.state.exact }, false));
    $("previous").addEventListener("click", () => this.next(-1));
    $("following").addEventListener("click", () => this.next(1));
    $("options").addEventListener("change", ({ target }) => {
      const isFlag = typeof DEFAULTS[target.name] === "boolean";
      const value = isFlag ? target.value === "1" : target.value;
      // These change which frames there are, so the zoom is lost.
      const isOther = target.name === "fold" || target.name === "root";
      this.go({ [target.name]: value, ...(isOther && { zoom: "" }) }, false);
    });
    document.addEventListener("pointerdown", (event) => {
      if (!$("options").contains(event.target)) $("options").open = false;
    });
    $("save-stacks").addEventListener("click", () => {
      const stacks = foldedText(this.view.tree, this.view.graph.unit);
      download(new Blob(stacks, { type: "text/plain" }), fileName(this.notes.title, ".folded"));
    });
    $("save-picture").addEventListener("click", () => {
      const save = (picture) => download(picture, fileName(this.notes.title, ".png"));
      document.querySelector("canvas").toBlob(save);
    });
    $("keys").addEventListener("click", () => this.help());
    $("summary").addEventListener("click", () => {
      const isWhole = $("summary").getAttribute("aria-expanded") === "true";
      $("summary").setAttribute("aria-expanded", !isWhole);
    });
    $("help").querySelector("dl").append(...helpRows());
    $("around").addEventListener("click", () => this.around());
    $("leave-out").addEventListener("click", () => this.filter("without", false));
    $("copy-name").addEventListener("click", () => this.copy(false));
    $("copy-stack").addEventListener("click", () => this.copy(true));
  }

  help() {
    this.$("options").open = false;
    if (!this.$("help").open) this.$("help").showModal();
  }

  around() {
    const pane = this.view.active;
    if (pane) this.openFunction(pane.tree.name[pane.selected]);
  }

  // Copies the name of the selected frame, or its stack in the form of folded text.
  async copy(isStack) {
    const pane = this.view.active;
    if (!pane || !pane.tree.name[pane.selected]) return;
    const names = [];
    for (let i = pane.selected; i > 0; i = pane.tree.parent[i]) names.unshift(this.view.nameOf(pane.tree, i));
    if (pane.name === "callers") names.reverse();
    const text = isStack ? names.join(";") : this.view.nameOf(pane.tree, pane.selected);
    try {
      await navigator.clipboard.writeText(text);
      this.say("Copied");
    } catch {
      this.say("The browser does not allow copying");
    }
  }

  // Applies the colours of the theme.
  dress() {
    const { view } = this;
    const chosen = view.state.theme;
    const isDark = chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    const name = isDark ? "dark" : "light";
    if (view.theme?.name !== name) {
      document.documentElement.dataset.theme = name;
      const style = getComputedStyle(document.documentElement);
      const colour = (name) => style.getPropertyValue(name).trim();
      view.theme = {
        name,
        colours: palette(isDark),
        paper: colour("--paper"),
        line: colour("--line"),
        thumb: isDark ? "#fff5" : "#0004",
        ink: [colour("--ink"), isDark ? "#fff" : "#1a0010", colour("--soft"), colour("--paper")],
      };
    }
    this.$("legend").replaceChildren(...legend(view, view.theme, (text) => {
      this.go({ find: literal(text) }, false);
    }));
    view.queue();
  }

  resize() {
    if (this.$("stage").hidden) return;
    this.view.layout();
  }
}
