# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
# shellcheck shell=bash
#
# What a device and an image are asked: the status, and qemu-img and a model as oracles.

# events NAME: how many there were.
events() { dmsetup info -c --noheadings -o events "$1"; }

# field NAME KEY: of the status; mode and space are keys too.
field() {
	look "$1" "$2"
	echo "$FOUND"
}

# look NAME KEY: sets FOUND to the same, without a process more than dmsetup.
look() {
	local status
	status=$(dmsetup status "$1")
	FOUND=
	case $2 in
	mode) read -r _ _ _ _ FOUND _ <<<"$status" ;;
	space) read -r _ _ _ _ _ FOUND _ <<<"$status" ;;
	*) [[ " $status " != *" $2="* ]] || { FOUND=${status#* "$2"=}; FOUND=${FOUND%% *}; } ;;
	esac
}

# checked NAME ERRORS LEAKS: one online check, and what it finds.
checked() {
	dmsetup message "$1" 0 check
	look "$1" check
	while [[ $FOUND == running:* ]]; do
		sleep 0.05
		look "$1" check
	done
	[ "$FOUND" = "done:$2:$3" ] || fail "$1: check=$FOUND: $(dmesg | grep check: | tail -5)"
}

# is NAME KEY VALUE
is() {
	look "$1" "$2"
	[ "$FOUND" = "$3" ] || fail "$1: $2 is '$FOUND', not '$3': $(dmsetup status "$1")"
}

# soon NAME KEY VALUE: within ten seconds.
soon() {
	local at
	for ((at = 0; at < 100; at++)); do
		look "$1" "$2"
		[ "$FOUND" != "$3" ] || return 0
		sleep 0.1
	done
	is "$@"
}

# clean IMAGE [-U]: qemu-img finds neither errors nor leaks; -U looks at an image that is in use.
clean() {
	local out
	out=$(qemu-img check ${2:+"$2"} "$1" 2>&1) || fail "qemu-img check $1: $out"
}

# same IMAGE RAW: equal content by qemu-img.
same() {
	local out
	out=$(qemu-img compare -f qcow2 -F raw "$1" "$2" 2>&1) || fail "$1 and $2: $out"
}

# exercise NAME MODEL-FILE SEED OPERATIONS [blkmodel options]: random I/O on the device and the model.
exercise() {
	local name=$1 model=$2 seed=$3 operations=$4
	shift 4
	[ -n "$MODEL" ] || fail "blkmodel is not built"
	"$MODEL" "$@" -s "$seed" -n "$operations" "/dev/mapper/$name" "$model" ||
		fail "$name and its model differ"
}
