#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Edits of an image on a block device, which ends somewhere; several edits at once.

# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/../cli/lib.sh"
alone

io() { qemu-io -f qcow2 "$@" >/dev/null; }
clean() { holds "$1: clean" qemu-img check -q -f qcow2 "$2"; }

truncate -s 3M disk
loop=$(losetup -f --show disk 2>/dev/null) || loop=
if [ -n "$loop" ]; then
	trap 'losetup -d "$loop"; finish' EXIT
	succeeds "device: create" "^$" create "$loop" 8M
	io -c "write -P 1 0 1M" "$loop"
	succeeds "device: snapshot" "^$" snapshot create "$loop" one
	clean "device: snapshot" "$loop"
	succeeds "device: grow" "^$" resize "$loop" +1M
	io -c "write -P 2 0 512k" "$loop"
	succeeds "device: apply" "^$" snapshot apply "$loop" one
	holds "device: applied" qemu-io -f qcow2 -c "read -P 1 0 1M" "$loop"
	succeeds "device: delete" "^$" snapshot delete "$loop" one
	clean "device: delete" "$loop"
	io -c "write -P 3 1M 1M" "$loop"
	# As much as there is: what an edit needs for its new tables is missing then.
	for at in {32..80}; do
		io -c "write -P 4 $((at * 64))k 64k" "$loop" 2>&1 || break
	done
	before=$(qemu-img convert -f qcow2 -O raw "$loop" content; md5sum <content)
	fails 8 "device: full" "no 1 adjoining clusters are free" snapshot create "$loop" two
	holds "device: full: as it was" [ "$before" = "$(qemu-img convert -f qcow2 -O raw "$loop" content; md5sum <content)" ]
	clean "device: full" "$loop"
	coproc holder { exec python3 -c 'import os, sys
os.open(sys.argv[1], os.O_RDWR | os.O_EXCL)
print("held", flush=True)
sys.stdin.read()' "$loop"; }
	# shellcheck disable=SC2154 # coproc
	read -r _ <&"${holder[0]}"
	fails 5 "device: taken by somebody" "busy" snapshot create "$loop" three
	# shellcheck disable=SC2154 # coproc
	pid=$holder_PID
	eval "exec ${holder[1]}>&-"
	wait "$pid"
else
	ok "device # SKIP no loop device"
fi

# One of two gets the image, and the other says so.
"$Q" create image 64M
io -c "write -P 1 0 8M" image
done=0
for round in {1..12}; do
	for n in a b c; do
		"$Q" snapshot create ./image "$n$round" 2>"said.$n" &
		eval "pid_$n=$!"
	done
	for n in a b c; do
		pid=pid_$n
		wait "${!pid}"
		case $? in
		0) done=$((done + 1)) ;;
		5) grep -q "another edit of the image is under way" "said.$n" || notok "two edits" "$(cat "said.$n")" ;;
		*) notok "two edits" "$(cat "said.$n")" ;;
		esac
	done
done
holds "edits at once: one of them is done" [ "$done" -ge 12 ]
holds "edits at once: as many snapshots" [ "$("$Q" snapshot list ./image | wc -l)" = $((done + 1)) ]
clean "edits at once" image
