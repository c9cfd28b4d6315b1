#!/usr/bin/env python3
"""Reads the golden files, which hold a sample of every record in the product's own encoding, by the layouts of docs/src/layout.md.

Each must be the encoding of some type of that page, and not of one if a byte is missing. Evidence must prove what it says, and nothing
with its messages in the other order.
"""
import pathlib
from itertools import takewhile

from hashes import check_contradiction
from layouts import ENUMS, STRUCTS, decode, require

ROOT = pathlib.Path(__file__).parent / "../.."
NETWORK = b"\xaa" * 32


def main():
    plain = [kind for kind in [*STRUCTS, *ENUMS] if "<" not in kind] + ["Vec<Validator>"]
    kinds = plain + [kind.replace("<T>", f"<{record}>") for kind in STRUCTS if "<T>" in kind for record in plain]
    records, evidence = 0, []
    for file in sorted(ROOT.glob("consensus/**/tests/it/golden/*.hex")):
        if file.name.startswith("join_"):
            continue  # Join strings are text, and no part of what nodes send or store.
        # Named facts: the record's bytes come first, hashes and signatures follow.
        name, *lines = file.read_text().splitlines()
        if name != "bytes":
            continue
        data = bytes.fromhex("".join(takewhile(lambda line: set(line) <= set("0123456789abcdef"), lines)))
        found = [kind for kind in kinds if holds(decode, kind, data)]
        require(found, f"a type of which {file.name} is an encoding")
        require(not any(holds(decode, kind, data[:-1]) for kind in found), f"{file.name} with a byte less")
        records += 1
        evidence += [decode(kind, data) for kind in found if kind == "Evidence"]
    require({it.variant for it in evidence} == {"Votes", "Proposals"}, "the golden files")
    for it in evidence:
        check_contradiction(NETWORK, it)
        it["0"] = it["0"][::-1]
        require(not holds(check_contradiction, NETWORK, it), "evidence in the wrong order")
    print(f"{records} golden records are read by the layouts")


def holds(check, *what):
    try:
        check(*what)
    except Exception:
        return False
    return True


if __name__ == "__main__":
    main()
