#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# qcow2ctl monitor: events of all devices, commands that make space, also below a layer, nothing told twice.

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"

[ -n "$QCOW2CTL" ] || skip "no qcow2ctl"
scratch ext4
truncate -s 4M smaller.raw
loop smaller.raw
OTHER=$LOOP
truncate -s 8M disk.raw
loop disk.raw
create "$LOOP" 64M
create "$OTHER" 64M
attach q "$LOOP" low_water $(((2 << 20) / 512)) full_timeout 0
attach other "$OTHER" full_timeout 0

cat >grow <<'GROW'
echo "$QCOW2_EVENT $QCOW2_IMAGE" >>grown
read -r file <"/sys/block/${QCOW2_IMAGE#/dev/}/loop/backing_file"
truncate -s +8M "$file"
losetup -c "$QCOW2_IMAGE"
GROW
"$QCOW2CTL" monitor --on "full=sh ./grow" >events &
monitor=$!
dd if=/dev/urandom of=data bs=64k count=500 status=none
dd if=data of=/dev/mapper/q bs=64k oflag=direct status=none || fail "the writer got an error"
want "content" cmp -n $((500 << 16)) data /dev/mapper/q
want "full was told" grep -qx "q full" events
want "the command knows event and image" [ "$(sort -u grown)" = "full $LOOP" ]
is q mode rw
soon q parked 0
ok "a command makes space, the writer goes on"

dd if=data of=/dev/mapper/other bs=64k count=100 oflag=direct status=none || fail "the writer of the other device got an error"
want "content" cmp -n $((100 << 16)) data /dev/mapper/other
want "full was told of the other device" grep -qx "other full" events
want "the command was run for it" grep -qx "full $OTHER" grown
soon other parked 0
ok "one process for two devices"

# A layer knows no retry: it is for the image below.
"$QCOW2CTL" interpose q linear >/dev/null 2>&1 || fail "interpose"
: >events
dd if=data of=/dev/mapper/q bs=64k seek=500 count=240 oflag=direct status=none &
writer=$!
for ((tries = 0; tries < 200; tries++)); do
	kill -0 $writer 2>/dev/null || break
	sleep 0.1
done
# One that waits would keep all that is below it.
kill -0 $writer 2>/dev/null && truncate -s 128M disk.raw && losetup -c "$LOOP" && dmsetup message q.real 0 retry && fail "the writer waited"
wait $writer || fail "the writer got an error"
want "full was told" grep -qx "q full" events
soon q.real parked 0
"$QCOW2CTL" interpose q --remove >/dev/null 2>&1 || fail "the layer stays"
want "content" cmp -n $((240 << 16)) data <(dd if=/dev/mapper/q bs=64k skip=500 count=240 status=none)
ok "the same below a layer"

is other space ok
want "nothing happened to the other device" [ -z "$(grep other events)" ]
kill $monitor
wait $monitor || fail "monitor ends with 0"

# A command that makes no space must not be called again and again.
"$QCOW2CTL" monitor --on "full=echo x >>called" q >events2 &
monitor=$!
dd if=/dev/urandom of=/dev/mapper/q bs=64k seek=500 count=500 oflag=direct status=none 2>/dev/null &
writer=$!
soon q parked 1
soon q space full
sleep 2
want "called once" [ "$(wc -l <called)" -le 2 ]
truncate -s 128M disk.raw
losetup -c "$LOOP"
dmsetup message q 0 retry
wait $writer || fail "the parked writer got an error"
soon q space ok
sleep 0.5
want "ok was told" grep -qx "q ok" events2
kill $monitor
wait $monitor || fail "monitor ends with 0"
ok "a command that makes no space"

detach other
clean "$OTHER"
detach q
clean "$LOOP"
