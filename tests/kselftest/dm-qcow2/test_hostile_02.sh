#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Images made to take long: table offsets chosen to meet in one place of a hash, and a refcount table full of blocks of
# holes. They attach, and let go, in the time of others.
# timeout=150

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"

scratch ext4
create -o cluster_size=512 hash.qcow2 2G
create blocks.qcow2 64M
python3 "$HERE/slow_images.py"
in_seconds() {
	local rc=0
	timeout "$1" "${@:2}" || rc=$?
	[ $rc = 0 ] || fail "exit $rc: ${*:2}"
}
table_line hash.qcow2
in_seconds 20 dmsetup create --readonly q --table "$LINE"
DEVICES+=(q)
in_seconds 20 dmsetup suspend q
detach q
ok "offsets that meet in a hash"
attach q blocks.qcow2
dd if=/dev/urandom of=/dev/mapper/q bs=64k count=1 oflag=direct status=none
in_seconds 20 dmsetup suspend q
is q clean yes
detach q
ok "a refcount table full of holes"
