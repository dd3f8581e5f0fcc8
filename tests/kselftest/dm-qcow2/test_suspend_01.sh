#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Suspend and resume, and a reload of the printed table, under random I/O.
# cpus=2

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"

scratch ext4
create -o cluster_size=4k a.qcow2 16M
truncate -s 16M model.raw
attach q a.qcow2
keep_busy() {
	local seed=11

	until [ -e enough ]; do
		exercise q model.raw $((seed++)) 100 || return 1
	done
}
keep_busy &
worker=$!
for round in {1..10}; do
	dmsetup suspend q
	is q clean yes
	is q claim parked
	is q staged 0
	[ $((round % 2)) = 0 ] || dmsetup table q | dmsetup load q
	dmsetup resume q
	is q claim active
	sleep 0.3
done
touch enough
wait $worker || fail "the model differs"
detach q
clean a.qcow2
same a.qcow2 model.raw
ok "suspend, resume and reload under I/O"
