#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# A machine boots systemd with disks of qcow2tab and shuts down; then the images are looked at.

set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
[ -x /lib/systemd/systemd ] || { echo "1..0 # SKIP no systemd"; exit 4; }
temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
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
scripts/vm-run --kernel "${KERNEL:-6.12}" --mem 1536 --timeout 600 --log "$temp/console" "${disks[@]}" \
	--systemd tests/boot/setup.sh tests/boot/guest.sh >"$temp/out" 2>&1
rc=$?
grep -v '^1\.\.' "$temp/out"
n=$(grep -cE '^(not )?ok ' "$temp/out")
[ $rc = 0 ] || { sed 's/^/# /' "$temp/console" | tail -80; }

result() {
	n=$((n + 1))
	if [ "$2" = 0 ]; then
		echo "ok $n $1"
	else
		echo "not ok $n $1"
		[ ! -e "$temp/console" ] || tail -60 "$temp/console" | sed 's/^/# /'
		rc=1
	fi
}
# at TEXT: the line of the console that has it.
at() { grep -nF -- "$1" "$temp/console" | tail -n 1 | cut -d : -f 1; }

for name in data over disk late later; do
	[ -n "$(at "boot: $name stopped: success")" ]
	result "shutdown: $name is detached" $?
done
# The file system below goes last.
below=$(grep -n 'EXT4-fs (vda): unmounting' "$temp/console" | tail -n 1 | cut -d : -f 1)
[ -n "$below" ] && [ "$(at "boot: data stopped")" -lt "$below" ] && [ "$(at "boot: over stopped")" -lt "$below" ]
result "shutdown: the devices before the file system of their images" $?
for disk in b c d; do
	qemu-img check -q -f qcow2 "$temp/$disk" >"$temp/check" 2>&1
	result "shutdown: vd$disk has neither errors nor leaks" $?
done
cat >"$temp/look" <<'END'
set -e
export DM_DISABLE_UDEV=1
mkdir -p /tmp/a /tmp/b
mount /dev/vda /tmp/a
cd /tmp/a
look() {
	qcow2ctl attach -r "$@" look >/dev/null
	mount -o ro /dev/mapper/look /tmp/b
	md5sum </tmp/b/big | cmp - /tmp/b/sum
	umount /tmp/b
	qcow2ctl detach look
}
look data.qcow2
look over.qcow2 --backing base.qcow2,format=qcow2
for disk in b c d; do look /dev/vd$disk; done
qemu-img check -q data.qcow2
qemu-img check -q over.qcow2
END
scripts/vm-run --kernel "${KERNEL:-6.12}" "${disks[@]}" --env "PATH=$PWD/userspace:/usr/sbin:/usr/bin:/sbin:/bin" -c "bash $temp/look" 2>&1 | sed 's/^/# /'
result "what was written before the shutdown is there" "${PIPESTATUS[0]}"
echo "1..$n"
exit $rc
