#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Each step of an edit fails in turn, or meets SIGINT: an error, nothing half done, and the device runs. Whoever reads
# what is printed goes, or is slow.
# timeout=250
# series=6.1

# shellcheck source=tests/kselftest/dm-qcow2/edit.sh
. "$(dirname "$0")/edit.sh"

scratch ext4
# A reader that goes, and one that reads when the guardian would long have lost his patience.
create -o cluster_size=512 m.img 64M
words=()
for ((at = 0; at < 500; at++)); do words+=("write -P 1 $((at << 17)) 512"); done
io m.img "${words[@]}"
attach m m.img
"$QCOW2CTL" map m 2>gone.said | head -n 1 >/dev/null || true
does map --json m
"$QCOW2CTL" map m >whole 2>said || fail "map: $(<said)"
want "a pipe holds all of it" [ "$(stat -c %s whole)" -gt 65536 ]
{ "$QCOW2CTL" map m 2>slow.said || echo "exit $?" >>slow.said; } | { sleep 40; cat >slow; } &
READER=$!
create -o cluster_size=4k a.qcow2 16M
attach q a.qcow2
want "failing steps" steps fail shrink
ok "failing shrink"
writer /dev/mapper/q
want "failing steps" steps fail grow external
ok "failing grow and external"
stop_writer
runs q
detach q
clean a.qcow2
rm -f -- *.qcow2
create -o cluster_size=4k a.qcow2 16M
attach q a.qcow2
want "SIGINT" steps int shrink
writer /dev/mapper/q
want "SIGINT" steps int external ${QCOW2_FULL:+create delete grow repair}
stop_writer
runs q
detach q
clean a.qcow2
ok "SIGINT"
wait $READER || fail "the slow reader: $?"
[[ $(<slow.said) == *paused* && $(<slow.said) != *exit* ]] || fail "a slow reader: $(<slow.said)"
want "what a slow reader gets" cmp whole slow
[[ $(<gone.said) != *killed* ]] || fail "a reader that goes: $(<gone.said)"
runs m
detach m
clean m.img
ok "readers of what is printed"
