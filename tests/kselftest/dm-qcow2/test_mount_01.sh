#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# mount -t qcow2: a file system in an image, a partition of it, a snapshot; lines of fstab; nothing is left after umount,
# after a refusal, and after a KILL; nobody else can hold it up.
#
# series=6.12

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"
[ -n "$QCOW2CTL" ] || skip "no qcow2ctl"
scratch ext4
# shellcheck source=tests/kselftest/dm-qcow2/boot.sh
. "$HERE/boot.sh"

create whole.qcow2 32M
create guest.qcow2 64M
"$QCOW2CTL" attach whole.qcow2 w >/dev/null
mkfs.ext4 -qF /dev/mapper/w
"$QCOW2CTL" detach w
"$QCOW2CTL" attach guest.qcow2 g >/dev/null
printf 'label: gpt\n- 24M\n- 24M\n' | sfdisk -q --no-reread --no-tell-kernel /dev/mapper/g
"$QCOW2CTL" detach g
"$QCOW2CTL" attach --partscan guest.qcow2 g >/dev/null
mkfs.ext4 -qF -L first /dev/mapper/gp1
mkfs.ext4 -qF -L second /dev/mapper/gp2
"$QCOW2CTL" detach g
mkdir mnt mnt2

want "a whole disk" mount -t qcow2 whole.qcow2 mnt
echo "before" >mnt/file
read -r source type < <(findmnt -no SOURCE,FSTYPE mnt)
want "who is mounted: $source $type" [ "$source $type" = "/dev/mapper/whole ext4" ]
umount mnt
gone whole
clean whole.qcow2
"$QCOW2CTL" snapshot create ./whole.qcow2 monday
mount -t qcow2 -o name=vm1,noatime whole.qcow2 mnt
[[ $(findmnt -no SOURCE,OPTIONS mnt) == /dev/mapper/vm1*noatime* ]] || fail "options"
want "what was written" [ "$(<mnt/file)" = before ]
echo "after" >mnt/file
want "a snapshot beside it" mount -t qcow2 -o snapshot=monday,noload whole.qcow2 mnt2
want "the snapshot" [ "$(<mnt2/file)" = before ]
umount mnt2
gone whole
umount mnt
gone vm1
ok "a whole disk, written, and its snapshot"

mount -t qcow2 -o partition=2 guest.qcow2 mnt
echo two >mnt/file
gone guestp1
dmsetup info guestp2 >/dev/null || fail "no device for the partition"
umount mnt
gone guestp2 guest
echo "$PWD/guest.qcow2 $PWD/mnt qcow2 ro,partition=2,noauto 0 0" >>/etc/fstab
want "by fstab" mount mnt
want "the file" [ "$(<mnt/file)" = two ]
! touch mnt/x 2>/dev/null || fail "read-only, and it was written"
[[ $(dmsetup info guest) == *READ-ONLY* ]] || fail "the device is not read-only"
want "twice, read-only" mount -t qcow2 -o ro,partition=1 guest.qcow2 mnt2
[ "$(findmnt -no SOURCE mnt2)" = /dev/mapper/guest-2p1 ] || fail "the other name: $(findmnt -no SOURCE mnt2)"
umount mnt mnt2
gone guestp2 guest guest-2p1 guest-2
sed -i '$d' /etc/fstab
ok "a partition, by hand and by fstab"

# mounts SOURCE...: these are mounted on the two folders, in this order.
mounts() {
	local found
	found=$(findmnt -rno SOURCE,TARGET | sed -n "s|^/dev/mapper/\([^ ]*\) $PWD/mnt2\?\$|\1|p" | xargs)
	[ "$found" = "$*" ] || fail "mounted: $found, not $*"
}
# told CODE REGEX COMMAND...: its exit code, and what it says.
told() {
	local rc=0
	"${@:3}" >out 2>&1 || rc=$?
	[[ "$rc $(<out)" =~ ^$1\ .*$2 ]] || fail "$rc, not $1, or no '$2', of ${*:3}: $(<out)"
}
cp /etc/fstab fstab
printf "$PWD/%s qcow2 %s 0 0\n" "whole.qcow2 $PWD/mnt" noatime "guest.qcow2 $PWD/mnt2" ro,partition=1 >>/etc/fstab
want "mount -a" mount -a -t qcow2
mounts whole guestp1
told 0 "" mount -a -t qcow2
mounts whole guestp1
want "remount, read-only" mount -o remount,ro mnt
! touch mnt/x 2>/dev/null || fail "remounted read-only, and it was written"
[[ $(findmnt -no OPTIONS mnt) == *noatime* ]] || fail "options of fstab: $(findmnt -no OPTIONS mnt)"
told 64 "whole.qcow2 is mounted on $PWD/mnt already, read-only, not read-write" mount -a -t qcow2
want "remount, read-write" mount -o remount,rw mnt
want "it is written" touch mnt/x
told 32 "" mount -o remount,rw mnt2
told 32 "guest.qcow2 is mounted on .*mnt2 already, read-only, not read-write" mount -t qcow2 -o partition=1 guest.qcow2 mnt2
mounts whole guestp1
cp fstab /etc/fstab
want "another partition is another mount" mount -t qcow2 -o ro,partition=2 guest.qcow2 mnt2
mounts whole guestp1 guest-2p2
told 0 "" mount -t qcow2 -o ro,partition=2 guest.qcow2 mnt2
umount mnt2 mnt2 mnt
gone whole guest guest-2
want "a snapshot" mount -t qcow2 -o snapshot=monday,noload whole.qcow2 mnt
told 0 "" mount -t qcow2 -o snapshot=monday,noload whole.qcow2 mnt
told 0 "" mount -t qcow2 -o snapshot=1,noload whole.qcow2 mnt
mounts whole
want "the disk is another mount" mount -t qcow2 whole.qcow2 mnt
mounts whole whole-2
umount mnt mnt
gone whole whole-2
ok "a line of fstab again and again, and remounted"

[ "$(qcow2ctl attach -r --partscan guest.qcow2 g1)" = /dev/mapper/g1 ] || fail "attach"
want "its second partition" mount -o ro /dev/mapper/g1p2 mnt
want "the file" [ "$(<mnt/file)" = two ]
umount mnt
want "detach" qcow2ctl detach g1
ok "the same in single steps"

# wrong CODE REGEX WORD...: mount -t qcow2 ends like that, and nothing is attached or mounted.
wrong() {
	local rc=0
	mount -t qcow2 "${@:3}" >out 2>&1 || rc=$?
	[ "$rc" = "$1" ] || fail "exit $rc, not $1, of $*: $(<out)"
	[[ $(<out) =~ $2 ]] || fail "no '$2' in $(<out)"
	gone guestp1 guestp2 guest whole
	! mountpoint -q mnt || fail "$*: mounted"
}
wrong 32 "guest.qcow2: there is no partition 3" -o partition=3 guest.qcow2 mnt
wrong 32 "hint: the image has partitions; add -o partition=N" guest.qcow2 mnt
wrong 32 "unknown filesystem type 'fancyfs'" -o fstype=fancyfs whole.qcow2 mnt
wrong 32 "gone.qcow2: .*No such file" "$PWD/gone.qcow2" mnt
wrong 32 "out: .*not a qcow2" "$PWD/out" mnt
wrong 1 "partition=x: not the number" -o partition=x guest.qcow2 mnt
"$QCOW2CTL" attach guest.qcow2 other >/dev/null
wrong 32 "guest.qcow2: .*in use by device other" -o partition=1 guest.qcow2 mnt
want "a name that is taken" [ "$(dmsetup info -c --noheadings -o name)" = other ]
wrong 32 "other: .*a device of this name exists" -o name=other whole.qcow2 mnt
"$QCOW2CTL" detach other
ok "refusals leave nothing"

setpriv --reuid=65534 --regid=65534 --clear-groups flock --no-fork /usr/lib/qcow2ctl/entry.sh sleep 100 &
other=$!
until ! flock -n /usr/lib/qcow2ctl/entry.sh true; do sleep 0.1; done
want "somebody holds a file of ours" timeout 20 mount -t qcow2 whole.qcow2 mnt
umount mnt
gone whole
! setpriv --reuid=65534 --regid=65534 --clear-groups flock -n /run/qcow2ctl true 2>/dev/null || fail "everybody can hold the folder"
{ kill $other && wait $other; } || true
ok "nobody but root can hold it up"

# While the helper mounts: the file system is frozen in a fifo of a program that it calls.
mkfifo wait
cat >mount <<END
#!/bin/bash
read -r _ <$PWD/wait
END
chmod +x mount
PATH=$PWD:$PATH /usr/sbin/mount.qcow2 "$PWD/guest.qcow2" mnt -o partition=1 &
helper=$!
for ((tries = 0; tries < 100; tries++)); do
	pgrep -f "^/bin/bash $PWD/mount" >pid && break
	sleep 0.1
done
want "the helper does not mount" [ -s pid ]
[[ $(dmsetup info guest) == *"DEFERRED REMOVE"* ]] || fail "it is not marked for removal"
kill -9 $helper "$(<pid)"
wait $helper && fail "it was not killed"
gone guestp1 guest
clean guest.qcow2
ok "a KILL while it mounts leaves nothing"
