// What a stranger verifies of a network: signatures, certificates, blocks, and the rows of a snapshot. No clock and no network here.
// From docs/src/wire.md ("Identity and signatures", "Hashes", "Pages of snapshots") and docs/src/specification.md ("Heights", "The state").

import { createPublicKey, verify } from "node:crypto";

import { ed25519 } from "@noble/curves/ed25519.js";
import { blake3 } from "@noble/hashes/blake3.js";

import { decode, demand, encode, tags } from "./codec.mjs";

export const H = (...parts) => Buffer.from(blake3(Buffer.concat(parts)));

export const derive = (context, ...parts) =>
  Buffer.from(blake3(Buffer.concat(parts), { context: Buffer.from(context) }));

export const number = (value) => encode("u64", value);

const hasSmallOrder = (point) => {
  try {
    return ed25519.Point.fromBytes(point, true).isSmallOrder();
  } catch {
    return true;
  }
};

/// What stands before the 32 bytes of an ed25519 key in the form that OpenSSL reads (RFC 8410).
const KEY_PREFIX = Buffer.from("302a300506032b6570032100", "hex");

/// The strict check of wire.md. OpenSSL compares R byte for byte and S with the order, and does not look at small orders.
function isSignedBy(signer, message, signature) {
  if (hasSmallOrder(signer) || hasSmallOrder(signature.subarray(0, 32))) return false;
  const key = createPublicKey({ key: Buffer.concat([KEY_PREFIX, signer]), format: "der", type: "spki" });
  return verify(null, message, key, signature);
}

const compareIds = (a, b) => Buffer.compare(a.keys.id, b.keys.id);
const setHash = (validators) => derive("lucid validator set 1", encode("Vec<Validator>", validators));

export class Chain {
  constructor(network, genesis) {
    demand(H(genesis).equals(network), "the genesis is that of another network");
    this.network = network;
    this.genesis = decode("Genesis", genesis);
    /// The validators by the height from which they are in force.
    this.sets = [[0n, this.genesis.validator.toSorted(compareIds)]];
    /// The newest block that was verified.
    this.head = { height: 0n, hash: network, time: this.genesis.genesis_time };
    /// Commitments to reports in the blocks read so far: by epoch and validator's key.
    this.commitments = new Map();
  }

  validatorsAt(height) {
    return this.sets.findLast(([from]) => from <= height)[1];
  }

  /// The validator that has, or had, the key `id`; a report is signed with the one that its epoch's draw has.
  validator(id) {
    return this.sets.flatMap(([, set]) => set).find(({ keys }) => keys.id.equals(id));
  }

  isSigned(record, { signer, record: value, signature }) {
    return isSignedBy(signer, this.message(record, value), signature);
  }

  message(record, value) {
    const tag = Buffer.from(tags.get(record));
    return Buffer.concat([Buffer.from([tag.length]), tag, this.network, encode(record, value)]);
  }

  checkCertificate({ height, round, block, signatures }) {
    const validators = this.validatorsAt(height);
    const total = validators.reduce((sum, { power }) => sum + power, 0n);
    let power = 0n;
    signatures.forEach(([signer], i) => {
      demand(i === 0 || Buffer.compare(signatures[i - 1][0], signer) < 0, "the order of a certificate's signers");
      const validator = validators.find(({ keys }) => keys.id.equals(signer));
      demand(validator, `a certificate of height ${height} has a signer who is no validator`);
      power += validator.power;
    });
    demand(3n * power > 2n * total, `the certificate of height ${height} has ${power} of ${total} of the power`);
    const vote = this.message("Vote", { kind: { variant: "Precommit" }, height, round, block });
    for (const [signer, signature] of signatures) {
      demand(isSignedBy(signer, vote, signature), `a signature in the certificate of height ${height}`);
    }
  }

  /// The hash of a header that its certificate proves.
  checkHeader({ header, certificate }) {
    const hash = H(encode("Header", header));
    const isItsOwn = certificate.height === header.height && certificate.block.equals(hash);
    demand(isItsOwn, `the certificate of block ${header.height} is another block's`);
    this.checkCertificate(certificate);
    return hash;
  }

  /// Takes over a change of the validators, which counts from two heights above its block on.
  addSet({ block, set }) {
    const { header } = block;
    demand(header.height + 2n > this.sets.at(-1)[0], "the order of the changes of the validators");
    this.checkHeader(block);
    demand(set.every((it, i) => i === 0 || compareIds(set[i - 1], it) < 0), "the order of the validators");
    demand(header.next_set.equals(setHash(set)), `the validators that block ${header.height} names`);
    this.sets.push([header.height + 2n, set]);
  }

  /// Whether the validators are known that this block puts into force.
  knowsNextSet({ block: { header } }) {
    return header.next_set.equals(setHash(this.validatorsAt(header.height + 2n)));
  }

  /// Takes over the block after the head.
  addBlock({ block, certificate }) {
    const { header, commitments, reveals, commands, evidence } = block;
    demand(header.height === this.head.height + 1n && header.parent.equals(this.head.hash), `block ${header.height} does not follow`);
    demand(header.time > this.head.time, `the time of block ${header.height}`);
    const hash = this.checkHeader({ header, certificate });
    const items = [["Commitment", commitments], ["Reveal", reveals], ["Command", commands], ["Evidence", evidence]].flatMap(
      ([variant, some]) => some.map((item) => encode("Item", { variant, 0: item })),
    );
    const list = encode("Vec<ItemRef>", items.map((item) => ({ id: H(item), bytes: item.length })));
    demand(header.items.equals(derive("lucid block items 1", list)), `the items of block ${header.height}`);
    demand(this.knowsNextSet({ block }), `the validators that block ${header.height} names`);
    for (const { signer, record } of commitments) this.commitments.set(`${record.epoch} ${signer.toString("hex")}`, record.report);
    for (const reveal of reveals) demand(this.isCommitted(reveal), `a reveal in block ${header.height} without its commitment`);
    this.head = { height: header.height, hash, time: header.time };
    return hash;
  }

  /// Whether a reveal is what its signer committed to; nothing if no block read so far has a commitment.
  isCommitted({ signer, record: { report, salt } }) {
    const commitment = this.commitments.get(`${report.epoch} ${signer.toString("hex")}`);
    const account = this.validator(signer)?.node;
    if (!commitment || !account) return undefined;
    const parts = [this.network, number(report.epoch), account, encode("ScoreReport", report), salt];
    return derive("lucid score report commitment 1", ...parts).equals(commitment);
  }

  /// The epoch under way at a time.
  epochAt(time) {
    return (time - this.genesis.genesis_time) / this.genesis.policy.epoch_ms + 1n;
  }
}

/// The tables of the state by their tags: bytes of the key after the tag, and the value's type.
const TABLES = [
  [0, "Head"], [32, "WorkerStats"], [32, "PoolState"], [64, "Account"], [64, "Member"], [8, "EpochDraw"], [8, "PendingEpoch"],
  [40, "Hash"], [40, "ScoreReport"], [8, "Hash"], [32, "Equivocation"], [32, "Node"], [32, "Nonce"], [8, "Close"], [64, "Request"],
  [64, "InviteUse"], [8, "Vec<Validator>"], [32, "ProposedChange"], [32, "UsedKey"], [32, "NodeId"], [8, "StorageTerm"], [8, "Policy"],
  [32, "Duty"], [32, "PoolValidations"],
];

/// The rows of a state, page by page; each page is proved by the root of the state.
export class State {
  constructor(root) {
    Object.assign(this, { root, rows: [], isWhole: false });
  }

  addPage({ rows, right }) {
    demand(rows.length > 0, "a page without rows");
    for (const { key, value } of rows) {
      const before = this.rows.at(-1);
      demand(!before || Buffer.compare(before.key, key) < 0, "the order of the rows");
      const [length, kind] = TABLES[key[0]] ?? [];
      demand(key.length - 1 === length, `a row with the key ${key.toString("hex")}`);
      this.rows.push({ key, value: decode(kind, value), leaf: leafOf(key, value) });
    }
    const last = this.rows.at(-1).key;
    demand(right.every(({ bit }, i) => (i === 0 || right[i - 1].bit < bit) && !bitOf(last, bit)), "the steps of a page");
    demand(rootOf(this.rows, right).equals(this.root), "the root of the state");
    this.isWhole = right.length === 0;
  }

  table(tag) {
    return this.rows.filter(({ key }) => key[0] === tag).map(({ key, value }) => [key.subarray(1), value]);
  }
}

export const leafOf = (key, value) => H(Buffer.from([0]), encode("u16", key.length), key, H(value));
export const branchOf = (bit, left, right) => H(Buffer.from([1]), encode("u16", bit), left, right);
const bitOf = (key, bit) => (bit >> 3 < key.length ? (key[bit >> 3] >> (7 - (bit & 7))) & 1 : 0);

/// The first bit in which two keys differ.
export function firstDifference(a, b) {
  for (let bit = 0; ; bit++) if (bitOf(a, bit) !== bitOf(b, bit)) return bit;
}

/// The root of the tree whose first rows are `rows`, and whose other subtrees are to the right of the last row's way.
function rootOf(rows, right) {
  if (rows.length === 1 && right.length === 0) return rows[0].leaf;
  const split = rows.length > 1 ? firstDifference(rows[0].key, rows.at(-1).key) : Infinity;
  if (right.length > 0 && right[0].bit < split) return branchOf(right[0].bit, rootOf(rows, right.slice(1)), right[0].sibling);
  const middle = rows.findIndex(({ key }) => bitOf(key, split));
  return branchOf(split, rootOf(rows.slice(0, middle), []), rootOf(rows.slice(middle), right));
}
