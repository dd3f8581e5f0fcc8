# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
# shellcheck shell=bash
#
# shellcheck disable=SC2154	# apt
#
# A private apt root, for packages of a release that is not this machine's. Part of kernel-fetch, which
# has say and die; $apt is the folder of the root.

# The suites that are asked for a series, and the versions that belong to it.
suites() {
	case $1:${VERSION_CODENAME:-} in
	6.1:*) echo bookworm bookworm-security ;;
	6.12:bookworm | emulator:bookworm) echo bookworm-backports ;;
	6.12:*) echo trixie trixie-security ;;
	# Kernels of backports want the libc of trixie.
	7.x:*) echo trixie-backports trixie sid ;;
	*) die "$1: not a series; known are 6.1, 6.12 and 7.x" ;;
	esac
}

# The server of one suite, from what this machine's apt is configured with.
server() {
	local label=Debian
	[[ $1 == *-security ]] && label=Debian-Security
	# shellcheck disable=SC2016
	apt-get indextargets --format '$(LABEL)|$(REPO_URI)' 'Identifier: Packages' |
		sed -n "s/^$label|//p" | head -n 1
}

# apt-get or apt-cache on the private root $apt.
private() {
	local tool=$1
	shift
	"$tool" -o Dir::Etc::sourcelist="$apt/sources.list" -o Dir::Etc::sourceparts=- \
		-o Dir::State::lists="$apt/lists" -o Dir::State::status="$apt/status" \
		-o Dir::Cache="$apt/cache" -o Acquire::Languages=none \
		-o APT::Sandbox::User=root -q "$@"
}

update() {	# the index of one suite is enough, the other may be out of date
	local suite uri
	mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
	: >"$apt/status"
	# The label of a server is known after the first update of the machine's own apt.
	[ -n "$(server sid)" ] || apt-get -q update >"$apt/log" 2>&1 || { cat "$apt/log" >&2; die "apt-get update failed"; }
	for suite in $(suites "$1"); do
		uri=$(server "$suite")
		if [ -n "$uri" ]; then
			echo "deb $uri $suite main"
		else
			say "$suite: this machine's apt has no server for it"
		fi
	done >"$apt/sources.list"
	[ -s "$apt/sources.list" ] || die "$1: no server to ask"
	private apt-get update >"$apt/log" 2>&1 || compgen -G "$apt/lists/*_Packages*" >/dev/null ||
		{ cat "$apt/log" >&2; die "$1: no index"; }
}
