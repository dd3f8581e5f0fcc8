#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Two at a time; the control group of the tool is killed as a whole; a new table does not resume; a deadline; a full device; what
# a machine that went down has left.
# timeout=200
# series=6.1

# shellcheck source=tests/kselftest/dm-qcow2/edit.sh
. "$(dirname "$0")/edit.sh"

STEP=$(command -v edit_step.so) || fail "edit_step.so is not built"
suspended() { grep -q SUSPENDED <(dmsetup info q); }
scratch ext4
create a.qcow2 16M
attach q a.qcow2
mount -t cgroup2 none /sys/fs/cgroup
MOUNTS+=(/sys/fs/cgroup)
GROUP=/sys/fs/cgroup/tool
mkdir $GROUP
stopped suspend snapshot create q s1
want "it runs" suspended
want "no copy of the intent beside the image" [ -s a.qcow2.q.intent ]
cp a.qcow2.q.intent copy
for words in "recover q" "snapshot create q s2" "resize q +1M" "repair q" "interpose q linear"; do
	# shellcheck disable=SC2086 # words
	answers 5 "another qcow2ctl is at work" $words
done
read -r guardian <"/proc/$TOOL/task/$TOOL/children" || true	# the line has no end
for pid in $TOOL $guardian; do
	want "$pid has locked its memory" grep -q "^VmLck:.*[1-9]" "/proc/$pid/status"
done
want "recover takes away what is in use" [ -s a.qcow2.q.intent ]
echo 1 >$GROUP/cgroup.kill
says "killed, and the device runs again"
wait $TOOL && fail "it was not killed"
runs q
want "a copy is left" [ ! -e a.qcow2.q.intent ]
rmdir $GROUP || fail "somebody is left in the group"
GROUP=
pauses snapshot create q s1
ok "a control group"

# The new table loads, and its resume is refused: somebody edits the overlay.
stopped load snapshot create --external b.qcow2 q
hold b.qcow2 w300
kill -CONT $TOOL
wait $TOOL && fail "nothing was refused"
let_go
says "does not resume the new table"
runs q
[[ $(dmsetup table q) != *b.qcow2* ]] || fail "the new table is there"
want "the overlay is there" [ ! -e b.qcow2 ]
pauses snapshot create q s2
# Refused at first only: then the device has it, and that is what the exit code says.
create e.qcow2 16M
attach e e.qcow2
# asked_again PATTERN COMMAND...: the resume is refused until the table of e has this (a regular expression).
asked_again() {
	stopped load "${@:2}"
	hold c.qcow2 w300
	kill -CONT $TOOL
	until [[ $(dmsetup table e) =~ $1 ]]; do sleep 0.1; done
	let_go
	wait $TOOL || fail "exit $?: $(cat said)"
	says "only when it was asked again"
	runs e
	[[ $(dmsetup table e) =~ $1 ]] || fail "the new table is not there"
}
asked_again " $DIR/c.qcow2 " snapshot create --external c.qcow2 e
want "the overlay is gone" [ -s c.qcow2 ]
asked_again "^0 34816 " resize e +1M
detach e
clean c.qcow2
ok "a new table that does not resume"

# The device writes when the tool has opened the image and has not suspended it yet.
stopped mlockall check q
before=$(stat -c %s a.qcow2)
dd if=/dev/urandom of=/dev/mapper/q bs=64k seek=64 count=32 oflag=direct status=none
want "the file has not grown" [ "$(stat -c %s a.qcow2)" -gt "$before" ]
kill -CONT $TOOL
wait $TOOL || fail "check: $(cat said)"
ok "an image that has grown meanwhile"

# A tool that waits for the device that it has suspended does not even end when it is killed.
create stuck.qcow2 1M
attach stuck stuck.qcow2
LD_PRELOAD=$STEP EDIT_AT=send EDIT_DO=/dev/mapper/stuck "$QCOW2CTL" snapshot create --timeout 1 stuck s1 2>said.stuck &
stuck=$!
stopped header resize --timeout 2 q +1M
says "ended after 2 seconds"
wait $TOOL && fail "it was not killed"
runs q
want "the size of the disk" [ "$(blockdev --getsize64 /dev/mapper/q)" = $((17 << 20)) ]
detach q
clean a.qcow2
# A write that does not end keeps the suspend waiting.
truncate -s 32M slow.raw
loop slow.raw
create "$LOOP" 16M
need_module dm-delay
dmsetup create slow --table "0 65536 delay $LOOP 0 0 $LOOP 0 8000"
made slow
attach q /dev/mapper/slow
dd if=/dev/urandom of=/dev/mapper/q bs=64k count=1 oflag=direct status=none &
writer=$!
sleep 0.5
answers 5 "could not be suspended within 2 seconds" snapshot create --timeout 2 q s1
runs q
want "the write has ended before" kill -0 $writer
wait $writer || fail "the write was lost"
dmsetup suspend slow
echo "0 65536 linear $LOOP 0" | dmsetup load slow
dmsetup resume slow
pauses snapshot create q s1
detach q
clean /dev/mapper/slow
resumed stuck
wait $stuck && fail "it was not killed"
want "the guardian: $(<said.stuck)" grep -q "ended after 1 seconds, and the device runs again" said.stuck
runs stuck
detach stuck
clean stuck.qcow2
ok "a deadline"

truncate -s 8M disk.raw
loop disk.raw
create "$LOOP" 32M
attach q "$LOOP" full_timeout 0
dd if=/dev/urandom of=data bs=64k count=200 status=none
dd if=data of=/dev/mapper/q bs=64k oflag=direct status=none &
writer=$!
soon q space full
soon q parked 1
answers 8 "" snapshot create q s1
says_q=$(dmsetup info q)
[[ $says_q == *ACTIVE* ]] || fail "$says_q"
truncate -s 64M disk.raw
losetup -c "$LOOP"
dmsetup message q 0 retry
wait $writer || fail "the writer got an error"
soon q space ok
stopped suspend snapshot create q s1
want "no copy of the intent in /var/lib" [ -s /var/lib/qcow2ctl/q.intent ]
kill -CONT $TOOL
wait $TOOL || fail "create: $(cat said)"
want "a copy is left" [ ! -e /var/lib/qcow2ctl/q.intent ]
want "content" cmp -n $((200 << 16)) data /dev/mapper/q
detach q
clean "$LOOP"
ok "a full device"

# Of another boot: there is no device of that edit any more, whoever has the name now.
attach q a.qcow2
sed -i '4s/.*/01234567-89ab-cdef-0123-456789abcdef/' copy
cp copy a.qcow2.q.intent
cp copy /var/lib/qcow2ctl/other.intent
does recover
[[ $OUT == *"q: the machine went down"* && $OUT == *"other: the machine went down"* ]] || fail "recover: $OUT"
want "copies are left" [ ! -e a.qcow2.q.intent ]
want "copies are left" [ ! -e /var/lib/qcow2ctl/other.intent ]
cp copy a.qcow2.q.intent
does recover q
[[ $OUT == *"q: the machine went down"* ]] || fail "recover q: $OUT"
does recover
[ -z "$OUT" ] || fail "recover finds something still: $OUT"
detach q
ok "another boot"
