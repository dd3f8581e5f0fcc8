# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
# shellcheck shell=bash
#
# QCOW2CTL becomes the tool on a machine without qemu-utils and without the dmsetup binary: it wraps neither. The
# test itself, which asks qemu-img, has them. FOLDER is for what is built.

# without FOLDER
without() {
	local here program paths=()
	here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
	[ "$(id -u)" = 0 ] || { echo "# not root: qemu-img and dmsetup are there"; return 0; }
	for program in qemu-img qemu-io qemu-nbd qemu-storage-daemon dmsetup dmstats; do
		if program=$(readlink -f "$(command -v $program)"); then
			paths+=("$program")
		fi
	done
	${CC:-cc} -D_GNU_SOURCE -O1 -o "$1/without" "$here/without.c" || return
	"$1/without" hide "${paths[@]}" >"$1/without.pid" &
	until [ -s "$1/without.pid" ]; do
		kill -0 $! || return
		sleep 0.02
	done
	export WITHOUT_PID=$! WITHOUT_RUN
	disown $!
	for program in "${paths[@]}"; do
		if WITHOUT_STRICT=1 WITHOUT_RUN=$program "$1/without" --version >/dev/null 2>&1; then
			echo "# $program can still be run"
			return 1
		fi
	done
	WITHOUT_RUN=$(readlink -f "${QCOW2CTL:-$here/../../userspace/qcow2ctl}")
	export QCOW2CTL=$1/without
	WITHOUT_STRICT=1 "$QCOW2CTL" help >/dev/null
}
