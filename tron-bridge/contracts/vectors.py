#!/usr/bin/env python3
"""Test vectors of the vault's tree, digests and signatures, from docs/src/payout-vault.md alone: it shares no code with
the contract or the node, and uses Python's standard library only.

    python3 tron-bridge/contracts/vectors.py            writes tron-bridge/tests/data/payout_root.json
    python3 tron-bridge/contracts/vectors.py --check    fails if that file says something else
"""

import hashlib
import hmac
import json
import pathlib
import sys

TARGET = pathlib.Path(__file__).parent.parent / "tests" / "data" / "payout_root.json"

# ---- Keccak-256 ------------------------------------------------------------------------------------------------------

MASK = (1 << 64) - 1


def rotate(word, n):
    return ((word << n) | (word >> (64 - n))) & MASK if n else word


def round_constants():
    lfsr, constants = 1, []
    for _ in range(24):
        constant = 0
        for j in range(7):
            if lfsr & 1:
                constant |= 1 << ((1 << j) - 1)
            lfsr = (lfsr << 1) ^ (0x171 if lfsr & 0x80 else 0)
        constants.append(constant)
    return constants


CONSTANTS = round_constants()


def permute(a):
    for constant in CONSTANTS:
        c = [a[x][0] ^ a[x][1] ^ a[x][2] ^ a[x][3] ^ a[x][4] for x in range(5)]
        d = [c[(x - 1) % 5] ^ rotate(c[(x + 1) % 5], 1) for x in range(5)]
        a = [[a[x][y] ^ d[x] for y in range(5)] for x in range(5)]
        b = [[0] * 5 for _ in range(5)]
        x, y, current = 1, 0, a[1][0]
        b[0][0] = a[0][0]
        for t in range(24):
            # The lane at (x, y) moves to (y, 2x + 3y), turned by the t-th triangular number.
            x, y = y, (2 * x + 3 * y) % 5
            current, b[x][y] = a[x][y], rotate(current, (t + 1) * (t + 2) // 2 % 64)
        a = [[b[x][y] ^ (~b[(x + 1) % 5][y] & MASK & b[(x + 2) % 5][y]) for y in range(5)] for x in range(5)]
        a[0][0] ^= constant
    return a


def keccak256(data):
    rate = 136
    data += b"\x01" + b"\x00" * (-(len(data) + 1) % rate)
    data = data[:-1] + bytes([data[-1] | 0x80])
    a = [[0] * 5 for _ in range(5)]
    for start in range(0, len(data), rate):
        for i in range(rate // 8):
            a[i % 5][i // 5] ^= int.from_bytes(data[start + 8 * i : start + 8 * i + 8], "little")
        a = permute(a)
    return b"".join(a[i % 5][i // 5].to_bytes(8, "little") for i in range(4))


# ---- secp256k1, RFC 6979 ---------------------------------------------------------------------------------------------

P = 2**256 - 2**32 - 977
N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
G = (
    0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798,
    0x483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8,
)


def add(a, b):
    if a is None or b is None:
        return a or b
    if a[0] == b[0] and (a[1] + b[1]) % P == 0:
        return None
    if a == b:
        slope = 3 * a[0] * a[0] * pow(2 * a[1], -1, P)
    else:
        slope = (b[1] - a[1]) * pow(b[0] - a[0], -1, P)
    x = (slope * slope - a[0] - b[0]) % P
    return x, (slope * (a[0] - x) - a[1]) % P


def multiply(k, point=G):
    result = None
    while k:
        if k & 1:
            result = add(result, point)
        point = add(point, point)
        k >>= 1
    return result


def address_of(key):
    x, y = multiply(key)
    return keccak256(x.to_bytes(32, "big") + y.to_bytes(32, "big"))[12:]


def sign(key, digest):
    """65 bytes r || s || v, s in the lower half, v 27 or 28."""
    x, h = key.to_bytes(32, "big"), (int.from_bytes(digest, "big") % N).to_bytes(32, "big")
    mac = lambda k, m: hmac.new(k, m, hashlib.sha256).digest()
    k, v = b"\x00" * 32, b"\x01" * 32
    for tag in (b"\x00", b"\x01"):
        k = mac(k, v + tag + x + h)
        v = mac(k, v)
    while True:
        v = mac(k, v)
        nonce = int.from_bytes(v, "big")
        if 0 < nonce < N:
            point = multiply(nonce)
            r = point[0] % N
            s = pow(nonce, -1, N) * (int.from_bytes(digest, "big") + r * key) % N
            if r and s:
                break
        k = mac(k, v + b"\x00")
        v = mac(k, v)
    odd = point[1] & 1
    if s > N // 2:
        s, odd = N - s, odd ^ 1
    return r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes([27 + odd])


# ---- words, addresses ------------------------------------------------------------------------------------------------


def word(value):
    return value.to_bytes(32, "big") if isinstance(value, int) else value.rjust(32, b"\x00")


def words(*values):
    return b"".join(word(value) for value in values)


def base58check(address):
    data = b"\x41" + address
    data += hashlib.sha256(hashlib.sha256(data).digest()).digest()[:4]
    number, text = int.from_bytes(data, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        text = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"[digit] + text
    return text


# ---- the tree --------------------------------------------------------------------------------------------------------

PADDING = keccak256(b"PayoutVault padding")


def leaf(item):
    return keccak256(keccak256(words(item["id"], item["to"], item["owed"])))


def node(a, b):
    return keccak256(min(a, b) + max(a, b))


def levels(leaves):
    """From the padded leaves to the root."""
    row = list(leaves)
    while len(row) & (len(row) - 1):
        row.append(PADDING)
    rows = [row]
    while len(row) > 1:
        row = [node(row[i], row[i + 1]) for i in range(0, len(row), 2)]
        rows.append(row)
    return rows


def range_proof(rows, start, length):
    proof, end = [], start + length
    for row in rows[:-1]:
        if start & 1:
            proof.append(row[start - 1])
        if end & 1:
            proof.append(row[end])
        start, end = start >> 1, (end + 1) >> 1
    return proof


def tree(n):
    name = lambda what, i: hashlib.sha256(f"{what} {i}".encode()).digest()
    items = [
        {"id": name("account", i), "to": name("recipient", i)[:20], "owed": 1_000_000 * (i + 1) ** 3 + i}
        for i in range(n)
    ]
    # The largest amount there is.
    items[-1]["owed"] = 2**64 - 1
    rows = levels([leaf(item) for item in items])
    ranges = [(start, length) for start in range(n) for length in range(1, n - start + 1)]
    return {
        "accounts": [
            {"id": i["id"].hex(), "to": base58check(i["to"]), "to_hex": i["to"].hex(), "owed_micro_usdt": i["owed"]}
            for i in items
        ],
        "leaves": [h.hex() for h in rows[0]],
        "root": rows[-1][0].hex(),
        "ranges": [
            {"start": start, "length": length, "proof": [h.hex() for h in range_proof(rows, start, length)]}
            for start, length in ranges
        ],
    }


# ---- digests ---------------------------------------------------------------------------------------------------------

KEYS = [int.from_bytes(hashlib.sha256(f"signer {i}".encode()).digest(), "big") for i in range(3)]
# TRON's Nile network, and some vault.
CHAIN_ID = 0xCD8690DC
VAULT = hashlib.sha256(b"vault").digest()[:20]


def digest(purpose, *fields):
    return keccak256(words(keccak256(b"PayoutVault " + purpose.encode()), CHAIN_ID, VAULT, *fields))


def signed(purpose, fields, hashed):
    """`fields` as they are named in the JSON, `hashed` as they are hashed."""
    value = digest(purpose, *hashed)
    signers = sorted(KEYS, key=address_of)
    return {
        "purpose": purpose,
        **{name: field.hex() if isinstance(field, bytes) else field for name, field in fields.items()},
        "digest": value.hex(),
        "signatures": b"".join(sign(key, value) for key in signers).hex(),
    }


def digests():
    root, leader = bytes.fromhex(tree(5)["root"]), hashlib.sha256(b"leader").digest()[:20]
    head = {"era": 3, "settlement": 365, "root": root, "total": 123_456_789_012, "fees": 42_000_000}
    turn = {"leader": leader, "until": 1_800_000_180}
    next_signers = [address_of(key) for key in KEYS]
    rotation = {"era": 3, "nonce": 2, "threshold": 2}
    limits = {"era": 3, "nonce": 2, "cap": 5_000_000_000, "push_fee": 1_500_000}
    return [
        signed("root", {**head, **turn}, [*head.values(), *turn.values()]),
        signed(
            "signers",
            {**rotation, "signers": [s.hex() for s in next_signers]},
            [*rotation.values(), keccak256(words(*next_signers))],
        ),
        signed("limits", limits, limits.values()),
    ]


def vectors():
    return {
        "written_by": "tron-bridge/contracts/vectors.py",
        "padding": PADDING.hex(),
        "trees": [tree(n) for n in (1, 2, 3, 5, 8)],
        "chain_id": CHAIN_ID,
        "vault": VAULT.hex(),
        "keys": [key.to_bytes(32, "big").hex() for key in sorted(KEYS, key=address_of)],
        "digests": digests(),
    }


def main():
    assert keccak256(b"").hex() == "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
    assert keccak256(b"a" * 135) != keccak256(b"a" * 136)
    assert address_of(1).hex() == "7e5f4552091a69125d5dfcb7b8c2659029395bdf"
    fresh = json.dumps(vectors(), indent=1) + "\n"
    if "--check" in sys.argv:
        same = TARGET.exists() and TARGET.read_text() == fresh
        print(f"{TARGET.name}: {'matches' if same else 'DIFFERS from'} what vectors.py computes")
        sys.exit(0 if same else 1)
    TARGET.write_text(fresh)
    print(f"{TARGET.name}: written")


if __name__ == "__main__":
    main()
