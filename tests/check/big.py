#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""Make a sparse image whose disk is allocated in full: all metadata is there, and no data.

big.py PATH GIB
"""

import array
import struct
import sys

CLUSTER, ENTRIES, COUNTS = 65536, 8192, 32768
COPIED = 1 << 63


def words(values):
    """Return 64-bit words."""
    packed = array.array("Q", values)
    if sys.byteorder == "little":
        packed.byteswap()
    return packed.tobytes()


def places(first, number, flags=0):
    """Return the words for a row of clusters."""
    return words(range(first * CLUSTER | flags, (first + number) * CLUSTER | flags, CLUSTER))


def main():
    """Write header, refcount table and blocks, L1 table, then each L2 table before its clusters."""
    path, size = sys.argv[1], int(sys.argv[2]) << 30
    clusters = size // CLUSTER
    tables = -(-clusters // ENTRIES)
    l1_clusters = -(-tables * 8 // CLUSTER)
    fixed = 2 + l1_clusters + tables + clusters
    blocks = 0
    while blocks != -(-(fixed + blocks) // COUNTS):
        blocks = -(-(fixed + blocks) // COUNTS)
    total, l1 = fixed + blocks, 2 + blocks
    with open(path, "wb") as file:
        file.write(struct.pack(">IIQIIQIIQQIIQQQQIIB7x", 0x514649FB, 3, 0, 0, 16, size, 0, tables, l1 * CLUSTER, CLUSTER,
                               1, 0, 0, 0, 0, 0, 4, 112, 0))
        file.seek(CLUSTER)
        file.write(places(2, blocks))
        file.seek(2 * CLUSTER)
        file.write(struct.pack(">H", 1) * total)
        place, entries = l1 + l1_clusters, []
        for first in range(0, clusters, ENTRIES):
            number = min(ENTRIES, clusters - first)
            entries.append(place * CLUSTER | COPIED)
            file.seek(place * CLUSTER)
            file.write(places(place + 1, number, COPIED))
            place += 1 + number
        file.seek(l1 * CLUSTER)
        file.write(words(entries))
        file.truncate(total * CLUSTER)


if __name__ == "__main__":
    main()
