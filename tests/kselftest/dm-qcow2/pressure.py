#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""Random requests of several threads on a device whose requests may fail, and what must be there at the end.

pressure.py DEVICE SECONDS SEED RESULT own|all|each

Each thread owns every fourth block of 4 KiB. A request that ends with an error has done all, nothing or a part of it,
so each of its sectors may have the content of before or of the request, until the next good write.
With own, only allocations of our own fail, with all those of the file system below too; with each, each of our own,
and no request may. RESULT is what the device holds, for a comparison with the image; a sector that holds what it may not is an error.
"""

import ctypes
import ctypes.util
import errno
import mmap
import os
import random
import sys
import threading
import time

BLOCK, SECTOR, THREADS = 4096, 512, 4
TIMES = 1 << 30             # that may fail
KEEP_SIZE_PUNCH = 0x03      # FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE
LIBC = ctypes.CDLL(ctypes.util.find_library("c"), use_errno=True)


def sector(at, version):
    """Return what a version writes to a sector; 0 are zeros."""
    return (b"%010d %010d " % (at, version)).ljust(SECTOR, b"+") if version else bytes(SECTOR)


class Worker(threading.Thread):
    """One thread and what its sectors may hold."""

    def __init__(self, device, index, end, seed):
        super().__init__()
        self.file = os.open(device, os.O_RDWR | os.O_DIRECT)
        self.blocks = os.lseek(self.file, 0, os.SEEK_END) // BLOCK
        self.index, self.end, self.dice = index, end, random.Random(seed * THREADS + index)
        self.buffer = mmap.mmap(-1, BLOCK)
        self.may = {}       # block: for each of its sectors the set of versions
        self.done, self.failed, self.version = 0, {}, index
        self.wrong = None

    def attempt(self, call):
        """Do a request; return whether it succeeded, and count how it failed."""
        try:
            call()
        except OSError as error:
            name = errno.errorcode.get(error.errno, str(error.errno))
            self.failed[name] = self.failed.get(name, 0) + 1
            return False
        self.done += 1
        return True

    def zero(self, block):
        """Make a block zeros, without writing them where the device is able to."""
        if LIBC.fallocate(self.file, KEEP_SIZE_PUNCH, ctypes.c_long(block * BLOCK), ctypes.c_long(BLOCK)):
            if ctypes.get_errno() != errno.EOPNOTSUPP:
                raise OSError(ctypes.get_errno(), "fallocate")
            self.buffer[:] = bytes(BLOCK)
            os.pwritev(self.file, [self.buffer], block * BLOCK)

    def change(self, block):
        """Write or zero a block."""
        if self.dice.random() < 0.15:
            version, call = 0, lambda: self.zero(block)
        else:
            self.version += THREADS
            version = self.version
            self.buffer[:] = b"".join(sector(block * 8 + at, version) for at in range(8))
            call = lambda: os.pwritev(self.file, [self.buffer], block * BLOCK)  # noqa: E731
        good = self.attempt(call)
        before = self.may.get(block, {0})
        self.may[block] = {version} if good else before | {version}

    def look(self, block):
        """Read a block; what it shows is what it holds."""
        if not self.attempt(lambda: os.preadv(self.file, [self.buffer], block * BLOCK)):
            return False
        may = self.may.get(block, {0})
        for at in range(8):
            found = self.buffer[at * SECTOR:(at + 1) * SECTOR]
            if not any(found == sector(block * 8 + at, version) for version in may):
                self.wrong = f"sector {block * 8 + at} holds {found[:24]}, not a version of {sorted(may)}"
                self.end = 0
        return True

    def run(self):
        while time.monotonic() < self.end:
            block = self.dice.randrange(self.blocks // THREADS) * THREADS + self.index
            kind = self.dice.random()
            if kind < 0.65:
                self.change(block)
            elif kind < 0.95:
                self.look(block)
            else:
                self.attempt(lambda: os.fsync(self.file))


def module_text():
    """Return the addresses of our module's code."""
    with open("/sys/module/dm_qcow2/sections/.text", encoding="ascii") as file:
        start = int(file.read(), 16)
    with open("/proc/modules", encoding="ascii") as file:
        return start, start + next(int(line.split()[1]) for line in file if line.startswith("dm_qcow2 "))


def ext4_text():
    """Return the addresses of the code of ext4, which is a part of the kernel."""
    with open("/proc/kallsyms", encoding="ascii") as file:
        names = [line.split()[::2] for line in file if " t " in line.lower() and "[" not in line]
    end = next(int(at, 16) for at, name in names if name == "_etext")
    found = [int(at, 16) for at, name in names if name.startswith("ext4_") and int(at, 16) < end]
    return min(found), max(found) + 4096


def arm(number, spare=(0, 0)):
    """Let one of so many allocations below our module fail, but those below spare; with 0 none. How many have failed so far?"""
    text, failed = module_text(), 0
    for name in ("failslab", "fail_page_alloc"):
        with open(f"/sys/kernel/debug/{name}/times", encoding="ascii") as file:
            failed += TIMES - int(file.read())
        settings = {"probability": 100 // number if number else 0, "times": TIMES, "verbose": 0, "interval": 1,
                    "stacktrace-depth": 32, "require-start": text[0], "require-end": text[1], "reject-start": spare[0],
                    "reject-end": spare[1], "ignore-gfp-wait": "N"}
        if name == "fail_page_alloc":
            settings.update({"min-order": 0, "ignore-gfp-highmem": "N"})
        for key, value in settings.items():
            with open(f"/sys/kernel/debug/{name}/{key}", "w", encoding="ascii") as file:
                file.write(str(value))
    return failed


def main():
    """Run all threads, then read all of the device without failures."""
    device, seconds, seed, result, what = sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:6]
    workers = [Worker(device, index, time.monotonic() + seconds, seed) for index in range(THREADS)]
    # The first direct write makes a workqueue for its file system, which is no part of a request's way.
    workers[0].look(0)
    workers[0].change(0)
    arm({"own": 10, "all": 50, "each": 1}[what], (0, 0) if what == "all" else ext4_text())
    try:
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(seconds + 60)
    finally:
        allocations = arm(0)
    if any(worker.is_alive() for worker in workers):
        print("# a request does not end")
        os._exit(1)     # pylint: disable=protected-access
    failed = {}
    for worker in workers:
        for name, count in worker.failed.items():
            failed[name] = failed.get(name, 0) + count
    print(f"# {sum(worker.done for worker in workers)} requests, failed: {failed or 'none'}; {allocations} allocations failed")
    if not allocations or what == "each" and failed:
        return 1
    with open(result, "wb") as file:
        for block in range(workers[0].blocks):
            worker = workers[block % THREADS]
            if not worker.look(block):
                print(f"# block {block} cannot be read")
                return 1
            file.write(worker.buffer)
    for worker in workers:
        if worker.wrong:
            print(f"# {worker.wrong}")
            return 1
    return 0 if sum(worker.done for worker in workers) > (10 if what == "each" else 50) else 1


if __name__ == "__main__":
    sys.exit(main())
