#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# A device that grows, or is mapped: what lies below is what its table says, whatever the image names.
# series=6.12

# shellcheck source=tests/kselftest/dm-qcow2/edit.sh
. "$(dirname "$0")/edit.sh"

scratch ext4
head -c 4M /dev/urandom >long.raw
head -c 1000 /dev/urandom >short.raw

# mapped DEPTH...: the layers that decide what the disk of q is.
mapped() {
	timeout 20 "$QCOW2CTL" map --json q >extents 2>said || fail "map: exit $?: $(<said)"
	[ "$(grep -o '"depth": [0-9]*' extents | sort -u | cut -d: -f2 | paste -sd '')" = " $*" ] || fail "map: $(<extents)"
	runs q
}

# grows IMAGE DEPTH OPTION...: attach, a MiB more, and what is gained is zeros, now and without the device.
grows() {
	local image=$1 size
	size=$(($(sectors "$image") * 512))
	does attach "${@:3}" "$image" q
	DEVICES+=(q)
	mapped "$2"
	pauses resize --timeout 10 q +1M
	want "$image: bytes from below" cmp -s -i $size:0 -n $((1 << 20)) /dev/mapper/q /dev/zero
}

create -b long.raw -F raw none.qcow2 512
grows none.qcow2 0 --chain=none
want "the named file is read" cmp -s -n 512 /dev/mapper/q /dev/zero
detach q
clean none.qcow2
qemu-img convert -O raw none.qcow2 none.raw
want "the named file is seen later" cmp -s -n $(((1 << 20) + 512)) none.raw /dev/zero
ok "no layer"

create -b long.raw -F raw other.qcow2 512
grows other.qcow2 1 --backing short.raw,format=raw
want "not the layer of the table" cmp -s -n 512 /dev/mapper/q short.raw
detach q
clean other.qcow2
create -b short.raw -F raw longer.qcow2 64k
grows longer.qcow2 1 --backing long.raw,format=raw
want "not the layer of the table" cmp -s -n 65536 /dev/mapper/q long.raw
mv short.raw away.raw
mapped 0 1
mv away.raw short.raw
detach q
clean longer.qcow2
ok "another layer"

# The last cluster has subclusters of its own, and some from below, before the new end.
create -b short.raw -F raw -o extended_l2=on sub.qcow2 256K
qemu-io -f qcow2 -c 'write -P 0xff 200k 56k' sub.qcow2 >/dev/null
does attach --backing long.raw,format=raw sub.qcow2 q
DEVICES+=(q)
pauses resize --shrink q 230K
want "not the layer of the table" cmp -s -n $((200 << 10)) /dev/mapper/q long.raw
want "its own" cmp -s -i $((200 << 10)):0 -n $((30 << 10)) /dev/mapper/q <(head -c 30k /dev/zero | tr '\0' '\377')
detach q
clean sub.qcow2
ok "another layer, a smaller disk"

create -o data_file=named.data data.qcow2 1M
cp named.data other.data
does attach --data-file other.data data.qcow2 q
DEVICES+=(q)
dd if=long.raw of=/dev/mapper/q bs=64k count=1 oflag=direct status=none
does map q
[[ $OUT == *"$DIR/other.data"* && $OUT != *named.data* ]] || fail "map: $OUT"
mapped 0
detach q
ok "another data file"

create -u -b /mnt/guest/below -F raw own.qcow2 $(((16 << 20) + 512))
does attach --chain=none own.qcow2 q
mkfs.ext4 -q /dev/mapper/q
mkdir -p /mnt/guest
mount /dev/mapper/q /mnt/guest
MOUNTS+=(/mnt/guest)
# What the last cluster would show lies on the device, and not in memory.
dd if=long.raw of=/mnt/guest/below bs=64k count=1 seek=256 oflag=direct status=none
pauses resize --timeout 10 q +1M
sync
echo 3 >/proc/sys/vm/drop_caches
mapped 0
want "what the file has" cmp -i $((16 << 20)):0 -n 65536 /mnt/guest/below long.raw
umount /mnt/guest
detach q
does check ./own.qcow2
ok "a name that leads onto the device itself"
