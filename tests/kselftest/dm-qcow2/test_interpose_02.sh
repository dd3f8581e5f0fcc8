#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Layers with state over a mounted device with a writer on it: era, snapshot, mirror.
# timeout=150
# series=6.1

# shellcheck source=tests/kselftest/dm-qcow2/interpose.sh
. "$(dirname "$0")/interpose.sh"

need_module dm-era
need_module dm-snapshot
need_module dm-mirror
scratch ext4
remembered 32M
put_in era era
want "its state" [ -f a.qcow2.q.era ]
does interpose --list
[[ $OUT == *" era "*"$DIR/a.qcow2.q.era "* ]] || fail "--list: $OUT"
does snapshot create q s1
does snapshot delete q s1
inserted era
taken_out
ok "era"

echo frozen >/mnt/guest/mark
sync -f /mnt/guest
put_in snapshot-origin snapshot
first=$(md5sum </dev/mapper/q.frozen)
echo changed >/mnt/guest/mark
sync -f /mnt/guest
sleep 1
want "the point in time has moved" [ "$(md5sum </dev/mapper/q.frozen)" = "$first" ]
want "it has a file system that needs repair" e2fsck -fn /dev/mapper/q.frozen >/dev/null 2>&1
mkdir -p /mnt/frozen
mount -o ro,noload /dev/mapper/q.frozen /mnt/frozen
want "its file" [ "$(cat /mnt/frozen/mark)" = frozen ]
answers 5 "in use: mounted on /mnt/frozen" interpose q --remove
umount /mnt/frozen
taken_out
ok "snapshot"

truncate -s 16M small
loop small
answers 8 "33554432 are needed" interpose q mirror --to "$LOOP"
runs q
put_in mirror mirror --to "$DIR/copy.raw"
for ((at = 0; at < 100; at++)); do
	[[ $(dmsetup status q) != *" 64/64 1 AA "* ]] || break
	sleep 0.1
done
stop_writer
sync -f /mnt/guest
umount /mnt/guest
want "the legs differ" cmp /dev/mapper/q copy.raw
pauses interpose q --remove
want "what the user named is gone" [ -f copy.raw ]
want "a loop device stays" [ -z "$(losetup -n -O NAME -j copy.raw)" ]
want "fsck" e2fsck -fn /dev/mapper/q >/dev/null 2>&1
detach q
clean a.qcow2
ok "mirror, image and data"
