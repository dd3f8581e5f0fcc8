#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""The same random operations by a device and qcow2ctl, and by qemu-io and qemu-img on another image.

edit_random.py QCOW2CTL SEED STEPS [OPTIONS]

After each step the disks are the same, and qemu-img check finds neither errors nor leaks in both images, that of the
device while it is suspended. After every few steps all snapshots are looked at too: both images have them, and they are
what they were when they were taken. Now and then the device is detached, the same is judged once more, and the two
images change places.
"""

import fcntl
import mmap
import os
import random
import re
import struct
import subprocess
import sys

TOOL, DICE, STEPS = sys.argv[1], random.Random(int(sys.argv[2])), int(sys.argv[3])
OPTIONS = sys.argv[4] if len(sys.argv) > 4 else "cluster_size=64k"
DEVICE = "/dev/mapper/q"
UNIT = 65536            # a multiple of every cluster
BLKDISCARD = 0x1277
SNAPSHOTS, HAND_OVER = 5, 10    # steps


class Wrong(Exception):
    """What is not as it should be."""


def run(*words, codes=(0,)):
    """Run a program; return what it said."""
    done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=False)
    if done.returncode not in codes or (words[0] == "qemu-io" and "failed" in done.stdout):
        raise Wrong(f"{' '.join(words)}: exit {done.returncode}: {done.stdout}")
    return done.stdout


class Pair:
    """A device over one image, and another image."""

    def __init__(self):
        self.mine, self.other = "one.qcow2", "two.qcow2"
        self.size = 4 << 20
        self.snapshots = {}     # tag: content
        self.tag = 0
        self.io = []            # for qemu-io, before anything else is done there
        self.fd = -1
        for name in (self.mine, self.other):
            run("qemu-img", "create", "-q", "-f", "qcow2", "-o", OPTIONS, name, str(self.size))
        self.attach()

    def attach(self):
        """Let the device be over our image."""
        run(TOOL, "attach", f"./{self.mine}", "q")
        self.open()

    def open(self):
        """Open the device."""
        self.fd = os.open(DEVICE, os.O_RDWR | os.O_DIRECT)

    def close(self):
        """Close it: some edits want that."""
        os.close(self.fd)

    def read(self):
        """Return the content of the device."""
        data = mmap.mmap(-1, self.size)
        done = os.preadv(self.fd, [data], 0)
        if done != self.size:
            raise Wrong(f"the device has {done} bytes, not {self.size}")
        return data[:]

    def qemu_io(self):
        """Let qemu-io do what has gathered."""
        if self.io:
            run("qemu-io", "-f", "qcow2", *(word for command in self.io for word in ("-c", command)), self.other)
        self.io = []

    def edit(self, ours, theirs, closed=False):
        """Edit the device by qcow2ctl, and the other image by qemu-img."""
        self.qemu_io()
        if closed:
            self.close()
        said = run(TOOL, *ours)
        if "paused q" not in said:
            raise Wrong(f"{' '.join(ours)}: {said}")
        if closed:
            self.open()
        run("qemu-img", *(self.other if word == "IMAGE" else word for word in theirs))

    # -- steps

    def area(self, unit):
        """Return (offset, length) within the disk."""
        start = DICE.randrange(self.size // unit) * unit
        return start, min(self.size - start, unit * DICE.randrange(1, 6))

    def write(self):
        """Write some areas, most of them not whole clusters."""
        for _ in range(4):
            offset, length = self.area(DICE.choice((512, 4096, UNIT)))
            byte = DICE.randrange(256)
            data = mmap.mmap(-1, length)
            data[:] = bytes([byte]) * length
            os.pwritev(self.fd, [data], offset)
            self.io.append(f"write -P {byte} {offset} {length}")

    def discard(self):
        """Discard an area of whole clusters."""
        offset, length = self.area(UNIT)
        fcntl.ioctl(self.fd, BLKDISCARD, struct.pack("QQ", offset, length))
        self.io.append(f"discard {offset} {length}")

    def create(self):
        """Take a snapshot."""
        self.tag += 1
        tag = f"tag {self.tag}"
        self.snapshots[tag] = self.read()
        self.edit(["snapshot", "create", "q", tag], ["snapshot", "-c", tag, "IMAGE"])

    def apply(self):
        """Go back to a snapshot."""
        if self.snapshots:
            tag = DICE.choice(list(self.snapshots))
            self.size = len(self.snapshots[tag])
            self.edit(["snapshot", "apply", "q", tag], ["snapshot", "-a", tag, "IMAGE"], True)
            if self.read() != self.snapshots[tag]:
                raise Wrong(f"{tag} is not what it was")

    def delete(self):
        """Delete a snapshot."""
        if self.snapshots:
            tag = DICE.choice(list(self.snapshots))
            del self.snapshots[tag]
            self.edit(["snapshot", "delete", "q", tag], ["snapshot", "-d", tag, "IMAGE"])

    def grow(self):
        """Make the disk larger."""
        if self.size < 16 << 20:
            self.size += DICE.randrange(1, 33) * UNIT
            self.edit(["resize", "q", str(self.size)], ["resize", "-q", "IMAGE", str(self.size)])

    def shrink(self):
        """Make the disk smaller."""
        self.size -= DICE.randrange(self.size // UNIT // 2) * UNIT + UNIT
        self.edit(["resize", "--shrink", "q", str(self.size)], ["resize", "-q", "--shrink", "IMAGE", str(self.size)], True)

    # -- judgement

    def judge_images(self, snapshots):
        """Nothing is wrong with the metadata on disk, and with the snapshots."""
        for name in (self.mine, self.other):
            run("qemu-img", "check", "-q", "-U", name)
            if not snapshots:
                continue
            tags = re.findall(r"tag \d+", run("qemu-img", "snapshot", "-U", "-l", name))
            if tags != list(self.snapshots):
                raise Wrong(f"{name} has snapshots {tags}, not {list(self.snapshots)}")
            for tag, then in self.snapshots.items():
                run("qemu-img", "convert", "-U", "-l", f"snapshot.name={tag}", "-O", "raw", name, "content")
                with open("content", "rb") as file:
                    content = file.read()[:len(then)]   # it is as long as the disk is now
                if content != then[:self.size]:
                    raise Wrong(f"{name}: {tag} is not what it was")

    def judge(self, snapshots):
        """Compare the disks, then the images: while the device is suspended, it has nothing in reserve."""
        self.qemu_io()
        os.fsync(self.fd)
        run("qemu-img", "compare", "-q", "-f", "raw", "-F", "qcow2", DEVICE, self.other)
        run("dmsetup", "suspend", "q")
        try:
            self.judge_images(snapshots)
        finally:
            run("dmsetup", "resume", "q")

    def hand_over(self):
        """Detach, judge the images, and let them change places."""
        self.close()
        run(TOOL, "detach", "q")
        self.judge_images(True)
        self.mine, self.other = self.other, self.mine
        self.attach()


def main():
    """Run."""
    pair, done, deck = Pair(), [], []
    steps = (pair.write,) * 5 + (pair.discard,) * 2 + (pair.create,) * 4 + (
        pair.apply, pair.delete, pair.delete, pair.grow, pair.shrink)
    try:
        for number in range(1, STEPS + 1):
            # Like cards: each has its turn before the next round begins.
            deck = deck or DICE.sample(steps, len(steps))
            step = deck.pop()
            done.append(step.__name__)
            step()
            pair.judge(number % SNAPSHOTS == 0)
            if number % HAND_OVER == 0 or number == STEPS:
                done.append("hand over")
                pair.hand_over()
    except Wrong as error:
        print(f"# {OPTIONS}: {', '.join(done)}: {error}")
        return 1
    pair.close()
    run(TOOL, "detach", "q")
    print(f"# {OPTIONS}: {', '.join(f'{done.count(name)} {name}' for name in sorted(set(done)))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
