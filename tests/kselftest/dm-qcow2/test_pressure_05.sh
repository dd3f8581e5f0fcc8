#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Swap lies on a device that is edited and gets layers: what runs then, the tool too, has to have its memory back from there.
# series=6.12

# shellcheck source=tests/kselftest/dm-qcow2/interpose.sh
. "$(dirname "$0")/interpose.sh"

scratch ext4
mountpoint -q /sys/fs/cgroup || { mount -t cgroup2 none /sys/fs/cgroup && MOUNTS+=(/sys/fs/cgroup); }
echo "+memory" >/sys/fs/cgroup/cgroup.subtree_control
SMALL=/sys/fs/cgroup/small
mkdir $SMALL
echo 40M >$SMALL/memory.max
ramdisk 1 256
qemu-img create -q -f qcow2 -o cluster_size=4k /dev/ram1 256M
attach q /dev/ram1
mkswap /dev/mapper/q >/dev/null
swapon /dev/mapper/q
# in_small COMMAND...: become it, in the group, whose programs have no memory but what others of it have to give away.
in_small() {
	echo "$BASHPID" >$SMALL/cgroup.procs
	exec "$@"
}
cat >hog.py <<'END'
import random, signal, sys
# Three times what the group may have; each page says where it is and how often it was written.
PAGE, PAGES = 4096, 30720
memory, turns, going = bytearray(PAGE * PAGES), [0] * PAGES, True
def end(*_):
    global going
    going = False
signal.signal(signal.SIGTERM, end)
looks = 0
while going or looks < PAGES:
    at = random.randrange(PAGES)
    found = (int.from_bytes(memory[at * PAGE:at * PAGE + 4], "little"), int.from_bytes(memory[at * PAGE + 4:at * PAGE + 8], "little"))
    if found != ((at, turns[at]) if turns[at] else (0, 0)):
        sys.exit(f"page {at} says {found}, not {turns[at]}")
    turns[at] += 1
    memory[at * PAGE:at * PAGE + 8] = at.to_bytes(4, "little") + turns[at].to_bytes(4, "little")
    looks += 1
    if not looks % 10000:
        print(looks, flush=True)
END
in_small python3 hog.py >hog.log 2>&1 &
HOG=$!
swapped() { read -r _ _ _ USED _ < <(grep ^/dev/ /proc/swaps); }
for ((try = 0; try < 300; try++)); do
	swapped
	[ "$USED" -lt 32768 ] || break
	sleep 0.1
done
want "only $USED KiB are swapped" [ "$USED" -ge 32768 ]

# stays COMMAND...: qcow2ctl does it, in the group; the hog goes on meanwhile and afterwards.
stays() {
	OUT=$(in_small timeout 60 "$QCOW2CTL" "$@" 2>&1) || fail "$*: exit $?: $OUT"
	[[ $(dmsetup info q) == *"State: "*ACTIVE* ]] || fail "$*: q does not run"
	[[ $(</proc/$HOG/stat) != *") Z "* ]] || fail "$*: the hog is gone: $(tail -n 1 hog.log): $(dmesg | grep -i oom | tail -n 3)"
}
stays snapshot create q one
stays interpose q linear
stays interpose q --remove
stays snapshot delete q one
ok "edits and layers"
lines=$(wc -l <hog.log)
# It looks 20000 times more.
for ((try = 0; try < 600; try++)); do
	[ "$(wc -l <hog.log)" -lt $((lines + 2)) ] || break
	sleep 0.1
done
want "the hog does not get on" [ "$(wc -l <hog.log)" -ge $((lines + 2)) ]
kill -TERM $HOG
rc=0
wait $HOG || rc=$?
[ "$rc" = 0 ] || fail "the hog: exit $rc: $(tail -n 1 hog.log)"
say "$(tail -n 1 hog.log) looks; $(grep -E '^(pswpin|pswpout) ' /proc/vmstat | paste -sd' ')"
swapoff /dev/mapper/q
rmdir $SMALL
ok "what was swapped"
detach q
want "qemu-img check" qemu-img check -q /dev/ram1
ok "the image"
