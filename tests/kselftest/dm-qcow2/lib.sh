# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
# shellcheck shell=bash
#
# What all cases share: a scratch filesystem and disks in memory, devices made by table lines typed
# as a user would, and the way back from all that.
#
# A case is a list of steps; the first that fails ends it. `ok NAME` reports what was reached.

set -euo pipefail
export DM_DISABLE_UDEV=1 LC_ALL=C

HERE=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
PATH=$HERE:$(readlink -f "$HERE/../../..")/build/interop:$PATH
DIR=/mnt/qcow2
NULLB=/sys/kernel/config/nullb
DEVICES=()
LOOPS=()
MOUNTS=()
DISKS=()

. "$HERE/ktap.sh"
. "$HERE/oracle.sh"

[ "$EUID" = 0 ] || skip "needs root"

load_target() {
	[ -d /sys/module/dm_mod ] || modprobe dm-mod
	[ -d /sys/module/dm_qcow2 ] && return
	if [ -n "${QCOW2_KO:-}" ]; then
		insmod "$QCOW2_KO" || fail "$QCOW2_KO does not load"
	else
		modprobe dm-qcow2 || fail "there is no module dm-qcow2"
	fi
}

unload_target() {
	local at
	for ((at = 0; at < 50; at++)); do
		[ -d /sys/module/dm_qcow2 ] || return 0
		rmmod dm_qcow2 2>/dev/null || sleep 0.1
	done
	return 1
}

# Everything that the test made, last first; what hangs is forced out.
put_away() {
	local at name
	cd /
	for at in $(jobs -p); do kill "$at" 2>/dev/null || true; done
	for ((at = ${#MOUNTS[@]} - 1; at >= 0; at--)); do
		umount "${MOUNTS[at]}" 2>/dev/null || true
	done
	for ((at = ${#DEVICES[@]} - 1; at >= 0; at--)); do
		name=${DEVICES[at]}
		[ -e "/dev/mapper/$name" ] || dmsetup info "$name" >/dev/null 2>&1 || continue
		dmsetup remove --retry "$name" 2>/dev/null ||
			dmsetup remove --force --retry "$name" 2>/dev/null || true
	done
	mountpoint -q "$DIR" && umount "$DIR"
	for at in "${LOOPS[@]}"; do losetup -d "$at" 2>/dev/null || true; done
	for at in "${DISKS[@]}"; do rmdir "$at" 2>/dev/null || true; done
	return 0
}

cleanup() {
	local rc=$? bad
	trap '' EXIT
	set +e
	put_away
	if ! unload_target; then
		echo "not ok $((++KTAP_N)) the module does not unload"
		rc=1
	fi
	if bad=$(splat); then
		echo "not ok $((++KTAP_N)) kernel log: ${bad%%$'\n'*}"
		rc=1
	fi
	[ "$rc" = 0 ] || [ "$rc" = 4 ] || echo "# exit $rc"
	echo "1..$KTAP_N"
	exit "$rc"
}
trap cleanup EXIT
trap 'echo "# failed: line $LINENO: $BASH_COMMAND"' ERR

# disk MIB [ATTRIBUTE=VALUE]...: sets DISK to a new disk in memory, and DISK_CONFIG to its attributes.
# It has a queue and a volatile cache, so that flushes can be seen below; all zeros at first.
disk() {
	local attribute
	if [ ! -d "$NULLB" ]; then
		need_module null_blk nr_devices=0
	fi
	DISK_CONFIG=$NULLB/qt${#DISKS[@]}
	mkdir "$DISK_CONFIG" || fail "no null_blk disk"
	DISKS+=("$DISK_CONFIG")
	for attribute in memory_backed=1 "size=$1" cache_size=1 discard=1 "${@:2}"; do
		[ -e "$DISK_CONFIG/${attribute%%=*}" ] || skip "null_blk has no ${attribute%%=*}"
		echo "${attribute#*=}" >"$DISK_CONFIG/${attribute%%=*}" ||
			fail "null_blk does not take $attribute"
	done
	echo 1 >"$DISK_CONFIG/power" || fail "null_blk: no power: $*"
	DISK=/dev/qt$((${#DISKS[@]} - 1))
	[ -b "$DISK" ] || DISK=/dev/nullb$(<"$DISK_CONFIG/index")
	[ -b "$DISK" ] || fail "null_blk made no node"
}

# scratch FS [MIB]: a filesystem at $DIR on a new disk, and be there.
scratch() {
	local fs=$1 mib=${2:-400} force=-f
	load_target
	mkdir -p "$DIR"
	if [ "$fs" = tmpfs ]; then
		mount -t tmpfs -o "size=${mib}m" tmpfs "$DIR"
	else
		[ "$fs" != ext4 ] || force=-F
		grep -qw "$fs" /proc/filesystems || need_module "$fs"
		disk "$mib"
		"mkfs.$fs" -q "$force" "$DISK" || fail "mkfs.$fs"
		mount "$DISK" "$DIR"
	fi
	cd "$DIR"
}

# loop FILE: sets LOOP to a loop device over it, with direct I/O where possible.
loop() {
	[ -d /sys/module/loop ] || modprobe loop
	LOOP=$(losetup -f --show "$1")
	LOOPS+=("$LOOP")
	losetup --direct-io=on "$LOOP" 2>/dev/null || true
}

# quoted PATH: as a table line wants it.
quoted() { sed 's/[\\[:blank:]]/\\&/g' <<<"$1"; }

# table IMAGE [-b FORMAT:PATH]... [OPTION-WORD]...: prints the table line; SECTORS sets the length.
table() {
	local image=$1 layers=1 line words
	shift
	[ "${image:0:1}" = / ] || image=$PWD/$image
	line="qcow2 $(quoted "$image")"
	while [ "${1:-}" = -b ]; do
		image=${2#*:}
		[ "${image:0:1}" = / ] || image=$PWD/$image
		line+=" ${2%%:*} $(quoted "$image")"
		layers=$((layers + 1))
		shift 2
	done
	words=
	[ $# = 0 ] || words=" $# $*"
	[ "${1:-}" = -b ] || image=${line}
	echo "0 ${SECTORS:-$(sectors "$TABLE_IMAGE")} qcow2 $layers $line$words"
}
