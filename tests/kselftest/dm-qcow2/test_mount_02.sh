#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# A snapshot of a device with partitions in use warns; mount -t qcow2 that is ended, alone or with all that it runs, between its attach and the mark that takes the device away with its last user.
#
# series=6.1

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"
[ -n "$QCOW2CTL" ] || skip "no qcow2ctl"
scratch ext4
# shellcheck source=tests/kselftest/dm-qcow2/boot.sh
. "$HERE/boot.sh"

create guest.qcow2 64M
"$QCOW2CTL" attach guest.qcow2 g >/dev/null
printf 'label: gpt\n- 24M\n' | sfdisk -q --no-reread --no-tell-kernel /dev/mapper/g
"$QCOW2CTL" detach g
"$QCOW2CTL" attach --partscan guest.qcow2 g >/dev/null
mkfs.ext4 -qF /dev/mapper/gp1
mkdir mnt

# A snapshot freezes what is on the device itself.
warns() { "$QCOW2CTL" snapshot create g "$@" 2>out && grep -q "^qcow2ctl: gp1: warning: .* is not frozen" out; }
mount /dev/mapper/gp1 mnt
warns s1 || fail "a mounted partition: $(<out)"
! warns s2 --nolockfs || fail "asked for: $(<out)"
warns --external over.qcow2 || fail "an overlay: $(<out)"
need_module dm-snapshot
"$QCOW2CTL" interpose g snapshot 2>out
grep -q "gp1: .* is not frozen" out || fail "layer snapshot: $(<out)"
"$QCOW2CTL" interpose g --remove 2>out
umount mnt
! warns s3 || fail "nothing is mounted: $(<out)"
"$QCOW2CTL" detach g
ok "a snapshot of partitions"

# Its attach ends late.
ln -sf "$PWD/late" /usr/sbin/qcow2ctl
cat >late <<END
#!/bin/sh
$QCOW2CTL "\$@" || exit
[ "\$1" != attach ] || { >late.attached; sleep 1; }
END
chmod +x late
# early SIGNAL [OPTIONS]: what the helper gets then; sets RC. Of -SIGNAL the whole group gets it, as by Ctrl-C.
early() {
	local group=()
	[ "${1#-}" = "$1" ] || group=(setsid)
	rm -f late.attached
	"${group[@]}" /usr/sbin/mount.qcow2 "$PWD/guest.qcow2" mnt -o "partition=1${2:-}" &
	helper=$!
	until [ -e late.attached ]; do sleep 0.1; done
	kill -"${1#-}" -- "${group:+-}$helper"
	RC=0
	wait $helper || RC=$?
}
for to in TERM -TERM; do
	for options in "" ,ro; do
		early $to $options
		want "$to$options: exit $RC of who was ended" [ $RC = 8 ]
		gone guestp1 guest
	done
done
early KILL
rc=0
mount -t qcow2 -o partition=1 guest.qcow2 mnt 2>out || rc=$?
[[ "$rc $(<out)" == "32 "*"in use by device guest "* ]] || fail "exit $rc: $(<out)"
[[ $(qcow2ctl list) == *guest* ]] || fail "nobody sees what is left: $(qcow2ctl list)"
# As long as what it has run goes on.
while pgrep -f "^/bin/sh .*qcow2ctl attach" >/dev/null; do
	"$QCOW2CTL" recover 2>out
	want "recover waits for that: $(<out)" dmsetup info guest >/dev/null
	sleep 0.1
done
"$QCOW2CTL" recover 2>out
want "it is said: $(<out)" grep -q "guest: detached what a mount that was killed had left" out
gone guestp1 guest
want "nothing is left of it" [ -z "$(ls -A /run/qcow2ctl)" ]
early KILL
until ! pgrep -f "^/bin/sh .*qcow2ctl attach" >/dev/null; do sleep 0.1; done
want "recover of the name" "$QCOW2CTL" recover guest
gone guestp1 guest
early KILL
want "it can be detached" "$QCOW2CTL" detach guest
want "attached by itself" "$QCOW2CTL" attach guest.qcow2 guest >/dev/null
want "and stays then" "$QCOW2CTL" recover
want "and stays then" "$QCOW2CTL" detach guest
want "and mounted" mount -t qcow2 -o partition=1 guest.qcow2 mnt
umount mnt
gone guestp1 guest
ok "TERM before the mark leaves nothing, also when all get it, KILL what list shows and recover takes away"
