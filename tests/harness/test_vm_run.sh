#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# vm-run passes on what happens in the machine, and finds what must not happen there.
# seconds=30

set -u
cd "$(dirname "$0")/../.." || exit 1
temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
failed=0

# expect CODE TEXT ARGUMENT...: vm-run must end with CODE and print TEXT.
expect() {
	local code=$1 text=$2 rc
	shift 2
	timeout 200 scripts/vm-run --kernel 6.1 --smp 1 "$@" >"$temp/out" 2>&1
	rc=$?
	if [ "$rc" != "$code" ] || ! grep -qF -- "$text" "$temp/out"; then
		echo "wanted $code and '$text', got $rc from: vm-run $*"
		cat "$temp/out"
		failed=1
	fi
}

truncate -s 3M "$temp/disk"
cat >"$temp/script" <<'EOF'
#!/bin/bash
set -e
[ "$1" = "two words" ] && [ "$COLOUR" = "dark red" ] && [ "$PWD" = "$WANT" ]
[ "$VM_DISKS" = "/dev/vda /dev/vdb" ]
[ "$(blockdev --getsize64 /dev/vda) $(blockdev --getsize64 /dev/vdb)" = "3145728 67108864" ]
modinfo -n dm-qcow2 | grep -q updates
echo marked >/dev/vda
echo kept >"$VM_OUT/file"
! touch /usr/written && echo "the root is not writable"
echo changed >/etc/hostname
echo fine >/dev/stderr
exit 7
EOF
chmod +x "$temp/script"
before=$(cat /etc/hostname)
expect 7 fine --disk "$temp/disk" --scratch 64M --out "$temp/kept" --env "COLOUR=dark red" --env "WANT=$PWD" \
	"$temp/script" "two words"
[ "$(head -c 6 "$temp/disk")" = marked ] || { echo "the disk was not written"; failed=1; }
[ "$(cat "$temp/kept/file")" = kept ] || { echo "--out kept nothing"; failed=1; }
[ "$(cat /etc/hostname)" = "$before" ] || { echo "the host's root was written"; failed=1; }

expect 124 "took longer than 3 s" --timeout 3 -c 'while :; do :; done'
rm -f build/vm/6.1-line.log
expect 125 "the console's log is build/vm/6.1-line.log" -c 'echo c >/proc/sysrq-trigger; sleep 60'
grep -q "died while the script ran" "$temp/out" || { echo "not said: who died"; failed=1; }
grep -q "Kernel panic.*sysrq" build/vm/6.1-line.log || { echo "the console's log is not kept"; failed=1; }
expect 126 "WARNING: CPU: 0" -c 'echo "WARNING: CPU: 0 PID: 1 at nowhere" >/dev/kmsg'
expect 0 harmless --allow 'at nowhere$' -c 'echo "WARNING: CPU: 0 PID: 1 at nowhere" >/dev/kmsg; echo harmless'
expect 127 "unrecognized arguments: --colour" --colour -c true
expect 127 "no such script" "$temp/none"
expect 127 "no such file" --disk "$temp/none" -c true
expect 127 "not a NAME=VALUE" --env COLOUR -c true

# Each kind of line that the scan knows, and lines of a good boot that it must not know.
python3 - <<'EOF' || failed=1
import sys
sys.dont_write_bytecode = True
sys.path.insert(0, "scripts/vm")
import scan
bad = """BUG: KASAN: slab-out-of-bounds in f
refcount_t: underflow; use-after-free.
UBSAN: shift-out-of-bounds in f
INFO: task fio:12 blocked for more than 60 seconds.
rcu: INFO: rcu_preempt self-detected stall on CPU
WARNING: possible circular locking dependency detected
general protection fault, probably for non-canonical address
list_del corruption. prev->next should be
ODEBUG: free active (active state 0)
Oops: 0002 [#1] PREEMPT SMP
BUG: sleeping function called from invalid context
kernel BUG at fs/inode.c:1
kmem_cache_destroy qcow2: Slab cache still has objects"""
good = """kmemleak: Kernel memory leak detector initialized (mem pool available: 1)
rcu: 	RCU CPU stall warnings timeout set to 60 (rcu_cpu_stall_timeout).
Buffer I/O error on dev dm-0, logical block 0, async page read
device-mapper: table: 253:0: qcow2: not a qcow2 image (-EINVAL)
x86/mm: Checked W+X mappings: passed, no W+X pages found."""
race = """==================================================================
[    4.1] BUG: KCSAN: data-race in wb_timer / submit_bio
[    4.1]  submit_bio+0x1/0x2
==================================================================
"""
good += "\n" + race + race
bad_race = race.replace("0x2", "0x2 [dm_qcow2]")
if len(scan.bad_lines(race + bad_race + race)) != 1 or not scan.bad_lines(bad_race[:-70]):
    sys.exit("scan: does not tell our data races from others")
missed = [line for line in bad.splitlines() if scan.bad_lines(line) != [line]]
false = scan.bad_lines(good)
print("\n".join(f"scan: {line}" for line in missed + false))
sys.exit(bool(missed or false))
EOF
exit $failed
