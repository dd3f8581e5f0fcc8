#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""Replay the log of a run on its medium, and look at every state that a power cut could leave.

replay.py MEDIUM LOG JOURNAL POINTS [--base IMAGE] [--keep FOLDER COUNT]

MEDIUM is changed. The log is that of dm-log-writes. At each point qemu-img must find no errors (leaks
are allowed), what a completed flush covered must be there, and every sector must be as some write
that was not covered left it, or as it was before: zeros, or what the base says.

POINTS bounds how many states are looked at, all neighbours of barriers first, and half as many with
some of the writes between two barriers and not the others; 0 is all of them. --keep stores some
states, for those who want to attach them.
"""

import argparse
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile

MAGIC = 0x6a736677736872
FLUSH, FUA, DISCARD, MARK = 1, 2, 4, 8


def read_log(path):
    """Yield (first sector, bytes to write or None, flags, name of a mark, sectors) in order."""
    with open(path, "rb") as log:
        magic, _, count, size = struct.unpack("<QQQI", log.read(28))
        if magic != MAGIC:
            sys.exit(f"replay.py: {path}: not a log of dm-log-writes")
        at = size
        for _ in range(count):
            log.seek(at)
            sector, sectors, flags, length = struct.unpack("<4Q", log.read(32))
            if flags & MARK:
                yield sector, None, flags, log.read(length).rstrip(b"\0").decode(), 0
                at += size
                continue
            at += size
            data = None
            if sectors and not flags & DISCARD:
                log.seek(at)
                data = log.read(sectors * 512)
                at += -(-len(data) // size) * size
            yield sector, data, flags, None, sectors


class Model:
    """What each sector of the disk may hold."""

    def __init__(self, journal, base):
        self.operations = journal["operations"]
        self.flushes = journal["flushes"]
        self.sectors = journal["sectors"]
        self.durable = [0] * len(self.operations)
        self.base = base
        self.allowed = [{self.before(sector)} for sector in range(self.sectors)]
        for operations in self.operations:
            for sector, count, number in operations:
                for at in range(sector, sector + count):
                    self.allowed[at].add(self.after(at, number))

    def before(self, sector):
        """Return what a sector holds that was never written."""
        return self.base[sector * 512:sector * 512 + 512] if self.base else bytes(512)

    @staticmethod
    def after(sector, number):
        """Return what the write of that number left in a sector."""
        return struct.pack("<QQ", number, sector) * 32 if number else bytes(512)

    def flushed(self, number):
        """Flush @number has completed: forget what it has overtaken."""
        touched = set()
        for thread, complete in enumerate(self.flushes[number]):
            for sector, count, _ in self.operations[thread][self.durable[thread]:complete]:
                touched.update((thread, at) for at in range(sector, sector + count))
            self.durable[thread] = max(self.durable[thread], complete)
        for thread in {thread for thread, _ in touched}:
            self.narrow(thread, {at for owner, at in touched if owner == thread})

    def narrow(self, thread, sectors):
        """Set what sectors, which that thread owns, may hold: the last durable version and later ones."""
        for at in sectors:
            self.allowed[at] = set()
        for index, (sector, count, number) in enumerate(self.operations[thread]):
            for at in range(sector, sector + count):
                if at in sectors:
                    if index < self.durable[thread]:
                        self.allowed[at].clear()
                    self.allowed[at].add(self.after(at, number))

    def check(self, disk):
        """Return what is wrong with the content, or None."""
        for sector in range(self.sectors):
            found = disk[sector * 512:sector * 512 + 512]
            if found not in self.allowed[sector]:
                return f"sector {sector} holds {found[:16].hex()}, not one of {len(self.allowed[sector])} versions"
        return None


def windows(entries):
    """Return the ranges of entries between two barriers, with more than one write in them."""
    barriers = [number for number, entry in enumerate(entries) if entry[2] & FLUSH]
    ranges = [range(first + 1, last) for first, last in zip([-1] + barriers, barriers)]
    return [window for window in ranges if sum(entries[number][1] is not None for number in window) > 1]


def choose(entries, points):
    """Return the numbers of the entries after which to look."""
    changes = [number for number, (_, data, flags, _, _) in enumerate(entries) if data is not None or flags]
    if not points or points >= len(changes):
        return set(changes)
    barriers = [number for number, entry in enumerate(entries) if entry[2] & (FLUSH | FUA)]
    near = sorted({number for barrier in barriers for number in (barrier - 1, barrier, barrier + 1)
                   if 0 <= number < len(entries)})
    rng = random.Random(5)
    if len(near) > points:
        return set(rng.sample(near, points))
    rest = sorted(set(changes) - set(near))
    return set(near) | set(rng.sample(rest, min(len(rest), points - len(near))))


class Replay:
    """One medium, on its way through the log."""

    def __init__(self, args):
        self.medium, self.args = args.medium, args
        with open(args.journal, encoding="ascii") as file:
            journal = json.load(file)
        self.folder = tempfile.mkdtemp(prefix="replay.")
        self.options = f"driver=qcow2,file.driver=file,file.filename={args.medium}"
        base = None
        if args.base:
            self.options += f",backing.driver=qcow2,backing.file.driver=file,backing.file.filename={args.base}"
            base = self.content(f"driver=qcow2,file.driver=file,file.filename={args.base}")
        self.model = Model(journal, base)
        self.failures = self.looked = self.shuffled = self.leaks = 0

    def content(self, options):
        """Return the content of a disk as QEMU sees it."""
        raw = f"{self.folder}/raw"
        subprocess.run(["qemu-img", "convert", "-O", "raw", "--image-opts", options, raw], check=True)
        with open(raw, "rb") as file:
            return file.read()

    def look(self, where):
        """Look at the state as it is now."""
        self.looked += 1
        check = subprocess.run(["qemu-img", "check", "--image-opts", self.options], stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, check=False)
        wrong = None
        if check.returncode not in (0, 3):
            wrong = check.stdout.decode(errors="replace").strip()
        self.leaks += check.returncode == 3
        wrong = wrong or self.model.check(self.content(self.options))
        if wrong:
            self.failures += 1
            print(f"entry {where}: {wrong}")
            if self.failures >= 5:
                sys.exit("replay.py: enough")

    def shuffle(self, entries, window, rng):
        """Look at the state that any part of the writes between two barriers may leave."""
        medium, options = self.medium, self.options
        self.medium = f"{self.folder}/medium"
        self.options = options.replace(medium, self.medium)
        subprocess.run(["cp", "--sparse=always", "--reflink=auto", medium, self.medium], check=True)
        share = rng.random()
        with open(self.medium, "r+b", buffering=0) as copy:
            for number in window:
                sector, data, _, _, _ = entries[number]
                if data is not None and rng.random() < share:
                    copy.seek(sector * 512)
                    copy.write(data)
        for number in window:       # a mark tells of the barrier before it
            if (mark := entries[number][3]) and mark.startswith("f"):
                self.model.flushed(int(mark[1:]))
        self.look(f"a part of {window.start} to {window.stop - 1}")
        self.shuffled += 1
        self.medium, self.options = medium, options

    def run(self):
        """Go through the log and look at the chosen points."""
        entries = list(read_log(self.args.log))
        points = choose(entries, self.args.points)
        keep = set()
        if self.args.keep:
            keep = set(random.Random(3).sample(sorted(points), min(len(points), int(self.args.keep[1]))))
        rng = random.Random(11)
        shuffles = windows(entries)
        if self.args.points:
            shuffles = rng.sample(shuffles, min(len(shuffles), self.args.points // 2))
        starts = {window.start: window for window in shuffles}
        with open(self.medium, "r+b", buffering=0) as medium:
            for number, (sector, data, _, mark, _) in enumerate(entries):
                if number in starts:
                    self.shuffle(entries, starts[number], rng)
                if mark and mark.startswith("f"):
                    self.model.flushed(int(mark[1:]))
                if data is not None:
                    medium.seek(sector * 512)
                    medium.write(data)
                if number in points:
                    self.look(number)
                if number in keep:
                    shutil.copyfile(self.medium, f"{self.args.keep[0]}/state.{number}")
        shutil.rmtree(self.folder)
        print(f"{os.path.basename(self.args.log)[:-4]}: {self.looked - self.shuffled} points and {self.shuffled} reorderings of "
              f"{len(entries)} entries, {len(self.model.flushes)} flushes, {self.leaks} with leaks, {self.failures} wrong")
        return 1 if self.failures or not self.looked else 0


def main():
    """Read the arguments and replay."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("medium")
    parser.add_argument("log")
    parser.add_argument("journal")
    parser.add_argument("points", type=int)
    parser.add_argument("--base")
    parser.add_argument("--keep", nargs=2, metavar=("FOLDER", "COUNT"))
    return Replay(parser.parse_args()).run()


if __name__ == "__main__":
    sys.exit(main())
