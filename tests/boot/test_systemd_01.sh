#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# A machine boots systemd with disks of qcow2tab and shuts down; then the images are looked at.

# shellcheck source=tests/boot/lib.sh
. "$(dirname "$0")/lib.sh"
[ -x /lib/systemd/systemd ] || { echo "1..0 # SKIP no systemd"; exit 4; }
log=$temp/console
# filled IMAGE: with a file system in it.
filled() {
	rm -f "$temp/raw"
	truncate -s 24M "$temp/raw"
	mkfs.ext4 -qF "$temp/raw"
	qemu-img convert -O qcow2 "$temp/raw" "$1"
}
# Images as files on the first disk, and straight on the others.
mkdir "$temp/img"
for image in img/data.qcow2 img/base.qcow2 img/part.qcow2 b c d; do
	filled "$temp/$image"
done
(cd "$temp/img" && qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 over.qcow2)
truncate -s 128M "$temp"/{a,b,c,d}
mkfs.ext4 -qF -d "$temp/img" "$temp/a"
for disk in a b c d; do
	disks+=(--disk "$temp/$disk")
done
scripts/vm-run --kernel "${KERNEL:-6.12}" --mem 1536 --timeout 600 --log "$log" "${disks[@]}" \
	--systemd tests/boot/setup.sh tests/boot/guest.sh >"$temp/out" 2>&1
bad=$?
grep -v '^1\.\.' "$temp/out"
n=$(grep -cE '^(not )?ok ' "$temp/out")
[ $bad = 0 ] || { sed 's/^/# /' "$log" | tail -80; }

# at TEXT: the line of the console that has it.
at() { grep -nF -- "$1" "$log" | tail -n 1 | cut -d : -f 1; }

for name in data over disk late later; do
	grep -qF "boot: $name stopped: success" "$log"
	result "shutdown: $name is detached" $?
done
# The file system below goes last.
below=$(grep -n 'EXT4-fs (vda): unmounting' "$log" | tail -n 1 | cut -d : -f 1)
[ -n "$below" ] && [ "$(at "boot: data stopped")" -lt "$below" ] && [ "$(at "boot: over stopped")" -lt "$below" ]
result "shutdown: the devices before the file system of their images" $?
# same IMAGE: it has neither errors nor leaks, and what the machine has written, with its sum.
same() {
	qemu-img check -q -f qcow2 "$1" && qemu-img convert -f qcow2 -O raw "$1" "$temp/raw" || return
	for file in big sum; do
		debugfs -R "dump /$file $temp/$file" "$temp/raw" 2>/dev/null
	done
	[ -s "$temp/big" ] && md5sum <"$temp/big" | cmp - "$temp/sum"
}
# Those on the first disk are taken from there.
rm "$temp"/img/*
for image in data base over; do
	debugfs -R "dump /$image.qcow2 $temp/img/$image.qcow2" "$temp/a" 2>/dev/null
done
for image in img/data.qcow2 img/over.qcow2 b c d; do
	rm -f "$temp"/{big,sum}
	same "$temp/$image" >"$temp/check" 2>&1
	result "what was written to $image before the shutdown is there" $?
done
echo "1..$n"
exit $bad
