#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# To another host: a network namespace with an NBD server. That dies in the middle, and so does the tool; then it works.
# timeout=150
# series=6.12

# shellcheck source=tests/kselftest/dm-qcow2/move.sh
. "$(dirname "$0")/move.sh"

command -v nbd-client >/dev/null || skip "no nbd-client"
need_module nbd
need_module veth
need_module dm-mirror
scratch ext4
SERVER=
end_host() {
	local rc=$?
	set +e
	nbd-client -d /dev/nbd0 >/dev/null 2>&1
	[ -z "$SERVER" ] || kill "$SERVER" 2>/dev/null
	ip netns del far 2>/dev/null
	umount -R /run/netns 2>/dev/null
	(exit "$rc")
	end_writer
}
trap end_host EXIT
ip netns add far
ip link add near0 type veth peer name far0 netns far
ip addr add 10.9.0.1/24 dev near0
ip link set near0 up
ip -n far addr add 10.9.0.2/24 dev far0
ip -n far link set far0 up

# serve: a new far.img, and /dev/nbd0 is that.
serve() {
	local try
	rm -f far.img
	truncate -s 24M far.img
	# Not "ip netns exec": that would keep the mount of the guest in a namespace of its own.
	nsenter --net=/run/netns/far qemu-nbd -f raw -b 10.9.0.2 -p 10809 -t --cache=none far.img &
	SERVER=$!
	for ((try = 0; try < 100; try++)); do
		! nbd-client -timeout 5 10.9.0.2 10809 /dev/nbd0 >said 2>&1 || return 0
		sleep 0.1
	done
	fail "no NBD: $(<said)"
}

unserve() {
	nbd-client -d /dev/nbd0 >/dev/null 2>&1 || true
	kill "$SERVER" 2>/dev/null || true
	wait "$SERVER" 2>/dev/null || true
}

begun 16M
remember
serve
slowly /dev/nbd0 --bwlimit 2M
kill -KILL $SERVER
rc=0
wait "$MOVE" || rc=$?
[[ $rc = 1 && $(<said) == *"where it was to move to cannot be written"* ]] || fail "exit $rc: $(<said)"
as_before
alone
unserve
ok "the server is killed"

serve
slowly /dev/nbd0 --bwlimit 2M
kill -KILL "$MOVE"
wait "$MOVE" || true
settled
as_before
alone
want "an image is left there" [ "$(od -An -N 4 -c far.img | tr -d ' ')" != 'QFI373' ]
ok "the tool is killed"

does move q /dev/nbd0
alone
[[ $(dmsetup table q) == *" qcow2 1 qcow2 /dev/nbd0"* ]] || fail "q is elsewhere: $(dmsetup table q)"
answers 4 "stale, its disk has moved to /dev/nbd0" attach a.qcow2 other
stop_writer
umount /mnt/guest
want "fsck" e2fsck -fn /dev/mapper/q >/dev/null 2>&1
dd if=/dev/mapper/q of=model.raw bs=1M status=none
does detach q
unserve
clean far.img
same far.img model.raw
clean a.qcow2
ok "on the other host"
