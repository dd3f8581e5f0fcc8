#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""Do with a device all that may be done at the same time: for those who look for races.

races.py NAME SECONDS [still]

fio and a thread of ours read, write, zero, discard and flush the same few clusters. Others ask for status and table, send
messages, and, unless it says still, suspend and resume. Everything must succeed, but for what a suspend or another check
refuses.
"""

import errno
import fcntl
import mmap
import os
import random
import re
import struct
import subprocess
import sys
import threading
import time

BLKZEROOUT, BLKDISCARD = 0x127f, 0x1277
DEV_SUSPEND, TABLE_STATUS, TARGET_MSG = 0xc138fd06, 0xc138fd0c, 0xc138fd0e
STATUS_TABLE, SUSPEND, NOFLUSH = 1 << 4, 1 << 1, 1 << 11
REACH = 4 << 20         # bytes of the disk in which they meet
FIO = ("fio", "--thread", "--direct=1", f"--size={REACH}", "--time_based=1", "--ioengine=libaio", "--iodepth=16",
       "--name=mixed", "--rw=randrw", "--bsrange=512-32k", "--blockalign=512", "--fsync=50",
       "--name=same", "--rw=randwrite", "--bs=4k", "--size=64k",
       "--name=discards", "--rw=randtrim", "--bs=64k",
       "--name=durable", "--rw=randwrite", "--bs=4k", "--ioengine=psync", "--sync=dsync")


class Races:
    """One device and all that is done to it."""

    def __init__(self, name, seconds):
        self.name, self.seconds = name, seconds
        self.end = time.monotonic() + seconds
        self.control = os.open("/dev/mapper/control", os.O_RDWR)
        self.counts, self.wrong = {}, []

    def ioctl(self, number, flags=0, payload=b""):
        """Send one ioctl of device-mapper; return whether it succeeded."""
        size = 16384
        header = struct.pack("<3I7IQ128s129s7s", 4, 0, 0, size, 312, 0, 0, flags, 0, 0, 0, self.name.encode(), b"", b"")
        try:
            fcntl.ioctl(self.control, number, bytearray((header + payload).ljust(size, b"\0")))
        except OSError as error:
            if error.errno not in (errno.EBUSY, errno.EAGAIN):
                raise
            return False
        return True

    def message(self, text):
        """Send a message."""
        return self.ioctl(TARGET_MSG, 0, struct.pack("<Q", 0) + text.encode() + b"\0")

    def request(self, file, buffer, dice):
        """Do one request."""
        length = 512 << dice.randrange(9)
        at = dice.randrange(REACH // length) * length
        kind = dice.choice("rrrwwwwzdf")
        view = memoryview(buffer)[:length]
        if kind == "r":
            os.preadv(file, [view], at)
        elif kind == "w":
            os.pwritev(file, [view], at, os.RWF_DSYNC if dice.random() < 0.1 else 0)
        elif kind == "f":
            os.fsync(file)
        else:
            fcntl.ioctl(file, BLKZEROOUT if kind == "z" else BLKDISCARD, struct.pack("QQ", at, length))

    def requests(self):
        """Be one who uses the device."""
        dice = random.Random(1)
        file = os.open(f"/dev/mapper/{self.name}", os.O_RDWR | os.O_DIRECT)
        buffer = mmap.mmap(-1, 512 << 8)
        while time.monotonic() < self.end:
            self.request(file, buffer, dice)
            self.count("requests")
        os.close(file)

    def fio(self):
        """Be many who use it."""
        words = list(FIO[:6]) + [f"--filename=/dev/mapper/{self.name}", f"--runtime={self.seconds:.0f}"] + list(FIO[6:])
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        issued = re.findall(r"issued rwts: total=(\d+),(\d+),(\d+),(\d+)", done.stdout)
        self.counts["requests of fio"] = sum(int(number) for job in issued for number in job)
        if done.returncode:
            self.wrong.append(done.stdout)

    def questions(self):
        """Ask for status and table."""
        while time.monotonic() < self.end:
            self.ioctl(TABLE_STATUS)
            self.ioctl(TABLE_STATUS, STATUS_TABLE)
            self.count("questions")
            time.sleep(0.002)

    def messages(self):
        """Start a check, stop another, and say that there is space."""
        for text in ("check_stop", "check", "check_stop", "check"):
            self.message(text)
        while time.monotonic() < self.end:
            self.message("retry")
            self.count("messages")
            time.sleep(0.1)

    def suspends(self):
        """Suspend and resume."""
        while time.monotonic() < self.end:
            self.ioctl(DEV_SUSPEND, SUSPEND | (NOFLUSH if self.counts.get("suspends", 0) % 2 else 0))
            self.ioctl(DEV_SUSPEND)
            self.count("suspends")
            time.sleep(0.3)

    def count(self, what):
        """One more; a glance is enough."""
        self.counts[what] = self.counts.get(what, 0) + 1

    def guarded(self, work):
        """Be a thread: what goes wrong ends all."""
        try:
            work()
        except OSError as error:
            self.wrong.append(f"{work.__name__}: {error}")
            self.end = 0

    def run(self, still):
        """Run all threads; return the exit code."""
        works = [self.fio, self.requests, self.questions, self.messages] + ([] if still else [self.suspends])
        threads = [threading.Thread(target=self.guarded, args=(work,)) for work in works]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print("#", ", ".join(f"{count} {what}" for what, count in sorted(self.counts.items())))
        for text in self.wrong:
            print(f"# {text}")
        return 1 if self.wrong else 0


if __name__ == "__main__":
    sys.exit(Races(sys.argv[1], float(sys.argv[2])).run(sys.argv[3:] == ["still"]))
