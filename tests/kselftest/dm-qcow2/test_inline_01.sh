#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# A mapped read on ext4 is issued by the submitter itself; hop always leaves it to a lane.

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"

scratch ext4
mountpoint -q /sys/kernel/tracing || mount -t tracefs tracefs /sys/kernel/tracing
create a.qcow2 8M
qemu-io -f qcow2 -c 'write -P 5 0 4M' a.qcow2 >/dev/null
cd /sys/kernel/tracing
echo 1 >events/dm_qcow2/qcow2_inline/enable
echo 1 >events/dm_qcow2/qcow2_lane/enable
cd "$DIR"
trace_reads() {
	echo >/sys/kernel/tracing/trace
	dd if=/dev/mapper/q of=/dev/null bs=4k count=1 skip="$1" iflag=direct status=none &
	reader=$!
	wait $reader
}
attach q a.qcow2
trace_reads 1
trace_reads 2
want "no read from the submitter's context" grep -qE -- "-$reader .*qcow2_inline: goff 0x2000 " /sys/kernel/tracing/trace
grep -q qcow2_lane: /sys/kernel/tracing/trace && fail "a lane was used"
detach q
ok "hop auto"
attach q a.qcow2 hop always
trace_reads 3
trace_reads 4
want "no read by a lane" grep -q "qcow2_lane: goff 0x4000 " /sys/kernel/tracing/trace
grep -q qcow2_inline: /sys/kernel/tracing/trace && fail "issued inline"
detach q
ok "hop always"
echo 0 >/sys/kernel/tracing/events/dm_qcow2/enable
