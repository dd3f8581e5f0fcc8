#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Who uses an image by QEMU meets our locks, in every state of the device.

# shellcheck source=tests/kselftest/dm-qcow2/locks.sh
. "$(dirname "$0")/locks.sh"

SECTORS=16384
scratch ext4
create a.qcow2 8M
for name in over other; do create -b a.qcow2 -F qcow2 $name.qcow2; done
qemu-io -c 'write -P 1 0 64k' a.qcow2 >/dev/null

readers=("qemu-img info a.qcow2" "qemu-img check a.qcow2" "qemu-io -r -c 'read 0 4k' a.qcow2" "qemu-img snapshot -l a.qcow2"
	"qemu-img convert -O raw a.qcow2 out.raw" "qemu-io -c 'read 0 4k' other.qcow2")
writers=("qemu-io -c 'write 64k 4k' a.qcow2" "qemu-img check -r all a.qcow2" "qemu-img snapshot -c s a.qcow2"
	"qemu-img resize -q --shrink a.qcow2 4M")
commit="qemu-img commit -q other.qcow2"

# qemu EXPECTED COMMAND...: EXPECTED is ok or what QEMU must say.
qemu() {
	local command out rc
	for command in "${@:2}"; do
		rc=0
		out=$(eval "$command" 2>&1) || rc=$?
		if [ "$1" = ok ]; then
			[ $rc = 0 ] || fail "$command: $out"
		elif [ $rc = 0 ] || ! grep -qF "$1" <<<"$out"; then
			fail "$command: not '$1' ($rc): $out"
		fi
	done
}

# written STATE BYTES: nobody else reads or writes.
written() {
	holds a.qcow2 "$2"
	qemu 'Failed to get shared "write" lock' "${readers[@]}" "$commit"
	qemu 'Failed to get "write" lock' "${writers[@]}"
	ok "$1: QEMU neither reads nor writes"
}

# read_only STATE BYTES: others may read.
read_only() {
	holds a.qcow2 "$2"
	qemu ok "${readers[@]}"
	qemu 'Failed to get "write" lock' "${writers[@]}" "$commit"
	ok "$1: QEMU reads and does not write"
}

inactive q
table a.qcow2 | dmsetup load q
written "loaded, not resumed" "$RW"
dmsetup resume q
written "active" "$RW 300"
qemu ok "qemu-img info -U a.qcow2" "qemu-img check -U a.qcow2" "qemu-io -U -r -c 'read 0 4k' a.qcow2" "qemu-img convert -U -O raw a.qcow2 out.raw" \
	"qemu-img create -q -f qcow2 -b a.qcow2 -F qcow2 new.qcow2"
dmsetup suspend q
written "suspended" "$RW"
dmsetup resume q
detach q
holds a.qcow2 ""

attach_ro q a.qcow2
read_only "active read-only" "$RO 300"
dmsetup suspend q
read_only "suspended read-only" "$RO"
detach q

attach q over.qcow2 -b qcow2:a.qcow2
read_only "a lower layer" "$RO 300"
holds over.qcow2 "$RW 300"
detach q

holds a.qcow2 ""
qemu ok "${readers[@]}" "${writers[@]}" "$commit"
clean a.qcow2
ok "detached: QEMU does what it wants"
