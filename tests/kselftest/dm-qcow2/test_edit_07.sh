#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# check and repair of a device whose image is damaged, also of one that the kernel has marked corrupt; dirty images.
# series=6.1

# shellcheck source=tests/kselftest/dm-qcow2/edit.sh
. "$(dirname "$0")/edit.sh"

# put OFFSET HEX: bytes into the image.
put() {
	local hex=$2 bytes=
	for (( ; ${#hex}; )); do
		bytes+=\\x${hex:0:2}
		hex=${hex:2}
	done
	printf '%b' "$bytes" | dd of=a.qcow2 bs=1 seek=$(($1)) conv=notrunc status=none
}
# fresh [CREATE-OPTION...]: header, refcount table, refcount block, L1, L2 table, two data clusters; 64 KiB each.
fresh() {
	rm -f a.qcow2
	create "$@" a.qcow2 16M
	io a.qcow2 'write -P 1 0 64k' 'write -P 2 64k 64k'
}

scratch ext4
fresh
put 0x20000+2*6 0002
attach q a.qcow2
answers 2 "errors: +1" check q
runs q
pauses repair q
pauses check q
device_io q 'read -P 1 0 64k' 'read -P 2 64k 64k' 'write -P 3 64k 64k'
detach q
clean a.qcow2
ok "a wrong count"

fresh
put 0x20000+2*20 0001
truncate -s 2M a.qcow2
attach q a.qcow2
answers 3 "leaks: +1" check q
pauses repair --leaks q
pauses check q
detach q
clean a.qcow2
ok "a leak"

# The second entry leads to no cluster boundary: the kernel finds that, and writes no more.
fresh
put 0x40008 8000000000060200
attach q a.qcow2
qemu-io -f raw -c 'read 64k 64k' /dev/mapper/q >/dev/null 2>&1 || true
is q mode ro
told=$(events q)
dmsetup suspend q
dmsetup resume q
want "a resume does not tell it again" [ "$(events q)" -gt "$told" ]
answers 2 "" check q
pauses repair q
is q mode rw
device_io q 'read -P 1 0 64k' 'write -P 4 64k 64k' 'read -P 4 64k 64k'
pauses check q
detach q
clean a.qcow2
ok "marked corrupt"

# The second cluster is the refcount table's: a write is refused, and until it is repaired nothing else ends that.
for compat in 0.10 1.1; do
	fresh -o compat=$compat
	put 0x40008 8000000000010000
	attach q a.qcow2
	qemu-io -f raw -c 'write -P 9 64k 64k' /dev/mapper/q >/dev/null 2>&1 || true
	is q mode ro
	pauses repair --dry-run q
	[[ $OUT == *header* ]] || fail "dry run: $OUT"
	is q mode ro
	for command in "resize q +1M" "resize --shrink q -1M" "snapshot create q s1" "snapshot create --external b.qcow2 q"; do
		# shellcheck disable=SC2086 # words
		answers 7 "(read-only since|marked corrupt).*hint: qcow2ctl repair" $command
		is q mode ro
	done
	[ "$(blockdev --getsize64 /dev/mapper/q)" = $((16 << 20)) ] || fail "its length has changed"
	pauses repair q
	is q mode rw
	device_io q 'read -P 1 0 64k' 'write -P 4 64k 64k'
	detach q
	clean a.qcow2
done
ok "read-only until it is repaired"

# A sparse file has as many clusters as somebody wanted, and counting them takes memory, which is locked.
rm a.qcow2
create -o cluster_size=512 a.qcow2 16M
truncate -s 512G a.qcow2
attach q a.qcow2
answers 1 "counts of its clusters need [0-9]{4} MiB.*hint: check --online" check q
answers 1 "counts of its clusters need [0-9]{4} MiB.*hint: detach it" repair q
answers 1 "counts of its clusters need [0-9]{4} MiB.*hint: detach it" measure /dev/mapper/q
[[ $OUT != *paused* ]] || fail "paused for it"
detach q
truncate -s 4G a.qcow2
attach q a.qcow2
pauses check q
detach q
ok "more clusters than memory"

# As QEMU leaves it when it is killed: the mark, and counts that nobody has written.
rm a.qcow2
create -o lazy_refcounts=on a.qcow2 16M
qemu-io -f qcow2 -c 'write -P 5 0 1M' -c flush -c 'sigraise 9' a.qcow2 >/dev/null 2>&1 || true
sum=$(md5sum a.qcow2)
for how in "" "--drop-bitmaps"; do
	# shellcheck disable=SC2086 # no word, or one
	answers 7 "image is dirty.*hint: qcow2ctl repair a.qcow2" attach $how a.qcow2 q
done
want "there is a device" gone q
does attach -r a.qcow2 q
made q
is q mode ro
qemu-io -r -f raw -c 'read -P 5 0 1M' -c 'read -P 0 1M 15M' /dev/mapper/q >out 2>&1 || fail "$(<out)"
[[ $(<out) != *failed* ]] || fail "$(<out)"
detach q
[ "$sum" = "$(md5sum a.qcow2)" ] || fail "read-only, and the image has changed"
does attach --repair a.qcow2 q
is q mode rw
device_io q 'read -P 5 0 1M' 'write -P 6 512k 1M' 'read -P 6 512k 1M'
detach q
clean a.qcow2
does info --json ./a.qcow2
[[ $OUT == *'"dirty": false'* ]] || fail "$OUT"
ok "dirty: refused, read-only as it is, repaired when it is attached"
