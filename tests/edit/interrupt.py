#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""End qcow2ctl by a signal after each change that it makes to a file; a disk that is full; progress.

interrupt.py QCOW2CTL RECORDER [SMALL]        SMALL is a file system of 1500 KiB

SIGINT before the header's write: exit 1, a sentence, the old image with its old length. Later: as if
nothing had happened. SIGKILL at any time: the old image or the new one, no lock left, and the next
call does the whole edit. A repair is an edit, too; a check ends after any of its reads, or says what it always says.
"""

import json
import os
import pty
import shutil
import signal
import struct
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import qcow2  # noqa: E402 pylint: disable=wrong-import-position
from varieties import OVERLAYS, VARIETIES, create, io, run  # noqa: E402 pylint: disable=wrong-import-position

TOOL, RECORDER = map(os.path.abspath, sys.argv[1:3])
SMALL = os.path.abspath(sys.argv[3]) if len(sys.argv) > 3 else None
EDITS = (
    ("v2", ["snapshot", "create", "./work", "new"]), ("default", ["snapshot", "apply", "./work", "1"]),
    ("extended", ["snapshot", "delete", "./work", "1"]), ("longer-backing", ["resize", "./work", "+200M"]),
    ("sizes", ["resize", "--shrink", "./work", "1M"]), ("longer-backing", ["rebase", "--unsafe", "--no-backing", "work"]),
    ("data-extended-over-longer", ["resize", "./work", "+300K"]), ("data-raw", ["resize", "--shrink", "./work", "1M"]),
    ("larger-over-an-overlay", ["commit", "work"]), ("over-odd-raw", ["commit", "work"]),
)


def call(words, after=None, number=signal.SIGINT):
    """Run qcow2ctl; return (exit code, what it said)."""
    env = dict(os.environ, LD_PRELOAD=RECORDER)
    if after is not None:
        env.update(QCOW2_AFTER=str(after), QCOW2_SIGNAL=str(int(number)))
    done = subprocess.run([TOOL, *words], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)
    return done.returncode, done.stdout


def expect(condition, text):
    """Complain unless condition."""
    if not condition:
        raise RuntimeError(text)


def fresh():
    """Put the images where the edit is done."""
    shutil.copy("image", "work")
    for path in ("image.base", "image.data"):
        if os.path.exists(f"saved-{path}"):
            shutil.copy(f"saved-{path}", path)


def lengths():
    """Return how long the files are that an edit may make longer."""
    return [os.path.getsize(path) for path in ("work", "image.data") if os.path.exists(path)]


def clean(path):
    """Let qemu-img look for errors."""
    rc = subprocess.run(["qemu-img", "check", "-q", "-f", "qcow2", path], check=False).returncode
    expect(rc in (0, 3), f"qemu-img check: exit {rc}")


def cut(words, number, views, length):
    """Send a signal after each change; return how many changes there are."""
    old, new = views
    for after in range(1000):
        fresh()
        rc, said = call(words, after, number)
        found, what = qcow2.load("work").views(), f"signal {number} after change {after}: "
        clean("work")
        expect(found in views, what + "neither old nor new")
        if number == signal.SIGKILL and rc == -number:
            if found == old:
                rc, said = call(words)
                expect(rc == 0 and qcow2.load("work").views() == new, f"{what}not done a second time: {rc}: {said}")
                clean("work")
        elif rc == 1:
            expect("interrupted (INT)" in said, f"{what}exit {rc}: {said}")
            expect(found == old and lengths() == length, what + "not as it was")
        else:
            expect(rc == 0 and not said and found == new, f"{what}exit {rc}: {said}")
            if after >= changes(words):
                return after
    raise RuntimeError("it never ends")


def changes(words, known={}):  # pylint: disable=dangerous-default-value
    """Return how many changes an edit makes."""
    key = (os.getcwd(), *words)
    if key not in known:
        fresh()
        if os.path.exists("log"):
            os.unlink("log")
        env = dict(os.environ, LD_PRELOAD=RECORDER, QCOW2_RECORD="log")
        subprocess.run([TOOL, *words], env=env, check=True, stdout=subprocess.DEVNULL)
        with open("log", "rb") as file:
            data, at, count = file.read(), 0, 0
        while at < len(data):
            op = data[at]
            count += op != ord("s")
            at += 32 + (int.from_bytes(data[at + 24:at + 32], sys.byteorder) if op == ord("w") else 0)
        known[key] = count
    return known[key]


def signals(variety, words):
    """All signals of one edit."""
    (VARIETIES.get(variety) or OVERLAYS[variety])("image")
    for path in ("image.base", "image.data"):
        if os.path.exists(path):
            shutil.copy(path, f"saved-{path}")
    fresh()
    old, before = qcow2.load("work").views(), lengths()
    expect(call(words)[0] == 0, "does not work")
    views = (old, qcow2.load("work").views())
    expect(changes(words) > 0, "changes nothing")
    for number in (signal.SIGINT, signal.SIGKILL):
        cut(words, number, views, before)


def damaged(path, kind):
    """Make an image with counts and flags that are wrong; what it shows is not."""
    VARIETIES[kind](path)
    image = qcow2.load(path)
    data = bytearray(image.data)
    block, = struct.unpack_from(">Q", data, struct.unpack_from(">Q", data, 48)[0])
    end = len(data) // image.cluster
    data += bytes(8 * image.cluster)
    for cluster in range(min(end + 8, image.cluster // 2)):
        used = data[block + 2 * cluster:block + 2 * cluster + 2] != b"\0\0"
        if cluster % 3 == 2:
            struct.pack_into(">H", data, block + 2 * cluster, 0 if used else 1)
    table = image.l1[0] & qcow2.OFFSET
    for number in range(0, 40, 2):
        entry, = struct.unpack_from(">Q", data, table + 8 * number)
        struct.pack_into(">Q", data, table + 8 * number, entry ^ (1 << 63 if entry & qcow2.OFFSET else 0))
    with open(path, "wb") as file:
        file.write(data)
    expect(qcow2.load(path).views() == image.views(), "it shows something else")


def verdict(path="work"):
    """Return what check says."""
    return call(["check", f"./{path}"])


def repairs(kind):
    """Signals while an image is repaired: as it was, or mended; and a second repair does what is left."""
    damaged("image", kind)
    shutil.copy("image", "work")
    views, before, length = qcow2.load("image").views(), verdict(), os.path.getsize("image")
    words = ["repair", "./work"]
    expect(before[0] == 2, f"check of the damaged image: exit {before[0]}")
    number = changes(words)
    expect(number > 1 and verdict()[0] == 0, "not repaired")
    interrupted = 0
    for which in (signal.SIGINT, signal.SIGKILL):
        for after in range(number):
            shutil.copy("image", "work")
            rc, said = call(words, after, which)
            what = f"signal {which} after change {after}: "
            expect(qcow2.load("work").views() == views, what + "shows something else")
            if which == signal.SIGINT and rc == 1:
                interrupted += 1
                expect("interrupted (INT)" in said, f"{what}{said}")
                expect(verdict() == before and os.path.getsize("work") == length, f"{what}not as it was: {verdict()}")
            elif which == signal.SIGINT:
                expect(rc == 0 and said.startswith("repaired: "), f"{what}exit {rc}: {said}")
                expect(verdict()[0] == 0, what + "not repaired")
            else:
                expect(rc == -which, f"{what}exit {rc}: {said}")
            if rc:
                rc, said = call(words)
                expect(rc == 0, f"{what}not repaired a second time: exit {rc}: {said}")
            clean("work")
            expect(verdict()[0] == 0 and qcow2.load("work").views() == views, what + "not repaired in the end")
    expect(interrupted > 0, "no signal interrupted it")


def looks(words):
    """SIGINT after each read of a command that only looks: exit 1 and a sentence, or what it says without; no image changes."""
    with open("work", "rb") as file:
        old = file.read()
    whole, interrupted = call(words), 0
    os.environ["QCOW2_READS"] = "1"
    try:
        for after in range(1000):
            rc, said = call(words, after)
            if rc == 1:
                interrupted += 1
                expect(f"cannot {words[0]}: interrupted (INT)\n" in said, f"{words} after read {after}: {said}")
            else:
                expect((rc, said) == whole, f"{words} after read {after}: exit {rc}: {said}")
            if rc != 1 and after > 100:
                break
    finally:
        del os.environ["QCOW2_READS"]
    with open("work", "rb") as file:
        expect(file.read() == old, f"{words} wrote")
    expect(interrupted > 0, f"no signal interrupted {words}")


def checks(kind):
    """A check is interrupted."""
    damaged("work", kind)
    looks(["check", "./work"])
    expect(call(["repair", "./work"])[0] == 0, "somebody has a lock")


def maps(variety):
    """So are map and measure."""
    VARIETIES[variety]("work")
    for words in (["map", "./work"], ["map", "--json", "./work"], ["measure", "./work"]):
        looks(words)


def full():
    """A file system without space: exit 8, and the old image."""
    os.chdir(SMALL)
    create("image", "cluster_size=4k", 64 << 20)
    io("image", *(f"write -P 1 {2 * number}M 4k" for number in range(28)))
    with open("rest", "wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            pass
    old, length = qcow2.load("image").views(), os.path.getsize("image")
    words = ["snapshot", "create", "./image", "new"]
    rc, said = call(words)
    expect(rc == 8 and "No space left" in said, f"exit {rc}: {said}")
    clean("image")
    expect(qcow2.load("image").views() == old, "not as it was")
    expect(os.path.getsize("image") == length, "longer than it was")
    os.unlink("rest")
    rc, said = call(words)
    expect(rc == 0, f"with space again: exit {rc}: {said}")
    clean("image")


def progress():
    """Lines for programs, and a bar on a terminal, of an edit that takes a while."""
    create("base", "cluster_size=512", 60 << 20)
    create("over", "cluster_size=512", 60 << 20, b="base", F="qcow2")
    io("over", "write -P 3 0 30M")
    shutil.copy("over", "again")
    done = subprocess.run([TOOL, "commit", "--progress=json", "over"], stderr=subprocess.PIPE, text=True, check=True)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    expect(all(set(line) == {"step", "done", "total"} and line["done"] <= line["total"] for line in lines), f"{lines}")
    expect(len(lines) > 1 and lines[-1]["done"] == lines[-1]["total"], f"{lines}")
    rc, said = call(["snapshot", "create", "--progress=json", "./base", "new"], 0)
    expect(rc == 1 and '"done":1' not in said, f"interrupted, and complete: {rc}: {said}")
    master, slave = pty.openpty()
    with subprocess.Popen([TOOL, "commit", "again"], stderr=slave) as process:
        os.close(slave)
        text = b""
        while True:
            try:
                part = os.read(master, 4096)
            except OSError:
                break
            if not part:
                break
            text += part
    expect(process.returncode == 0 and b"=" in text and b"%" in text, f"no bar: {text}")
    expect(text.endswith(b"\r"), "the bar stays")


def main():
    """Run all; print KTAP."""
    failed = number = 0
    print("KTAP version 1")
    cases = [(f"{' '.join(words)} of {variety}", signals, (variety, words)) for variety, words in EDITS]
    cases += [("repair of damaged 4k", repairs, ("4k",)), ("check of damaged v2", checks, ("v2",)), ("map and measure", maps, ("4k",))]
    cases += [("full disk", full, ()) if SMALL else ("full disk # SKIP may not mount", int, ()),
              ("progress", progress, ())]
    for name, function, arguments in cases:
        with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as folder:
            os.chdir(folder)
            number += 1
            try:
                function(*arguments)
                print(f"ok {number} {name}", flush=True)
            except Exception as error:  # pylint: disable=broad-except
                failed += 1
                print(f"not ok {number} {name}", *f"{type(error).__name__}: {error}".splitlines(), sep="\n# ", flush=True)
            os.chdir("/")
    print(f"1..{number}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
