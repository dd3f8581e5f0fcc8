# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""Write the initramfs of the test machine: busybox, the modules that reach the root, init, and what lies near."""

import gzip
import hashlib
import lzma
import os
import re
import stat
import subprocess

import nearby

KEPT = 12       # archives in the cache
# What the machine needs before it has a root; the rest is loaded from there.
MODULES = ("virtio_pci", "virtio_blk", "virtio_console", "9pnet_virtio", "9p", "overlay")


def dependencies(tree):
    """Return {module: [its file, files it needs]} of a modules folder, and the built-in names."""
    def name(path):
        return re.sub(r"\.ko(\.\w+)?$", "", os.path.basename(path)).replace("-", "_")

    files = {}
    with open(f"{tree}/modules.dep", encoding="ascii") as dep:
        for line in dep:
            path, _, needs = line.partition(":")
            files[name(path)] = [path] + needs.split()
    with open(f"{tree}/modules.builtin", encoding="ascii") as builtin:
        return files, {name(line.strip()) for line in builtin}


def load_order(tree):
    """Return the files of MODULES and of all they need, each after those it needs."""
    files, builtin = dependencies(tree)
    order = []
    for module in MODULES:
        if module in builtin:
            continue
        if module not in files:
            raise FileNotFoundError(f"{tree}: the kernel has no module {module}")
        # modules.dep names the direct need last-loaded first.
        order += [path for path in reversed(files[module]) if path not in order]
    return order


def inflate(path):
    """Return the bytes of a module that may be compressed."""
    if path.endswith(".zst"):
        return subprocess.run(["zstd", "-dcq", path], check=True, stdout=subprocess.PIPE).stdout
    opener = {".xz": lzma.open, ".gz": gzip.open}.get(os.path.splitext(path)[1], open)
    with opener(path, "rb") as file:
        return file.read()


def entry(name, mode, data=b"", rdev=(0, 0), time=0):
    """Return one member of a newc cpio archive."""
    raw = name.encode() + b"\0"
    fields = (0, mode, 0, 0, 1, time, len(data), 0, 0, rdev[0], rdev[1], len(raw), 0)
    head = b"070701" + b"".join(b"%08x" % field for field in fields) + raw
    return head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4)


def near(path):
    """Return the members of near/, the folder that lies above the host's root."""
    for name, info in nearby.files(path).items():
        if stat.S_ISLNK(info.st_mode):
            data = os.readlink(name).encode()
        elif stat.S_ISDIR(info.st_mode):
            data = b""
        else:
            with open(name, "rb") as file:
                data = file.read()
        yield entry(f"near{name}", info.st_mode, data, time=int(info.st_mtime))


def forget_old(folder):
    """Remove all archives but the newest."""
    def age(file):
        return -file.stat().st_mtime_ns

    for file in sorted(os.scandir(folder), key=age)[KEPT:]:
        os.unlink(file.path)


def build(tree, init, busybox, path, cache):
    """Return the path of the initramfs for a modules folder; made once per content."""
    order = load_order(tree)
    key = hashlib.sha256(open(init, "rb").read())
    for source in (__file__, nearby.__file__):
        with open(source, "rb") as file:
            key.update(file.read())
    key.update(nearby.key(path).encode())
    for file in [busybox] + [f"{tree}/{module}" for module in order]:
        info = os.stat(file)
        key.update(f"{file} {info.st_size} {info.st_mtime_ns}\n".encode())
    target = f"{cache}/initramfs/{key.hexdigest()[:24]}.cpio"
    if os.path.exists(target):
        return target

    archive = [entry(name, 0o040755) for name in ("bin", "dev", "proc", "sys", "modules", "root", "near")]
    archive.append(entry("dev/console", 0o020600, rdev=(5, 1)))
    with open(busybox, "rb") as file:
        archive.append(entry("bin/busybox", 0o100755, file.read()))
    with open(init, "rb") as file:
        archive.append(entry("init", 0o100755, file.read()))
    for number, module in enumerate(order):
        archive.append(entry(f"modules/{number:02}.ko", 0o100644, inflate(f"{tree}/{module}")))
    archive.extend(near(path))
    archive.append(entry("TRAILER!!!", 0))

    os.makedirs(os.path.dirname(target), exist_ok=True)
    with open(f"{target}.{os.getpid()}", "wb") as file:
        file.write(b"".join(archive))
    os.rename(f"{target}.{os.getpid()}", target)
    forget_old(os.path.dirname(target))
    return target
