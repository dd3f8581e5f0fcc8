#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# An image in a file of a full file system, with no option at all: writes wait for a minute; they go on when space was made.
# timeout=200
# series=6.12

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"

scratch ext4
# small NAME: a file system of 48 MiB at NAME, half full of something else, with an image that is larger than the rest.
small() {
	truncate -s 48M "$1.raw"
	mkfs.ext4 -q -F -m 0 "$1.raw"
	mkdir "$1"
	loop "$1.raw"
	mount "$LOOP" "$1"
	MOUNTS+=("$DIR/$1")
	head -c 16M /dev/zero >"$1/other"
	create "$1/disk.qcow2" 64M
	sync -f "$1"
}
write() { dd if="$1" of="/dev/mapper/$2" bs=64k oflag=direct status=none; }

dd if=/dev/urandom of=data bs=64k count=480 status=none
small left
small made
attach left left/disk.qcow2
attach q made/disk.qcow2
before=$(events left)
(! write data left 2>left.said) &
left=$!
soon left parked 1
start=$SECONDS
soon left space full
want "an event tells of it" [ "$(events left)" -gt "$before" ]
want "which fault it was" grep -q "^nospace@" <<<"$(field left last)"
is left mode rw
ok "a write waits, status and event tell why"

write data q &
writer=$!
soon q parked 1
soon q space full
dmsetup message q 0 retry
sleep 1
is q parked 1
is q space full
rm made/other
sync -f made
dmsetup message q 0 retry
wait $writer || fail "the parked writer got an error"
soon q space ok
is q parked 0
sync /dev/mapper/q
want "content" cmp -n $((480 << 16)) data /dev/mapper/q
detach q
clean made/disk.qcow2
ok "it goes on after space was made, and a retry"

sleep $((50 - (SECONDS - start)))
is left parked 1
want "the writer still waits" kill -0 $left
wait $left || fail "a full file system took everything"
took=$((SECONDS - start))
want "the default is a minute, not $took s" [ $took -ge 55 ]
want "the default is a minute, not $took s" [ $took -le 80 ]
want "the writer was told ENOSPC" grep -q "No space left" left.said
is left mode rw
is left parked 0
ok "nobody made space: an error after a minute"

# What has given up waits again after the next resume.
dmsetup suspend --nolockfs left
dmsetup resume left
(! write data left 2>/dev/null) &
left=$!
soon left parked 1
timeout 20 dmsetup suspend --nolockfs left || fail "suspend hangs on a parked write"
is left parked 0
is left clean yes
dmsetup resume left
wait $left || fail "the parked writer got no error"
detach left
clean left/disk.qcow2
ok "suspend with a parked write"
