#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""Does a writer notice a backup?

backup_load.py FILE COMMAND [ARGUMENT]...

Another process writes blocks of FILE at random places, with direct I/O, all the time. The command, which
prints "paused NAME for N ms", runs; then its time is compared with the time around it: no write may wait
longer than 5 times the longest pause, and a quarter as many writes must finish.
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
AROUND = 3      # seconds before it, and after it


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
    time.sleep(AROUND)
    begin = time.monotonic()
    done = subprocess.run(sys.argv[2:], stderr=subprocess.PIPE, text=True, check=False)
    end = time.monotonic()
    time.sleep(AROUND)
    stop.set()
    times = log.get()
    writer.join()
    pauses = [float(ms) / 1000 for ms in re.findall(r"paused \S+ for ([0-9.]+) ms", done.stderr)]
    if done.returncode or not pauses:
        sys.exit(f"exit {done.returncode}: {done.stderr}")
    first, last = times[0][0], times[-1][1]
    around = sum(t[1] < begin or t[0] >= end for t in times) * (end - begin) / (begin - first + last - end)
    during = sum(begin <= t[1] < end for t in times)
    longest = max(t[1] - t[0] for t in times if t[1] >= begin and t[0] < end)
    print(f"# {end - begin:.1f} s, pauses {pauses}, longest write {longest:.3f} s, "
          f"{during} writes meanwhile, {around:.0f} in as much time around it")
    if longest > 5 * max(pauses):
        sys.exit(f"a write took {longest:.3f} s")
    if during * 4 < around:
        sys.exit(f"{during} writes where there were {around:.0f}")


if __name__ == "__main__":
    main()
