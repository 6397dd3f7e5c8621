// Writes numbers and names the way people say them.

const TIMES = [[1e9, "s"], [1e6, "ms"], [1e3, "µs"], [1, "ns"]];
const BYTES = [[2 ** 40, "TiB"], [2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"], [1, "B"]];
const COUNTS = [[1e12, "T"], [1e9, "G"], [1e6, "M"]];

function grouped(number) {
  return Math.round(number).toLocaleString("en-US");
}

// Rounds to three significant digits.
function digits(number) {
  if (number >= 999.5) return grouped(number);
  return number.toFixed(number >= 99.95 ? 0 : number >= 9.995 ? 1 : 2);
}

function scaled(value, steps) {
  for (const [size, name] of steps) {
    // 999.9 ms is written as a second.
    if (value >= size * 0.9995) return `${size === 1 ? grouped(value) : digits(value / size)} ${name}`;
  }
  return null;
}

function weight(value, unit) {
  if (value < 0) return "−" + weight(-value, unit);
  if (unit === "ns") return scaled(value, TIMES) ?? "0 s";
  if (unit === "bytes") return scaled(value, BYTES) ?? "0 B";
  const noun = unit || (value === 1 ? "sample" : "samples");
  const large = value >= 1e7 ? scaled(value, COUNTS) : null;
  return large ? `${large} ${noun}` : `${grouped(value)} ${noun}`;
}

// Labels a mark on an axis with a mark every `step`. All marks have the same unit.
function tick(at, step, unit) {
  const steps = unit === "ns" ? TIMES : [[1, unit || "samples"]];
  const [size, name] = steps.find(([size]) => step >= size / 100) ?? steps[steps.length - 1];
  const places = Math.max(0, Math.min(3, Math.ceil(-Math.log10(step / size) - 1e-9)));
  return `${(at / size).toFixed(places)} ${name}`;
}

function percent(part, whole) {
  if (!(whole > 0) || part === 0) return "0 %";
  const share = (100 * part) / whole;
  if (share > 0 && share < 0.01) return "< 0.01 %";
  return `${share.toFixed(share < 1 ? 2 : share > 99.95 ? 0 : 1)} %`;
}

// Says how the share of a frame changed between two profiles.
function change(before, after, wholeBefore, whole) {
  if (before === 0) return after === 0 ? "" : "new";
  if (after === 0) return "vanished";
  const points = 100 * (after / whole - before / wholeBefore);
  if (Math.abs(points) < 0.005) return "unchanged";
  const sign = points < 0 ? "−" : "+";
  return `${sign}${Math.abs(points).toFixed(Math.abs(points) < 0.1 ? 3 : 2)} points`;
}

// Says how the weight of a frame changed between two profiles.
function difference(before, after, unit) {
  if (before === 0) return after === 0 ? "" : "new";
  if (after === 0) return "vanished";
  if (before === after) return "unchanged";
  return (after < before ? "−" : "+") + weight(Math.abs(after - before), unit);
}

// Removes everything in angle brackets.
function withoutArguments(name) {
  let out = "";
  let depth = 0;
  for (let i = 0; i < name.length; i++) {
    const c = name[i];
    const isArrow = c === ">" && (name[i - 1] === "-" || name[i - 1] === "=");
    if (c === "<" && !/operator<*$/.test(out)) depth++;
    else if (c === ">" && depth > 0 && !isArrow) depth--;
    else if (depth === 0) out += c;
  }
  return out;
}

// Returns where the `<` at the start of a name is closed.
function closing(name) {
  let depth = 0;
  for (let i = 0; i < name.length; i++) {
    if (name[i] === "<") depth++;
    else if (name[i] === ">" && name[i - 1] !== "-" && --depth === 0) return i;
  }
  return -1;
}

// Returns a name as a path: `<alloc::vec::Vec<T> as Drop>::drop` becomes `alloc::vec::Vec::drop`.
function asPath(name) {
  const end = name.startsWith("<") ? closing(name) : -1;
  if (end > 0) {
    const type = name.slice(1, end).replace(/^&?(mut |dyn |impl )*/, "");
    const plain = withoutArguments(type.replace(/ as .*/, ""));
    name = (plain || type) + name.slice(end + 1);
  }
  return withoutArguments(name).replace(/::(?=::|$)/g, "").trim();
}

// Returns shorter and shorter forms of a name. The last segments of a path say most, so they stay.
function forms(name) {
  if (name.length > 2000) name = name.slice(0, 1000) + "…" + name.slice(-900);
  const found = [name];
  const add = (form) => {
    if (form && form.length < found[found.length - 1].length) found.push(form);
  };
  const path = asPath(name) || name;
  add(path);
  const parts = path.split("::");
  for (let kept = Math.min(3, parts.length - 1); kept > 0; kept--) {
    // A closure keeps the name of its function.
    if (kept === 1 && /^\{/.test(parts[parts.length - 1])) break;
    add(parts.slice(-kept).join("::"));
  }
  const last = found[found.length - 1];
  if (last.includes("/")) {
    add(last.replace(/[^\s:([]*\//g, ""));
    // The function of a script stands before its file: `JS:*f /app/m.js:1:2`, `py::f:/app/m.py`.
    add(/^(.*[\w$>])[ :(]+[^ :(]+\.(?:py|rb|js|mjs|ts|php|pl|lua|exs?)\b/.exec(last)?.[1]);
  }
  return found;
}

// Returns the longest form of a name that fits into `room`, or cuts the shortest one. `width` measures
// text.
function fitted(name, room, width) {
  let last = name;
  for (const form of forms(name)) {
    if (width(form) <= room) return form;
    last = form;
  }
  let low = 0;
  let high = last.length;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (width(last.slice(0, middle) + "…") <= room) low = middle;
    else high = middle - 1;
  }
  return low < 3 ? "" : last.slice(0, low) + "…";
}

// Returns the module, crate or package in a name, or its kind of code. It is empty if the name has none.
function moduleOf(name) {
  const kind = /_\[([kj])\]$/.exec(name);
  if (kind) return kind[1] === "k" ? "kernel" : "JIT code";
  const unresolved = /^\[([^\]]+)\]/.exec(name);
  if (unresolved) return unresolved[1].slice(unresolved[1].lastIndexOf("/") + 1);
  const path = /([A-Za-z_$][\w$]*)::/.exec(name);
  if (path) return path[1];
  const file = /[ (:]([^ (:]+\.(?:py|rb|js|mjs|ts|php|pl|lua|ex|exs))\b/.exec(name);
  if (file) return file[1].slice(file[1].lastIndexOf("/") + 1);
  const plain = name.replace(/\.(constprop|isra|part|cold|lto_priv|llvm|clone)\b.*/, "");
  const go = /^((?:[\w.~-]+\/)+[\w~-]+|[a-z][\w~-]*)\.[(\w]/.exec(plain);
  if (!go) return "";
  const java = /^([a-z]\w*[./][a-z]\w*)[./]/.exec(plain);
  return java && !plain.includes("/") ? java[1] : go[1];
}
