#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""Judge JSON files of qcow2ctl.

json_check.py info OURS THEIRS     info against qemu-img info
json_check.py same LEFT RIGHT      two outputs of qemu-img info, but for names and sizes of files
json_check.py keys FILE KEY...     exactly these keys, in this order
"""

import datetime
import json
import sys


def load(path):
    """Return the object in a file."""
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def date(seconds):
    """Return a date as we print it."""
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def expected(theirs):
    """Return what qcow2ctl has to say about an image, by qemu-img's words."""
    data = theirs["format-specific"]["data"]
    features = [name for name, present in (
        ("lazy-refcounts", data.get("lazy-refcounts")),
        ("extended-l2", data.get("extended-l2")),
        ("zstd", data.get("compression-type") == "zstd"),
        ("data-file", "data-file" in data),
        ("data-file-raw", data.get("data-file-raw")),
        ("bitmaps", "bitmaps" in data)) if present]
    return {
        "version": 1, "image": f"./{theirs['filename']}", "format": "qcow2",
        "virtual_size": theirs["virtual-size"], "actual_size": theirs["actual-size"],
        "cluster_size": theirs["cluster-size"],
        "compat": {"0.10": "v2", "1.1": "v3"}[data["compat"]], "refcount_bits": data["refcount-bits"],
        "features": features, "dirty": theirs["dirty-flag"], "corrupt": data.get("corrupt", False),
        "backing": theirs.get("backing-filename"), "backing_format": theirs.get("backing-filename-format"),
        "data_file": data.get("data-file"), "encrypted": theirs.get("encrypted", False),
        "snapshots": [{"id": snap["id"], "tag": snap["name"], "date": date(snap["date-sec"]),
                       "size": theirs["virtual-size"], "vmstate": snap["vm-state-size"]}
                      for snap in theirs.get("snapshots", ())],
        "bitmaps": [bitmap["name"] for bitmap in data.get("bitmaps", ())], "attached": None,
    }


def differences(left, right):
    """Print the keys that differ; return whether there are any, or the order of the keys differs."""
    for key in [*left, *(key for key in right if key not in left)]:
        if left.get(key, "nothing") != right.get(key, "nothing") or type(left.get(key)) is not type(right.get(key)):
            print(f"{key}: {left.get(key, 'nothing')!r} is not {right.get(key, 'nothing')!r}")
            return True
    return list(left) != list(right)


def comparable(info):
    """Return qemu-img's info without what may differ between two images of one kind; "children" tells lengths of files."""
    names = ("filename", "actual-size", "full-backing-filename", "children")
    return {key: value for key, value in info.items() if key not in names}


def main():
    """Run json_check.py."""
    what, *words = sys.argv[1:]
    if what == "info":
        return differences(load(words[0]), expected(load(words[1])))
    if what == "same":
        return differences(comparable(load(words[0])), comparable(load(words[1])))
    keys = list(load(words[0]))
    print(keys)
    return keys != words[1:]


if __name__ == "__main__":
    sys.exit(main())
