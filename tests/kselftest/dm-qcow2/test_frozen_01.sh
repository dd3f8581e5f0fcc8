#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# While the file system of an image is frozen, writes and their flush wait, and neither reads nor status wait with them.
# Who may not wait at all is not taken in.

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$0")/lib.sh"

# quickly COMMAND...: within 5 s; fsfreeze is undone, whatever comes.
quickly() { timeout 5 "$@" || { fsfreeze -u "$DIR"; fail "$*: exit $?"; }; }

scratch ext4
create a.qcow2 64M
qemu-io -f qcow2 -c 'write -P 7 0 8M' a.qcow2 >/dev/null
attach q a.qcow2 commit_ms 200
head -c 1M /dev/zero | tr '\0' '\7' >seven
fsfreeze -f "$DIR"
python3 - <<'PY' &
import mmap, os
fd = os.open("/dev/mapper/q", os.O_RDWR | os.O_DIRECT)
block = mmap.mmap(-1, 65536)
block[:] = b"\x09" * 65536
os.pwrite(fd, block, 4 << 20)       # in place
os.pwrite(fd, block, 32 << 20)      # a new cluster
os.fsync(fd)
PY
writer=$!
sleep 1
quickly cmp -n 1M seven /dev/mapper/q
quickly dmsetup status q >/dev/null
quickly dd if=/dev/mapper/q of=/dev/null bs=64k skip=32 count=16 iflag=direct status=none
want "a write did not wait" kill -0 $writer
fsfreeze -u "$DIR"
want "the writer" wait $writer
is q mode rw
ok "a frozen file system"

python3 - <<'PY' || fail "nowait"
import errno, mmap, os, signal
signal.alarm(20)
fd = os.open("/dev/mapper/q", os.O_RDONLY | os.O_DIRECT)
block = mmap.mmap(-1, 4096)
for at in (0, 32 << 20, 60 << 20):
    try:
        os.preadv(fd, [block], at, os.RWF_NOWAIT)
    except OSError as error:
        assert error.errno in (errno.EAGAIN, errno.EOPNOTSUPP), error
    else:
        raise SystemExit("a request that must not wait was taken in")
PY
read -r major minor < <(stat -Lc '%Hr %Lr' /dev/mapper/q)
poll=/sys/dev/block/$major:$minor/queue/io_poll
want "it can be polled" [ "$(cat "$poll")" = 0 ]
ok "neither nowait nor polling"
printf '\11' >nine
want "in place" cmp -n 1 -i 4M:0 /dev/mapper/q nine
want "new" cmp -n 1 -i 32M:0 /dev/mapper/q nine
detach q
clean a.qcow2
ok "what was written is there"
