#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# What people want to do with images, typed as they would type it; Documentation/stories.rst has the numbers. Stories of
# mount, boot and LVM are in mount_01, lvm_01 and tests/boot.
#
# series=6.12
# timeout=150

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"
[ -n "$QCOW2CTL" ] || skip "no qcow2ctl"
scratch ext4
modprobe -a loop dm-era dm-snapshot dm-mirror
mkdir -p mnt nvme bk

# Somebody's machines: a guest with a partition, and a template with a file system.
qcow2ctl create guest.qcow2 32M
DEVICES+=(g1 ct102 disk disk-mon)
qcow2ctl attach guest.qcow2 g1 >out
printf 'label: gpt\n- 24M\n' | sfdisk -q --no-reread --no-tell-kernel /dev/mapper/g1
qcow2ctl detach g1
qcow2ctl attach --partscan guest.qcow2 g1 >out
mkfs.ext4 -qF /dev/mapper/g1p1
mount /dev/mapper/g1p1 mnt
echo "hello" >mnt/file
umount mnt
qcow2ctl detach g1
qcow2ctl create base.qcow2 24M
qcow2ctl attach base.qcow2 base >out
mkfs.ext4 -qF /dev/mapper/base
qcow2ctl detach base

# 1. Look inside a stopped machine.
want "1: the path" [ "$(qcow2ctl attach -r --partscan guest.qcow2 g1)" = /dev/mapper/g1 ]
mount -o ro,noload /dev/mapper/g1p1 mnt
want "1: the file" [ "$(<mnt/file)" = hello ]
umount mnt
qcow2ctl detach g1
ok "1. look inside a stopped machine"

# 4. A root file system from a template.
qcow2ctl clone base.qcow2 ct102.qcow2 ct102 --json >out
want "4: JSON" python3 -c 'import json; d = json.load(open("out")); assert d["path"] == "/dev/mapper/ct102" and d["size"] == 24 << 20'
mount /dev/mapper/ct102 mnt
echo "mine" >mnt/file
ok "4. a clone of a template"

# 20. Watch and debug.
qcow2ctl status ct102 --json >out
want "20: status" python3 -c 'import json; assert json.load(open("out"))["mode"] == "rw"'
want "20: lsblk" [ "$(lsblk -dno NAME,TYPE /dev/mapper/ct102 | tr -s ' ')" = "ct102 qcow2" ]
want "20: a tree" grep -q "^ct102 " <(dmsetup ls --tree)
dmsetup table ct102 | dmsetup load ct102
dmsetup suspend ct102
dmsetup resume ct102
want "20: the table again" [ "$(<mnt/file)" = mine ]
ok "20. watch and debug"

# 17. Who uses it, and why can it not be detached?
want "17: list" grep -q "ct102 " <(qcow2ctl list base.qcow2)
rc=0
qcow2ctl detach ct102 2>out || rc=$?
want "17: busy" [ $rc = 5 ]
want "17: where" grep -q "in use: mounted on $DIR/mnt" out
want "17: what helps" grep -q "^hint: --wait SEC" out
ok "17. who keeps the device"

# 8. A snapshot of a file system in use. 10. Grow it meanwhile.
qcow2ctl snapshot create ct102 --external ct102.s1.qcow2 2>out
want "8: the pause" grep -qE "^paused ct102 for [0-9.]+ ms$" out
want "8: the overlay is on top" grep -q "qcow2 3 qcow2 $DIR/ct102.s1.qcow2" <(dmsetup table ct102)
qcow2ctl resize ct102 +16M --fs 2>out
want "10: the disk" [ "$(blockdev --getsize64 /dev/mapper/ct102)" = $((40 << 20)) ]
want "10: the file system" [ $(($(stat -f -c '%b * %S' mnt))) -gt $((26 << 20)) ]
rc=0
qcow2ctl resize ct102 24M 2>out || rc=$?
want "10: smaller is refused" [ $rc = 4 ]
ok "8, 10. snapshot and growth in use"

# 12. What has changed? 13. Copy that.
qcow2ctl interpose ct102 era 2>out
first=$(qcow2ctl backup ct102 --to bk/ct102.full.qcow2 --checkpoint 2>out)
dd if=/dev/urandom of=mnt/new bs=64k count=4 status=none conv=fsync
qcow2ctl changes ct102 --since "$first" --json >out
want "12: extents" python3 -c 'import json; d = json.load(open("out")); assert d and all(e["length"] > 0 and "zero" in e for e in d)'

# 11. The same over NBD: of what is served only that is fetched which the list has.
qcow2ctl backup ct102 --nbd "unix:$DIR/s" --checkpoint >point 2>out &
backup=$!
until [ -S s ] || ! kill -0 $backup; do sleep 0.1; done
qcow2ctl changes ct102 --since "$first" --json >list
nbdcopy "nbd+unix:///?socket=$DIR/s" now.raw
kill -INT $backup
wait $backup || fail "11: backup --nbd: $(<out)"
want "11: the next number" [ "$(<point)" -gt "$first" ]
qemu-img convert -O raw bk/ct102.full.qcow2 then.raw
cmp -s then.raw now.raw && fail "11: nothing has changed"
fetched=0
while read -r start length from; do
	dd if="$from" of=then.raw iflag=skip_bytes,count_bytes oflag=seek_bytes skip="$start" seek="$start" count="$length" bs=1M \
		conv=notrunc status=none
	[ "$from" = /dev/zero ] || fetched=$((fetched + length))
done < <(python3 -c 'import json; [print(e["start"], e["length"], "now.raw" if e["data"] else "/dev/zero") for e in json.load(open("list"))]')
want "11: what the list has is all that has changed" cmp then.raw now.raw
want "11: nearly the whole disk: $fetched bytes" [ $fetched -lt $((4 << 20)) ]
ok "11. an incremental backup, over NBD"
qcow2ctl backup ct102 --since "$first" --to bk/ct102.inc2.qcow2 --base ct102.full.qcow2,format=qcow2 2>out
qcow2ctl interpose ct102 --remove 2>out
qcow2ctl attach -r --chain=follow --allow-under "$DIR/bk" bk/ct102.inc2.qcow2 disk >out
mkdir -p old
mount -o ro,noload /dev/mapper/disk old
want "13: the backup has what is new" cmp mnt/new old/new
umount old
qcow2ctl detach disk
ok "12, 13. changes, and a backup of them"

# 14. Faster storage, in use.
qcow2ctl move ct102 nvme/ct102.qcow2 --bwlimit 300M 2>out
want "14: there" grep -q "$DIR/nvme/ct102.qcow2" <(dmsetup table ct102)
want "14: and whole" [ "$(<mnt/file)" = mine ]
umount mnt
qcow2ctl detach ct102
ok "14. moved in use"

# 5. An explicit chain. 6. A folder that is trusted. 18. Chains short again.
qcow2ctl create --backing base.qcow2,format=qcow2 ct103.qcow2
want "5: the chain" [ "$(qcow2ctl attach ct103.qcow2 ct102 --backing base.qcow2,format=qcow2)" = /dev/mapper/ct102 ]
mount /dev/mapper/ct102 mnt
echo "committed" >mnt/file
umount mnt
qcow2ctl detach ct102
want "6: follow" qcow2ctl attach --chain=follow --allow-under "$DIR" ct103.qcow2 ct102 >out
qcow2ctl detach ct102
qcow2ctl commit ct103.qcow2
qcow2ctl attach -r base.qcow2 ct102 >out
mount -o ro,noload /dev/mapper/ct102 mnt
want "18: the base has it" [ "$(<mnt/file)" = committed ]
umount mnt
qcow2ctl detach ct102
ok "5, 6, 18. chains"

# 9. Browse monday while today goes on. 19. Health.
cp base.qcow2 disk.qcow2
qcow2ctl snapshot create ./disk.qcow2 monday
qcow2ctl attach disk.qcow2 disk >out
mount /dev/mapper/disk mnt
echo "tuesday" >mnt/file
sync -f mnt
qcow2ctl attach -r --snapshot=monday disk.qcow2 disk-mon >out
mount -o ro,noload /dev/mapper/disk-mon old
want "9: monday" [ "$(<old/file)" = committed ]
umount old
qcow2ctl detach disk-mon
want "19: online" qcow2ctl check --online disk >out
umount mnt
qcow2ctl detach disk
want "19: check" qcow2ctl check ./disk.qcow2 >out
want "19: repair" qcow2ctl repair --leaks ./disk.qcow2 >out
ok "9, 19. a snapshot as a device; health"

# 7. An upload: what it names is known before anything is opened.
qemu-img create -q -u -f qcow2 -b /etc/shadow -F raw up.qcow2 1M
qcow2ctl info --json ./up.qcow2 >out
want "7: what it names" python3 -c 'import json; assert json.load(open("out"))["backing"] == "/etc/shadow"'
rc=0
qcow2ctl attach -r up.qcow2 disk 2>out || rc=$?
want "7: refused" [ $rc = 4 ]
ok "7. a gate for uploads"
