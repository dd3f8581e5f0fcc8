#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""Images of every variety, made by qemu-img and qemu-io, and a reader of their metadata.

images.py FOLDER [NAME]...     make them in FOLDER; all, or these
"""

import os
import struct
import subprocess
import sys

KIB, MIB = 1 << 10, 1 << 20
OFFSET = 0x00FFFFFFFFFFFE00
COMPRESSED = 1 << 62


def run(*words):
    """Run a program that has to succeed."""
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


def create(path, size, *options, backing=None):
    """Make an empty image."""
    more = ["-b", backing[0], "-F", backing[1]] if backing else []
    words = ["-o", ",".join(options)] if options else []
    run("qemu-img", "create", "-q", "-f", "qcow2", *words, *more, path, *([] if size is None else [str(size)]))


def write(path, *commands):
    """Run commands of qemu-io: "P OFFSET LENGTH" writes pattern P, the others are its own."""
    words = []
    for command in commands:
        if command[0].isdigit():
            command = "write -q -P " + command
        words += ["-c", command]
    run("qemu-io", "-f", "qcow2", path, *words)


def snapshot(path, *names):
    """Make internal snapshots."""
    for name in names:
        run("qemu-img", "snapshot", "-c", name, path)


def convert(source, path, *options):
    """Make a compressed copy."""
    run("qemu-img", "convert", "-q", "-c", "-O", "qcow2", *(["-o", ",".join(options)] if options else []), source, path)


def text_file(path, size):
    """Make a raw file that compresses, with a hole in its middle."""
    line = b"".join(b"%08d compressible text\n" % i for i in range(4096))
    with open(path, "wb") as file:
        file.write((line * (size // len(line) + 1))[:size // 3])
        file.seek(size // 3 * 2)
        file.write((line * (size // len(line) + 1))[:size // 4])
        file.truncate(size)


def plain(path, size, *options):
    """Make an image with data here and there."""
    create(path, size, *options)
    write(path, "1 0 300k", "2 1M 64k", f"3 {size // 2} 130k", f"4 {size - 65536} 64k")


def with_snapshots(path, *options):
    """Make an image whose snapshots share and do not share."""
    create(path, 8 * MIB, *options)
    write(path, "1 0 1M", "2 3M 200k")
    snapshot(path, "one")
    write(path, "3 512k 1M", "4 5M 64k")
    snapshot(path, "two")
    write(path, "5 0 128k", "6 7M 1M")


def zeroes(path, *options):
    """Make an image with all that reads as zeros."""
    create(path, 8 * MIB, *options)
    write(path, "1 0 2M", "write -q -z 256k 128k", "write -q -z -u 512k 128k", "write -q -z 4M 1M", "discard -q 1M 192k")


def overlay(path, *options):
    """Make a chain: image over image over a shorter raw file of an odd length."""
    folder, name = os.path.split(path)
    text_file(f"{folder}/{name}.raw", 3 * MIB + 1000)
    create(f"{path}.mid", 6 * MIB, backing=(f"{name}.raw", "raw"))
    write(f"{path}.mid", "7 1M 128k", "8 4M 64k", "write -q -z 128k 64k")
    create(path, 8 * MIB, *options, backing=(f"{name}.mid", "qcow2"))
    write(path, "9 64k 64k", "10 5M 300k", "write -q -z 2M 64k", "write -q -z -u 4M 32k")


def with_raw(path):
    """Make a version 2 overlay over a raw file."""
    text_file(f"{path}.raw", 2 * MIB + 77)
    create(path, 4 * MIB, "compat=0.10", backing=(os.path.basename(path) + ".raw", "raw"))
    write(path, "1 64k 64k", "2 3M 64k")


def compressed(path, *options):
    """Make a compressed image, some of it rewritten."""
    text_file(f"{path}.txt", 4 * MIB)
    convert(f"{path}.txt", path, *options)
    write(path, "1 128k 10k")


def compressed_snapshots(path):
    """Make a compressed image with a snapshot."""
    compressed(path)
    snapshot(path, "one")
    write(path, "2 256k 200k")


def subclusters(path, *options):
    """Make an image with extended L2 entries of all kinds."""
    create(path, 8 * MIB, "extended_l2=on", *options)
    write(path, "1 0 256k", "2 1M 2k", "3 1058816 6k", "write -q -z 1052672 4k", "write -q -z -u 128k 64k", "4 5M 100k",
          "discard -q 5M 8k")


def bitmaps(path):
    """Make an image with persistent bitmaps that have bits."""
    create(path, 8 * MIB)
    for name in ("first", "second"):
        run("qemu-img", "bitmap", "--add", "-g", "64k", path, name)
    write(path, "1 0 1M", "2 7M 64k")


def external(path, raw):
    """Make an image whose data is in another file."""
    create(path, 8 * MIB, f"data_file={path}.data", f"data_file_raw={raw}")
    write(path, "1 0 300k", "2 3M 64k", "write -q -z 1M 64k")


def preallocated(path, *options):
    """Make an image whose clusters all have a place."""
    create(path, 8 * MIB, "preallocation=metadata", *options)
    write(path, "1 0 64k", "2 4M 300k")


def unclean(path):
    """Make an image with lazy reference counts that was not closed."""
    create(path, 8 * MIB, "lazy_refcounts=on")
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -q -P 1 0 300k", "-c", "write -q 3M 64k", "-c", "flush", "-c",
                    "sigraise 9", path], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


BITS = {f"bits{bits}": (lambda path, bits=bits: plain(path, 8 * MIB, f"refcount_bits={bits}"))
        for bits in (1, 2, 4, 8, 32, 64)}
VARIETIES = {
    "empty": lambda path: create(path, 8 * MIB),
    "plain": lambda path: plain(path, 8 * MIB),
    "clusters512": lambda path: plain(path, 4 * MIB, "cluster_size=512"),
    "clusters4k": lambda path: plain(path, 8 * MIB, "cluster_size=4k"),
    "clusters2m": lambda path: plain(path, 64 * MIB, "cluster_size=2M"),
    "odd": lambda path: plain(path, 5 * MIB + 512),
    "v2": lambda path: plain(path, 8 * MIB, "compat=0.10"),
    **BITS,
    "snapshots": with_snapshots,
    "snapshots_v2": lambda path: with_snapshots(path, "compat=0.10"),
    "snapshots4k": lambda path: with_snapshots(path, "cluster_size=4k"),
    "snapshots_bits64": lambda path: with_snapshots(path, "refcount_bits=64"),
    "zeroes": zeroes,
    "zeroes4k": lambda path: zeroes(path, "cluster_size=4k"),
    "overlay": overlay,
    "overlay_v2": with_raw,
    "compressed": compressed,
    "compressed4k": lambda path: compressed(path, "cluster_size=4k"),
    "zstd": lambda path: compressed(path, "compression_type=zstd"),
    "compressed_snapshots": compressed_snapshots,
    "subclusters": subclusters,
    "subclusters16k": lambda path: subclusters(path, "cluster_size=16k"),
    "bitmaps": bitmaps,
    "external": lambda path: external(path, "off"),
    "external_raw": lambda path: external(path, "on"),
    "preallocated": preallocated,
    "preallocated_sub": lambda path: preallocated(path, "extended_l2=on"),
    "unclean": unclean,
}


def make(folder, names=None):
    """Make images; return their paths by name."""
    folder = os.path.realpath(folder)
    os.makedirs(folder, exist_ok=True)
    paths = {}
    for name in names or VARIETIES:
        paths[name] = f"{folder}/{name}"
        VARIETIES[name](paths[name])
    return paths


class Metadata:
    """Where the metadata of an image is; data holds its bytes and may be changed."""

    def __init__(self, path):
        with open(path, "rb") as file:
            self.data = bytearray(file.read())
        (self.version, _, _, bits, _, _, self.l1_size, self.l1, self.reftable, self.reftable_clusters,
         self.nb_snapshots, self.snapshots) = struct.unpack_from(">IQIIQIIQQIIQ", self.data, 4)
        self.cluster = 1 << bits
        self.entry = 16 if self.version >= 3 and self.word(72) & 16 else 8

    def word(self, offset):
        """Return the 64 bits at offset; beyond the end are zeros."""
        return int.from_bytes(self.data[offset:offset + 8].ljust(8, b"\0"), "big")

    def put(self, offset, value):
        """Change 64 bits, if they are there."""
        if offset + 8 <= len(self.data):
            struct.pack_into(">Q", self.data, offset, value)

    def tables(self, l1, size):
        """Return the places of the L2 tables of an L1 table."""
        places = (self.word(l1 + 8 * i) & OFFSET for i in range(size))
        return [place for place in places if place]

    def snapshot_tables(self):
        """Return [(offset of the entry, L1 table, its size)]."""
        found, offset = [], self.snapshots
        for _ in range(self.nb_snapshots):
            l1, size, id_size, name_size = struct.unpack_from(">QIHH", self.data, offset)
            extra = struct.unpack_from(">I", self.data, offset + 36)[0]
            found.append((offset, l1, size))
            offset += (40 + extra + id_size + name_size + 7) & ~7
        return found

    def areas(self):
        """Return {kind: [offsets of all 8-byte words]}."""
        areas = {"header": list(range(0, 112, 8))}
        areas["l1"] = [self.l1 + 8 * i for i in range(self.l1_size)]
        tables = set(self.tables(self.l1, self.l1_size))
        for offset, l1, size in self.snapshot_tables():
            areas.setdefault("snapshots", []).extend(range(offset, offset + 56, 8))
            areas.setdefault("snapshot l1", []).extend(l1 + 8 * i for i in range(size))
            tables.update(self.tables(l1, size))
        areas["l2"] = [table + i for table in sorted(tables) for i in range(0, self.cluster, 8)
                       if self.word(table + i)]
        entries = self.reftable_clusters * self.cluster // 8
        areas["reftable"] = [self.reftable + 8 * i for i in range(entries) if i < 4 or self.word(self.reftable + 8 * i)]
        blocks = [place for place in (self.word(offset) for offset in areas["reftable"]) if place]
        areas["refcounts"] = [block + i for block in blocks for i in range(0, self.cluster, 8)
                              if i < 32 or self.word(block + i)]
        areas["bitmaps"] = self.bitmap_words()
        return {kind: offsets for kind, offsets in areas.items() if offsets}

    def bitmap_words(self):
        """Return the words of bitmap directory and tables."""
        if self.version < 3:
            return []
        offset = struct.unpack_from(">I", self.data, 100)[0]
        while offset + 8 <= self.cluster:
            kind, length = struct.unpack_from(">II", self.data, offset)
            if not kind:
                break
            if kind == 0x23852875:
                directory = self.word(offset + 24)
                return [*range(offset, offset + 32, 8), *range(directory, directory + 32, 8), self.word(directory)]
            offset += 8 + ((length + 7) & ~7)
        return []


if __name__ == "__main__":
    make(sys.argv[1], sys.argv[2:])
