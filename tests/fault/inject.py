#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""In the machine: let each operation below an image fail, one after the other, and write down what came of it.

inject.py OUT STEPS EVERY IMAGE...

IMAGE is NAME=FILE[,BASE], and NAME ends in -loop when it is to be a block device. For each kind of
operation and error, once and for ever, the first to the last operation is failed, or STEPS of them,
of the second image on two (0: all, or each EVERY-th). On the first image the commits fail, too, that only a write with FUA
has asked for. OUT gets, for each run, the content that reads see and the durable content, and in
runs.json what the guest was told. judge.py looks at it.
"""

import contextlib
import fcntl
import itertools
import json
import mmap
import os
import struct
import subprocess
import sys
import threading
import time

import faultfile
import fua

BLKZEROOUT, BLKDISCARD = 0x127f, 0x1277
FOLDER = "/mnt/fault"
DEVICE = "/dev/mapper/q"
# kind of operation, error; a full disk shows at a write or when the file grows.
FAULTS = (("write", "EIO"), ("write", "ENOSPC"), ("sync", "EIO"), ("sync", "ENOSPC"), ("space", "ENOSPC"),
          ("space", "EIO"), ("read", "EIO"))
# What the guest does: operation, first sector, sectors. The images have 4 MiB; see test_fault_01.sh.
SCRIPT = (
    ("write", 0, 8),            # mapped
    ("write", 1024, 8),         # a new cluster
    ("write", 1041, 3),         # a part of one: the base, or zeros, around it
    ("write", 4103, 18),        # over the ends of clusters, under another L2 table
    ("write", 64, 4),           # what a snapshot shares
    ("flush",),
    ("fua", 1100, 8),
    ("discard", 1024, 8),
    ("zero", 0, 16),
    ("write", 2048, 128),
    ("flush",),
    ("write", 1200, 40),        # where freed clusters may be used again
    ("zero", 2051, 5),
    ("fua", 1200, 2),
    ("read", 0, 2432),
    ("suspend",),
    ("write", 6000, 16),
    ("write", 8, 1),
    ("flush",),
    ("write", 7000, 300),
    ("read", 0, 2432),
    ("read", 4096, 64),
    ("read", 5952, 1600),
)
FUA = [step for step, (operation, *_) in enumerate(SCRIPT) if operation == "fua"]
# What fails in the commits that only the first or second of them asks for.
AIMED = ((0, "sync", "EIO", False), (0, "write", "EIO", False), (1, "sync", "EIO", False), (1, "write", "ENOSPC", True))
NEVER = 3600000     # ms until the timer commits: only who asks for a commit gets one


def dmsetup(*words, table=None, good=True):
    """Call dmsetup; return its output."""
    done = subprocess.run(("dmsetup",) + words, input=table, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=False)
    if good and done.returncode:
        raise OSError(f"dmsetup {' '.join(words)}: {done.stdout}")
    return done.stdout if good else done.returncode


def kernel_log():
    """Return what the kernel has said since the last call."""
    if not kernel_log.fd:
        kernel_log.fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
    lines = []
    while True:
        try:
            lines.append(os.read(kernel_log.fd, 8192).decode(errors="replace").split(";", 1)[-1].split("\n")[0])
        except BlockingIOError:
            return lines


kernel_log.fd = None


class Retry(threading.Thread):
    """While it lives, somebody who makes space for the device every half second."""

    def __init__(self):
        super().__init__()
        self.ended = threading.Event()

    def run(self):
        while not self.ended.wait(0.5):
            dmsetup("message", "q", "0", "retry", good=False)

    def __enter__(self):
        self.start()

    def __exit__(self, *_):
        self.ended.set()
        self.join()


class Guest:
    """Who uses the device, and what it was told."""

    def __init__(self, sectors, served):
        self.sectors, self.served = sectors, served
        self.buffer = mmap.mmap(-1, sectors * 512)
        self.journal = []
        self.number = 0
        self.spent = []         # operations below of each step
        self.met = 0            # failures below, of the step that was aimed at
        self.uncommitted = False
        self.fd = -1

    def open(self):
        """Open the device."""
        self.fd = os.open(DEVICE, os.O_RDWR | os.O_DIRECT)

    def close(self):
        """Close it."""
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1

    def change(self, operation, sector, count):
        """Write, zero or discard, and remember the answer."""
        number = 0
        if operation in ("write", "fua"):
            self.number += 1
            number = self.number
            for at in range(count):
                self.buffer[at * 512:at * 512 + 512] = struct.pack("<QQ", number, sector + at) * 32
        error = 0
        try:
            if operation == "write":
                os.pwrite(self.fd, memoryview(self.buffer)[:count * 512], sector * 512)
            elif operation == "fua":
                fua.write(self.fd, self.buffer, count * 512, sector * 512)
            else:
                fcntl.ioctl(self.fd, BLKZEROOUT if operation == "zero" else BLKDISCARD,
                            struct.pack("QQ", sector * 512, count * 512))
        except OSError as failed:
            error = failed.errno
        self.journal.append((operation, sector, count, number, error))

    def flush(self):
        """Flush, and remember the answer."""
        error = 0
        try:
            os.fsync(self.fd)
        except OSError as failed:
            error = failed.errno
        self.journal.append(("flush", 0, 0, 0, error))

    def suspend(self):
        """Suspend and resume: what was flushed by a clean one is durable. A resume in vain can be repeated."""
        dmsetup("suspend", "q")
        clean = "clean=yes" in dmsetup("status", "q")
        self.uncommitted |= not clean
        if dmsetup("resume", "q", good=False):
            self.served.mend()
            dmsetup("resume", "q")
        self.journal.append(("flush", 0, 0, 0, 0 if clean else 5))

    def read(self, sector, count):
        """Read in pieces; remember which of them failed. A second try must do, if the fault is gone."""
        found, failed = [], []
        for at in range(sector, sector + count, 64):
            for attempt in (0, 1):
                try:
                    os.preadv(self.fd, [memoryview(self.buffer)[:64 * 512]], at * 512)
                    found.append((at, self.tags(64)))
                    break
                except OSError as error:
                    failed.append((at, attempt, error.errno))
        self.journal.append(("read", found, failed, 0, 0))

    def tags(self, count):
        """Return what the sectors of the buffer are: the number of their write, 0, or -1 for the base."""
        tags = []
        for at in range(count):
            data = self.buffer[at * 512:at * 512 + 512]
            number = struct.unpack_from("<Q", data)[0]
            tags.append(-1 if data == b"\xbb" * 512 else number if data == data[:16] * 32 else -2)
        return tags

    def run(self, fault, aim):
        """Do the script; @fault is for the step @aim, and counts from its start."""
        for step, (operation, *where) in enumerate(SCRIPT):
            before, fired = dict(self.served.counts), self.served.fired
            if fault and step == aim:
                self.served.arm(fault[0], before[fault[0]] + fault[1], *fault[2:])
            if operation == "flush":
                self.flush()
            elif operation == "suspend":
                self.suspend()
            elif operation == "read":
                self.read(*where)
            else:
                self.change(operation, *where)
            self.spent.append({kind: count - before[kind] for kind, count in self.served.counts.items()})
            if step == aim:
                self.met = self.served.fired - fired


class Injector:
    """One image, and all runs on it."""

    def __init__(self, served, out, image):
        self.served, self.out = served, out
        self.name, files = image.split("=")
        self.file, *self.base = files.split(",")
        self.loop = None
        self.runs = []

    def attach(self, fault, aim):
        """Attach; tell whether that worked."""
        path = FOLDER + faultfile.NAME
        if self.name.endswith("-loop"):
            self.loop = subprocess.run(("losetup", "-f", "--show", path), check=True, stdout=subprocess.PIPE,
                                       text=True).stdout.strip()
            path = self.loop
        below = f" qcow2 {self.base[0]}" if self.base else ""
        # A disk that stays full: now nobody waits, now for a second.
        full = "full_timeout 60"
        if fault and fault[3]:
            full = "full_timeout 1" if fault[1] % 2 else "when_full error"
        timer = 200 if aim is None else NEVER
        table = f"0 8192 qcow2 {1 + len(self.base)} qcow2 {path}{below} 4 {full} commit_ms {timer}"
        return not dmsetup("create", "q", table=table, good=False)

    def detach(self):
        """Remove the device."""
        dmsetup("remove", "--retry", "q")
        if self.loop:
            subprocess.run(("losetup", "-d", self.loop), check=True)
        self.loop = None

    def save(self, name):
        """Keep both contents."""
        for what in ("content", "durable"):
            data = getattr(self.served, what)
            with open(f"{self.out}/{name}.{what}", "wb") as file:
                file.write(memoryview(data)[:self.served.end])
                file.truncate(len(data))

    def run(self, fault, aim=None):
        """Do one run with a fault, of the step @aim only; return the numbers of operations, and of each step."""
        with open(self.file, "rb") as file:
            self.served.load(file.read())
        subprocess.run(("sync", "-f", FOLDER), check=False)
        kernel_log()
        log = []
        if fault and aim is None:
            self.served.arm(*fault)
        guest = Guest(8192, self.served)
        run = {"image": self.name, "base": bool(self.base), "fault": fault, "aim": aim,
               "attached": self.attach(fault, aim), "fired": 0}
        start = time.monotonic()
        if run["attached"]:
            guest.open()
            with Retry() if fault and fault[2] == "ENOSPC" and not fault[3] else contextlib.nullcontext():
                guest.run(fault, aim)
            guest.close()
            # What is told from now on the status may not have seen: the timer commits when it likes.
            log = kernel_log()
            run["status"] = dmsetup("status", "q").strip()
            run["fired"] = self.served.fired
            run["events"] = int(dmsetup("info", "-c", "--noheadings", "-o", "events", "q"))
            self.detach()
        elif self.loop:
            subprocess.run(("losetup", "-d", self.loop), check=True)
            self.loop = None
        counts, run["fired at all"] = dict(self.served.counts), self.served.fired
        run["name"] = f"{self.name}.{len(self.runs)}"
        run["journal"], run["uncommitted"], run["met"] = guest.journal, guest.uncommitted, guest.met
        run["log"], run["late"] = ([line for line in lines if "qcow2" in line] for lines in (log, kernel_log()))
        self.save(run["name"])
        self.runs.append(run)
        run["seconds"] = time.monotonic() - start
        return counts, guest.spent

    def all(self, steps, every):
        """Let everything fail; each fault begins with another operation."""
        counts, _ = self.run(None)
        for turn, ((kind, error), for_ever) in enumerate(itertools.product(FAULTS, (False, True))):
            numbers = range(1, counts[kind] + 1)
            if steps and len(numbers) > steps:
                numbers = sorted({1 + (len(numbers) - 1) * at // (steps - 1) for at in range(steps)})
            elif not steps:
                numbers = numbers[turn % every::every]
            for number in numbers:
                self.run((kind, number, error, for_ever))

    def aim(self, steps):
        """Let the last operation fail that a write with FUA asks for; without @steps each of them."""
        _, spent = self.run(None, FUA[0])
        for which, kind, *how in AIMED:
            last = spent[FUA[which]][kind]
            for number in range(last if steps else 1, last + 1):
                self.run((kind, number, *how), FUA[which])
                # Its clusters may share a commit, or not: then there was less to do this time.
                while not self.runs[-1]["met"] and number > 1:
                    number -= 1
                    self.runs.pop()
                    self.run((kind, number, *how), FUA[which])


def main():
    """Serve, inject, tell."""
    out, steps, every, *images = sys.argv[1:]
    os.makedirs(FOLDER, exist_ok=True)
    served, _ = faultfile.serve(FOLDER)
    runs = []
    start = time.monotonic()
    for number, image in enumerate(images):
        injector = Injector(served, out, image)
        injector.all(min(int(steps), 2) if number else int(steps), int(every))
        if not number or not int(steps):
            injector.aim(int(steps))
        runs += injector.runs
    subprocess.run(("umount", FOLDER), check=True)
    with open(f"{out}/runs.json", "w", encoding="ascii") as file:
        json.dump(runs, file)
    print(f"{len(runs)} runs in {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
