#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Between the first suspend and the last resume the tool neither opens nor reads nor forks nor allocates.
# timeout=120
# series=6.12

# shellcheck source=tests/kselftest/dm-qcow2/interpose.sh
. "$(dirname "$0")/interpose.sh"

command -v strace >/dev/null || skip "no strace"
need_module dm-snapshot
scratch ext4
create a.qcow2 32M
attach q a.qcow2
NUMBER=$(number q)
remember

# quiet PAUSES COMMAND...: while q is suspended, so often, only what is about that is called.
quiet() {
	local pauses=$1 line call inside='' calls=''
	shift
	strace -o trace -e trace=all "$QCOW2CTL" "$@" 2>/dev/null || fail "$* under strace"
	while read -r line; do
		call=${line%%(*}
		if [[ $line == *DM_DEV_SUSPEND*'name="q"'* ]]; then
			if [[ $line == *DM_SUSPEND_FLAG* ]]; then
				pauses=$((pauses - 1)) inside=yes
			else
				inside=
			fi
		fi
		case $call in
		ioctl | geteuid | alarm | rt_sigaction | rt_sigprocmask | sendto | rt_sigreturn) ;;
		# A move says in a file that is open since before which image counts from now on.
		write | fdatasync) [[ -z $inside || $1 = move ]] || calls+="$call " ;;
		*) [ -z "$inside" ] || calls+="$call " ;;
		esac
	done <trace
	[ "$pauses" = 0 ] || fail "$*: $pauses pauses are missing"
	[ -z "$calls" ] || fail "$*: $calls"
}

for layer in linear snapshot; do
	quiet 1 interpose q $layer
	quiet 1 interpose q --remove
	as_before
	ok "$layer"
done
need_module dm-mirror
quiet 2 move q b.qcow2
runs q
ok "move"
detach q
clean a.qcow2
clean b.qcow2
