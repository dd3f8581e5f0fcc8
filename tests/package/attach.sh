#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# In the machine: the files of the package qcow2ctl, the module MODULE that DKMS has built, and the packages' own tests of both.
#
#	attach.sh QCOW2CTL.DEB MODULE

set -euo pipefail
mount --bind "$2" "$(modinfo -F filename dm-qcow2)"
dpkg -x "$1" /
[ "$(command -v qcow2ctl)" = /usr/sbin/qcow2ctl ]
read -r disk _ <<<"$VM_DISKS"
mkfs.ext4 -q "$disk"
mount "$disk" /mnt
for name in tool device; do
	mkdir /mnt/$name
	AUTOPKGTEST_TMP=/mnt/$name debian/tests/$name
done
[[ $(dmsetup ls) != *autopkgtest* ]]
rmmod dm_qcow2
