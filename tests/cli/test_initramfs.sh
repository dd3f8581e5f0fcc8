#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# What the hook of initramfs-tools makes of a qcow2tab; that its result boots is in tests/boot.

# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

root=$DIR/root
DESTDIR=$root PREFIX=/opt "$TREE/scripts/install-boot" install
hook=$root/usr/share/initramfs-tools/hooks/qcow2
# A kernel that has the module, and initramfs-tools.
printf '%s() { :; }\n' modinfo manual_add_modules copy_exec copy_file >functions
sed -i "s|/usr/share/initramfs-tools/hook-functions|$DIR/functions|; s|/opt/|$root/opt/|g" "$hook"
export QCOW2TAB=$DIR/qcow2tab

# packs LINE...: a qcow2tab of these, and the hook.
packs() {
	printf '%s\n' "$@" >qcow2tab
	rm -rf initramfs
	DESTDIR=$DIR/initramfs version=6.0 run "$hook"
}
mine='root /r - x-initrd.attach'
packs "data /srv/data.qcow2" "$mine"
told "a good file" 0 ''
holds "nothing is said" [ -z "$OUT$ERR" ]
holds "only what asks for it is there" diff <(echo "$mine") initramfs/etc/qcow2tab
packs "data /srv/data.qcow2 - colour=red" "$mine"
told "a wrong line of others" 0 "^W: qcow2: .*qcow2tab: line 1: data: unknown option 'colour=red'$"
holds "the next line counts" diff <(echo "$mine") initramfs/etc/qcow2tab
packs "data /srv/data.qcow2 - colour=red"
told "a wrong line, and none asks" 0 "^W: qcow2: .*qcow2tab: line 1: data: unknown option"
holds "nothing is added" absent initramfs/etc/qcow2tab
packs "$mine" "data img.qcow2 - x-initrd.attach"
told "a wrong line that asks for it" 1 "^E: qcow2: .*qcow2tab: line 2: data: the image must be a path"
