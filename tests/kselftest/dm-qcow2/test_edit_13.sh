#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# A snapshot of an attached image with 100 GiB, all allocated: the pause is at most what qemu-img needs for its whole
# snapshot of the same image on the same machine.
# series=6.12

# shellcheck source=tests/kselftest/dm-qcow2/edit.sh
. "$(dirname "$0")/edit.sh"

[ -f "$TREE/tests/check/big.py" ] || skip "no tests/check/big.py"
scratch ext4
python3 "$TREE/tests/check/big.py" a.qcow2 100
cp --sparse=always a.qcow2 b.qcow2
attach q a.qcow2
ours=() theirs=()
for nr in 1 2; do
	pauses snapshot create q "s$nr"
	[[ $OUT =~ for\ ([0-9]+)\. ]]
	ours+=("${BASH_REMATCH[1]}")
	start=${EPOCHREALTIME/./}
	qemu-img snapshot -c "s$nr" b.qcow2
	theirs+=($(((${EPOCHREALTIME/./} - start) / 1000)))
done
say "pauses of ${ours[*]} ms, qemu-img needs ${theirs[*]} ms"
# Other work on the machine disturbs now and then.
least() { printf '%s\n' "$@" | sort -n | head -n 1; }
want "the pause is longer" [ "$(least "${ours[@]}")" -le "$(least "${theirs[@]}")" ]
ok "the pause"
detach q
clean a.qcow2
