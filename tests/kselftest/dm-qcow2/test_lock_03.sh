#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# One image is one image by whatever path: hard link, symlink, bind mount, descriptor, namespace.

# shellcheck source=tests/kselftest/dm-qcow2/locks.sh
. "$(dirname "$0")/locks.sh"

SECTORS=16384
scratch ext4
create a.qcow2 8M
ln a.qcow2 hard.qcow2
ln -s a.qcow2 soft.qcow2
mkdir bound
mount --bind "$DIR" bound
MOUNTS+=("$DIR/bound")

# same PATH: refused in both roles, and the sentence names the holder.
same() {
	refused "Device or resource busy" "image is in use by device q \\($(number q)\\)" \
		dmsetup create bad --table "0 $SECTORS qcow2 1 qcow2 $1"
	refused "Device or resource busy" "image is in use by device q \\($(number q)\\)" \
		dmsetup create bad --readonly --table "0 $SECTORS qcow2 1 qcow2 $1"
	ok "$1"
}

attach q a.qcow2
same "$DIR/a.qcow2"
same "$DIR/hard.qcow2"
same "$DIR/soft.qcow2"
same "$DIR/bound/a.qcow2"
exec 9<a.qcow2
same /proc/self/fd/9
refused "Device or resource busy" "in use by device q" \
	unshare --mount --propagation private sh -c "mount -t tmpfs t /media && touch /media/f &&
		mount --bind $DIR/a.qcow2 /media/f &&
		dmsetup create bad --table '0 $SECTORS qcow2 1 qcow2 /media/f'"
ok "another mount namespace"
detach q
holds a.qcow2 ""

# The path that is printed is real and can be loaded again.
dmsetup create q --table "0 $SECTORS qcow2 1 qcow2 /proc/self/fd/9"
DEVICES+=(q)
exec 9<&-
[ "$(dmsetup table q)" = "0 $SECTORS qcow2 1 qcow2 $DIR/a.qcow2" ] || fail "printed: $(dmsetup table q)"
same "$DIR/hard.qcow2"
dmsetup table q | dmsetup load q
dmsetup resume q
is q claim active
detach q
ok "attached by a descriptor"
