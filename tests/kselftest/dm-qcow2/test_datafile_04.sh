#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Image and data file on devices: data is flushed before its mapping is written, and errors stay where they are.

# shellcheck source=tests/kselftest/dm-qcow2/locks.sh
. "$(dirname "$0")/locks.sh"
# shellcheck source=tests/kselftest/dm-qcow2/trace.sh
. "$(dirname "$0")/trace.sh"

scratch ext4
# Devices that have a cache of their own: what reaches them is seen in the order in which it does.
truncate -s 32M image.disk
truncate -s 16M data.disk
loop image.disk
image=$LOOP
loop data.disk
data=$LOOP
create -o data_file="$data" "$image" 16M
attach q "$image" data_file "$data" commit_ms 60000
want "the devices below are not told" [ "$(dmsetup deps -o blkdevname q | grep -c "${image##*/}.*${data##*/}\|${data##*/}.*${image##*/}")" = 1 ]
device_io q 'write -P 1 0 4k' flush
trace block/block_bio_queue
device_io q 'write -P 7 8M 64k' flush 'write -P 8 9M 64k' flush
untrace block/block_bio_queue
cat "$TRACING/trace" >trace.log
python3 - trace.log "${image#/dev/loop}" "${data#/dev/loop}" <<'PY'
import re, sys
image, data = (f"7,{n}" for n in sys.argv[2:])
seen = []
for line in open(sys.argv[1]):
    match = re.search(r"block_bio_queue: (\d+,\d+) (\S+) ", line)
    if match and match[1] in (image, data):
        name = "data" if match[1] == data else "image"
        seen.append((name, "flush" if match[2].startswith("F") else "write" if "W" in match[2] else "other"))
seen = [step for step in seen if step[1] != "other"]
commits = 0
while ("data", "write") in seen:
    at = seen.index(("data", "write"))
    rest = seen[at + 1:]
    while rest[0] == ("data", "write"):
        rest = rest[1:]
    # The mapping is the last that is written to the image before its own flush.
    flush = rest.index(("data", "flush"))
    assert ("image", "write") in rest[flush:], rest
    mapping = flush + rest[flush:].index(("image", "write"))
    assert ("image", "flush") in rest[flush:mapping] or ("image", "write") not in rest[:flush], rest
    last = mapping + rest[mapping:].index(("image", "flush"))
    assert ("data", "write") not in rest[:last], rest
    assert rest[:last].count(("data", "flush")) == 1, rest
    seen = rest[last + 1:]
    commits += 1
assert commits == 2, seen
PY
cat /dev/mapper/q >model.raw
exercise q model.raw 5 40 -t 8
is q mode rw
detach q
clean "$image"
same "$image" model.raw
ok "on devices: data is flushed before its mapping is written, once"

# The device below the data fails in one place, and then for a flush.
dmsetup create below --table "0 32768 linear $data 0"
made below
dmsetup create broken --notable
made broken
printf '0 2048 linear %s 0\n2048 2048 error\n4096 28672 linear %s 4096\n' "$data" "$data" | dmsetup load broken
dmsetup resume broken
create -o data_file=/dev/mapper/below c 16M
attach q c data_file /dev/mapper/below
device_io q 'write -P 4 0 1M' 'write -P 5 1536k 64k' flush
detach q
attach q c data_file /dev/mapper/broken
for command in 'write 1088k 64k' 'write 1536k 4k' 'read 1536k 4k' 'write -z 1537k 1k'; do
	qemu-io -t none -f raw -c "$command" /dev/mapper/q >/dev/null 2>&1 && fail "$command: no error"
done
device_io q 'read -P 0 1088k 64k' 'read -P 4 0 1M' 'write -P 6 2M 64k' flush 'read -P 6 2M 64k'
is q mode rw
detach q
clean c
attach q c data_file /dev/mapper/below
device_io q 'read -P 0 1088k 64k' 'read -P 5 1536k 64k' 'write -P 7 1088k 64k' 'read -P 7 1088k 64k'
detach q
clean c
ok "errors of the data's device: there, and nowhere else"
need_module dm-flakey
dmsetup create flaky --table "0 32768 linear $data 0"
made flaky
attach q c data_file /dev/mapper/flaky commit_ms 60000
dd if=/dev/urandom of=/dev/mapper/q bs=64k seek=48 count=1 oflag=direct conv=notrunc status=none
echo "0 32768 flakey $data 0 0 3600" | dmsetup load flaky
dmsetup suspend --noflush --nolockfs flaky
dmsetup resume flaky
sync /dev/mapper/q 2>/dev/null && fail "a flush that failed below is said to have worked"
is q mode fail
[[ $(field q last) == barrier@* ]] || fail "$(dmsetup status q)"
detach q
clean c
io c 'read -P 0 3M 64k'
ok "a flush of the data that fails: nothing refers to it"
