#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# resize --fs, and edits of an image on a block device.
# timeout=150
# series=6.1

# shellcheck source=tests/kselftest/dm-qcow2/edit.sh
. "$(dirname "$0")/edit.sh"

scratch ext4
mkdir -p /mnt/guest
# blocks: sets BLOCKS to the size of what is mounted, in MiB.
blocks() { BLOCKS=$(($(stat -f -c '%b * %S' /mnt/guest) >> 20)); }
# grown FS SIZE MIB: what is mounted gets larger than that.
grown() {
	pauses resize --fs q "$2"
	blocks
	[ "$BLOCKS" -gt "$3" ] || fail "$1 has $BLOCKS MiB: $OUT"
}

create a.qcow2 32M
attach q a.qcow2
answers 4 "no file system that can grow" resize --fs q +16M
answers 5 "in use by device q" resize --fs ./a.qcow2 +16M
printf 'label: gpt\nsize=8M\n' | sfdisk -q --no-reread --no-tell-kernel /dev/mapper/q
answers 4 "but: gpt partition table.*hint: .*a partition of /dev/mapper/q .growpart" resize --fs q +16M
wipefs -q -a /dev/mapper/q
want "the size has changed" [ "$(blockdev --getsize64 /dev/mapper/q)" = $((32 << 20)) ]
mkfs.ext4 -q /dev/mapper/q
answers 2 "for a larger disk" resize --fs --shrink q 16M
answers 5 "in use by device q" resize ./a.qcow2 64M
mount /dev/mapper/q /mnt/guest
MOUNTS+=(/mnt/guest)
grown ext4 64M 50
umount /mnt/guest
pauses resize --fs q +64M
mount /dev/mapper/q /mnt/guest
blocks
want "ext4, not mounted: $BLOCKS MiB" [ "$BLOCKS" -gt 100 ]
umount /mnt/guest
want "fsck" e2fsck -fn /dev/mapper/q >/dev/null 2>&1
detach q
clean a.qcow2
ok "ext4"

for fs in xfs btrfs; do
	# All that is needed is installed by make check.
	modprobe $fs || fail "no module $fs"
	command -v mkfs.$fs >/dev/null || fail "no mkfs.$fs"
	rm a.qcow2
	create a.qcow2 320M
	attach q a.qcow2
	mkfs.$fs -q -f /dev/mapper/q
	answers 4 "only while it is mounted" resize --fs q +64M
	mount /dev/mapper/q /mnt/guest
	blocks
	grown $fs +64M $((BLOCKS + 50))
	umount /mnt/guest
	detach q
	clean a.qcow2
	ok $fs
done

truncate -s 64M disk.raw
loop disk.raw
does create "$LOOP" 48M
does attach "$LOOP" q
made q
device_io q 'write -P 1 0 4M'
pauses snapshot create q s1
device_io q 'write -P 2 1M 1M'
pauses check q
pauses resize q +8M
device_io q 'read -P 1 0 1M' 'read -P 2 1M 1M' 'read -P 0 48M 8M'
pauses snapshot apply q s1
device_io q 'read -P 1 0 4M'
pauses snapshot delete q s1
pauses repair q
detach q
clean "$LOOP"
ok "an image on a block device"
