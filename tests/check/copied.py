#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""The flag COPIED, wrong in one entry: check says so as qemu-img check does, repair puts it right and changes nothing else.

copied.py FOLDER

An image with two snapshots has entries of both kinds: those that only the disk has, which must have the flag, and those
that a snapshot has too, which must not. One of L1 and one of L2 is turned over, for each kind.
"""

import os
import sys

sys.dont_write_bytecode = True
import images  # noqa: E402 pylint: disable=wrong-import-position
from ktap import Ktap, ours, qemu  # noqa: E402 pylint: disable=wrong-import-position

COPIED = 1 << 63


def places(path):
    """Return {(table, must it have the flag): place of an entry}."""
    image = images.Metadata(path)
    found = {}
    for index in range(image.l1_size):
        place = image.l1 + 8 * index
        entry = image.word(place)
        if entry & images.OFFSET:
            found.setdefault(("L1", bool(entry & COPIED)), place)
        table = entry & images.OFFSET
        # A table that a snapshot has too shares all that is in it.
        for at in range(table, table + image.cluster, image.entry) if entry & COPIED else ():
            if image.word(at) & images.OFFSET and not image.word(at) & images.COMPRESSED:
                found.setdefault(("L2", bool(image.word(at) & COPIED)), at)
    return found


def make(path, *options):
    """Make an image of which some is shared with snapshots: tables, clusters in a table of its own, and what is new."""
    images.create(path, 6 * images.MIB, "cluster_size=4k", *options)
    images.write(path, "1 0 128k", "2 5M 8k")
    images.snapshot(path, "one", "two")
    images.write(path, "3 64k 32k")


def turned(path, place):
    """Return what is wrong with check and repair of an image with one flag turned over."""
    copy = f"{path}.turned"
    image = images.Metadata(path)
    before = image.word(place)
    image.put(place, before ^ COPIED)
    with open(copy, "wb") as file:
        file.write(image.data)
    mine, theirs = ours("check", copy), qemu("check", "-f", "qcow2", "--output=json", copy)
    counts, problems = theirs.json() or {}, []
    if theirs.code != 2 or counts.get("corruptions") != 1 or counts.get("leaks", 0):
        problems.append(f"qemu-img finds something else: {theirs}")
    if mine.code != 2 or "COPIED is wrong" not in mine.out:
        problems.append(f"check: {mine}")
    found = ours("check", "--json", copy).json() or {}
    if (found.get("errors"), found.get("leaks")) != (1, 0):
        problems.append(f"check --json: {found}")
    problems += repaired(path, copy)
    return problems


def repaired(path, copy):
    """Repair a copy; return what is wrong then."""
    problems = []
    repair = ours("repair", copy)
    if repair.code or repair.out != "repaired: errors 1, leaks 0\n" or repair.err:
        problems.append(f"repair: {repair}")
    theirs, mine = qemu("check", "-f", "qcow2", copy), ours("check", copy)
    if theirs.code or mine.code:
        problems.append(f"after the repair: {theirs}{mine}")
    for words in ((), ("-l", "snapshot.id=1"), ("-l", "snapshot.id=2")):
        both = []
        for image in (path, copy):
            qemu("convert", "-f", "qcow2", "-O", "raw", *words, image, f"{copy}.raw")
            with open(f"{copy}.raw", "rb") as file:
                both.append(file.read())
            os.unlink(f"{copy}.raw")
        if both[0] != both[1]:
            problems.append(f"it shows something else: {words or 'disk'}")
    return problems


def main():
    """Run copied.py."""
    folder = os.path.realpath(sys.argv[1])
    ktap = Ktap()
    for name, options in (("v3", ()), ("v2", ("compat=0.10",)), ("counts of 64 bits", ("refcount_bits=64",))):
        path = f"{folder}/{name}"
        make(path, *options)
        found = places(path)
        for table in ("L1", "L2"):
            for flag in (True, False):
                what = f"{name}: {table} entry {'that lost the flag' if flag else 'that has the flag and must not'}"
                ktap.result(what, turned(path, found[table, flag]) if (table, flag) in found else ["no such entry"])
        ktap.result(f"{name}: none", [] if ours("repair", path).out == "nothing to repair\n" else ["repaired without need"])
    ktap.end()


if __name__ == "__main__":
    main()
