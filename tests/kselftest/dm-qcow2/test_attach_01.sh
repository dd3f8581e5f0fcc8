#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Attach and detach 200 times, by libdevmapper and now and then by qcow2ctl: no memory stays behind.
# timeout=200

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"

[ -n "$QCOW2CTL" ] || skip "no qcow2ctl"
scratch ext4
create -o cluster_size=4k a.qcow2 16M
create -b a.qcow2 -F qcow2 over.qcow2
# What is allocated, in KiB: objects and not their pages, which the kernel gives back when it likes.
used() {
	sync
	echo 3 >/proc/sys/vm/drop_caches
	sleep 2
	awk '/^kmalloc-[0-9]/ { sum += $2 * $4 / 1024 } /^Percpu:/ { sum += $2 } END { print int(sum) }' \
		/proc/slabinfo /proc/meminfo
}

# cycles FIRST COUNT: one process does them, because processes are slow in the machine.
cycles() {
	python3 - "$1" "$2" "$DIR" <<'PY'
import ctypes, mmap, os, sys
first, count, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3].encode()
CREATE, REMOVE = 0, 2
dm = ctypes.CDLL("libdevmapper.so.1.02.1")
dm.dm_task_create.restype = ctypes.c_void_p
dm.dm_task_add_target.argtypes = [ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint64, ctypes.c_char_p, ctypes.c_char_p]
for call in (dm.dm_task_set_name, dm.dm_task_run, dm.dm_task_destroy, dm.dm_task_retry_remove):
    call.argtypes = [ctypes.c_void_p] + ([ctypes.c_char_p] if call is dm.dm_task_set_name else [])
buffer = mmap.mmap(-1, 65536)

def run(kind, table=None):
    task = dm.dm_task_create(kind)
    dm.dm_task_set_name(task, b"q")
    if table:
        dm.dm_task_add_target(task, 0, 32768, b"qcow2", table)
    else:
        dm.dm_task_retry_remove(task)
    if not dm.dm_task_run(task):
        sys.exit(f"task {kind} failed")
    dm.dm_task_destroy(task)
    dm.dm_task_update_nodes()

for n in range(first, first + count):
    layers = b"2 qcow2 %s/over.qcow2 qcow2 %s/a.qcow2" if n % 2 else b"1 qcow2 %s/a.qcow2"
    run(CREATE, layers % ((folder,) * (1 + n % 2)))
    fd = os.open("/dev/mapper/q", os.O_RDWR | os.O_DIRECT)
    buffer[:] = bytes([n % 256]) * 65536
    os.pwrite(fd, buffer, n % 250 * 65536)
    os.close(fd)
    run(REMOVE)
PY
}
tool_cycles() {
	local at
	for at in {1..5}; do
		"$QCOW2CTL" attach a.qcow2 q >/dev/null
		"$QCOW2CTL" detach q
	done
}
# The module has one of its own.
threads() { cat /proc/[0-9]*/comm 2>/dev/null | grep -cE '^(kworker/R-)?qcow2' || true; }
before=$(threads)
cycles 0 20
tool_cycles
# A leak grows in both halves alike; what else the kernel keeps for later does not.
start=$(used)
cycles 20 95
tool_cycles
middle=$(used)
cycles 115 95
tool_cycles
end=$(used)
say "200 cycles: memory grew by $((middle - start)) KiB, then $((end - middle)) KiB"
[ $((middle - start)) -lt 100 ] || [ $((end - middle)) -lt 100 ] || fail "1 KiB a cycle stays behind"
want "threads stayed behind" [ "$(threads)" = "$before" ]
clean a.qcow2
clean over.qcow2
ok "200 cycles"
