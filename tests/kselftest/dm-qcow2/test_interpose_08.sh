#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Layers in trouble: a copy that fails, a full store, the wrong order, no module; a view meanwhile; a state left behind.
# timeout=150
# series=6.12

# shellcheck source=tests/kselftest/dm-qcow2/interpose.sh
. "$(dirname "$0")/interpose.sh"

need_module dm-snapshot
need_module dm-mirror
made view other bad
scratch ext4
mounted 16M 0.01
NUMBER=$(number q)
does snapshot create q s1
remember

ramdisk 1 20
dmsetup create bad --table "0 40960 linear /dev/ram1 0"
put_in mirror mirror --to /dev/mapper/bad
dmsetup suspend bad
dmsetup load bad --table "0 40960 error"
dmsetup resume bad
# Whoever touches the file system now may have to wait, with a journal that waits.
{
	echo waits >/mnt/guest/waits
	sync /mnt/guest/waits
} &
SYNC=$!
for ((try = 0; try < 100; try++)); do
	[[ $("$QCOW2CTL" interpose --list) != *" AD "* ]] || break
	sleep 0.1
done
[[ $("$QCOW2CTL" interpose --list) == *" AD "* ]] || fail "no dead copy: $("$QCOW2CTL" interpose --list)"
want "a write is lost" kill -0 $SYNC
pauses interpose q --remove
wait $SYNC || fail "what waited got an error"
dmsetup remove bad
as_before
ok "a copy that fails"

put_in snapshot-origin snapshot --cow-size 1M
dd if=/dev/urandom of=/mnt/guest/much bs=1M count=6 conv=fsync status=none
[[ $(dmsetup status q.frozen) == *Invalid* ]] || fail "$(dmsetup status q.frozen)"
want "it shows something" bash -c '! dd if=/dev/mapper/q.frozen of=/dev/null bs=1M status=none 2>/dev/null'
taken_out
ok "a full store"

inactive other
dmsetup rename other q.real
dmsetup table q | dmsetup load q.real
want "the image has two owners" bash -c '! dmsetup resume q.real 2>/dev/null'
is q claim active
dmsetup remove q.real
as_before
modprobe -r dm_era
echo 'install dm_era /bin/false' >/etc/modprobe.d/none.conf
answers 9 "kernel has no target era" interpose q era
rm /etc/modprobe.d/none.conf
as_before
ok "the wrong order, no module"

put_in linear linear
does attach --snapshot s1 a.qcow2 view
first=$(md5sum </dev/mapper/view)
pauses interpose q --remove
put_in linear linear
want "the view has changed" [ "$(md5sum </dev/mapper/view)" = "$first" ]
does detach view
taken_out
ok "a view meanwhile"

truncate -s 1M a.qcow2.q.era
does recover
[[ $OUT == *"q: it has no layer era any more, and $DIR/a.qcow2.q.era is of no use"* ]] || fail "$OUT"
rm a.qcow2.q.era
does recover q
[ -z "$OUT" ] || fail "$OUT"
ok "a state that was left"
over
ok "image and data"
