# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
"""The frequency of this processor's time stamp counter.

Under plain emulation the machine's counter is the host's. A kernel that boots finds out its frequency by
watching another clock, and where the emulator is not running all the time it sees anything: its
seconds have then been six times too short (timeouts and stalls that were none), or so long that the boot
seemed to hang. Nothing corrects that later, so we measure it here and tell the kernel.
"""

import ctypes
import mmap
import platform
import time

READ = "0f3148c1e2204809d0c3"       # rdtsc; shl $32,%rdx; or %rdx,%rax; ret
SECONDS = 0.1


def reader():
    """Return a function that reads the counter, or None where there is none."""
    if platform.machine() != "x86_64":
        return None
    try:
        page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    except OSError:
        return None
    page.write(bytes.fromhex(READ))
    code = ctypes.c_char.from_buffer(page)
    read = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(code))
    read.code = code        # keeps the page
    return read


def moment(read):
    """Return (nanoseconds, counter) of one moment: of many looks the one that was disturbed least."""
    looks = []
    for _ in range(50):
        before, count, after = time.monotonic_ns(), read(), time.monotonic_ns()
        looks.append((after - before, (before + after) // 2, count))
    return min(looks)[1:]


def khz():
    """Return the frequency, or None if it cannot be found."""
    read = reader()
    if not read:
        return None
    start, first = moment(read)
    time.sleep(SECONDS)
    end, last = moment(read)
    return round((last - first) * 1000000 / (end - start))
