# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""What attach, a snapshot and a commit cost against the size of the disk, in virtual time.

The images have all clusters mapped, and no data: the file is sparse.
"""

import array
import fcntl
import os
import re
import struct
import subprocess
import time

import peers
import scale

BLKDISCARD = 0x1277
COPIED = 1 << 63
GIB = 1 << 30
# Size of the disk in GiB, and cluster_bits.
SIZES = ((1, 16), (16, 16), (64, 16), (64, 21), (1024, 21), (16384, 21))
DISCARDS = 32       # clusters whose mapping a commit writes


def big_endian(values):
    """Return 64-bit words."""
    words = array.array("Q", values)
    words.byteswap()
    return words.tobytes()


def make(path, size, bits):
    """Write an image whose disk is mapped cluster after cluster, behind its metadata."""
    cluster = 1 << bits
    clusters, entries, counts = size >> bits, cluster // 8, cluster // 2
    tables = -(-clusters // entries)
    l1_clusters = -(-tables * 8 // cluster)
    blocks = 0
    while blocks != -(-(2 + blocks + l1_clusters + tables + clusters) // counts):
        blocks = -(-(2 + blocks + l1_clusters + tables + clusters) // counts)
    first_table = 2 + blocks + l1_clusters
    data, total = first_table + tables, first_table + tables + clusters
    with open(path, "wb") as file:
        file.write(struct.pack(">IIQIIQIIQQIIQQQQIIB7x", 0x514649FB, 3, 0, 0, bits, size, 0, tables, (2 + blocks) << bits, cluster,
                               1, 0, 0, 0, 0, 0, 4, 112, 0))
        file.seek(cluster)
        file.write(big_endian((2 + block) << bits for block in range(blocks)))
        file.seek(2 << bits)
        ones = struct.pack(">H", 1) * counts
        for block in range(blocks):
            file.write(ones[:2 * min(counts, total - block * counts)])
        file.seek((2 + blocks) << bits)
        file.write(big_endian((first_table + table) << bits | COPIED for table in range(tables)))
        for table in range(tables):
            file.seek((first_table + table) << bits)
            begin = table * entries
            first = (data + begin) << bits | COPIED
            file.write(big_endian(range(first, first + (min(entries, clusters - begin) << bits), cluster)))
        file.truncate(total << bits)
        os.fsync(file.fileno())


def commit(minor, size, cluster):
    """Give clusters back all over the disk; return the instructions of the commit that makes it durable."""
    fd = os.open(f"/dev/dm-{minor}", os.O_RDWR | os.O_DIRECT)
    try:
        for number in range(DISCARDS):
            goff = size // DISCARDS * number // cluster * cluster
            fcntl.ioctl(fd, BLKDISCARD, struct.pack("=QQ", goff, cluster))
        start = time.monotonic_ns()
        os.fsync(fd)
        return (time.monotonic_ns() - start) / scale.NS_PER_INSTRUCTION
    finally:
        os.close(fd)


def snapshot(name, tool):
    """Take an internal snapshot; return the instructions of the pause."""
    peers.run("dmsetup", "mknodes")
    done = subprocess.run([tool, "snapshot", "create", "--nolockfs", name, "one"], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)
    pause = re.search(r"paused \S+ for ([0-9.]+) ms", done.stdout)
    if done.returncode or not pause:
        raise RuntimeError(f"snapshot of {name}: exit {done.returncode}: {done.stdout.strip()}")
    return float(pause.group(1)) * 1e6 / scale.NS_PER_INSTRUCTION


def measure(tool, keep):
    """Measure all sizes."""
    control, folder = scale.Control(), "/mnt/size"
    os.makedirs(folder, exist_ok=True)
    disk = f"/dev/ram{next(peers.RAM)}"
    peers.run("modprobe", "xfs")
    peers.run("mkfs.xfs", "-q", "-f", disk)     # ext4 ends at 16 TiB
    peers.run("mount", disk, folder)
    for gib, bits in SIZES:
        path, size = f"{folder}/image.qcow2", gib * GIB
        make(path, size, bits)
        spent, minor = control.attach("size", (size // 512, "qcow2", f"1 qcow2 {path}"))
        result = {"attach": spent, "commit": commit(minor, size, 1 << bits)}
        result["snapshot"] = snapshot("size", tool)
        control.detach("size")
        os.unlink(path)
        keep(f"{gib} GiB, clusters of {(1 << bits) >> 10} KiB", {key: round(value) for key, value in result.items()})
    peers.run("umount", folder)


def table(extra):
    """Return the lines of a table, in million instructions."""
    lines = [f"{'disk':32}{'attach':>12}{'snapshot':>12}{'commit':>12}"]
    for gib, bits in SIZES:
        name = f"{gib} GiB, clusters of {(1 << bits) >> 10} KiB"
        if name in extra:
            lines.append(name.ljust(32) + "".join(f"{extra[name][what] / 1e6:12.2f}" for what in ("attach", "snapshot", "commit")))
    return lines


def curves(extra):
    """Return the lines of a plot: {name: values}, [(label, number)], of both sizes of clusters."""
    points, sizes = {}, sorted({gib for gib, _ in SIZES})
    for what in ("attach", "snapshot", "commit"):
        for wanted in (16, 21):
            line = {gib: extra[f"{gib} GiB, clusters of {(1 << bits) >> 10} KiB"][what] / 1e6 for gib, bits in SIZES if bits == wanted}
            points[f"{what}, {(1 << wanted) >> 10} KiB"] = [line.get(gib) for gib in sizes]
    return points, [(f"{gib} GiB" if gib < 1024 else f"{gib >> 10} TiB", gib) for gib in sizes]

