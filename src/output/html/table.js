// The table of functions may have a hundred thousand rows. Only those in sight are elements.

const AROUND = 8;

class FunctionTable {
  constructor(element, open) {
    this.element = element;
    this.open = open;
    this.head = element.querySelector("thead tr");
    this.body = element.querySelector("tbody");
    this.current = 0;
    element.addEventListener("scroll", () => this.draw());
    new ResizeObserver(() => this.draw()).observe(element);
    this.body.addEventListener("click", (event) => {
      const row = event.target.closest("tr[data-at]");
      if (row) this.choose(Number(row.dataset.at));
    });
    this.body.addEventListener("keydown", (event) => this.key(event));
  }

  show(view, onSort) {
    this.view = view;
    const { graph, state } = view;
    this.columns = this.columnsOf(view);
    const heads = this.columns.map((column) => this.headOf(column, state.sort, onSort));
    this.head.replaceChildren(...heads);
    const sorted = this.columns.find((column) => column.key === state.sort) ?? this.columns[1];
    const rows = [];
    for (let id = 1; id < graph.names.length; id++) {
      const isThere = this.columns.some((column) => column.value(id));
      if (isThere && (!view.isMatch || view.isMatch[id])) rows.push(id);
    }
    const byName = (a, b) => (graph.names[a] < graph.names[b] ? -1 : 1);
    const byWeight = (a, b) => Math.abs(sorted.value(b)) - Math.abs(sorted.value(a)) || a - b;
    this.rows = rows.sort(sorted.key === "name" ? byName : byWeight);
    this.element.querySelector("table").setAttribute("aria-rowcount", this.rows.length + 1);
    this.current = Math.min(this.current, Math.max(0, this.rows.length - 1));
    this.body.replaceChildren();
    this.draw();
  }

  columnsOf(view) {
    const { graph, functions, wholes } = view;
    const unit = graph.unit;
    const column = (key, title, values, whole, most) => ({
      key,
      title,
      value: (id) => values[id],
      text: (id) => weight(values[id], unit),
      share: (id) => percent(values[id], whole),
      part: (id) => values[id] / most,
    });
    const share = (key, title, values, whole) => {
      return column(key, title, values, whole, values.reduce((a, b) => Math.max(a, b), 0));
    };
    const columns = [
      { key: "name", title: "Function", value: () => 0, text: (id) => graph.names[id] },
      share("self", "Self", functions.self, wholes.total),
      share("total", "Total", functions.total, wholes.total),
    ];
    if (!functions.before) return columns;
    const { before, after } = functions;
    const [wholeBefore, whole] = view.measures;
    const points = (id) => after[id] / whole - before[id] / wholeBefore;
    columns[2] = share("before", "Before", before, wholes.before);
    columns.push(share("total", "After", after, wholes.after));
    const text = (id) => view.changeOf(before[id], after[id]);
    columns.push({ key: "change", title: "Change", value: points, text });
    return columns;
  }

  headOf(column, sort, onSort) {
    const head = document.createElement("th");
    head.scope = "col";
    head.className = column.key;
    if (column.key === sort) head.setAttribute("aria-sort", sort === "name" ? "ascending" : "descending");
    const button = document.createElement("button");
    button.textContent = column.title;
    button.addEventListener("click", () => onSort(column.key));
    head.append(button);
    return head;
  }

  // Makes the rows in sight.
  draw() {
    if (!this.rows || this.element.hidden) return;
    this.measure();
    const height = this.rowHeight();
    const top = this.element.scrollTop;
    const from = Math.max(0, Math.floor(top / height) - AROUND);
    const to = Math.min(this.rows.length, Math.ceil((top + this.element.clientHeight) / height) + AROUND);
    const shown = [this.spacer(from * height)];
    for (let at = from; at < to; at++) shown.push(this.row(at));
    shown.push(this.spacer((this.rows.length - to) * height));
    const hadFocus = this.body.contains(document.activeElement);
    this.body.replaceChildren(...shown);
    if (hadFocus) this.focus();
  }

  rowHeight() {
    return Math.round(parseFloat(getComputedStyle(document.documentElement).fontSize) * 1.75);
  }

  spacer(height) {
    const row = document.createElement("tr");
    row.setAttribute("aria-hidden", "true");
    const cell = document.createElement("td");
    cell.className = "spacer";
    cell.colSpan = this.columns.length;
    cell.style.height = `${height}px`;
    row.append(cell);
    return row;
  }

  row(at) {
    const id = this.rows[at];
    const row = document.createElement("tr");
    row.dataset.at = at;
    row.tabIndex = at === this.current ? 0 : -1;
    row.setAttribute("aria-rowindex", at + 2);
    for (const column of this.columns) row.append(this.cell(column, id));
    return row;
  }

  cell(column, id) {
    const cell = document.createElement(column.key === "name" ? "th" : "td");
    cell.className = column.key;
    if (column.key === "name") {
      cell.scope = "row";
      const name = document.createElement("bdi");
      name.title = column.text(id).slice(0, 2000);
      name.textContent = this.labelOf(name.title);
      if (name.textContent !== name.title) cell.setAttribute("aria-label", name.title);
      cell.append(name);
      return cell;
    }
    const text = document.createElement("span");
    text.textContent = column.text(id);
    cell.append(text);
    if (column.share) {
      const share = document.createElement("b");
      share.textContent = column.share(id);
      cell.append(share);
      cell.style.setProperty("--part", `${(100 * column.part(id)).toFixed(2)}%`);
    }
    return cell;
  }

  // Returns the longest form of a name that fits into the column, or else the shortest one, which the
  // browser cuts.
  labelOf(name) {
    const fits = (form) => this.view.painter.measure(form) * this.fontRatio <= this.room;
    const all = forms(name);
    return name.length > 1900 ? name : all.find(fits) ?? all[all.length - 1];
  }

  // Measures the column of names, whose font is larger than that of the graph.
  measure() {
    const head = this.head.querySelector(".name");
    const size = (of) => parseFloat(of);
    this.fontRatio = size(getComputedStyle(head).fontSize) / size(this.view.painter.font);
    this.room = head.clientWidth - 2 * size(getComputedStyle(document.documentElement).fontSize);
  }

  choose(at) {
    this.current = at;
    if (this.rows[at]) this.open(this.rows[at]);
  }

  key(event) {
    const page = Math.max(1, Math.floor(this.element.clientHeight / this.rowHeight()) - 2);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (event.key === "Enter") {
      this.choose(this.current);
    } else if (event.key in steps) {
      this.go(this.current + steps[event.key]);
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  }

  go(at) {
    this.current = Math.max(0, Math.min(this.rows.length - 1, at));
    const height = this.rowHeight();
    const top = this.current * height;
    const room = this.element.clientHeight - 2 * height;
    if (top < this.element.scrollTop) this.element.scrollTop = top;
    if (top > this.element.scrollTop + room) this.element.scrollTop = top - room;
    this.draw();
    this.focus();
  }

  focus() {
    this.body.querySelector('tr[tabindex="0"]')?.focus({ preventScroll: true });
  }
}
