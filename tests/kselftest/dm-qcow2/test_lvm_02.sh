#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# A guest has a volume group on its disk: with our rule the host's udev activates nothing of it, with the documented filter
# no command of LVM sees it; without them both happens.
#
# series=6.12

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"
[ -n "$QCOW2CTL" ] || skip "no qcow2ctl"
command -v lvm >/dev/null || skip "no lvm"
# shellcheck source=tests/kselftest/dm-qcow2/udev.sh
. "$HERE/udev.sh"
scratch ext4
# shellcheck source=tests/kselftest/dm-qcow2/boot.sh
. "$HERE/boot.sh"

# With udev, but not through it: what the guest does.
inside() { DM_DISABLE_UDEV=1 lvm "$@" --config "devices{use_devicesfile=0} activation{monitoring=0}" -qq >>lvm.log 2>&1; }
# disk NAME GROUP [PARTITION]: an image with a group, and a volume with a file system in it.
disk() {
	create "$1.qcow2" 64M
	"$QCOW2CTL" attach "$1.qcow2" "$1" >/dev/null
	if [ -n "${3:-}" ]; then
		echo 'label: gpt' | sfdisk -q --no-reread --no-tell-kernel "/dev/mapper/$1"
		echo '- 40M' | sfdisk -q --no-reread --no-tell-kernel -a "/dev/mapper/$1"
		"$QCOW2CTL" detach "$1"
		"$QCOW2CTL" attach --partscan "$1.qcow2" "$1" >/dev/null
	fi
	inside vgcreate -y "$2" "/dev/mapper/$1${3:-}"
	inside lvcreate -y -Zn -Wn -L 8M -n root "$2"
	mkfs.ext4 -qF -L inside "/dev/mapper/$2-root"
	inside vgchange -an "$2"
	"$QCOW2CTL" detach "$1"
}
disk a guesta
disk b guestb p1

trap 'rc=$?; udev_stop; rm -rf /run/lvm; uninstalled $rc' EXIT
udev_start
active() { dmsetup info -c --noheadings -o name | grep -x "guest[ab]-root"; }
# shown: has the host a name for what is in the volumes?
shown() { [ -e /dev/disk/by-label/inside ] && [[ $(blkid -c /dev/null) == *'LABEL="inside"'* ]]; }
hidden() { [ ! -e /dev/disk/by-label/inside ] && [[ $(blkid -c /dev/null) != *'LABEL="inside"'* ]]; }
# both WHAT: attach both, and wait for all that udev does then.
both() {
	"$QCOW2CTL" attach a.qcow2 a >/dev/null
	"$QCOW2CTL" attach --partscan b.qcow2 b >/dev/null
	udevadm settle
}
down() {
	local name
	for name in $(active); do
		dmsetup remove --retry "$name"
	done
	"$QCOW2CTL" detach a
	"$QCOW2CTL" detach b
	udevadm settle
	rm -rf /run/lvm
}

rule=/usr/lib/udev/rules.d/61-dm-qcow2.rules
mv $rule rule
udevadm control --reload
both
for ((try = 0; try < 50; try++)); do
	[ "$(active | wc -l)" != 2 ] || break
	sleep 0.2
done
[ $try -lt 50 ] || fail "without our rule nothing is activated, so this test tells nothing: $(active; ls -R /run/lvm; udevadm info /dev/mapper/a)"
say "activated $((try * 200)) ms after settle"
want "nor is their file system seen" shown
down
ok "without our rule the host activates what is the guest's"

mv rule $rule
udevadm control --reload
both
want "activated: $(active)" [ -z "$(active)" ]
want "the disk has its link" [ -b /dev/disk/by-id/dm-name-a ]
for node in a bp1; do
	seen=$(udevadm info -q property "/dev/mapper/$node")
	[[ $seen == *UDISKS_IGNORE=1* && $seen == *DM_UDEV_DISABLE_OTHER_RULES_FLAG=1* ]] || fail "$node: $seen"
	[[ $seen == *SYSTEMD_READY=0* ]] || fail "$node: md would assemble it: $seen"
	[[ $seen != *LVM_VG_NAME* ]] || fail "$node was scanned: $seen"
done
udevadm trigger --settle --action=change /dev/mapper/a /dev/mapper/bp1
want "activated by a later event: $(active)" [ -z "$(active)" ]
ok "with it nothing is"

# The filter as Documentation has it.
filter=$(sed -n 's/^ *\(global_filter = .*QCOW2.*\)/\1/p' "$TREE/Documentation/boot.rst" 2>/dev/null | head -n 1)
[ -n "$filter" ] || filter='global_filter = [ "r|/dev/disk/by-id/dm-uuid-(part[0-9]+-)?QCOW2-.*|" ]'
sees() { lvm "$1" --config "devices { use_devicesfile=0 $2 }" 2>&1; }
[[ $(sees pvs "") == *guesta*guestb* ]] || fail "without a filter pvs does not see them, so this test tells nothing"
for command in pvs vgs lvs; do
	[[ $(sees $command "$filter") != *guest* ]] || fail "$command sees it: $(sees $command "$filter")"
done
lvm vgchange -ay --config "devices { use_devicesfile=0 $filter }" >/dev/null 2>&1
want "vgchange -ay activated it" [ -z "$(active)" ]
want "their file system is seen" hidden
ok "pvs, vgs, lvs, vgchange and blkid"

# Who asks for it by name gets it, and holds the device.
only() { lvm vgchange "$1" --config 'devices { use_devicesfile=0 global_filter=[ "a|/dev/mapper/bp1|" ] }' guestb; }
only -ay >>lvm.log 2>&1 || fail "vgchange -ay: $(tail -n 5 lvm.log)"
rc=0
"$QCOW2CTL" detach b 2>said || rc=$?
[[ "$rc $(<said)" == "5 "*"held by device guestb-root"* ]] || fail "detach below a volume: $rc $(<said)"
only -an >>lvm.log 2>&1 || fail "vgchange -an: $(tail -n 5 lvm.log)"
ok "a volume of the guest's that is active is named by detach"

# What has a file system is the host's if it likes.
"$QCOW2CTL" detach a
mv a.qcow2 old.qcow2
create a.qcow2 64M
"$QCOW2CTL" attach a.qcow2 a >/dev/null
mkfs.ext4 -qF -L mine /dev/mapper/a
udevadm settle
[ -b /dev/disk/by-label/mine ] || fail "a file system has no link by its label"
seen=$(udevadm info -q property /dev/mapper/a)
[[ $seen != *DM_UDEV_DISABLE_OTHER_RULES_FLAG=1* ]] || fail "a file system is hidden: $seen"
down
clean b.qcow2
ok "a file system is not hidden"

mkdir m
want "mount" mount -t qcow2 a.qcow2 m
[ "$(findmnt -no SOURCE m)" = /dev/mapper/a ] || fail "mounted: $(findmnt -no SOURCE m)"
umount m
gone a
udevadm settle
want "a node is left" [ ! -e /dev/mapper/a ]
ok "umount takes the device away"
