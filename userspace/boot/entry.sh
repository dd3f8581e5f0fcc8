# SPDX-License-Identifier: GPL-2.0-only
# Copyright (C) 2026 The dm-qcow2 authors
# shellcheck shell=sh
#
# Lines of qcow2tab, and options of qcow2tab and of mount, as words for qcow2ctl. To be sourced; for dash and busybox.
#
# Words are kept in a text, one a line: control characters are refused.
#
# shellcheck disable=SC2034	# what it sets is for those who source it

QCOW2TAB=${QCOW2TAB:-/etc/qcow2tab}
NEWLINE='
'
BLANKS=' 	'

# reset_words: forget what add_option has collected.
reset_words() { WORDS='' PATHS='' READONLY='' BAD='' UNDER=''; }

add_word() { WORDS="$WORDS${WORDS:+$NEWLINE}$1"; }

# A file that the device needs.
add_path() { PATHS="$PATHS${PATHS:+$NEWLINE}$UNDER$1"; }

# unescape TEXT: sets TEXT, with \040 as in fstab for what cannot stand there.
unescape() {
	TEXT=
	rest=$1
	while :; do
		case $rest in
		*\\[0-7][0-7][0-7]*) ;;
		*) break ;;
		esac
		head=${rest%%\\[0-7][0-7][0-7]*}
		rest=${rest#"$head"\\}
		tail=${rest#???}
		char=$(printf %b. "\\0${rest%"$tail"}")
		TEXT=$TEXT$head${char%.}
		rest=$tail
	done
	TEXT=$TEXT$rest
}

has_control() { [ "$1" != "${1#*[[:cntrl:]]}" ]; }

# next_option: take the first off the list OPTIONS; false at its end, or with BAD. Sets OPTION and VALUE.
next_option() {
	while :; do
		[ -n "$OPTIONS" ] || return 1
		OPTIONS=$OPTIONS,
		OPTION=${OPTIONS%%,*}
		OPTIONS=${OPTIONS#*,}
		OPTIONS=${OPTIONS%,}
		[ -z "$OPTION" ] || break
	done
	unescape "$OPTION"
	OPTION=$TEXT
	VALUE=${OPTION#*=}
	! has_control "$OPTION" || { BAD="a control character"; return 1; }
}

# add_option: if OPTION is one of attach, add its words. Sets BAD to what is wrong with it.
add_option() {
	case $OPTION in
	read-only | readonly | ro)
		READONLY=yes
		add_word --read-only
		;;
	backing=qcow2:?* | backing=raw:?*)
		add_word --backing
		add_word "$UNDER${VALUE#*:},format=${VALUE%%:*}"
		add_path "${VALUE#*:}"
		;;
	backing=*) BAD="$OPTION: not backing=qcow2:PATH or backing=raw:PATH" ;;
	data-file=?*)
		add_word "--data-file=$UNDER$VALUE"
		add_path "$VALUE"
		;;
	discard=pass | discard=keep) add_word "--$OPTION" ;;
	allow-under=?*) add_word "--allow-under=$UNDER$VALUE" ;;
	chain=?* | snapshot=?* | cache=?* | low-water=?* | when-full=?* | full-timeout=?* | commit-ms=?*)
		add_word "--$OPTION"
		;;
	drop-bitmaps | repair) add_word "--$OPTION" ;;
	format=qcow2) ;;
	format=*) BAD="$OPTION: an image is always qcow2" ;;
	*) return 1 ;;
	esac
}

is_name() {
	case $1 in
	'' | . | .. | -* | *[!A-Za-z0-9:_.-]*) return 1 ;;
	esac
}

is_number() {
	case $1 in
	'' | *[!0-9]*) return 1 ;;
	esac
}

# read_line LINE: sets NAME, IMAGE and what follows from the options; BAD if it is no good line. False if it is none.
read_line() {
	reset_words
	NOFAIL='' NOAUTO='' NETDEV='' INITRD='' TIMEOUT='' HOST=''
	IFS=$BLANKS read -r NAME IMAGE NONE OPTIONS more <<END
$1
END
	case $NAME in
	'' | '#'*) return 1 ;;
	esac
	unescape "$IMAGE"
	IMAGE=$TEXT
	if has_control "$NAME"; then
		BAD="a control character"
	elif ! is_name "$NAME"; then
		BAD="$NAME: a name has letters, digits and :_.- only"
	elif has_control "$IMAGE$NONE$more"; then
		BAD="a control character"
	elif [ "${IMAGE#/}" = "$IMAGE" ]; then
		BAD="$NAME: the image must be a path that begins with /"
	elif [ "${NONE:--}" != - ] && [ "$NONE" != none ]; then
		BAD="$NAME: the third field must be -"
	elif [ -n "$more" ]; then
		BAD="$NAME: more than four fields"
	fi
	[ "${OPTIONS:--}" != - ] || OPTIONS=
	# In the initramfs the image's file system is mounted here.
	case ,$OPTIONS in
	*,host=*) UNDER=/run/qcow2/$NAME ;;
	esac
	add_path "$IMAGE"
	while [ -z "$BAD" ] && next_option; do
		read_option
	done
	[ -z "$HOST" ] || [ -n "$INITRD" ] || BAD=${BAD:-"$NAME: host= goes with x-initrd.attach only"}
}

# One option of the fourth field.
read_option() {
	case $OPTION in
	nofail) NOFAIL=yes ;;
	fail | auto | defaults | rw | discard) ;;
	noauto) NOAUTO=yes ;;
	_netdev) NETDEV=yes ;;
	x-initrd.attach) INITRD=yes ;;
	host=/dev/?*) HOST=$VALUE ;;
	host=*) BAD="$NAME: $OPTION: not a path below /dev" ;;
	partscan) add_word --partscan ;;
	timeout=*) is_number "$VALUE" && TIMEOUT=$VALUE || BAD="$NAME: $OPTION: not a number of seconds" ;;
	*)
		if ! add_option; then
			BAD="$NAME: unknown option '$OPTION'"
		elif [ -n "$BAD" ]; then
			BAD="$NAME: $BAD"
		fi
		;;
	esac
}

# each_entry FUNCTION: call it for each line that is one, with what read_line sets, and the number of the line in NUMBER.
each_entry() {
	NUMBER=0
	while IFS= read -r line <&3 || [ -n "$line" ]; do
		NUMBER=$((NUMBER + 1))
		if read_line "$line"; then
			"$1"
		fi
	done 3<"$QCOW2TAB"
}
