// The controls of the pointer and the keyboard.

Object.assign(Controls.prototype, {
  pointer() {
    const stage = this.$("stage");
    const touches = new Map();
    let drag = null;
    const place = (event) => {
      const box = stage.getBoundingClientRect();
      return { x: event.clientX - box.left, y: event.clientY - box.top };
    };

    stage.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      touches.set(event.pointerId, place(event));
      const at = place(event);
      const pane = this.view.paneAt(at.y);
      if (!pane) return;
      drag = { ...at, pane, lo: pane.lo, hi: pane.hi, scroll: pane.scroll, isMoved: false };
      stage.setPointerCapture(event.pointerId);
    });

    stage.addEventListener("pointermove", (event) => {
      const at = place(event);
      if (touches.size === 2 && touches.has(event.pointerId)) {
        this.pinch(touches, event.pointerId, at);
        if (drag) drag.isMoved = true;
        return;
      }
      if (!drag) return this.hover(at, event);
      if (Math.hypot(at.x - drag.x, at.y - drag.y) < 5 && !drag.isMoved) return;
      drag.isMoved = true;
      stage.classList.add("drags");
      this.hideTip();
      const { pane } = drag;
      const moved = ((drag.x - at.x) / pane.width) * (drag.hi - drag.lo);
      this.view.pan(pane, drag.lo + moved, drag.hi + moved);
      pane.scrollTo(drag.scroll + (pane.isUp ? at.y - drag.y : drag.y - at.y));
    });

    const end = (event) => {
      touches.delete(event.pointerId);
      stage.classList.remove("drags");
      const was = drag;
      drag = null;
      if (was && !was.isMoved && event.type === "pointerup") this.click(place(event));
    };
    stage.addEventListener("pointerup", end);
    stage.addEventListener("pointercancel", end);
    stage.addEventListener("pointerleave", () => this.hideTip());

    stage.addEventListener("wheel", (event) => {
      event.preventDefault();
      const at = place(event);
      const pane = this.view.paneAt(at.y);
      if (!pane) return;
      this.hideTip();
      const pixels = event.deltaMode === 1 ? 20 : event.deltaMode === 2 ? 400 : 1;
      const across = (event.shiftKey ? event.deltaX || event.deltaY : event.deltaX) * pixels;
      const along = event.shiftKey ? 0 : event.deltaY * pixels;
      if (event.altKey) {
        pane.scrollTo(pane.scroll + (pane.isUp ? -along : along));
        this.view.queue();
      } else if (Math.abs(across) > Math.abs(along)) {
        const moved = (across / pane.width) * (pane.hi - pane.lo);
        this.view.pan(pane, pane.lo + moved, pane.hi + moved);
      } else {
        this.view.zoomAt(pane, at.x, Math.exp(Math.max(-200, Math.min(200, along)) / 400));
      }
    }, { passive: false });
  },

  // Two fingers zoom around their middle.
  pinch(touches, id, at) {
    const other = [...touches].find(([key]) => key !== id)[1];
    const before = touches.get(id);
    touches.set(id, at);
    const pane = this.view.paneAt(other.y);
    const old = Math.max(20, Math.abs(before.x - other.x));
    const now = Math.max(20, Math.abs(at.x - other.x));
    if (pane) this.view.zoomAt(pane, (at.x + other.x) / 2, old / now);
  },

  click(at) {
    const pane = this.view.paneAt(at.y);
    const found = pane?.at(at.x, at.y);
    if (!found) return;
    if (found.node !== undefined) return this.enter(pane, found.node);
    const [lo, hi] = pane.range(found.lo, found.hi);
    this.view.moveTo(pane, lo, hi, true);
    this.panned(pane);
  },

  // Zooms to a node. Nothing is wider than a lane, so its name closes and opens it.
  enter(pane, node) {
    if (!pane.isLane(node) || !pane.isWhole) return this.zoom(pane, node);
    this.view.closeLane(pane, node);
    this.select(pane, node);
  },

  hover(at, event) {
    const pane = this.view.paneAt(at.y);
    const found = pane?.at(at.x, at.y) ?? null;
    this.hovered = found && found.node !== undefined ? { pane, node: found.node } : null;
    this.marks();
    if (!found || event.pointerType === "touch") return this.hideTip(!!found);
    const tip = this.$("tip");
    const name = element("bdi");
    const list = element("dl");
    if (found.node === undefined) {
      name.textContent = `${grouped(found.count)} narrower frames`;
      list.append(element("dt", "Click"), element("dd", "to zoom to them", "wide"));
    } else {
      name.textContent = this.view.nameOf(pane.tree, found.node).slice(0, 3000);
      for (const [term, one, two] of facts(this.view, pane, found.node)) {
        list.append(element("dt", term), element("dd", one, two === undefined ? "wide" : ""));
        if (two !== undefined) list.append(element("dd", two));
      }
    }
    tip.replaceChildren(name, list);
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    const left = Math.max(8, Math.min(event.clientX + 14, innerWidth - box.width - 8));
    const isBelow = event.clientY + 20 + box.height < innerHeight;
    tip.style.left = `${left}px`;
    tip.style.top = `${Math.max(4, isBelow ? event.clientY + 18 : event.clientY - box.height - 14)}px`;
  },

  hideTip(keepsMark = false) {
    this.$("tip").hidden = true;
    if (keepsMark) return;
    this.hovered = null;
    this.marks();
  },

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || this.$("help").open) return;
    const { target } = event;
    if (event.key === "Escape") {
      event.preventDefault();
      return this.escape();
    }
    if (target.matches("input, select")) return;
    // Enter and the space bar press the focused button.
    if (target.matches("button, summary") && (event.key === "Enter" || event.key === " ")) return;
    const action = this.actions()[event.key];
    if (!action || this.view.state.view === "table" && action.needsPane) return;
    event.preventDefault();
    action.do();
  },

  actions() {
    const { state } = this.view;
    const pane = this.view.active;
    const always = (act) => ({ do: act });
    const onPane = (act) => ({ do: act, needsPane: true });
    const small = (changes) => always(() => this.go(changes, false));
    const widths = ["after", "before", "both"];
    const move = (part) => onPane(() => {
      const by = (pane.hi - pane.lo) * part;
      this.view.pan(pane, pane.lo + by, pane.hi + by);
    });
    const zoom = (factor) => onPane(() => this.view.zoomAt(pane, pane.left + pane.width / 2, factor));
    const scroll = (pages) => onPane(() => {
      pane.scrollTo(pane.scroll + (pane.isUp ? -pages : pages) * pane.height * 0.8);
      this.view.queue();
    });
    const show = (view) => always(() => this.go({ view, zoom: "" }));
    return {
      ArrowUp: onPane(() => this.step(pane.isUp ? "child" : "parent")),
      ArrowDown: onPane(() => this.step(pane.isUp ? "parent" : "child")),
      ArrowLeft: onPane(() => this.step("previous")),
      ArrowRight: onPane(() => this.step("next")),
      Enter: onPane(() => this.enter(pane, pane.selected)),
      Backspace: always(() => history.back()),
      "/": always(() => this.$("find").select()),
      n: always(() => this.next(1)),
      N: always(() => this.next(-1)),
      i: small({ exact: !state.exact }),
      g: show("graph"),
      l: show("chart"),
      L: always(() => this.view.closeLanes()),
      c: show("callers"),
      t: always(() => {
        this.go({ view: "table", zoom: "" });
        this.table.focus();
      }),
      x: onPane(() => this.around()),
      f: small({ flip: !state.flip, zoom: state.zoom }),
      o: small({ order: state.order === "weight" ? "name" : "weight" }),
      k: always(() => this.filter("only")),
      e: always(() => this.filter("without")),
      h: always(() => this.filter("hide")),
      r: small({ fold: !state.fold, zoom: "" }),
      m: small({ colour: state.colour === "module" ? "name" : "module" }),
      w: small({ width: widths[(widths.indexOf(state.width) + 1) % 3] }),
      v: small({ swap: !state.swap }),
      b: small({ compare: state.compare === "share" ? "weight" : "share" }),
      d: small({ theme: this.view.theme.name === "dark" ? "light" : "dark" }),
      y: onPane(() => this.copy(false)),
      Y: onPane(() => this.copy(true)),
      "+": zoom(0.6),
      "=": zoom(0.6),
      "-": zoom(1 / 0.6),
      a: move(-0.25),
      s: move(0.25),
      PageUp: scroll(-1),
      PageDown: scroll(1),
      Home: onPane(() => this.zoom(pane, 0)),
      0: onPane(() => this.zoom(pane, 0)),
      "?": always(() => this.help()),
    };
  },

  // Selects a neighbour of the selected node.
  step(where) {
    const pane = this.view.active;
    const { tree, selected } = pane;
    tree.open(selected);
    if (where === "child") {
      const [child] = childrenOf(tree, selected);
      return child === undefined ? undefined : this.selectVisible(pane, child);
    }
    if (where === "parent") return this.stepToParent(pane);
    if (selected === 0) return this.selectVisible(pane, 0);
    const siblings = childrenOf(tree, tree.parent[selected]);
    const at = siblings.indexOf(selected) + (where === "next" ? 1 : -1);
    if (siblings[at] !== undefined) this.selectVisible(pane, siblings[at]);
  },

  // Callers and callees meet in the function between them.
  stepToParent(pane) {
    const { panes } = this.view;
    const { tree, selected } = pane;
    if (selected > 0 && (pane.hidden === 0 || tree.depth[selected] > 1)) {
      return this.selectVisible(pane, tree.parent[selected]);
    }
    if (panes.length < 2) return;
    const other = panes.find((one) => one !== pane);
    if (pane.name === "callers") return this.selectVisible(other, 0);
    other.tree.open(0);
    const [caller] = childrenOf(other.tree, 0);
    if (caller !== undefined) this.selectVisible(other, caller);
  },

  // Leaves the innermost thing: a menu, a tooltip, a search, a zoom or a view.
  escape() {
    const { state } = this.view;
    if (this.$("options").open) {
      this.$("options").open = false;
      this.$("options").querySelector("summary").focus();
    } else if (!this.$("tip").hidden) {
      this.hideTip();
    } else if (document.activeElement === this.$("find") || (state.find && !state.zoom && !state.range)) {
      this.$("find").blur();
      if (state.find) this.go({ find: "" }, false);
    } else if (state.zoom || state.range) {
      this.go({ zoom: "" });
    } else if (state.view !== "graph") {
      this.go({ view: "graph" });
    }
  },
});
