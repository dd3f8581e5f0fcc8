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
# used FILE: the objects of each cache, without those that a processor keeps for its next ones, and KiB of other memory.
# What was vmalloc'ed is in VmallocUsed; of its addresses the kernel lets go late, many at once.
used() {
	local cache
	sync
	echo 3 >/proc/sys/vm/drop_caches
	sleep 2
	for cache in /sys/kernel/slab/*/shrink; do
		[ -L "${cache%/*}" ] || echo 1 >"$cache"
	done
	awk 'FNR > 2 && NF > 3 && $1 != "vmap_area" { print $1, $2, $4 } /^(Percpu|VmallocUsed):/ { print $1, $2, 1024 }' \
		/proc/slabinfo /proc/meminfo >"$1"
}
# kept FROM TO: what grew by half an object for each cycle, or more.
kept() { awk -v most=50 'NR == FNR { old[$1] = $2; next } $2 - old[$1] >= most { print $1, $2 - old[$1] }' "$1" "$2"; }

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
used start
cycles 20 95
tool_cycles
used middle
cycles 115 95
tool_cycles
used end
kept start middle >first
kept middle end >second
say "grew in the first half: $(tr '\n' ' ' <first), in the second: $(tr '\n' ' ' <second)"
both=$(awk 'NR == FNR { old[$1] = $2; next } $1 in old { print $1, old[$1], $2 }' first second)
[ -z "$both" ] || fail "stays behind after 100 cycles each: $both"
want "threads stayed behind" [ "$(threads)" = "$before" ]
clean a.qcow2
clean over.qcow2
ok "200 cycles"
