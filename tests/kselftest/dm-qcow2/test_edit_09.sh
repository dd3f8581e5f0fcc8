#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Tool and guardian are killed after every step of an edit: recover makes the device run, old or new. So does the
# machine: recover takes away what has not become a layer.
# timeout=200
# series=6.12

# shellcheck source=tests/kselftest/dm-qcow2/edit.sh
. "$(dirname "$0")/edit.sh"

STEP=$(command -v edit_step.so) || fail "edit_step.so is not built"
scratch ext4
create -o cluster_size=4k a.qcow2 16M
attach q a.qcow2
# The image of another device lies on the one that is suspended.
mkfs.ext4 -q /dev/mapper/q
mkdir -p /mnt/guest
mount /dev/mapper/q /mnt/guest
create /mnt/guest/n.qcow2 1M
attach n /mnt/guest/n.qcow2
LD_PRELOAD=$STEP EDIT_AT=suspend EDIT_DO=both "$QCOW2CTL" snapshot create q nested 2>said && fail "it was not killed"
echo 3 >/proc/sys/vm/drop_caches
"$QCOW2CTL" recover 2>said &
tool=$!
resumed q
wait $tool || fail "recover: $(<said)"
runs q
detach n
umount /mnt/guest
ok "an image on the device"
want "killed in shrink" steps both shrink
ok "shrink of a device that nobody has open"
writer /dev/mapper/q
for edit in grow create delete repair; do
	want "killed in $edit" steps both "$edit"
	ok "$edit under a writer"
done
# touched IMAGE: the first entry of its L1 table is no zero any more.
touched() {
	printf '\1' | dd of="$1" bs=1 conv=notrunc status=none seek="$(od -An -tu8 --endian=big -j 40 -N 8 "$1" | tr -d ' ')"
}
# Killed together with the guardian before the new table is live: recover takes the overlay away, but for
# one that somebody has written to.
for touched in "" written; do
	LD_PRELOAD=$STEP EDIT_AT=link EDIT_DO=both "$QCOW2CTL" snapshot create --external c.qcow2 q 2>said && fail "it was not killed"
	want "it has no name" [ -s c.qcow2 ]
	want "there is no intent" [ -s /run/qcow2ctl/q.intent ]
	[ -z "$touched" ] || touched c.qcow2
	does recover
	runs q
	if [ -z "$touched" ]; then
		[[ $OUT == *"removed $DIR/c.qcow2"* && ! -e c.qcow2 ]] || fail "recover: $OUT"
	else
		[[ $OUT != *removed* && -e c.qcow2 ]] || fail "recover: $OUT"
		rm c.qcow2
	fi
done
LD_PRELOAD=$STEP EDIT_AT=link EDIT_DO=both "$QCOW2CTL" snapshot create --external c.qcow2 q 2>said && fail "it was not killed"
pauses snapshot create q later
[[ $OUT == *"removed $DIR/c.qcow2"* && ! -e c.qcow2 ]] || fail "the next edit: $OUT"
# The device goes before anybody recovers it.
truncate -s 16M gone.raw
qemu-img convert -f raw -O qcow2 gone.raw gone.qcow2
attach gone gone.qcow2
LD_PRELOAD=$STEP EDIT_AT=link EDIT_DO=both "$QCOW2CTL" snapshot create --external d.qcow2 gone 2>said && fail "it was not killed"
detach gone
does recover gone
[[ $OUT == *"removed $DIR/d.qcow2"* && ! -e d.qcow2 && ! -e /run/qcow2ctl/gone.intent ]] || fail "recover: $OUT"
answers 3 "no such" recover gone
# On a block device it is wiped.
truncate -s 40M device.raw
loop device.raw
OVERLAY=$LOOP
magic() { head -c 3 "$OVERLAY" | tr -d '\0'; }
both() {
	LD_PRELOAD=$STEP EDIT_AT=load EDIT_DO=both "$QCOW2CTL" snapshot create --external "$OVERLAY" q 2>said && fail "it was not killed"
	want "there is no overlay" [ "$(magic)" = QFI ]
}
both
does recover
runs q
[[ $OUT == *"wiped $OVERLAY"* && $(magic) != QFI ]] || fail "recover: $OUT"
# The copy of the intent is all that is left of a machine that went down.
both
sed '4s/.*/01234567-89ab-cdef-0123-456789abcdef/' a.qcow2.q.intent >went.down
does recover
want "it is wiped" [ "$(magic)" != QFI ]
dmsetup suspend q; dmsetup resume q
does create --backing "$DIR/a.qcow2",format=qcow2 "$OVERLAY"
cp went.down a.qcow2.q.intent
does recover q
[[ $OUT == *"q: the machine went down"*"wiped $OVERLAY"* && $(magic) != QFI ]] || fail "recover: $OUT"
# Not over this image, or not empty.
for words in "$OVERLAY 1M" "-u -b $DIR/a.qcow2 -F qcow2 $OVERLAY 16M"; do
	# shellcheck disable=SC2086 # words
	qemu-img create -q -f qcow2 $words
	[[ $words != *a.qcow2* ]] || touched "$OVERLAY"
	cp went.down a.qcow2.q.intent
	does recover q
	[[ $OUT == *"went down"* && $OUT != *wiped* && $(magic) = QFI ]] || fail "recover, $words: $OUT"
done
ok "an overlay that did not get on top"
# The mapped device with the image has another number after the reboot, and the old one is another's.
truncate -s 24M base.raw
loop base.raw
mapped() { dmsetup create "$1" --table "0 49152 linear $LOOP 0"; echo "/dev/dm-$((0x$(stat -c %T "/dev/mapper/$1")))"; }
number=$(mapped base)
does create "$number" 16M
attach gone "$number"
[[ $(dmsetup table gone) == *" $number"* ]] || fail "the table: $(dmsetup table gone)"
LD_PRELOAD=$STEP EDIT_AT=link EDIT_DO=both "$QCOW2CTL" snapshot create --external d.qcow2 gone 2>said && fail "it was not killed"
sed '4s/.*/01234567-89ab-cdef-0123-456789abcdef/' /var/lib/qcow2ctl/gone.intent >went.down
rm /run/qcow2ctl/gone.intent
detach gone
dmsetup remove base
dmsetup create other --table "0 49152 zero"
[ "$(mapped base)" != "$number" ] || fail "base is $number again"
cp went.down /var/lib/qcow2ctl/gone.intent
does recover
[[ $OUT == *"removed $DIR/d.qcow2"* && ! -e d.qcow2 && ! -e /var/lib/qcow2ctl/gone.intent ]] || fail "recover: $OUT: $(<went.down)"
dmsetup remove base
dmsetup remove other
# All of them one after the other, by their names.
for name in a1 b2 c3; do echo broken >"/run/qcow2ctl/$name.intent"; done
answers 1 "a1: cannot recover.*b2: .*c3: " recover
rm /run/qcow2ctl/{a1,b2,c3}.intent
ok "after a reboot, and in order"
# Its image goes, and a smaller one comes under the name, before anybody recovers it.
killed() {
	LD_PRELOAD=$STEP EDIT_AT=header EDIT_DO=both "$QCOW2CTL" resize gone +10M 2>said && fail "it was not killed"
	want "there is no intent" [ -s /run/qcow2ctl/gone.intent ]
	[ "$(sectors gone.qcow2)" = "$1" ] || fail "the disk has $(sectors gone.qcow2) sectors"
}
create small.qcow2 8M
attach gone gone.qcow2
killed 53248
detach gone
attach gone small.qcow2
table=$(dmsetup table gone)
does recover
[ "$(dmsetup table gone)" = "$table" ] || fail "the device is now $(dmsetup table gone)"
want "an intent is left" [ ! -e /run/qcow2ctl/gone.intent ]
detach gone
attach gone gone.qcow2
killed 73728
does detach gone
want "detach leaves an intent" [ ! -e /run/qcow2ctl/gone.intent ]
attach gone gone.qcow2
killed 94208
detach gone
does attach small.qcow2 gone
want "attach leaves an intent" [ ! -e /run/qcow2ctl/gone.intent ]
does detach gone
ok "another device has the name"
# Last of all: the image on top is another one then.
want "killed in external" steps both external
ok "external under a writer"
written
