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

# have NUMBER WHEN: so many there are now; sets NOW.
have() {
	NOW=$(threads)
	want "$2: $NOW threads, not $1" [ "$NOW" = "$1" ]
}

scratch ext4
create base.qcow2 16M
# Only what is read, since QEMU needs half a minute in the machine to compress all of it.
writes=()
for number in {0..15}; do writes+=(-c "write -P 5 $((number << 19)) 64k"); done
qemu-io "${writes[@]}" base.qcow2 >/dev/null
qemu-img convert -c -O qcow2 base.qcow2 packed.qcow2
create -b packed.qcow2 -F qcow2 a.qcow2
none=$(threads)
attach q a.qcow2 -b qcow2:packed.qcow2
have "$none" "an idle device"
dmsetup suspend q
is q clean yes
dmsetup resume q
have "$none" "after a suspend"
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
have $((none + 4)) "a device in use"
used=$NOW
ok "first requests"

exec {fd}<>/dev/mapper/q
dmsetup reload q --table "$LINE"
have $((used + 4)) "a table for a device in use"
dmsetup suspend q
dmsetup resume q
exec {fd}>&-
have "$used" "after the old table"
detach q
clean a.qcow2
have "$none" "after all"
ok "a table in place of another"

# The first request is a write to the cache that comes as writeback.
attach q a.qcow2 -b qcow2:packed.qcow2
dd if=/dev/zero of=/dev/mapper/q bs=64k count=16 status=none
sync /dev/mapper/q
detach q
clean a.qcow2
ok "writeback first"
