#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""Requests that stage mappings, while a commit cannot go on: of test_full_04.sh. Prints the name of each error.

stalled.py DEVICE discard CLUSTER   this cluster under each of the first 64 slices of L2 tables, up to the first error
stalled.py DEVICE write FIRST       eight clusters at a time, from this one on behind 2 GiB
"""

import errno
import fcntl
import mmap
import os
import struct
import sys
import threading

CLUSTER, UNDER_SLICE, BLKDISCARD = 64 << 10, 32 << 20, 0x1277


def discard(file, cluster):
    """Discard one after the other."""
    for at in range(64):
        fcntl.ioctl(file, BLKDISCARD, struct.pack("=QQ", at * UNDER_SLICE + cluster * CLUSTER, CLUSTER))


def write(file, cluster):
    """Write one."""
    os.pwrite(file, mmap.mmap(-1, CLUSTER), (2 << 30) + cluster * CLUSTER)


def attempt(call, *words):
    """Say how a call fails."""
    try:
        call(*words)
    except OSError as error:
        print(errno.errorcode[error.errno], flush=True)


def main():
    """Send them and wait."""
    device, what, number = sys.argv[1:]
    file = os.open(device, os.O_RDWR | (os.O_DIRECT if what == "write" else 0))
    if what == "discard":
        attempt(discard, file, int(number))
        return
    threads = [threading.Thread(target=attempt, args=(write, file, int(number) + at)) for at in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
