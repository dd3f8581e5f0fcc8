#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""Replay the log of a run on its medium, and look at every state that a power cut could leave.

replay.py MEDIUM LOG JOURNAL POINTS [--base IMAGE] [--file NAME] [--keep FOLDER COUNT]

MEDIUM is changed. The log is that of dm-log-writes. MEDIUM is an image, or with --file an ext4 with the
image in it. What is discarded may hold anything afterwards: poison. At each point qemu-img must find no
errors (leaks are allowed), and the disk must be what the journal allows, see model.py.

POINTS bounds how many states are looked at, all neighbours of barriers first, and half as many with
some of the writes between two barriers and not the others; 0 is all of them. --keep stores some
images, for those who want to attach them.
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

sys.dont_write_bytecode = True
import model  # noqa: E402 pylint: disable=import-error,wrong-import-position

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


def apply(medium, entry):
    """Do to the medium what an entry says; a discard leaves poison."""
    sector, data, flags, _, sectors = entry
    if flags & DISCARD:
        data = b"\xa5" * (sectors * 512)
    if data is not None:
        medium.seek(sector * 512)
        medium.write(data)


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
        self.name = os.path.basename(args.log)[:-4]
        self.folder = tempfile.mkdtemp(prefix="replay.")
        base = None
        if args.base:
            with open(self.content(f"driver=qcow2,file.driver=file,file.filename={args.base}"), "rb") as file:
                base = file.read()
        self.model = model.of(journal, base)
        self.keep = set()
        self.failures = self.looked = self.shuffled = self.leaks = 0

    def content(self, options):
        """Make the content of a disk as QEMU sees it a file; return its path."""
        raw = f"{self.folder}/raw"
        subprocess.run(["qemu-img", "convert", "-O", "raw", "--image-opts", options, raw], check=True)
        return raw

    def image(self):
        """Return the path of the image as the medium has it now, and what is wrong with getting there."""
        if not self.args.file:
            return self.medium, None
        copy, image = f"{self.folder}/filesystem", f"{self.folder}/image"
        subprocess.run(["cp", "--sparse=always", "--reflink=auto", self.medium, copy], check=True)
        wrong = model.replay_journal(copy)
        if not wrong and not model.dump(copy, self.args.file, image):
            wrong = "the image is gone"
        return image, wrong

    def options(self, image):
        """Return how QEMU opens it."""
        text = f"driver=qcow2,file.driver=file,file.filename={image}"
        if self.args.base:
            text += f",backing.driver=qcow2,backing.file.driver=file,backing.file.filename={self.args.base}"
        return text

    def examine(self, image):
        """Return what is wrong with an image."""
        check = subprocess.run(["qemu-img", "check", "--image-opts", self.options(image)], stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, check=False)
        if check.returncode not in (0, 3):
            return check.stdout.decode(errors="replace").strip()
        self.leaks += check.returncode == 3
        return self.model.check(self.content(self.options(image)))

    def look(self, where):
        """Look at the state as it is now."""
        self.looked += 1
        image, wrong = self.image()
        wrong = wrong or self.examine(image)
        if where in self.keep:
            subprocess.run(["cp", "--sparse=always", image, f"{self.args.keep[0]}/{self.name}.{where}"], check=True)
        if wrong:
            self.failures += 1
            print(f"entry {where}: {wrong}")
            if self.failures >= 5:
                sys.exit("replay.py: enough")

    def shuffle(self, entries, window, rng):
        """Look at the state that any part of the writes between two barriers may leave."""
        medium = self.medium
        self.medium = f"{self.folder}/medium"
        subprocess.run(["cp", "--sparse=always", "--reflink=auto", medium, self.medium], check=True)
        share = rng.random()
        with open(self.medium, "r+b", buffering=0) as copy:
            for number in window:
                # What was written with FUA is durable, whatever comes before or after.
                if entries[number][2] & FUA or rng.random() < share:
                    apply(copy, entries[number])
        for number in window:       # a mark tells of the barrier before it
            if mark := entries[number][3]:
                self.model.mark(mark)
        self.look(f"a part of {window.start} to {window.stop - 1}")
        self.shuffled += 1
        self.medium = medium

    def run(self):
        """Go through the log and look at the chosen points."""
        entries = list(read_log(self.args.log))
        points = choose(entries, self.args.points)
        if self.args.keep:
            self.keep = set(random.Random(3).sample(sorted(points), min(len(points), int(self.args.keep[1]))))
        rng = random.Random(11)
        shuffles = windows(entries)
        if self.args.points:
            shuffles = rng.sample(shuffles, min(len(shuffles), self.args.points // 2))
        starts = {window.start: window for window in shuffles}
        with open(self.medium, "r+b", buffering=0) as medium:
            for number, entry in enumerate(entries):
                if number in starts:
                    self.shuffle(entries, starts[number], rng)
                if entry[3]:
                    self.model.mark(entry[3])
                apply(medium, entry)
                if number in points:
                    self.look(number)
        shutil.rmtree(self.folder)
        print(f"{self.name}: {self.looked - self.shuffled} points and {self.shuffled} reorderings of "
              f"{len(entries)} entries, {len(self.model.flushes)} acknowledged, {self.leaks} with leaks, {self.failures} wrong")
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
    parser.add_argument("--keep", nargs=2, metavar=("FOLDER", "COUNT"))
    return Replay(parser.parse_args()).run()


if __name__ == "__main__":
    sys.exit(main())
