#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""Turn hash.qcow2 and blocks.qcow2, which are empty, into images that ask for much work."""

import struct

GOLDEN = 0x61C8864680B583EB     # what hash_64() multiplies by
MASK = (1 << 64) - 1
BLOCKS = 1 << 17


def word(file, at, form):
    """Return the number at an offset."""
    file.seek(at)
    return struct.unpack(form, file.read(struct.calcsize(form)))[0]


def in_one_place(count, least):
    """Return so many cluster numbers whose products with GOLDEN begin with nine zero bits.

    Between two of them there are no more than three distances (Steinhaus), so these are looked for first.
    """
    limit = 1 << 55
    gaps, value, found = [], least, []
    while len(found) < count:
        value += next((gap for gap in gaps if (value + gap) * GOLDEN & MASK < limit), 1)
        if value * GOLDEN & MASK < limit:
            if found and value - found[-1] not in gaps:
                gaps = sorted(gaps + [value - found[-1]])
            found.append(value)
    return [value - 2 for value in found]    # the set keeps cluster + 2


def hash_image():
    """All entries of the L1 table lead to tables whose places in a hash of fixed numbers are the same."""
    with open("hash.qcow2", "r+b") as file:
        size, table = word(file, 36, ">I"), word(file, 40, ">Q")
        clusters = in_one_place(size, 1 << 20)
        file.seek(table)
        file.write(struct.pack(f">{size}Q", *(cluster << 9 for cluster in clusters)))
        file.truncate((clusters[-1] + 1) << 9)


def blocks_image():
    """The refcount table is long, and leads to blocks in which nothing is written."""
    with open("blocks.qcow2", "r+b") as file:
        first = word(file, word(file, 48, ">Q"), ">Q")
        start = 256
        table = [first] + [(start + BLOCKS * 8 // 65536 + number) << 16 for number in range(BLOCKS - 1)]
        file.seek(start << 16)
        file.write(struct.pack(f">{BLOCKS}Q", *table))
        file.truncate(table[-1] + (1 << 16))
        file.seek(48)
        file.write(struct.pack(">QI", start << 16, BLOCKS * 8 // 65536))
        # Its own clusters are counted.
        file.seek(first + start * 2)
        file.write(struct.pack(f">{BLOCKS * 8 // 65536}H", *[1] * (BLOCKS * 8 // 65536)))


if __name__ == "__main__":
    hash_image()
    blocks_image()
