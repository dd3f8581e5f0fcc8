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
create -b a.qcow2 -F qcow2 over.qcow2
qemu-io -c 'write -P 1 0 64k' a.qcow2 >/dev/null

readers=("qemu-img info" "qemu-img check")
writers=("qemu-io -c 'write 64k 4k'" "qemu-img snapshot -c s" "qemu-img resize -q --shrink")

# qemu EXPECTED COMMAND: on a.qcow2; EXPECTED is ok or what QEMU must say.
qemu() {
	local out rc=0
	out=$(eval "$2" a.qcow2 "${3:-}" 2>&1) || rc=$?
	if [ "$1" = ok ]; then
		[ $rc = 0 ] || fail "$2: $out"
	elif [ $rc = 0 ] || ! grep -qF "$1" <<<"$out"; then
		fail "$2: not '$1' ($rc): $out"
	fi
}

# written STATE BYTES COMMANDS...: nobody else reads or writes.
written() {
	local command text=$1
	holds a.qcow2 "$2"
	shift 2
	for command in "$@"; do
		case $command in
		"qemu-img info" | "qemu-img check") qemu 'Failed to get shared "write" lock' "$command" ;;
		*resize*) qemu 'Failed to get "write" lock' "$command" 4M ;;
		*) qemu 'Failed to get "write" lock' "$command" ;;
		esac
	done
	ok "$text: QEMU neither reads nor writes"
}

# read_only STATE BYTES COMMANDS...: others may read.
read_only() {
	local command text=$1
	holds a.qcow2 "$2"
	shift 2
	for command in "$@"; do
		case $command in
		"qemu-img info" | "qemu-img check") qemu ok "$command" ;;
		*resize*) qemu 'Failed to get "write" lock' "$command" 4M ;;
		*) qemu 'Failed to get "write" lock' "$command" ;;
		esac
	done
	ok "$text: QEMU reads and does not write"
}

inactive q
table a.qcow2 | dmsetup load q
written "loaded, not resumed" "$RW" "${readers[0]}" "${writers[0]}"
dmsetup resume q
written "active" "$RW 300" "${readers[@]}" "${writers[@]}"
qemu ok "qemu-img info -U"
dmsetup suspend q
written "suspended" "$RW" "${readers[0]}" "${writers[0]}"
dmsetup resume q
detach q
holds a.qcow2 ""

attach_ro q a.qcow2
read_only "active read-only" "$RO 300" "${readers[0]}" "${writers[@]}"
dmsetup suspend q
read_only "suspended read-only" "$RO" "${readers[0]}" "${writers[0]}"
detach q

attach q over.qcow2 -b qcow2:a.qcow2
read_only "a lower layer" "$RO 300" "${readers[@]}" "${writers[0]}" "qemu-img commit -q -b a.qcow2 over.qcow2 #"
holds over.qcow2 "$RW 300"
detach q

holds a.qcow2 ""
qemu ok "qemu-io -c 'write 64k 4k'"
qemu ok "qemu-img resize -q --shrink" 4M
clean a.qcow2
ok "detached: QEMU does what it wants"
