#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# While an image is edited QEMU neither reads nor writes it, and another qcow2ctl does not either: each edit is stopped
# after its first write or that of the header, and goes on when all have been refused.

set -u
tree=$(cd "$(dirname "$0")/../.." && pwd)
tool=$tree/userspace/qcow2ctl step=$tree/build/kselftest/edit_step.so
temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
cd "$temp" || exit 1
[ -e "$step" ] || { echo "1..0 # SKIP edit_step.so is not built (make -C tests/kselftest/dm-qcow2)"; exit 4; }
failed=0
complain() { echo "$*"; failed=1; }

# meets SENTENCE COMMAND...: it must be refused by this sentence.
meets() {
	local said
	if said=$("${@:2}" 2>&1); then
		complain "$words: meanwhile succeeded: ${*:2}"
	elif [[ $said != *"$1"* ]]; then
		complain "$words: ${*:2}: $said"
	fi
}

while read -r at words; do
	rm -f ./*
	qemu-img create -q -f qcow2 base.qcow2 4M
	qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 a.qcow2
	qemu-io -c 'write -P 1 0 1M' a.qcow2 >/dev/null
	qemu-img snapshot -c s1 a.qcow2
	qemu-io -c 'write -P 2 512k 1M' a.qcow2 >/dev/null
	case $words in
	commit*) qemu-img snapshot -d s1 a.qcow2 ;;
	repair*) printf '\0\7' | dd of=a.qcow2 bs=1 seek=$((2 * 65536)) conv=notrunc status=none ;;
	esac
	# shellcheck disable=SC2086 # a list of words
	LD_PRELOAD=$step EDIT_AT=$at EDIT_DO=19 "$tool" $words >said 2>&1 &
	pid=$!
	for ((try = 0; try < 100; try++)); do
		read -r _ _ state _ <"/proc/$pid/stat" || break
		[ "$state" != T ] || break
		sleep 0.05
	done
	[ "${state:-}" = T ] || complain "$words: does not stop at: $at: $(cat said)"
	meets 'Failed to get shared "write" lock' qemu-img info a.qcow2
	meets 'Failed to get shared "write" lock' qemu-io -r -c 'read 0 4k' a.qcow2
	meets 'Failed to get "write" lock' qemu-io -c 'write 0 4k' a.qcow2
	meets 'Failed to get "write" lock' qemu-img snapshot -c s2 a.qcow2
	meets "under way: qcow2ctl (pid $pid)" "$tool" snapshot create ./a.qcow2 s2
	meets "under way: qcow2ctl (pid $pid)" "$tool" check ./a.qcow2
	kill -CONT "$pid"
	wait "$pid" || complain "$words: exit $?: $(cat said)"
	qemu-img check -q a.qcow2 || complain "$words: not clean"
done <<'EDITS'
write snapshot create ./a.qcow2 s3
write snapshot apply ./a.qcow2 s1
write snapshot delete ./a.qcow2 s1
header resize ./a.qcow2 +1M
header resize --shrink ./a.qcow2 -1M
write repair ./a.qcow2
header rebase --unsafe --no-backing ./a.qcow2
write commit ./a.qcow2
EDITS
exit $failed
