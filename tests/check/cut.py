#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""Repairs that are cut off at each of their writes: the image is as it was, or mended.

cut.py FOLDER LIBRARY      LIBRARY is cut.c, compiled
"""

import hashlib
import itertools
import json
import os
import re
import shutil
import sys

sys.dont_write_bytecode = True
import images  # noqa: E402 pylint: disable=wrong-import-position
from damage import damage  # noqa: E402 pylint: disable=wrong-import-position
from ktap import FULL, QCOW2CTL, Call, Ktap, ours, qemu  # noqa: E402 pylint: disable=wrong-import-position

SEEDS = 40 if FULL else 1
NAMES = ("plain", "clusters512", "clusters4k", "odd", "v2", "bits1", "bits8", "bits64", "snapshots", "snapshots_v2", "snapshots4k",
         "snapshots_bits64", "zeroes", "zeroes4k", "overlay", "overlay_v2", "compressed", "zstd", "compressed_snapshots",
         "subclusters", "subclusters16k", "bitmaps", "external", "preallocated", "unclean")


def content(path, *words):
    """Return a digest of what a disk or a snapshot shows, or that it cannot be read."""
    done = qemu("convert", "--salvage", "-f", "qcow2", "-O", "raw", *words, path, f"{path}.raw")
    if done.code:
        return f"not readable: exit {done.code}"
    with open(f"{path}.raw", "rb") as file:
        return hashlib.blake2b(file.read()).hexdigest()


def state(path):
    """Return what check says of an image, and what it holds."""
    found = ours("check", "--json", path)
    return found.code, found.out, contents(path)


def contents(path):
    """Return digests of the disk and of all snapshots."""
    snapshots = ((qemu("info", "-f", "qcow2", "--output=json", path).json() or {}).get("snapshots") or ()
                 if images.Metadata(path).nb_snapshots else ())
    return {"": content(path), **{row["id"]: content(path, "-l", f"snapshot.id={row['id']}") for row in snapshots}}


def cut(library, number, size, *words):
    """Run qcow2ctl until its change with that number."""
    return Call("env", f"LD_PRELOAD={library}", f"CUT={number}", f"CUT_BYTES={size}", QCOW2CTL, *words)


def replay(path, library, *words):
    """Cut a repair at all its changes; return (number of cuts, problems)."""
    copy = f"{path}.cut"
    shutil.copy(path, copy)
    before = state(copy)
    whole = cut(library, 0, 0, "repair", *words, copy)
    after = state(copy)
    changes = re.search(r"changes: (\d+)", whole.err)
    if whole.code or not changes:
        return 0, [str(whole)]
    problems, cuts = [], 0
    for number in range(1, int(changes.group(1)) + 1):
        for size in (0, 512):
            shutil.copy(path, copy)
            done = cut(library, number, size, "repair", *words, copy)
            if done.code == 100:
                problems.append(f"cut at {number}: no {size} bytes can be written here, for direct I/O has larger units")
                break
            cuts += 1
            grown = os.stat(copy).st_size > os.stat(path).st_size
            now = state(copy)
            mended = now[0] == 0 and now[2] == after[2]
            again = ours("repair", *words, copy)
            # A file that became longer has other errors at what lay behind its end, but the same content.
            same = (now[0], now[2]) == (before[0], before[2]) if grown else now == before
            if done.code not in (98, 99) or not (mended or same or between(before, now, after)):
                problems.append(f"cut at {number} after {size} bytes: {done}before {before[:2]}\nnow {now[:2]}")
            elif again.code or contents(copy) != after[2]:
                problems.append(f"cut at {number} after {size} bytes, repaired once more: {again}")
            if done.code == 98:
                break           # it has no bytes to be torn
    return cuts, problems


def between(before, now, after):
    """Is it mended but for flags, after the first of several rounds?"""
    left, there = json.loads(now[1]), json.loads(before[1])
    return now[2] == after[2] and now[0] in (2, 3) and left["errors"] + left["leaks"] < there["errors"] + there["leaks"]


def main():
    """Run cut.py."""
    folder, library = sys.argv[1], sys.argv[2]
    ktap = Ktap()
    for name, path in images.make(folder, NAMES).items():
        problems, cuts = [], 0
        seeds = itertools.count()
        for _ in range(SEEDS):
            count, found = 0, []
            # Some damage is none, and some is beyond repair.
            while not count and not found:
                done = damage(path, f"{name}{next(seeds)}", f"{path}.damaged")
                if ours("check", f"{path}.damaged").code in (0, 2, 3):
                    count, found = replay(f"{path}.damaged", library)
            cuts += count
            problems += [f"{[text for _, _, text in done]}\n{problem}" for problem in found]
        ktap.result(f"{name}: {cuts} cuts", problems)
    path = images.make(folder, ["plain"])["plain"]
    lead_beyond(path)
    count, problems = replay(path, library)
    ktap.result(f"places behind the end that old entries lead to: {count} cuts", problems if count else ["nothing was written"])
    path = images.make(folder, ["snapshots"])["snapshots"]
    leak(path)
    count, problems = replay(path, library, "--leaks")
    ktap.result(f"leaks only: {count} cuts", problems if count else ["nothing was written"])
    os.unlink(path)
    ktap.end()


def lead_beyond(path):
    """Let entries lead to the clusters behind the end of the file: they read as zeros, and have to until the end."""
    image = images.Metadata(path)
    table = image.word(image.l1) & images.OFFSET
    end = -(-len(image.data) // image.cluster)
    for i in range(6):
        image.put(table + 8 * (40 + i), (end + i) * image.cluster | 1 << 63)
    with open(path, "wb") as file:
        file.write(image.data)


def leak(path):
    """Count free clusters of an image as used."""
    image = images.Metadata(path)
    block = image.word(image.reftable)
    for cluster in range(image.cluster // 2):
        offset = block + 2 * cluster
        if image.data[offset:offset + 2] == b"\0\0" and cluster % 3 == 0 and cluster * image.cluster < len(image.data) * 2:
            image.data[offset:offset + 2] = b"\0\1"
    image.data += bytes(len(image.data))
    with open(path, "wb") as file:
        file.write(image.data)


if __name__ == "__main__":
    main()
