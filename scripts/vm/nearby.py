# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""Name the programs that tests start over and over, with all that they open when they start.

A process in the machine opens its program, some libraries and locales; by 9p each of these is three
questions to the host, and many tests do little else than start processes. What is listed here
lies in the machine's memory, above the host's root.
"""

import glob
import importlib.util
import os
import shutil
import stat
import subprocess

PROGRAMS = (
    "bash", "sh", "cat", "cmp", "cp", "dd", "grep", "head", "mkdir", "mktemp", "mv", "od", "rm", "sed", "seq", "sleep", "stat",
    "sync", "tail", "timeout", "touch", "tr", "true", "truncate", "md5sum", "ls", "cut", "dmesg", "unshare",
    "blkdiscard", "blockdev", "dmsetup", "losetup", "mount", "mountpoint", "umount", "modprobe", "wipefs", "udevadm",
    "mkfs.ext4", "e2fsck", "fio", "qemu-img", "qemu-io", "python3")
FILES = ("/etc/ld.so.cache", "/etc/passwd", "/etc/nsswitch.conf", "/etc/mke2fs.conf", "/usr/lib/locale/C.utf8/*",
         "/usr/lib/locale/C.utf8/*/*", "/usr/lib/*/gconv/gconv-modules.cache", "/lib*/ld-linux*.so*")
LARGEST = 4 << 20      # of a file: what is larger costs more at every boot than it saves
# What python3 loads at its start, and what the tests import.
MODULES = "encodings.utf_8 encodings.latin_1 argparse collections fcntl hashlib json mmap os random re socket stat struct subprocess tempfile threading time zlib"


def sources(path):
    """Return the programs and single files that this host has."""
    programs = [found for found in (shutil.which(name, path=path) for name in PROGRAMS) if found]
    return programs, sorted(file for pattern in FILES for file in glob.glob(pattern) if os.path.isfile(file))


def libraries(programs):
    """Return the shared libraries of programs."""
    output = subprocess.run(["ldd", *programs], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False, text=True).stdout
    return sorted({word for line in output.splitlines() for word in line.split() if word[0] == "/" and word[-1] != ":"})


def python_files(python):
    """Return the files of MODULES and of all that they import."""
    script = f"import sys, {', '.join(MODULES.split())}\nfor m in list(sys.modules.values()):\n print(getattr(m, '__file__', None) or '')"
    output = subprocess.run([python, "-c", script], stdout=subprocess.PIPE, check=True, text=True).stdout
    files = {line for line in output.splitlines() if os.path.isabs(line)}
    files |= {importlib.util.cache_from_source(file) for file in files if file.endswith(".py")}
    return sorted(file for file in files if os.path.isfile(file))


def place(path, members):
    """Put a file into {path: lstat}, with the folders and links on the way to it."""
    at = "/"
    for name in path.strip("/").split("/"):
        at = os.path.join(at, name)
        if at in members:
            info = members[at]
        else:
            info = members[at] = os.lstat(at)
        if stat.S_ISLNK(info.st_mode):
            rest = path[len(at):].strip("/")
            return place(os.path.normpath(os.path.join(os.path.dirname(at), os.readlink(at), rest)), members)
    return None


def files(path):
    """Return {path: lstat} of all that is to lie near, folders before what is in them."""
    programs, single = sources(path)
    python = [program for program in programs if program.endswith("/python3")]
    members = {}
    for file in programs + libraries(programs) + single + (python_files(python[0]) if python else []):
        if os.path.getsize(file) <= LARGEST:
            place(file, members)
    return members


def key(path):
    """Return a text that changes when files(path) would."""
    programs, single = sources(path)
    stamps = []
    for file in programs + single:
        info = os.stat(file)
        stamps.append(f"{file} {info.st_size} {info.st_mtime_ns}\n")
    return "".join(stamps)
