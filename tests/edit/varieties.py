# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""Images of many kinds, made by qemu-img and qemu-io: VARIETIES[name](path) writes one.

Each has data, holes and zeros; those that can have snapshots have some, with data written between.
A backing file lies beside the image.
"""

import os
import struct
import subprocess

KIB, MIB = 1 << 10, 1 << 20


def run(*words):
    """Run a program of QEMU; whatever goes wrong ends the test."""
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode or (words[0] == "qemu-io" and "failed" in done.stdout):
        raise RuntimeError(f"{' '.join(words)}: {done.stdout}")
    return done.stdout


def create(path, options="", size=4 * MIB, **keys):
    """Make an empty image."""
    words = ["-o", options] if options else []
    for key, value in keys.items():
        words += [f"-{key}", value]
    run("qemu-img", "create", "-q", "-f", "qcow2", *words, path, *([str(size)] if size else []))


def io(path, *commands, key=None):
    """Let qemu-io do commands."""
    words = [word for command in commands for word in ("-c", command)]
    run("qemu-io", *words, *([] if key else ["-f", "qcow2"]), *opened(path, key))


def opened(path, key):
    """Return the words that open an image, with a key or without."""
    return ["--object", "secret,id=s,data=x", "--image-opts",
            f"driver=qcow2,encrypt.format=luks,encrypt.key-secret=s,file.filename={path}"] if key else [path]


def snapshot(path, tag, key=None):
    """Take a snapshot."""
    run("qemu-img", "snapshot", "-c", tag, *opened(path, key))


def usual(path, snapshots=2, key=None, size=4 * MIB):
    """Write, with snapshots between."""
    io(path, "write -P 1 0 300k", f"write -P 2 {size - 128 * KIB} 128k", "write -P 3 1000k 24k", key=key)
    for number in range(snapshots):
        snapshot(path, f"snap {number}", key)
        io(path, f"write -P {10 + number} {number * 100}k 100k", f"write -P {20 + number} {size // 2048 + number * 64}k 70k",
           f"discard {256 + 64 * number}k 64k", key=key)


def plain(options, snapshots=2, size=4 * MIB):
    """Return a maker of images that differ in options of qemu-img create only."""
    def make(path):
        create(path, options, size)
        usual(path, snapshots, size=size)
    return make


def compressed(options):
    """Return a maker of images with compressed clusters."""
    def make(path):
        create(path + ".raw", size=4 * MIB)
        usual(path + ".raw", 0)
        with open(path + ".text", "wb") as file:
            file.write(b"".join(b"%d, " % (number * number) for number in range(40000)))
        run("qemu-img", "convert", "-c", "-O", "qcow2", "-o", options, path + ".raw", path)
        io(path, f"write -c -s {path}.text 1152k 192k")
        os.unlink(path + ".raw")
        os.unlink(path + ".text")
        snapshot(path, "first")
        io(path, "write -P 9 64k 100k", "discard 192k 64k")
        snapshot(path, "second")
    return make


def longer_backing(path):
    """Make an image whose backing file goes on behind its end, which is in the middle of a cluster."""
    create(path + ".base", "cluster_size=4k", 8 * MIB)
    io(path + ".base", "write -P 99 0 8M", "write -P 98 1M 64k")
    create(path, "", 4 * MIB - 33 * KIB, b=os.path.basename(path) + ".base", F="qcow2")
    io(path, "write -P 1 100k 300k", "write -z 640k 64k")
    snapshot(path, "first")
    io(path, "write -P 2 3M 10k", "discard 128k 64k")


def raw_backing(path):
    """Make an image over a raw file that ends within a sector."""
    with open(path + ".base", "wb") as file:
        file.write(b"raw!" * 300000 + b"end")
    create(path, "extended_l2=on", 3 * MIB, b=os.path.basename(path) + ".base", F="raw")
    io(path, "write -P 1 100k 3k", "write -P 2 1100k 300k", "write -z 300k 130k")


def shrunk(path):
    """Make an image with snapshots of other sizes."""
    create(path, "cluster_size=16k", 2 * MIB)
    usual(path, 1, size=2 * MIB)
    run("qemu-img", "resize", "-q", path, "40M")
    io(path, "write -P 7 39M 64k")
    snapshot(path, "large")
    run("qemu-img", "resize", "-q", "--shrink", path, "1200128")
    io(path, "write -P 8 1M 64k")
    snapshot(path, "small")
    run("qemu-img", "resize", "-q", path, "5M")


def with_state(path):
    """Make an image with the state of a virtual machine in a snapshot and behind the disk."""
    create(path, "cluster_size=4k", 3 * MIB)
    usual(path, 1, size=3 * MIB)
    io(path, "write -b -P 77 0 200k")
    snapshot(path, "state")
    with open(path, "r+b") as file:
        header = file.read(72)
        at = struct.unpack(">Q", header[64:72])[0]
        file.seek(at)
        table = file.read(4096)
        start = table.index(b"2state") - 24 - 40
        file.seek(at + start + 32)
        file.write(struct.pack(">I", 200 * KIB))
        file.seek(at + start + 40)
        file.write(struct.pack(">Q", 200 * KIB))
    io(path, "write -P 6 1M 1M")
    run("qemu-img", "snapshot", "-a", "state", path)


def rewrite_entries(path, change):
    """Let change(fixed 40 bytes, extra data) return new ones for each snapshot table entry; no entry gets longer than 512 bytes."""
    with open(path, "r+b") as file:
        header = file.read(72)
        count, at = struct.unpack(">IQ", header[60:72])
        file.seek(at)
        table, new, pos = file.read(65536), b"", 0
        for _ in range(count):
            fixed = table[pos:pos + 40]
            length, = struct.unpack(">I", fixed[36:])
            names = sum(struct.unpack(">HH", fixed[12:16]))
            end = pos + 40 + length + names
            fixed, extra = change(fixed, table[pos + 40:pos + 40 + length])
            new += fixed[:36] + struct.pack(">I", len(extra)) + extra + table[end - names:end]
            new += bytes(-len(new) % 8)
            pos = (end + 7) & ~7
        file.seek(at)
        file.write(new)


def old_entries(path):
    """Make an image with snapshots of old programs, which did not say how large the disk was."""
    plain("compat=0.10,cluster_size=16k")(path)
    rewrite_entries(path, lambda fixed, extra: (fixed, b""))


def new_entries(path):
    """Make an image with snapshots of programs to come, which say more than is known."""
    plain("cluster_size=16k")(path)
    rewrite_entries(path, lambda fixed, extra: (fixed, extra + b"to come " * 5))


def zeros(path):
    """Make an image with zero clusters of both kinds and a size that is no multiple of a cluster."""
    create(path, "", 4 * MIB + 5 * 512)
    io(path, "write -P 1 0 2M", "write -z 64k 128k", "write -z -u 512k 128k", f"write -P 5 4M {5 * 512}")
    snapshot(path, "first")
    io(path, "write -z 1M 128k", "write -P 3 512k 64k")


def unaligned(path):
    """Make an image that QEMU has cut within a cluster, whose rest it leaves as it was."""
    create(path, "", 4 * MIB)
    usual(path, 1)
    run("qemu-img", "resize", "-q", "--shrink", path, str(4 * MIB - 37 * KIB - 512))


def encrypted(path):
    """Make a LUKS image; who has no key sees other bytes, but the same ones every time."""
    for attempt in range(50):
        done = subprocess.run(
            ["qemu-img", "create", "-q", "-f", "qcow2", "--object", "secret,id=s,data=x", "-o",
             "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10", path, "4M"],
            stderr=subprocess.PIPE, text=True, check=False)
        if not done.returncode:
            break
        if "accurate CPU usage" not in done.stderr or attempt == 49:
            raise RuntimeError(done.stderr)
    usual(path, 1, key=True)


def data_file(options, size, base=None):
    """Return a maker of images whose data lies in a file of its own, which goes on behind the disk's end."""
    def make(path):
        keys, name = {}, os.path.basename(path)
        if base:
            create(path + ".base", "cluster_size=4k", base)
            io(path + ".base", f"write -P 99 0 {base}")
            keys = {"b": name + ".base", "F": "qcow2"}
        create(path, f"{options},data_file={name}.data", size, **keys)
        last = size // 512 - 5
        io(path, "write -P 1 0 300k", f"write -P 2 {last * 512} 1024", "write -P 3 1000k 24k", "discard 64k 64k",
           "write -z 130k 40k")
        with open(path + ".data", "r+b") as file:
            file.seek(size)
            file.write(b"behind" * 20000)
    return make


def overlay(path, size, options="", kind="qcow2"):
    """Make an image over path.base and write data, holes and zeros."""
    create(path, options, size, b=os.path.basename(path) + ".base", F=kind)
    last = size // 512 - 64
    io(path, "write -P 41 33k 100k", f"write -P 42 {last * 512} {64 * 512}", f"discard 256k 64k",
       "write -z 704k 100k", "write -P 43 900k 512", "write -P 0 960k 64k")


def over(base, *words, more=(), **keys):
    """Return a maker of an image over one of another variety, or over a raw file of so many bytes."""
    def make(path):
        if isinstance(base, int):
            with open(path + ".base", "wb") as file:
                file.write((b"raw " * (base // 4 + 1))[:base])
        else:
            VARIETIES[base](path + ".base")
            io(path + ".base", "write -P 55 520k 480k", *more)
        overlay(path, *words, **keys)
    return make


def compressed_over(path):
    """Make an image with compressed clusters over another."""
    VARIETIES["extended"](path + ".base")
    create(path, "compression_type=zstd", 4 * MIB, b=os.path.basename(path) + ".base", F="qcow2")
    io(path, "write -c -P 5 0 64k", "write -c -P 6 1M 192k", "write -P 7 2M 3k")


# For commit: an image over path.base.
OVERLAYS = {
    "default-over-4k": over("4k", 4 * MIB),
    "4k-over-2M": over("2M", 12 * MIB, "cluster_size=4k"),
    "larger-over-v2": over("v2-bare", 6 * MIB + 512),
    "over-v2": over("v2", 4 * MIB, "cluster_size=512"),
    "smaller-over-extended": over("extended", 1 * MIB + 1536, "cluster_size=4k", more=["write -P 56 1M 64k"]),
    "over-deflate": over("deflate", 4 * MIB, "extended_l2=on"),
    "over-odd-raw": over(1234567, 3 * MIB, kind="raw"),
    "over-longer-raw": over(5 << 20, 1 * MIB + 512, "compat=0.10", kind="raw"),
    "larger-over-an-overlay": over("longer-backing", 7 * MIB, "cluster_size=16k"),
    "compressed": compressed_over,
    "counts-1-over-512": over("512", 1 * MIB, "refcount_bits=1"),
    "larger-over-state": over("state", 9 * MIB),
    "over-zstd": over("zstd", 4 * MIB, "cluster_size=16k"),
    "extended-over-raw": over(3 << 20, 4 * MIB, "extended_l2=on,cluster_size=16k", kind="raw"),
    "over-counts-64": over("counts-64", 1 * MIB),
    "lazy-over-default": over("default", 4 * MIB, "lazy_refcounts=on,refcount_bits=64"),
    "v2-over-zeros": over("zeros", 4 * MIB + 5 * 512, "compat=0.10"),
    "larger-over-unaligned": over("unaligned", 5 * MIB, "cluster_size=32k"),
    "data-over": data_file("cluster_size=32k", 2 * MIB - 7 * KIB - 512, 3 * MIB),
    "data-extended-over": data_file("cluster_size=64k,extended_l2=on", 4 * MIB, 3 * MIB),
}

VARIETIES = {
    "default": plain(""),
    "v2": plain("compat=0.10"),
    "v2-bare": plain("compat=0.10", snapshots=0),
    "512": plain("cluster_size=512", size=1 * MIB),
    "4k": plain("cluster_size=4k"),
    "2M": plain("cluster_size=2M", size=12 * MIB),
    "counts-1": plain("refcount_bits=1", snapshots=0),
    "counts-2": plain("refcount_bits=2", snapshots=1),
    "counts-2-full": plain("refcount_bits=2"),
    "counts-8": plain("refcount_bits=8,cluster_size=8k"),
    "counts-64": plain("refcount_bits=64,cluster_size=512", size=1 * MIB),
    "extended": plain("extended_l2=on,cluster_size=16k"),
    "extended-128k": plain("extended_l2=on,cluster_size=128k"),
    "deflate": compressed("cluster_size=64k"),
    "zstd": compressed("compression_type=zstd,cluster_size=64k"),
    "zstd-extended": compressed("compression_type=zstd,extended_l2=on,cluster_size=32k"),
    "lazy": plain("lazy_refcounts=on"),
    "allocated": plain("preallocation=metadata,cluster_size=32k"),
    "longer-backing": longer_backing,
    "raw-backing": raw_backing,
    "old-entries": old_entries,
    "new-entries": new_entries,
    "sizes": shrunk,
    "state": with_state,
    "zeros": zeros,
    "unaligned": unaligned,
    "luks": encrypted,
    "v2-over-longer": over("4k", 2 * MIB + 1536, "compat=0.10"),
    "extended-over-longer": over("4k", 2 * MIB + 1536, "extended_l2=on"),
    "data": data_file("cluster_size=4k", 2 * MIB - 3 * KIB),
    "data-raw": data_file("cluster_size=64k,data_file_raw=on", 2 * MIB - 3 * KIB),
    "data-raw-extended": data_file("cluster_size=16k,data_file_raw=on,extended_l2=on", 2 * MIB - 7 * KIB),
    "data-over-longer": data_file("cluster_size=32k", 2 * MIB - 7 * KIB - 512, 3 * MIB),
    "data-extended-over-longer": data_file("cluster_size=64k,extended_l2=on", 2 * MIB - 7 * KIB - 512, 3 * MIB),
    "empty": lambda path: create(path, "", 1 * MIB),
}
