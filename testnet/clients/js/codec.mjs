// The codec of docs/src/wire.md. The layouts come from the tables of docs/src/layout.md; what that page leaves to wire.md stands here.
//
// u64 and u128 are BigInt, shorter numbers Number; ids, hashes, keys, signatures and Vec<u8> are Buffer; what is absent is null; an
// enum's variant is an object with its name as `variant`; a Map is a list of pairs.

import { readFileSync } from "node:fs";

const PAGE = new URL("../../../docs/src/layout.md", import.meta.url);

/// Something is not as the protocol says.
export class Refused extends Error {}

export function demand(holds, what) {
  if (!holds) throw new Refused(what);
}

/// Length and whether it is a number; fields; variants, each with its fields; bytes at most; tags of signed records.
const leaves = new Map([["S", [32, false]]]);
const structs = new Map();
const enums = new Map();
const limits = new Map();
export const tags = new Map();

function readPage(text) {
  let name = null;
  for (const line of text.split("\n")) {
    const cells = line.split("|").slice(1, -1).map((cell) => cell.trim().replace(/^\[?`(.*?)`(\]\(.*\))?$/, "$1"));
    if (line.startsWith("#")) name = line.replace(/^#+ /, "");
    else if (!line.startsWith("|") || !line.includes("`")) continue;
    else if (cells[0].startsWith("lucid/")) tags.set(cells[1], cells[0]);
    else if (name === "Limits") limits.set(cells[0], Number(cells[1].replaceAll(",", "")));
    else if (cells.length === 3 && cells[0].endsWith("<T>")) structs.set((name = cells[0]), []);
    else if (name === "Ids, keys and quantities") leaves.set(cells[0], [Number(cells[1]), cells[2] !== "bytes"]);
    else if (cells.length === 3 && cells[0] && cells[1]) entry(structs, name).push([cells[0], cells[1]]);
    else if (cells.length === 5) {
      const [number, variant, field, kind] = cells;
      const variants = entry(enums, name);
      if (variant) demand(variants.push([variant, []]) === Number(number) + 1, `the variants of ${name}`);
      if (field) variants.at(-1)[1].push([field, kind]);
    }
  }
  // wire.md, "Join strings".
  structs.set("JoinString", [
    ["network", "Hash"],
    ["bootstrap", "Vec<String>"],
    ["pool", "Option<JoinPool>"],
    ["pin", "Option<(Height, BlockHash, UnixMillis)>"],
  ]);
  enums.set("JoinPool", [
    ["pool", [["0", "PoolId"]]],
    ["invite", [["0", "Signed<Invite>"], ["secret", "[u8; 32]"]]],
  ]);
}

function entry(map, name) {
  if (!map.has(name)) map.set(name, []);
  return map.get(name);
}

/// `A, B<C, D>` at its outer commas.
function split(text) {
  const parts = [""];
  let depth = 0;
  for (const c of text) {
    depth += "<([".includes(c) - ">)]".includes(c);
    if (c === "," && depth === 0) parts.push("");
    else parts[parts.length - 1] += c;
  }
  return parts.map((part) => part.trim());
}

class Reader {
  constructor(data) {
    Object.assign(this, { data, at: 0 });
  }

  take(length) {
    const part = this.data.subarray(this.at, this.at + Number(length));
    demand(BigInt(part.length) === BigInt(length), "the bytes end early");
    this.at += part.length;
    return part;
  }
}

function number(bytes) {
  return {
    read(from) {
      const value = from.take(bytes).reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
      return bytes <= 4 ? Number(value) : value;
    },
    write(value, out) {
      const buffer = Buffer.alloc(bytes);
      let left = BigInt(value);
      for (let i = 0; i < bytes; i++, left >>= 8n) buffer[i] = Number(left & 255n);
      demand(left === 0n, `a number of ${bytes} bytes`);
      out.push(buffer);
    },
  };
}

function fixed(length) {
  return {
    read: (from) => from.take(length),
    write(value, out) {
      demand(value.length === length, `${length} bytes`);
      out.push(value);
    },
  };
}

function bytes(toValue, toBytes) {
  const length = codec("u64");
  return {
    read: (from) => toValue(from.take(length.read(from))),
    write(value, out) {
      const buffer = toBytes(value);
      length.write(buffer.length, out);
      out.push(buffer);
    },
  };
}

function list(item) {
  const length = codec("u64");
  return {
    read(from) {
      const items = [];
      for (let left = length.read(from); left > 0n; left--) items.push(item.read(from));
      return items;
    },
    write(value, out) {
      length.write(value.length, out);
      value.forEach((it) => item.write(it, out));
    },
  };
}

function option(item) {
  return {
    read(from) {
      const [there] = from.take(1);
      demand(there <= 1, "an option");
      return there ? item.read(from) : null;
    },
    write(value, out) {
      out.push(Buffer.from([value === null ? 0 : 1]));
      if (value !== null) item.write(value, out);
    },
  };
}

function tuple(items) {
  return {
    read: (from) => items.map((item) => item.read(from)),
    write: (value, out) => items.forEach((item, i) => item.write(value[i], out)),
  };
}

function fields(of) {
  const known = of.map(([field, kind]) => [field, codec(kind)]);
  return {
    read: (from) => Object.fromEntries(known.map(([field, item]) => [field, item.read(from)])),
    write: (value, out) => known.forEach(([field, item]) => item.write(value[field], out)),
  };
}

function variants(name, of) {
  const index = codec("u32");
  const bodies = of.map(([variant, inner]) => [variant, fields(inner)]);
  return {
    read(from) {
      const place = index.read(from);
      if (place >= bodies.length) throw Object.assign(new Refused(`${name} has no variant ${place}`), { isNewer: true });
      const [variant, body] = bodies[place];
      return { variant, ...body.read(from) };
    },
    write(value, out) {
      const place = bodies.findIndex(([variant]) => variant === value.variant);
      demand(place >= 0, `${name} has no variant ${value.variant}`);
      index.write(place, out);
      bodies[place][1].write(value, out);
    },
  };
}

function make(kind) {
  const [, head, inner] = /^(\w+)<(.*)>$/.exec(kind) ?? [];
  if (/^u\d+$/.test(kind)) return number(Number(kind.slice(1)) / 8);
  if (leaves.has(kind)) return leaves.get(kind)[1] ? number(leaves.get(kind)[0]) : fixed(leaves.get(kind)[0]);
  if (kind === "bool") {
    const { read, write } = number(1);
    return { read: (from) => read(from) === 1, write: (value, out) => write(value ? 1 : 0, out) };
  }
  if (kind === "String") return bytes((it) => it.toString("utf8"), (it) => Buffer.from(it, "utf8"));
  if (kind === "Vec<u8>") return bytes((it) => it, (it) => it);
  if (kind.startsWith("[u8;")) return fixed(Number(kind.slice(4, -1)));
  if (kind.startsWith("(")) return tuple(split(kind.slice(1, -1)).map(codec));
  if (head === "Vec") return list(codec(inner));
  if (head === "Map") return list(codec(`(${inner})`));
  if (head === "Option") return option(codec(inner));
  if (structs.has(`${head}<T>`)) return fields(structs.get(`${head}<T>`).map(([field, of]) => [field, of === "T" ? inner : of]));
  if (enums.has(kind)) return variants(kind, enums.get(kind));
  demand(structs.has(kind), `${kind} has no layout`);
  return fields(structs.get(kind));
}

const codecs = new Map();

function codec(kind) {
  if (!codecs.has(kind)) codecs.set(kind, make(kind));
  return codecs.get(kind);
}

export function encode(kind, value) {
  const out = [];
  codec(kind).write(value, out);
  return Buffer.concat(out);
}

/// The value of which `data` is the encoding, whole and in the one form that there is.
export function decode(kind, data) {
  const whole = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  demand(whole.length <= (limits.get(kind) ?? Infinity), `the length of a ${kind}`);
  const from = new Reader(whole);
  const value = codec(kind).read(from);
  demand(from.at === whole.length && encode(kind, value).equals(whole), `not the encoding of a ${kind}`);
  return value;
}

readPage(readFileSync(PAGE, "utf8"));
