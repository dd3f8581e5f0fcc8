#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""Write numbered blocks, and find them again after a loss of power.

power_writer.py write DEVICE JOURNAL    until killed; what is durable is in the journal, which has no loss
power_writer.py check DEVICE JOURNAL    is all of that there, or something later?
"""

import mmap
import os
import random
import struct
import sys

BLOCK = 4096
BLOCKS = 2048
FEW = 20
RECORD = struct.Struct("<QQ")


def write(device, journal):
    """Write for ever; a version counts up. The journal has its name when there is something in it."""
    block = mmap.mmap(-1, BLOCK)
    fd = os.open(device, os.O_RDWR | os.O_DIRECT | os.O_DSYNC)
    log = os.open(journal + ".new", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    os.ftruncate(log, BLOCKS * 8)
    dice = random.Random(5)
    version = 0
    while True:
        version += 1
        number = dice.randrange(BLOCKS)
        block[:] = RECORD.pack(number, version) * (BLOCK // RECORD.size)
        os.pwrite(fd, block, number * BLOCK)
        os.pwrite(log, struct.pack("<Q", version), number * 8)
        if version == FEW:
            os.rename(journal + ".new", journal)


def check(device, journal):
    """Compare the device with the journal."""
    with open(journal, "rb") as file:
        versions = struct.unpack(f"<{BLOCKS}Q", file.read(BLOCKS * 8))
    with open(device, "rb") as file:
        data = file.read(BLOCKS * BLOCK)
    later = 0
    for number, version in enumerate(versions):
        block = data[number * BLOCK:(number + 1) * BLOCK]
        found = RECORD.unpack_from(block)
        if not version and not any(block):
            continue
        if found[0] != number or found[1] < version or block != RECORD.pack(*found) * (BLOCK // RECORD.size):
            sys.exit(f"block {number}: {found}, and version {version} was durable")
        later += found[1] > version
    durable = sum(version > 0 for version in versions)
    if not durable:
        sys.exit("nothing was written")
    print(f"# {durable} blocks durable, {later} of them or more have something later")


if __name__ == "__main__":
    {"write": write, "check": check}[sys.argv[1]](*sys.argv[2:])
