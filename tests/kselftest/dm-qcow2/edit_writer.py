#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""Write numbered blocks all over a file and check them, until another file appears; then check all of them once more.

edit_writer.py FILE END [SECONDS]    between one block and the next
"""

import os
import random
import sys
import time

BLOCKS = 512
BLOCK = 4096


def block(number, version):
    """Return what is written."""
    return (b"%08d %010d " % (number, version)).ljust(64, b".") * (BLOCK // 64)


def read_back(file, number, version):
    """Tell whether the disk has the block in this version; 0: nobody has written it."""
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    found = os.pread(file, BLOCK, number * BLOCK)
    right = found == block(number, version) if version else not found.strip(b"\0")
    if not right:
        print(f"# block {number}: {found[:20]} instead of version {version}")
    return right


def main():
    """Run until END is there."""
    path, end = sys.argv[1:3]
    pause = float(sys.argv[3]) if len(sys.argv) > 3 else 0
    dice = random.Random("edit")
    versions = {}
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_DSYNC, 0o644)
    version = 0
    while not os.path.exists(end):
        version += 1
        number = dice.randrange(BLOCKS)
        os.pwrite(file, block(number, version), number * BLOCK)
        versions[number] = version
        number = dice.choice(list(versions))
        if not read_back(file, number, versions[number]):
            return 1
        time.sleep(pause)
    print(f"# {version} blocks written")
    return 0 if all(read_back(file, number, versions.get(number, 0)) for number in range(BLOCKS)) else 1


if __name__ == "__main__":
    sys.exit(main())
