#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# What mount.qcow2 refuses before it calls anything, and what it tells qcow2ctl.

# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

root=$DIR/root
DESTDIR=$root PREFIX=/opt "$TREE/scripts/install-boot" install
find "$root" -type f -exec sed -i "s|/opt/|$root/opt/|g; s|/run/qcow2ctl|$root/run|" {} +
mkdir -p "$root/opt/sbin"
# It notes its words, and attaches nothing.
cat >"$root/opt/sbin/qcow2ctl" <<END
#!/bin/bash
printf '<%s>' "\$@" >>$DIR/words
echo "qcow2ctl: no" >&2
exit 5
END
chmod +x "$root/opt/sbin/qcow2ctl"
mount=$root/usr/sbin/mount.qcow2

: >words
while IFS='|' read -r name code regex words; do
	read -ra list <<<"$words"
	run "$mount" "${list[@]}"
	told "$name" "$code" "^mount.qcow2: $regex"
done <<END
no folder|1|image and directory are needed|$DIR/a.qcow2
a partition|1|partition=two: not the number|$DIR/a.qcow2 $DIR -o ro,partition=two
a name|1|name=a/b: a name has|$DIR/a.qcow2 $DIR -o name=a/b
a loop device|1|loop: qcow2 needs no loop|$DIR/a.qcow2 $DIR -o loop
a layer|1|backing=base: not backing=qcow2:PATH|$DIR/a.qcow2 $DIR -o backing=base
a format|1|format=raw: an image is always|$DIR/a.qcow2 $DIR -o format=raw
a folder that is not there|32|/none/here: no such directory|$DIR/a.qcow2 /none/here
an option|1|unknown option|$DIR/a.qcow2 $DIR -x
a namespace|1|-N is not supported|$DIR/a.qcow2 $DIR -N 1
END
holds "nothing was called" [ ! -s words ]

# words NAME TEXT WORD...: qcow2ctl gets these words, and its refusal is ours.
words() {
	: >words
	run "$mount" "${@:3}"
	told "$1" 32 "^qcow2ctl: no$"
	holds "$1: its words" [ "$(<words)" = "$2" ]
}
words "plain" "<attach><--></img/d.qcow2><d>" /img/d.qcow2 .
words "read-only, a partition" "<attach><--read-only><--partscan><--></img/d.qcow2><d>" /img/d.qcow2 . -o ro,noatime,partition=1
words "a name" "<attach><--></img/d.qcow2><vm-1>" /img/d.qcow2 . -n -v -o rw,name=vm-1
words "layers" "<attach><--backing></b c,format=raw><--data-file=x><--></img/d.qcow2><d>" /img/d.qcow2 . -o 'backing=raw:/b\040c,data-file=x'
words "a snapshot" "<attach><--snapshot=monday><--></img/d.qcow2><d>" /img/d.qcow2 . -o snapshot=monday,discard
words "a name out of odd ones" "<attach><--></img/--b l\$.img><qcow2--b_l_.img>" '/img/--b l$.img' .
words "a name that is reserved" "<attach><--></img/x.real><x.real_>" /img/x.real .
run "$mount" /img/d.qcow2 . -f
told "a fake mount" 0 ''

# What is attached and cannot be opened is taken away again: here the node is a socket.
: >words
cat >"$root/opt/sbin/qcow2ctl" <<END
#!/bin/sh
echo "\$1 \$2" >>$DIR/words
END
sed -i "s|/dev/mapper/|$DIR/mapper/|" "$mount"
mkdir mapper
python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("mapper/d")'
run "$mount" /img/d.qcow2 .
told "a node that cannot be opened" 32 "^mount.qcow2: $DIR/mapper/d: cannot be opened\$"
holds "it is detached" [ "$(<words)" = $'attach --\ndetach d' ]
