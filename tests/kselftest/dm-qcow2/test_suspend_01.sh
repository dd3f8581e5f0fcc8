#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Suspend and resume, and a reload of the printed table, under random I/O.

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"

scratch ext4
create -o cluster_size=4k a.qcow2 16M
truncate -s 16M model.raw
attach q a.qcow2
exercise q model.raw 11 600 &
worker=$!
rounds=0
while kill -0 $worker 2>/dev/null; do
	dmsetup suspend q
	is q clean yes
	is q claim parked
	is q staged 0
	[ $((rounds % 2)) = 0 ] || dmsetup table q | dmsetup load q
	dmsetup resume q
	is q claim active
	rounds=$((rounds + 1))
	sleep 0.3
done
wait $worker || fail "the model differs"
say "$rounds rounds"
want "too few rounds" [ $rounds -ge 3 ]
detach q
clean a.qcow2
same a.qcow2 model.raw
ok "suspend, resume and reload under I/O"
