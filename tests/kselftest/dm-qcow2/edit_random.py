#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""The same random operations by a device and qcow2ctl, and by qemu-io and qemu-img on another image.

edit_random.py QCOW2CTL SEED STEPS [OPTIONS]

After each step the disks are the same, and qemu-img check finds neither errors nor leaks in both images, that of the
device while it is suspended. Both images have all snapshots, and these are what they were when they were taken: after
each step as a reader of its own finds them in the bytes of the images, and when the images change places, which they do
now and then, as QEMU shows them, too.
"""

import fcntl
import mmap
import os
import random
import struct
import subprocess
import sys

TOOL, DICE, STEPS = sys.argv[1], random.Random(int(sys.argv[2])), int(sys.argv[3])
OPTIONS = sys.argv[4] if len(sys.argv) > 4 else "cluster_size=64k"
DEVICE = "/dev/mapper/q"
UNIT = 65536            # a multiple of every cluster
NOTHING = bytes(UNIT)
BLKDISCARD, DM_DEV_SUSPEND = 0x1277, 0xc138fd06
HAND_OVER = 10          # steps


class Wrong(Exception):
    """What is not as it should be."""


def run(*words, codes=(0,)):
    """Run a program; return what it said."""
    done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=False)
    if done.returncode not in codes or (words[0] == "qemu-io" and "failed" in done.stdout):
        raise Wrong(f"{' '.join(words)}: exit {done.returncode}: {done.stdout}")
    return done.stdout


def suspend(flag):
    """Suspend the device, or with 0 resume it. A process for that takes longer in the machine."""
    with open("/dev/mapper/control", "rb", buffering=0) as control:
        fcntl.ioctl(control, DM_DEV_SUSPEND, struct.pack("=6Ii3IQ128s136x", 4, 0, 0, 312, 312, 0, 0, flag, 0, 0, 0, b"q"))


def units(content):
    """Cut a content into units. Those of zeros are all the same object."""
    cut = (content[at:at + UNIT] for at in range(0, len(content), UNIT))
    return [NOTHING if unit == NOTHING else unit for unit in cut]


class Image:
    """The bytes of an image that has nothing compressed, nothing encrypted, and no layer below."""

    def __init__(self, path):
        self.fd = os.open(path, os.O_RDONLY)
        self.found = {}         # units by what entries of L2 say of them
        bits, size, _, l1_size, l1, _, _, self.snapshots, self.list, self.flags = self.get(">IQIIQQIIQQ", 20)
        self.cluster, self.words = 1 << bits, 2 if self.flags & 16 else 1
        self.disk = l1, l1_size, size

    def close(self):
        """Let it go."""
        os.close(self.fd)

    def get(self, form, place):
        """Return numbers that are at this place."""
        return struct.unpack(form, os.pread(self.fd, struct.calcsize(form), place))

    def cluster_of(self, entry, bitmap):
        """Return what an entry and, for subclusters, its second word lead to."""
        place, piece = entry & 0xfffffffffffe00, self.cluster // 32
        if self.words == 1:
            return bytes(self.cluster) if entry & 1 or not place else os.pread(self.fd, self.cluster, place)
        return b"".join(os.pread(self.fd, piece, place + nr * piece) if bitmap >> nr & 1 else bytes(piece)
                        for nr in range(32))

    def unit(self, words):
        """Return the unit that some entries lead to."""
        if words not in self.found:
            data = b"".join(self.cluster_of(words[at], words[at + self.words - 1])
                            for at in range(0, len(words), self.words))
            self.found[words] = NOTHING if data == NOTHING else data
        return self.found[words]

    def show(self, disk):
        """Return the units of a disk: place and length of its L1 table, and its size."""
        l1, l1_size, size = disk
        each, shown = UNIT // self.cluster * self.words, []
        for table in self.get(f">{l1_size}Q", l1):
            table &= 0xfffffffffffe00
            count = min(self.cluster // 8, (size // UNIT - len(shown)) * each)
            words = self.get(f">{count}Q", table) if table else (0,) * count
            shown += [self.unit(words[at:at + each]) for at in range(0, count, each)]
        return shown

    def show_snapshots(self):
        """Return the units of each snapshot by its tag, in the order of the list."""
        shown, at = {}, self.list
        for _ in range(self.snapshots):
            l1, l1_size, identity, name, _, _, _, _, extra = self.get(">QIHHIIQII", at)
            tag = os.pread(self.fd, name, at + 40 + extra + identity).decode()
            shown[tag] = self.show((l1, l1_size, self.get(">Q", at + 48)[0]))
            at += 40 + extra + identity + name + 7 & ~7
        return shown


class Pair:
    """A device over one image, and another image."""

    def __init__(self):
        self.mine, self.other = "one.qcow2", "two.qcow2"
        self.size = 4 << 20
        self.snapshots = {}     # tag: units of the disk
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
        return units(data[:])

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
            self.size = len(self.snapshots[tag]) * UNIT
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

    def judge_images(self, disk):
        """Nothing is wrong with the metadata on disk; the disk and the snapshots are what they should be."""
        for name in (self.mine, self.other):
            run("qemu-img", "check", "-q", "-U", name)
            image = Image(name)
            if image.show(image.disk) != disk:
                raise Wrong(f"{name} has another disk")
            shown = image.show_snapshots()
            image.close()
            if list(shown) != list(self.snapshots):
                raise Wrong(f"{name} has snapshots {list(shown)}, not {list(self.snapshots)}")
            for tag, then in self.snapshots.items():
                if shown[tag] != then:
                    raise Wrong(f"{name}: {tag} is not what it was")

    def judge(self):
        """Compare disks and images: while the device is suspended, it has nothing in reserve."""
        self.qemu_io()
        os.fsync(self.fd)
        disk = self.read()
        suspend(2)
        try:
            self.judge_images(disk)
        finally:
            suspend(0)

    def judge_by_qemu(self):
        """Look at all once more, as QEMU shows it."""
        run("qemu-img", "compare", "-q", self.mine, self.other)
        for name in (self.mine, self.other):
            for tag, then in self.snapshots.items():
                run("qemu-img", "convert", "-l", f"snapshot.name={tag}", "-O", "raw", name, "content")
                with open("content", "rb") as file:
                    content = units(file.read()[:len(then) * UNIT])     # it is as long as the disk is now
                if content != then[:self.size // UNIT]:
                    raise Wrong(f"{name}: QEMU shows that {tag} is not what it was")

    def hand_over(self):
        """Detach, judge the images, and let them change places."""
        disk = self.read()
        self.close()
        run(TOOL, "detach", "q")
        self.judge_images(disk)
        self.judge_by_qemu()
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
            pair.judge()
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
