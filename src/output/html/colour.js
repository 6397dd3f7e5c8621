// Colours: by module, by name, or by what changed.

const HUES = [28, 250, 150, 330, 85, 205, 300, 120, 55, 180, 275, 5];
const SHADES = 3;
// The slot of names that do not tell a module.
const NO_MODULE = HUES.length;
// The number of colours for more, and of those for less.
const STEPS = 5;
// The places of the other colours in a palette.
const CHANGES = (NO_MODULE + 1) * SHADES;
const VANISHED = CHANGES + 2 * STEPS + 1;
const NEW = VANISHED + 1;
const ROOT = NEW + 1;
const REST = ROOT + 1;
const DIM = REST + 1;
const MATCH = DIM + 1;
const CENTRE = MATCH + 1;

// Converts OKLCH, in which equal steps look equal, to `#rrggbb`, which a canvas understands fastest.
function hex(lightness, chroma, hue) {
  const angle = (hue * Math.PI) / 180;
  const a = chroma * Math.cos(angle);
  const b = chroma * Math.sin(angle);
  const long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const middle = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const short = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  const linear = [
    4.0767416621 * long - 3.3077115913 * middle + 0.2309699292 * short,
    -1.2684380046 * long + 2.6097574011 * middle - 0.3413193965 * short,
    -0.0041960863 * long - 0.7034186147 * middle + 1.707614701 * short,
  ];
  const digits = linear.map((part) => {
    const value = part <= 0.0031308 ? 12.92 * part : 1.055 * part ** (1 / 2.4) - 0.055;
    return Math.round(255 * Math.max(0, Math.min(1, value))).toString(16).padStart(2, "0");
  });
  return `#${digits.join("")}`;
}

function palette(isDark) {
  const colours = [];
  const add = (lightness, chroma, hue) => colours.push(hex(lightness, chroma, hue));
  for (let slot = 0; slot <= NO_MODULE; slot++) {
    for (let shade = 0; shade < SHADES; shade++) {
      const lightness = (isDark ? 0.4 : 0.81) + shade * 0.035;
      // Names without a module are sand, so every other hue means a module.
      if (slot === NO_MODULE) add(lightness + (isDark ? -0.03 : 0.03), isDark ? 0.03 : 0.035, 62 + 16 * shade);
      else add(lightness, isDark ? 0.075 : 0.085, HUES[slot]);
    }
  }
  // Blue is less and orange is more: colour-blind people can tell them apart too.
  for (let step = -STEPS; step <= STEPS; step++) {
    const strength = Math.abs(step) / STEPS;
    const lightness = isDark ? 0.36 + 0.16 * strength : 0.93 - 0.2 * strength;
    add(lightness, 0.005 + 0.125 * strength, step < 0 ? 250 : 55);
  }
  add(isDark ? 0.42 : 0.66, 0.14, 265);
  add(isDark ? 0.56 : 0.68, 0.17, 45);
  add(isDark ? 0.33 : 0.9, 0.006, 75);
  add(isDark ? 0.3 : 0.9, 0.01, 75);
  add(isDark ? 0.29 : 0.93, 0.006, 75);
  add(isDark ? 0.6 : 0.74, 0.17, 340);
  add(isDark ? 0.9 : 0.33, 0.01, 75);
  return colours;
}

function hash(text) {
  let value = 2166136261;
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 16777619);
  return (value ^ (value >>> 15)) >>> 0;
}

// Returns the module of each name, with the sum of its functions' own weights, and the sum of the
// widths that they are drawn with.
function modulesOf(names, { self, total }) {
  const modules = new Map();
  return names.map((name, id) => {
    const key = id ? moduleOf(name) : "";
    const module = modules.get(key) ?? { name: key, weight: 0, drawn: 0 };
    modules.set(key, module);
    module.weight += self[id];
    module.drawn += total[id];
    return module;
  });
}

// All modules, the heaviest first.
function heaviest(modules) {
  const byWeight = (a, b) => b.weight - a.weight || b.drawn - a.drawn || (a.name < b.name ? -1 : 1);
  return [...new Set(modules)].sort(byWeight);
}

// Returns the colour of each name by its module. A module has the same colour in all graphs, unless a
// heavier one has taken it. It keeps the slot that it had in `old` data of the same profile.
function byModule(names, modules, old = new Map()) {
  const taken = new Set();
  for (const module of heaviest(modules)) {
    if (old.has(module.name)) {
      module.slot = old.get(module.name);
      continue;
    }
    module.slot = module.name ? hash(module.name) % HUES.length : NO_MODULE;
    while (module.name && taken.has(module.slot) && taken.size < HUES.length) {
      module.slot = (module.slot + 1) % HUES.length;
    }
    taken.add(module.slot);
  }
  const colour = Uint8Array.from(names, (name, id) => modules[id].slot * SHADES + (hash(name) % SHADES));
  colour[0] = ROOT;
  return colour;
}

function byName(names) {
  const colour = Uint8Array.from(names, (name) => hash(name) % (HUES.length * SHADES));
  colour[0] = ROOT;
  return colour;
}

// Returns which ink of a theme is readable on a colour: the usual one, the one for strong colours, the
// soft one, or the paper.
function inkOn(colour) {
  if (colour === MATCH || colour === NEW || colour === VANISHED) return 1;
  if (colour === DIM) return 2;
  return colour === CENTRE ? 3 : 0;
}

// Returns the colour of a node of a differential. Twice as much or more is the strongest orange.
function byChange(before, after, wholeBefore, whole) {
  if (before === 0) return after === 0 ? CHANGES + STEPS : NEW;
  if (after === 0) return VANISHED;
  const ratio = Math.log2(after / whole / (before / wholeBefore));
  const step = Math.round(Math.max(-1, Math.min(1, ratio)) * STEPS);
  return CHANGES + STEPS + step;
}
