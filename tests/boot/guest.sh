#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# In the machine that systemd has booted: what came up, what comes later, and files that must survive the shutdown.
#
# shellcheck disable=SC2317	# check calls

set -u
PATH=$(readlink -f "$(dirname "$0")/../../userspace"):$PATH
n=0
# check NAME COMMAND...
check() {
	local name=$1 said
	shift
	n=$((n + 1))
	if said=$("$@" 2>&1); then
		echo "ok $n $name"
	else
		printf '%s\n' "not ok $n $name" "$said" | sed '2,$s/^/# /'
		bad=1
	fi
}
bad=0
is_mounted() { [ "$(findmnt -no SOURCE "/srv/$1")" = "/dev/mapper/$2" ] && touch "/srv/$1/written"; }
is_active() { [ "$(systemctl is-active "$1")" = active ] || { systemctl status --no-pager "$1"; false; }; }
lacks() { [[ $2 != *"$1"* ]] || { echo "$2"; false; }; }
has() { [[ $2 == *"$1"* ]] || { echo "$2"; false; }; }
within() {
	local seconds=$1
	shift
	until "$@" >/dev/null 2>&1; do
		sleep 1
		[ $((seconds -= 1)) -gt 0 ] || { "$@"; return; }
	done
}

for name in data over disk late; do
	check "$name is attached" is_active "qcow2-attach@$name.service"
	check "$name is mounted" within 20 is_mounted $name $name
done
check "the target" is_active qcow2setup.target
check "the late disk was late" has "boot: the slow disk comes" "$(dmesg)"
check "a line that is wrong is told" has "line 4: wrong: unknown option 'colour=red'" "$(dmesg)"
check "a line that is wrong attaches nothing" lacks wrong "$(dmsetup ls)"
check "noauto" lacks hand "$(dmsetup ls)"
check "that which never came" lacks later "$(dmsetup ls)"

dmsetup create slower --table "0 $(blockdev --getsz /dev/vdd) linear /dev/vdd 0"
check "it comes after the time was over" within 40 is_active qcow2-attach@later.service
check "and can be mounted" mount /dev/mapper/later /srv/later
touch /srv/later/written
check "by hand" systemctl start qcow2-attach@hand
check "by hand: it is read-only" [ "$(blockdev --getro /dev/mapper/hand)" = 1 ]
check "by hand: stopped" systemctl stop qcow2-attach@hand
check "by hand: it is gone" lacks hand "$(dmsetup ls)"
check "an image by fstab" mount /srv/part
check "an image by fstab: mounted" has /dev/mapper/part "$(findmnt -no SOURCE /srv/part)"
check "in use: not stopped" eval '! umount /srv/img 2>/dev/null'
check "nothing failed but what should" has "0 loaded units" "$(systemctl --failed --no-pager --plain 2>&1 | grep -v later)"
# Not synced: the shutdown has to do that.
for name in data over disk late later; do
	head -c 3000000 /dev/urandom >"/srv/$name/big"
	md5sum <"/srv/$name/big" >"/srv/$name/sum"
done
echo "1..$n"
exit $bad
