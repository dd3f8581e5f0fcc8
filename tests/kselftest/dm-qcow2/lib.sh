# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
# shellcheck shell=bash
#
# What all cases share: KTAP output, a scratch filesystem on a RAM disk, devices made by table lines
# typed as a user would, qemu-img as the oracle.
#
# A case is a list of steps; the first that fails ends it. `ok NAME` reports what was reached.

set -euo pipefail
export DM_DISABLE_UDEV=1 LC_ALL=C

HERE=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
TREE=$(readlink -f "$HERE/../../..")
# Programs: of this tree, beside the tests in a kernel tree, or installed.
PATH=$TREE/build/kselftest:$TREE/userspace:$HERE:$PATH
MODEL=$(command -v blkmodel || true)
QCOW2CTL=$(command -v qcow2ctl || true)
export MODEL QCOW2CTL
DIR=/mnt/qcow2
DEVICES=()
LOOPS=()
MOUNTS=()

# shellcheck source=tests/kselftest/dm-qcow2/ktap.sh
. "$HERE/ktap.sh"
# shellcheck source=tests/kselftest/dm-qcow2/oracle.sh
. "$HERE/oracle.sh"

load_target() {
	[ -e /sys/module/dm_mod ] || modprobe dm-mod
	[ ! -e /sys/module/dm_qcow2 ] || return 0
	if [ -n "${QCOW2_KO:-}" ]; then
		insmod "$QCOW2_KO"
	else
		modprobe dm-qcow2 || fail "there is no module dm-qcow2"
	fi
}

# cleanup [CODE]: ends the test with this exit code; a trap that does something before has to give it.
cleanup() {
	local rc=${1:-$?} at names
	cd /
	# Who still uses a device when its test has failed would keep it, and all below it.
	[ "$rc" = 0 ] || { jobs -p | xargs -r kill && sleep 0.5; } 2>/dev/null || true
	for ((at = ${#MOUNTS[@]} - 1; at >= 0; at--)); do
		umount "${MOUNTS[at]}" 2>/dev/null || true
	done
	names=$'\n'$(dmsetup ls 2>/dev/null || true)	# sysfs has none that never had a table
	for ((at = ${#DEVICES[@]} - 1; at >= 0; at--)); do
		[[ $names != *$'\n'"${DEVICES[at]}"$'\t'* ]] || dmsetup remove --force --retry "${DEVICES[at]}" 2>/dev/null || true
	done
	for ((at = ${#LOOPS[@]} - 1; at >= 0; at--)); do
		losetup -d "${LOOPS[at]}" 2>/dev/null || true
	done
	# A loop device goes a moment after its last user.
	until ! mountpoint -q "$DIR" || umount "$DIR" 2>/dev/null || ((++at > 20)); do sleep 0.1; done
	[ "$rc" = 0 ] || [ "$rc" = 4 ] || echo "# exit $rc"
	echo "1..$KTAP_N"
	[ ! -e /sys/module/dm_qcow2 ] || { rmmod dm_qcow2 || { echo "# the module does not unload"; rc=1; }; }
	exit "$rc"
}
trap cleanup EXIT

# scratch [FS [MIB]]: a filesystem at $DIR, and be there.
scratch() {
	local fs=${1:-ext4} mib=${2:-400}
	load_target
	mkdir -p "$DIR"
	if [ "$fs" = tmpfs ]; then
		mount -t tmpfs -o "size=${mib}m" tmpfs "$DIR"
	else
		[ -e "/sys/module/$fs" ] || modprobe "$fs"
		ramdisk 0 "$mib"
		"mkfs.$fs" -q "$([ "$fs" = ext4 ] && echo -F || echo -f)" /dev/ram0
		mount "/dev/ram0" "$DIR"
	fi
	cd "$DIR"
}

# ramdisk N MIB: /dev/ramN, empty. All share one size, that of the first call after a boot.
ramdisk() {
	[ -e /sys/module/brd ] || modprobe brd rd_nr=4 rd_size=$((600 * 1024))
	blockdev --flushbufs "/dev/ram$1"
	wipefs -qa "/dev/ram$1"
	dd if=/dev/zero of="/dev/ram$1" bs=4k count=1 status=none	# qcow2, which wipefs does not know
	[ "$2" -le 600 ] || fail "a RAM disk has 600 MiB"
}

# loop FILE [OPTION]...: sets LOOP to a loop device over it, with direct I/O where possible.
loop() {
	[ -e /sys/module/loop ] || modprobe loop
	LOOP=$(losetup -f --show "${@:2}" "$1")
	losetup --direct-io=on "$LOOP" 2>/dev/null || true
	LOOPS+=("$LOOP")
}

# some WORD...: these. Without QCOW2_FULL the two kernels share them: each has every second.
some() {
	local words=("$@") at
	case ${QCOW2_FULL:+all}${VM_KERNEL:-} in
	6.1) at=0 ;;
	6.12 | debug | debug-kcsan) at=1 ;;
	*) at=0 words=("$*") ;;
	esac
	for (( ; at < ${#words[@]}; at += 2)); do echo "${words[at]}"; done
}

# halved WORD...: on a debug kernel, which is slow, some of these, else all.
halved() { if [[ ${VM_KERNEL:-} = debug* ]]; then some "$@"; else echo "$@"; fi; }
create() { qemu-img create -q -f qcow2 "$@"; }

# What follows runs hundreds of times, and a process costs 50 ms in the emulator: few are started.

# sectors IMAGE: what the header says.
sectors() { echo $(($(od -An -tu8 --endian=big -j 24 -N 8 "$1") / 512)); }

# quoted PATH: as a table line wants it.
# shellcheck disable=SC2001
quoted() { sed 's/[\\[:blank:]\xa0]/\\&/g' <<<"$1"; }

# absolute PATH: sets PATH_ to the path as a table line wants it.
absolute() {
	case $1 in
	*/* | *[\\[:blank:]]*) PATH_=$(quoted "$(readlink -f "$1")") ;;
	*) PATH_=$PWD/$1 ;;
	esac
}

# table_line IMAGE [-b FORMAT:PATH]... [OPTION-WORD]...: sets LINE.
table_line() {
	local layers=1 length=${SECTORS:-}
	[ -n "$length" ] || length=$(sectors "$1")
	absolute "$1"
	LINE="qcow2 $PATH_"
	shift
	while [ "${1:-}" = -b ]; do
		absolute "${2#*:}"
		LINE+=" ${2%%:*} $PATH_"
		layers=$((layers + 1))
		shift 2
	done
	LINE="0 $length qcow2 $layers $LINE"
	[ $# = 0 ] || LINE+=" $# $*"
}

# The same, printed.
table() {
	table_line "$@"
	echo "$LINE"
}

# attach NAME IMAGE [as table]; attach_ro the same, read-only.
attach() {
	local name=$1
	shift
	table_line "$@"
	dmsetup create "$name" --table "$LINE" || return
	DEVICES+=("$name")
}

attach_ro() {
	local name=$1
	shift
	table_line "$@"
	dmsetup create --readonly "$name" --table "$LINE" || return
	DEVICES+=("$name")
}

detach() { dmsetup remove --retry "$1"; }
