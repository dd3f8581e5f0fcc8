#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# What interpose refuses, and what is refused while a layer is there; the device runs on.
# timeout=150
# series=6.1

# shellcheck source=tests/kselftest/dm-qcow2/interpose.sh
. "$(dirname "$0")/interpose.sh"

scratch ext4
create a.qcow2 16M
attach q a.qcow2
remember
answers 3 "no such qcow2 device" interpose nobody linear
answers 3 "it has no layer" interpose q --remove
answers 2 "no layer 'lasagne'" interpose q lasagne
answers 2 "layer linear has no option --ms" interpose q linear --ms 3
answers 2 "needs --table" interpose q raw
answers 2 "a power of two" interpose q era --block 96K
answers 9 "no target nosuch" interpose q raw --table 'nosuch {DEV}'
answers 1 "refuses the table" interpose q raw --table 'linear {DEV} nowhere'
answers 3 "No such file" interpose q era --state /no/such/folder/state
touch exists
answers 4 "it exists already" interpose q snapshot --cow exists
# What stands where the tool would put a state by itself may be the only copy of what a layer before a loss of power had.
touch a.qcow2.q.{era,mirror,snapshot}
for layer in era mirror snapshot; do
	answers 4 "a.qcow2.q.$layer: .*it exists already" interpose q $layer
done
answers 4 "a.qcow2.q.snapshot: .*it exists already" backup q --via snapshot --to b.qcow2
rm a.qcow2.q.{era,mirror,snapshot} || fail "what was refused is gone"
as_before
ok "words, targets, state"

dmsetup create q.real --table '0 8 error'
answers 5 "a device q.real exists" interpose q linear
want "q.real of somebody else is gone" dmsetup remove q.real
dmsetup table q | dmsetup load q
answers 5 "a new table is loaded" interpose q linear
dmsetup clear q
dmsetup suspend q
answers 5 "suspended, by somebody else" interpose q linear
dmsetup resume q
exec {fd}</dev/mapper/q
dmsetup remove --deferred q
answers 5 "about to be removed" interpose q linear
dmsetup message q 0 @cancel_deferred_remove
dmsetup mknodes q
mkfs.ext4 -q /dev/mapper/q
mkdir -p /mnt/guest
mount /dev/mapper/q /mnt/guest
MOUNTS+=(/mnt/guest)
exec {fd}<&-
answers 4 "/mnt/guest lies on it" interpose q era --state /mnt/guest/state
cp "$QCOW2CTL" /mnt/guest/tool
QCOW2CTL=/mnt/guest/tool answers 4 "tool lies on it" interpose q linear
umount /mnt/guest
as_before
ok "names, states, places"

does snapshot create q s1
remember
put_in linear linear
for words in "interpose q delay" "resize q +16M" "resize --shrink q 8M" "snapshot apply q s1" "detach q" \
	"snapshot create --external b.qcow2 q" "repair q"; do
	# shellcheck disable=SC2086
	answers 5 "layer linear stands over its image" $words
done
stands linear
want "no overlay" [ ! -e b.qcow2 ]
answers 5 "in use by device q" snapshot create ./a.qcow2 s1
answers 5 "in use by device q" attach a.qcow2 other
io_fails=0
qemu-img snapshot -c s1 a.qcow2 2>/dev/null || io_fails=1
want "qemu-img got in" [ $io_fails = 1 ]
taken_out
detach q
attach_ro q a.qcow2
answers 4 "read-only" interpose q era
does interpose q linear
[[ $(dmsetup table q) == *linear* ]] || fail "no layer over a read-only device"
does interpose q --remove
detach q
clean a.qcow2
ok "while a layer is there; read-only devices"

truncate -s 32M disk.raw
loop disk.raw
does create "$LOOP" 16M
does attach "$LOOP" q
answers 2 "lies on a block device" interpose q era
need_module dm-era
truncate -s 8M state.raw
device=$LOOP
loop state.raw
NUMBER=$(number q)
remember
verifier /dev/mapper/q 2000
for words in "raw --table" linear "delay --ms 0" "flakey --up 100 --down 0" "era --state $LOOP" \
	"era --state $DIR/named.era" "snapshot --cow $LOOP" "snapshot --cow $DIR/named.cow" "mirror --to $DIR/leg"; do
	table=() layer=${words%% *}
	[ "$layer" != raw ] || table=('linear {DEV} 0') layer=linear
	[ "$layer" != snapshot ] || layer=snapshot-origin
	# shellcheck disable=SC2086 # words
	put_in "$layer" $words "${table[@]}"
	device_io q 'write -P 3 4M 1M' 'read -P 3 4M 1M'
	does interpose q --remove
	as_before
done
stop_writer
say "$(grep -o 'issued rwts: total=[^ ]*' fio.log)"
# What the user has named stays.
for name in named.era named.cow; do
	want "$name is gone" [ -s $name ]
done
device_io q 'read -P 3 4M 1M'
answers 5 "Device or resource busy" interpose q era --state "$device"
mkfs.ext4 -qF "$LOOP"
answers 4 "device holds something: ext4" interpose q era --state "$LOOP"
runs q
does detach q
clean "$device"
ok "an image on a block device, state on another, or in a file that somebody has named"
