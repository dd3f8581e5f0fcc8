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

# quiet COMMAND...: sets CALLS to the system calls in between, without those that are about it.
quiet() {
	local line call inside=
	strace -o trace -e trace=all "$QCOW2CTL" "$@" 2>/dev/null || fail "$* under strace"
	CALLS=
	while read -r line; do
		call=${line%%(*}
		if [[ $line == *DM_DEV_SUSPEND*DM_SUSPEND_FLAG* ]]; then
			[ -n "$inside" ] || { inside=yes CALLS=; }
		elif [[ $line == *DM_DEV_SUSPEND* ]]; then
			# The last resume of all ends it.
			LAST=$CALLS
		fi
		case $call in
		ioctl | geteuid | alarm | rt_sigaction | rt_sigprocmask | sendto | rt_sigreturn) ;;
		*) [ -z "$inside" ] || CALLS+="$call " ;;
		esac
	done <trace
	[ -n "$inside" ] || fail "$*: it has not suspended anything"
	[ -z "$LAST" ] || fail "$*: $LAST"
}

for layer in linear snapshot; do
	quiet interpose q $layer
	quiet interpose q --remove
	as_before
	ok "$layer"
done
detach q
clean a.qcow2
