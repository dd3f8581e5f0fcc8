#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""check, map and measure of good images, against qemu-img.

compare.py FOLDER
"""

import os
import re
import shutil
import sys

sys.dont_write_bytecode = True
import images  # noqa: E402 pylint: disable=wrong-import-position
from ktap import Call, Ktap, ours, qemu  # noqa: E402 pylint: disable=wrong-import-position

SIZES = ("0", "512", "1M", "1G", "100G", "7T")
OPTIONS = {
    "": "", "--cluster-size=512": "cluster_size=512", "--cluster-size=4K": "cluster_size=4k",
    "--cluster-size=2M": "cluster_size=2M", "--refcount-bits=1": "refcount_bits=1", "--refcount-bits=64": "refcount_bits=64",
    "--extended-l2": "extended_l2=on", "--compat=v2": "compat=0.10",
}


def check(path):
    """Return problems of check."""
    theirs, mine = qemu("check", "--output=json", path), ours("check", "--json", path)
    counts, found = theirs.json(), mine.json()
    wanted = {"version": 1, "errors": counts.get("corruptions", 0), "leaks": counts.get("leaks", 0), "repaired": 0,
              "clusters": counts["total-clusters"], "allocated": counts.get("allocated-clusters", 0)}
    if mine.code != theirs.code or found != wanted or list(found) != list(wanted) or mine.err:
        return [f"qcow2ctl: {mine}qemu-img: {theirs}"]
    return []


def same_map(path):
    """Return problems of map: the same bytes as qemu-img's are wanted. QEMU before 8.2 does not say what is compressed."""
    theirs, mine = qemu("map", "-f", "qcow2", "--output=json", path), ours("map", "--json", path)
    out = mine.out if '"compressed":' in theirs.out else re.sub(r', "compressed": (true|false)', "", mine.out)
    if mine.code or mine.err or out != theirs.out:
        return [f"qcow2ctl: {mine}qemu-img: {theirs}"]
    rows = ours("map", path).out.splitlines()[1:]
    if len(rows) != len(mine.json()):
        return [f"{len(mine.json())} extents, but {len(rows)} rows"]
    return []


def filled(path, name):
    """Return problems of measure: the image is copied and its whole disk written."""
    copy = f"{path}.full"
    shutil.copy(path, copy)
    found = ours("measure", "--json", copy)
    size = qemu("info", "--output=json", copy).json()["virtual-size"]
    now = os.stat(copy).st_size
    Call("qemu-io", "-f", "qcow2", "-c", f"write -q 0 {size}", copy)
    end = os.stat(copy).st_size
    os.unlink(copy)
    if found.code or found.err:
        return [str(found)]
    cluster = images.Metadata(path).cluster
    required, full = found.json()["required"], found.json()["fully_allocated"]
    # The last cluster of a file may be cut off, and preallocation leaves it out.
    if not (required - cluster < now <= required or name.startswith("preallocated")):
        return [f"required {required}, but the file has {now} bytes"]
    if not end <= full <= end * 1.15 + 2 * cluster:
        return [f"fully allocated {full}, but the file came to have {end} bytes"]
    return []


def sizes(words, options):
    """Return problems of measure --size."""
    problems = []
    for size in SIZES:
        theirs = qemu("measure", "-O", "qcow2", "--output=json", "--size", size, *(["-o", options] if options else []))
        mine = ours("measure", "--json", "--size", size, *([words] if words else []))
        counts = theirs.json()
        if theirs.code and mine.code == 1:
            continue
        if theirs.code or mine.code:
            problems.append(f"{size}: qcow2ctl: {mine}qemu-img: {theirs}")
            continue
        if mine.json() != {"version": 1, "required": counts["required"], "fully_allocated": counts["fully-allocated"]}:
            problems.append(f"{size}: qcow2ctl: {mine}qemu-img: {theirs}")
    return problems


def counted(path):
    """Return problems of check: a count of a cluster that the file does not have is no leak, once it has some of it."""
    problems = []
    with open(path, "rb") as file:
        whole = file.read()
    image = images.Metadata(path)
    block, end = image.word(image.reftable), -(-len(whole) // image.cluster)
    for behind, more, code in ((0, 0, 0), (77, 0, 0), (0, 512, 3), (0, 2 * image.cluster, 3), (1, 512, 0)):
        copy = f"{path}.counted"
        with open(copy, "wb") as file:
            file.write(whole)
            file.seek(block + 2 * (end + behind))
            file.write(b"\0\1")
            file.truncate(end * image.cluster + more)
        same, found = check(copy), ours("check", copy).code
        problems += same if found == code else [f"{behind} behind, {more} bytes more: exit {found}, not {code}", *same]
        os.unlink(copy)
    return problems


def main():
    """Run compare.py."""
    ktap = Ktap()
    paths = images.make(sys.argv[1])
    for name, path in paths.items():
        ktap.result(f"check {name}", check(path))
        ktap.result(f"map {name}", same_map(path))
        # QEMU writes bitmaps anew, and repairs what was not closed.
        if not name.startswith("external") and name not in ("unclean", "bitmaps"):
            ktap.result(f"measure {name}", filled(path, name))
    for name in ("plain", "clusters4k", "v2", "snapshots", "external"):
        ktap.result(f"check {name}, with a count beyond its end", counted(paths[name]))
    for words, options in OPTIONS.items():
        ktap.result(f"measure --size {words}", sizes(words, options))
    ktap.end()


if __name__ == "__main__":
    main()
