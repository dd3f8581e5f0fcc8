# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
# shellcheck shell=bash
#
# What the kernel's tracepoints tell.
#
# Only what is asked for is switched, not the scheduler's tracepoints, which record the names of processes: a line of
# the trace has the pid alone.

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
[ -n "${KTAP_N:-}" ] || . "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lib.sh"

TRACING=/sys/kernel/tracing

# trace GROUP/EVENT...: trace these from now on.
trace() {
	local event
	mountpoint -q "$TRACING" || mount -t tracefs tracefs "$TRACING"
	echo 0 >"$TRACING/options/record-cmd"
	for event; do
		echo 1 >"$TRACING/events/$event/enable"
	done
}

trace_forget() { echo >"$TRACING/trace"; }

# traced PATTERN: is there a line with it?
traced() { grep -qE -- "$1" "$TRACING/trace"; }

# untrace GROUP/EVENT...
untrace() {
	local event
	for event; do
		echo 0 >"$TRACING/events/$event/enable"
	done
}
