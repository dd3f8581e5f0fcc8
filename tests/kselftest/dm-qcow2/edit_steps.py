#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""Disturb qcow2ctl at each step of an edit of an attached device; see that it runs again, old or new.

edit_steps.py QCOW2CTL EDIT_STEP.SO NAME IMAGE kill|both|int|fail EDIT...

kill	it is killed after the step: the guardian has 2 s and the time of an undisturbed edit, 10 s at most
both	the guardian is killed too, and `recover` makes the device run
int	SIGINT after the step: all is as it was, or the edit is done to its end
fail	the step fails: an error, and the device runs

With EDIT_FROM=STEP the steps before the first of that name are left alone. It is killed at every step; else some of many
equal ones in a row are left out, unless EDIT_EVERY is set.
EDIT is create, delete, apply, grow, shrink, repair, external or device (external, on one of the block
devices that EDIT_DEVICES has). What both and int do before the guardian is there is what kill does, so it is not tried.
"""

import errno
import fcntl
import mmap
import os
import signal
import struct
import subprocess
import sys
import time

TOOL, PRELOAD, NAME, IMAGE, MODE = sys.argv[1:6]
DO = {"int": str(int(signal.SIGINT)), "fail": str(-errno.EIO)}.get(MODE, MODE)
DEVICE = f"/dev/mapper/{NAME}"
INTENT, LOCK = f"/run/qcow2ctl/{NAME}.intent", f"/run/qcow2ctl/{NAME}.lock"
MIB = 1 << 20
# The first step that is disturbed; whether none is left out.
FROM, EVERY = os.environ.get("EDIT_FROM"), MODE == "kill" or bool(os.environ.get("EDIT_EVERY"))
# All that may be left to do while the device is suspended: what can fail in other ways comes before.
LATE = {"lock", "send", "write", "header", "zero", "barrier", "sync", "truncate", "discard", "load", "suspend"}
PLACES = range(0, 12 * MIB, 3 * MIB)    # of what is written to a device that nobody has open
SYS = f"/sys/dev/block/{os.major(os.stat(DEVICE).st_rdev)}:{os.minor(os.stat(DEVICE).st_rdev)}"


class Wrong(Exception):
    """What is not as it should be."""


def tool(*words, **env):
    """Run qcow2ctl; return (exit code, what it said)."""
    with open("said", "w+", encoding="utf-8") as said:
        code = subprocess.run([TOOL, *words], env=dict(os.environ, **env), stdin=subprocess.DEVNULL,
                              stdout=said, stderr=said, check=False).returncode
        said.seek(0)
        return code, said.read()


def does(*words):
    """Run qcow2ctl, which has to succeed."""
    code, said = tool(*words)
    if code:
        raise Wrong(f"{' '.join(words)}: exit {code}: {said}")


def file(path):
    """Return the content of a small file."""
    with open(path, encoding="ascii") as opened:
        return opened.read().strip()


def is_suspended():
    """Say whether the device is suspended."""
    return file(f"{SYS}/dm/suspended") == "1"


def read(place, form, at=0):
    """Return a number that is on disk at the byte place + at of the image."""
    fd = os.open(IMAGE, os.O_RDONLY | os.O_DIRECT)
    try:
        block = mmap.mmap(-1, 4096)
        os.preadv(fd, [block], place)
        return struct.unpack_from(form, block, at)[0]
    finally:
        os.close(fd)


def disk_size():
    """Return the bytes of the disk."""
    return read(0, ">Q", 24)


def device_size():
    """Return the bytes of the device."""
    return int(file(f"{SYS}/size")) * 512


def fill(byte):
    """Write one byte all over the places of the device."""
    fd = os.open(DEVICE, os.O_RDWR | os.O_DIRECT)
    data = mmap.mmap(-1, 65536)
    data[:] = bytes([byte]) * 65536
    for place in PLACES:
        os.pwritev(fd, [data], place)
    os.fsync(fd)
    os.close(fd)


def content():
    """Return the one byte that is at all places."""
    fd = os.open(DEVICE, os.O_RDONLY | os.O_DIRECT)
    data, found = mmap.mmap(-1, 65536), set()
    for place in PLACES:
        os.preadv(fd, [data], place)
        piece = data[:]
        found |= {piece[0]} if piece == piece[:1] * len(piece) else set(piece)
    os.close(fd)
    if len(found) != 1:
        raise Wrong(f"the device shows a mixture of {sorted(found)}")
    return found.pop()


class Edit:
    """An edit that may be done again and again."""

    needs = {"lock", "header", "barrier"}       # steps without which it is no such edit

    def __init__(self):
        self.nr = 0

    def arrange(self):
        """Make the image fit for the edit."""

    def mend(self):
        """Do what the administrator does after an error."""

    def words(self):
        """Return the words of the command."""
        raise NotImplementedError

    def look(self):
        """Return what is there: to be the same as before the edit, or as after it."""
        return read(0, ">I", 60)


class Create(Edit):
    """A snapshot more."""

    def words(self):
        return ["snapshot", "create", NAME, f"{MODE}{self.nr}"]


class Delete(Edit):
    """A snapshot less."""

    others = None

    def arrange(self):
        if self.others is None:
            self.others = self.look()
        if self.look() == self.others:
            does("snapshot", "create", NAME, "gone")

    def words(self):
        return ["snapshot", "delete", NAME, "gone"]


class Sized(Edit):
    """An edit that changes the size of disk and device."""

    def look(self):
        size = disk_size()
        if size != device_size():
            raise Wrong(f"the disk has {size} bytes and its device {device_size()}")
        return size


class Grow(Sized):
    """A larger disk. If its device could not be made longer, the same command does that later."""

    def mend(self):
        if device_size() < disk_size():
            does("resize", NAME, str(disk_size()))

    def words(self):
        return ["resize", NAME, "+1M"]


class Shrink(Sized):
    """A smaller disk; nobody has it open."""

    def arrange(self):
        if not self.nr:
            fill(77)
        if disk_size() < 24 * MIB:
            does("resize", NAME, "48M")

    def words(self):
        return ["resize", "--shrink", NAME, "-1M"]

    def look(self):
        if content() != 77:
            raise Wrong("the rest of the disk has changed")
        return super().look()


class Apply(Sized):
    """Back to a snapshot with a smaller disk."""

    small = 0

    def arrange(self):
        if not self.small:
            fill(200)
            does("snapshot", "create", NAME, f"small-{MODE}")
            self.small = disk_size()
        if disk_size() == self.small:
            does("resize", NAME, "+3M")
        fill(100 + self.nr)

    def words(self):
        return ["snapshot", "apply", NAME, f"small-{MODE}"]

    def look(self):
        size, found = super().look(), content()
        if (size == self.small) != (found == 200):
            raise Wrong(f"a disk of {size} bytes shows {found}")
        return size


class Repair(Edit):
    """The count of the header's cluster is one too many, and is put right."""

    def arrange(self):
        if self.look() == 1:
            # Whoever changes metadata does it while nobody has it in memory.
            subprocess.run(["dmsetup", "suspend", NAME], check=True)
            with open(IMAGE, "r+b") as image:
                image.seek(read(read(0, ">Q", 48), ">Q"))
                image.write(b"\0\2")
                os.fsync(image.fileno())
            subprocess.run(["dmsetup", "resume", NAME], check=True)

    def words(self):
        return ["repair", NAME]

    def look(self):
        return read(read(read(0, ">Q", 48), ">Q"), ">H")


class External(Edit):
    """An overlay on top. One that did not get there is gone."""

    needs = {"load", "link"}

    def words(self):
        return ["snapshot", "create", "--external", os.path.abspath(f"{MODE}{self.nr}.qcow2"), NAME]

    def look(self):
        table = subprocess.run(["dmsetup", "table", NAME], stdout=subprocess.PIPE, check=True, text=True).stdout
        left = [name for name in os.listdir() if name.startswith(MODE) and os.path.abspath(name) not in table.split()]
        # That it cannot be removed is one of the steps that fail.
        if left and MODE != "fail":
            raise Wrong(f"{left} left behind: {table}")
        return int(table.split()[3])


class Device(External):
    """The same on a block device. One that did not get on top is no image any more."""

    needs = {"load"}

    def __init__(self):
        super().__init__()
        self.paths = os.environ["EDIT_DEVICES"].split()

    def words(self):
        free = next(path for path in self.paths if not self.is_image(path))
        return ["snapshot", "create", "--external", free, NAME]

    @staticmethod
    def is_image(path):
        """Is there a header?"""
        with open(path, "rb", buffering=0) as device:
            os.posix_fadvise(device.fileno(), 0, 4096, os.POSIX_FADV_DONTNEED)
            return device.read(512)[:4] == b"QFI\xfb"

    def look(self):
        layers = super().look()
        table = subprocess.run(["dmsetup", "table", NAME], stdout=subprocess.PIPE, check=True, text=True).stdout.split()
        if left := [path for path in self.paths if self.is_image(path) and path not in table]:
            raise Wrong(f"an image is left on {left}: {table}")
        return layers


def wait_for(seconds):
    """Wait until the device runs, and return the time it took."""
    start = time.monotonic()
    while is_suspended() or os.path.exists(INTENT):
        if time.monotonic() - start > seconds:
            raise Wrong(f"after {seconds:.1f} s: suspended {is_suspended()}, intent {os.path.exists(INTENT)}")
        time.sleep(0.005)
    took = time.monotonic() - start
    with open(LOCK, "a", encoding="ascii") as lock:     # the guardian has it until he ends
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return took
            except BlockingIOError:
                if time.monotonic() - start > 10:
                    raise Wrong("the guardian does not end") from None
                time.sleep(0.005)


def chosen(steps):
    """Return the numbers of the steps to be disturbed: all, or of many equal ones in a row the first and the last two."""
    first = steps.index(FROM or "fork") if FROM or MODE in ("both", "int") else 0
    return [at for at in range(first, len(steps))
            if EVERY or at < 1 or len(set(steps[at - 1:at + 3])) > 1 or at + 2 >= len(steps)]


def judge_order(steps):
    """While the device is suspended, nothing is done that could have been done before."""
    suspended = False
    for at, step in enumerate(steps):
        if step in ("suspend", "resume"):
            suspended = step == "suspend"
        elif suspended and step not in LATE:
            raise Wrong(f"step {at} ({step}) while the device is suspended: {steps}")
    if "fork" not in steps[:steps.index("suspend")]:
        raise Wrong(f"no guardian when the device is suspended: {steps}")


def disturb(edit, at, seconds):
    """Disturb the edit at one step; return (was it suspended then, seconds until it ran again)."""
    edit.nr += 1
    edit.arrange()
    before = edit.look()
    code, said = tool(*edit.words(), LD_PRELOAD=PRELOAD, EDIT_AT=str(at), EDIT_DO=DO)
    hit = is_suspended()
    # What could not be forgotten is found again, and nothing is to be done.
    if MODE == "both" and code or MODE == "fail" and not code and os.path.exists(INTENT):
        does("recover")
    took = wait_for(seconds if MODE == "kill" else 0)
    if MODE == "fail" and code:
        edit.mend()
    after = edit.look()
    if MODE in ("kill", "both"):
        wrong = code not in (0, -signal.SIGKILL)
    else:
        wrong = code not in (0, 1) or (code > 0) != ("cannot" in said)
    if wrong:
        raise Wrong(f"exit {code}: {said}")
    if code == 0 and after == before:
        raise Wrong(f"exit 0, and still {before}: {said}")
    if MODE == "int" and code and (after != before or "interrupted (INT)" not in said):
        raise Wrong(f"{before} is now {after}: {said}")
    return hit, took


def all_steps(edit):
    """Disturb one step after the other; return (how many, how often suspended, seconds at most)."""
    edit.arrange()
    start = time.monotonic()
    code, said = tool(*edit.words(), LD_PRELOAD=PRELOAD, EDIT_STEPS="steps")
    seconds = min(10.0, 2 + time.monotonic() - start)
    steps = file("steps").splitlines()
    if code or not edit.needs | {"suspend"} <= set(steps):
        raise Wrong(f"undisturbed: exit {code}: {said} {steps}")
    judge_order(steps)
    wait_for(0)
    worst, hits, some = 0.0, 0, chosen(steps)
    for at in some:
        try:
            hit, took = disturb(edit, at, seconds)
        except Wrong as error:
            raise Wrong(f"step {at} ({steps[at]}): {error}") from None
        hits, worst = hits + hit, max(worst, took)
    return f"{len(some)} steps, {some[-1] + 1 - some[0] - len(some)} between equal ones left out", hits, worst


def main():
    """Run all edits."""
    for name in sys.argv[6:]:
        start = time.monotonic()
        try:
            steps, hits, worst = all_steps({kind.__name__.lower(): kind for kind in (
                Create, Delete, Grow, Shrink, Apply, Repair, External, Device)}[name]())
        except Wrong as error:
            print(f"# {name}: {error}")
            return 1
        print(f"# {name}: {steps}, {hits} times suspended after it, runs again after {worst:.2f} s at most "
              f"({time.monotonic() - start:.0f} s)", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
