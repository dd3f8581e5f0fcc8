#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# snapshot create --external does what it says; snapshot list of what is no image; new overlays over a base that is locked.

# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/../cli/lib.sh"
alone

# An overlay shows what the image does, and the image stays as it was.
qemu-img create -q -f qcow2 default 2M
qemu-img create -q -f qcow2 -o extended_l2=on,cluster_size=128k extended 3M
qemu-img create -q -f qcow2 -o compat=0.10,cluster_size=4k v2 2097664
for base in default extended v2; do
	qemu-io -f qcow2 -c "write -P 1 0 300k" -c "write -P 2 1M 64k" -c "write -z 64k 64k" "$base" >/dev/null
	qemu-img snapshot -c snap "$base"
	cp "$base" before
	succeeds "external: $base" "^$" snapshot create --external "over-$base" "./$base"
	holds "external: $base: not a byte of it changed" cmp "$base" before
	holds "external: $base: qemu-img check of the overlay" qemu-img check -q -f qcow2 "over-$base"
	holds "external: $base: the same disk" qemu-img compare -q -f qcow2 -F qcow2 "over-$base" "$base"
	holds "external: $base: names its base" grep -qF "\"full-backing-filename\": \"$PWD/$base\"" \
		<<<"$(qemu-img info -f qcow2 --output=json "over-$base")"
	holds "external: $base: no file but the overlay" [ "$(printf '%s\n' *"$base"* | sort | xargs)" = \
		"$(printf '%s\n' "$base" "over-$base" | sort | xargs)" ]
done
qemu-io -f qcow2 -c "write -P 3 0 1M" over-default >/dev/null
holds "external: a write stays in the overlay" cmp default <(qemu-img convert -U -f qcow2 -O raw default raw; cat default)
succeeds "external: one more on top" "^$" snapshot create --external top ./over-default
holds "external: one more on top: the same disk" qemu-img compare -q -f qcow2 -F qcow2 top over-default

# Lists.
mkdir folder
: >empty
cp default private && chmod 000 private
fails 1 "list: directory" "it is a directory" snapshot list ./folder
fails 1 "list: empty file" "not a qcow2 image" snapshot list ./empty
fails 1 "list: character device" "it is a character device" snapshot list /dev/null
if [ "$(id -u)" = 0 ] && setpriv --reuid=65534 --clear-groups true 2>/dev/null; then
	chmod 755 .
	plain=$Q
	cp "${WITHOUT_RUN:-$Q}" own
	printf '#!/bin/sh\nexec setpriv --reuid=65534 --clear-groups "%s" "$@"\n' "$DIR/own" >weak
	chmod 755 weak
	Q=$DIR/weak
	fails 4 "list: unreadable file" "^qcow2ctl: ./private: cannot .*Permission denied" snapshot list ./private
	Q=$plain
else
	ok "list: unreadable file # SKIP not root"
fi

# A base that another program writes: its header is read and named, but it is not attached.
coproc holder { exec qemu-io -f qcow2 default 2>&1; }
echo "read 0 512" >&"${holder[1]}"
until read -r said <&"${holder[0]}" && [[ $said == *"read 512/512"* ]]; do :; done
succeeds "create: locked base" "^$" create --backing default,format=qcow2 created
holds "create: locked base: the disk is as large" grep -q '"virtual-size": 2097152,' \
	<<<"$(qemu-img info -U -f qcow2 --output=json created)"
fails 6 "clone: locked base" "^qcow2ctl: $PWD/default: .*locked by another process .*qemu-io .pid" \
	clone default cloned "battery-$$"
hints "clone: locked base: what helps" "end the virtual machine"
holds "clone: locked base: no overlay is left" absent cloned
fails 6 "external: locked base" "^qcow2ctl: ./default: .*locked by another process" snapshot create --external made ./default
holds "external: locked base: no overlay is left" absent made
# shellcheck disable=SC2154 # coproc
pid=$holder_PID
echo quit >&"${holder[1]}"
wait "$pid"
