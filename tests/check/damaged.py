#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""Damaged images: what check says of them against qemu-img check, and what repair makes of them.

damaged.py FOLDER FIRST COUNT      seeds FIRST to FIRST+COUNT-1, a test for each variety of image

Nothing that reads them is killed by what it finds. After a repair qemu-img check finds nothing, a second repair has nothing to do, and only what the
damaged words mapped may read differently, in the disk and in each snapshot.
"""

import concurrent.futures
import os
import re
import sys

sys.dont_write_bytecode = True
import images  # noqa: E402 pylint: disable=wrong-import-position
from damage import damage  # noqa: E402 pylint: disable=wrong-import-position
from ktap import Ktap, ours, qemu  # noqa: E402 pylint: disable=wrong-import-position

# Where qemu-img gives up and qcow2ctl finds errors: qemu-img's words, why.
FINDS_MORE = (
    (r"Check failed", "a refcount block or snapshot that cannot be read is an error, the rest can be checked"),
    (r"failed to read the snapshot table", "a broken snapshot table is an error, the rest can be checked"),
    (r"[Bb]itmap", "broken bitmaps are errors, the rest can be checked"),
)
# check opens no other file.
OTHER_FILES = r"Could not open (backing|data) file"
# The header names a place that no table entry could name either; qemu-img has it up to 2^63.
TOO_FAR = r"cannot check: .*leads beyond 2\^56"
# Both cannot check it, but for qcow2ctl it is because of something that it does not know.
UNKNOWN = r"cannot check: .*(unknown|version|encrypt)"


def compare(path, loose):
    """Check an image by both; return (their exit code, problems, does qcow2ctl know it). loose: numbers may differ."""
    theirs, mine = qemu("check", "-f", "qcow2", "--output=json", path), ours("check", "--json", path)
    if mine.code == 63:
        good = theirs.code == 1 and re.search(UNKNOWN, mine.err)
        return 63, [] if good else [f"check: {mine}qemu-img: {theirs}"], False
    if re.search(OTHER_FILES, theirs.err):
        return 1, [] if mine.code in (0, 2, 3) else [f"check: {mine}qemu-img: {theirs}"], True
    if mine.code == 1 and re.search(TOO_FAR, mine.err):
        return 1, [] if theirs.code in (1, 2) else [f"check: {mine}qemu-img: {theirs}"], False
    if theirs.code == 1:
        last = (theirs.err.strip().splitlines() or [""])[-1]
        could = mine.code == 2 and any(re.search(words, theirs.err if "snap" in words else last) for words, _ in FINDS_MORE)
        return 1, [] if could or mine.code == 1 else [f"check: {mine}qemu-img: {theirs}"], could
    counts, found = theirs.json() or {}, mine.json() or {}
    same = (counts.get("corruptions", 0), counts.get("leaks", 0)) == (found.get("errors"), found.get("leaks"))
    if mine.code != theirs.code or not (same or loose):
        return theirs.code, [f"check: {mine}qemu-img: {theirs}"], True
    return theirs.code, [], True


class Original:
    """An image that is whole, and what is in it."""

    def __init__(self, path):
        self.path = path
        self.image = images.Metadata(path)
        self.snapshots = [row["id"] for row in qemu("info", "--output=json", path).json().get("snapshots", ())]
        self.contents = [content(path, f"{path}.disk")] + [
            content(path, f"{path}.{snap}", snap) for snap in self.snapshots]

    def ranges(self, done):
        """Return the guest ranges that damaged words map, for the disk and each snapshot."""
        image = self.image
        tables = [(image.l1, image.l1_size)] + [(l1, size) for _, l1, size in image.snapshot_tables()]
        span = image.cluster // image.entry * image.cluster
        found = [[] for _ in tables]
        for kind, offset, _ in done:
            for (l1, size), ranges in zip(tables, found):
                if l1 <= offset < l1 + 8 * size:
                    index = (offset - l1) // 8
                    ranges.append((index * span, (index + 1) * span))
                for index in range(size) if kind == "l2" else ():
                    table = image.word(l1 + 8 * index) & images.OFFSET
                    if table and table <= offset < table + image.cluster:
                        start = index * span + (offset - table) // image.entry * image.cluster
                        ranges.append((start, start + image.cluster))
        return found

    def changes(self, copy, done):
        """Return what reads differently in a copy and should not."""
        problems = []
        for number, (before, ranges) in enumerate(zip(self.contents, self.ranges(done))):
            snap = self.snapshots[number - 1] if number else None
            after = bytearray(content(copy, f"{copy}.content", snap))
            for start, end in ranges:
                after[start:end] = before[start:end]
            if bytes(after) != before:
                at = next((i for i in range(0, len(before), 512) if before[i:i + 512] != after[i:i + 512]), len(before))
                problems.append(f"{'snapshot ' + snap if snap else 'disk'} differs at {at:#x}, allowed: {ranges}")
        return problems


def content(path, raw, snap=None):
    """Return the bytes of a disk or snapshot, zeros where they cannot be read."""
    done = qemu("convert", "--salvage", "-f", "qcow2", "-O", "raw", *(["-l", f"snapshot.id={snap}"] if snap else []), path, raw)
    if done.code:
        return f"not readable: {done}".encode()
    with open(raw, "rb") as file:
        data = file.read()
    os.unlink(raw)
    return data


def repaired(original, path, done):
    """Repair an image; return problems."""
    repair = ours("repair", path)
    if repair.code:
        return [f"repair: {repair}"]
    if re.search(OTHER_FILES, qemu("check", "-f", "qcow2", path).err):
        return []
    theirs, again = qemu("check", "-f", "qcow2", path), ours("repair", path)
    if theirs.code:
        return [f"after the repair: {theirs}"]
    if again.code or again.out != "nothing to repair\n" or again.err:
        return [f"second repair: {again}"]
    if any(kind in ("header", "snapshots", "cut") for kind, _, _ in done):
        return []
    return original.changes(path, done)


def one(original, name, seed, folder):
    """Damage, check, repair; return (name, code, problems)."""
    path = f"{folder}/damaged.{seed}"
    done = damage(original.path, seed, path)
    # A snapshot table that ends early reads as zeros there for qemu-img: other numbers, the same verdict.
    loose = original.snapshots and any(kind in ("cut", "snapshots", "header") for kind, _, _ in done)
    code, problems, known = compare(path, loose)
    problems += [f"{word}: {call}" for word, call in ((word, ours(word, path)) for word in ("map", "measure", "info"))
                 if call.code not in range(10) or bool(call.code) != call.err.startswith("qcow2ctl: ") or bool(call.code) == bool(call.out)]
    if known:
        problems += repaired(original, path, done)
    os.unlink(path)
    text = ", ".join(text for _, _, text in done)
    return name, code, [f"seed {seed}: {text}\n{problem}" for problem in problems]


def main():
    """Run damaged.py."""
    folder, first, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    ktap = Ktap()
    paths = images.make(folder)
    originals = {name: Original(path) for name, path in paths.items()}
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        names = list(originals)
        jobs = [pool.submit(one, originals[names[seed % len(names)]], names[seed % len(names)], seed,
                            os.path.dirname(paths[names[0]])) for seed in range(first, first + count)]
        results = [job.result() for job in jobs]
    for name in names:
        ktap.result(name, [problem for owner, _, problems in results if owner == name for problem in problems])
    codes = [code for _, code, _ in results]
    print(f"# clean {codes.count(0)}, errors {codes.count(2)}, leaks {codes.count(3)}, could not check {codes.count(1)}")
    ktap.result("all verdicts are there", [] if {0, 1, 2, 3} <= set(codes) or count < 100 else [str(sorted(set(codes)))])
    ktap.end()


if __name__ == "__main__":
    main()
