# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""What is measured: the rows of the table, the images that they want, and what is aimed at.

A row is measured on an image of one kind: "mapped" has all its clusters, "empty" none, "cow" is empty
over a base that has all, "snapshot" has all and an internal snapshot, "zip" is compressed.
"""

MIB = 1 << 20

# name: kind of image, then what load.c is told in virtual time: operation, block, depth, requests, fsync
# The fio job of the same name, a section of jobs/<kind>*.fio, is what is run against the clock.
VIRTUAL = {
    "read-4k-qd1": ("mapped", "read", 4096, 1, 2000, 0),
    "read-4k-qd32": ("mapped", "read", 4096, 32, 3200, 0),
    "write-4k-qd1": ("mapped", "write", 4096, 1, 2000, 0),
    "write-4k-qd32": ("mapped", "write", 4096, 32, 3200, 0),
    "read-128k": ("mapped", "seqread", 131072, 8, 400, 0),
    "write-128k": ("mapped", "seqwrite", 131072, 8, 400, 0),
    "read-1m": ("mapped", "seqread", MIB, 4, 60, 0),
    "write-1m": ("mapped", "seqwrite", MIB, 4, 60, 0),
    "allocate-4k-qd32": ("empty", "write", 4096, 32, 1600, 0),
    "allocate-64k": ("empty", "seqwrite", 65536, 8, 400, 0),
    "cow-4k": ("cow", "write", 4096, 32, 320, 0),
    "snapshot-4k": ("snapshot", "write", 4096, 32, 320, 0),
    "zip-4k": ("zip", "seqread", 4096, 1, 4000, 0),
    "fsync-4k": ("empty", "seqwrite", 4096, 1, 400, 1),
    "discard-64k": ("mapped", "discard", 65536, 1, 300, 0),
}

# What make check repeats: name, peers. The file and dm-linear are the measure of the others.
GATE = (
    ("read-4k-qd1", ("file", "linear", "ours", "ours-device")),
    ("read-4k-qd32", ("linear", "ours", "ours-device")),
    ("write-4k-qd1", ("file", "linear", "ours", "ours-device")),
    ("write-4k-qd32", ("linear", "ours", "ours-device")),
    ("allocate-4k-qd32", ("ours", "ours-device")),
    ("cow-4k", ("ours",)),
    ("fsync-4k", ("ours",)),
    ("zip-4k", ("ours",)),
    ("discard-64k", ("ours",)),
)

# Sections of the fio files, in the order in which they are run.
CLOCK = (
    ("mapped", "mapped", ("read-4k-qd1", "read-4k-qd32", "read-4k-qd1-4jobs", "read-4k-qd32-4jobs", "write-4k-qd1",
                          "write-4k-qd32", "write-4k-qd1-4jobs", "write-4k-qd32-4jobs", "read-128k", "write-128k",
                          "read-1m", "write-1m")),
    ("allocate", "empty", ("allocate-4k-qd32",)),
    ("stream", "empty", ("allocate-64k",)),
    ("fsync", "empty", ("fsync-4k",)),
    ("cow", "cow", ("cow-4k",)),
    ("snapshot", "snapshot", ("snapshot-4k",)),
    ("zip", "zip", ("zip-4k",)),
    ("discard", "throw", ("discard-64k",)),
)

PEERS = ("file", "loop", "nbd", "linear", "ours", "ours-device")
ALL_PEERS = PEERS + ("thin", "ublk")

NAMES = {
    "file": "the file itself", "loop": "loop, raw file", "nbd": "qemu-nbd", "linear": "dm-linear", "thin": "dm-thin",
    "ublk": "ublk qcow2", "ours": "dm-qcow2, image in a file", "ours-device": "dm-qcow2, image on a device",
}

# What is aimed at: text, row, ours, theirs, at least. Of medians of requests a second within one run.
TARGETS = (
    ("device, mapped 4 KiB read, against dm-linear", "read-4k-qd1", "ours-device", "linear", 0.95),
    ("device, mapped 4 KiB read qd32, against dm-linear", "read-4k-qd32", "ours-device", "linear", 0.95),
    ("device, mapped 4 KiB write, against dm-linear", "write-4k-qd1", "ours-device", "linear", 0.95),
    ("device, mapped 4 KiB write qd32, against dm-linear", "write-4k-qd32", "ours-device", "linear", 0.95),
    ("file, mapped 4 KiB read qd1, against the file", "read-4k-qd1", "ours", "file", 0.85),
    ("file, mapped 4 KiB read qd32, against the file", "read-4k-qd32", "ours", "file", 0.85),
    ("file, mapped 4 KiB read qd1, against loop", "read-4k-qd1", "ours", "loop", 1.0),
    ("file, mapped 4 KiB read qd32, against loop", "read-4k-qd32", "ours", "loop", 1.0),
    ("file, mapped 4 KiB read qd1, against qemu-nbd", "read-4k-qd1", "ours", "nbd", 1.0),
    ("file, mapped 4 KiB read qd32, against qemu-nbd", "read-4k-qd32", "ours", "nbd", 1.0),
    ("file, mapped 4 KiB write qd32, against loop", "write-4k-qd32", "ours", "loop", 0.95),
    ("sequential 128 KiB read, against loop", "read-128k", "ours", "loop", 1.0),
    ("sequential 128 KiB write, against loop", "write-128k", "ours", "loop", 1.0),
    ("allocating 4 KiB write qd32, against loop on a sparse file", "allocate-4k-qd32", "ours", "loop", 0.8),
    ("allocating 4 KiB write qd32, against qemu-nbd", "allocate-4k-qd32", "ours", "nbd", 4.0),
    ("COW 4 KiB over a base, against qemu-nbd", "cow-4k", "ours", "nbd", 3.0),
    ("compressed sequential 4 KiB read, against qemu-nbd", "zip-4k", "ours", "nbd", 4.0),
    ("fsync-heavy, against qemu-nbd", "fsync-4k", "ours", "nbd", 1.5),
)
# The same of instructions for each request in virtual time, at most.
VIRTUAL_TARGETS = tuple((f"device, mapped {row}, instructions against dm-linear", row, "ours-device", "linear", 1.15)
                        for row in ("read-4k-qd1", "read-4k-qd32", "write-4k-qd1", "write-4k-qd32"))
# 4 jobs against 1 on 2 processors: ours, the measure, at least that part of the measure's own scaling.
SCALING = (("read-4k-qd1", "ours", "file", 0.9), ("read-4k-qd32", "ours", "file", 0.9),
           ("read-4k-qd1", "ours-device", "linear", 0.9), ("read-4k-qd32", "ours-device", "linear", 0.9))


def image_kind(row):
    """Return the kind of image that a row of VIRTUAL wants; one that is spoiled gets its own."""
    kind, operation = VIRTUAL[row][:2]
    return "throw" if operation == "discard" else kind
