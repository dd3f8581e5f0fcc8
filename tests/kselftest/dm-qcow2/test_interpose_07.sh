#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Between the first suspend and the last resume the tool neither opens nor reads nor forks nor allocates.
# timeout=120
# series=6.12

# shellcheck source=tests/kselftest/dm-qcow2/interpose.sh
. "$(dirname "$0")/interpose.sh"
# shellcheck source=tests/kselftest/dm-qcow2/trace.sh
. "$HERE/trace.sh"

command -v strace >/dev/null || skip "no strace"
need_module dm-snapshot
scratch ext4
create a.qcow2 32M
attach q a.qcow2
NUMBER=$(number q)
# What the user has chosen is kept, whatever a layer likes, and whether the kernel forgets or raises it.
echo 256 >"/sys/dev/block/$NUMBER/queue/read_ahead_kb"
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

# still CHANGES COMMAND...: from the first of its last CHANGES of a suspend state to the end of the last it forks
# nothing, and touches no memory that it would have to get.
still() {
	local changes=$1 pid line after=0 count=0 lines
	shift
	trace_forget
	"$QCOW2CTL" "$@" 2>/dev/null &
	pid=$!
	wait $pid || fail "$* under tracing"
	mapfile -t lines < <(grep -- "-$pid " "$TRACING/trace")
	for line in "${lines[@]}"; do
		[[ $line != *"sys_ioctl("*"cmd: c138fd06"* ]] || count=$((count + 1))
	done
	[ $count -ge "$changes" ] || fail "$*: $count changes: ${lines[*]}"
	# Before that it does both.
	[[ ${lines[*]} == *page_fault_user*sched_process_fork* ]] || fail "$*: they are not traced"
	for line in "${lines[@]}"; do
		case $line in
		*"sys_ioctl("*"cmd: c138fd06"*) count=$((count - 1)) after=0 ;;
		*"sys_ioctl -> "*) [ $count -gt 0 ] || after=1 ;;
		*page_fault_user* | *sched_process_fork*)
			[[ $count -ge $changes || $after = 1 ]] || fail "$*: $line" ;;
		esac
	done
}

layers=("linear" "snapshot" "era" "delay --ms 1" "flakey --up 60 --down 0" "mirror --to copy.raw")
for layer in "${layers[@]}"; do
	# shellcheck disable=SC2086 # words
	quiet 1 interpose q $layer
	quiet 1 interpose q --remove
	as_before
	rm -f copy.raw
	ok "${layer%% *}"
done
quiet 1 interpose q raw --table ' striped 1 {SECTORS} {DEV} 0'
quiet 1 interpose q --remove
as_before
ok "striped, which likes to read ahead"
need_module dm-mirror
quiet 2 move q b.qcow2
runs q
ok "move"

events=(syscalls/sys_enter_ioctl syscalls/sys_exit_ioctl exceptions/page_fault_user sched/sched_process_fork)
trace "${events[@]}"
# Suspended; q.real resumed; q resumed. And suspended; q.real suspended; q resumed.
for layer in "${layers[@]}"; do
	# shellcheck disable=SC2086 # words
	still 3 interpose q $layer
	still 3 interpose q --remove
	rm -f copy.raw
done
untrace "${events[@]}"
ok "memory"
detach q
clean a.qcow2
clean b.qcow2
