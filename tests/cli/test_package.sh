#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# What of the packages needs no fresh system: versions agree, the archive is complete, and what is said where headers or
# the key of Secure Boot are missing. tests/package builds and installs them.

# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

version=$(sed -n 's/^VERSION := //p' "$TREE/Makefile")
holds "the changelog has the Makefile's version" grep -q "^dm-qcow2 ($version-" "$TREE/debian/changelog"

# locked COMMAND...: with the index of the tree locked, if nobody has done that already.
locked() {
	local lock rc
	lock=$(git -C "$TREE" rev-parse --absolute-git-dir)/index.lock
	(set -C; : >"$lock") 2>/dev/null || lock=
	"$@"
	rc=$?
	[ -z "$lock" ] || rm "$lock"
	return $rc
}

if git -C "$TREE" rev-parse 2>/dev/null; then
	holds "dist, for packages, while another git is at work" locked "$TREE/scripts/dist" tree "$DIR/dist"
	dist=$DIR/dist/dm-qcow2-$version
	holds "the archive has every file that git has" [ -z "$(diff <(git -C "$TREE" ls-files ':!debian' | sort) \
		<(tar -tf "$dist/../dm-qcow2_$version.orig.tar.xz" | grep -v '/$' | cut -d / -f 2- | sort) 2>&1 | head -n 5)" ]
	holds "which lies beside it" [ -x "$dist/debian/rules" ]
	holds "another version" env VERSION=9.9.9 "$TREE/scripts/dist" tree "$DIR/dist"
	holds "is in the Makefile" grep -q '^VERSION := 9.9.9$' "$DIR/dist/dm-qcow2-9.9.9/Makefile"
	holds "and in the changelog" grep -q '^dm-qcow2 (9.9.9-1)' "$DIR/dist/dm-qcow2-9.9.9/debian/changelog"
fi

# advises NAME CODE REGEX: of the system in root.
advises() {
	OUT='' ERR=$("$TREE/scripts/dkms-advice" "$DIR/root" 2>&1)
	RC=$?
	if [ $RC = "$2" ] && matches "$3" "$ERR"; then ok "$1"; else notok "$1" "wanted exit $2 and '$3'"; fi
}
secure=root/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c
mkdir -p root/lib/modules root/etc/dkms/framework.conf.d root/var/lib/dkms bin "${secure%/*}"
PATH=$DIR/bin:$PATH
advises "no headers and no kernel" 1 "no kernel headers are installed"
mkdir -p root/lib/modules/6.1.0-9-amd64/kernel
advises "a kernel without headers" 1 "apt-get install linux-headers-6.1.0-9-amd64"
mkdir -p root/lib/modules/6.1.0-9-amd64/build
touch root/lib/modules/6.1.0-9-amd64/build/Makefile
advises "nothing is missing" 0 '^$'
mkdir -p root/lib/modules/6.12.1-amd64/kernel
advises "one of two" 1 "6.12.1-amd64 has no headers"
holds "not the other" lacks "$ERR" 6.1.0-9
rm -r root/lib/modules/6.12.1-amd64
printf '\6\0\0\0\0' >$secure
advises "Secure Boot is off" 0 '^$'
printf '\6\0\0\0\1' >$secure
advises "Secure Boot without a key" 1 "there is no key .*/var/lib/dkms/mok.pub"
holds "how to make one" grep -q "dkms generate_mok" <<<"$ERR"
touch root/var/lib/dkms/mok.pub
# It answers one question only.
# shellcheck disable=SC2016
printf '#!/bin/sh\n[ "$1" = --test-key ] && [ -e "$2" ] && echo "$2 is %s"\n' "not enrolled" >bin/mokutil
chmod +x bin/mokutil
advises "a key that is not enrolled" 1 "the kernel may refuse the module"
holds "how to enrol it" grep -q "mokutil --import /var/lib/dkms/mok.pub" <<<"$ERR"
sed -i 's/is not enrolled/is already enrolled/' bin/mokutil
advises "a key that is enrolled" 0 '^$'
echo 'mok_certificate="/root/own.der"' >root/etc/dkms/framework.conf.d/own.conf
advises "another key, and it is missing" 1 "no key ./root/own.der"
