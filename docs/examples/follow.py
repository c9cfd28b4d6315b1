#!/usr/bin/env python3
"""Follows a Lucid chain from its genesis in another language, and recomputes everything that its blocks say.

It is written from the book alone (docs/src/wire.md, specification.md, payout-vault.md), and reads the layouts of all types from
layout.md. It checks each block's hash, items, parent, proposer, signatures, certificate, contribution to the beacon and reports; computes
seats, medians, scores, settlements, leaders and payout roots from them, and what commands change; and compares the result with the block's
state root, and the scores with those that the node's API shows.

`make follow` runs it on a local network. By hand:

    pip install -r docs/examples/requirements.txt
    docs/examples/follow.py GENESIS.toml HOST:PORT [HEIGHT]

where a node's API answers at HOST:PORT. It ends at HEIGHT, for which it waits, or at the node's newest block.
"""
import hashlib
import json
import pathlib
import sys
import time
import tomllib
import urllib.error
import urllib.request

from chain import Chain
from layouts import Refused, decode, from_toml, require


def main(genesis, node, height=None):
    def get(path):
        with urllib.request.urlopen(f"http://{node}/api/v1/{path}", timeout=10) as answer:
            return answer.read()

    chain = Chain(from_toml("Genesis", tomllib.loads(pathlib.Path(genesis).read_text())))
    status = json.loads(get("status"))
    require(status["network_id"] == chain.network.hex(), "the node is of another network")
    print("network", chain.network.hex())
    for number in range(1, int(height or status["height"]) + 1):
        data, scored = wait_for(get, f"blocks/{number}/raw"), chain.scored
        must_refuse_one_changed_bit(chain, data)
        follow(chain, data)
        print(f"block {number} {chain.block.hex()} state {chain.root().hex()[:8]}, epoch {chain.closed} closed, {chain.scored} scored")
        if chain.scored > scored:
            compare_scores(chain, json.loads(get(f"scores?epoch={chain.scored}"))["scores"])
    print(f"{chain.height} blocks follow from the genesis, and {len(chain.rows)} epochs of scores from their reports")


def wait_for(get, path):
    while True:
        try:
            return get(path)
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
            time.sleep(0.2)  # The API has no events.


def check(chain, data):
    certified = decode("CertifiedBlock", data)
    chain.check(certified.block, certified.certificate)
    return certified.block


def follow(chain, data):
    chain.execute(check(chain, data))


def must_refuse_one_changed_bit(chain, data):
    """Whatever bit it is: all are hashed or signed. A check that takes anything would be none."""
    bit = int.from_bytes(hashlib.sha256(data).digest(), "big") % (8 * len(data))
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    try:
        check(chain, bytes(changed))
    except Exception:
        return
    raise Refused(f"a block with another bit {bit} was taken")


def compare_scores(chain, shown):
    theirs = {bytes.fromhex(it["worker"]): (it["score_ppm"], it["credits"], it["components"], it["rtt_us"]) for it in shown}
    rows = chain.rows[chain.scored]
    ours = {it.worker: (it.score, it.credits, it.components, it.aggregate.rtt_us) for it in rows}
    require(ours == theirs, f"the scores of epoch {chain.scored}")


if __name__ == "__main__":
    main(*sys.argv[1:])
