#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""Make the inputs that the fuzzers start from.

corpus.py FOLDER        a folder for each target: FOLDER/header, entry, list, image
"""

import os
import struct
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../cli"))
import evil  # noqa: E402 pylint: disable=import-error,wrong-import-position

COPIED, COMPRESSED = 1 << 63, 1 << 62


def words(*values):
    """Return 64-bit words."""
    return struct.pack(f">{len(values)}Q", *values)


def short(data):
    """Return data without the zeros at its end, but for a few."""
    kept = data.rstrip(b"\0")
    return data[:len(kept) + 64]


def headers():
    """Cluster 0 of every image of evil.py, broken or not, and of good ones with all extensions."""
    for _, _, build in evil.ALL.values():
        yield short(build()[:evil.CLUSTER])
    yield short(evil.image()[:evil.CLUSTER])
    for version in (2, 3):
        for bits in (9, 12, 16, 21):
            size = 1 << bits
            yield short(evil.image(version=version, cluster_bits=bits, l1=3 * size, reftable=size, size=512)[:evil.CLUSTER])
    yield short(evil.image(evil.extension(evil.BACKING_FORMAT, b"qcow2") + evil.extension(0x1234, b"unknown") + evil.NAMED,
                           backing="base.qcow2", incompatible=16, order=6)[:evil.CLUSTER])
    yield short(evil.image(evil.extension(evil.DATA_FILE, b"data.raw"), incompatible=12, autoclear=2, compression=1,
                           compatible=1)[:evil.CLUSTER])
    yield short(evil.image(evil.NAMED + evil.extension(evil.FEATURE_NAMES, bytes(48) + b"\2\1" + b"n" * 46),
                           incompatible=1 << 40, length=120)[:evil.CLUSTER])


def entries():
    """One word of each kind for images of all kinds."""
    some = words(0, 0, 0x50000 | COPIED, 0, 0x50000, 0xFFFFFFFF, 1, 0, 0x50001, 0xFFFFFFFF << 32, COPIED, 0, 0x50200, 0,
                 COMPRESSED | 0x12345, 0, COMPRESSED | 3 << 54 | 0x12345, 1, COMPRESSED | COPIED | 5, 0,
                 0xFFFFFFFFFFFFFFFF, 0xFF00FF0000FF00, 0x60000, 0x0000FF00000000FF, 1 << 56, 0xF0F0)
    for bits in (0, 3, 5, 7, 12):
        for flags in range(8):
            yield bytes((bits, bits % 7, flags, 0)) + some


def lists():
    """Snapshot tables and bitmap directories, whole, cut and lying."""
    for entry in (evil.snapshot, evil.bitmap):
        good = entry().rstrip(b"\0")
        good += bytes(-len(good) % 8)
        for bits in (0, 7):
            yield bytes((bits,)) + good * 3
            yield bytes((bits,)) + good[:-5]
            yield bytes((bits,)) + good + short(entry(extra=1025))
            yield bytes((bits,)) + good + short(entry(name_size=900))
    yield b"\7" + short(evil.snapshot(extra=0)) + short(evil.snapshot(l1_size=1 << 23))
    yield b"\7" + short(evil.bitmap(flags=4, extra=8))


def image(bits, incompatible=0, order=4, version=3, change=b"", at=0):
    """Return a small image with data, a snapshot and a bitmap; change is put at an offset."""
    size = 1 << bits
    extended = incompatible & 16
    pair = (0xFFFF0000FFFF,) if extended else ()
    parts = {
        size: words(2 * size), 2 * size: struct.pack(">H", 1) * 8,
        3 * size: words(4 * size | COPIED), 4 * size: words(5 * size | COPIED, *(pair or (1,)), COMPRESSED | 5 * size + 5, 0),
        6 * size: short(evil.snapshot(l1=3 * size)), 7 * size: short(evil.bitmap(table=5 * size)),
    }
    start = evil.image(evil.bitmaps_extension(offset=7 * size), version=version, cluster_bits=bits, size=size * 8, l1=3 * size,
                       reftable=size, nb_snapshots=1, snapshots=6 * size, incompatible=incompatible, order=order, autoclear=1)
    data = bytearray(7 * size + 128)
    data[:400] = start[:400]
    for offset, part in list(parts.items()) + [(at, change)]:
        data[offset:offset + len(part)] = part
    return bytes(data)


def images():
    """Small whole images, and some whose tables lead to each other."""
    for order in range(7):
        yield image(9, order=order)
    yield image(9, version=2)
    yield image(12)
    yield image(14, incompatible=16)
    yield image(9, incompatible=4)
    for target in (0, 512, 1024, 1536, 2048, 3072, 1 << 40, (1 << 56) - 512, 2048 + 8):
        yield image(9, change=words(target | COPIED), at=1536)
        yield image(9, change=words(target | COPIED), at=2048)
        yield image(9, change=words(target), at=512)


def main():
    """Run corpus.py."""
    for name, seeds in (("header", headers), ("entry", entries), ("list", lists), ("image", images)):
        folder = os.path.join(sys.argv[1], name)
        os.makedirs(folder, exist_ok=True)
        for number, seed in enumerate(seeds()):
            with open(os.path.join(folder, f"seed-{number:03}"), "wb") as file:
                file.write(seed)


if __name__ == "__main__":
    main()
