#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""Edit images with a few wrong bytes in their metadata.

hostile.py QCOW2CTL [SEED]...

Whatever the bytes are, an edit ends in time, with little memory, by an exit code of its own, with one
error line if that is not 0; and if qemu-img could still open the old image, it can open what is left.

60 images, each with all edits; QCOW2_FULL=1: 1000.
"""

import os
import random
import resource
import shutil
import struct
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import seeds  # noqa: E402 pylint: disable=wrong-import-position
from varieties import OVERLAYS, VARIETIES  # noqa: E402 pylint: disable=wrong-import-position

FULL = bool(os.environ.get("QCOW2_FULL"))
TOOL = os.path.abspath(sys.argv[1])
KINDS = ("default", "v2", "512", "counts-2", "extended", "deflate", "zstd", "sizes", "state", "over-deflate")
EDITS = (
    "snapshot create ./work new", "snapshot apply ./work 1", "snapshot delete ./work 1", "resize ./work +3M",
    "resize --shrink ./work 700K", "commit work", "rebase --unsafe --no-backing work",
    "rebase --unsafe --backing x,format=raw work", "snapshot list ./work", "snapshot create --external over ./work",
)
VALUES = (0, 1, 0xFF, 0x200, 0x10000, 0x8000000000010000, 0x4000000000000001, 0x7FFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF,
          0x00FFFFFFFFFFFE00, 0x8000000000000000, 0x100000000)


# Seeds of images that an edit once made worse.
FOUND = (159, 175, 351, 418)


def places(data):
    """Return (offset, length) of metadata: header, tables, what they lead to."""
    bits, = struct.unpack(">I", data[20:24])
    l1_size, l1_at, reftable, clusters, nr_snapshots, snapshots = struct.unpack(">IQQIIQ", data[36:72])
    found = [(0, 112), (0, 600), (l1_at, 8 * l1_size), (reftable, 64), (reftable, clusters << bits)]
    for table, count in ((l1_at, l1_size), (reftable, 8)):
        for number in range(min(count, 32)):
            entry = int.from_bytes(data[table + 8 * number:table + 8 * number + 8], "big")
            at = entry & 0x00FFFFFFFFFFFE00
            if 0 < at < len(data):
                found += [(at, 256), (at, 1 << bits)]
    if nr_snapshots:
        found += [(snapshots, 200)] * 3
    return found


def damage(data, chance):
    """Change a few words of the metadata."""
    for _ in range(chance.randrange(1, 4)):
        at, length = chance.choice(places(data))
        at += chance.randrange(0, max(1, min(length, len(data) - at)))
        if chance.random() < 0.5:
            data[at:at + 1] = bytes([chance.randrange(256)])
        elif chance.random() < 0.6:
            at -= at % 8
            data[at:at + 8] = struct.pack(">Q", chance.choice(VALUES))
        else:
            at -= at % 8
            data[at:at + 8] = data[at + 8:at + 16]


def limit():
    """No edit of these images needs much."""
    if "asan" not in os.environ.get("QCOW2CTL_KIND", ""):
        resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def opens(path):
    """Tell whether qemu-img opens an image."""
    return not subprocess.run(["qemu-img", "info", "-f", "qcow2", path], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, check=False).returncode


def one(seed):
    """Damage one image and try all edits; return what is wrong."""
    chance = random.Random(seed)
    kind = KINDS[seed % len(KINDS)]
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as folder:
        os.chdir(folder)
        try:
            (VARIETIES.get(kind) or OVERLAYS[kind])("image")
            with open("image", "rb") as file:
                data = bytearray(file.read())
            damage(data, chance)
            for words in EDITS:
                with open("work", "wb") as file:
                    file.write(data)
                before = opens("work")
                done = subprocess.run([TOOL, *words.split()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                      stderr=subprocess.PIPE, timeout=20, preexec_fn=limit, check=False)
                lines = done.stderr.decode(errors="replace").splitlines()
                errors = [line for line in lines if line.startswith("qcow2ctl: ")]
                if not 0 <= done.returncode <= 9 or len(errors) != bool(done.returncode) or len(lines) > 2:
                    raise RuntimeError(f"{words}: exit {done.returncode}: {done.stderr[-2000:].decode(errors='replace')}")
                if "out of memory" in str(lines) or before and not opens("work"):
                    raise RuntimeError(f"{words}: exit {done.returncode}: {lines}: qemu-img opened it before")
                if os.path.exists("over"):
                    os.unlink("over")
            return seed, kind, ""
        except Exception as error:  # pylint: disable=broad-except
            shutil.copy("work", f"/tmp/hostile-{seed}") if os.environ.get("QCOW2_KEEP") else None
            return seed, kind, f"{type(error).__name__}: {error}"
        finally:
            os.chdir("/")


def main():
    """Run all seeds, in two processes; print KTAP."""
    numbers = [int(word) for word in sys.argv[2:]] or (*range(1000 if FULL else 60), *FOUND)
    return seeds.run(one, numbers)


if __name__ == "__main__":
    sys.exit(main())
