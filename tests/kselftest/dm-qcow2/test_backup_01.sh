#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Full backups of a device that is written: the image, and the stream, are what the disk was at the point.
# timeout=150
# series=6.12

# shellcheck source=tests/kselftest/dm-qcow2/backup.sh
. "$(dirname "$0")/backup.sh"

need_module dm-snapshot
scratch ext4
create base.qcow2 6M
io base.qcow2 'write -P 9 1M 4M'
create -b base.qcow2 -F qcow2 a.qcow2 8M
io a.qcow2 'write -P 1 0 1M' 'write -z 2M 512k' 'write -P 2 5M 1M'
qemu-img convert -O raw a.qcow2 model.raw
attach q a.qcow2 -b qcow2:base.qcow2
exercise q model.raw 1 100
cp model.raw point.raw
begun log --to full.qcow2 --bwlimit 512K
does snapshot create q meanwhile
answers 5 "a view of a snapshot" snapshot delete q meanwhile
does list
[[ $OUT != *frozen* ]] || fail "list shows it: $OUT"
answers 5 "at work" backup q --to other.qcow2
answers 5 "a backup of it is under way: q.frozen" snapshot create --external over.qcow2 q
[ ! -e over.qcow2 ] || fail "an overlay"
exercise q model.raw 2 100
cmp /dev/mapper/q.frozen point.raw || fail "the point has moved"
ended 0
same full.qcow2 point.raw
clean full.qcow2
[[ $(qemu-img info full.qcow2) != *backing* ]] || fail "it names a backing file"
exercise q model.raw 3 20
cmp /dev/mapper/q model.raw || fail "the device is not what was written"
ok "an image, by a view"

# While a view is attached no snapshot can be deleted.
cp model.raw point.raw
view() { "$QCOW2CTL" attach --snapshot meanwhile --backing base.qcow2,format=qcow2 a.qcow2 view >/dev/null || fail "no view"; }
made view
view
answers 5 "attached as view" backup q --to v.qcow2 --via view
begun log --to v.qcow2 --bwlimit 4M
exercise q model.raw 4 20 -d
ended 0
same v.qcow2 point.raw
does detach view
cp model.raw point.raw
begun log --to w.qcow2 --bwlimit 2M
view
wait "$BACKUP" || fail "a view that came: exit $?: $(<log)"
[[ $(<log) == *"qcow2ctl-backup stays while a view"* ]] || fail "no warning: $(<log)"
does backup q --to x.qcow2
answers 5 "attached as view" recover q
answers 5 "has left something" snapshot create --external over.qcow2 q
does detach view
does recover
untouched
same w.qcow2 point.raw
same x.qcow2 point.raw
ok "beside a view"

# What is about to become the view nobody takes for a part of the layer.
STEP=$(command -v edit_step.so) || fail "edit_step.so is not built"
does interpose q linear
stopped load backup q --to y.qcow2 --via view
answers 5 "another qcow2ctl is at work" interpose q --remove
kill -CONT "$TOOL"
wait "$TOOL" || fail "a layer that goes: $(<said)"
does interpose q --remove
untouched
same y.qcow2 point.raw
ok "beside a layer that goes"

want "the stream" cmp <("$QCOW2CTL" backup q --to - 2>/dev/null) point.raw
untouched
answers 4 "exists already" backup q --to full.qcow2
untouched
cmp /dev/mapper/q model.raw || fail "the device is not what was written"
does snapshot delete q meanwhile
detach q
clean a.qcow2
attach_ro q a.qcow2 -b qcow2:base.qcow2
does backup q --to ro.qcow2
[[ $OUT != *paused* ]] || fail "a read-only device was suspended: $OUT"
same ro.qcow2 point.raw
answers 3 "no snapshot 'nothing'" backup q --to empty.qcow2 --since nothing
answers 3 "no layer era" backup q --to empty.qcow2 --since 1
answers 3 "no layer era" backup q --to empty.qcow2 --checkpoint
[ ! -e empty.qcow2 ] || fail "a result"
detach q
ok "a stream; the image is clean"
