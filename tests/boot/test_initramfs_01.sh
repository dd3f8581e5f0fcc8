#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# A root file system on qcow2, attached in an initramfs of initramfs-tools: the image straight on a disk, and an overlay that
# is a file of an ext4. The root has a busybox that says what it is, writes, and switches off.
# full

# shellcheck source=tests/boot/lib.sh
. "$(dirname "$0")/lib.sh"
command -v mkinitramfs >/dev/null || { echo "1..0 # SKIP no initramfs-tools"; exit 4; }
series=${KERNEL:-6.12}

# The root: a busybox, and its first process.
mkdir -p "$temp"/root/{bin,sbin,dev,proc,sys,run,etc}
cp "$(command -v busybox)" "$temp/root/bin/"
for name in sh mount umount cat sync poweroff grep touch ls; do ln -s busybox "$temp/root/bin/$name"; done
cat >"$temp/root/sbin/init" <<'END'
#!/bin/sh
export PATH=/bin
say() { echo "boot: $*" >/dev/kmsg; }
mount -t proc proc /proc
say "root is $(grep ' / ' /proc/mounts)"
say "host is $(grep ' /run/qcow2/' /proc/mounts)"
touch /been-up
sync
mount -o remount,ro /
poweroff -f
END
chmod +x "$temp/root/sbin/init"
truncate -s 24M "$temp/raw"
mkfs.ext4 -qF -d "$temp/root" "$temp/raw"
mkdir -p "$temp/host/img"
qemu-img convert -O qcow2 "$temp/raw" "$temp/host/img/base.qcow2"
cp "$temp/host/img/base.qcow2" "$temp/disk"
truncate -s 64M "$temp/disk"
(cd "$temp/host/img" && qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 over.qcow2)
truncate -s 96M "$temp/host.ext4"
mkfs.ext4 -qF -d "$temp/host" "$temp/host.ext4"

# What install would place, elsewhere; and the kernel's modules with ours.
PREFIX=$temp/usr DESTDIR='' bash -c '
	sed "s|^root=.*|root=|; s|/usr/sbin/mount|$PREFIX/sbin/mount|; s|^initramfs=.*|initramfs=$PREFIX/initramfs-tools|
		s|^cd .*|cd userspace/boot|" scripts/install-boot >'"$temp"'/place && bash '"$temp"'/place install' || exit 1
mkdir -p "$temp/conf" "$temp/usr/sbin"
cp userspace/qcow2ctl "$temp/usr/sbin/"
mv "$temp/usr/initramfs-tools/hooks" "$temp/usr/initramfs-tools/scripts" "$temp/conf/"
printf '%s\n' MODULES=list BUSYBOX=auto COMPRESS=gzip RESUME=none >"$temp/conf/initramfs.conf"
printf '%s\n' virtio_pci virtio_blk ext4 >"$temp/conf/modules"
cat >"$temp/conf/qcow2tab" <<'END'
data  /srv/data.qcow2     -  nofail
disk  /dev/vda            -  x-initrd.attach
file  /img/over.qcow2     -  x-initrd.attach,host=/dev/vdb,backing=qcow2:/img/base.qcow2
none  /dev/none           -  x-initrd.attach
END
folder=${DM_QCOW2_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/dm-qcow2}/kernels/$series
release=$(<"$folder/release")
mkdir -p "$temp/modules/$release/updates"
modules=$(readlink -f "$folder/modules")
ln -s "$modules"/{kernel,modules.order,modules.builtin,modules.builtin.modinfo} "$temp/modules/$release/"
cp "build/$series/dm-qcow2.ko" "$temp/modules/$release/updates/"

mkdir -p "$temp/boot" /lib/modules /boot
echo CONFIG_RD_GZIP=y >"$temp/boot/config-$release"

# pack TAB FILE: mkinitramfs, with our modules in the place of the host's.
pack() {
	QCOW2TAB=$1 unshare --mount bash -c "mount --bind '$temp/modules' /lib/modules && mount --bind '$temp/boot' /boot &&
		depmod '$release' && mkinitramfs -d '$temp/conf' -o '$2' '$release'" >"$temp/out" 2>&1
}
pack "$temp/conf/qcow2tab" "$temp/initrd"
result "mkinitramfs" $?
lsinitramfs "$temp/initrd" >"$temp/out"
for file in sbin/qcow2ctl lib/qcow2ctl/entry.sh dm-qcow2.ko 61-dm-qcow2.rules scripts/local-top/qcow2 scripts/local-block/qcow2 etc/qcow2tab; do
	grep -q "$file$" "$temp/out"
	result "it has $file" $?
done
echo "data /srv/data.qcow2" >"$temp/conf/plain"
pack "$temp/conf/plain" "$temp/plain" && ! lsinitramfs "$temp/plain" | grep -q qcow2ctl$
result "nothing is added where no line asks for it" $?
echo "root /img - x-initrd.attach,colour=red" >"$temp/conf/wrong"
! pack "$temp/conf/wrong" "$temp/plain" && grep -q "wrong: line 1: root: unknown option 'colour=red'" "$temp/out"
result "a line that is wrong ends it" $?
mv "$temp/modules/$release/updates/dm-qcow2.ko" "$temp/"
! pack "$temp/conf/qcow2tab" "$temp/plain" && grep -q "has no module dm-qcow2, .* needs it" "$temp/out"
result "a kernel without the module ends it" $?

# boot ROOT WHAT...: each WHAT stands on the console.
boot() {
	local root=$1 text
	shift
	timeout 240 scripts/vm-run --kernel "$series" --disk "$temp/disk" --disk "$temp/host.ext4" --initrd "$temp/initrd" \
		--append "root=$root rw init=/sbin/init loglevel=7" >"$temp/out" 2>&1
	result "$root: the machine" $?
	for text; do
		grep -qE "$text" "$temp/out"
		result "$root: $text" $?
	done
}
boot /dev/mapper/disk 'boot: root is /dev/mapper/disk / ext4 rw'
boot /dev/mapper/file 'boot: root is /dev/mapper/file / ext4 rw' 'boot: host is /dev/vdb /run/qcow2/file ext4 rw'
# Nobody detaches a root: what was reserved ahead may have leaked, 3.
qemu-img check -f qcow2 "$temp/disk" >"$temp/out" 2>&1
grep -qE '^No errors|^[0-9]+ leaked' "$temp/out" && ! grep -qE '^[0-9]+ errors' "$temp/out"
result "the image has no errors" $?
qemu-img convert -f qcow2 -O raw "$temp/disk" "$temp/raw" && debugfs -R "stat /been-up" "$temp/raw" 2>&1 | grep -q "Type: regular"
result "the root was written" $?
mkdir "$temp/look"
for image in base over; do debugfs -R "dump /img/$image.qcow2 $temp/look/$image.qcow2" "$temp/host.ext4" 2>/dev/null; done
cmp "$temp/look/base.qcow2" "$temp/host/img/base.qcow2" >"$temp/out" 2>&1
result "the layer below is as it was" $?
echo "1..$n"
exit $bad
