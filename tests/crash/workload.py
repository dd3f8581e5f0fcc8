#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""Write to a device from four threads, and tell in the log below it what has become durable.

workload.py DEVICE LOGGED JOURNAL SEED OPERATIONS CLUSTER KINDS

Every sector that is written carries the number of its write and its own number. KINDS has w for
writes, z for zeroing, d for discards of whole clusters. Each thread owns every fourth group of
sectors, so they meet in clusters and never on a sector; with z or d, every fourth of the first
clusters. Some operations are followed by a flush. When it has completed, the mark "fN" goes into the log of
dm-log-writes (LOGGED), or of twofiles.py: what was complete when flush N began is durable from there on.

The journal says, for replay.py: {"sectors", "operations": [[[sector, count, number or 0 for
zeros], ...] for each thread], "flushes": [[operations of each thread that were complete], ...]}. The last of
the flushes is none, and has no mark yet: who suspends or removes the device after that has made all of it durable.
"""

import fcntl
import json
import mmap
import os
import random
import struct
import sys
import threading

THREADS = 4
GROUP = 8                       # sectors
LONGEST = 64                    # sectors
BLKDISCARD, BLKZEROOUT = 0x1277, 0x127f
DM_TARGET_MSG = 0xc138fd0e


def mark(device, text):
    """Put a mark into the log of the dm-log-writes device, or of the file that twofiles.py serves."""
    if "/" in device:
        with open(device, "wb", buffering=0) as file:
            file.write(text.encode())
        return
    header = struct.pack("<3I7IQ128s129s7s", 4, 0, 0, 1024, 312, 0, 0, 0, 0, 0, 0, device.encode(), b"", b"")
    message = struct.pack("<Q", 0) + f"mark {text}".encode() + b"\0"
    with open("/dev/mapper/control", "rb") as control:
        fcntl.ioctl(control, DM_TARGET_MSG, bytearray((header + message).ljust(1024, b"\0")))


class Workload:
    """The device, and what was done to it."""

    def __init__(self, path, logged, cluster, kinds):
        self.device = os.open(path, os.O_RDWR | os.O_DIRECT)
        self.sectors = os.lseek(self.device, 0, os.SEEK_END) // 512
        self.logged, self.kinds = logged, kinds
        self.group = cluster // 512 if set(kinds) & set("zd") else GROUP
        self.lock = threading.Lock()
        self.number = 0
        self.operations = [[] for _ in range(THREADS)]
        self.complete = [0] * THREADS
        self.flushes = []
        self.failed = None

    def next_number(self):
        """Return a number that no write had yet."""
        with self.lock:
            self.number += 1
            return self.number

    def change(self, thread, kind, sector, count, buffer):
        """Do one operation and remember it, before it is done."""
        number = self.next_number() if kind == "w" else 0
        self.operations[thread].append((sector, count, number))
        if kind == "w":
            for at in range(count):
                buffer[at * 512:at * 512 + 512] = struct.pack("<QQ", number, sector + at) * 32
            os.pwrite(self.device, memoryview(buffer)[:count * 512], sector * 512)
        else:
            fcntl.ioctl(self.device, BLKZEROOUT if kind == "z" else BLKDISCARD,
                        struct.pack("QQ", sector * 512, count * 512))
        self.complete[thread] += 1

    def flush(self):
        """Flush, and mark what that has made durable."""
        complete = list(self.complete)
        os.fsync(self.device)
        with self.lock:
            self.flushes.append(complete)
            mark(self.logged, f"f{len(self.flushes) - 1}")

    def run(self, thread, seed, operations):
        """Be one thread."""
        rng = random.Random(f"{seed}.{thread}")
        buffer = mmap.mmap(-1, LONGEST * 512)
        groups = self.sectors // self.group
        if set(self.kinds) & set("zd"):
            groups = min(groups, 256)   # so that freed clusters come back soon
        try:
            for _ in range(operations):
                group = rng.randrange(groups // THREADS) * THREADS + thread
                kind = rng.choice(self.kinds)
                start, count = group * self.group, self.group
                if kind == "w":
                    first = rng.randrange(min(self.group, LONGEST))
                    start += first
                    count = rng.randint(1, min(self.group - first, LONGEST))
                self.change(thread, kind, start, count, buffer)
                if rng.random() < 0.06:
                    self.flush()
        except OSError as error:
            self.failed = error


def main():
    """Run the threads and write the journal."""
    device, logged, journal, seed, operations, cluster, kinds = sys.argv[1:]
    work = Workload(device, logged, int(cluster), kinds)
    threads = [threading.Thread(target=work.run, args=(number, seed, int(operations) // THREADS))
               for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if work.failed:
        sys.exit(f"workload.py: {work.failed}")
    work.flushes.append(list(work.complete))
    with open(journal, "w", encoding="ascii") as file:
        json.dump({"sectors": work.sectors, "operations": work.operations, "flushes": work.flushes}, file)


if __name__ == "__main__":
    main()
