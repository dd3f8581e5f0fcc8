#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# In a machine that counts instructions: what a layer costs when it comes and goes, and what is left of that.

# shellcheck source=tests/kselftest/dm-qcow2/interpose.sh
. "$(dirname "$(readlink -f "$0")")/../kselftest/dm-qcow2/interpose.sh"

SWAP=$1
ROUNDS=5
made l l.real
scratch ext4
ramdisk 1 64
sectors=65536
create -o preallocation=metadata a.qcow2 $((sectors * 512))
attach q a.qcow2
dd if=/dev/urandom of=/dev/mapper/q bs=1M count=$((sectors / 2048)) oflag=direct status=none

# bare ROUND: the same with dm-linear alone; adds to INSERTS and REMOVES.
bare() {
	local line="0 $sectors linear /dev/ram1 0" us
	dmsetup create l.real --notable
	dmsetup load l.real --table "$line"
	dmsetup load l --table "0 $sectors linear $(number l.real) 0"
	us=$("$SWAP" insert l l.real)
	INSERTS+="$us "
	dmsetup load l --table "$line"
	us=$("$SWAP" remove l l.real)
	REMOVES+="$us "
	dmsetup remove l.real
}

# ours: a layer of q; adds to TOOK_IN and TOOK_OUT.
ours() {
	does interpose q linear
	TOOK_IN+="$(paused) "
	does interpose q --remove
	TOOK_OUT+="$(paused) "
}

paused() {
	[[ $OUT =~ paused\ q\ for\ ([0-9]+)\.([0-9])\ ms ]] || fail "no pause: $OUT"
	echo $((BASH_REMATCH[1] * 1000 + BASH_REMATCH[2] * 100))
}

# median NUMBER...
median() { printf '%s\n' "$@" | sort -n | sed -n "$((($# + 1) / 2))p"; }

dmsetup create l --table "0 $sectors linear /dev/ram1 0"
INSERTS='' REMOVES='' TOOK_IN='' TOOK_OUT=''
# What is read the first time is read from the host.
ours
bare
INSERTS='' REMOVES='' TOOK_IN='' TOOK_OUT=''
before=$("$SWAP" io /dev/mapper/q 400)
for ((round = 0; round < ROUNDS; round++)); do
	bare
	ours
done
after=$("$SWAP" io /dev/mapper/q 400)
say "us, dm-linear alone: in $INSERTS, out $REMOVES; qcow2: in $TOOK_IN, out $TOOK_OUT"
say "ns for a read and a write: before $before, after $after"
for what in INSERTS:TOOK_IN REMOVES:TOOK_OUT; do
	one=${what%:*} other=${what#*:}
	# shellcheck disable=SC2086
	one=$(median ${!one}) other=$(median ${!other})
	[ "$other" -le $((3 * one)) ] || fail "$what: a pause of $other us, and $one us with dm-linear alone"
done
ok "a pause is at most three times that of dm-linear alone"

read -ra before <<<"$before"
read -ra after <<<"$after"
for at in 0 1; do
	difference=$((after[at] - before[at]))
	[ $((${difference#-} * 100)) -le "${before[at]}" ] ||
		fail "of read and write number $at: ${before[at]} ns before, ${after[at]} ns after"
done
ok "instructions of a request are as before when the layer is gone"
detach q
clean a.qcow2
