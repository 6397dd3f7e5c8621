// Decodes the data of the page into columns with a number for each node of the call tree, in preorder.
// src/graph/ writes them and documents the format.

function fromBase64(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const binary = atob(text.trim());
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

async function inflate(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// Reads unsigned LEB128 numbers.
class Numbers {
  constructor(bytes) {
    this.bytes = bytes;
    this.at = 0;
  }

  next() {
    const { bytes } = this;
    let byte = bytes[this.at++];
    if (byte < 128) return byte;
    let value = byte & 127;
    let factor = 1;
    while (byte > 127) {
      factor *= 128;
      byte = bytes[this.at++];
      value += (byte & 127) * factor;
    }
    if (this.at > bytes.length) throw new Error("the data of this page are cut short");
    return value;
  }

  // Reads as many numbers as `column` has room for, from `start` on.
  fill(column, start = 0) {
    for (let i = start; i < column.length; i++) column[i] = this.next();
    return column;
  }

  take(length) {
    if (this.at + length > this.bytes.length) throw new Error("the data of this page are cut short");
    return this.bytes.subarray(this.at, (this.at += length));
  }
}

// Characters that are invisible or change the direction of text. They are shown as their number.
const UNSEEN = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;

function visible(name) {
  return name.replace(UNSEEN, (c) => `\\u{${c.charCodeAt(0).toString(16)}}`);
}

// Decodes the names. Bytes that are not UTF-8 become U+FFFD.
function namesOf(bytes, lengths) {
  const names = [""];
  const all = new TextDecoder().decode(bytes);
  const isAscii = all.length === bytes.length;
  let at = 0;
  for (const length of lengths) {
    const end = at + length;
    const name = isAscii ? all.slice(at, end) : new TextDecoder().decode(bytes.subarray(at, end));
    names.push(visible(name));
    at = end;
  }
  return names;
}

// Decodes the text that a page carries.
async function graphOf(text, notes) {
  const graph = decode(await inflate(fromBase64(text)));
  if (notes.unit) graph.unit = notes.unit;
  for (const weights of [graph.self, graph.before ?? []]) {
    for (let i = 0; i < weights.length; i++) weights[i] *= notes.factor;
  }
  return graph;
}

// Node 0 is the root of all, and the nodes of the data follow it. Name 0 is no name.
function decode(bytes) {
  const numbers = new Numbers(bytes);
  const flags = numbers.next();
  const isDifferential = (flags & 1) > 0;
  const unit = new TextDecoder().decode(numbers.take(numbers.next()));
  const scale = numbers.next();
  const lengths = numbers.fill(new Uint32Array(numbers.next()));
  const names = namesOf(numbers.take(lengths.reduce((a, b) => a + b, 0)), lengths);

  const count = numbers.next() + 1;
  if (count > bytes.length) throw new Error("the data of this page are broken");
  const depth = numbers.fill(new Int32Array(count), 1);
  for (let i = 1; i < count; i++) {
    depth[i] = depth[i - 1] + 1 - depth[i];
    if (depth[i] < 1) {
      if (i === 1 && depth[i] === 1) continue;
      throw new Error("the data of this page are broken");
    }
  }
  const name = numbers.fill(new Int32Array(count), 1);
  if (name.some((id) => id >= names.length)) throw new Error("the data of this page are broken");
  const weights = () => {
    const column = numbers.fill(new Float64Array(count), 1);
    for (let i = 1; i < count; i++) column[i] *= scale;
    return column;
  };
  const self = weights();
  const after = isDifferential ? weights() : null;
  return {
    isDifferential,
    isChart: (flags & 2) > 0,
    keepsOrder: (flags & 4) > 0,
    unit,
    names,
    depth,
    name,
    self: after ?? self,
    before: after ? self : null,
  };
}
