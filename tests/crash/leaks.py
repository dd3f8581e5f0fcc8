# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""How many clusters a crash or an error may leak: one reserved batch, and what was staged.

Staged is what changes that are not committed need: for each cluster and L2 table that one touches the
new one and the old one. Where counts have to grow there are new blocks and a new table beside the old.
"""

import re
import struct

BATCH_CLUSTERS, BATCH_BYTES = 64, 16 << 20
GROWTH = 16


def geometry(path):
    """Return the cluster_bits of an image."""
    with open(path, "rb") as file:
        return struct.unpack(">I", file.read(24)[20:])[0]


def touched(bits, sector, count):
    """Return how many clusters and L2 tables a change meets; a table has at least an entry for 16 of its bytes."""
    first, last = sector * 512, (sector + count) * 512 - 1
    return (last >> bits) - (first >> bits) + 1 + (last >> 2 * bits - 4) - (first >> 2 * bits - 4) + 1


def bound(bits, changes):
    """Return how many clusters may be lost with these changes, of (sector, sectors), staged."""
    staged = 2 * sum(touched(bits, sector, count) for sector, count in changes if count)
    clusters = staged + max(1, min(BATCH_CLUSTERS, BATCH_BYTES >> bits))
    # A block of counts is for 64 clusters at least.
    return clusters + GROWTH + clusters // 32


def found(text):
    """Return how many qemu-img check says there are."""
    match = re.search(r"(\d+) leaked clusters were found", text)
    return int(match.group(1)) if match else 0
