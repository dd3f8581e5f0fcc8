#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Views and edits of the image: what only adds goes on beside them, what frees is refused, and a
# snapshot that is taken away nevertheless makes its view stale and no other.
# timeout=200
# shellcheck source=tests/kselftest/dm-qcow2/edit.sh
# series=6.1
. "$(dirname "$0")/edit.sh"

# shown NAME RAW
shown() {
	blockdev --flushbufs "/dev/mapper/$1"
	want "$1 does not show $2" cmp "/dev/mapper/$1" "$2"
}

scratch ext4
create a.qcow2 16M
io a.qcow2 'write -P 1 0 6M'
qemu-img snapshot -c s1 a.qcow2
cp --sparse=always a.qcow2 one.qcow2
qemu-img convert -O raw one.qcow2 s1.raw
io a.qcow2 'write -P 2 3M 6M'
does attach a.qcow2 q
does attach --snapshot s1 a.qcow2 v
DEVICES+=(q v)
is v view 1
does status v
[[ $OUT =~ view:?\ +1 ]] || fail "status: $OUT"
does list --json
[[ $OUT =~ \"name\":\ ?\"v\" ]] || fail "list: $OUT"
shown v s1.raw
answers 3 "there is no snapshot 's9'" attach --snapshot s9 a.qcow2 w
answers 5 "snapshot 1 is attached as v" snapshot delete q s1
answers 5 "snapshot 1 is attached as v" snapshot apply q s1
answers 5 "in use by device q" snapshot delete ./a.qcow2 s1
answers 5 "snapshot 1 is attached as v" resize --shrink q 12M
answers 5 "snapshot 1 is attached as v" repair q
answers 9 "shows snapshot 1 alone" map v
runs q
ok "attach --snapshot; delete, apply, shrink and repair are refused"

writer /dev/mapper/q
for tag in s2 s3; do
	pauses snapshot create q $tag
	shown v s1.raw
done
pauses resize q 20M
shown v s1.raw
stop_writer
# The tag of snapshot 4 is the id of s2: the id goes first.
pauses snapshot create q 2
qemu-img convert -U -l snapshot.id=2 -O raw a.qcow2 two.raw
truncate -s 16M two.raw		# it is as long as the disk is now
does attach --snapshot 2 a.qcow2 w
DEVICES+=(w)
is w view 2
is w virtual $((16 << 20))
shown w two.raw
does detach w
does attach --snapshot 4 a.qcow2 w
is w view 4
is w virtual $((20 << 20))
does detach w
ok "attach --snapshot by number"
does attach --snapshot s3 a.qcow2 w
is w view 3
is w virtual $((16 << 20))
does detach q
answers 5 "in use by device" snapshot delete ./a.qcow2 s2
answers 5 "in use by device" snapshot create ./a.qcow2 s9
does attach a.qcow2 q
shown v s1.raw
answers 5 "in use by device q|exists" attach a.qcow2 x
ok "creation and growth beside views; the writer comes and goes"

# Somebody who ignores locks deletes s2 and redates s3 while the owner is suspended.
does detach w
does attach --snapshot s2 a.qcow2 x
does attach --snapshot s3 a.qcow2 w
DEVICES+=(x)
qemu-img convert -U -l s1 -O raw a.qcow2 now.raw
event=$(dmsetup info -c --noheadings -o events w)
dmsetup suspend q
python3 - a.qcow2 <<'EOP'
import struct, sys
with open(sys.argv[1], "r+b") as file:
    at, at_of = struct.unpack(">Q", file.read(72)[64:72])[0], []
    for _ in range(3):
        file.seek(at)
        head = file.read(40)
        at_of.append(at)
        lengths = sum(struct.unpack(">HH", head[12:16])) + struct.unpack(">I", head[36:40])[0]
        at = (at + 40 + lengths + 7) // 8 * 8
    file.seek(at_of[1] + 0)
    old = struct.unpack(">Q", file.read(8))[0]
    file.seek(at_of[1])
    file.write(struct.pack(">Q", old + 65536))
    file.seek(at_of[2] + 16)
    file.write(struct.pack(">I", 1))
EOP
is w view 3
dmsetup resume q
is w view stale
is x view stale
is v view 1
[ "$(dmsetup info -c --noheadings -o events w)" -gt "$event" ] || fail "no event"
for name in w x; do
	if dd if=/dev/mapper/$name of=/dev/null bs=4k count=1 iflag=direct 2>/dev/null; then
		fail "$name: a stale view is read"
	fi
done
shown v s1.raw
device_io q 'write -P 7 0 16M' 'read -P 7 0 16M'
shown v s1.raw
is q mode rw
dmsetup suspend w
dmsetup resume w
is w view stale
dmsetup suspend v
dmsetup resume v
shown v s1.raw
ok "stale"
detach q

# What lies below a view stays as it is, though the view is all that is attached.
create base.qcow2 4M
io base.qcow2 'write -P 1 0 4M'
for image in over other; do
	create -b base.qcow2 -F qcow2 $image.qcow2
	io $image.qcow2 'write -P 2 1M 1M'
done
qemu-img snapshot -c s1 over.qcow2
qemu-img convert -l s1 -O raw over.qcow2 s1.raw
sum=$(md5sum base.qcow2 over.qcow2)
does attach --snapshot s1 --backing base.qcow2,format=qcow2 over.qcow2 y
made y
for words in "commit other.qcow2" "commit over.qcow2" "rebase --unsafe --no-backing over.qcow2" "repair ./base.qcow2" \
	"resize ./base.qcow2 8M"; do
	# shellcheck disable=SC2086 # words
	answers 5 "in use by device y" $words
done
shown y s1.raw
want "something was written below" [ "$sum" = "$(md5sum base.qcow2 over.qcow2)" ]
detach y
does commit other.qcow2
ok "what lies below a view"
