#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""Replay the log of a run on its medium, and look at every state that a power cut could leave.

replay.py MEDIUM LOG JOURNAL POINTS [--base IMAGE] [--file NAME | --data SECTOR] [--keep FOLDER COUNT]

MEDIUM is changed. The log is that of dm-log-writes. MEDIUM is an image, or with --file an ext4 with the
image in it, or with --data an image and from that sector on its data file, of which each has its own
barriers. What is discarded may hold anything afterwards: poison. At each point qemu-img must find no
errors (leaks are allowed, as many as leaks.py says, and at the end none), and the disk must be what the journal allows,
see model.py.

A point is a write or discard after which the medium is not what it was, and it is looked at when all
barriers and marks that follow have been seen, just before the next one. With --data also as it is
when one of the two has nothing that its last barrier does not cover.

POINTS bounds how many points there are, all neighbours of barriers first, and half as many states with
some of the writes between two barriers and not the others; 0 is all of them. --keep stores some
images, for those who want to attach them, and in disks what QEMU sees in each.
"""

import argparse
import bisect
import collections
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
import leaks  # noqa: E402 pylint: disable=import-error,wrong-import-position
import medium  # noqa: E402 pylint: disable=import-error,wrong-import-position
import model  # noqa: E402 pylint: disable=import-error,wrong-import-position
import writelog  # noqa: E402 pylint: disable=import-error,wrong-import-position
from writelog import FLUSH, FUA  # noqa: E402 pylint: disable=import-error,wrong-import-position

PARTS = ("image", "data")
MOVED = 8       # reorderings of a window beside a move of the refcount table


def windows(entries):
    """Return the ranges of entries between two barriers, with more than one write in them."""
    barriers = [number for number, entry in enumerate(entries) if entry[2] & FLUSH]
    ranges = [range(first + 1, last) for first, last in zip([-1] + barriers, barriers)]
    return [window for window in ranges if sum(entries[number][1] is not None for number in window) > 1]


def moves(content, entries):
    """Return the numbers of the entries that give the header another refcount table."""
    table, numbers = content[48:60], []
    for number, entry in enumerate(entries):
        start, end, data = medium.span(entry)
        if data and start == 0 and end >= 60 and data[48:60] != table:
            table = data[48:60]
            numbers.append(number)
    return numbers


def beside(numbers, ranges):
    """Return the ranges around each of the numbers: the one that it lies in, or ends, and those before and after."""
    found = []
    for number in numbers:
        after = bisect.bisect([window.start for window in ranges], number)
        found += ranges[max(0, after - 2):after + 1]
    return found


def choose(entries, changes, points):
    """Return those of the changes after which to look."""
    if not points or points >= len(changes):
        return set(changes)
    near, left = set(), iter(changes)
    before, after = None, next(left)
    for barrier in (number for number, entry in enumerate(entries) if entry[2] & (FLUSH | FUA)):
        while after is not None and after <= barrier:
            before, after = after, next(left, None)
        near |= {before, after} - {None}
    rng = random.Random(5)
    if len(near) > points:
        return set(rng.sample(sorted(near), points))
    rest = sorted(set(changes) - near)
    return near | set(rng.sample(rest, min(len(rest), points - len(near))))


class Replay:
    """One medium, on its way through the log."""

    def __init__(self, args):
        self.args = args
        with open(args.journal, encoding="ascii") as file:
            journal = json.load(file)
        self.name = os.path.basename(args.log)[:-4]
        # Some hundred MiB are written at each point, and never wanted on a disk.
        self.folder = tempfile.mkdtemp(prefix="replay.", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
        split = args.data * writelog.SECTOR
        self.medium = medium.Medium(args.medium, ((0, split), (split, os.path.getsize(args.medium))) if split else ())
        base = None
        if args.base:
            with open(self.content(f"driver=qcow2,file.driver=file,file.filename={args.base}"), "rb") as file:
                base = file.read()
        self.model = model.of(journal, base)
        self.keep = set()
        self.ended = False          # the whole log is there
        self.failures = self.looked = self.shuffled = self.late = self.leaks = 0

    def content(self, options):
        """Make the content of a disk as QEMU sees it a file; return its path."""
        raw = f"{self.folder}/raw"
        subprocess.run(["qemu-img", "convert", "-O", "raw", "--image-opts", options, raw], check=True)
        return raw

    def image(self):
        """Return the path of the image as the medium has it now, and what is wrong with getting there."""
        if not self.args.file:
            return self.medium.path, None
        copy, image = f"{self.folder}/filesystem", f"{self.folder}/image"
        subprocess.run(["cp", "--sparse=never", self.medium.path, copy], check=True)
        wrong = model.replay_journal(copy)
        if not wrong and not model.dump(copy, self.args.file, image):
            wrong = "the image is gone"
        return image, wrong

    def options(self, image):
        """Return how QEMU opens it."""
        text = "driver=qcow2"
        for what, (start, end) in zip(("file", "data-file"), self.medium.parts):
            text += (f",{what}.driver=raw,{what}.offset={start},{what}.size={end - start}"
                     f",{what}.file.driver=file,{what}.file.filename={image}")
        if not self.medium.parts:
            text += f",file.driver=file,file.filename={image}"
        if self.args.base:
            text += f",backing.driver=qcow2,backing.file.driver=file,backing.file.filename={self.args.base}"
        return text

    def kept(self, path, where, folder=""):
        """Keep a file, if this is one of the points for that."""
        if where in self.keep:
            folder = f"{self.args.keep[0]}/{folder}"
            os.makedirs(folder, exist_ok=True)
            subprocess.run(["cp", "--sparse=always", path, f"{folder}/{self.name}.{str(where).replace(' ', '-')}"], check=True)

    def examine(self, image, where):
        """Return what is wrong with an image."""
        check = subprocess.run(["qemu-img", "check", "--image-opts", self.options(image)], stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, check=False)
        if check.returncode not in (0, 3):
            return check.stdout.decode(errors="replace").strip()
        self.leaks += check.returncode == 3
        if self.ended and check.returncode:
            return "leaks when all has ended"
        staged = self.model.staged()
        leaked = leaks.found(check.stdout.decode(errors="replace"))
        if staged is not None:
            most = leaks.bound(leaks.geometry(image), staged)
            if leaked > most:
                return f"{leaked} leaks, more than {most}"
        disk = self.content(self.options(image))
        self.kept(disk, where, "disks")
        return self.model.check(disk)

    def look(self, where):
        """Look at the state as it is now."""
        self.looked += 1
        image, wrong = self.image()
        wrong = wrong or self.examine(image, where)
        self.kept(image, where)
        if wrong:
            self.failures += 1
            print(f"entry {where}: {wrong}")
            if self.failures >= 5:
                sys.exit("replay.py: enough")

    def point(self, number):
        """Look at the state after an entry, and what one device may have had less then."""
        self.look(number)
        for part, late in enumerate(self.medium.late):
            if late:
                with self.medium.without(part):
                    self.look(f"{number} without the last of the {PARTS[part]}")
                self.late += 1

    @staticmethod
    def part_of(window):
        """Return what a state is called that has some writes of a window."""
        return f"a part of {window.start} to {window.stop - 1}"

    def shuffle(self, entries, window, rng):
        """Look at the state that any part of the writes between two barriers may leave."""
        share = rng.random()
        # What was written with FUA is durable, whatever comes before or after.
        spans = [medium.span(entries[number]) for number in window
                 if entries[number][2] & FUA or rng.random() < share]
        for number in window:       # a mark tells of the barrier before it
            if mark := entries[number][3]:
                self.model.mark(mark)
        with self.medium.with_content([span for span in spans if span[2]]):
            self.look(self.part_of(window))
        self.shuffled += 1

    def walk(self, entries, changes, points, shuffles):
        """Go through the log and look at the chosen points and windows."""
        rng = random.Random(11)
        starts = collections.Counter(window.start for window in shuffles)
        ranges = {window.start: window for window in shuffles}
        last = None     # the change that made the medium what it is
        for number, entry in enumerate(entries):
            if number in changes:
                if last in points:
                    self.point(last)
                last = number
            for _ in range(starts[number]):
                self.shuffle(entries, ranges[number], rng)
            if entry[3]:
                self.model.mark(entry[3])
            self.medium.apply(entry)
        self.ended = True
        self.point(last)

    def run(self):
        """Do it all and say what was found."""
        entries = list(writelog.read(self.args.log))
        changes = medium.fresh(self.medium.content, entries)
        points = choose(entries, changes, self.args.points)
        if self.args.keep:
            self.keep = set(random.Random(3).sample(sorted(points), min(len(points), int(self.args.keep[1]))))
        shuffles = windows(entries)
        if self.args.points:
            # A table that moves is one moment of a long log.
            moved = [] if self.args.file else moves(self.medium.content, entries)
            for at in map(changes.index, moved):
                points |= set(changes[max(0, at - 1):at + 2])
            shuffles = (random.Random(7).sample(shuffles, min(len(shuffles), self.args.points // 2)) +
                        MOVED * beside(moved, shuffles))
        if self.args.keep and shuffles:
            self.keep |= {self.part_of(window) for window in random.Random(3).sample(shuffles, min(len(shuffles), int(self.args.keep[1])))}
        self.walk(entries, set(changes), points, shuffles)
        shutil.rmtree(self.folder)
        late = f", {self.late} without what a cache may have kept" if self.medium.parts else ""
        print(f"{self.name}: {self.looked - self.shuffled - self.late} of {len(changes)} points, {self.shuffled} reorderings"
              f"{late}, {len(self.model.flushes)} acknowledged, {self.leaks} with leaks, {self.failures} wrong")
        return 1 if self.failures or not self.looked else 0


def main():
    """Read the arguments and replay."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("medium")
    parser.add_argument("log")
    parser.add_argument("journal")
    parser.add_argument("points", type=int)
    parser.add_argument("--base")
    parser.add_argument("--file")
    parser.add_argument("--data", type=int, default=0)
    parser.add_argument("--keep", nargs=2, metavar=("FOLDER", "COUNT"))
    return Replay(parser.parse_args()).run()


if __name__ == "__main__":
    sys.exit(main())
