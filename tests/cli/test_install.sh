#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# What make install places, and that make uninstall leaves nothing of it. With DKMS: test_dkms.sh.

# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

ko=$(compgen -G "$TREE/build/*/dm-qcow2.ko" | head -n 1)
if [ -z "$ko" ]; then
	notok "install" "no module is built: the suite build does that, or scripts/build-matrix -s 6.12"
	exit
fi
mkdir -p tree/kernel
cp -r "$TREE/scripts" "$TREE/Makefile" tree/
cp "$TREE"/kernel/*.[ch] "$TREE/kernel/Kbuild" "$TREE/kernel/dkms.conf" tree/kernel/
rm -f tree/kernel/*.mod.c
cp -r "$TREE/userspace" tree/
cp "$ko" tree/kernel/
unit=root/opt/lib/systemd/system/qcow2ctl-recover.service
holds "install" make -s -C tree install DESTDIR="$PWD/root" PREFIX=/opt
holds "the tool" root/opt/sbin/qcow2ctl version
for page in "$TREE"/userspace/man/*; do
	holds "man page ${page##*/}" cmp "root/opt/share/man/man${page##*.}/${page##*/}" "$page"
done
holds "completion" cmp root/opt/share/bash-completion/completions/qcow2ctl "$TREE/userspace/completion/qcow2ctl"
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

# What the package for DKMS has.
holds "the source" env DESTDIR="$PWD/root" tree/scripts/install install-source
src=$(compgen -G "root/usr/src/dm-qcow2-*")
holds "is all that is built" diff <(cd tree/kernel && ls -- *.[ch] Kbuild dkms.conf) <(ls "$src")
holds "dkms.conf has the version" grep -qx "PACKAGE_VERSION=\"${src##*-}\"" "$src/dkms.conf"
