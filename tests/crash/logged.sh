# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
# shellcheck shell=bash
#
# The medium of a workload: made, put under dm-log-writes, and put away. Part of record.sh, which has the disks and folders.
#
# shellcheck disable=SC2154	# those

# Where the header says that the refcount table is.
refcounts_at() { od -An -tu8 --endian=big -j 48 -N 8 "$IMAGE"; }

# begin NAME ON CREATE-OPTIONS...: the medium with an image, as it is before the log begins; sets IMAGE.
begin() {
	local kind=${1%-file} on=$2
	shift 2
	dmsetup create medium --table "0 $((medium_kib * 2)) linear /dev/ram1 0"
	DEVICES+=(medium)
	dd if=poison of=/dev/mapper/medium bs=1M oflag=direct status=none
	IMAGE=/dev/mapper/medium
	if [ "$on" = file ]; then
		mkfs.ext4 -q -F -E nodiscard,lazy_itable_init=0,lazy_journal_init=0 /dev/mapper/medium
		mount /dev/mapper/medium below
		IMAGE=below/image.qcow2
	fi
	create "$@" "$IMAGE" 16M
	if [ "$kind" = snapshot ]; then
		qemu-io -f qcow2 -c 'write -P 0 0 8M' "$IMAGE" >/dev/null
		qemu-img snapshot -c before "$IMAGE"
	fi
	# Counts of 2 MiB fit under the first table.
	[ "$kind" != growth ] || qemu-io -f qcow2 -c 'write -P 0 0 1536k' "$IMAGE" >/dev/null
	if [ "$kind" = compressed ]; then
		packable packed.raw 8 4
		truncate -s 16M packed.raw
		qemu-img convert -f raw -O qcow2 packed.raw "$VM_OUT/packed.qcow2"
		qemu-img convert -n -c -O qcow2 "$VM_OUT/packed.qcow2" "$IMAGE"
	fi
	if [[ $kind = database* ]]; then
		attach q "$IMAGE"
		mkfs.ext4 -q -F -E nodiscard,lazy_itable_init=0,lazy_journal_init=1 /dev/mapper/q
		detach q
	fi
	[ "$on" != file ] || umount below
	sync
	dd if=/dev/mapper/medium of="$media" bs=1M seek=$((medium * medium_kib / 1024)) iflag=direct oflag=direct status=none
	medium=$((medium + 1))
	dmsetup create logged --table "0 $((medium_kib * 2)) log-writes /dev/mapper/medium ${logs[0]}"
	DEVICES+=(logged)
	IMAGE=/dev/mapper/logged
	[ "$on" != file ] || { mount /dev/mapper/logged below; IMAGE=below/image.qcow2; }
	REFCOUNTS=$(refcounts_at)
}

# all_durable NAME MARK...: MARK gets the word that everything is durable now, see workload.py.
all_durable() {
	local number
	number=$(python3 -c 'import json, sys; print(len(json.load(open(sys.argv[1]))["flushes"]) - 1)' "$VM_OUT/$1.journal")
	"${@:2}" "f$number"
}
in_log() { dmsetup message logged 0 mark "$1"; }
in_file() { echo "$1" >files/mark; }

# end NAME ON
end() {
	detach q
	case $1 in
	database* | suspend*) ;;
	*) all_durable "$1" in_log ;;
	esac
	[ "${1%-file}" != growth ] || [ "$(refcounts_at)" != "$REFCOUNTS" ] || fail "$1: the refcount table has not moved"
	[ "$2" != file ] || umount below
	dmsetup remove --retry logged
	dmsetup remove --retry medium
	blockdev --flushbufs "${logs[0]}"
	logs=("${logs[@]:1}")
	ok "$1"
}
