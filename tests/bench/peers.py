# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""What is measured side by side, in the virtual machine: images on RAM disks, and the ways to attach them."""

import os
import shutil
import subprocess
import time

MIB = 1 << 20
FOLDER = "/mnt/bench"
RAM = iter(range(1, 12))    # /dev/ram0 has the file system


def run(*words, **more):
    """Run a command that has to succeed; return what it prints."""
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **more)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: exit {done.returncode}: {done.stdout.strip()}")
    return done.stdout


def write(path, text):
    """Write into a file of sysfs."""
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def read(path):
    """Return what a file of sysfs says."""
    with open(path, encoding="ascii") as file:
        return file.read().strip()


def wait_for(condition):
    """Wait until something is so."""
    for _ in range(600):
        if condition():
            return
        time.sleep(0.05)
    raise RuntimeError("waited for too long")


def setup(disk_mib, other_mib, filled):
    """A file system on a RAM disk, and others, which take memory where they are first written.

    A filled one has taken all: else what is measured would be dearer where nobody wrote before.
    """
    run("modprobe", "brd", "rd_nr=12", f"rd_size={max(disk_mib, other_mib) << 10}")
    run("modprobe", "-a", "ext4", "loop", "dm-mod")
    run("modprobe", "nbd", "nbds_max=4", "max_part=0")
    os.makedirs(FOLDER, exist_ok=True)
    if filled:
        run("dd", "if=/dev/zero", "of=/dev/ram0", "bs=1M", f"count={disk_mib}", "oflag=direct", "status=none")
    run("mkfs.ext4", "-q", "-F", "-m", "0", "-E", "nodiscard", "-J", "size=16", "/dev/ram0", f"{disk_mib}M")
    run("mount", "/dev/ram0", FOLDER)


def filling(size):
    """Return so many bytes that compress to about a half."""
    piece = b"".join(bytes((n * 7 + k) & 255 for k in range(32)) + os.urandom(16) for n in range(1365))
    return (piece * (size // len(piece) + 1))[:size]


class Images:
    """Makes the images; those that nothing spoils are made once."""

    def __init__(self, mapped, empty):
        self.mapped, self.empty = mapped, empty     # bytes of the disk, by kind
        self.content = None
        self.kept = {}

    def size(self, kind):
        """Return the size of the disk in an image of a kind."""
        return self.empty if kind == "empty" else self.mapped

    def raw(self, name):
        """Return a file with content in all its blocks."""
        path = f"{FOLDER}/{name}"
        if self.content is None:
            self.content = filling(MIB)
        with open(path, "wb", buffering=0) as file:
            for _ in range(self.mapped // MIB):
                file.write(self.content)
            os.fsync(file.fileno())
        return path

    def full(self):
        """Return a qcow2 image with all clusters, kept as a base and to make others of."""
        if "full" not in self.kept:
            path = self.raw("full.raw")
            run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", path, f"{FOLDER}/full.qcow2")
            self.kept["full"] = f"{FOLDER}/full.qcow2"
        return self.kept["full"]

    def qcow2(self, name, kind):
        """Return a new image of a kind in a file."""
        path = f"{FOLDER}/{name}.qcow2"
        if kind == "empty":
            run("qemu-img", "create", "-q", "-f", "qcow2", path, str(self.empty))
        elif kind == "cow":
            run("qemu-img", "create", "-q", "-f", "qcow2", "-b", self.full(), "-F", "qcow2", path)
        elif kind == "zip":
            self.full()
            run("qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", f"{FOLDER}/full.raw", path)
        else:
            shutil.copyfile(self.full(), path)
            if kind == "snapshot":
                run("qemu-img", "snapshot", "-c", "one", path)
        run("sync")
        return path


class Peer:
    """One way to get at the bytes. attach() gives the path to measure, or None where a kind makes no sense."""

    kinds = ("mapped", "empty", "throw")

    def __init__(self, images, name):
        self.images, self.name, self.undo, self.other = images, name, [], None

    def twin(self):
        """Return one of the same kind beside this one."""
        self.other = self.other or type(self)(self.images, f"{self.name}-2")
        return self.other

    def attach(self, kind):
        """Return the path that is measured."""
        raise NotImplementedError

    def detach(self):
        """Undo, the last first."""
        while self.undo:
            self.undo.pop()()

    def file(self, kind):
        """Return a raw file; detach() removes it."""
        path = f"{FOLDER}/{self.name}-{kind}.raw"
        if kind == "empty":
            run("truncate", "-s", str(self.images.empty), path)
        else:
            self.images.raw(os.path.basename(path))
        self.undo.append(lambda: os.unlink(path))
        return path

    def image(self, kind):
        """Return a qcow2 image; detach() removes it."""
        path = self.images.qcow2(f"{self.name}-{kind}", kind)
        self.undo.append(lambda: os.unlink(path))
        return path

    def dm(self, table, *options):
        """Return a mapped device."""
        name = f"bench-{self.name}"
        run("dmsetup", "create", name, *options, "--table", table)
        self.undo.append(lambda: run("dmsetup", "remove", "--retry", name))
        return f"/dev/mapper/{name}"


class File(Peer):
    """The file itself."""

    kinds = ("mapped", "empty")

    def attach(self, kind):
        return self.file(kind)


class Loop(Peer):
    """The loop driver over a raw file, with direct I/O."""

    def attach(self, kind):
        path = self.file(kind)
        node = run("losetup", "-f", "--show", "--direct-io=on", path).strip()
        self.undo.append(lambda: run("losetup", "-d", node))
        if run("losetup", "-n", "-O", "DIO", node).strip() != "1":
            raise RuntimeError("loop does no direct I/O")
        return node


def connected(number):
    """Tell whether somebody serves an NBD device."""
    return os.path.exists(f"/sys/block/nbd{number}/pid")


class Nbd(Peer):
    """qemu-nbd at its fastest: no page cache, native AIO, no scheduler."""

    kinds = ("mapped", "empty", "cow", "snapshot", "zip", "throw")

    def attach(self, kind):
        path = self.image(kind)
        number = next(n for n in range(4) if not connected(n))
        node = f"/dev/nbd{number}"

        def stop():
            run("qemu-nbd", "-d", node)
            wait_for(lambda: not connected(number))
        # It goes to the background.
        run("qemu-nbd", "-c", node, "-f", "qcow2", "--cache=none", "--aio=native", "--discard=unmap", path)
        self.undo.append(stop)
        wait_for(lambda: connected(number) and read(f"/sys/block/nbd{number}/size") != "0")
        write(f"/sys/block/nbd{number}/queue/scheduler", "none")
        return node


class Linear(Peer):
    """dm-linear over a RAM disk."""

    def __init__(self, images, name):
        super().__init__(images, name)
        self.disk = f"/dev/ram{next(RAM)}"

    def attach(self, kind):
        if kind != "empty":
            fill_disk(self.disk, self.images, "raw")
        return self.dm(f"0 {self.images.size(kind) // 512} linear {self.disk} 0")


class Thin(Peer):
    """dm-thin, blocks of 64 KiB without zeroing, as an image has them."""

    def __init__(self, images, name):
        super().__init__(images, name)
        self.meta, self.disk = f"/dev/ram{next(RAM)}", f"/dev/ram{next(RAM)}"

    def attach(self, kind):
        run("modprobe", "dm-thin-pool")
        run("dd", "if=/dev/zero", f"of={self.meta}", "bs=4k", "count=1", "status=none")
        pool, data = f"bench-pool-{self.name}", int(run("blockdev", "--getsz", self.disk))
        run("dmsetup", "create", pool, "--table", f"0 {data} thin-pool {self.meta} {self.disk} 128 0 1 skip_block_zeroing")
        self.undo.append(lambda: run("dmsetup", "remove", "--retry", pool))
        run("dmsetup", "message", pool, "0", "create_thin 0")
        node = self.dm(f"0 {self.images.size(kind) // 512} thin /dev/mapper/{pool} 0")
        if kind != "empty":
            fill_disk(node, self.images, "raw")
        return node


class Ublk(Peer):
    """A qcow2 target of ublk, of whichever project is installed."""

    kinds = ("mapped", "empty", "cow", "zip", "throw")

    def attach(self, kind):
        run("modprobe", "ublk_drv")
        program = next(filter(shutil.which, ("rublk", "ublk")))
        path = self.image(kind)
        words = ("add", "qcow2", "-f", path) if program == "rublk" else ("add", "-t", "qcow2", "-f", path)
        run(program, *words, "-n", "0")
        self.undo.append(lambda: run(program, "del", "-n", "0"))
        return "/dev/ublkb0"


class Ours(Peer):
    """This project, over an image in a file."""

    kinds = Nbd.kinds

    def attach(self, kind):
        path = self.image(kind)
        layers = f"2 qcow2 {path} qcow2 {self.images.full()}" if kind == "cow" else f"1 qcow2 {path}"
        return self.dm(f"0 {self.images.size(kind) // 512} qcow2 {layers}")


class OursDevice(Peer):
    """The same over an image on a block device."""

    def __init__(self, images, name):
        super().__init__(images, name)
        self.disk = f"/dev/ram{next(RAM)}"

    def attach(self, kind):
        if kind == "empty":
            run("qemu-img", "create", "-q", "-f", "qcow2", self.disk, str(self.images.empty))
        else:
            fill_disk(self.disk, self.images, "qcow2")
        return self.dm(f"0 {self.images.size(kind) // 512} qcow2 1 qcow2 {self.disk}")


def fill_disk(node, images, what):
    """Bring the content to a block device: raw, or as an image."""
    images.full()
    run("dd", f"if={FOLDER}/full.{what}", f"of={node}", "bs=1M", "iflag=direct", "oflag=direct", "status=none")


CLASSES = {"file": File, "loop": Loop, "nbd": Nbd, "linear": Linear, "thin": Thin, "ublk": Ublk, "ours": Ours,
           "ours-device": OursDevice}
