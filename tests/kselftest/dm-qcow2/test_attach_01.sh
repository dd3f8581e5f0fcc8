#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Attach and detach many times: no memory stays behind.
# timeout=240

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"

scratch ext4
create -o cluster_size=4k a.qcow2 16M
used() { awk '/^(Slab|Percpu):/ { sum += $2 } END { print sum }' /proc/meminfo; }
cycle() {
	attach q a.qcow2
	DEVICES=()
	dd if=/dev/zero of=/dev/mapper/q bs=64k count=4 seek="$1" oflag=direct status=none
	detach q
}
for n in $(seq 1 10); do cycle $((n % 50)); done
sync
echo 3 >/proc/sys/vm/drop_caches
sleep 1
before=$(used)
cycles=$([ -n "${QCOW2_FULL:-}" ] && echo 200 || echo 40)
for n in $(seq 1 "$cycles"); do cycle $((n % 50)); done
sync
echo 3 >/proc/sys/vm/drop_caches
sleep 1
grown=$(($(used) - before))
say "slab and percpu memory grew by $grown KiB"
[ $grown -lt 2048 ] || fail "memory grew by $grown KiB"
clean a.qcow2
ok "$cycles cycles"
