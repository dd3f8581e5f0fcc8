# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""Cut an edit of an image and its external data file: after each write to one of them both are old or both new."""

import glob
import os
import random
import shutil
import struct
import tempfile

import qcow2
from disks import FULL, Disk, Wrong, check, expect, header_only, records, same_as_qemu, tears


class Both:
    """Image and data file of an edit that is cut."""

    def __init__(self, old, allowed, seed):
        self.allowed = allowed
        self.chance = random.Random(seed)
        self.paths = {os.stat(name).st_ino: name for name in old}
        self.old = {os.stat(name).st_ino: data for name, data in old.items()}
        self.cuts = 0

    def disks(self, data):
        """Return the files with these contents."""
        return {inode: Disk(f"cut.d/{name}", data[inode]) for inode, name in self.paths.items()}

    def look(self, what):
        """Judge one state."""
        self.cuts += 1
        try:
            check("cut.d/image")
            image = qcow2.load("cut.d/image")
            views = image.views()
            expect(views in self.allowed, f"neither old nor new: {views}, but {self.allowed}")
            expect(len(image.guest) >= image.size, "the data file is shorter than the disk")
            expect(not image.raw_data or image.read(0, image.size) == image.guest[:image.size], "the raw data file differs")
        except (Wrong, AssertionError, struct.error, MemoryError) as error:
            raise Wrong(f"{what}: {error}") from error

    def run(self, log):
        """Go through all cuts; return their number."""
        now, pending = self.disks(self.old), []
        durable = dict(self.old)
        for number, record in enumerate(log):
            op, inode, offset, length, _ = record
            what = f"write {number} of {len(log)} ({op} at {offset:#x} of {self.paths[inode]}, {length} bytes)"
            if op == "s":
                self.other_orders(durable, pending)
                now = self.disks({key: disk.data for key, disk in now.items()})
                durable[inode] = bytes(now[inode].data)
                pending = [one for one in pending if one[1] != inode]
                continue
            pending.append(record)
            for part in tears(length, offset, self.chance) if op == "w" else []:
                now[inode].apply(record, part)
                self.look(f"{what} torn after {part} bytes")
            now[inode].apply(record)
            self.look(what)
        self.other_orders(durable, pending)
        return self.cuts

    def other_orders(self, durable, pending):
        """Try sets of what no barrier has ordered yet, of both files."""
        for _ in range(4 if FULL else 1):
            if len(pending) < 2:
                return
            disks = self.disks(durable)
            for at in sorted(self.chance.sample(range(len(pending)), self.chance.randrange(1, len(pending)))):
                disks[pending[at][1]].apply(pending[at])
            self.look("some writes of a group")


def edit_both(variety, name, edit, call):
    """Do one edit of an image with a data file and cut it; return the number of cuts or None."""
    plan = edit(qcow2.load("image"))
    if not plan:
        return None
    words, wanted = plan
    old = {path: open(path, "rb").read() for path in ("image", "image.data")}
    views, raw = qcow2.load("image").views(), qcow2.load("image").raw_data
    rc, said = call(["./image" if word == "IMAGE" else word for word in words], "log")
    expect(rc == 0, f"exit {rc}: {said}")
    new = qcow2.load("image")
    expect(new.views() == wanted, f"result {new.views()}, expected {wanted}")
    expect(new.raw_data == raw, "the promise of a raw data file is lost")
    expect(name.startswith("rebase") or len(new.guest) == new.size or "grow" in name and len(new.guest) == len(old["image.data"]),
           f"a data file of {len(new.guest)} bytes for a disk of {new.size}")
    expect(check("image") == 0, "leaks at the end")
    same_as_qemu("image", new)
    if name.startswith("rebase"):
        header_only(old["image"], bytes(new.data), records("log"), new.cluster)
        expect(bytes(new.guest) == old["image.data"], "the data file changed")
    os.mkdir("cut.d")
    for path in ("image.base", "a copy"):
        if os.path.exists(path):
            os.link(path, f"cut.d/{path}")
    return Both(old, [views, wanted], f"{variety}/{name}").run(list(records("log")))


def one_data_edit(variety, name, edit, call):
    """Do the same in a folder of its own."""
    files = glob.glob("*image*")
    with tempfile.TemporaryDirectory(dir=".") as folder:
        for path in files:
            shutil.copy(path, folder)
        os.chdir(folder)
        try:
            return edit_both(variety, name, edit, call)
        finally:
            os.chdir("..")
