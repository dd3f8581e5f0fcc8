# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
# shellcheck shell=bash
#
# Images on a FUSE filesystem.

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lib.sh"

# serve: the folder real is served by FUSE as served.
serve() {
	command -v bindfs >/dev/null || skip "no bindfs"
	need_module fuse
	mkdir served
	bindfs -f real served &
	SERVER=$!
	MOUNTS+=("$DIR/served")
	until mountpoint -q served; do
		kill -0 $SERVER || fail "nobody serves the folder"
		sleep 0.1
	done
}

unserve() {
	umount served
	wait "$SERVER" || true
}
