#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""Images with extended L2 entries: what qemu-io shall write into one, and looks at the entries.

subcluster.py commands SEED CLUSTERS CLUSTER-SIZE...	lines for qemu-io, CLUSTER-SIZE.io: all states, mixed
subcluster.py patch IMAGE OFFSET BITMAP		replace the bitmap of the cluster at this guest offset
subcluster.py bits IMAGE				the clusters that have a bit or a place, one a line
subcluster.py states IMAGE...			how many subclusters there are of each state
"""

import collections
import random
import struct
import sys

OFFSET, COMPRESSED = 0x00FFFFFFFFFFFE00, 1 << 62


def commands(cluster, size, dice):
    """Yield commands: each cluster gets a few operations on parts of it."""
    part, flavours = cluster // 32, ("write -z", "write -z -u", "write", "write", "write", "discard")
    for start in range(0, size, cluster):
        space = min(cluster, size - start)
        kind = dice.randrange(8)
        if kind < 2 and space == cluster:
            yield f"write -c -P {dice.randrange(1, 255)} {start} {cluster}"
        elif kind in (4, 5):
            yield f"write -P {dice.randrange(1, 255)} {start} {space}"
        if kind in (0, 2):
            continue
        for _ in range(dice.randrange(1, 6)):
            first = dice.randrange(0, space, part if dice.randrange(3) else 512)
            length = min(dice.choice((512, part, 3 * part, 9 * part + 512)), space - first)
            flavour = dice.choice(flavours)
            pattern = f" -P {dice.randrange(1, 255)}" if flavour == "write" else ""
            yield f"{flavour}{pattern} {start + first} {length}"
        if dice.randrange(6) == 0:
            yield f"discard {start} {space}"


class Image:
    """The tables of an image."""

    def __init__(self, path):
        """Open an image with extended L2."""
        self.file = open(path, "r+b")
        header = self.file.read(104)
        bits, = struct.unpack(">I", header[20:24])
        self.cluster = 1 << bits
        self.l1_size, self.l1_at = struct.unpack(">IQ", header[36:48])
        assert struct.unpack(">Q", header[72:80])[0] & 16, "no extended L2"

    def table(self, offset, count):
        """Return 64-bit words."""
        self.file.seek(offset)
        return struct.unpack(f">{count}Q", self.file.read(8 * count))

    def place(self, goff):
        """Return where the entry of this guest offset is in the file."""
        entries = self.cluster // 16
        index = goff // self.cluster
        table = self.table(self.l1_at, self.l1_size)[index // entries] & OFFSET
        assert table, "no L2 table"
        return table + index % entries * 16

    def patch(self, goff, bitmap):
        """Replace one bitmap."""
        self.file.seek(self.place(goff) + 8)
        self.file.write(struct.pack(">Q", bitmap))

    def entries(self):
        """Yield (number, where its data is, bitmap) of each entry of a table."""
        for index, entry in enumerate(self.table(self.l1_at, self.l1_size)):
            words = self.table(entry & OFFSET, self.cluster // 8) if entry else ()
            for number, (raw, bitmap) in enumerate(zip(words[::2], words[1::2])):
                where = "plain" if not raw & OFFSET else "alloc" if raw >> 63 else "shared"
                yield index * self.cluster // 16 + number, "compressed" if raw & COMPRESSED else where, bitmap

    def bits(self):
        """Yield a line for each cluster that is not empty."""
        for number, where, bitmap in self.entries():
            if bitmap or where != "plain":
                yield f"{number} {where} data {bitmap & 0xffffffff:08x} zero {bitmap >> 32:08x}"

    def states(self):
        """Count: compressed clusters, and subclusters by host cluster and bits."""
        count = collections.Counter()
        for _, where, bitmap in self.entries():
            if where == "compressed":
                count[where] += 1
            else:
                for bit in range(32):
                    pair = bitmap >> bit & 1 | (bitmap >> (32 + bit) & 1) << 1
                    count[f"{('none', 'data', 'zero', 'both')[pair]}-{where}"] += 1
        return count


def main():
    """Do what the arguments say."""
    what = sys.argv[1]
    if what == "commands":
        dice, clusters = random.Random(int(sys.argv[2])), int(sys.argv[3])
        for cluster in map(int, sys.argv[4:]):
            with open(f"{cluster}.io", "w") as file:
                file.write("\n".join(commands(cluster, clusters * cluster - 2560, dice)) + "\n")
    elif what == "patch":
        Image(sys.argv[2]).patch(int(sys.argv[3], 0), int(sys.argv[4], 0))
    elif what == "bits":
        print("\n".join(Image(sys.argv[2]).bits()))
    else:
        count = sum((Image(path).states() for path in sys.argv[2:]), collections.Counter())
        print(*(f"{state}={number}" for state, number in sorted(count.items())))


main()
