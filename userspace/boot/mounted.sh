# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The dm-qcow2 authors
# shellcheck shell=sh
#
# What mount.qcow2 does about a folder on which something is mounted already: options that change, and a line of fstab
# that mount -a takes for not mounted, since it compares the image with the device. To be sourced by it alone.
#
# shellcheck disable=SC2154	# mount.qcow2 has set image, folder, partition, snapshot and options

# find_mount: sets SOURCE and MOUNTED to device and options of the topmost mount on the folder; false without one.
find_mount() {
	found=$(findmnt -nrvf -d backward -o SOURCE,OPTIONS -M "$folder") || return 1
	SOURCE=${found%% *}
	MOUNTED=${found##* }
}

# top_layer NAME: prints its path. A backslash of a table quotes the next character, as one for read does.
top_layer() {
	# shellcheck disable=SC2162
	dmsetup table --target qcow2 -- "$1" 2>/dev/null | while read _ _ _ _ _ path _; do
		printf '%s\n' "$path"
	done
}

# has_snapshot NAME: is the device a view of the one that is asked for, by id or else by tag; or of none?
has_snapshot() {
	view=$("$qcow2ctl" status -- "$1" 2>/dev/null | sed -n 's/^view: *//p')
	if [ -z "$snapshot" ]; then
		[ "$view" = - ]
		return
	fi
	"$qcow2ctl" snapshot list -- "$(readlink -f -- "$image")" 2>/dev/null | {
		wanted=
		read -r _
		while read -r id rest; do
			tag=${rest% [0-9][0-9][0-9][0-9]-*}
			tag=${tag%"${tag##*[! ]}"}
			case $snapshot in
			"$id")
				wanted=$id
				break
				;;
			"$tag") wanted=${wanted:-$id} ;;
			esac
		done
		[ "$wanted" = "$view" ]
	}
}

# Is the mount what is asked for?
is_ours() {
	holder=${SOURCE#/dev/mapper/}
	[ "$holder" != "$SOURCE" ] || return 1
	if [ -n "$partition" ]; then
		[ "$holder" != "${holder%p"$partition"}" ] || return 1
		holder=${holder%p"$partition"}
	fi
	# shellcheck disable=SC3013	# dash has it
	[ "$(top_layer "$holder")" -ef "$image" ] && has_snapshot "$holder"
}

# access OPTIONS: read-only or not.
access() {
	case ,$1, in
	*,ro,*) echo read-only ;;
	*) echo read-write ;;
	esac
}

# Ends us if nothing is to be attached.
look_at_folder() {
	case $rest_options, in
	*,remount,*)
		find_mount || die "$folder: not mounted"
		exec mount -i ${flags:+"-$flags"} -o "${rest_options#,}" "$SOURCE" "$folder"
		;;
	esac
	find_mount && is_ours || return 0
	[ "$(access "$rest_options")" = "$(access "$MOUNTED")" ] ||
		die "$image is mounted on $folder already, $(access "$MOUNTED"), not $(access "$rest_options")"
	exit 0
}
