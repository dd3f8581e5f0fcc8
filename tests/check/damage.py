#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""Damage the metadata of images at random, always in the same way for the same seed.

damage.py IMAGE SEED COPY      write a damaged copy of IMAGE and say what was done
"""

import random
import sys

from images import Metadata

WEIGHTS = {"header": 1, "l1": 3, "l2": 6, "reftable": 2, "refcounts": 4, "snapshots": 2, "snapshot l1": 2, "bitmaps": 2}


def evil(rng, image, value):
    """Return another value for a word of metadata."""
    cluster, end = image.cluster, len(image.data)
    return rng.choice((
        lambda: value ^ 1 << rng.randrange(64),
        lambda: value ^ 1 << rng.randrange(64),
        lambda: value ^ 1 << rng.randrange(64) ^ 1 << rng.randrange(64),
        lambda: 0,
        lambda: (1 << 64) - 1,
        lambda: value + 512,
        lambda: value + cluster,
        lambda: 1 << 63 | cluster * rng.randrange(end // cluster + 1),
        lambda: 1 << 63 | cluster * (end // cluster + rng.randrange(3)),
        lambda: 1 << 63 | cluster << rng.randrange(40),
        lambda: 1 << 62 | rng.randrange(end),
        lambda: rng.randrange(1 << 64),
    ))() & (1 << 64) - 1


def damage(path, seed, copy):
    """Write a damaged copy; return [(kind, offset, text)] of what was done."""
    rng = random.Random(seed)
    image = Metadata(path)
    areas = image.areas()
    kinds = sorted(areas)
    done = []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        kind = rng.choices(kinds, [WEIGHTS[kind] for kind in kinds])[0]
        offset = rng.choice(areas[kind])
        before = image.word(offset)
        after = evil(rng, image, before)
        image.put(offset, after)
        done.append((kind, offset, f"{kind} {offset:#x}: {before:#x} -> {after:#x}"))
    if rng.random() < 0.05:
        end = rng.randrange(image.cluster, len(image.data))
        del image.data[end:]
        done.append(("cut", end, f"cut at {end:#x}"))
    with open(copy, "wb") as file:
        file.write(image.data)
    return done


if __name__ == "__main__":
    print(*(text for _, _, text in damage(sys.argv[1], int(sys.argv[2]), sys.argv[3])), sep="\n")
