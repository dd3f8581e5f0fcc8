#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""Make images with compressed clusters that QEMU would not write, and ask what is read from them.

zip_image.py make KIND TYPE IMAGE MODEL     KIND: good, damaged, misplaced, far
zip_image.py read DEVICE MODEL              each cluster is as the model says, or an error where that is a hole
zip_image.py entry IMAGE CLUSTER            print offset and length of a compressed cluster

The model is a file as long as the disk; what must be an error is a hole in it. ZIP_BITS is log2 of a
cluster's bytes (16).
"""

import ctypes
import os
import random
import struct
import sys
import zlib

BITS = int(os.environ.get("ZIP_BITS", 16))
CLUSTER = 1 << BITS
CLUSTERS = 44
WIDTH = 62 - (BITS - 8)
DICE = random.Random(5)


def text(seed, length=CLUSTER):
    """Return bytes that compress somewhat, different for each seed."""
    dice = random.Random(seed)
    words = [b"%x " % dice.getrandbits(20) for _ in range(200)]
    return (b"".join(dice.choices(words, k=length // 16)) * 4)[:length].ljust(length, b".")


def deflate(data, level=9, window=15):
    """Return a raw deflate stream."""
    packer = zlib.compressobj(level, zlib.DEFLATED, -window)
    return packer.compress(data) + packer.flush()


def zstd(data, checksum=0, sized=1):
    """Return a zstd frame."""
    library = ctypes.CDLL("libzstd.so.1")
    library.ZSTD_createCCtx.restype = ctypes.c_void_p
    library.ZSTD_compress2.restype = ctypes.c_size_t
    library.ZSTD_compress2.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]
    library.ZSTD_CCtx_setParameter.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int]
    context = library.ZSTD_createCCtx()
    for parameter, value in ((201, checksum), (200, sized)):
        library.ZSTD_CCtx_setParameter(context, parameter, value)
    target = ctypes.create_string_buffer(2 * len(data) + 1000)
    length = library.ZSTD_compress2(context, target, len(target), data, len(data))
    return target.raw[:length]


def wide(frame, length=None):
    """Return a frame that does not say how long its content is with a window of 256 MiB, and perhaps with the length."""
    kind, size = (frame[4], b"") if length is None else (frame[4] | 0x80, struct.pack("<I", length))
    return frame[:4] + bytes([kind, 18 << 3]) + size + frame[6:]


def skippable(length):
    """Return a zstd frame to be skipped."""
    return struct.pack("<II", 0x184D2A53, length) + DICE.randbytes(length)


class Image:
    """An image under construction: metadata in front, one L2 table, data where it is put."""

    def __init__(self, kind, clusters, highest=0):
        self.kind = kind
        self.clusters = clusters
        self.entries = {}
        self.pieces = []
        self.counts = {}
        self.table_clusters = max(1, -(-(highest // CLUSTER // (CLUSTER // 2) + 1) * 8 // CLUSTER))
        self.l1_at = (1 + self.table_clusters) * CLUSTER
        self.l2_at = self.l1_at + CLUSTER
        self.blocks_at = self.l2_at + CLUSTER
        self.free = self.blocks_at + 4 * CLUSTER + 1

    def put(self, cluster, data, at=None, length=None):
        """Put compressed bytes anywhere; length is what the entry promises."""
        if at is None:
            at, self.free = self.free, self.free + len(data)
        self.pieces.append((at, data))
        sectors = (at + (len(data) if length is None else length) - 1) // 512 - at // 512
        self.entries[cluster] = 1 << 62 | sectors << WIDTH | at
        for host in range(at // CLUSTER, ((at // 512 + sectors) * 512) // CLUSTER + 1):
            self.counts[host] = self.counts.get(host, 0) + 1

    def write(self, path):
        """Write all of it; the file ends with the last byte of data."""
        blocks = sorted({0} | {host * 2 // CLUSTER for host in self.counts})
        for host in range(self.blocks_at // CLUSTER + len(blocks)):
            self.counts[host] = self.counts.get(host, 0) + 1
        with open(path, "wb") as file:
            file.write(struct.pack(">4sIQIIQIIQQIIQQQQIIB7x", b"QFI\xfb", 3, 0, 0, BITS, self.clusters * CLUSTER, 0, 1, self.l1_at,
                                   CLUSTER, self.table_clusters, 0, 0, 8 if self.kind == "zstd" else 0, 0, 0, 4, 112,
                                   self.kind == "zstd"))
            for number, block in enumerate(blocks):
                file.seek(CLUSTER + block * 8)
                file.write(struct.pack(">Q", self.blocks_at + number * CLUSTER))
            file.seek(self.l1_at)
            file.write(struct.pack(">Q", self.l2_at | 1 << 63))
            for cluster, raw in self.entries.items():
                file.seek(self.l2_at + cluster * 8)
                file.write(struct.pack(">Q", raw))
            for host, count in self.counts.items():
                block, index = divmod(host, CLUSTER // 2)
                file.seek(self.blocks_at + blocks.index(block) * CLUSTER + index * 2)
                file.write(struct.pack(">H", count))
            for at, data in self.pieces:
                file.seek(at)
                file.write(data)


def good_deflate():
    """Yield (stream, promised length or None, content)."""
    noise = DICE.randbytes(32500)
    repeated = (noise * 3)[:CLUSTER]
    assert len(deflate(repeated)) < CLUSTER * 5 // 8 < len(deflate(repeated, window=12))
    yield deflate(repeated), None, repeated
    for level in (0, 1, 9):
        yield deflate(text(level), level), None, text(level)
    noise = DICE.randbytes(CLUSTER)
    yield deflate(noise), None, noise
    yield deflate(text(11)) + DICE.randbytes(20000), None, text(11)
    yield deflate(text(12) + text(13)), None, text(12)
    yield deflate(b"z" * CLUSTER * 1000), None, b"z" * CLUSTER
    empty = b"\0\0\0\xff\xff" * 9000
    yield empty + deflate(text(14)), None, text(14)
    yield deflate(text(15)) + DICE.randbytes(CLUSTER), 2 * CLUSTER - 1024 - 511, text(15)
    yield from ((deflate(text(seed), 6), None, text(seed)) for seed in range(20, 28))


def good_zstd():
    """Yield the same for zstd."""
    for seed in (80, 81):
        for checksum in (0, 1):
            yield zstd(text(seed), checksum), None, text(seed)
            frame = zstd(text(seed), checksum, 0)
            yield frame, None, text(seed)
            # The largest window that QEMU takes: 128 MiB; or any, where the frame says how long its content is.
            yield frame[:5] + bytes([17 << 3]) + frame[6:], None, text(seed)
            yield wide(frame, CLUSTER), None, text(seed)
    noise = DICE.randbytes(CLUSTER)
    yield zstd(noise), None, noise
    yield zstd(text(1)) + DICE.randbytes(20000), None, text(1)
    parts = [text(2)[at:at + 5000] for at in range(0, CLUSTER, 5000)]
    yield b"".join(map(zstd, parts)), None, text(2)
    yield skippable(7) + b"".join(zstd(part) + skippable(100) for part in parts), None, text(2)
    yield skippable(30000) + zstd(text(3)), None, text(3)
    yield zstd(b"") * 50 + zstd(text(4)), None, text(4)
    yield b"".join(zstd(text(5)[at:at + 64]) for at in range(0, CLUSTER, 64)), None, text(5)
    yield zstd(text(6)) + DICE.randbytes(CLUSTER), 2 * CLUSTER - 1024 - 511, text(6)
    yield zstd(bytes(CLUSTER)), None, bytes(CLUSTER - 1) + b"\0"
    yield from ((zstd(text(seed)), None, text(seed)) for seed in range(20, 28))


def bad_deflate():
    """Yield (stream, promised length or None)."""
    whole = deflate(text(70))
    yield DICE.randbytes(9000), None
    yield b"\xff" * 9000, None
    yield bytes(9000), None
    yield deflate(text(71, CLUSTER - 1)), None
    yield b"", 512
    yield whole, len(whole) // 2
    yield zlib.compress(text(72)), None
    yield zstd(text(73)), None


def bad_zstd():
    """Yield the same for zstd."""
    whole = zstd(text(70), checksum=1)
    yield DICE.randbytes(9000), None
    yield bytes(9000), None
    yield deflate(text(71)), None
    yield zstd(text(72, CLUSTER - 1)), None
    yield zstd(text(72, CLUSTER + 1)), None
    yield zstd(text(72, CLUSTER - 1)) + zstd(b"ab"), None
    yield zstd(b"a" * (1 << 26)), None
    yield wide(zstd(text(76), 0, 0)), None
    yield skippable(9) + wide(zstd(text(77), 1, 0)), None
    yield whole, len(whole) // 2
    yield whole[:-1] + bytes([whole[-1] ^ 1]), None
    yield whole[:5000] + bytes(100) + whole[5100:], None
    yield skippable(2000) + whole[:3000], None
    yield struct.pack("<II", 0x184D2A50, 0xFFFFFFFF) + whole, None
    yield b"\x28\xb5\x2f\xfd" + b"\x23\x77\x66\x55\x44\x10" + whole[6:], None


def make(what, kind, path, model):
    """Make an image and its model."""
    pack = deflate if kind == "zlib" else zstd
    contents = {}
    image = Image(kind, CLUSTERS, 17 << 40 if what == "far" else 0)
    if what == "good":
        for cluster, (data, length, content) in enumerate(good_deflate() if kind == "zlib" else good_zstd()):
            image.put(cluster, data, length=length)
            contents[cluster] = content
        image.put(CLUSTERS - 1, pack(text(98)))
        contents[CLUSTERS - 1] = text(98)
    elif what == "damaged":
        for number, (data, length) in enumerate(bad_deflate() if kind == "zlib" else bad_zstd()):
            image.put(2 * number, data, length=length)
            image.put(2 * number + 1, pack(text(number)))
            contents.update({2 * number: None, 2 * number + 1: text(number)})
    elif what == "far":
        for number, at in enumerate((5 << 30, (17 << 40) - 777)):
            image.put(number, pack(text(number)), at=at)
            contents[number] = text(number)
    else:
        image.put(0, pack(text(0)))
        # Its sectors end far behind the file.
        image.put(5, pack(text(5)), length=2 * CLUSTER - 1024)
        contents.update({0: text(0), 5: text(5), 1: None, 2: None, 3: None, 4: None})
        image.entries[1] = 1 << 62 | (1 << WIDTH) - CLUSTER
        image.entries[2] = 1 << 62 | 3 << WIDTH | image.l2_at + 17
        image.entries[3] = 1 << 62 | 3 << WIDTH | 0
        image.entries[4] = 1 << 62 | 3 << WIDTH | (image.l2_at - CLUSTER - 512)
    image.write(path)
    with open(model, "wb") as file:
        for cluster in range(CLUSTERS):
            if contents.get(cluster, b"") is not None:
                file.seek(cluster * CLUSTER)
                file.write(contents.get(cluster, bytes(CLUSTER)))
        file.truncate(CLUSTERS * CLUSTER)


def read(device, model):
    """Compare cluster by cluster, each with two small reads first."""
    wrong, errors = [], 0
    with open(model, "rb") as file:
        expected = os.open(model, os.O_RDONLY)
        disk = os.open(device, os.O_RDONLY)
        for cluster in range(CLUSTERS):
            at = cluster * CLUSTER
            try:
                hole = os.lseek(expected, at, os.SEEK_DATA) >= at + CLUSTER
            except OSError:
                hole = True
            for offset, length in ((3584, 512), (CLUSTER - 8192, 8192), (0, CLUSTER)):
                try:
                    data = os.pread(disk, length, at + offset)
                except OSError:
                    data = None
                file.seek(at + offset)
                if (data is not None and hole) or (not hole and data != file.read(length)):
                    wrong.append((cluster, offset, "error" if data is None else "data"))
            errors += hole
    print(f"# {errors} errors expected, wrong: {wrong[:9]}")
    return bool(wrong)


def entry(path, cluster):
    """Print where the compressed bytes of a cluster are."""
    with open(path, "rb") as file:
        header = file.read(104)
        bits, = struct.unpack(">I", header[20:24])
        file.seek(struct.unpack(">Q", header[40:48])[0])
        table = struct.unpack(">Q", file.read(8))[0] & 0x00FFFFFFFFFFFE00
        file.seek(table + cluster * 8)
        raw, = struct.unpack(">Q", file.read(8))
    width = 62 - (bits - 8)
    at = raw & ((1 << width) - 1)
    print(at, ((raw & ((1 << 62) - 1)) >> width) * 512 + 512 - at % 512)


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(*sys.argv[2:])
    elif sys.argv[1] == "read":
        sys.exit(read(*sys.argv[2:]))
    else:
        entry(sys.argv[2], int(sys.argv[3]))
