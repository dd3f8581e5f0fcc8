# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""Many devices over one base, and what a large image costs: measured in the virtual machine, in virtual time.

Devices are made by ioctls of this process, so that each costs what the kernel does for it and nothing else.
"""

import fcntl
import mmap
import os
import struct
import time

import peers

CREATE, REMOVE, SUSPEND, LOAD = 3, 4, 6, 9
NS_PER_INSTRUCTION = 2
# What is aimed at.
IDLE_BYTES, ATTACH_INSTRUCTIONS = 64 << 10, 10_000_000
# Threads of workqueues end when they had nothing to do for five minutes; in virtual time that is a moment.
THREADS_END = 320
RAMDISK_PAGES = "/sys/kernel/debug/ramdisk_pages"


class Control:
    """/dev/mapper/control."""

    def __init__(self):
        self.fd = os.open("/dev/mapper/control", os.O_RDWR)

    def call(self, command, name, flags=0, target=None):
        """Send a request; target is (sectors, type, params). Return (instructions, minor number)."""
        body = b""
        if target:
            sectors, kind, params = target
            params = params.encode() + b"\0"
            params += bytes(-(40 + len(params)) % 8)
            body = struct.pack("=QQiI16s", 0, sectors, 0, 40 + len(params), kind.encode()) + params
        size = 312 + len(body)
        head = struct.pack("=3IIIIiIIIQ128s129s7s", 4, 0, 0, size, 312, 1 if target else 0, 0, flags, 0, 0, 0,
                           name.encode(), b"", b"")
        buffer = bytearray(head + body)
        start = time.monotonic_ns()
        fcntl.ioctl(self.fd, 3 << 30 | 312 << 16 | 0xfd << 8 | command, buffer)
        spent = time.monotonic_ns() - start
        number = struct.unpack_from("=Q", buffer, 40)[0]
        return spent / NS_PER_INSTRUCTION, number & 0xff | number >> 12 & 0xfff00

    def attach(self, name, target):
        """Create, load, resume; return (instructions of load and resume, minor number)."""
        _, minor = self.call(CREATE, name)
        load, _ = self.call(LOAD, name, 0, target)
        resume, _ = self.call(SUSPEND, name, 0)
        return load + resume, minor

    def detach(self, name):
        """Remove a device."""
        self.call(REMOVE, name)


def ramdisk_bytes():
    """Return what the RAM disks hold: what is written to an image is memory here, but none of the device."""
    total = 0
    for name in os.listdir(RAMDISK_PAGES):
        with open(f"{RAMDISK_PAGES}/{name}", encoding="ascii") as file:
            total += int(file.read())
    return total * mmap.PAGESIZE


def used_bytes():
    """Return what the machine uses when nothing is cached; the kernel frees late, so the least of some."""
    least = None
    for _ in range(6):
        peers.run("sync")
        peers.write("/proc/sys/vm/drop_caches", "3")
        time.sleep(0.3)
        free = 0
        with open("/proc/zoneinfo", encoding="ascii") as file:
            for line in file:
                words = line.split()
                if words[:2] == ["pages", "free"]:
                    free += int(words[2])
                elif words[:1] == ["count:"]:
                    free += int(words[1])
        used = -free * mmap.PAGESIZE - ramdisk_bytes()
        least = used if least is None else min(least, used)
    return least


def sparse_copy(content, path):
    """Write a file with holes where content has zeros."""
    with open(path, "wb") as file:
        for at in range(0, len(content), 4096):
            page = content[at:at + 4096]
            if page.strip(b"\0"):
                file.seek(at)
                file.write(page)
        file.truncate(len(content))


def locks_on(path):
    """Return how many byte locks there are on a file."""
    number = os.stat(path).st_ino
    with open("/proc/locks", encoding="ascii") as file:
        return sum(1 for line in file if f":{number} " in line)


def block(minor, goff, data=None):
    """Read or write 4 KiB of a device."""
    fd = os.open(f"/dev/dm-{minor}", os.O_RDWR | os.O_DIRECT)
    try:
        with mmap.mmap(-1, 4096) as buffer:
            if data is None:
                os.preadv(fd, [buffer], goff)
                return bytes(buffer)
            buffer[:] = data
            return os.pwritev(fd, [buffer], goff)
    finally:
        os.close(fd)


def each(control, count, target):
    """Attach so many devices; return (bytes for each, mean instructions, the most, minors)."""
    before = used_bytes()
    spent, minors = zip(*(control.attach(f"s{n}", target(n)) for n in range(count)))
    return (used_bytes() - before) / count, sum(spent) / count, max(spent), minors


def plain_device(images):
    """Return a loop device over a file of the size that the devices have; what dm itself takes is measured on it."""
    path = f"{peers.FOLDER}/scale.raw"
    peers.run("truncate", "-s", str(images.mapped), path)
    return peers.run("losetup", "-f", "--show", "--direct-io=on", path).strip()


def many(images, count, keep):
    """Attach count devices over one base; say what each takes, and whether all is well.

    Twice: what the first time leaves in the kernel's own pools is there for the second, which leaves what is lost.
    """
    base = images.qcow2("scale-base", "zip")        # compressed, which needs most
    overlay = f"{peers.FOLDER}/scale.qcow2"
    peers.run("qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", overlay)
    with open(overlay, "rb") as file:
        content = file.read()
    paths = [f"{peers.FOLDER}/scale-{n}.qcow2" for n in range(count)]
    for path in paths:
        sparse_copy(content, path)
    sectors, control, loop = images.mapped // 512, Control(), plain_device(images)
    if not os.path.isdir(RAMDISK_PAGES):
        peers.run("mount", "-t", "debugfs", "none", "/sys/kernel/debug")
    # What the first of its kind brings into memory is of none of them.
    for target in (sectors, "linear", f"{loop} 0"), (sectors, "qcow2", f"2 qcow2 {overlay} qcow2 {base}"):
        control.attach("warm", target)
        control.detach("warm")

    plain, _, _, _ = each(control, count, lambda n: (sectors, "linear", f"{loop} 0"))
    for number in range(count):
        control.detach(f"s{number}")
    ends = []
    for _ in range(2):
        bytes_each, mean, most, minors = each(control, count, lambda n: (sectors, "qcow2", f"2 qcow2 {paths[n]} qcow2 {base}"))
        locks = locks_on(base)
        good = use(minors, images.mapped)
        for number in range(count):
            control.detach(f"s{number}")
        time.sleep(THREADS_END)
        ends.append(used_bytes())
        keep("scale so far", {"devices": count, "idle_bytes": round(bytes_each - plain), "used_bytes": ends[-1] - ends[0]})
    peers.run("losetup", "-d", loop)
    keep("scale", {"devices": count, "idle_bytes": round(bytes_each - plain), "linear_bytes": round(plain),
                   "instructions": round(mean), "most": round(most), "locks_on_base": locks, "all_work": good,
                   "left_bytes": ends[1] - ends[0]})


def use(minors, size):
    """Write a mark through each device, read it and some of the base; tell whether all was right."""
    first = block(minors[0], 8192)
    for number, minor in enumerate(minors):
        block(minor, number * 65536 % size, struct.pack("<Q", number + 1) * 512)
    good = first.strip(b"\0") != b""
    for number, minor in enumerate(minors):
        good &= block(minor, number * 65536 % size) == struct.pack("<Q", number + 1) * 512
        good &= number * 65536 % size == 0 or block(minor, 8192) == first
    return good


def huge(keep):
    """Attach an image of 64 TiB; say what was read for it."""
    disk = f"/dev/ram{next(peers.RAM)}"
    peers.run("qemu-img", "create", "-q", "-f", "qcow2", disk, "64T")
    control = Control()
    length = int(peers.run("blockdev", "--getsz", disk))
    _, minor = control.attach("under", (length, "linear", f"{disk} 0"))

    def read_sectors():
        with open(f"/sys/block/dm-{minor}/stat", encoding="ascii") as file:
            return int(file.read().split()[2])

    with open(disk, "rb") as file:
        l1_size = struct.unpack_from(">I", file.read(104), 36)[0]
        file.seek(56)
        reftable = struct.unpack(">I", file.read(4))[0] << 16
    before = read_sectors()
    spent, _ = control.attach("huge", (64 << 31, "qcow2", f"1 qcow2 /dev/dm-{minor}"))
    time.sleep(0.5)
    keep("64T", {"instructions": round(spent), "read_bytes": (read_sectors() - before) * 512, "tables_bytes": l1_size * 8 + reftable})
    control.detach("huge")
    control.detach("under")


def verdicts(results):
    """Return [(good, text)] of what was measured."""
    scale, large = results["scale"], results["64T"]
    return [
        (scale["idle_bytes"] <= IDLE_BYTES, f"{scale['devices']} devices over one base: {scale['idle_bytes']} bytes for each idle "
         f"one beyond the {scale['linear_bytes']} of one of dm-linear, at most {IDLE_BYTES}"),
        (scale["most"] <= ATTACH_INSTRUCTIONS, f"load and resume: {scale['instructions']} instructions, the most "
         f"{scale['most']}, at most {ATTACH_INSTRUCTIONS}"),
        (0 < scale["locks_on_base"] <= 8, f"one claim on the base: {scale['locks_on_base']} locks"),
        (scale["all_work"], "all of them write and read"),
        (scale["left_bytes"] <= max(1 << 20, scale["devices"] * 2048), f"detached, and once more: {scale['left_bytes']} bytes are lost"),
        (large["read_bytes"] <= 2 * large["tables_bytes"] + (1 << 20),
         f"64 TiB: {large['read_bytes']} bytes read, the tables have {large['tables_bytes']}"),
        (large["instructions"] <= ATTACH_INSTRUCTIONS, f"64 TiB: {large['instructions']} instructions, at most {ATTACH_INSTRUCTIONS}"),
    ]
