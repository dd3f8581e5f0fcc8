#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# The recipe of Documentation/containers.rst for Incus, in a machine. Debian 12 has no Incus: it is that of a Debian 13 in a folder.
# full

# shellcheck source=tests/boot/lib.sh
. "$(dirname "$0")/lib.sh"
if [ "$(id -u)" != 0 ] || ! command -v debootstrap >/dev/null; then
	echo "1..0 # SKIP needs root and debootstrap (scripts/setup package)"
	exit 4
fi
set -e
debootstrap --variant=minbase trixie "$temp/root" >"$log" 2>&1 || { tail "$log"; exit 1; }
cp /etc/resolv.conf "$temp/root/etc/"
# Nothing is started here: policy-rc.d says so.
printf '#!/bin/sh\nexit 101\n' >"$temp/root/usr/sbin/policy-rc.d"
chmod +x "$temp/root/usr/sbin/policy-rc.d"
DEBIAN_FRONTEND=noninteractive chroot "$temp/root" apt-get install -q -y --no-install-recommends incus-base incus-client \
	>"$log" 2>&1 || { tail -n 40 "$log"; exit 1; }
scripts/vm-run --kernel "${KERNEL:-6.12}" --mem 2048 --timeout 240 --env "INCUS_ROOT=$temp/root" tests/boot/incus.sh
