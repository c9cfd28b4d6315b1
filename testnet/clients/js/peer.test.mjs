// What a local network does not show: pages of a snapshot of more than 1 MiB, encodings that must be refused, and a message's id.

import assert from "node:assert/strict";
import test from "node:test";

import "./node20.mjs";
import { H, State, branchOf, firstDifference, leafOf } from "./chain.mjs";
import { decode, encode } from "./codec.mjs";
import { messageId } from "./node.mjs";

/// Rows of the table of node keys, by key.
const rows = Array.from({ length: 50 }, (_, i) => {
  return { key: Buffer.concat([Buffer.from([0x13]), H(Buffer.from([i]))]), value: H(Buffer.alloc(2, i)) };
});
rows.sort((a, b) => Buffer.compare(a.key, b.key));

const middleOf = (some) => {
  const bit = firstDifference(some[0].key, some.at(-1).key);
  return [bit, some.findIndex(({ key }) => (key[bit >> 3] >> (7 - (bit & 7))) & 1)];
};

function treeOf(some) {
  if (some.length === 1) return leafOf(some[0].key, some[0].value);
  const [bit, middle] = middleOf(some);
  return branchOf(bit, treeOf(some.slice(0, middle)), treeOf(some.slice(middle)));
}

/// The branches at which the way to the row `last` turns left.
function rightOf(some, last) {
  if (some.length === 1) return [];
  const [bit, middle] = middleOf(some);
  if (last >= middle) return rightOf(some.slice(middle), last - middle);
  return [{ bit, sibling: treeOf(some.slice(middle)) }, ...rightOf(some.slice(0, middle), last)];
}

test("each page of a snapshot proves itself, and no changed one does", () => {
  for (const size of [1, 7, 20, 50]) {
    const state = new State(treeOf(rows));
    for (let at = 0; at < rows.length; at += size) {
      const page = rows.slice(at, at + size);
      const right = rightOf(rows, Math.min(at + size, rows.length) - 1);
      const changed = new State(state.root);
      changed.rows = [...state.rows];
      const wrong = page.map((row, i) => (i === 0 ? { ...row, value: H(row.value) } : row));
      assert.throws(() => changed.addPage({ rows: wrong, right }), /the root of the state/);
      assert.equal(state.isWhole, false);
      state.addPage({ rows: page, right });
    }
    assert.equal(state.isWhole, true);
    assert.equal(state.table(0x13).length, rows.length);
  }
});

test("a page that leaves a row out is refused", () => {
  const gap = rows.filter((_, i) => i !== 3).slice(0, 9);
  assert.throws(() => new State(treeOf(rows)).addPage({ rows: gap, right: rightOf(rows, 9) }), /the root of the state/);
});

test("there is one encoding of each value", () => {
  const wake = { variant: "Wake", 0: { signer: H(), record: { height: 7n }, signature: Buffer.alloc(64) } };
  const data = encode("ConsensusMessage", wake);
  assert.deepEqual(decode("ConsensusMessage", data), wake);
  assert.throws(() => decode("ConsensusMessage", data.subarray(1)));
  assert.throws(() => decode("ConsensusMessage", Buffer.concat([data, Buffer.alloc(1)])), /not the encoding/);
  assert.throws(() => decode("Option<u8>", Buffer.from([2, 0])), /an option/);
  assert.throws(() => decode("bool", Buffer.from([2])), /not the encoding/);
  const newer = Buffer.from(data);
  newer[0] = 9;
  assert.throws(() => decode("ConsensusMessage", newer), { isNewer: true });
});

test("a message has the id that nodes know it by", () => {
  const topic = `/lucid/${"07".repeat(32)}/commands/1`;
  assert.equal(messageId({ topic, data: Buffer.from("abc") }).toString("hex"), "2968ace9e6e175ba89a7b8a2b8ed4f631574732b");
});
