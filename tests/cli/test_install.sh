#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# What make install places, and that make uninstall leaves nothing of it.

# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

ko=$(compgen -G "$TREE/build/*/dm-qcow2.ko" | head -n 1)
if [ -z "$ko" ]; then
	ok "install # SKIP no module is built"
	exit
fi
mkdir -p tree/kernel
cp -r "$TREE/scripts" "$TREE/Makefile" tree/
cp -r "$TREE/userspace" tree/
cp "$ko" tree/kernel/
unit=root/opt/lib/systemd/system/qcow2ctl-recover.service
holds "install" make -s -C tree install DESTDIR="$PWD/root" PREFIX=/opt
holds "the tool" root/opt/sbin/qcow2ctl version
holds "the man page" cmp root/opt/share/man/man8/qcow2ctl.8 "$TREE/userspace/man/qcow2ctl.8"
holds "the module" grep -q . root/lib/modules/*/updates/dm-qcow2.ko
holds "the unit" grep -qx "ExecStart=/opt/sbin/qcow2ctl recover" $unit
holds "the unit runs at boot" cmp $unit "${unit%/*}/multi-user.target.wants/${unit##*/}"
if command -v systemd-analyze >/dev/null; then
	sed -i "s|/opt/sbin|$PWD/root&|" $unit
	chmod 755 .
	holds "systemd takes the unit" systemd-analyze verify --man=no "$unit"
	holds "and has nothing to say" [ -z "$(systemd-analyze verify --man=no "$unit" 2>&1)" ]
fi
holds "uninstall" make -s -C tree uninstall DESTDIR="$PWD/root" PREFIX=/opt
holds "nothing is left" [ -z "$(find root ! -type d)" ]
