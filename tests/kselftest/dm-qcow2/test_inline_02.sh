#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# A write into the part of a new cluster that nobody has written yet is left to a lane: only there may the file
# system allocate. What was written as a whole is written in the submitter's context.
# cpus=2

# shellcheck source=tests/kselftest/dm-qcow2/trace.sh
. "$(dirname "$0")/trace.sh"

scratch ext4
create a.qcow2 64M
create -o cluster_size=2M big.qcow2 64M
trace dm_qcow2/qcow2_inline

# write_traced BYTES SEEK: one write, in units of BYTES; inline says whether it was tried in .map.
write_traced() {
	trace_forget
	dd if=/dev/zero of=/dev/mapper/q bs="$1" count=1 seek="$2" oflag=direct conv=notrunc status=none
}
inline() { traced qcow2_inline:; }

for image in a.qcow2 big.qcow2; do
	attach q "$image"
	write_traced 4k 0
	inline && fail "$image: an allocating write was tried inline"
	write_traced 4k 1
	inline && fail "$image: a write to what was never written was tried inline"
	detach q
	clean "$image"
	ok "$image: rest of a new cluster"
	attach q "$image"
	write_traced 2M 4
	write_traced 4k 2049
	want "$image: a write to a cluster that is all written was left to a lane" inline
	detach q
	clean "$image"
	ok "$image: a whole new cluster"
done
# Freed, punched, and used again for a small write: filled with zeros that are written.
attach q a.qcow2
write_traced 64k 100
blkdiscard -o $((100 * 65536)) -l 65536 /dev/mapper/q
sync /dev/mapper/q
attached=$(field q allocs)
for try in 1 2 3; do
	write_traced 4k $((3200 + try * 16))
done
[ "$(field q allocs)" -gt "$attached" ] || fail "nothing was allocated"
detach q
clean a.qcow2
ok "clusters that are used again"
untrace dm_qcow2/qcow2_inline
