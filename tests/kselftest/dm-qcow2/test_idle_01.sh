#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# A device that nobody has used has no threads; the first requests, of all kinds at once, make them and end well;
# a table that takes the place of one in use has them before it is resumed.

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"

# How many threads of ours there are: the rescuers of workqueues.
threads() { cat /proc/[0-9]*/comm 2>/dev/null | grep -cE '^(kworker/R-)?qcow2' || true; }

scratch ext4
create base.qcow2 16M
qemu-io -c 'write -P 5 0 16M' base.qcow2 >/dev/null
qemu-img convert -c -O qcow2 base.qcow2 packed.qcow2
create -b packed.qcow2 -F qcow2 a.qcow2
none=$(threads)
attach q a.qcow2 -b qcow2:packed.qcow2
want "an idle device has $(($(threads) - none)) threads" [ "$(threads)" = "$none" ]
dmsetup suspend q
is q clean yes
dmsetup resume q
want "after a suspend there are $(($(threads) - none))" [ "$(threads)" = "$none" ]
ok "idle"

# Flush, compressed read, allocating write, discard: whichever comes first.
python3 - /dev/mapper/q <<'PY' || fail "the first requests"
import fcntl, mmap, os, struct, sys, threading
wrong, start = [], threading.Barrier(16)
def one(number):
    fd = os.open(sys.argv[1], os.O_RDWR | os.O_DIRECT)
    with mmap.mmap(-1, 4096) as buffer:
        start.wait()
        at = number << 19
        if number % 4 == 0:
            os.fsync(fd)
        elif number % 4 == 1:
            fcntl.ioctl(fd, 0x1277, struct.pack("=QQ", at, 65536))
        elif number % 4 == 2:
            buffer[:] = bytes([number]) * 4096
            os.pwritev(fd, [buffer], at)
        os.preadv(fd, [buffer], at)
        if buffer[:] != (bytes([number]) if number % 4 == 2 else b"\0" if number % 4 == 1 else b"\5") * 4096:
            wrong.append(number)
    os.close(fd)
threads = [threading.Thread(target=one, args=(number,)) for number in range(16)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("# wrong", wrong)
sys.exit(bool(wrong))
PY
used=$(threads)
want "a device in use has $((used - none)) threads" [ "$used" = $((none + 4)) ]
ok "first requests"

exec {fd}<>/dev/mapper/q
dmsetup reload q --table "$LINE"
want "a table for a device in use has $(($(threads) - used)) threads" [ "$(threads)" = $((used + 4)) ]
dmsetup suspend q
dmsetup resume q
exec {fd}>&-
want "the old table left $(($(threads) - used)) threads" [ "$(threads)" = "$used" ]
detach q
clean a.qcow2
want "$(($(threads) - none)) threads are left" [ "$(threads)" = "$none" ]
ok "a table in place of another"

# The first request is a write to the cache that comes as writeback.
attach q a.qcow2 -b qcow2:packed.qcow2
dd if=/dev/zero of=/dev/mapper/q bs=64k count=16 status=none
sync /dev/mapper/q
detach q
clean a.qcow2
ok "writeback first"
