#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# check, repair, map and measure on images in every state: marked, damaged, locked, not writable, naming others.

# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/../cli/lib.sh"
alone

# all CODE NAME FILE REGEX: all four commands refuse the file; check has the exit code of qemu-img check.
all() {
	local command
	for command in check repair map measure; do
		fails "$([ $command = check ] && echo 1 || echo "$1")" "$command: $2" "^qcow2ctl: .*$4" "$command" "$3"
	done
}

# Marks.
"$Q" create good 1M
qemu-io -f qcow2 -c "write -q 0 300k" good
succeeds "check: good" "^leaks: *0$" check ./good
succeeds "repair: good" "^nothing to repair$" repair ./good
for mark in 1 2 3; do
	cp good marked
	echo -ne "\\x0$mark" | dd of=marked bs=1 seek=79 conv=notrunc status=none
	cp marked before
	succeeds "repair --dry-run: mark $mark" "^write .* header$" repair --dry-run ./marked
	holds "--dry-run writes nothing: mark $mark" cmp marked before
	succeeds "repair: mark $mark" "^repaired: errors 0, leaks 0$" repair ./marked
	succeeds "info: no mark $mark" '"corrupt": false' info --json ./marked
	holds "info: not dirty $mark" grep -q '"dirty": false' <<<"$OUT"
	cp before marked
	succeeds "repair --leaks: mark $mark" "^repaired" repair --leaks ./marked
	holds "the same disk $mark" qemu-img compare -q good marked
done

# attach repairs what is marked, and only that; without a device mapper it goes no further.
cp good marked
echo -ne "\\x01" | dd of=marked bs=1 seek=79 conv=notrunc status=none
call attach marked qcow2-test-$$
holds "attach of a dirty image" [ $RC = 7 ]
hints "attach: what repairs it" "qcow2ctl repair marked"
call attach --repair marked qcow2-test-$$
[ $RC != 0 ] || "$Q" detach qcow2-test-$$
succeeds "attach --repair has repaired it" '"dirty": false' info --json ./marked
cp good before
call attach --repair before qcow2-test-$$
[ $RC != 0 ] || "$Q" detach qcow2-test-$$
[ $RC = 0 ] || holds "attach --repair of a good image writes nothing" cmp good before

# Leaks and errors.
python3 - <<-'END'
	import shutil
	for name, offset, value in ("leak", 0x20000 + 2 * 900, 1), ("error", 0x20000 + 2 * 6, 0), ("block", 0x10000 + 6, 2):
	    shutil.copy("good", name)
	    with open(name, "r+b") as file:
	        file.truncate(1 << 26)
	        file.seek(offset)
	        file.write(value.to_bytes(2, "big"))
END
call check ./leak
holds "check: a leak" [ $RC = 3 ]
holds "check: a leak is named" grep -q "^leak: cluster 0x3840000: reference count 1, references 0$" <<<"$OUT"
call check ./error
holds "check: an error" [ $RC = 2 ]
holds "check: an error is named" grep -q "^error: cluster 0x60000: reference count 0, references 1$" <<<"$OUT"
fails 7 "repair --leaks: errors are left" "2 errors are left" repair --leaks ./error
hints "repair --leaks: what does it" "qcow2ctl repair ./error"
fails 7 "repair --leaks: a lost block" "refcount table" repair --leaks ./block
for name in leak error block; do
	succeeds "repair: $name" "^repaired" repair ./$name
	holds "repair: $name, qemu-img check" qemu-img check -q $name
	holds "repair: $name, the same disk" qemu-img compare -q good $name
done

# What is lost reads as zeros, in version 2 too, whatever the backing file has there.
"$Q" create base 4M
qemu-io -f qcow2 -c "write -q -P 66 0 4M" base
for options in cluster_size=4k compat=0.10,cluster_size=4k; do
	for snapshot in "" snapshot; do
		qemu-img create -q -f qcow2 -b base -F qcow2 -o $options lost
		qemu-io -f qcow2 -c "write -q -P 7 0 2500k" lost
		[ -z "$snapshot" ] || qemu-img snapshot -c one lost
		python3 - <<-'END'
			import struct
			with open("lost", "r+b") as file:
			    file.seek(40)
			    l1, = struct.unpack(">Q", file.read(8))
			    file.seek(l1)
			    table = struct.unpack(">Q", file.read(8))[0] & 0xFFFFFFFFFFFE00
			    file.seek(table + 8 * 3)
			    file.write(struct.pack(">QQ", 1 << 63 | 1 << 40, 3 << 40))
			    file.seek(l1 + 8)
			    file.write(struct.pack(">Q", 1 << 63 | 5 << 40))
		END
		call repair ./lost
		holds "repair: lost, $options $snapshot" [ $RC = 0 ]
		holds "repair: what it says, $options $snapshot" grep -q "4096 bytes at 0x3000 of the disk are lost and read as zeros" <<<"$ERR"
		holds "repair: what is read, $options $snapshot" python3 -c 'import subprocess, sys
out = subprocess.run(["qemu-io", "-f", "qcow2", *(word for part in sys.argv[1:] for word in ("-c", "read -P " + part)), "lost"],
                     stdout=subprocess.PIPE, text=True, check=True).stdout
assert "failed" not in out, out' "7 0 12k" "0 12k 8k" "7 20k 2028k" "0 2M 2M"
		holds "repair: clean, $options $snapshot" qemu-img check -q lost
		[ -z "$snapshot" ] || holds "repair: apply, $options" qemu-img snapshot -a one lost
		holds "repair: clean again, $options $snapshot" qemu-img check -q lost
	done
done

# Locks.
coproc HOLD { exec qemu-io -f qcow2 good 2>&1; }
holder=$HOLD_PID
echo "write -q 0 64k" >&"${HOLD[1]}"
for ((i = 0; i < 50; i++)); do
	grep -q "OFDLCK.*:$(stat -c %i good) 201" /proc/locks && break
	sleep 0.1
done
all 6 "locked for writing" ./good "locked by another process \(byte [0-9]+\): qemu-io \(pid $holder\)"
qemu-img create -q -u -f qcow2 -b good -F qcow2 over 1M
fails 6 "map: a layer below is locked" "^qcow2ctl: .*locked by another process \(byte [0-9]+\): qemu-io \(pid $holder\)" map ./over
echo quit >&"${HOLD[1]}"
wait "$holder"
coproc HOLD { exec qemu-io -r -f qcow2 good 2>&1; }
holder=$HOLD_PID
for ((i = 0; i < 50; i++)); do
	grep -q "OFDLCK.*:$(stat -c %i good) 201" /proc/locks && break
	sleep 0.1
done
succeeds "check beside a reader" "errors: *0" check ./good
succeeds "map beside a reader" "^START" map ./good
fails 6 "repair beside a reader" "locked by another process" repair ./good
echo quit >&"${HOLD[1]}"
wait "$holder"

# Without the right to write.
if [ "$(id -u)" = 0 ]; then
	chmod 755 "$DIR"
	cp "${WITHOUT_RUN:-$Q}" tool
	cp leak readonly
	chmod 444 readonly
	printf '#!/bin/bash\nexec setpriv --reuid=65534 --regid=65534 --clear-groups %s "$@"\n' "$DIR/tool" >nobody
	chmod 755 nobody
	own=$Q Q=$DIR/nobody
	succeeds "check of a read-only file" "errors: *0" check ./readonly
	succeeds "map of a read-only file" "^START" map ./readonly
	succeeds "measure of a read-only file" "^required" measure ./readonly
	fails 4 "repair of a read-only file" "Permission denied" repair ./readonly
	chmod 600 readonly
	all 4 "a file without permission" ./readonly "Permission denied"
	Q=$own
fi

# What images name.
qemu-img create -q -f qcow2 -b good -F qcow2 over
succeeds "map of an overlay" '"depth": 1' map --json ./over
qemu-img rebase -u -f qcow2 -b missing -F qcow2 over
fails 3 "map: the backing file is missing" "^qcow2ctl: ./missing: cannot map: No such file" map ./over
qemu-img rebase -u -f qcow2 -b over -F qcow2 over
fails 1 "map: the image is its own backing file" "in the chain twice" map ./over
qemu-img rebase -u -f qcow2 -b nbd://host/x -F raw over
fails 4 "map: not a file" 'names "nbd://host/x", which is not a file' map ./over
qemu-img rebase -u -f qcow2 -b good -F vmdk over
fails 9 "map: another format" "neither qcow2 nor raw" map ./over
succeeds "check does not look at backing files" "errors: *0" check ./over
