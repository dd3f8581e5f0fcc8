# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
# shellcheck shell=bash
#
# Layers between a device and its image: put in and taken out, and what must be as before then.

# shellcheck source=tests/kselftest/dm-qcow2/disturb.sh
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/disturb.sh"

made q q.real q.frozen
WRITER=
# A writer that is still there would keep the mount.
end_writer() {
	local rc=$?
	set +e
	[ -z "$WRITER" ] || kill "$WRITER" 2>/dev/null
	cleanup "$rc"
}
trap end_writer EXIT

# remembered SIZE: mounted, and all that has to be as before is known.
remembered() {
	mounted "$1"
	NUMBER=$(number q)
	remember
}

# facts: sets FACTS to all that a layer must leave as it was. `table` and `queue/` of a device, who is
# there, what it stands on, loop devices and files.
facts() {
	local file value
	FACTS="$(dmsetup table) $(dmsetup ls) $(dmsetup deps) "$'\n'
	for file in "/sys/dev/block/$(number q)"/queue/*; do
		[ -f "$file" ] || continue
		value=
		{ read -r value <"$file"; } 2>/dev/null || true
		FACTS+="${file##*/}: $value"$'\n'
	done
	for file in /sys/block/loop*/loop/backing_file; do
		[ ! -e "$file" ] || FACTS+="$file"$'\n'
	done
	for file in "$DIR"/*.q.* /run/qcow2ctl/*.intent /var/lib/qcow2ctl/*; do
		[ ! -e "$file" ] || FACTS+="$file"$'\n'
	done
}

remember() {
	facts
	BEFORE=$FACTS
}

# A loop device goes a moment after its last user.
as_before() {
	local try
	for ((try = 0; try < 20; try++)); do
		facts
		[ "$FACTS" != "$BEFORE" ] || break
		sleep 0.1
	done
	[ "$FACTS" = "$BEFORE" ] || fail "after the layer: $(diff <(echo "$BEFORE") <(echo "$FACTS"))"
	runs q
}

# stands TARGET: the layer is there and runs, and it alone is above the image.
stands() {
	local info
	info=$(dmsetup table q)
	[[ $info == "0 "*" $1 "* ]] || fail "q is no $1: $info"
	info=$(dmsetup info q)
	[[ $info == *"State: "*ACTIVE* && $info != *INACTIVE* ]] || fail "q: $info"
	is q.real claim active
	[ ! -e /run/qcow2ctl/q.intent ] || fail "an intent is left"
	[ ! -e /dev/mapper/q.real ] || fail "q.real has a node"
}

# inserted TARGET: by the last command.
inserted() {
	[[ $OUT =~ paused\ q\ for\ [0-9]+\.[0-9]\ ms ]] || fail "no pause: $OUT"
	stands "$1"
}

# put_in TARGET LAYER [OPTION...]
put_in() {
	local target=$1
	shift
	does interpose q "$@"
	inserted "$target"
}

taken_out() {
	pauses interpose q --remove
	as_before
}

# over: the writer has seen nothing of it, the image is clean.
over() {
	stop_writer
	umount /mnt/guest
	want "fsck" e2fsck -fn /dev/mapper/q >/dev/null 2>&1
	detach q
	clean a.qcow2
}
