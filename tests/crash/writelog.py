# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""The log of dm-log-writes: its entries, in a file.

An entry is (first sector, bytes to write or None, flags, text of a mark or None, sectors). A sector of
the file begins with a head, then each entry has one, and its bytes follow it in whole sectors.
"""

import struct
import sys

MAGIC = 0x6a736677736872
FLUSH, FUA, DISCARD, MARK = 1, 2, 4, 8
SECTOR = 512


def read(path):
    """Yield the entries in order."""
    with open(path, "rb") as log:
        magic, _, count, size = struct.unpack("<QQQI", log.read(28))
        if magic != MAGIC:
            sys.exit(f"{path}: not a log of dm-log-writes")
        at = size
        for _ in range(count):
            log.seek(at)
            sector, sectors, flags, length = struct.unpack("<4Q", log.read(32))
            if flags & MARK:
                yield sector, None, flags, log.read(length).rstrip(b"\0").decode(), 0
                at += size
                continue
            at += size
            data = None
            if sectors and not flags & DISCARD:
                log.seek(at)
                data = log.read(sectors * SECTOR)
                at += -(-len(data) // size) * size
            yield sector, data, flags, None, sectors


def write(path, entries):
    """Write a log with these entries."""
    with open(path, "wb") as log:
        log.write(struct.pack("<QQQI", MAGIC, 1, len(entries), SECTOR).ljust(SECTOR, b"\0"))
        for sector, data, flags, mark, sectors in entries:
            text = (mark or "").encode()
            log.write((struct.pack("<4Q", sector, sectors, flags, len(text)) + text).ljust(SECTOR, b"\0"))
            log.write(data or b"")
