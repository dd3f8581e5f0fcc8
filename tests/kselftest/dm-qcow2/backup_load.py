#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""Does a writer notice a backup?

backup_load.py FILE COMMAND [ARGUMENT]...

Another process writes blocks of FILE at random places, with direct I/O, all the time. The command, which
prints "paused NAME for N ms", runs; then its time is compared with as much time before it: no write
may wait longer than 5 times the longest pause, and a quarter as many writes must finish.
"""

import mmap
import multiprocessing
import os
import random
import re
import subprocess
import sys
import time

BLOCK = 4096
BEFORE = 4


def write(path, stop, log):
    """Write until told to stop; leave pairs of begin and end in the log."""
    block = mmap.mmap(-1, BLOCK)
    block.write(os.urandom(BLOCK))
    fd = os.open(path, os.O_RDWR | os.O_DIRECT)
    count = os.fstat(fd).st_size // BLOCK
    source = random.Random(1)
    times = []
    while not stop.is_set():
        begin = time.monotonic()
        os.pwrite(fd, block, source.randrange(count) * BLOCK)
        times.append((begin, time.monotonic()))
    os.close(fd)
    log.put(times)


def main():
    """Measure and judge."""
    stop, log = multiprocessing.Event(), multiprocessing.Queue()
    writer = multiprocessing.Process(target=write, args=(sys.argv[1], stop, log))
    writer.start()
    time.sleep(BEFORE)
    begin = time.monotonic()
    done = subprocess.run(sys.argv[2:], stderr=subprocess.PIPE, text=True, check=False)
    end = time.monotonic()
    stop.set()
    times = log.get()
    writer.join()
    pauses = [float(ms) / 1000 for ms in re.findall(r"paused \S+ for ([0-9.]+) ms", done.stderr)]
    if done.returncode or not pauses:
        sys.exit(f"exit {done.returncode}: {done.stderr}")
    span = min(end - begin, begin - times[0][0])
    before = sum(begin - span <= t[1] < begin for t in times)
    during = sum(begin <= t[1] < end for t in times) * span / (end - begin)
    longest = max(t[1] - t[0] for t in times if t[1] >= begin and t[0] < end)
    print(f"# {end - begin:.1f} s, pauses {pauses}, longest write {longest:.3f} s, "
          f"{before} writes before, {during:.0f} in as much time meanwhile")
    if longest > 5 * max(pauses):
        sys.exit(f"a write took {longest:.3f} s")
    if during * 4 < before:
        sys.exit(f"{during:.0f} writes where there were {before}")


if __name__ == "__main__":
    main()
