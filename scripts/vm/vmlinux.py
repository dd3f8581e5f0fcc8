#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""Unpack the ELF kernel from a bzImage, because inflating it in the emulator takes seconds.

vmlinux.py VMLINUZ VMLINUX
"""

import lzma
import struct
import subprocess
import sys


def payload(image):
    """Return the compressed kernel; the offsets are those of Documentation/arch/x86/boot.rst."""
    if image[0x202:0x206] != b"HdrS":
        raise ValueError("not a bzImage")
    sectors = image[0x1f1] or 4
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = (sectors + 1) * 512 + offset
    return image[start:start + length]


def inflate(data):
    """Return the ELF file; the payload ends with four bytes of its unpacked size."""
    if data.startswith(b"\xfd7zXZ"):
        return lzma.LZMADecompressor().decompress(data)
    if data.startswith(b"\x28\xb5\x2f\xfd"):
        return subprocess.run(["zstd", "-dcq"], input=data[:-4], stdout=subprocess.PIPE, check=True).stdout
    raise ValueError("compressed in a way that is not known here")


def main():
    """Unpack argv[1] to argv[2]."""
    try:
        with open(sys.argv[1], "rb") as file:
            elf = inflate(payload(file.read()))
        if not elf.startswith(b"\x7fELF"):
            raise ValueError("the payload is no ELF file")
    except (OSError, ValueError) as error:
        sys.exit(f"vmlinux.py: {sys.argv[1]}: {error}")
    with open(sys.argv[2], "wb") as file:
        file.write(elf)


if __name__ == "__main__":
    main()
