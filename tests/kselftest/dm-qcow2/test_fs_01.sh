#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# ext4 and xfs on the device, a source tree is unpacked there; ext4 on qcow2 on ext4 on qcow2.
# timeout=200

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"

scratch ext4
# Our own sources, where they are here, and the kernel's headers: in the machine's memory, because from the host they
# would come by 9p, file by file, each time.
folders=()
for folder in kernel userspace; do
	[ ! -d "$TREE/$folder" ] || folders+=(-C "$TREE" "$folder")
done
tar -cf /dev/shm/tree.tar --exclude='*.o' --exclude='*.d' --exclude='*.ko' "${folders[@]}" -C /usr/include linux
files=$(tar -tf /dev/shm/tree.tar | wc -l)
want "$files files are no source tree" [ "$files" -gt 500 ]
# tree FOLDER: unpacked there, and read again from the device it is the same.
tree() {
	mkdir -p "$1" && tar -xf /dev/shm/tree.tar -C "$1" && sync -f "$1" &&
		echo 3 >/proc/sys/vm/drop_caches && tar -df /dev/shm/tree.tar -C "$1"
}
modprobe xfs
for fs in ext4 xfs; do
	create a.qcow2 400M
	attach q a.qcow2
	"mkfs.$fs" -q /dev/mapper/q
	mkdir -p /mnt/guest
	mount -o discard /dev/mapper/q /mnt/guest
	MOUNTS+=(/mnt/guest)
	want "$fs: a file differs" tree /mnt/guest/t
	dmsetup suspend q
	dmsetup resume q
	rm -rf /mnt/guest/t/linux/usb
	fstrim /mnt/guest
	umount /mnt/guest
	if [ $fs = ext4 ]; then
		want "fsck" e2fsck -fn /dev/mapper/q
	else
		want "xfs_repair" xfs_repair -n /dev/mapper/q
	fi
	detach q
	clean a.qcow2
	ok "$fs"
	rm a.qcow2
done
create outer.qcow2 150M
attach q1 outer.qcow2
mkfs.ext4 -q /dev/mapper/q1
mkdir -p /mnt/outer /mnt/inner
mount /dev/mapper/q1 /mnt/outer
MOUNTS+=(/mnt/outer)
create /mnt/outer/inner.qcow2 100M
attach q2 /mnt/outer/inner.qcow2
mkfs.ext4 -q /dev/mapper/q2
mount /dev/mapper/q2 /mnt/inner
MOUNTS+=(/mnt/inner)
want "nested: a file differs" tree /mnt/inner/t
umount /mnt/inner
want "nested: fsck" e2fsck -fn /dev/mapper/q2
detach q2
clean /mnt/outer/inner.qcow2
umount /mnt/outer
want "outer: fsck" e2fsck -fn /dev/mapper/q1
detach q1
clean outer.qcow2
rm /dev/shm/tree.tar
ok "ext4 on qcow2 on ext4 on qcow2"
