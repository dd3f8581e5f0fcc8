#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# What an edit of an attached device refuses, whom it names, and that the device runs after it.
# series=6.1

# shellcheck source=tests/kselftest/dm-qcow2/edit.sh
. "$(dirname "$0")/edit.sh"
# shellcheck source=tests/kselftest/dm-qcow2/without.sh
. "$HERE/without.sh"

without
scratch ext4
create a.qcow2 16M
attach q a.qcow2
does snapshot create q s1
answers 4 "there is a snapshot 's1' already" snapshot create q s1
[[ $OUT != *paused* ]] || fail "paused for a refusal that was known before"
answers 3 "there is no snapshot 's9'" snapshot apply q s9
answers 3 "no such qcow2 device" snapshot create nobody s2
answers 4 "would be lost" resize q 8M
for path in ./a.qcow2 "$DIR/a.qcow2"; do
	answers 5 "in use by device q" snapshot create "$path" s2
	answers 1 "in use by device q" check "$path"
done
for words in "snapshot apply ./a.qcow2 s1" "snapshot delete ./a.qcow2 s1" "snapshot create --external o.qcow2 ./a.qcow2" \
	"resize ./a.qcow2 +1M" "resize --shrink ./a.qcow2 8M" "commit ./a.qcow2" "rebase --unsafe --no-backing ./a.qcow2" \
	"repair ./a.qcow2" "map ./a.qcow2" "measure ./a.qcow2"; do
	# shellcheck disable=SC2086 # words
	answers 5 "in use by device q" $words
done
want "an overlay is left" [ ! -e o.qcow2 ]
does snapshot list ./a.qcow2
does snapshot create /dev/mapper/q by-node
runs q
ok "words, paths, nodes"

exec {fd}</dev/mapper/q
answers 5 "device is in use: .*pid" snapshot apply q s1
answers 5 "device is in use" resize --shrink q 8M
exec {fd}<&-
mkfs.ext4 -q /dev/mapper/q
mkdir -p /mnt/guest
mount /dev/mapper/q /mnt/guest
MOUNTS+=(/mnt/guest)
answers 5 "/mnt/guest" snapshot apply q s1
want "the size has changed" [ "$(blockdev --getsize64 /dev/mapper/q)" = $((16 << 20)) ]
cp "$QCOW2CTL" /mnt/guest/tool
QCOW2CTL=/mnt/guest/tool answers 4 "tool lies on it" snapshot create q s2
truncate -s 8M /mnt/guest/disk
loop /mnt/guest/disk
mkfs.ext4 -q "$LOOP"
mkdir -p /mnt/loop
mount "$LOOP" /mnt/loop
MOUNTS+=(/mnt/loop)
cp "$QCOW2CTL" /mnt/loop/tool
QCOW2CTL=/mnt/loop/tool answers 4 "tool lies on it" snapshot create q s2
mkdir -p /run/qcow2ctl
mount --bind /mnt/loop /run/qcow2ctl
answers 4 "/run/qcow2ctl lies on it" snapshot create q s2
umount /run/qcow2ctl
answers 4 "over.qcow2 lies on it" snapshot create --external /mnt/loop/over.qcow2 q
want "an overlay is left" [ ! -e /mnt/loop/over.qcow2 ]
# The note for after a reboot lies beside an image that is a file.
mkdir -p /var/lib/qcow2ctl
mount --bind /mnt/loop /var/lib/qcow2ctl
pauses snapshot create q beside
pauses snapshot delete q beside
umount /var/lib/qcow2ctl
umount /mnt/loop
losetup -d "$LOOP"
umount /mnt/guest
runs q
truncate -s 64M disk
loop disk
qemu-img create -q -f qcow2 "$LOOP" 32M
attach d "$LOOP"
mkfs.ext4 -q /dev/mapper/d
mount /dev/mapper/d /mnt/guest
mount --bind /mnt/guest /var/lib/qcow2ctl
answers 4 "/var/lib/qcow2ctl/d.intent lies on it" snapshot create d s1
umount /var/lib/qcow2ctl
does snapshot create d s1
runs d
umount /mnt/guest
detach d
losetup -d "$LOOP"
ok "open devices, files on the device itself"

dmsetup suspend q
answers 5 "suspended, by somebody else" snapshot create q s2
answers 1 "suspended, by somebody else" check q
answers 0 "" recover
answers 0 "" recover q
want "recover resumes what is not its own" grep -q SUSPENDED <(dmsetup info q)
dmsetup resume q
dmsetup table q | dmsetup load q
answers 5 "a new table is loaded" snapshot create q s2
dmsetup clear q
flock /run/qcow2ctl/q.lock sleep 300 &
holder=$!
until [ -e /run/qcow2ctl/q.lock ] && ! flock -n /run/qcow2ctl/q.lock true; do sleep 0.1; done
answers 5 "another qcow2ctl is at work" snapshot create q s2
pkill -P $holder || kill $holder
wait $holder || true
runs q
ok "suspended by others, another table, another qcow2ctl"

# As a view does.
hold a.qcow2 r301
answers 5 "a view of a snapshot is attached" snapshot delete q by-node
answers 5 "a view of a snapshot is attached" snapshot apply q s1
pauses snapshot create q s2
let_go
pauses snapshot delete q by-node
pauses snapshot apply q s1
detach q
clean a.qcow2
attach_ro q a.qcow2
does check q
does map q
[[ $OUT != *paused* ]] || fail "nobody writes, and still it paused"
answers 4 "read-only" snapshot delete q s1
holds a.qcow2 "$RO 300"
ok "views, read-only devices"
