#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""region_writer.py DEVICE START LENGTH SECONDS: random writes and zeroes in a region, and is it what it has to be?"""

import fcntl
import mmap
import os
import random
import struct
import sys
import time

BLKZEROOUT = 0x127F
BLOCK = 4096


def main():
    path, start, length, seconds = sys.argv[1], *map(int, sys.argv[2:5])
    fd = os.open(path, os.O_RDWR | os.O_DIRECT)
    buffer = mmap.mmap(-1, length)
    os.preadv(fd, [buffer], start)
    model = bytearray(buffer)
    rng = random.Random(start)
    writes = zeroes = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end or not writes or not zeroes:
        size = rng.randint(1, 24) * BLOCK
        at = rng.randrange(0, length - size + 1, BLOCK)
        if rng.randrange(2):
            fcntl.ioctl(fd, BLKZEROOUT, struct.pack("QQ", start + at, size))
            model[at:at + size] = bytes(size)
            zeroes += 1
        else:
            buffer[:size] = rng.randbytes(size)
            os.pwritev(fd, [memoryview(buffer)[:size]], start + at)
            model[at:at + size] = buffer[:size]
            writes += 1
    os.preadv(fd, [buffer], start)
    if bytes(buffer) != model:
        wrong = next(at for at in range(length) if buffer[at] != model[at])
        sys.exit(f"byte {start + wrong} is {buffer[wrong]:#x}, not {model[wrong]:#x}")
    print(writes, "writes and", zeroes, "zeroes")


main()
