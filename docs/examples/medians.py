#!/usr/bin/env python3
"""Medians, credits and scores of many workers in NumPy, on 64-bit integers, written from the book alone ("Medians", "Credits", "PoOT").

    medians.py [--workers N] [--same HASH]

Makes up the reports of seven validators on each of N workers from SplitMix64, as `consensus/score/benches/score.rs` does, and computes what
the epoch 5,000 of the public mesh makes of them, for workers that nobody has measured before. Prints the BLAKE3 of all rows and the
microseconds that it took, but for the making of the reports. With --same it fails if the hash is another.
"""

import argparse
import sys
import time

import numpy as np
from blake3 import blake3

EPOCH = 5_000
# The policy of the public mesh.
SEATS, MIN_REPORTERS, EPOCH_MS, SETTLE_EVERY, MIN_DENOMINATOR = 21, 3, 120_000, 720, 30
BYTES_PER_CREDIT, CREDITS_PER_GIB, CHUNK, STORAGE_FLOOR = 5 << 20, 10, 1 << 20, 1 << 30
FULL_SESSION_S, FULL_CREDITS, FULL_KBIT_S = 36_000, 10_000, 1_000_000
WEIGHTS = (250_000, 200_000, 150_000, 100_000, 150_000, 100_000, 50_000)
TIMEOUT_US, FULL_QUALITY_RTT_US, FIRST_TRUST = 2_000_000, 50_000, 500_000
ONE = 1_000_000
# Greater than any value: where nothing is, it is sorted last and weighs nothing.
NOTHING = np.int64(1 << 62)


def mix(number):
    """The outputs of SplitMix64 from 0 with these numbers."""
    z = (number + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def bits(random, shift, mask):
    return ((random >> np.uint64(shift)) & np.uint64(mask)).astype(np.int64)


def value(code):
    """The value of a code of the logarithmic scale."""
    exponent, mantissa = code >> 11, code & 2047
    return np.where(exponent == 0, mantissa, (2048 + mantissa) << np.maximum(exponent - 1, 0))


def reports(first, n):
    """What the seven reported of workers from `first` on: arrays of n rows with a column for each reporter, -1 where nothing was."""
    workers = np.arange(first, first + n, dtype=np.uint64)[:, None]
    reporters = np.arange(7, dtype=np.uint64)[None, :]
    random, own = mix(workers * np.uint64(8) + reporters), mix(workers * np.uint64(8) + np.uint64(7))[:, 0]
    seats = np.array([1, 2, 3, 3, 3, 4, 5], dtype=np.int64)[((workers + reporters) % np.uint64(7)).astype(np.int64)]
    sent = np.where(bits(random, 0, 63) == 0, 0, 12)
    answered = np.minimum(bits(random, 6, 15), sent)
    where = bits(random, 46, 7)
    group = np.where(where <= 4, 0x09090909, np.where(where <= 6, 0x2A0000010002, 0))
    echo_bytes = np.where(bits(own, 0, 3) == 0, -1, value(1 + bits(own, 2, 0xFFFF) % 30_000))
    kind = bits(random, 26, 15)
    kbit_s = np.where(kind == 0, -1, np.where(kind == 1, 0, value(1 + bits(random, 30, 0xFFFF) % 40_000)))
    quota = bits(own, 20, 0xFFFF) % 1_561
    chunks = bits(random, 53, 0x7FF) % (quota[:, None] + 1)
    return {
        "seats": seats,
        "sent": sent,
        "answered": answered,
        "rtt_us": np.where(answered > 0, value(1 + bits(random, 10, 0xFFFF) % 20_000), 0),
        "kbit_s": np.where(echo_bytes[:, None] < 0, -1, kbit_s),
        "group": np.where(answered > 0, group, -1),
        "chunks": np.where((quota[:, None] > 0) & (bits(random, 49, 15) != 0), chunks, -1),
        "echo_bytes": echo_bytes,
        "quota": quota,
        "sharers": 1 + bits(own, 40, 0xFFFF) % 3,
    }


def quorum(is_there, seats):
    """Whether two thirds of the seats are there, and enough who hold them."""
    held = np.where(is_there, seats, 0).sum(axis=1)
    return (3 * held >= 2 * SEATS) & (is_there.sum(axis=1) >= MIN_REPORTERS)


def median(values, is_there, seats):
    """The smallest value up to which half of the seats that are there reach; -1 without a quorum."""
    values, seats = np.where(is_there, values, NOTHING), np.where(is_there, seats, 0)
    order = np.argsort(values, axis=1)
    below = np.cumsum(np.take_along_axis(seats, order, axis=1), axis=1)
    place = (2 * below >= below[:, -1:]).argmax(axis=1)[:, None]
    middle = np.take_along_axis(values, np.take_along_axis(order, place, axis=1), axis=1)[:, 0]
    return np.where(quorum(is_there, seats), middle, -1)


def all_chunks(values, is_there, seats):
    """Chunks of all seats, where none that is there counts for more than the median; -1 without a quorum."""
    most, held = median(values, is_there, seats), np.where(is_there, seats, 0)
    total = (np.minimum(np.where(is_there, values, 0), most[:, None]) * held).sum(axis=1)
    return np.where(most < 0, -1, SEATS * total // np.maximum(held.sum(axis=1), 1))


def mode(groups, is_there, seats):
    """The group with most seats, of equal ones the smallest; -1 without a quorum."""
    held = np.where(is_there, seats, 0)
    of_same = (np.where(groups[:, :, None] == groups[:, None, :], held[:, None, :], 0)).sum(axis=2)
    of_same = np.where(is_there, of_same, -1)
    is_most = of_same == of_same.max(axis=1, keepdims=True)
    first = np.where(is_most & is_there, groups, NOTHING).min(axis=1)
    return np.where(quorum(is_there, seats), first, -1)


def ratio(part, whole):
    """floor(part * 10^6 / whole), at most the whole."""
    return np.minimum(part, whole) * ONE // whole


def score(it):
    """One row of 18 numbers for each worker, -1 where nothing is; all -1 for one that is not measured."""
    seats, sent, answered, kbit_s = it["seats"], it["sent"], it["answered"], it["kbit_s"]
    pinged, echoed, challenged = sent > 0, kbit_s >= 0, it["chunks"] >= 0
    reachable = EPOCH_MS * answered // np.maximum(sent, 1)
    passed, tried = answered + (kbit_s > 0), sent + echoed
    success = passed * ONE // np.maximum(tried, 1)
    rtt = np.where(answered > 0, it["rtt_us"], TIMEOUT_US)

    reachable, success, rtt = (median(field, pinged, seats) for field in (reachable, success, rtt))
    is_measured = reachable >= 0
    speed, chunks = median(kbit_s, echoed, seats), all_chunks(it["chunks"], challenged, seats)
    echoed_bytes = np.where(speed < 0, -1, np.where(speed > 0, it["echo_bytes"], 0))
    group = mode(it["group"], it["group"] >= 0, seats)

    has_echo = echoed_bytes > 0
    relay = np.maximum(np.where(has_echo, SEATS, 0), -(-SEATS * np.maximum(echoed_bytes, 0) // BYTES_PER_CREDIT))
    whole = np.maximum(chunks, 0) * CHUNK * CREDITS_PER_GIB >> 30
    number = (EPOCH - 1) % SETTLE_EVERY
    storage = whole * (number + 1) // SETTLE_EVERY - whole * number // SETTLE_EVERY
    credits = (relay + storage) // it["sharers"]

    floor = -(-STORAGE_FLOOR // (SEATS * CHUNK))
    utilisation = np.where((chunks >= 0) & (it["quota"] > 0), ratio(chunks, SEATS * np.maximum(it["quota"], floor)), 0)
    parts = (
        ratio(reachable // 1_000, np.int64(FULL_SESSION_S)),
        ratio(credits, np.int64(FULL_CREDITS)),
        utilisation,
        ratio(np.maximum(speed, 0), np.int64(FULL_KBIT_S)),
        ratio(reachable, np.int64(MIN_DENOMINATOR * EPOCH_MS)),
        np.where(rtt > FULL_QUALITY_RTT_US, success * FULL_QUALITY_RTT_US // np.maximum(rtt, 1), success),
        (15 * FIRST_TRUST + success) // 16,
    )
    total = sum(weight * part for weight, part in zip(WEIGHTS, parts)) // ONE
    row = (reachable, success, rtt, echoed_bytes, speed, chunks, group, relay, storage, credits, *parts, total)
    return [np.where(is_measured, field, -1) for field in row]


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--workers", type=int, default=20_000)
    arguments.add_argument("--same")
    wanted = arguments.parse_args()
    hasher, took = blake3(), 0
    at_a_time = 50_000
    for first in range(0, wanted.workers, at_a_time):
        it = reports(first, min(at_a_time, wanted.workers - first))
        start = time.perf_counter_ns()
        row = score(it)
        took += time.perf_counter_ns() - start
        hasher.update(np.stack(row, axis=1).astype("<i8").tobytes())
    print(hasher.hexdigest(), took // 1_000)
    if wanted.same not in (None, hasher.hexdigest()):
        sys.exit(f"the rows should hash to {wanted.same}")


if __name__ == "__main__":
    main()
