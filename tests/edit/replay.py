#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""Cut every edit after every write, and within it: the image is the old one or the new one.

replay.py QCOW2CTL RECORDER [VARIETY[/EDIT]]...

The writes of qcow2ctl are recorded and done once more on a copy, one by one. After each of them, and
after a part of it, qemu-img check must find no error, and what the disk and all snapshots show must
be what they showed before the edit, or all of it what they show after it. Before the last barrier
writes may also have happened in another order: some sets of them are tried.

QCOW2_FULL=1 tears every write at every sector and tries more sets.
"""

import glob
import itertools
import multiprocessing
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import datafile  # noqa: E402 pylint: disable=wrong-import-position
import external  # noqa: E402 pylint: disable=wrong-import-position
import qcow2  # noqa: E402 pylint: disable=wrong-import-position
from disks import FULL, Disk, Wrong, check, expect, header_only, records, same_as_qemu, tears  # noqa: E402 pylint: disable=wrong-import-position
from varieties import OVERLAYS, VARIETIES  # noqa: E402 pylint: disable=wrong-import-position

TOOL, RECORDER = map(os.path.abspath, sys.argv[1:3])


# ---- Edits: what they are called, what they do to the views of an image, None if they do not fit it.

def first(image):
    """Return the first snapshot."""
    return next(image.snapshots())


def other(image):
    """Return the largest snapshot that is not like the first: of another size, or with the state of a machine."""
    name, _, size, state, _ = first(image)
    others = [snapshot for snapshot in image.snapshots() if snapshot[2:4] != (size, state) and snapshot[0] != name]
    return max(others, key=lambda snapshot: snapshot[2], default=None)


def create(image):
    """snapshot create: one more view, of the disk."""
    if image.data_file:
        return None
    views = image.views()
    name = str(max([int(number) for number in views if number != "disk"] or [0]) + 1)
    state = image.view(image.size, image.l1)[1]
    return ["snapshot", "create", "IMAGE", "new"], {**views, name: ("new", image.size, 0, (views["disk"][1], state))}


def apply(image, which=first):
    """snapshot apply: the disk shows what the snapshot does."""
    if not image.nr_snapshots or not which(image):
        return None
    views = image.views()
    name, _, size, _, l1 = which(image)
    return ["snapshot", "apply", "IMAGE", name], {**views, "disk": (size, image.view(size, l1)[0])}


def delete(image, which=first):
    """snapshot delete: a view less."""
    if not image.nr_snapshots or not which(image):
        return None
    views = image.views()
    name = which(image)[0]
    return ["snapshot", "delete", "IMAGE", name], {key: view for key, view in views.items() if key != name}


def resize(by, *options):
    """Return an edit that changes the size."""
    def edit(image):
        size = image.size + by if by > -image.size else 512
        views = image.views()
        if image.version == 2 and image.nr_snapshots or image.crypt and size % image.cluster:
            return None
        if image.data_file and by > 8 << 20:    # in memory
            return None
        sign = "+" if by > 0 else "-"
        digest = image.digest(min(size, image.size))
        return (["resize", *options, "IMAGE", f"{sign}{abs(size - image.size)}"],
                {**views, "disk": (size, digest)})
    return edit


def rebase(image):
    """rebase: here to a copy of what was there, or of nothing."""
    if image.raw_data:
        return None
    shutil.copy("base-of-image", "a copy") if os.path.exists("base-of-image") else open("a copy", "wb").close()
    kind = "qcow2" if image.below and isinstance(image.below, qcow2.Image) else "raw"
    return ["rebase", "--unsafe", "--backing", f"./a copy,format={kind}", "IMAGE"], image.views()


def rebase_none(image):
    """rebase: what was below is gone."""
    if not image.below:
        return None
    below, image.below = image.below, None
    views = image.views()
    image.below = below
    return ["rebase", "--unsafe", "--no-backing", "IMAGE"], views


EDITS = {
    "create": create, "apply": apply, "delete": delete,
    "apply-other": lambda image: apply(image, other), "delete-other": lambda image: delete(image, other),
    "grow": resize(300 * 1024), "grow-far": resize(80 << 20), "grow-a-sector": resize(512),
    "shrink": resize(-(3 << 20) - 65536, "--shrink"), "shrink-a-bit": resize(-40 * 1024, "--shrink"),
    "rebase": rebase, "rebase-none": rebase_none,
}
OTHERS = ("external", "commit")       # each with a way of its own


# ---- Recording

def call(words, log=None):
    """Run qcow2ctl; return (exit code, what it said)."""
    if log and os.path.exists(log):
        os.unlink(log)
    env = dict(os.environ, LD_PRELOAD=RECORDER, QCOW2_RECORD=log) if log else os.environ
    done = subprocess.run([TOOL, *words], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)
    return done.returncode, done.stdout


# ---- Replay

class Replay:
    """The cuts of one edit of one image."""

    def __init__(self, old, log, views, seed):
        self.chance = random.Random(seed)
        self.log = [record for record in log]
        self.disk = Disk("cut", old)
        self.allowed = views
        self.cuts = 0
        self.group = []

    def look(self, disk, what):
        """Judge one state."""
        self.cuts += 1
        try:
            check(disk.path)
            views = qcow2.load(disk.path, disk.data).views()
            expect(views in self.allowed, f"neither old nor new: {views}, but {self.allowed}")
        except (Wrong, AssertionError, struct.error, MemoryError) as error:
            raise Wrong(f"{what}: {error}") from error
        return views

    def other_orders(self, base):
        """Try sets of the writes of a group that is complete now."""
        for _ in range(4 if FULL else 1):
            if len(self.group) < 2:
                return
            disk = Disk("other", base)
            for record in self.chance.sample(self.group, self.chance.randrange(1, len(self.group))):
                disk.apply(record)
            self.look(disk, "some writes of a group")

    def run(self):
        """Go through all cuts; return their number."""
        base = bytes(self.disk.data)
        for number, record in enumerate(self.log):
            op, _, offset, length, _ = record
            what = f"write {number} of {len(self.log)} ({op} at {offset:#x}, {length} bytes)"
            if op == "s":
                self.other_orders(base)
                base, self.group = bytes(self.disk.data), []
                continue
            self.group.append(record)
            for part in tears(length, offset, self.chance) if op == "w" else []:
                self.disk.apply(record, part)
                self.look(self.disk, f"{what} torn after {part} bytes")
            self.disk.apply(record)
            self.look(self.disk, what)
        return self.cuts


def one_edit(variety, name):
    """Do one edit on a copy of the image and cut it; return the number of cuts or None."""
    shutil.copy("image", "work")
    image = qcow2.load("work")
    plan = EDITS[name](image)
    if not plan:
        return None
    words, wanted = plan
    rc, said = call(["./work" if word == "IMAGE" else word for word in words], "log")
    if variety in ("counts-1", "counts-2-full") and name == "create":
        expect(rc == 9 and re.search("of (1 bit|2 bits) cannot hold one more", said), f"exit {rc}: {said}")
        expect(qcow2.load("work").views() == image.views(), "a refused edit changed something")
        check("work")
        return -1
    expect(rc == 0, f"exit {rc}: {said}")
    new = qcow2.load("work")
    expect(new.views() == wanted, f"result {new.views()}, expected {wanted}")
    if name.startswith("apply"):
        size, l1 = next((snapshot[2], snapshot[4]) for snapshot in image.snapshots() if snapshot[0] == words[-1])
        expect(new.view(new.size, new.l1)[1] == image.view(size, l1)[1], "the state of the machine is not the snapshot's")
    kept = [key for key in image.entries() if not name.startswith("delete") or key != words[-1]]
    expect(list(new.entries())[:len(kept)] == kept, "other snapshots, or in another order")
    expect(all(new.entries()[key] == image.entries()[key] for key in kept), "a snapshot table entry changed")
    expect(check("work") == 0, "leaks at the end")
    same_as_qemu("work", new)
    if name.startswith("rebase"):
        header_only(bytes(image.data), bytes(new.data), records("log"), image.cluster)
    return Replay(bytes(image.data), records("log"), [image.views(), wanted], f"{variety}/{name}").run()


def views_of_below(path, data=None):
    """Return the views of a backing file."""
    image = qcow2.load(path, data)
    return image.views() if isinstance(image, qcow2.Image) else (image.size, image.digest())


def one_commit(name):
    """Commit an image and cut that: the image never changes, the backing file at once or, raw, piece by piece."""
    old = {path: open(path, "rb").read() for path in ("image", "image.base", "image.data") if os.path.exists(path)}
    inodes = {os.stat(path).st_ino: path for path in old}
    top, below, is_raw = qcow2.load("image").views(), views_of_below("image.base"), old["image.base"][:4] != b"QFI\xfb"
    size, before = top["disk"][0], qcow2.load("image.base")
    rc, said = call(["commit", "image"], "log")
    expect(rc == 0, f"exit {rc}: {said}")
    emptied, merged = qcow2.load("image"), qcow2.load("image.base")
    expect(emptied.views() == top, "the image shows something else")
    expect(not any(emptied.l1), "the image is not empty")
    if "image.data" in old:
        expect(emptied.guest == bytes(size) + old["image.data"][size:], "the data file keeps what it had, or lost more")
    expect(merged.digest(min(merged.size, size)) == top["disk"][1], "the backing file shows something else")
    rest = max(0, before.size - size)
    expect(merged.read(size, rest) == before.read(size, rest), "the backing file changed behind the end of the image")
    wanted = views_of_below("image.base")
    if not is_raw:
        same_as_qemu("image.base", merged)
        expect({**wanted, "disk": 0} == {**below, "disk": 0}, "snapshots of the backing file changed")
    expect(check("image") == 0 and (is_raw or check("image.base") == 0), "leaks at the end")
    os.mkdir("cut.d")
    for path in glob.glob("image.base.base"):
        os.link(path, f"cut.d/{path}")
    disks = {inode: Disk(f"cut.d/{path}", old[path]) for inode, path in inodes.items()}
    cuts = 0
    for number, record in enumerate(records("log")):
        disk = disks[record[1]]
        for part in [*tears(record[3], record[2], random.Random(number)), None] if record[0] == "w" else [None]:
            disk.apply(record, part)
            what = f"write {number} ({record[0]} at {record[2]:#x} of {disk.path}) {part}"
            expect(qcow2.load("cut.d/image").views() == top, f"{what}: the image shows something else")
            if disk.path.endswith("image") or disk.path.endswith("base") and not is_raw:
                check(disk.path)
            if not is_raw:
                expect(views_of_below("cut.d/image.base") in (below, wanted), f"{what}: backing file: neither old nor new")
            cuts += 1
    shutil.rmtree("cut.d")
    return cuts


def one_variety(job):
    """Make an image in a folder of its own and do all its edits; return lines of results."""
    variety, edits, place = job
    results = []
    maker = VARIETIES.get(variety) or OVERLAYS[variety]
    with tempfile.TemporaryDirectory(dir=place if os.access(place, os.W_OK) else None) as folder:
        os.chdir(folder)
        try:
            maker(f"{folder}/image")
            if os.path.exists("image.base"):
                shutil.copy("image.base", "base-of-image")
            check("image")
        except (RuntimeError, Wrong) as error:
            return [(False, f"{variety}: image", str(error))]
        for name in edits:
            try:
                if name in OTHERS:
                    cuts = one_commit(variety) if name == "commit" else external.one_external(call)
                elif os.path.exists("image.data"):
                    cuts = datafile.one_data_edit(variety, name, EDITS[name], call)
                else:
                    cuts = one_edit(variety, name)
                if cuts:
                    results.append((True, f"{variety}: {name}: " + (f"{cuts} cuts" if cuts > 0 else "refused"), ""))
                elif cuts == 0:
                    results.append((False, f"{variety}: {name}", "nothing was written"))
            except Exception as error:  # pylint: disable=broad-except
                results.append((False, f"{variety}: {name}", f"{type(error).__name__}: {error}"))
        os.chdir("/")
    return results


def main():
    """Run all, in two processes; print KTAP."""
    wanted = [word.partition("/")[::2] for word in sys.argv[3:]] or [(name, "") for name in (*VARIETIES, *OVERLAYS)]
    # Two file systems: they differ in the unit of direct I/O.
    jobs = [(variety, [edit] if edit else ["rebase-none", "commit"] if variety in OVERLAYS else [*EDITS, "external"], place)
            for (variety, edit), place in zip(wanted, itertools.cycle(("/dev/shm", "/dev/shm", tempfile.gettempdir())))]
    failed = number = 0
    print("KTAP version 1")
    with multiprocessing.Pool(2, maxtasksperchild=1) as pool:
        for results in pool.imap(one_variety, jobs, chunksize=1):
            for good, name, text in results:
                number += 1
                failed += not good
                print(f"{'ok' if good else 'not ok'} {number} {name}", flush=True)
                for line in text.splitlines():
                    print(f"# {line[:1500]}")
    print(f"1..{number}")
    return 1 if failed or not number else 0


if __name__ == "__main__":
    sys.exit(main())
