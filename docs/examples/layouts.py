"""The codec of docs/src/wire.md. The layouts come from the tables of docs/src/layout.md: none is written down here."""
import hashlib
import pathlib
import re
from itertools import accumulate

PAGE = pathlib.Path(__file__).parent / "../src/layout.md"

# Length and whether it is a number, by name; fields and their types; variants by number, each with its fields.
# Every kind of signer is a key of 32 bytes.
LEAVES, STRUCTS, ENUMS = {"S": (32, False)}, {}, {}


class Refused(Exception):
    """Something is not as the protocol says."""


def require(holds, what):
    if not holds:
        raise Refused(what)


class Record(dict):
    """A structure, or an enum's variant with its fields."""
    __getattr__, __setattr__ = dict.__getitem__, dict.__setitem__


def blank(kind, /, **known):
    """A structure of which all is 0, empty or absent but for what is known."""
    nothing = {"Vec": list, "Map": dict, "Option": lambda: None}
    return Record({field: nothing.get(of.partition("<")[0], int)() for field, of in STRUCTS[kind]}, **known)


def read_page(text):
    name = None
    for line in text.splitlines():
        cells = [re.sub(r"^\[?`(.*?)`(\]\(.*\))?$", r"\1", cell.strip()) for cell in line.split("|")[1:-1]]
        if line.startswith("#"):
            name = line.lstrip("# ")
        elif "`" not in line or "|" not in line:
            continue  # Prose, or a table's head.
        elif cells[0].startswith("lucid/"):
            continue  # A tag: those in use stand beside what is signed.
        elif len(cells) == 3 and cells[0].endswith("<T>"):
            name = cells[0]
        elif name == "Ids, keys and quantities":
            LEAVES[cells[0]] = (int(cells[1]), cells[2] != "bytes")
        elif len(cells) == 3 and cells[0] and cells[1]:
            STRUCTS.setdefault(name, []).append((cells[0], cells[1]))
        elif len(cells) == 5:
            number, variant, field, kind, _ = cells
            variants = ENUMS.setdefault(name, [])
            if variant:
                require(int(number) == len(variants), f"the variants of {name}")
                variants.append((variant, []))
            if field:
                variants[-1][1].append((field, kind))


def split(text):
    """`A, B<C, D>` at its outer commas."""
    depth = list(accumulate((c in "<([") - (c in ">)]") for c in text))
    cuts = [i for i, c in enumerate(text) if c == "," and depth[i] == 0]
    return [text[start:end].strip() for start, end in zip([0] + [i + 1 for i in cuts], cuts + [len(text)])]


def fields_of(kind):
    generic = re.fullmatch(r"(\w+)<(.*)>", kind)
    if generic:
        # Accounts and keys are as long.
        known = {"T": generic[2], "S": "PublicKey"}
        return [(field, re.sub(r"\b[ST]\b", lambda it: known[it[0]], of)) for field, of in STRUCTS[generic[1] + "<T>"]]
    return STRUCTS[kind]


def encode(kind, value):
    head, _, inner = kind.partition("<")
    inner = inner[:-1]
    if re.fullmatch(r"u\d+", kind):
        return value.to_bytes(int(kind[1:]) // 8, "little")
    if kind in LEAVES:
        length, is_number = LEAVES[kind]
        return value.to_bytes(length, "little") if is_number else value
    if kind == "bool":
        return bytes([value])
    if kind == "String":
        return encode("u64", len(value.encode())) + value.encode()
    if kind[0] == "[":
        return value
    if kind[0] == "(":
        return b"".join(map(encode, split(kind[1:-1]), value))
    if head == "Option":
        return b"\0" if value is None else b"\1" + encode(inner, value)
    if head == "Vec":
        return encode("u64", len(value)) + b"".join(encode(inner, item) for item in value)
    if head == "Map":
        entry = f"({inner})"
        return encode("u64", len(value)) + b"".join(encode(entry, item) for item in sorted(value.items()))
    if kind in ENUMS:
        place = [name for name, _ in ENUMS[kind]].index(value.variant)
        return encode("u32", place) + b"".join(encode(of, value[field]) for field, of in ENUMS[kind][place][1])
    return b"".join(encode(of, value[field]) for field, of in fields_of(kind))


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, length):
        part = self.data[self.at:self.at + length]
        require(len(part) == length, "the bytes end early")
        self.at += length
        return part

    def number(self, length):
        return int.from_bytes(self.take(length), "little")

    def read(self, kind):
        head, _, inner = kind.partition("<")
        inner = inner[:-1]
        if re.fullmatch(r"u\d+", kind):
            return self.number(int(kind[1:]) // 8)
        if kind in LEAVES:
            length, is_number = LEAVES[kind]
            return self.number(length) if is_number else self.take(length)
        if kind == "bool":
            return bool(self.number(1))
        if kind == "String":
            return self.take(self.number(8)).decode()
        if kind[0] == "[":
            return self.take(int(kind[1:-1].split(";")[1]))
        if kind[0] == "(":
            return tuple(self.read(of) for of in split(kind[1:-1]))
        if head == "Option":
            return self.read(inner) if self.number(1) else None
        if head == "Vec":
            return [self.read(inner) for _ in range(self.number(8))]
        if head == "Map":
            return dict(self.read(f"({inner})") for _ in range(self.number(8)))
        if kind in ENUMS:
            place = self.number(4)
            require(place < len(ENUMS[kind]), f"{kind} has no variant {place}")
            variant, fields = ENUMS[kind][place]
            return Record(variant=variant, **{field: self.read(of) for field, of in fields})
        return Record((field, self.read(of)) for field, of in fields_of(kind))


def decode(kind, data):
    reader = Reader(data)
    value = reader.read(kind)
    require(reader.at == len(data) and encode(kind, value) == data, f"not the encoding of a {kind}")
    return value


def from_toml(kind, value):
    """What stands in a genesis file."""
    head, _, inner = kind.partition("<")
    if head == "Option":
        return None if value is None else from_toml(inner[:-1], value)
    if head == "Vec":
        return [from_toml(inner[:-1], item) for item in value or []]
    if kind in LEAVES and not LEAVES[kind][1]:
        return base58check(value) if kind == "PayoutAddress" else bytes.fromhex(value)
    if kind in STRUCTS:
        return Record((field, from_toml(of, value.get(field))) for field, of in STRUCTS[kind])
    return value


def base58check(text):
    digits = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
    whole = sum(digits.index(c) * 58**i for i, c in enumerate(reversed(text))).to_bytes(25, "big")
    checksum = hashlib.sha256(hashlib.sha256(whole[:21]).digest()).digest()[:4]
    require(whole[21:] == checksum, f"the checksum of {text}")
    return whole[:21]


read_page(PAGE.read_text())
