#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""Attach views of snapshots and look at the blocks that were written by turns before each.

edit_views.py IMAGE TURNS FIRST-BLOCK FIRST[-LAST]...    of s<FIRST> to s<LAST>

Before snapshot number N was made, the block FIRST-BLOCK + N % TURNS (of 4 KiB) got N in four digits. One process does it
all: they are slow in the machine.
"""

import ctypes
import mmap
import os
import sys

CREATE, REMOVE = 0, 2
DM = ctypes.CDLL("libdevmapper.so.1.02.1")
DM.dm_task_create.restype = ctypes.c_void_p
DM.dm_task_add_target.argtypes = [ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint64, ctypes.c_char_p, ctypes.c_char_p]
DM.dm_task_set_name.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
for call in (DM.dm_task_run, DM.dm_task_destroy, DM.dm_task_retry_remove, DM.dm_task_set_ro):
    call.argtypes = [ctypes.c_void_p]


def run(kind, sectors=0, table=""):
    """Create or remove the device."""
    task = DM.dm_task_create(kind)
    DM.dm_task_set_name(task, b"view")
    if kind == CREATE:
        DM.dm_task_set_ro(task)
        DM.dm_task_add_target(task, 0, sectors, b"qcow2", table.encode())
    else:
        DM.dm_task_retry_remove(task)
    if not DM.dm_task_run(task):
        sys.exit(f"# task {kind} failed: {table}")
    DM.dm_task_destroy(task)
    DM.dm_task_update_nodes()


def main():
    """Look at all of them."""
    image, turns, first = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    numbers = [number for words in (word.split("-") for word in sys.argv[4:])
               for number in range(int(words[0]), int(words[-1]) + 1)]
    data, wrong = mmap.mmap(-1, turns * 4096), 0
    for number in numbers:
        run(CREATE, (first + turns) * 8, f"1 qcow2 {image} 2 snapshot s{number}")
        fd = os.open("/dev/mapper/view", os.O_RDONLY | os.O_DIRECT)
        os.preadv(fd, [data], first * 4096)
        os.close(fd)
        run(REMOVE)
        for turn in range(turns):
            last = number - (number - turn) % turns
            want = (b"%04d" % last if last > 0 else b"").ljust(4096, b"\0")
            if data[turn * 4096:turn * 4096 + 4096] != want:
                print(f"# s{number}: block {turn} has {data[turn * 4096:turn * 4096 + 8]}, not {want[:8]}")
                wrong += 1
    print(f"# {len(numbers)} views, {wrong} blocks wrong")
    return wrong > 0


if __name__ == "__main__":
    sys.exit(main())
