#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# An image on a block device: locked on its node, one claim by its number.

# shellcheck source=tests/kselftest/dm-qcow2/locks.sh
. "$(dirname "$0")/locks.sh"

export SECTORS=16384
scratch ext4
truncate -s 32M disk.raw
loop disk.raw
create "$LOOP" 8M
node=$DIR/node
read -r major minor < <(stat -c '%Hr %Lr' "$LOOP")
mknod node b "$major" "$minor"

attach q "$LOOP"
holds "$LOOP" "$RW 300"
out=$(qemu-io -c 'write 0 4k' -f qcow2 "$LOOP" 2>&1) && fail "QEMU writes"
[[ $out == *'Failed to get "write" lock'* ]] || fail "qemu-io: $out"
ok "QEMU is kept out"
for path in "$LOOP" "$node" "$major:$minor"; do
	refused "Device or resource busy" "in use by device q" \
		dmsetup create bad --table "0 $SECTORS qcow2 1 qcow2 $path"
	ok "one device by $path"
done

# A reload by another node locks that one, where a tool looks.
echo "0 $SECTORS qcow2 1 qcow2 $node" | dmsetup load q
holds "$LOOP" "$RW 300"
holds node "$RW 300"
dmsetup resume q
holds "$LOOP" ""
holds node "$RW 300"
[ "$(dmsetup table q)" = "0 $SECTORS qcow2 1 qcow2 $node" ] || fail "printed: $(dmsetup table q)"
dmsetup suspend q
hold node w300
refused "Device or resource busy" "byte 300" dmsetup resume q
let_go
dmsetup resume q
ok "reloaded by another node"

# By number there is no node: only the kernel knows.
echo "0 $SECTORS qcow2 1 qcow2 $major:$minor" | dmsetup load q
dmsetup resume q
holds node ""
refused "Device or resource busy" "in use by device q" \
	dmsetup create bad --table "0 $SECTORS qcow2 1 qcow2 $LOOP"
detach q
hold "$LOOP" r201
refused "Device or resource busy" "byte 201" attach bad "$LOOP"
let_go
ok "by number"
