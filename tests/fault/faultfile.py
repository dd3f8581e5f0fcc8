# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""A folder with one file, in memory, that fails when it is told to.

The file has two contents: what reads see, and what is durable, which is what it was when it was last
synchronised. A failed fsync leaves nothing to repeat: what it should have written stays not durable,
as on a kernel that has thrown the pages away.
"""

import errno
import os
import stat
import threading

os.environ.setdefault("FUSE_LIBRARY_PATH", "libfuse.so.2")
import fusepy  # noqa: E402 pylint: disable=import-error,wrong-import-position

NAME = "/image"
KINDS = ("read", "write", "sync", "space")


class FaultFile(fusepy.Operations):
    """The folder. Operations of a kind (KINDS) are counted since load() and fail as arm() says."""

    def __init__(self):
        self.mutex = threading.Lock()
        self.content = self.durable = bytearray()
        self.dirty = []         # ranges in which the two differ
        self.end = 0            # behind it is nothing but zeros
        self.counts = dict.fromkeys(KINDS, 0)
        self.fault = None
        self.fired = 0

    def load(self, content):
        """Start anew with that content."""
        with self.mutex:
            self.content = bytearray(content)
            self.durable = bytearray(content)
            self.dirty = []
            self.end = len(content)
            self.disarm()

    def disarm(self):
        """Fail no more, and count from zero."""
        self.counts = dict.fromkeys(KINDS, 0)
        self.fault = None
        self.fired = 0

    def mend(self):
        """Fail no more."""
        self.fault = None

    def arm(self, kind, number, error, for_ever):
        """Let the operation @number (from 1) of a kind fail, or all from there on."""
        self.fault = (kind, number, getattr(errno, error), for_ever)

    def step(self, kind):
        """Count one operation; raise what it has to fail with."""
        self.counts[kind] += 1
        if not self.fault:
            return
        which, number, error, for_ever = self.fault
        if kind == which and (self.counts[kind] == number or (for_ever and self.counts[kind] > number)):
            self.fired += 1
            raise fusepy.FuseOSError(error)

    # What FUSE asks for.

    def getattr(self, path, fh=None):
        """Describe the folder or the file."""
        if path == "/":
            return {"st_mode": stat.S_IFDIR | 0o755, "st_nlink": 2}
        if path != NAME:
            raise fusepy.FuseOSError(errno.ENOENT)
        return {"st_mode": stat.S_IFREG | 0o600, "st_nlink": 1, "st_size": len(self.content),
                "st_blocks": len(self.content) // 512}

    def readdir(self, path, fh):
        """List the folder."""
        return [".", "..", NAME[1:]]

    def statfs(self, path):
        """Tell of much space."""
        return {"f_bsize": 4096, "f_frsize": 4096, "f_blocks": 1 << 20, "f_bfree": 1 << 19, "f_bavail": 1 << 19}

    def read(self, path, size, offset, fh):
        """Read."""
        with self.mutex:
            self.step("read")
            return bytes(self.content[offset:offset + size])

    def write(self, path, data, offset, fh):
        """Write; not durable yet."""
        with self.mutex:
            self.step("write")
            if len(self.content) < offset:
                self.content.extend(bytes(offset - len(self.content)))
            self.content[offset:offset + len(data)] = data
            self.dirty.append((offset, offset + len(data)))
            self.end = max(self.end, offset + len(data))
            return len(data)

    def truncate(self, path, length, fh=None):
        """Make it longer or shorter."""
        with self.mutex:
            if length > len(self.content):
                self.step("space")
                self.content.extend(bytes(length - len(self.content)))
            if length < len(self.content):
                del self.content[length:]
                self.dirty = [(start, min(end, length)) for start, end in self.dirty if start < length]

    def fsync(self, path, datasync, fh):
        """Make it durable."""
        with self.mutex:
            try:
                self.step("sync")
            except fusepy.FuseOSError:
                self.dirty = []
                raise
            del self.durable[len(self.content):]
            self.durable.extend(bytes(len(self.content) - len(self.durable)))
            for start, end in self.dirty:
                self.durable[start:end] = self.content[start:end]
            self.dirty = []

    def utimens(self, path, times=None):
        """Times are not kept."""

    def chmod(self, path, mode):
        """Neither are rights."""


def serve(folder):
    """Serve a new FaultFile at that folder, in a thread of this process; return it and the thread."""
    served = FaultFile()
    thread = threading.Thread(daemon=True, target=lambda: fusepy.FUSE(
        served, folder, foreground=True, nothreads=True, big_writes=True, fsname="fault"))
    thread.start()
    while not os.path.ismount(folder):
        if not thread.is_alive():
            raise OSError(f"cannot serve {folder}")
    return served, thread
