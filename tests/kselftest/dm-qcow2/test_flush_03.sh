#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# A flush that arrives while a commit is under way is not answered by that commit: on a slow disk, what was written
# before the flush is on the disk when it returns.
# cpus=2

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"

scratch ext4
need_module dm-delay
ramdisk 1 64
dmsetup create slow --table "0 65536 delay /dev/ram1 0 0 /dev/ram1 0 300"
DEVICES+=(slow)
create /dev/mapper/slow 16M
attach q /dev/mapper/slow commit_ms 60000
cat >flushes.py <<'PY'
import mmap, os, sys, threading, time

below = os.open("/dev/ram1", os.O_RDONLY | os.O_DIRECT)
disk = os.open("/dev/mapper/q", os.O_RDWR | os.O_DIRECT)
buffer, copy = mmap.mmap(-1, 4096), mmap.mmap(-1, 8 << 20)
# When the second write begins: in the first, second, third step of the commit.
for n, wait in enumerate((0.05, 0.4, 0.7)):
    buffer[:] = bytes([n + 1]) * 4096
    os.pwrite(disk, buffer, n << 20)
    first = threading.Thread(target=os.fsync, args=(disk,))
    first.start()
    time.sleep(wait)
    os.pwrite(disk, buffer, (n << 20) + 65536)
    os.fsync(disk)
    os.preadv(below, [copy], 0)
    with open(f"copy.{n}", "wb") as file:
        file.write(copy)
    first.join()
PY
python3 flushes.py
for n in 0 1 2; do
	for at in $((n << 20)) $(((n << 20) + 65536)); do
		out=$(qemu-io -r -f qcow2 -c "read -P $((n + 1)) $at 4k" copy.$n 2>&1)
		[[ $out == "read 4096"* && $out != *"verification failed"* ]] ||
			fail "round $n: what was flushed at $at is not on the disk: $out"
	done
	ok "round $n"
done
detach q
