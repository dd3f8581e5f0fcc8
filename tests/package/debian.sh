#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# The Debian packages on a fresh system of one release, in a folder: built there, lintian has nothing to say, installed
# before and after the kernel's headers, tried by autopkgtest, upgraded, purged; then the same by make install with DKMS
# and without, and make demo.
#
#	debian.sh bookworm|trixie
#
# The module is built for the kernel whose headers that release has, not loaded. The fresh system comes from debootstrap
# and is kept in the cache. Needs root, and the servers of Debian.

# shellcheck disable=SC2317	# holds calls them

set -uo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.." || exit 1
suite=$1
cache=${DM_QCOW2_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/dm-qcow2}
own=$(sed -n 's/^VERSION := //p' Makefile)
next=${own%.*}.$((${own##*.} + 1))
N=0 FAILED=0

echo "KTAP version 1"
if [ "$(id -u)" != 0 ] || ! command -v debootstrap >/dev/null; then
	echo "ok 1 packages # SKIP needs root and debootstrap (scripts/setup package)"
	echo "1..1"
	exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# holds NAME COMMAND...
holds() {
	local name=$1 said
	shift
	N=$((N + 1))
	if said=$("$@" 2>&1); then
		echo "ok $N $name"
	else
		FAILED=1
		echo "not ok $N $name"
		printf '%s\n' "failed: $*" "$said" | tail -n 40 | sed 's/^/# /'
	fi
}

# within ROOT COMMAND: as if that were the system, with mounts of its own that go with it.
within() {
	# shellcheck disable=SC2016
	unshare -m -p -f --kill-child bash -c '
		mount --make-rprivate /
		mount --bind "$1" "$1"
		mount -t proc proc "$1/proc" && mount -t sysfs -o ro sys "$1/sys" && mount --rbind /dev "$1/dev"
		exec env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb LC_ALL=C.UTF-8 \
			DEBIAN_FRONTEND=noninteractive chroot "$1" bash -c "$2"' within "$work/$1" "$2" </dev/null
}

# fresh ROOT: a system as debootstrap makes it.
fresh() {
	local tar=$cache/roots/$suite.tar
	if [ ! -e "$tar" ]; then
		mkdir -p "$cache/roots"
		debootstrap --variant=minbase "$suite" "$work/new" >"$work/log" 2>&1 || { tail "$work/log"; return 1; }
		rm -f "$work"/new/var/cache/apt/archives/*.deb
		tar -cf "$tar.part" -C "$work/new" . && mv "$tar.part" "$tar"
		rm -rf "$work/new"
	fi
	mkdir "$work/$1"
	tar -xf "$tar" -C "$work/$1"
	cp /etc/resolv.conf /etc/hosts "$work/$1/etc/"
	within "$1" "apt-get update -q"
}

packages() { within "$1" "apt-get install -q -y --no-install-recommends ${*:2}"; }
build() {
	mkdir -p "$work/build/b"
	VERSION=$1 scripts/dist tree "$work/build/b" &&
		within build "cd /b/dm-qcow2-$1 && dpkg-buildpackage -us -uc && cp ../*_$1-1_*.deb /out"
}
lint() {
	within build "cd /b && lintian --allow-root --fail-on error,warning dm-qcow2_$own-1_amd64.changes" >"$work/lint" 2>&1
	local rc=$?
	cat "$work/lint"
	[ "$rc" = 0 ] && ! grep -q '^[EW]:' "$work/lint"
}
# debs VERSION: the install of both packages.
install_debs() { within user "apt-get install -q -y --no-install-recommends /out/qcow2ctl_$1-1_*.deb /out/dm-qcow2-dkms_$1-1_all.deb"; }
says() { install_debs "$own" >"$work/said" 2>&1; cat "$work/said"; grep -q "$1" "$work/said"; }
# built ROOT VERSION: DKMS says that this version, and no other, is installed for every kernel with headers.
built() {
	within "$1" "dkms status; [ \"\$(dkms status | grep -c .)\" = \"\$(ls -d /lib/modules/*/build/Makefile | wc -l)\" ] &&
		! dkms status | grep -v '^dm-qcow2/$2, .*: installed'"
}
ours() { (cd "$work/$1" && find . -path ./proc -prune -o -path ./src -prune -o -path ./out -prune -o -name '*qcow2*' -print | grep -v '^./var/log' | sort); }
left() { local list; list=$(ours "$1" | grep -vxFf "$work/$1.before"); echo "$list"; [ -z "$list" ]; }

holds "a fresh $suite" fresh build
ours build >"$work/build.before"
cp -a "$work/build" "$work/user"
cp "$work/build.before" "$work/user.before"
mkdir "$work/out" "$work/build/out" "$work/user/out"
holds "tools to build packages" packages build build-essential debhelper dh-sequence-dkms lintian pkgconf kmod \
	lib{blkid,devmapper,json-c,mount,smartcols,zstd}-dev zlib1g-dev
ours build >"$work/build.before"
holds "packages are built" build "$own"
holds "lintian has no word of error or warning" lint
holds "packages of a next version" build "$next"
cp "$work"/build/out/*.deb "$work/user/out/"

holds "without headers they are installed, and what is missing is said" says "no kernel headers are installed"
holds "and how to get it" grep -q "linux-headers-amd64" "$work/said"
holds "the tool runs" within user "qcow2ctl version"
holds "headers come later" packages user "linux-headers-amd64"
holds "then the module is built" built user "$own"
holds "autopkgtest is here" packages user "autopkgtest"
cp -r "$work/build/b/dm-qcow2-$own" "$work/user/src-$own"
holds "the packages' own tests" within user "cd /src-$own && autopkgtest --no-built-binaries . -- null; rc=\$?; [ \$rc = 0 ] || [ \$rc = 2 ]"
rm -rf "$work/user/src-$own"
holds "an upgrade" install_debs "$next"
holds "leaves one version of the module, the new one" built user "$next"
holds "and no old source" bash -c "! ls -d '$work/user/usr/src/dm-qcow2-$own' 2>/dev/null"
holds "a second install of the same" install_debs "$next"
holds "purge" within user "apt-get purge -q -y qcow2ctl dm-qcow2-dkms"
rm -rf "$work/user/out"
holds "leaves nothing" left user

# The way without packages.
holds "dkms and headers" packages build "dkms linux-headers-amd64"
holds "make install" within build "cd /b/dm-qcow2-$own && make -s tools && make -s install"
holds "builds the module by DKMS" built build "$own"
holds "and places the tool" within build "/usr/local/sbin/qcow2ctl version"
holds "make install once more" within build "cd /b/dm-qcow2-$own && make -s install"
holds "make uninstall" within build "cd /b/dm-qcow2-$own && make -s uninstall"
holds "DKMS goes" within build "apt-get purge -q -y dkms"
# shellcheck disable=SC2016
kernel='at=(/lib/modules/*/build); release=${at[0]%/build}; release=${release##*/};'
holds "make and make install without it" within build "$kernel cd /b/dm-qcow2-$own && make -s KDIR=\${at[0]} && make -s install"
holds "place the module where modprobe finds it" within build "$kernel [ \$(modprobe -S \$release -nD dm-qcow2 | grep -c dm-qcow2) = 1 ]"
holds "make uninstall after that" within build "cd /b/dm-qcow2-$own && make -s uninstall"
rm -rf "$work/build/b" "$work/build/out"
holds "leaves nothing, too" left build

# The first of the README's two commands; the other one is what runs this.
holds "another fresh $suite" fresh demo
holds "which has make" packages demo make
mkdir "$work/demo/b"
holds "the source" scripts/dist tree "$work/demo/b"
holds "make demo" within demo "cd /b/dm-qcow2-$own && make demo"
echo "1..$N"
exit $FAILED
