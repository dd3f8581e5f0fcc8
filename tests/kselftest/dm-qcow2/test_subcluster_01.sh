#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Extended L2 entries of every cluster size are read: all states of subclusters, in the top and below it.
# timeout=200

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"

scratch ext4
sizes="16384 32768 65536 131072 262144 524288 1048576 2097152"
# shellcheck disable=SC2086
subcluster.py commands 7 9 $sizes
head -c 300032 /dev/urandom >base.raw
for size in $sizes; do
	create -o "extended_l2=on,cluster_size=$size" -b base.raw -F raw "$size.qcow2" $((9 * size - 2560))
	qemu-io -f qcow2 "$size.qcow2" <"$size.io" >/dev/null
	qemu-img convert -f qcow2 -O raw "$size.qcow2" model.raw
	attach_ro q "$size.qcow2" -b raw:base.raw
	want "$size: content differs" cmp model.raw /dev/mapper/q
	is q corruptions 0
	detach q
done
states=" $(subcluster.py states ./*.qcow2)"
for state in compressed none-plain none-alloc zero-plain zero-alloc data-alloc; do
	[[ $states == *" $state="* ]] || fail "the images have no $state:$states"
done
ok "all states, cluster_size 16384 to 2097152"

create -o extended_l2=on,cluster_size=16k -b base.raw -F raw low.qcow2 800k
qemu-io -f qcow2 low.qcow2 <16384.io >/dev/null
create -o cluster_size=4k -b low.qcow2 -F qcow2 mid.qcow2 1M
qemu-io -f qcow2 -c 'write -P 7 100k 12k' -c 'write -z 300k 8k' mid.qcow2 >/dev/null
create -o extended_l2=on,cluster_size=64k,preallocation=metadata -b mid.qcow2 -F qcow2 a.qcow2 900k
# Some of it fails: compressed data over what is allocated.
qemu-io -f qcow2 a.qcow2 <65536.io >/dev/null 2>&1 || true
qemu-img convert -f qcow2 -O raw a.qcow2 model.raw
attach_ro q a.qcow2 -b qcow2:mid.qcow2 -b qcow2:low.qcow2 -b raw:base.raw
want "content differs" cmp model.raw /dev/mapper/q
detach q
ok "extended over standard over extended, preallocated"

create -o extended_l2=on,cluster_size=64k broken.qcow2 256k
qemu-io -f qcow2 -c 'write -P 9 0 256k' broken.qcow2 >/dev/null
subcluster.py patch broken.qcow2 65536 0x00000001ffffffff
subcluster.py patch broken.qcow2 131072 0x00ff0000ff00ffff
cp broken.qcow2 sum
attach_ro q broken.qcow2
want "a sound cluster is not read" cmp -n 65536 /dev/mapper/q <(head -c 65536 /dev/zero | tr '\0' '\11')
for at in 16 31 32 47; do
	if dd if=/dev/mapper/q of=/dev/null bs=4k skip=$at count=1 iflag=direct status=none 2>/dev/null; then
		[ $at -gt 31 ] || fail "block $at of a cluster with both bits set was read"
	fi
done
[ "$(field q corruptions)" -ge 2 ] || fail "no corruption was counted: $(dmsetup status q)"
[[ $(field q last) == l2@* ]] || fail "$(dmsetup status q)"
detach q
want "the image was changed" cmp broken.qcow2 sum
ok "both bits of one subcluster: errors at that cluster alone"
