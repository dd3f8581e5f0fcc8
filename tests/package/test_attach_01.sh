#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# The Debian packages, built here: DKMS builds the module of the one (with QCOW2_FULL=1 for 6.1, too), and in a machine that and the
# tool of the other attach an image. Nothing is installed; debian.sh does that, on fresh systems.

set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
cache=${DM_QCOW2_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/dm-qcow2}
version=$(sed -n 's/^VERSION := //p' Makefile)
for program in dh_dkms dkms; do
	command -v $program >/dev/null || { echo "1..0 # SKIP no $program"; exit 4; }
done
temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
N=0
# holds NAME COMMAND...: nothing makes sense after a failure.
holds() {
	local name=$1
	shift
	N=$((N + 1))
	if "$@" >"$temp/log" 2>&1; then
		echo "ok $N $name"
		return
	fi
	echo "not ok $N $name"
	tail -n 60 "$temp/log" | sed 's/^/# /'
	echo "1..$N"
	exit 1
}
packages() { scripts/dist tree "$temp" && (cd "$temp/dm-qcow2-$version" && dpkg-buildpackage -b -us -uc); }
holds "packages are built" packages
dpkg -x "$temp/dm-qcow2-dkms_$version-1_all.deb" "$temp/root"

# module SERIES: by DKMS, with trees of its own.
module() {
	local release
	release=$(<"$cache/kernels/$1/release")
	mkdir -p "$temp/dkms"
	dkms build -m dm-qcow2 -v "$version" -k "$release" --kernelsourcedir "$cache/kernels/$1/kdir" \
		--dkmstree "$temp/dkms" --sourcetree "$temp/root/usr/src" || { cat "$temp"/dkms/dm-qcow2/*/build/make.log; return 1; }
	ls "$temp/dkms/dm-qcow2/$version/$release"/*/module/dm-qcow2.ko*
}
for series in ${QCOW2_FULL:+6.1} 6.12; do
	holds "DKMS builds the module for $series" module "$series"
done
module=$(tail -n 1 "$temp/log")
[[ $module != *.xz ]] || { unxz "$module" && module=${module%.xz}; }
[[ $module != *.zst ]] || { unzstd -q "$module" && module=${module%.zst}; }
attach() { scripts/vm-run --kernel 6.12 --mem 1024 --no-module tests/package/attach.sh "$1" "$module"; }
holds "they attach an image" attach "$temp"/qcow2ctl_"$version"-1_*.deb
echo "1..$N"
