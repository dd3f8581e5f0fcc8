# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""A write with FUA to a block device, and nothing behind it.

After a write with O_DSYNC that waits for its end the kernel flushes the device, whether or not the write
itself had FUA; an asynchronous one (Linux AIO) it leaves alone.
"""

import ctypes
import errno
import os
import struct

SETUP, DESTROY, GETEVENTS, SUBMIT = 206, 207, 208, 209     # of x86-64
PWRITE = 1
LIBC = ctypes.CDLL(None, use_errno=True)


def call(number, *words):
    """Do a system call with words and buffers; return its result."""
    done = LIBC.syscall(ctypes.c_long(number), *words)
    if done < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return done


def write(file, buffer, length, offset):
    """Write what @buffer, an aligned mapping, begins with; raise what the device answers."""
    context = ctypes.c_ulong(0)
    call(SETUP, ctypes.c_long(1), ctypes.byref(context))
    try:
        memory = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
        iocb = ctypes.create_string_buffer(struct.pack("<QIIHhIQQqQII", 0, 0, os.RWF_DSYNC, PWRITE, 0, file, memory,
                                                       length, offset, 0, 0, 0), 64)
        call(SUBMIT, context, ctypes.c_long(1), ctypes.byref(ctypes.c_void_p(ctypes.addressof(iocb))))
        event = ctypes.create_string_buffer(32)
        call(GETEVENTS, context, ctypes.c_long(1), ctypes.c_long(1), event, ctypes.c_void_p(None))
    finally:
        call(DESTROY, context)
    done = struct.unpack_from("<q", event.raw, 16)[0]
    if done != length:
        raise OSError(-done if done < 0 else errno.EIO, "the write with FUA")
