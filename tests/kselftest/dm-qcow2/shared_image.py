#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""Let entries of an image's active tables share what they lead to.

shared_image.py IMAGE

L1 entries 1 and 2 lead to the table of entry 0, and of the table of entry 3 entries 20 and 21 to the cluster of its
entry 0, and entry 22 to that of entry 5 of the first table. Counts and COPIED are left to qemu-img check -r all.
"""

import struct
import sys

OFFSET = 0x00FFFFFFFFFFFE00


def main():
    """Run shared_image.py."""
    with open(sys.argv[1], "r+b") as file:

        def word(at):
            file.seek(at)
            return struct.unpack(">Q", file.read(8))[0]

        def copy(source, target, size):
            file.seek(source)
            data = file.read(size)
            file.seek(target)
            file.write(data)

        version, l1 = word(0) & 0xFFFFFFFF, word(40)
        entry = 16 if version > 2 and word(72) & 16 else 8
        for index in (1, 2):
            copy(l1, l1 + 8 * index, 8)
        first, last = word(l1) & OFFSET, word(l1 + 24) & OFFSET
        for index in (20, 21):
            copy(last, last + index * entry, entry)
        copy(first + 5 * entry, last + 22 * entry, entry)


if __name__ == "__main__":
    main()
