# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""A reader of QCOW2 images in memory: what the disk and each snapshot show, as digests.

A digest covers the bytes that are not zero and where they are, so it tells nothing about how zeros
are stored. It trusts no flag and no count; whether those are right is qemu-img check's business.
"""

import ctypes
import hashlib
import os
import struct
import zlib

OFFSET = 0x00FFFFFFFFFFFE00
COMPRESSED = 1 << 62
PAGE = 4096


def inflate(kind, data, size):
    """Return the first size bytes of a compressed cluster."""
    if kind == 0:
        return zlib.decompressobj(-15).decompress(data, size)
    library = ctypes.CDLL("libzstd.so.1")
    library.ZSTD_findFrameCompressedSize.restype = library.ZSTD_decompress.restype = ctypes.c_size_t
    library.ZSTD_findFrameCompressedSize.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
    library.ZSTD_decompress.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]
    target = ctypes.create_string_buffer(size)
    length = library.ZSTD_findFrameCompressedSize(data, len(data))
    done = library.ZSTD_decompress(target, size, data, length)
    return target.raw[:done]


class Raw:
    """A raw image."""

    def __init__(self, data):
        self.data = data
        self.size = len(data)

    def read(self, offset, length):
        """Return bytes; behind the end there are zeros."""
        part = bytes(self.data[offset:offset + length])
        return part + bytes(length - len(part))

    def digest(self, size=None):
        """Return the digest of the first size bytes."""
        return digest_of((at, self.read(at, min(4096, (size or self.size) - at)))
                         for at in range(0, size or self.size, 4096))


def pages(pieces):
    """Cut (offset, bytes) pairs, in order, into aligned pages, so that the size of clusters does not matter."""
    last, page = -1, b""
    for offset, data in pieces:
        for at in range(offset - offset % PAGE, offset + len(data), PAGE):
            start = max(at, offset)
            part = data[start - offset:at + PAGE - offset]
            if at != last:
                yield last, page
                last, page = at, b""
            page += bytes(start - at - len(page)) + part
    yield last, page


def digest_of(pieces):
    """Digest (offset, bytes) pairs, in order."""
    total = hashlib.blake2b(digest_size=12)
    for offset, page in pages((offset, data) for offset, data in pieces if data != bytes(len(data))):
        page = page.rstrip(b"\0")
        if page:
            total.update(struct.pack(">QI", offset, len(page)) + page)
    return total.hexdigest()


class Image:
    """One QCOW2 image; data are the bytes of the file, guest those of where the clusters lie."""

    def __init__(self, data, below=None):
        self.data = self.guest = data
        self.below = below
        (magic, self.version, backing, backing_length, bits, self.size, self.crypt, self.l1_size, self.l1_at,
         _, _, self.nr_snapshots, self.snapshots_at) = struct.unpack(">IIQIIQIIQQIIQ", data[:72])
        assert magic == 0x514649FB, "no qcow2 header"
        self.bits, self.cluster = bits, 1 << bits
        self.incompatible = struct.unpack(">Q", data[72:80])[0] if self.version > 2 else 0
        self.kind = data[104] if self.version > 2 else 0
        self.extended = bool(self.incompatible & 16)
        self.entry = 16 if self.extended else 8
        self.per_table = self.cluster // self.entry
        self.backing = bytes(data[backing:backing + backing_length]).decode() if backing else None
        self.raw_data = bool(self.version > 2 and self.incompatible & 4 and data[95] & 2)
        self.data_file = self.extension(0x44415441).decode() if self.incompatible & 4 else None
        self.l1 = self.table(self.l1_at, self.l1_size)

    def extension(self, wanted):
        """Return the bytes of a header extension."""
        at = struct.unpack(">I", self.data[100:104])[0]
        kind = None
        while kind != 0:
            kind, length = struct.unpack(">II", self.data[at:at + 8])
            if kind == wanted:
                return bytes(self.data[at + 8:at + 8 + length])
            at += 8 + (length + 7 & ~7)
        return b""

    def table(self, offset, count):
        """Return a table of 64-bit entries."""
        part = bytes(self.data[offset:offset + 8 * count])
        return struct.unpack(f">{count}Q", part + bytes(8 * count - len(part)))

    def host(self, offset, length, of=None):
        """Return bytes of the file; behind its end there are zeros."""
        part = bytes((of or self.data)[offset:offset + length])
        return part + bytes(length - len(part))

    def under(self, offset, length):
        """Return what is below."""
        return self.below.read(offset, length) if self.below else bytes(length)

    def decode(self, raw, bitmap, goff):
        """Return the bytes of one guest cluster, None for zeros."""
        if raw & COMPRESSED:
            width = 62 - (self.bits - 8)
            at = raw & ((1 << width) - 1)
            sectors = (raw & (COMPRESSED - 1)) >> width
            data = inflate(self.kind, self.host(at, (sectors + 1) * 512 - at % 512), self.cluster)
            assert len(data) == self.cluster, "damaged compressed cluster"
            return data
        at = raw & OFFSET
        assert not self.data_file or at in (0, goff), "data at another place of the data file"
        if self.extended:
            return self.subclusters(at, bitmap, goff)
        if raw & 1 and self.version > 2:
            return None
        if at or self.data_file and raw >> 63:
            return self.host(at, self.cluster, self.guest)
        return self.under(goff, self.cluster)

    def subclusters(self, at, bitmap, goff):
        """Return the bytes of a cluster with extended L2."""
        if bitmap == 0xFFFFFFFF:
            return self.host(at, self.cluster, self.guest)
        if bitmap == 0:
            return self.under(goff, self.cluster)
        size, parts = self.cluster // 32, []
        for bit in range(32):
            if bitmap >> bit & 1:
                parts.append(self.host(at + bit * size, size, self.guest))
            elif bitmap >> (32 + bit) & 1:
                parts.append(bytes(size))
            else:
                parts.append(self.under(goff + bit * size, size))
        return b"".join(parts)

    def clusters(self, l1, size, start=0):
        """Yield (offset, bytes) of the clusters below size that may not be zero, from the table on that has start."""
        span = self.cluster * self.per_table
        step = self.entry // 8
        for index in range(start // span, -(-size // span)):
            entry = l1[index] & OFFSET if index < len(l1) else 0
            if not entry and not self.below:
                continue
            count = min(self.per_table, -(-(size - index * span) // self.cluster))
            table = self.table(entry, count * step) if entry else (0,) * (count * step)
            raws, bitmaps = table[::step], table[1::2] if step == 2 else (0,) * count
            # What is below shows through up to there.
            shown = -(-(self.below.size - index * span) // self.cluster) if self.below else 0
            for nr in [nr for nr in range(count) if raws[nr] or bitmaps[nr] or nr < shown]:
                goff = index * span + nr * self.cluster
                data = self.decode(raws[nr], bitmaps[nr], goff)
                if data:
                    yield goff, data[:size - goff]

    def digest(self, size=None, l1=None):
        """Return the digest of the first size bytes (the disk) as an L1 table shows them."""
        return digest_of(self.clusters(self.l1 if l1 is None else l1, self.size if size is None else size))

    def read(self, offset, length):
        """Return bytes of the disk; behind its end there are zeros."""
        if not hasattr(self, "whole"):
            self.whole = bytearray(self.size)
            for goff, data in self.clusters(self.l1, self.size):
                self.whole[goff:goff + len(data)] = data
        return Raw(self.whole).read(offset, length)

    def entries(self):
        """Return the bytes of all snapshot table entries, by id."""
        found = {}
        at = self.snapshots_at
        for name, tag, _, _, _ in self.snapshots():
            extra, = struct.unpack(">I", self.data[at + 36:at + 40])
            end = at + 40 + extra + len(name.encode()) + len(tag.encode())
            found[name] = bytes(self.data[at:end])
            at = (end + 7) & ~7
        return found

    def snapshots(self):
        """Yield (id, tag, disk size, size of the state, L1 table)."""
        at = self.snapshots_at
        for _ in range(self.nr_snapshots):
            l1_at, l1_size, id_length, tag_length = struct.unpack(">QIHH", self.data[at:at + 16])
            state, extra = struct.unpack(">II", self.data[at + 32:at + 40])
            size = self.size
            if extra >= 16:
                state, size = struct.unpack(">QQ", self.data[at + 40:at + 56])
            text = at + 40 + extra
            name = bytes(self.data[text:text + id_length]).decode()
            tag = bytes(self.data[text + id_length:text + id_length + tag_length]).decode()
            at = (text + id_length + tag_length + 7) & ~7
            yield name, tag, size, state, self.table(l1_at, l1_size)

    def view(self, size, l1):
        """Return (digest of the disk, digest of a virtual machine's state behind it) of a snapshot."""
        span = self.cluster * self.per_table
        start = -(-size // span) * span
        state = digest_of(self.clusters(l1, span * len(l1), start))
        return self.digest(size, l1), state

    def views(self):
        """Return what can be seen: {"disk": (size, digest), id: (tag, size, state's size, digests)}."""
        found = {"disk": (self.size, self.digest())}
        for name, tag, size, state, l1 in self.snapshots():
            found[name] = (tag, size, state, self.view(size, l1))
        return found


def load(path, data=None):
    """Return the image at path, or data as if it were there, with what it names below it."""
    if data is None:
        with open(path, "rb") as file:
            data = file.read()
    if data[:4] != b"QFI\xfb":
        return Raw(data)
    image = Image(data)
    if image.data_file:
        with open(os.path.join(os.path.dirname(path), image.data_file), "rb") as file:
            image.guest = file.read()
    if image.backing:
        image.below = load(os.path.join(os.path.dirname(path), image.backing))
    return image
