#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""Serve an image and its data file from memory, and log what reaches them in one order.

twofiles.py FOLDER LOG MIB

Two logs would not tell which of two writes to different devices came first; a program that serves
both files does. FOLDER gets image and data, of MIB each and full of poison, and mark: a text that
is written to it goes into the log, and "begin" empties the log. LOG is written when FOLDER has been
unmounted, as one of a device of twice that size with the data behind the image; a barrier has the
first sector of the file whose it is.
"""

import errno
import os
import stat
import sys
import threading

sys.dont_write_bytecode = True
import writelog  # noqa: E402 pylint: disable=import-error,wrong-import-position

os.environ.setdefault("FUSE_LIBRARY_PATH", "libfuse.so.2")
import fusepy  # noqa: E402 pylint: disable=import-error,wrong-import-position


class TwoFiles(fusepy.Operations):
    """The folder."""

    def __init__(self, size):
        self.mutex = threading.Lock()
        self.size = size
        self.contents = {name: bytearray(b"\xa5" * size) for name in ("/image", "/data")}
        self.first = {"/image": 0, "/data": size // writelog.SECTOR}
        self.entries = []

    def getattr(self, path, fh=None):
        """Describe the folder or a file."""
        if path == "/":
            return {"st_mode": stat.S_IFDIR | 0o755, "st_nlink": 2}
        if path != "/mark" and path not in self.contents:
            raise fusepy.FuseOSError(errno.ENOENT)
        size = self.size if path in self.contents else 0
        return {"st_mode": stat.S_IFREG | 0o600, "st_nlink": 1, "st_size": size, "st_blocks": size // 512}

    def readdir(self, path, fh):
        """List the folder."""
        return [".", "..", "mark"] + [name[1:] for name in self.contents]

    def read(self, path, size, offset, fh):
        """Read."""
        with self.mutex:
            return bytes(self.contents[path][offset:offset + size])

    def write(self, path, data, offset, fh):
        """Write, or mark."""
        with self.mutex:
            if path == "/mark":
                self.entries.append((0, None, writelog.MARK, data.decode().strip(), 0))
                if self.entries[-1][3] == "begin":
                    self.entries.clear()
                return len(data)
            if offset % writelog.SECTOR or len(data) % writelog.SECTOR or offset + len(data) > self.size:
                raise fusepy.FuseOSError(errno.EINVAL)
            self.contents[path][offset:offset + len(data)] = data
            self.entries.append((self.first[path] + offset // writelog.SECTOR, bytes(data), 0, None,
                                 len(data) // writelog.SECTOR))
            return len(data)

    def truncate(self, path, length, fh=None):
        """The sizes stay."""
        if path != "/mark" and length != self.size:
            raise fusepy.FuseOSError(errno.ENOSPC)

    def fsync(self, path, datasync, fh):
        """What was written to this file is durable."""
        with self.mutex:
            self.entries.append((self.first[path], None, writelog.FLUSH, None, 0))

    def utimens(self, path, times=None):
        """Times are not kept."""


def main():
    """Serve until somebody unmounts, then write the log."""
    folder, log, mib = sys.argv[1:]
    served = TwoFiles(int(mib) << 20)
    fusepy.FUSE(served, folder, foreground=True, nothreads=True, big_writes=True, fsname="twofiles")
    writelog.write(log, served.entries)


if __name__ == "__main__":
    main()
