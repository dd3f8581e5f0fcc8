#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Extended L2 in company: layers of both kinds, views, edits of an attached image, the online check, suspends.
# timeout=200

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"

scratch ext4
subcluster.py commands 5 40 16384 65536
head -c 300032 /dev/urandom >base.raw
create -o extended_l2=on,cluster_size=16k -b base.raw -F raw low.qcow2 800k
qemu-io -f qcow2 low.qcow2 <16384.io >/dev/null
create -o cluster_size=4k -b low.qcow2 -F qcow2 mid.qcow2 1M
qemu-io -f qcow2 -c 'write -P 7 100k 12k' -c 'write -z 300k 8k' mid.qcow2 >/dev/null
create -o extended_l2=on,cluster_size=64k -b mid.qcow2 -F qcow2 a.qcow2 $((40 * 65536 - 2560))
qemu-io -f qcow2 a.qcow2 <65536.io >/dev/null
md5sum base.raw low.qcow2 mid.qcow2 >sums
chain=(-b qcow2:mid.qcow2 -b qcow2:low.qcow2 -b raw:base.raw)
qemu-img snapshot -c one a.qcow2
qemu-img convert -f qcow2 -O raw a.qcow2 one.raw
cp one.raw model.raw
attach q a.qcow2 "${chain[@]}"
attach_ro v a.qcow2 "${chain[@]}" snapshot one
want "the view differs" cmp one.raw /dev/mapper/v
exercise q model.raw 1 60 -t 16 -m 8 &
for _ in 1 2 3; do
	dmsetup suspend q
	dmsetup resume q
done
checked q 0 0
wait $! || fail "writes beside suspends and a check"
blockdev --flushbufs /dev/mapper/v
want "the view differs after writes" cmp one.raw /dev/mapper/v
detach v
ok "layers of both kinds, a view, suspends and a check beside writes"

want "snapshot create" qcow2ctl snapshot create q two
cp model.raw two.raw
exercise q model.raw 2 60 -w -m 200
want "snapshot delete" qcow2ctl snapshot delete q one
want "resize" qcow2ctl resize q 3M
truncate -s 3M model.raw
checked q 0 0
exercise q model.raw 3 60 -w -m 200
want "check" qcow2ctl check q
SECTORS=$(($(stat -c %s two.raw) / 512)) attach_ro v a.qcow2 "${chain[@]}" snapshot two
want "the view of the second differs" cmp two.raw /dev/mapper/v
detach v
is q corruptions 0
detach q
clean a.qcow2
same a.qcow2 model.raw
want "a lower layer was written" md5sum --quiet -c sums
ok "snapshots and growth while attached"

want "snapshot apply" qcow2ctl snapshot apply ./a.qcow2 two
qemu-img convert -f qcow2 -O raw a.qcow2 now.raw
want "the applied snapshot differs" cmp now.raw two.raw
SECTORS=$(sectors a.qcow2) attach q a.qcow2 "${chain[@]}"
exercise q two.raw 4 60 -w -m 100
detach q
clean a.qcow2
same a.qcow2 two.raw
ok "written after a snapshot was applied"

SECTORS=
want "attach" qcow2ctl attach --chain=follow --allow-under "$DIR" ./a.qcow2 q
DEVICES+=(q)
want "what the tool attached differs" cmp two.raw /dev/mapper/q
exercise q two.raw 5 40 -t 16 -m 8
want "detach" qcow2ctl detach q
clean a.qcow2
same a.qcow2 two.raw
ok "attached by the tool, with the layers that the images name"
