#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Zoned devices: host-managed ones refused in every role, host-aware ones not; zonefs may be read.

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"

unload_zoned() {
	mountpoint -q /mnt/zonefs && umount /mnt/zonefs
	dmsetup info zlinear >/dev/null 2>&1 && dmsetup remove --retry zlinear
	for at in /sys/kernel/config/nullb/*/; do
		if [ -e "$at/power" ]; then
			echo 0 >"$at/power"
			rmdir "$at"
		fi
	done
	rmmod null_blk scsi_debug 2>/dev/null || true
}
trap 'rc=$?; unload_zoned 2>/dev/null; cleanup $rc' EXIT

# host_managed: a device of 64 MiB in zones of 4 MiB, the first four of them conventional.
host_managed() {
	local dir=/sys/kernel/config/nullb/zoned pair
	need_module null_blk nr_devices=0
	mountpoint -q /sys/kernel/config || mount -t configfs configfs /sys/kernel/config
	mkdir "$dir"
	for pair in size=64 blocksize=4096 memory_backed=1 zoned=1 zone_size=4 zone_nr_conv=4 power=1; do
		echo "${pair#*=}" >"$dir/${pair%%=*}"
	done
	ZONED=/dev/zoned
}

scratch ext4
host_managed
sentence="${ZONED#/dev/} is a host-managed zoned block device"
load() { dmsetup create bad --table "0 2048 qcow2 $*"; }
create good.qcow2 8M
dd if=good.qcow2 of="$ZONED" bs=4k oflag=direct conv=notrunc status=none
refused "Operation not supported" "$sentence" load 1 qcow2 "$ZONED"
refused "Operation not supported" "$sentence" dmsetup create --readonly bad --table "0 2048 qcow2 1 qcow2 $ZONED"
ok "host-managed, read-write and read-only"
create -u -b "$ZONED" -F raw over.qcow2 8M
refused "Operation not supported" "$sentence" load 2 qcow2 "$DIR/over.qcow2" raw "$ZONED"
ok "as a lower layer"
dmsetup create zlinear --table "0 $(blockdev --getsz "$ZONED") linear $ZONED 0"
refused "Operation not supported" "/dev/mapper/zlinear: block device is host-managed zoned" load 1 qcow2 /dev/mapper/zlinear
dmsetup remove --retry zlinear
ok "under dm-linear"
# There can be no partition to refuse: the kernel makes none on a zoned device.
# add_partition DEVICE SECTORS: BLKPG; not every Debian has addpart.
add_partition() {
	python3 - "$1" "$2" <<'PY'
import ctypes, fcntl, os, struct, sys
BLKPG, ADD = 0x1269, 1
part = ctypes.create_string_buffer(struct.pack("qqi64s64s4x", 0, int(sys.argv[2]) * 512, 1, b"", b""))
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), BLKPG, struct.pack("iiiP", ADD, 0, 152, ctypes.addressof(part)))
PY
}
out=$(add_partition "$ZONED" 8192 2>&1) && fail "a partition of a zoned device was made; a load must refuse it"
want "BLKPG: $out" grep -qE "Invalid argument|No such device or address" <<<"$out"
for at in /sys/block/"${ZONED#/dev/}"/*/partition; do
	[ ! -e "$at" ] || fail "there is a partition: $at"
done
ok "the kernel refuses a partition"
dmsetup info bad >/dev/null 2>&1 && fail "a device was left behind"

attach q good.qcow2
refused "Operation not supported" "$sentence" dmsetup load q --table "0 16384 qcow2 1 qcow2 $ZONED"
dmsetup info q | grep -q "Tables present:.*LIVE$" || fail "the live table is not alone: $(dmsetup info q)"
dd if=/dev/urandom of=/dev/mapper/q bs=64k count=4 oflag=direct status=none
is q claim active
detach q
clean good.qcow2
ok "a reload onto it leaves the live device alone"

need_module zonefs
create -o cluster_size=4k small.qcow2 1M
qemu-io -c "write -P 7 0 64k" small.qcow2 >/dev/null
# The superblock of zonefs: magic, checksum, label, uuid, features, uid, gid, mode.
python3 - "$ZONED" <<'PY'
import mmap, os, struct, sys, zlib
body = bytearray(struct.pack("<II64s16sQIII", 0x5a4f4653, 0, b"", b"q" * 16, 0, 0, 0, 0o640).ljust(4096, b"\0"))
body[4:8] = struct.pack("<I", zlib.crc32(body) ^ 0xffffffff)
buffer = mmap.mmap(-1, 4096)
buffer[:] = bytes(body)
fd = os.open(sys.argv[1], os.O_RDWR | os.O_DIRECT)
os.pwrite(fd, buffer, 0)
PY
mkdir -p /mnt/zonefs
mount -t zonefs "$ZONED" /mnt/zonefs
dd if=small.qcow2 of=/mnt/zonefs/cnv/0 bs=4k oflag=direct conv=notrunc,sync status=none
refused "Operation not supported" "lies on zonefs over the zoned block device ${ZONED#/dev/}" load 1 qcow2 /mnt/zonefs/cnv/0
SECTORS=2048 attach_ro q /mnt/zonefs/cnv/0
want "content" cmp -n 65536 /dev/mapper/q <(head -c 65536 /dev/zero | tr '\0' '\7')
detach q
ok "zonefs: read, not written"

# 6.12 no longer knows host-aware disks: it takes them as ordinary ones. scsi_debug itself warns
# when the end of a zone is written twice, so the first zone is large enough for all.
need_module sd_mod
need_module scsi_debug zbc=aware dev_size_mb=128 zone_size_mb=64 zone_nr_conv=0
disk=/dev/$(basename "$(dirname "$(dirname "$(grep -l scsi_debug /sys/block/sd*/device/model)")")")
zoned=$(cat "/sys/block/${disk#/dev/}/queue/zoned")
say "scsi_debug zbc=aware: $zoned"
[[ $(uname -r) != 6.1.* ]] || want "6.1 takes it as $zoned" [ "$zoned" = host-aware ]
qemu-img create -q -f qcow2 "$disk" 16M
attach q "$disk"
dd if=/dev/urandom of=data bs=64k count=80 status=none
dd if=data of=/dev/mapper/q bs=64k oflag=direct status=none
want "content" cmp -n $((80 << 16)) data /dev/mapper/q
detach q
clean "$disk"
ok "host-aware attaches"
