#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# The tool is killed at random moments of an edit, and its guardian too: the device runs again, image
# and data are whole.
# timeout=150
# series=6.1

# shellcheck source=tests/kselftest/dm-qcow2/edit.sh
. "$(dirname "$0")/edit.sh"

scratch ext4
mounted 64M 0 -o cluster_size=4k
suspended=/sys/dev/block/$(number q)/dm/suspended
kill_at() { python3 "$HERE/edit_kill.py" "$(number q)" q "$@"; }
want "killed in a create" kill_at 16 10 "$QCOW2CTL" snapshot create q s%d
runs q
does snapshot list q
pauses snapshot create q last
want "killed in a resize" kill_at 8 10 "$QCOW2CTL" resize q +1M
runs q
pauses check q
ok "the tool is killed"

# caught OPTION...: sets TOOL to a create that has stopped while the device is suspended.
caught() {
	local try state=0
	for ((try = 0; try < 10; try++)); do
		"$QCOW2CTL" snapshot create "$@" q "more$RANDOM" 2>said &
		TOOL=$!
		until [ "$state" = 1 ] || [ ! -e "/proc/$TOOL/exe" ]; do
			read -r state <"$suspended"
		done
		kill -STOP $TOOL 2>/dev/null || true
		read -r state <"$suspended"
		[ "$state" = 0 ] || return 0
		kill -CONT $TOOL 2>/dev/null || true
		wait $TOOL || fail "an undisturbed create fails: $(cat said)"
	done
	fail "never caught it"
}

# Both at once: nobody is left to resume it but recover.
caught
read -r guardian <"/proc/$TOOL/task/$TOOL/children" || true	# the line has no end
[ -n "$guardian" ] || fail "there is no guardian"
# shellcheck disable=SC2086
kill -KILL $guardian
kill -KILL $TOOL
wait $TOOL 2>/dev/null || true
want "it runs" grep -q SUSPENDED <(dmsetup info q)
answers 5 "recover q" snapshot create q other
does recover
[[ $OUT == *"resumed q"* ]] || fail "recover: $OUT"
runs q
does recover
ok "the guardian is killed, too"

# A tool that does not get on is ended in time.
caught --timeout 2
wait $TOOL 2>/dev/null || true
for ((at = 0; at < 50; at++)); do
	grep -q "runs again" said && break
	sleep 0.1
done
grep -q "ended after 2 seconds" said || fail "it said: $(cat said)"
runs q
ok "the tool hangs"
stop_writer
umount /mnt/guest
want "fsck" e2fsck -fn /dev/mapper/q >/dev/null 2>&1
detach q
clean a.qcow2
ok "image and data"
