#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""The same random edits and writes by qcow2ctl and by qemu-img.

differ.py QCOW2CTL [SEED]...

Two equal images. Each edit is done on one of them by qcow2ctl and on the other by qemu-img, and the
next one perhaps the other way round; qemu-io writes and discards on both. After each step both show
the same disk and the same snapshots, and qemu-img check finds neither errors nor leaks.

200 steps for two seeds and 50 for the others; QCOW2_FULL=1: 200 for all, and more seeds.
"""

import os
import random
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import qcow2  # noqa: E402 pylint: disable=wrong-import-position
import seeds  # noqa: E402 pylint: disable=wrong-import-position
from varieties import KIB, MIB, create, io  # noqa: E402 pylint: disable=wrong-import-position

FULL = bool(os.environ.get("QCOW2_FULL"))
TOOL = os.path.abspath(sys.argv[1])
BOTH = ("one", "two")
# Options of qemu-img create, size of a backing file or 0; a seed takes one after the other.
KINDS = (
    ("cluster_size=64k", 0), ("cluster_size=4k", 0), ("compat=0.10,cluster_size=16k", 0),
    ("extended_l2=on,cluster_size=32k", 0), ("cluster_size=16k", 9 * MIB), ("refcount_bits=4,cluster_size=8k", 0),
    ("cluster_size=512,refcount_bits=64", 0), ("extended_l2=on,cluster_size=64k", 3 * MIB + 1536),
)
LONG = (0, 3)   # seeds


class Wrong(Exception):
    """What is not as it should be."""


def run(*words):
    """Run a program; return (exit code, what it said)."""
    done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=False)
    return done.returncode, done.stdout


class Pair:
    """Two images that show the same."""

    def __init__(self, seed):
        self.chance = random.Random(seed)
        options, below = KINDS[seed % len(KINDS)]
        self.version = 2 if "0.10" in options else 3
        # Counts up to 15, and qemu-img counts up before it counts down when it goes back to a snapshot.
        self.limit = 13 if "bits=4" in options else 40
        self.below = below
        self.size = 1 * MIB if "=512" in options else 4 * MIB
        self.cluster = 64 * KIB
        self.tag = 0
        self.snapshots = []
        self.said = []
        for name in BOTH:
            if below:
                create(f"base-{name}", "", below)
                io(f"base-{name}", "write -P 200 0 2M", f"write -P 201 {below - 64 * KIB} 64k")
                create(name, options, self.size, b=f"base-{name}", F="qcow2")
            else:
                create(name, options, self.size)
        self.cluster = qcow2.load("one").cluster

    def io(self, *commands):
        """Let qemu-io do the same to both."""
        self.said.append("; ".join(commands))
        for name in BOTH:
            io(name, *commands)

    def edit(self, ours, theirs, refused=False):
        """Edit one image by qcow2ctl and the other by qemu-img."""
        first, second = self.chance.sample(BOTH, 2)
        self.said.append(f"{' '.join(ours)} on {first}")
        rc, said = run(TOOL, *(f"./{first}" if word == "IMAGE" else word for word in ours))
        if refused and (rc != 9 or "version 2" not in said) or not refused and (rc or said):
            raise Wrong(f"qcow2ctl {' '.join(ours)}: exit {rc}: {said}")
        rc, said = run("qemu-img", *(second if word == "IMAGE" else word for word in theirs))
        if bool(rc) != refused:
            raise Wrong(f"qemu-img {' '.join(theirs)}: exit {rc}: {said}")

    # -- steps

    def area(self):
        """Return (offset, length) within the disk, in sectors, often whole clusters."""
        unit = self.chance.choice((512, 512, self.cluster, 64 * KIB))
        start = self.chance.randrange(0, max(1, self.size // unit)) * unit
        return start, min(self.size - start, unit * self.chance.randrange(1, 9))

    def write(self):
        """Write data, zeros or a compressed cluster."""
        offset, length = self.area()
        if length:
            what = self.chance.choice(("", "", "", "-z ", "-z -u "))
            pattern = "" if what else f"-P {self.chance.randrange(1, 256)} "
            self.io(f"write {what}{pattern}{offset} {length}")

    def discard(self):
        """Discard, by whole clusters."""
        offset, length = self.area()
        if length:
            self.io(f"discard {offset} {length}")

    def create(self):
        """Take a snapshot."""
        if len(self.snapshots) < self.limit:
            self.tag += 1
            self.snapshots.append((f"tag {self.tag}", self.size))
            self.edit(["snapshot", "create", "IMAGE", f"tag {self.tag}"], ["snapshot", "-c", f"tag {self.tag}", "IMAGE"])

    def apply(self):
        """Go back to a snapshot."""
        if self.snapshots:
            tag, self.size = self.chance.choice(self.snapshots)
            self.edit(["snapshot", "apply", "IMAGE", tag], ["snapshot", "-a", tag, "IMAGE"])

    def delete(self):
        """Delete a snapshot."""
        if self.snapshots:
            tag, size = self.chance.choice(self.snapshots)
            self.snapshots.remove((tag, size))
            self.edit(["snapshot", "delete", "IMAGE", tag], ["snapshot", "-d", tag, "IMAGE"])

    def new_size(self, low, high):
        """Return a size, often a whole number of clusters."""
        unit = self.chance.choice((512, self.cluster, self.cluster))
        return self.chance.randrange(low // unit, high // unit + 1) * unit

    def grow(self):
        """Make the disk larger. QEMU shows what a cut left in the last cluster, so that is cleared."""
        size = self.new_size(self.size + self.cluster, min(self.size * 3, 16 * MIB) + self.cluster)
        refused = self.version == 2 and bool(self.snapshots)
        self.edit(["resize", "IMAGE", str(size)], ["resize", "-q", "IMAGE", str(size)], refused)
        tail = min(-self.size % self.cluster, size - self.size)
        if not refused:
            if tail:
                self.io(f"write -z {self.size} {tail}")
            self.size = size

    def shrink(self):
        """Make the disk smaller."""
        size = self.new_size(self.size // 3, self.size - 1)
        refused = self.version == 2 and bool(self.snapshots)
        if 512 <= size < self.size:
            self.edit(["resize", "--shrink", "IMAGE", str(size)], ["resize", "-q", "--shrink", "IMAGE", str(size)], refused)
            if not refused:
                self.size = size

    def step(self):
        """Do something."""
        self.chance.choice((self.write,) * 6 + (self.discard,) * 2 + (self.create,) * 3 + (
            self.apply, self.delete, self.delete, self.grow, self.shrink))()

    # -- judgement

    def judge(self):
        """Both are clean and the same."""
        views = []
        for name in BOTH:
            rc, said = run("qemu-img", "check", "-f", "qcow2", name)
            if rc:
                raise Wrong(f"qemu-img check {name}: exit {rc}: {said}")
            views.append(qcow2.load(name).views())
        if views[0] != views[1]:
            different = {key for key in {**views[0], **views[1]} if views[0].get(key) != views[1].get(key)}
            raise Wrong(f"different: {[(key, views[0].get(key), views[1].get(key)) for key in different]}")
        if views[0]["disk"][0] != self.size or len(views[0]) != 1 + len(self.snapshots):
            raise Wrong("size or number of snapshots is not what it should be")

    def commit(self):
        """Put both into their backing files."""
        while self.snapshots:
            tag, _ = self.snapshots.pop()
            self.edit(["snapshot", "delete", "IMAGE", tag], ["snapshot", "-d", tag, "IMAGE"])
        before = qcow2.load("one").views()
        for words in ((TOOL, "commit", "one"), ("qemu-img", "commit", "-q", "two")):
            rc, said = run(*words)
            if rc:
                raise Wrong(f"{words}: exit {rc}: {said}")
        self.judge()
        if qcow2.load("one").views() != before or qcow2.load("base-one").views() != qcow2.load("base-two").views():
            raise Wrong("commit: different")


def one_seed(seed):
    """Go through the steps of one seed; return what is wrong."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as folder:
        os.chdir(folder)
        pair = None
        name = " ".join(map(str, KINDS[seed % len(KINDS)]))
        try:
            pair = Pair(seed)
            for _ in range(200 if FULL or seed in LONG else 50):
                pair.step()
                pair.judge()
            if pair.below:
                pair.commit()
            return seed, name, ""
        except Exception as error:  # pylint: disable=broad-except
            return seed, name, "\n".join([f"{type(error).__name__}: {error}", *(pair.said if pair else [])])
        finally:
            os.chdir("/")


def main():
    """Run all seeds, in two processes; print KTAP."""
    numbers = [int(word) for word in sys.argv[2:]] or (range(3 * len(KINDS)) if FULL else (*LONG, *(n for n in range(11) if n not in (*LONG, 8))))
    return seeds.run(one_seed, numbers, maxtasksperchild=1)


if __name__ == "__main__":
    sys.exit(main())
