# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
# shellcheck shell=bash
#
# The byte locks of an image: which are held, and somebody else who holds some.

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lib.sh"

# shellcheck disable=SC2034
RW="100 101 103 201 203"
# shellcheck disable=SC2034
RO="100 201 203"
HOLDER=

# bytes FILE: sets BYTES to the bytes locked on its inode. No process is started but one: they are slow
# in the machine.
bytes() {
	local major minor inode kind at from to
	local -a locked=()
	read -r major minor inode < <(stat -L -c '%Hd %Ld %i' "$1")
	printf -v inode '%02x:%02x:%d' "$major" "$minor" "$inode"
	while read -r _ kind _ _ _ at from to; do
		[ "$kind:$at" = "OFDLCK:$inode" ] || continue
		for ((; from <= to; from++)); do
			locked[from]=$from
		done
	done </proc/locks
	BYTES="${locked[*]}"
}

# holds FILE BYTES: exactly these are locked.
holds() {
	bytes "$1"
	[ "$BYTES" = "$2" ] || fail "$1: locked are '$BYTES', not '$2'"
}

# hold FILE {r|w}BYTE...: another process locks these, until let_go.
hold() {
	local name=
	ofdlock "$@" -- sleep 300 &
	HOLDER=$!
	while [ "$name" != sleep ]; do
		read -r name <"/proc/$HOLDER/comm" || fail "no lock: $*"
	done 2>/dev/null
}

let_go() {
	kill "$HOLDER"
	wait "$HOLDER" 2>/dev/null || true
}

# inactive NAME: a device without a table, for those that shall not be resumed.
inactive() {
	dmsetup create "$1" --notable
	made "$1"
}

# number NAME: its major:minor.
number() { dmsetup info -c --noheadings -o major,minor "$1"; }

# made NAME...: devices that the case makes itself, for the end of it.
made() { DEVICES+=("$@"); }

gone() { ! dmsetup info "$1" >/dev/null 2>&1; }

# io FILE COMMAND...: QEMU's commands on an image; device_io NAME COMMAND...: on a device.
io() {
	local file=$1 format=${FORMAT:-qcow2} out
	local -a words=()
	shift
	while [ $# -gt 0 ]; do
		words+=(-c "$1")
		shift
	done
	out=$(qemu-io -f "$format" "${words[@]}" "$file" 2>&1) || fail "qemu-io $file: $out"
	[[ $out != *"verification failed"* ]] || fail "$file: $out"
}

device_io() {
	local name=$1
	shift
	FORMAT=raw io "/dev/mapper/$name" "$@"
}
