#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# An image straight on a logical volume: low water and full, and both ended by a real lvextend.

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"

command -v lvm >/dev/null || skip "no lvm"
lvm() {
	command lvm "$1" -qq --config "devices{use_devicesfile=0} activation{udev_sync=0 udev_rules=0 monitoring=0}" \
		"${@:2}" >>lvm.log 2>&1
}
drop_group() {
	lvm vgchange -an qtest
	lvm vgremove -ff -y qtest
	lvm pvremove -ff -y /dev/ram1
}
trap 'rc=$?; drop_group || true; cleanup $rc' EXIT

[ -n "$QCOW2CTL" ] || skip "no qcow2ctl"
scratch ext4
ramdisk 1 256
lvm pvcreate -ff -y /dev/ram1
lvm vgcreate qtest /dev/ram1
lvm lvcreate -L 16M -n disk -Zn -Wn -y qtest
volume=/dev/qtest/disk
"$QCOW2CTL" create "$volume" 128M
"$QCOW2CTL" attach --low-water 4M --full-timeout 0 "$volume" q >/dev/null
DEVICES+=(q)
is q space ok
lvm lvremove -y qtest/disk && fail "the volume of an attached image was removed"
ok "attached, lvremove refused"

dd if=/dev/urandom of=data bs=64k count=1000 status=none
write() { dd if=data of=/dev/mapper/q bs=64k skip="$1" seek="$1" count="$2" oflag=direct conv=notrunc status=none; }
write 0 200
soon q space low
is q parked 0
ok "low water"
"$QCOW2CTL" monitor q >events &
monitor=$!
sleep 0.5
dmsetup suspend q
dmsetup resume q
soon q space low
sleep 0.5
want "low water is told at the start and after a resume" [ "$(grep -c "q low-water" events)" = 2 ]
kill $monitor
wait $monitor || fail "monitor ends with 0"
ok "low water, again after a resume"

write 200 200 &
writer=$!
soon q space full
soon q parked 1
lvm lvextend -L +16M qtest/disk
dmsetup message q 0 retry
wait $writer || fail "the parked writer got an error"
soon q parked 0
want "content" cmp -n $((400 << 16)) data /dev/mapper/q
ok "full, lvextend, retry"

cat >grow <<'GROW'
echo "$QCOW2_NAME $QCOW2_EVENT" >>grown
lvm lvextend -qq --config "devices{use_devicesfile=0} activation{udev_sync=0 udev_rules=0 monitoring=0}" \
	-L +16M "$QCOW2_IMAGE" >/dev/null 2>&1
GROW
write 400 600 &
writer=$!
soon q space full
soon q parked 1
"$QCOW2CTL" monitor --on "low-water=sh ./grow" --on "full=sh ./grow" q >events &
monitor=$!
wait $writer || fail "the parked writer got an error"
kill $monitor
wait $monitor || fail "monitor ends with 0"
want "nobody made space when it was full" grep -qx "q full" grown
want "content" cmp -n $((1000 << 16)) data /dev/mapper/q
is q mode rw
ok "monitor makes space for a write that waits, and while the writer runs"

lvm lvextend -L +32M qtest/disk
want "resize" "$QCOW2CTL" resize q +32M
[ "$(blockdev --getsize64 /dev/mapper/q)" = $((160 << 20)) ] || fail "size: $(blockdev --getsize64 /dev/mapper/q)"
want "snapshot" "$QCOW2CTL" snapshot create q monday
dd if=data of=/dev/mapper/q bs=64k count=64 seek=2400 oflag=direct conv=notrunc status=none || fail "the new end is not written"
dd if=/dev/zero of=/dev/mapper/q bs=64k count=8 oflag=direct conv=notrunc status=none
"$QCOW2CTL" attach -r --snapshot monday "$volume" old >/dev/null
DEVICES+=(old)
want "the snapshot has what was there" cmp -n $((1000 << 16)) data /dev/mapper/old
want "the disk has what was written since" cmp -n $((8 << 16)) /dev/zero /dev/mapper/q
[[ $("$QCOW2CTL" snapshot list q) == *monday* ]] || fail "list"
"$QCOW2CTL" detach old
"$QCOW2CTL" detach q
clean "$volume"
lvm lvremove -y qtest/disk || fail "the volume of a detached image cannot be removed"
ok "resize and snapshot on a volume, detach, lvremove"
