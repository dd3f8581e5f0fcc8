#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""Make the images of hostile.manifest, and the plan of what a device of each has to do.

hostile.py FOLDER [WORD]...     all rows, or those with a WORD in the name; the plan is FOLDER/plan
hostile.py --list               NAME, ERRNO or -, SENTENCE or -, whether something is damaged; a line each

The base images have 24 clusters and three L1 entries, of which the last has no table:

    0 header   1 refcount table   2 its block   3 L1   4 5 L2   6 snapshot table   7 8 9 its L1, L2, data
    10..17 data of guest clusters 0 to 7    18..21 data of the first four of the second table
    22 what guest clusters 8 and 9 are compressed to    23 preallocated, zeros, guest cluster 11

Guest cluster 10 is plain zeros. The bases: v3 (clusters of 4 KiB), v2, zstd, wide (counts of 64 bits),
bits (of one), ext (extended L2, clusters of 16 KiB).

Some have a second file, NAME.other. data, raw: an external data file, where the guest clusters lie at their own
offsets; nothing is compressed, and there is no snapshot. over: v3 itself, on which a change is made; NAME is an
empty image over it.
"""

import functools
import os
import re
import struct
import sys
import zlib

HERE = os.path.dirname(os.path.realpath(__file__))
COPIED, ZIP, ZERO = 1 << 63, 1 << 62, 1
CLUSTERS = 24
STEPS = {"p": "write", "d": "discard", "z": "zero", "u": "unmap", "s": "unmap"}
FIELDS = {  # of the header: offset and bytes
    "magic": (0, 4), "version": (4, 4), "backing_offset": (8, 8), "backing_size": (16, 4), "cluster_bits": (20, 4), "size": (24, 8),
    "crypt": (32, 4), "l1_size": (36, 4), "l1_offset": (40, 8), "rt_offset": (48, 8), "rt_clusters": (56, 4),
    "nb_snapshots": (60, 4), "snapshots": (64, 8), "incompatible": (72, 8), "compatible": (80, 8), "autoclear": (88, 8),
    "order": (96, 4), "length": (100, 4), "compression": (104, 1),
}
SNAPSHOT = {"l1_offset": (0, 8), "l1_size": (8, 4), "id_size": (12, 2), "name_size": (14, 2), "extra": (36, 4), "disk_size": (48, 8)}
BITMAP = {"table": (0, 8), "table_size": (8, 4), "flags": (12, 4), "type": (16, 1), "granularity": (17, 1), "name_size": (18, 2),
          "extra": (20, 4)}


def deflate(data):
    """Return a raw deflate stream."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -12)
    return packer.compress(data) + packer.flush()


def zframe(byte, size, claim=None):
    """Return a zstd frame of one byte, repeated."""
    return (b"\x28\xb5\x2f\xfd\x60" + struct.pack("<H", (size if claim is None else claim) - 256) +
            (size << 3 | 3).to_bytes(3, "little") + bytes((byte,)))


def extension(kind, data, length=None):
    """Return one header extension; length may lie."""
    return struct.pack(">II", kind, len(data) if length is None else length) + data + bytes(-len(data) % 8)


class Base:
    """An image that is right, and its content."""

    def __init__(self, name):
        self.name = name
        self.version = 2 if name == "v2" else 3
        self.bits = 14 if name == "ext" else 12
        self.size = 1 << self.bits
        self.word = 16 if name == "ext" else 8
        self.order = {"wide": 6, "bits": 0}.get(name, 4)
        self.span = self.size * self.size // self.word
        self.file = name in ("data", "raw")
        self.disk = 2 * self.span + 16 * self.size
        self.content = {}       # guest cluster: bytes
        self.shown = {}         # by a view of the snapshot
        self.data = bytearray(CLUSTERS * self.size)
        self.other = bytearray(self.disk) if self.file else None
        self.table = {"data": "1 qcow2 {0} 2 data_file {0}.other", "raw": "1 qcow2 {0} 2 data_file {0}.other",
                      "over": "2 qcow2 {0} qcow2 {0}.other"}.get(name, "1 qcow2 {0}")
        self.fill()

    def put(self, at, value, width=8):
        """Write a number."""
        if len(self.data) < at + width:
            self.data += bytes(at + width - len(self.data))
        self.data[at:at + width] = value.to_bytes(width, "big")

    def count(self, hclu, value):
        """Write a count."""
        width = 1 << self.order
        if width < 8:
            at, shift = 2 * self.size + hclu * width // 8, hclu * width % 8
            self.data[at] = self.data[at] & ~((1 << width) - 1 << shift) | value << shift
        else:
            self.put(2 * self.size + hclu * width // 8, value, width // 8)

    def entry(self, table, index, value, bits=None):
        """Write an L2 entry of cluster table, and its bitmap."""
        self.put(table * self.size + index * self.word, value)
        if bits is not None and self.name == "ext":
            self.put(table * self.size + index * self.word + 8, bits)

    def fill(self):
        """Write header, tables and data."""
        size, second = self.size, self.span // self.size
        for field, value in {"magic": 0x514649FB, "version": self.version, "cluster_bits": self.bits, "size": self.disk,
                             "l1_size": 3, "l1_offset": 3 * size, "rt_offset": size, "rt_clusters": 1, "nb_snapshots": 1,
                             "snapshots": 6 * size}.items():
            self.put(FIELDS[field][0], value, FIELDS[field][1])
        if self.version > 2:
            self.put(72, {"zstd": 8, "ext": 16, "data": 4, "raw": 4}.get(self.name, 0))
            self.put(88, 2 if self.name == "raw" else 0)
            self.put(96, self.order, 4)
            self.put(100, 112, 4)
            self.data[104] = self.name == "zstd"
        self.put(size, 2 * size)
        for hclu in range(6 if self.file else CLUSTERS):
            self.count(hclu, 1)
        if self.name == "bits":
            self.put(7 * size, 0)   # no cluster can be shared
        for index, table in enumerate((4, 5)):
            self.put(3 * size + 8 * index, table * size | COPIED)
        for place, guest, table, index in [(10 + i, i, 4, i) for i in range(8)] + [(18 + i, second + i, 5, i) for i in range(4)]:
            self.content[guest] = bytes((0x40 + place,)) * size
            data, place = (self.other, guest) if self.file else (self.data, place)
            data[place * size:(place + 1) * size] = self.content[guest]
            self.entry(table, index, place * size | COPIED, 0xFFFFFFFF)
        if self.file:
            self.put(60, 0, 4)
            self.put(64, 0)
            self.entry(4, 10, ZERO)
            self.entry(4, 11, 11 * size | COPIED | ZERO)
            return
        self.zipped(8, 22 * size + 4, 0x77)
        if self.name not in ("bits", "wide"):
            self.zipped(9, 22 * size + 0x200, 0x78)
            self.count(22, 2)
        if self.version > 2:
            self.entry(4, 10, 0 if self.name == "ext" else ZERO, 0xFFFFFFFF << 32)
            self.entry(4, 11, 23 * size | COPIED | (0 if self.name == "ext" else ZERO), 0xFFFFFFFF << 32)
        else:
            self.count(23, 0)
        self.snapshot()

    def zipped(self, guest, at, byte):
        """Compress a cluster to a place."""
        self.content[guest] = bytes((byte,)) * self.size
        packed = zframe(byte, self.size) if self.name == "zstd" else deflate(self.content[guest])
        self.data[at:at + len(packed)] = packed
        self.entry(4, guest, ZIP | at, 0)

    def snapshot(self):
        """Write the snapshot table with its one snapshot."""
        size = self.size
        entry = struct.pack(">QIHHIIQII", 7 * size, 3, 1, 4, 1, 0, 0, 0, 24) + struct.pack(">QQQ", 0, self.disk, (1 << 64) - 1) + b"1snap"
        self.data[6 * size:6 * size + len(entry)] = entry
        self.put(7 * size, 8 * size)
        self.shown[0] = b"s" * size
        self.data[9 * size:10 * size] = self.shown[0]
        self.entry(8, 0, 9 * size | COPIED, 0xFFFFFFFF)


@functools.lru_cache(None)
def base_of(name):
    """Return a base that nobody changes."""
    return Base(name)


class Image(Base):
    """A base with the change of one row."""

    def __init__(self, name):   # pylint: disable=super-init-not-called
        self.__dict__.update(vars(base_of(name)))
        self.content, self.data = dict(self.content), bytearray(self.data)
        self.other = self.other and bytearray(self.other)

    def change(self, text):
        """Apply "PLACE = VALUE; ..."."""
        names = {"CS": self.size, "COPIED": COPIED, "ZIP": ZIP, "ZERO": ZERO, "END": CLUSTERS * self.size, "extension": extension,
                 "deflate": deflate, "zframe": zframe, "span": self.span, "noise": bytes(range(7, 256)) * 30,
                 "image": self, "disk": self.disk}
        names.update({name: place * self.size for place, name in enumerate(
            "HEADER RT RB L1 L2 L2B SNAP SNAPL1 SNAPL2 SNAPDATA DATA".split())})
        for step in filter(None, map(str.strip, text.split(";"))):
            match = re.fullmatch(r"([\w.]+)(?:\[(.+?)\])? = (.*)", step)
            place, index, value = match.groups()
            self.step(place, index and eval(index, names), eval(value, names))  # pylint: disable=eval-used

    def step(self, place, index, value):
        """Apply one."""
        size = self.size
        tables = {"l1": 3, "rt": 1, "sl1": 7}
        if place in FIELDS:
            self.put(FIELDS[place][0], value, FIELDS[place][1])
        elif place in tables:
            self.put(tables[place] * size + 8 * index, value)
        elif place in ("l2", "l2b", "sl2"):
            self.entry({"l2": 4, "l2b": 5, "sl2": 8}[place], index, value)
        elif place == "bitmap":
            self.put(4 * size + index * self.word + 8, value)
        elif place == "count":
            self.count(index, value)
        elif place == "bytes":
            self.data[index:index + len(value)] = value
        elif place.startswith("snap."):
            self.put(6 * size + SNAPSHOT[place[5:]][0], value, SNAPSHOT[place[5:]][1])
        elif place.startswith("dirty."):
            self.put(24 * size + BITMAP[place[6:]][0], value, BITMAP[place[6:]][1])
        elif place == "cut":
            del self.data[value:]
        elif place == "other.cut":
            del self.other[value:]
        elif place == "table":
            self.table = value
        elif place == "extensions":
            start = 112 if self.version > 2 else 72
            self.data[start:start + len(value)] = value
        elif place == "bitmaps":   # a directory with one bitmap in cluster 24; a tuple of count, reserved, size, offset
            self.put(88, 1)
            area = extension(0x23852875, struct.pack(">IIQQ", *value))
            self.data[112:112 + len(area)] = area
            self.data += struct.pack(">QIIBBHI", 23 * size, 1, 2, 1, 16, 5, 0) + b"daily" + bytes(3)
        else:
            raise ValueError(place)

    def save(self, path):
        """Write the files of a row."""
        if self.name == "over":
            self.other, self.data = self.data, empty_over(os.path.basename(path) + ".other")
        for end, data in (("", self.data), (".other", self.other)):
            if data is not None:
                with open(path + end, "wb") as file:
                    file.write(data)


def empty_over(below):
    """Return an image as large as v3 with nothing in it but the name of the layer below."""
    top = Image("data")
    top.put(72, 0)
    top.put(3 * top.size, 0, 16)
    for place in (4, 5):
        top.count(place, 0)
    area = extension(0xE2792ACA, b"qcow2")
    top.data[112:112 + len(area)] = area
    top.put(8, 512)
    top.put(16, len(below), 4)
    top.data[512:512 + len(below)] = below.encode()
    del top.data[4 * top.size:]
    return top.data + bytes(4 * top.size)


def rows():
    """Yield (name, base, change, rule, verdict) of the manifest."""
    with open(f"{HERE}/hostile.manifest", encoding="ascii") as file:
        for line in file:
            if line.strip() and not line.startswith("#"):
                yield tuple(part.strip() for part in line.split("::"))


def ranges(text, base):
    """Return the guest clusters of "0-3,b2,rest": bN counts from the second table, cN from the third."""
    second = base.span // base.size
    found = set()
    for part in text.split(","):
        start = {"b": second, "c": 2 * second}.get(part[0], 0)
        first, _, last = part.lstrip("bc").partition("-")
        found.update(range(start + int(first), start + int(last or first) + 1))
    return found


def reads(base, content, exceptions, out):
    """Print what the interesting clusters, and large parts of the rest, read as."""
    kinds = {}
    for kind, clusters in exceptions:
        kinds.update(dict.fromkeys(ranges(clusters, base), "E" if kind == "D" else kind))
    second, step = base.span // base.size, base.size // 512
    for guest in [*range(16), *range(second, second + 16), *range(2 * second, 2 * second + 16)]:
        kind = kinds.get(guest, "=")
        byte = content.get(guest, b"\0")[0] if kind == "=" else 0
        out.append(f"read {guest * step} {step} {'E' if kind == 'E' else byte}")
    for guest in (16, second + 16):
        length = min(second - 16, (1 << 20) // base.size)
        kind = kinds.get(guest, "=")
        out.append(f"read {guest * step} {(step if kind == 'E' else length * step)} {'E' if kind == 'E' else 0}")


def plan(row, table):
    """Return the lines of the plan for one row."""
    name, base, _, _, verdict = row
    base = base_of(base)
    words = verdict.split()
    how = {"writes": "rw", "shows": "view"}.get(words[0], "ro")
    if words[0] == "refused" and words[1] in ("rw", "view"):
        how = words.pop(1)
    table = table.format("@" + name) + (" 2 snapshot 1" if how == "view" else "")
    out = [f"image {name} {base.disk // 512} {how} {table}"]
    if words[0] == "refused":
        return out + [f"refused {' '.join(words[1:])}"]
    if words[0] in ("reads", "shows"):
        reads(base, base.content if how == "ro" else base.shown, [word.split(":") for word in words[1:]], out)
        return out + ["same"]
    step = base.size // 512
    for word in words[1:]:
        what, _, where = word.partition(":")
        if what in ("mode", "bit"):
            out.append(f"{what} {where}")
        else:           # E:N a write that fails, ok:N one that does not; with a letter before it something else
            guest, length = min(ranges(where, base)), {"s": step // 32, "p": 1}.get(what[0], step)
            out.append(f"{STEPS.get(what[0], 'write')} {guest * step} {length} {what.lstrip('pdzus').replace('D', 'E')}")
            if what == "pok":
                out.append(f"read {guest * step + 1} {step - 1} {base.content.get(guest, bytes(1))[0]}")
    return out + ["metadata"]


def main():
    """Run hostile.py."""
    if sys.argv[1] == "--list":
        for name, base, change, _, verdict in rows():
            words = verdict.split()
            refusal = words[2:] if words[1:2] == ["rw"] else words[1:]
            # What the second file has to do with it the kernel alone is asked for.
            refused = words[0] == "refused" and words[1] != "view" and base not in ("data", "raw", "over")
            print(name, refusal[0] if refused else "-", " ".join(refusal[1:]) if refused else "-",
                  "damaged" if base != "over" and ((words[0] == "writes" and change and "D:" not in verdict) or " E:" in verdict) else "-", sep="\t")
        return
    folder, wanted, lines = sys.argv[1], sys.argv[2:], []
    for row in rows():
        if wanted and not any(word in row[0] for word in wanted):
            continue
        try:
            image = Image(row[1])
            image.change(row[2])
            lines += plan(row, image.table)
        except (ValueError, AttributeError, NameError, IndexError, SyntaxError, TypeError, OverflowError) as problem:
            sys.exit(f"hostile.py: {row}: {problem!r}")
        image.save(f"{folder}/{row[0]}")
    with open(f"{folder}/plan", "w", encoding="ascii") as file:
        file.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
