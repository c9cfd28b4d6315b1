#!/usr/bin/env python3
"""Checks proof documents of a Lucid network with its genesis alone, in another language than the product's.

It is written from the book alone (docs/src/specification.md, "Proofs"), and reads the layouts of all types from layout.md. `make follow`
runs it on what a local network proves, and on the golden documents. By hand:

    pip install blake3 PyNaCl
    docs/examples/proof.py GENESIS.toml PROOF.json...

Each document is then changed by a bit in each of its lines, which must be refused: a check that takes anything would be none.
"""
import hashlib
import ipaddress
import json
import pathlib
import sys
import tomllib

import nacl.bindings
from blake3 import blake3

from hashes import derive
from layouts import Record, Refused, decode, encode, from_toml, require

FORMAT, MAX_BYTES, MAX_KEY_BYTES = "lucid/proof/1", 32 << 20, 72


def main(genesis, *files):
    genesis = from_toml("Genesis", tomllib.loads(pathlib.Path(genesis).read_text()))
    require(files, "a document")
    for file in files:
        text = pathlib.Path(file).read_bytes()
        said = check(genesis, text)
        for changed in with_changed_bits(text):
            must_refuse(genesis, changed)
        print(f"{pathlib.Path(file).name}: block {said['header']['height']} proves {said['kind']} {json.dumps(said['claim'])}")


def H(data):
    return blake3(data).digest()


def check(genesis, text):
    """What the document says, if it is one and proves it."""
    require(len(text) <= MAX_BYTES, "the document's length")
    given = json.loads(text, object_pairs_hook=Record)
    network = H(encode("Genesis", genesis))
    require(given.format == FORMAT and given.network == network.hex(), "the format and the network")
    header = reread("Header", given.header)
    claim, state, scores = CLAIMS[given.kind](network, given, header.state_root)
    validators, changes = follow(genesis, network, given.set_changes, header.height)
    document = {
        "format": FORMAT, "network": network.hex(), "kind": given.kind, "claim": claim, "state": state, "scores": scores,
        "set_changes": changes, "header": shown(header),
        "certificate": check_certificate(validators, network, header, given.certificate),
    }
    # Whatever else stands there, or stands there in another way, follows from nothing.
    require((json.dumps(document, indent=2) + "\n").encode() == text, "the document's text")
    return document


def reread(kind, given):
    return decode(kind, encode(kind, from_toml(kind, given)))


def shown(record):
    plain = lambda value: value.hex() if isinstance(value, bytes) else shown(value) if isinstance(value, Record) else value
    return {field: plain(value) for field, value in record.items()}


def follow(genesis, network, given, until):
    """The validators of a height, by the changes from the genesis to it; and the changes as they stand in a document."""
    hash_of = lambda some: derive("lucid validator set 1", encode("Vec<Validator>", some))
    sets, changes = [(0, sorted(genesis.validator, key=lambda it: it["keys"].id))], []
    at = lambda height: max((it for it in sets if it[0] <= height), key=lambda it: it[0])[1]
    for change in given:
        header, validators = reread("Header", change.header), [reread("Validator", it) for it in change.validators]
        last, newest = sets[-1]
        require(last < header.height + 2 <= until, "the height of a change of the validators")
        require([it["keys"].id for it in validators] == sorted({it["keys"].id for it in validators}), "the order of the validators")
        require(header.next_set == hash_of(validators) != hash_of(newest), "the validators of a change")
        certificate = check_certificate(at(header.height), network, header, change.certificate)
        changes.append({"header": shown(header), "certificate": certificate, "validators": [shown(it) for it in validators]})
        sets.append((header.height + 2, validators))
    return at(until), changes


def check_certificate(validators, network, header, given):
    powers = {it["keys"].id: it.power for it in validators}
    votes = [(bytes.fromhex(it.key), bytes.fromhex(it.signature)) for it in given.votes]
    signers = [signer for signer, _ in votes]
    require(signers == sorted(set(signers)) and set(signers) <= set(powers), "the signers")
    require(3 * sum(powers[signer] for signer in signers) > 2 * sum(powers.values()), "the power")
    block, tag = H(encode("Header", header)), b"lucid/vote/1"
    vote = Record(kind=Record(variant="Precommit"), height=header.height, round=int(given.round), block=block)
    message = bytes([len(tag)]) + tag + network + encode("Vote", vote)
    for signer, signature in votes:
        nacl.bindings.crypto_sign_open(signature + message, signer)
    shown = [{"key": signer.hex(), "signature": signature.hex()} for signer, signature in votes]
    return {"block_hash": block.hex(), "round": vote.round, "votes": shown}


def bit_of(key, bit):
    return bit // 8 < len(key) and key[bit // 8] >> 7 - bit % 8 & 1


def look_up(given, root, key):
    """The value that the tree of this root has for the key, or none; and the lookup as it stands in a document."""
    value = None if given.value is None else bytes.fromhex(given.value)
    other = given.other and (bytes.fromhex(given.other.key), bytes.fromhex(given.other.value_hash))
    steps = [(int(it.bit), bytes.fromhex(it.sibling)) for it in given.steps]
    bits = [bit for bit, _ in steps]
    if value is not None:
        require(other is None, "no other leaf beside a value")
        leaf = (key, H(value))
    else:
        leaf = other
    if leaf is None:
        require(not steps and root == bytes(32), "a tree without rows")
    else:
        require(leaf[0] != key or value is not None, "another key than the absent one")
        require(all(bit_of(leaf[0], bit) == bit_of(key, bit) for bit in bits), "a way on which the key itself would be")
        require(len(leaf[0]) <= MAX_KEY_BYTES and all(bit < 8 * len(leaf[0]) for bit in bits), "the length of the leaf's key")
        require(bits == sorted(set(bits)), "the order of the branches")
        found = H(b"\0" + len(leaf[0]).to_bytes(2, "little") + leaf[0] + leaf[1])
        for bit, sibling in reversed(steps):
            left, right = (sibling, found) if bit_of(leaf[0], bit) else (found, sibling)
            found = H(b"\1" + bit.to_bytes(2, "little") + left + right)
        require(found == root, "the root")
    return value, {
        "key": key.hex(),
        "value": value if value is None else value.hex(),
        "steps": [{"bit": bit, "sibling": sibling.hex()} for bit, sibling in steps],
        "other": other and {"key": other[0].hex(), "value_hash": other[1].hex()},
    }


def group_text(group):
    if not any(group):
        return "none"
    is_v4 = group[:2] == bytes(2)
    return str(ipaddress.IPv4Address(group[2:])) if is_v4 else f"{ipaddress.IPv6Address(group + bytes(10))}/48"


def id_of(text):
    require(len(text) == 64, "an id")
    return bytes.fromhex(text)


def score(network, given, state_root):
    epoch = int(given.claim.epoch)
    root, state = look_up(given.state, state_root, b"\x09" + epoch.to_bytes(8, "big"))
    if root is None:
        return {"epoch": epoch, "worker": None, "root": None, "row": None}, state, None
    worker = id_of(given.claim.worker)
    value, scores = look_up(given.scores, root, worker)
    claim = {"epoch": epoch, "worker": worker.hex(), "root": root.hex(), "row": None}
    if value is not None:
        row = decode("ScoreRow", value)
        require(row.worker == worker, "the row's worker")
        measured = row.aggregate
        claim["row"] = {
            "score_ppm": row.score, "relay_credits": row.earned.relay, "storage_credits": row.earned.storage,
            "sharers": row.sharers, "credits": row.credits, "reachable_ms": row.reachable_ms, "components": row.components,
            "success_ppm": measured.success, "rtt_us": measured.rtt_us,
            "echo_bytes": measured.echo and measured.echo.bytes, "echo_kbit_s": measured.echo and measured.echo.kbit_s,
            "proved_chunks": measured.chunks, "network_group": measured.group and group_text(measured.group),
        }
    return claim, state, scores


def owed(network, given, state_root):
    pool, account = id_of(given.claim.pool), id_of(given.claim.account)
    value, state = look_up(given.state, state_root, b"\x03" + pool + account)
    claim = {"pool": pool.hex(), "account": account.hex(), "row": None}
    if value is not None:
        row = decode("Account", value)
        kind = ["worker", "commission", "validator"].index(row.kind.variant)
        parts = network + pool + bytes([kind]) + row.node
        require(account == blake3(parts, derive_key_context="lucid account 1").digest(), "whose account it is")
        claim["row"] = {
            "kind": row.kind.variant, "node": row.node.hex(), "address": to_base58check(row.to), "owed_micro_usdt": row.owed,
            "requested_micro_usdt": row.requested, "held_micro_usdt": row.held,
            "hold": {"since": row.hold["0"]} if row.hold.variant == "Since" else row.hold.variant.lower(),
            "correction_micro_usdt": row.correction,
        }
    return claim, state, None


def account(network, given, state_root):
    node = id_of(given.claim.node)
    value, state = look_up(given.state, state_root, b"\x01" + node)
    claim = {"node": node.hex(), "row": None}
    if value is not None:
        row = decode("WorkerStats", value)
        sums = {field: sum(bucket[field] for bucket in row.credits) for field in ("credits", "reachable_ms", "epochs")}
        claim["row"] = {
            "measured_epoch": row.measured, **sums, "session_ms": sum(row.history),
            "kbit_s": row.kbit_s[0], "kbit_s_epoch": row.kbit_s[1],
            "utilisation_ppm": row.utilisation[0], "utilisation_epoch": row.utilisation[1],
            "quality_ppm": row.quality, "trust_ppm": row.trust, "score_ppm": row.score,
        }
    return claim, state, None


CLAIMS = {"score": score, "owed": owed, "account": account}


def to_base58check(data):
    digits = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
    whole = int.from_bytes(data + hashlib.sha256(hashlib.sha256(data).digest()).digest()[:4], "big")
    text = ""
    while whole:
        whole, digit = divmod(whole, 58)
        text = digits[digit] + text
    return text


def with_changed_bits(text):
    """The text with a bit changed in each line, whichever it is."""
    start = 0
    for line in text.splitlines(keepends=True):
        bit = int.from_bytes(hashlib.sha256(line).digest(), "big") % (8 * len(line))
        changed = bytearray(text)
        changed[start + bit // 8] ^= 1 << bit % 8
        yield bytes(changed)
        start += len(line)


def must_refuse(genesis, text):
    try:
        check(genesis, text)
    except Exception:
        return
    raise Refused("a changed document was taken")


if __name__ == "__main__":
    main(*sys.argv[1:])
