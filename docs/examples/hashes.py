"""The hashes and signatures of docs/src/wire.md, the trees of docs/src/specification.md and docs/src/payout-vault.md."""
import hashlib

import nacl.bindings
from blake3 import blake3
from Crypto.Hash import keccak
from py_ecc.bls.hash_to_curve import hash_to_G1
from py_ecc.bls.point_compression import decompress_G1, decompress_G2
from py_ecc.optimized_bls12_381 import FQ12, G2, curve_order, final_exponentiate, is_inf, multiply, neg, pairing

from layouts import encode, require


def H(data):
    return blake3(data).digest()


def derive(context, *parts):
    return blake3(b"".join(parts), derive_key_context=context).digest()


def keyed(key, data, length):
    return blake3(data, key=key).digest(length=length)


def u32(value):
    return value.to_bytes(4, "little")


def u64(value):
    return value.to_bytes(8, "little")


def number(digest):
    return int.from_bytes(digest[:16], "little")


def check_signature(network, tag, kind, signer, record, signature):
    """libsodium refuses keys and R of small order, S beyond the group's order, and compares R as bytes: strict enough."""
    message = bytes([len(tag)]) + tag.encode() + network + encode(kind, record)
    nacl.bindings.crypto_sign_open(signature + message, signer)


def check_contradiction(network, evidence):
    """Two messages of one signer for one step, the lesser one first: by the fields in their order, those that are absent before others."""
    votes, proposals = ("lucid/vote/1", "Vote", ["kind", "height", "round"]), ("lucid/proposal/1", "Proposal", ["height", "round"])
    tag, kind, step = votes if evidence.variant == "Votes" else proposals
    steps = [[it.signer, *(it.record[field] for field in step)] for it in evidence["0"]]
    first, second = ([(it.record[field] is not None, it.record[field]) for field in it.record if field not in step] for it in evidence["0"])
    require(steps[0] == steps[1] and first < second, "a contradiction")
    for it in evidence["0"]:
        check_signature(network, tag, kind, it.signer, it.record, it.signature)


def check_bls(key, tag, message, signature):
    """e(signature, G2) == e(hash, key), both in their groups."""
    point = decompress_G1(int.from_bytes(signature, "big"))
    public = decompress_G2((int.from_bytes(key[:48], "big"), int.from_bytes(key[48:], "big")))
    is_valid = not is_inf(public) and is_inf(multiply(public, curve_order)) and is_inf(multiply(point, curve_order))
    require(is_valid, "a point that is not in its group")
    hashed = hash_to_G1(message, tag + b"_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_", hashlib.sha256)
    product = pairing(G2, point, final_exponentiate=False) * pairing(public, neg(hashed), final_exponentiate=False)
    require(final_exponentiate(product) == FQ12.one(), "a BLS signature")


def tree_root(rows):
    """Of the tree over rows by their keys."""
    keys = sorted(rows)

    def node(some):
        if len(some) == 1:
            return H(b"\0" + len(some[0]).to_bytes(2, "little") + some[0] + H(rows[some[0]]))
        first, last = (int.from_bytes(key.ljust(72, b"\0"), "big") for key in (some[0], some[-1]))
        bit = 8 * 72 - (first ^ last).bit_length()
        goes_left = [key for key in some if not key[bit // 8] >> 7 - bit % 8 & 1]
        return H(b"\1" + bit.to_bytes(2, "little") + node(goes_left) + node(some[len(goes_left):]))

    return node(keys) if keys else bytes(32)


def keccak256(data):
    return keccak.new(digest_bits=256, data=data).digest()


def payout_root(leaves):
    level = [keccak256(keccak256(account + bytes(12) + to[1:] + bytes(24) + owed.to_bytes(8, "big"))) for account, to, owed in leaves]
    level += [keccak256(b"PayoutVault padding")] * ((1 << (len(level) - 1).bit_length()) - len(level))
    while len(level) > 1:
        level = [keccak256(min(pair) + max(pair)) for pair in zip(level[::2], level[1::2])]
    return level[0]


def check_possession(account, keys):
    """That whoever announces a validator's keys for an account holds their secrets."""
    tag = b"lucid/validator-key/1"
    message = bytes([len(tag)]) + tag + bytes(32) + account + keys.bls_key
    nacl.bindings.crypto_sign_open(keys.proof + message, keys.id)
    check_bls(keys.bls_key, b"BLS_POP", keys.bls_key + account + keys.id, keys.bls_proof)
