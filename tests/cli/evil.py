#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""Make images that are damaged, each named after its damage.

evil.py list WHICH       lines "NAME<tab>EXIT-CODE<tab>REGEX" of: broken (no command takes them), lists
                        (info does not), use (good, but attach does not)
evil.py make WHICH      write all of them into the current folder; or one, by its name
"""

import struct
import sys

CLUSTER = 65536
HEADER = ">IIQIIQIIQQIIQQQQIIB7x"
NAMES = ("magic version backing_offset backing_size cluster_bits size crypt l1_size l1 reftable "
         "reftable_clusters nb_snapshots snapshots incompatible compatible autoclear order length "
         "compression").split()
GOOD = {
    "magic": 0x514649FB, "version": 3, "backing_offset": 0, "backing_size": 0, "cluster_bits": 16,
    "size": 1 << 20, "crypt": 0, "l1_size": 1, "l1": 3 * CLUSTER, "reftable": CLUSTER,
    "reftable_clusters": 1, "nb_snapshots": 0, "snapshots": 0, "incompatible": 0, "compatible": 0,
    "autoclear": 0, "order": 4, "length": 112, "compression": 0,
}
BACKING_FORMAT, FEATURE_NAMES, BITMAPS, CRYPTO, DATA_FILE = (
    0xE2792ACA, 0x6803F857, 0x23852875, 0x0537BE77, 0x44415441)


def extension(kind, data, length=None):
    """Return one header extension; length may lie."""
    return struct.pack(">II", kind, len(data) if length is None else length) + data + bytes(-len(data) % 8)


def image(extensions=b"", tail=b"", cut=None, **fields):
    """Return the bytes of an image with some fields changed. backing: a name behind the extensions."""
    backing = fields.pop("backing", "").encode()
    header = {**GOOD, **fields}
    area = extensions + bytes(8)
    if backing:
        header["backing_offset"] = header.get("backing_offset") or 112 + len(area)
        header["backing_size"] = header.get("backing_size") or len(backing)
    start = struct.pack(HEADER, *(header[name] for name in NAMES)) + area + backing
    data = bytearray(4 * CLUSTER)
    data[:len(start)] = start
    data[CLUSTER:CLUSTER + 8] = struct.pack(">Q", 2 * CLUSTER)
    counts = 4 + len(tail) // CLUSTER
    data[2 * CLUSTER:2 * CLUSTER + 2 * counts] = struct.pack(">H", 1) * counts
    return bytes(data + tail)[:cut]


def snapshot(**changes):
    """Return a cluster with one snapshot table entry."""
    entry = {"l1": 3 * CLUSTER, "l1_size": 1, "id_size": 1, "name_size": 4, "sec": 1, "nsec": 0, "clock": 0,
             "vmstate": 0, "extra": 24, **changes}
    data = struct.pack(">QIHHIIQII", *entry.values()) + struct.pack(">QQQ", 0, 1 << 20, 0) + b"1snap"
    return data + bytes(-len(data) % CLUSTER)


def bitmap(**changes):
    """Return a cluster with one bitmap directory entry."""
    entry = {"table": 3 * CLUSTER, "size": 1, "flags": 2, "type": 1, "granularity": 16, "name_size": 5, "extra": 0,
             **changes}
    data = struct.pack(">QIIBBHI", *entry.values()) + b"daily"
    return data + bytes(-len(data) % CLUSTER)


def bitmaps_extension(**changes):
    """Return a bitmaps extension for a directory in cluster 4."""
    value = {"count": 1, "reserved": 0, "size": 32, "offset": 4 * CLUSTER, **changes}
    return extension(BITMAPS, struct.pack(">IIQQ", *value.values()))


NAMED = extension(FEATURE_NAMES, struct.pack(">BB46s", 0, 40, b"zoned \x1b[31mformat"))

# name: (exit code, regular expression, function): no command takes these.
BROKEN = {
    "empty": (1, "not a qcow2 image", lambda: b""),
    "raw": (1, "not a qcow2 image", lambda: bytes(CLUSTER)),
    "text": (1, "not a qcow2 image", lambda: b"QFI but only nearly\n" * 100),
    "only_magic": (7, "ends inside the header", lambda: image(cut=4)),
    "header_cut_v2": (7, "ends inside the header", lambda: image(version=2, cut=71)),
    "header_cut_v3": (7, "ends inside the header", lambda: image(cut=103)),
    "version_1": (9, "version is neither 2 nor 3", lambda: image(version=1)),
    "version_4": (9, "version is neither 2 nor 3", lambda: image(version=4)),
    "cluster_bits_8": (7, "cluster_bits", lambda: image(cluster_bits=8)),
    "cluster_bits_22": (7, "cluster_bits", lambda: image(cluster_bits=22)),
    "cluster_bits_huge": (7, "cluster_bits", lambda: image(cluster_bits=0x80000010)),
    "header_length_96": (7, "header_length", lambda: image(length=96)),
    "header_length_huge": (7, "header_length", lambda: image(length=CLUSTER + 8)),
    "refcount_order_7": (7, "refcount_order", lambda: image(order=7)),
    "crypt_method_3": (9, "crypt_method", lambda: image(crypt=3)),
    "size_huge": (7, "size needs an L1 table", lambda: image(size=1 << 62)),
    "l1_too_small": (7, "l1_size does not cover", lambda: image(l1_size=0)),
    "l1_too_large": (7, "l1_size exceeds", lambda: image(l1_size=0x400001)),
    "l1_unaligned": (7, "l1_table_offset is not cluster aligned", lambda: image(l1=3 * CLUSTER + 512)),
    "l1_wraps": (7, "l1_table_offset leads beyond", lambda: image(l1=0xFFFFFFFFFFFF0000)),
    "reftable_empty": (7, "refcount_table_clusters is 0", lambda: image(reftable_clusters=0)),
    "reftable_too_large": (7, "refcount_table_clusters exceeds", lambda: image(reftable_clusters=129)),
    "reftable_huge": (7, "refcount_table_clusters exceeds", lambda: image(reftable_clusters=0xFFFFFFFF)),
    "reftable_unaligned": (7, "refcount_table_offset is not", lambda: image(reftable=CLUSTER + 1)),
    "reftable_beyond": (7, "refcount_table_offset leads", lambda: image(reftable=1 << 60)),
    "snapshots_too_many": (7, "nb_snapshots", lambda: image(nb_snapshots=65537)),
    "snapshots_unaligned": (7, "snapshots_offset is not", lambda: image(nb_snapshots=1, snapshots=7)),
    "snapshots_beyond": (7, "snapshots_offset leads", lambda: image(nb_snapshots=1, snapshots=1 << 60)),
    "backing_offset": (7, "backing_file_offset", lambda: image(backing_offset=CLUSTER + 1, backing_size=1)),
    "backing_size": (7, "backing_file_size", lambda: image(backing_offset=512, backing_size=1024)),
    "unknown_feature": (9, r'unknown incompatible feature bit 40 \("unknown"\)', lambda: image(incompatible=1 << 40)),
    "named_feature": (9, r'bit 40 \("zoned \?\[31mformat"\)', lambda: image(NAMED, incompatible=1 << 40)),
    "compression_2": (9, "compression_type is unknown", lambda: image(incompatible=8, compression=2)),
    "compression_silent": (7, "compression_type contradicts", lambda: image(compression=1)),
    "compression_none": (7, "compression_type contradicts", lambda: image(incompatible=8)),
    "extended_l2_small": (7, "extended L2", lambda: image(incompatible=16, cluster_bits=12)),
    "raw_without_data_file": (7, "raw data file", lambda: image(autoclear=2)),
    "extension_too_long": (7, "extension leaves", lambda: image(extension(0x1234, b"", 0xFFFFFFF0))),
    "end_too_long": (7, "extension leaves", lambda: image(extension(0, b"", CLUSTER))),
    "backing_format_long": (7, "backing format", lambda: image(extension(BACKING_FORMAT, b"x" * 16))),
    "bitmaps_size": (7, "bitmaps extension is not 24", lambda: image(extension(BITMAPS, bytes(16)), autoclear=1)),
    "bitmaps_none": (7, "bitmaps extension has", lambda: image(bitmaps_extension(count=0), autoclear=1)),
    "bitmaps_unaligned": (7, "bitmaps extension has", lambda: image(bitmaps_extension(offset=5), autoclear=1)),
    "crypto_without_method": (7, "contradict", lambda: image(extension(CRYPTO, struct.pack(">QQ", 0x40000, 592)))),
    "crypto_missing": (7, "contradict", lambda: image(crypt=2)),
    "crypto_size": (7, "not 16 bytes", lambda: image(extension(CRYPTO, bytes(8)), crypt=2)),
    "data_file_long": (7, "longer than 4095", lambda: image(extension(DATA_FILE, b"x" * 4096), incompatible=4)),
    "tables_overlap": (7, "overlap", lambda: image(l1=CLUSTER)),
    "header_overlap": (7, "overlap", lambda: image(l1=0)),
}
# The lists that only info reads.
LISTS = {
    "snapshot_cut": (7, "snapshot 0: .*ends inside", lambda: image(nb_snapshots=1, snapshots=4 * CLUSTER)),
    "snapshot_beyond": (7, "snapshot 0: .*ends inside", lambda: image(nb_snapshots=1, snapshots=1 << 50)),
    "snapshot_extra": (7, "snapshot 0: .*1024", lambda: image(tail=snapshot(extra=1025), nb_snapshots=1,
                                                               snapshots=4 * CLUSTER)),
    "snapshot_missing": (7, "snapshot [0-9]+: .*ends inside", lambda: image(
        tail=snapshot(), nb_snapshots=5000, snapshots=4 * CLUSTER)),
    "bitmap_type": (7, "bitmap 0: .*impossible", lambda: image(bitmaps_extension(), bitmap(type=9), autoclear=1)),
    "bitmap_name": (7, "bitmap 0: .*ends inside", lambda: image(bitmaps_extension(), bitmap(name_size=900), autoclear=1)),
    "bitmap_missing": (7, "bitmap 1: .*", lambda: image(bitmaps_extension(count=2), bitmap(), autoclear=1)),
}
# Good images that attach refuses.
USE = {
    "dirty": (7, "dirty", lambda: image(incompatible=1)),
    "corrupt": (7, "marked corrupt", lambda: image(incompatible=2)),
    "aes": (9, r"encrypted images \(AES\)", lambda: image(crypt=1)),
    "luks": (9, r"encrypted images \(LUKS\)", lambda: image(extension(CRYPTO, struct.pack(">QQ", 0x40000, 592)), crypt=2)),
    "size_0": (1, "size 0", lambda: image(size=0)),
    "bitmaps": (4, "persistent bitmaps", lambda: image(bitmaps_extension(), bitmap(), autoclear=1)),
    "backing": (4, 'names a backing file "base.qcow2"', lambda: image(backing="base.qcow2")),
    "backing_url": (4, r'names a backing file "nbd://host/x"', lambda: image(backing="nbd://host/x")),
    "backing_json": (4, "names a backing file", lambda: image(backing='json:{"driver":"qcow2"}')),
    "backing_escape": (4, r'names a backing file "/x\\x1b\[2J\\x0a\$\(id\)"', lambda: image(backing="/x\x1b[2J\n$(id)")),
    "data_file": (4, 'names a data file "d.raw"', lambda: image(extension(DATA_FILE, b"d.raw"), incompatible=4)),
}
ALL = {**BROKEN, **LISTS, **USE}


def main():
    """Run evil.py."""
    word = sys.argv[2]
    table = {"broken": BROKEN, "lists": LISTS, "use": USE}.get(word) or {word: ALL[word]}
    for name, (code, regex, build) in table.items():
        if sys.argv[1] == "list":
            print(name, code, regex, sep="\t")
            continue
        with open(name, "wb") as file:
            file.write(build())


if __name__ == "__main__":
    main()
