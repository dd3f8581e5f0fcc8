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


def read(file, number):
    """Return what the disk has there; what is behind the end reads as zeros later."""
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    return os.pread(file, BLOCK, number * BLOCK).ljust(BLOCK, b"\0")


def is_there(file, number, wanted):
    """Tell whether the disk has this block."""
    found = read(file, number)
    if found != wanted:
        print(f"# block {number}: {found[:20]} instead of {wanted[:20]}")
    return found == wanted


def main():
    """Run until END is there."""
    path, end = sys.argv[1:3]
    pause = float(sys.argv[3]) if len(sys.argv) > 3 else 0
    dice = random.Random("edit")
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_DSYNC, 0o644)
    content = [read(file, number) for number in range(BLOCKS)]
    written = []
    version = 0
    while not os.path.exists(end):
        version += 1
        number = dice.randrange(BLOCKS)
        content[number] = block(number, version)
        os.pwrite(file, content[number], number * BLOCK)
        written.append(number)
        number = dice.choice(written)
        if not is_there(file, number, content[number]):
            return 1
        time.sleep(pause)
    print(f"# {version} blocks written")
    return 0 if all(is_there(file, number, content[number]) for number in range(BLOCKS)) else 1


if __name__ == "__main__":
    sys.exit(main())
