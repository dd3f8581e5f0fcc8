#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""Make images that want to keep a checker busy, or eat its memory.

hostile.py FOLDER       makes all of them and prints their names
"""

import os
import random
import struct
import sys

CLUSTER = 65536
COPIED = 1 << 63


def write(path, end, parts, **fields):
    """Write a sparse image; parts maps offsets to bytes."""
    header = {"bits": 16, "size": 1 << 20, "l1_size": 1, "l1": 3 * CLUSTER, "reftable": CLUSTER, "clusters": 1,
              "nb": 0, "snapshots": 0, "auto": 0, **fields}
    with open(path, "wb") as file:
        file.truncate(end)
        file.write(struct.pack(">IIQIIQIIQQIIQQQQIIB7x", 0x514649FB, 3, 0, 0, header["bits"], header["size"], 0,
                               header["l1_size"], header["l1"], header["reftable"], header["clusters"], header["nb"],
                               header["snapshots"], 0, 0, header["auto"], 4, 112, 0))
        for offset, data in parts.items():
            file.seek(offset)
            file.write(data)


def words(*values):
    """Return 64-bit words."""
    return struct.pack(f">{len(values)}Q", *values)


def same_table(path):
    """All entries of the largest L1 table lead to one L2 table, and all of that to one cluster."""
    write(path, 64 << 20, {CLUSTER: words(2 * CLUSTER), 4 * CLUSTER: words(3 * CLUSTER | COPIED) * (1 << 22),
                           3 * CLUSTER: words(40 << 20) * 8192}, l1=4 * CLUSTER, l1_size=1 << 22)


def same_block(path):
    """All entries of the largest refcount table lead to one block."""
    write(path, 16 << 20, {CLUSTER: words(12 << 20) * (1 << 20)}, l1=10 << 20, clusters=128)


def far_blocks(path):
    """All entries of the largest refcount table lead to blocks of their own, beyond the end or in holes."""
    write(path, 1 << 42, {CLUSTER: words(*((i + 200) * CLUSTER for i in range(1 << 20)))}, l1=10 << 20, clusters=128)


def wild(path):
    """Data clusters are strewn over a huge sparse file."""
    rng = random.Random(1)
    tables = {(64 + i) * CLUSTER: words(*(rng.randrange(1 << 26) * CLUSTER | COPIED for _ in range(8192))) for i in range(3)}
    write(path, 1 << 42, {CLUSTER: words(2 * CLUSTER), 3 * CLUSTER: words(*((64 + i) * CLUSTER for i in range(3))),
                          **tables}, size=1 << 32, l1_size=8)


def many_snapshots(path):
    """As many snapshots as can be, all with the largest L1 table at the same place."""
    entry = struct.pack(">QIHHIIQII", 8 << 20, 1 << 22, 0, 0, 0, 0, 0, 0, 16) + bytes(16)
    write(path, 64 << 20, {4 * CLUSTER: entry * 65536}, nb=65536, snapshots=4 * CLUSTER, l1=60 << 20)


def missing_snapshots(path):
    """As many snapshots as can be, and none is there."""
    write(path, 8 << 20, {}, nb=65536, snapshots=1 << 40)


def many_bitmaps(path):
    """As many bitmaps as can be, all with the largest table at the same place."""
    entry = struct.pack(">QIIBBHI", 8 << 20, 8192, 0, 1, 16, 1, 0) + b"a" + bytes(7)
    extension = struct.pack(">IIIIQQ", 0x23852875, 24, 65535, 0, 65535 * 32, 4 << 20)
    write(path, 16 << 20, {112: extension, 4 << 20: entry * 65535, 8 << 20: words(12 << 20) * 8192}, auto=1)


def small_clusters(path):
    """The smallest clusters in a file with too many of them."""
    write(path, 1 << 41, {512: words(1024), 1536: words(1 << 40)}, bits=9, l1=1536, reftable=512, size=32768)


IMAGES = (same_table, same_block, far_blocks, wild, many_snapshots, missing_snapshots, many_bitmaps, small_clusters)

if __name__ == "__main__":
    for make in IMAGES:
        make(os.path.join(sys.argv[1], make.__name__))
        print(make.__name__)
