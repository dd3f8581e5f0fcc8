# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""Files as they are after a crash: recorded writes done once more, and what qemu-img says of the outcome."""

import os
import struct
import subprocess

import qcow2
from varieties import opened

FULL = bool(os.environ.get("QCOW2_FULL"))
HEAD = struct.Struct("=QQQQ")


class Wrong(Exception):
    """What is not as it should be."""


def expect(condition, text):
    """Complain unless condition."""
    if not condition:
        raise Wrong(text)


def records(path):
    """Yield (op, inode, offset, length, data)."""
    with open(path, "rb") as file:
        while head := file.read(HEAD.size):
            op, inode, offset, length = HEAD.unpack(head)
            yield chr(op), inode, offset, length, file.read(length) if op == ord("w") else b""


def header_only(old, new, log, cluster):
    """Has an edit changed the first cluster and nothing else, at no time? A unit of direct I/O may be longer."""
    for op, _, offset, length, data in log:
        same = op == "w" and offset < cluster and data[cluster - offset:] == old[max(cluster, offset):offset + length]
        expect(op == "s" or same, f"{op} at {offset:#x}, {length} bytes: more than the header")
    expect(new[cluster:] == old[cluster:], "something behind the header changed")


class Disk:
    """A file as it is after a crash, in memory and for qemu-img."""

    def __init__(self, path, data):
        self.path = path
        self.data = bytearray(data)
        with open(path, "wb") as file:
            file.write(data)

    def apply(self, record, part=None):
        """Do a record, or only the first part bytes of a write."""
        op, _, offset, length, data = record
        if part is not None:
            data, length = data[:part], part
        with open(self.path, "r+b") as file:
            if op == "w":
                self.data.extend(bytes(max(0, offset - len(self.data))))
                self.data[offset:offset + length] = data
                file.seek(offset)
                file.write(data)
            elif op == "p":
                end = min(offset + length, len(self.data))
                self.data[offset:end] = bytes(max(0, end - offset))
                file.seek(offset)
                file.write(bytes(max(0, end - offset)))
            elif op == "t":
                del self.data[length:]
                self.data.extend(bytes(length - len(self.data)))
                file.truncate(length)


def check(path):
    """Let qemu-img look for errors; leaks are no error."""
    with open(path, "rb") as file:
        head = file.read(36)
    # QEMU looks for a data file where it was started.
    folder, name = os.path.split(path)
    done = subprocess.run(["qemu-img", "check", *opened(name, head[35])], stdout=subprocess.PIPE, cwd=folder or None,
                          stderr=subprocess.STDOUT, text=True, check=False)
    expect(done.returncode in (0, 3), f"qemu-img check: exit {done.returncode}: {done.stdout}")
    return done.returncode


def same_as_qemu(path, image):
    """Is the reader's idea of the disk that of qemu-img?"""
    if image.crypt:
        return
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", path, "whole"], check=True)
    with open("whole", "rb") as file:
        expect(qcow2.Raw(file.read()).digest() == image.digest(), "qemu-img reads something else")
    os.unlink("whole")


def tears(length, offset, chance):
    """Return after how many bytes a write is torn."""
    places = [at - offset for at in range(offset // 512 * 512 + 512, offset + length, 512)]
    return places if FULL or len(places) < 2 else [chance.choice((places[0], chance.choice(places)))]
