# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""The medium that a log is replayed on, and what a power cut may take from it.

It is one device, or two behind each other (PARTS has where each begins and ends, in bytes), which
have caches of their own: a barrier of one says nothing about the other.
"""

import contextlib
import mmap
import os

import writelog


def span(entry):
    """Return where an entry's content begins and ends, and the content; a discard leaves poison."""
    sector, data, flags, _, sectors = entry
    if flags & writelog.DISCARD:
        data = b"\xa5" * (sectors * writelog.SECTOR)
    start = sector * writelog.SECTOR
    return start, start + len(data or b""), data


def fresh(content, entries):
    """Return the numbers of the entries that change anything."""
    content = bytearray(content)
    numbers = []
    for number, entry in enumerate(entries):
        start, end, data = span(entry)
        if data and content[start:end] != data:
            content[start:end] = data
            numbers.append(number)
    return numbers


class Medium:
    """The content of a file, with all that was written."""

    def __init__(self, path, parts=()):
        self.path, self.parts = path, parts
        with open(path, "r+b") as file:
            self.size = os.fstat(file.fileno()).st_size
            self.content = mmap.mmap(file.fileno(), self.size)
        self.durable = bytearray(self.content) if parts else None
        self.late = [[] for _ in parts]     # ranges that were written since the last barrier of a part

    def apply(self, entry):
        """Do what an entry says."""
        start, end, data = span(entry)
        if data:
            self.content[start:end] = data
        if not self.parts:
            return
        part = next(number for number, (first, last) in enumerate(self.parts) if first <= start < last)
        if entry[2] & writelog.FLUSH:
            for first, last in self.late[part]:
                self.durable[first:last] = self.content[first:last]
            self.late[part] = []
        if data and entry[2] & writelog.FUA:
            self.durable[start:end] = data
        elif data:
            self.late[part].append((start, end))

    @contextlib.contextmanager
    def with_content(self, spans):
        """Have some other content for a while: (start, end, data) in order."""
        before = []
        for start, end, data in spans:
            before.append((start, end, self.content[start:end]))
            self.content[start:end] = data
        yield
        for start, end, data in reversed(before):
            self.content[start:end] = data

    def without(self, part):
        """Have a part as its last barrier left it for a while."""
        return self.with_content([(start, end, self.durable[start:end]) for start, end in self.late[part]])
