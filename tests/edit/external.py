# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""Cut snapshot create --external: the image never changes; there is no overlay, or one that shows the same disk."""

import glob
import os
import random
import shutil
import signal
import subprocess

import qcow2
from disks import Disk, check, expect, records, same_as_qemu, tears

WORDS = ["snapshot", "create", "--external", "over", "./work"]


def judge(path, old, wanted, what):
    """Look at an image and perhaps an overlay."""
    with open("work", "rb") as file:
        expect(file.read() == old, f"{what}: the image changed")
    if not os.path.exists(path):
        return
    if not qcow2.load("work").crypt:
        check(path)
    else:                                # QEMU opens no encrypted backing file without its key
        alone = f'json:{{"driver": "qcow2", "file": {{"driver": "file", "filename": "{path}"}}, "backing": null}}'
        done = subprocess.run(["qemu-img", "check", "-q", alone], check=False)
        expect(done.returncode == 0, f"{what}: qemu-img check: exit {done.returncode}")
    views = qcow2.load(path).views()
    expect(views == {"disk": wanted}, f"{what}: the overlay shows {views}, not {wanted}")


def replay(log, old, wanted):
    """Go through all prefixes of what was done; return their number."""
    inode, disk, durable, named, cuts = os.stat("work").st_ino, Disk("prefix", b""), b"", False, 0
    for number, record in enumerate(log):
        op, what = record[0], f"step {number} of {len(log)} ({record[0]} at {record[2]:#x}, {record[3]} bytes)"
        expect(op == "s" or record[1] != inode, f"{what}: it is done to the image")
        if op == "l":
            # All that lasts is what was there at the last barrier.
            disk, named = Disk("prefix", durable), True
        elif op == "s":
            durable = bytes(disk.data)
        else:
            for part in tears(record[3], record[2], random.Random(number)) if op == "w" else []:
                disk.apply(record, part)
                cuts += 1
                if named:
                    judge(disk.path, old, wanted, f"{what} torn after {part} bytes")
            disk.apply(record)
        cuts += 1
        if named:
            judge(disk.path, old, wanted, what)
    expect(named, "the overlay got no name")
    return cuts


def killed(call, old, wanted, steps):
    """Kill it after each step; return how often it was."""
    for after in range(steps):
        for path in glob.glob("over*"):
            os.unlink(path)
        os.environ.update(QCOW2_AFTER=str(after), QCOW2_SIGNAL=str(int(signal.SIGKILL)))
        try:
            rc, said = call(WORDS, "log")
        finally:
            del os.environ["QCOW2_AFTER"], os.environ["QCOW2_SIGNAL"]
        expect(rc == -signal.SIGKILL, f"killed after step {after}: exit {rc}: {said}")
        judge("over", old, wanted, f"killed after step {after}")
        expect(os.path.exists("over") == (after == steps - 1), f"killed after step {after}: the name comes too early or too late")
    return steps


def one_external(call):
    """Put an overlay over a copy of the image and cut that; return the number of cuts."""
    shutil.copy("image", "work")
    for path in glob.glob("over*"):
        os.unlink(path)
    image = qcow2.load("work")
    old, wanted = bytes(image.data), image.views()["disk"]
    rc, said = call(WORDS, "log")
    if image.data_file:
        expect(rc == 9 and "external data file" in said, f"exit {rc}: {said}")
        judge("over", old, wanted, "refused")
        expect(not os.path.exists("over"), "refused, and an overlay is there")
        return -1
    expect(rc == 0, f"exit {rc}: {said}")
    log = list(records("log"))
    judge("over", old, wanted, "at the end")
    over = qcow2.load("over")
    expect(over.backing == os.path.realpath("work"), f"its backing file is {over.backing}")
    if not image.crypt:
        same_as_qemu("over", over)
    return replay(log, old, wanted) + killed(call, old, wanted, sum(record[0] != "s" for record in log))
