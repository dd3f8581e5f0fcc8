#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# A machine that is nearly out of memory: more dirty pages of a filesystem on the device than there is room for,
# written back through the image, which lies in a file; and the same under the limit of a cgroup. On a kernel that can one of
# ten allocations of our module fails meanwhile.
# cpus=2
# timeout=200
# series=6.12

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"

read -ra disks <<<"${VM_DISKS:-}"
[ ${#disks[@]} -gt 0 ] || skip "no disk; a RAM disk would take the memory that is to be short"
load_target
mkdir -p "$DIR" /mnt/above
modprobe ext4
mkfs.ext4 -q -F "${disks[0]}"
mount "${disks[0]}" "$DIR"
cd "$DIR"
create base.qcow2 400M
qemu-io -c 'write -P 9 0 150M' base.qcow2 >/dev/null
create -u -b "$DIR/base.qcow2" -F qcow2 a.qcow2 400M
attach q a.qcow2 -b qcow2:base.qcow2 cache_kib 256 commit_ms 200
mkfs.ext4 -q -F -E nodiscard,lazy_itable_init=1,lazy_journal_init=1 /dev/mapper/q
mount /dev/mapper/q /mnt/above
MOUNTS+=(/mnt/above)

# hold MIB: a process that leaves MIB of memory to the others.
hold() {
	python3 - "$1" <<'PY' &
import ctypes, mmap, sys, time
def available():
    with open("/proc/meminfo") as file:
        return int(next(line for line in file if line.startswith("MemAvailable")).split()[1]) >> 10
taken = mmap.mmap(-1, max(1, available() - int(sys.argv[1])) << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
try:
    taken.madvise(mmap.MADV_HUGEPAGE)   # which are there in a tenth of the time
except OSError:
    pass    # a kernel without them
ctypes.CDLL(None).mlock(ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(taken))), ctypes.c_size_t(len(taken)))
open("held", "w").close()
time.sleep(1000)
PY
	HOLDER=$!
	until [ -e held ]; do
		kill -0 $HOLDER 2>/dev/null || fail "nobody holds the memory"
		sleep 0.2
	done
}

# fill NAME [MIB]: a file of 150 MiB by way of the page cache, synchronised each so many MIB. Without that there is a
# moment with more dirty pages than free ones, for which writing back must not begin too early.
fill() {
	python3 - "/mnt/above/$1" "${2:-}" <<'PY' || fail "$1: never more dirty pages than free ones"
import os, sys
def kib():
    with open("/proc/meminfo") as file:
        return {line.split(":")[0]: int(line.split()[1]) for line in file}
least = 0
with open(sys.argv[1], "wb") as file:
    for n in range(150):
        file.write(n.to_bytes(4, "little") * (1 << 18))
        if sys.argv[2] and n % int(sys.argv[2]) == int(sys.argv[2]) - 1:
            os.fsync(file.fileno())
        now = kib()
        least = min(least, now["MemFree"] - now["Dirty"] - now["Writeback"])
print(f"# at most {-least >> 10} MiB more dirty than free")
sys.exit(not sys.argv[2] and not least)
PY
	sync
}

# compare NAME: with what is on the disk.
compare() {
	local same
	echo 3 >/proc/sys/vm/drop_caches
	same=$(python3 - "/mnt/above/$1" <<'PY'
import sys
with open(sys.argv[1], "rb") as file:
    print(all(file.read(1 << 20) == n.to_bytes(4, "little") * (1 << 18) for n in range(150)))
PY
	)
	[ "$same" = True ] || fail "$1 is not what was written"
}

# starve N: one of N allocations fails; 0: none any more, and some have.
starve() {
	[ -e /sys/kernel/debug/failslab/require-start ] || return 0
	PYTHONPATH=$HERE python3 -c "import sys, pressure; pressure.arm($1, pressure.ext4_text()) or sys.exit($1 == 0)" ||
		fail "no allocation has failed"
}

echo 60 >/proc/sys/vm/dirty_ratio
echo 50 >/proc/sys/vm/dirty_background_ratio
hold 100
start=$SECONDS
starve 10
fill held
starve 0
say "$(awk '/MemFree|MemAvailable|^Dirty/ { printf "%s %d MiB ", $1, $2 / 1024 }' /proc/meminfo), $((SECONDS - start)) s"
kill $HOLDER
wait $HOLDER 2>/dev/null || true
rm held
compare held
ok "dirty pages beyond the memory"
mkdir -p /sys/fs/cgroup
if ! mountpoint -q /sys/fs/cgroup; then
	mount -t cgroup2 none /sys/fs/cgroup
	MOUNTS+=(/sys/fs/cgroup)
fi
echo "+memory +io" >/sys/fs/cgroup/cgroup.subtree_control
mkdir /sys/fs/cgroup/small
echo 64M >/sys/fs/cgroup/small/memory.max
rm /mnt/above/held
echo 10 >/proc/sys/vm/dirty_background_ratio
echo 20 >/proc/sys/vm/dirty_ratio
start=$SECONDS
starve 10
(
	echo "$BASHPID" >/sys/fs/cgroup/small/cgroup.procs
	# Without a pause the group's own pages are all dirty, and the kernel kills: on any disk.
	fill limited 32
)
starve 0
compare limited
say "$((SECONDS - start)) s"
rmdir /sys/fs/cgroup/small
ok "dirty pages beyond the limit of a cgroup"
umount /mnt/above
is q mode rw
is q last none
fsck.ext4 -fn /dev/mapper/q >fsck.log 2>&1 || fail "fsck: $(cat fsck.log)"
detach q
clean a.qcow2
ok "the filesystem and the image are whole"
