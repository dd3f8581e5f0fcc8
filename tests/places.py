# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""Places where the tests of some suites run, and the time that a suite took."""

import collections
import concurrent.futures
import os
import resource
import threading
import time


class Stopwatch:
    """Measure the time that a suite takes, less what other work on this machine took from it."""

    def __init__(self):
        self.start = self.now()

    @staticmethod
    def now():
        """Return (wall time, time that all processors were busy, time that our children used them)."""
        with open("/proc/stat", encoding="ascii") as file:
            user, nice, system, _, _, irq, softirq = map(int, file.readline().split()[1:8])
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return (time.monotonic(), (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK"),
                used.ru_utime + used.ru_stime)

    def read(self):
        """Return (wall time, wall time on a machine without other work)."""
        wall, busy, own = (now - then for now, then in zip(self.now(), self.start))
        return wall, wall - max(0, busy - own) / os.cpu_count()


class Places:
    """So many tests at a time, in the order in which suites put them in: the first of one fill what the last of another leave.

    A suite is charged with its part of the clock only: with k/n of a second in which k of the n tests that run are its own.
    """

    def __init__(self, count):
        self.pool = concurrent.futures.ThreadPoolExecutor(count)
        self.lock = threading.Lock()
        self.running, self.charged = collections.Counter(), collections.Counter()   # by the suite's name
        self.settled = 0    # the monotonic time up to which all are charged

    def settle(self, name, change):
        """Charge all that run, and let one more, or one less, of a suite run from now on."""
        with self.lock:
            now = time.monotonic()
            total = self.running.total()
            for other, count in self.running.items():
                self.charged[other] += (now - self.settled) * count / max(1, total)
            self.settled = now
            self.running[name] += change

    def each(self, suite, work, items):
        """Run work on each of the items of a suite, and wait for them; its time begins with the first one."""
        def one(item):
            suite.begin(self)
            self.settle(suite.name, 1)
            try:
                work(item)
            finally:
                self.settle(suite.name, -1)
        concurrent.futures.wait(futures := [self.pool.submit(one, item) for item in items])
        for future in futures:
            future.result()
