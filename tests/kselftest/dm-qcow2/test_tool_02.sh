#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# qcow2ctl on real devices: each option of attach in the table, the keys of all objects, partitions, clones, layers,
# and how a device goes.

# shellcheck source=tests/kselftest/dm-qcow2/edit.sh
. "$(dirname "$0")/edit.sh"

# tabled TEXT: the whole table of q but for its start and length.
tabled() {
	local table
	table=$(dmsetup table q)
	[ "${table#* * }" = "qcow2 $1" ] || fail "the table is '$table', not '$1'"
}
attached() {
	does attach "$@"
	[ "$OUT" = "/dev/mapper/${!#}" ] || fail "attach prints '$OUT'"
	made "${!#}"
}

scratch ext4
create a.qcow2 16M
does attach --json --cache 1M --low-water 4M --when-full error --full-timeout 5 --discard keep --commit-ms 50 a.qcow2 q
echo "$OUT" >attach.json
made q
tabled "1 qcow2 $DIR/a.qcow2 12 cache_kib 1024 low_water 8192 when_full error full_timeout 5 discard keep commit_ms 50"
exec {fd}</dev/mapper/q
for words in "list --json" "status --json q" "version --json" "info --json ./a.qcow2" "info --json q"; do
	# shellcheck disable=SC2086 # a list of words
	does $words
	echo "$OUT" >"${words//[ .\/]/}.json"
done
python3 - "$DIR" "$(uname -r)" "$(number q)" <<'PY' || fail "an object is not as it is written"
import json, sys
folder, kernel, dev = sys.argv[1:]

def load(name, keys):
    with open(f"{name}.json", encoding="utf-8") as file:
        it = json.load(file)
    assert list(it)[0] == "version" and it.pop("version") is not None and sorted(it) == sorted(keys.split()), (name, it)
    return it

device = {"name": "q", "path": "/dev/mapper/q", "dev": dev, "size": 16 << 20, "readonly": False, "partitions": []}
assert load("attach", "name path dev size readonly partitions") == device
one, = load("list--json", "devices")["devices"]
assert list(one) == "name path dev size readonly partitions image layers mode space open layer".split(), list(one)
assert one == {**device, "image": f"{folder}/a.qcow2", "layers": [f"{folder}/a.qcow2"], "mode": "rw", "space": "ok",
               "open": 1, "layer": None}, one
numbers = "layers cluster virtual alloc highest end hits misses commits barriers staged parked reads writes allocs cows " \
          "discards ioerrs corruptions"
status = load("status--jsonq", "name dev size mode space claim clean cache last check view suspended open layer " + numbers)
assert all(isinstance(status[key], int) for key in numbers.split()), status
assert status["clean"] is None and status["view"] is None and status["suspended"] is False and status["open"] == 1, status
assert status["claim"] == "active" and status["last"] == "none" and status["check"] == "none", status
assert status["size"] == 16 << 20 and status["cluster"] == 65536 and status["layers"] == 1, status
with open("version--json.json", encoding="utf-8") as file:
    it = json.load(file)
assert list(it) == ["version", "tool", "module", "kernel"] and it["kernel"] == kernel and it["module"][0].isdigit(), it
keys = "image format virtual_size actual_size cluster_size compat refcount_bits features dirty corrupt backing " \
       "backing_format data_file encrypted snapshots bitmaps attached"
for name in "info--jsonaqcow2", "info--jsonq":
    assert load(name, keys)["attached"] == "q", name
PY
exec {fd}<&-
does list --bytes ./a.qcow2
[[ $OUT == *"$((16 << 20))"* ]] || fail "list --bytes: $OUT"
create other.qcow2 1M
does list other.qcow2
[[ $OUT != *q* ]] || fail "list of an image that nobody uses: $OUT"
ok "options and objects"

exec {fd}</dev/mapper/q
does detach --deferred q
want "it is gone already" dmsetup info q >/dev/null
exec {fd}<&-
for ((at = 0; at < 50; at++)); do ! gone q || break; sleep 0.1; done
want "it is there still" gone q
ok "detach --deferred"

create -b a.qcow2 -F qcow2 over.qcow2
answers 4 "" attach over.qcow2 q
attached --backing a.qcow2,format=qcow2 over.qcow2 q
tabled "2 qcow2 $DIR/over.qcow2 qcow2 $DIR/a.qcow2"
answers 5 "in use by device q" attach a.qcow2 other
answers 3 "no such qcow2 device.*hint: .*list IMAGE" detach ./over.qcow2
answers 3 "no such qcow2 device.*hint: .qcow2ctl list. shows" detach nobody
does detach q
attached --chain none -r over.qcow2 q
tabled "1 qcow2 $DIR/over.qcow2 1 no_backing"
is q mode ro
does detach q
attached --chain=follow --allow-under . over.qcow2 q
tabled "2 qcow2 $DIR/over.qcow2 qcow2 $DIR/a.qcow2"
does detach q
qemu-img bitmap --add other.qcow2 daily
answers 4 "" attach other.qcow2 q
attached --drop-bitmaps other.qcow2 q
tabled "1 qcow2 $DIR/other.qcow2 2 bitmaps drop"
dmsetup table q | dmsetup reload q && dmsetup resume q
tabled "1 qcow2 $DIR/other.qcow2 2 bitmaps drop"
does detach q
ok "layers, bitmaps"

# One partition from sector 2048 on.
python3 -c 'import struct; open("mbr", "wb").write(bytes(446) + struct.pack("<B3sB3sII", 0, b"", 131, b"", 2048, 4096) +
bytes(48) + b"\x55\xaa")'
attached a.qcow2 q
dd if=mbr of=/dev/mapper/q conv=notrunc status=none
does detach q
does clone --partscan --json --size 24M a.qcow2 c.qcow2 q
[[ $OUT == *'"/dev/mapper/qp1"'* ]] || fail "partitions: $OUT"
tabled "2 qcow2 $DIR/c.qcow2 qcow2 $DIR/a.qcow2"
want "size of the clone" [ "$(blockdev --getsize64 /dev/mapper/q)" = $((24 << 20)) ]
want "size of the partition" [ "$(blockdev --getsz /dev/mapper/qp1)" = 4096 ]
answers 5 "exists.*hint: choose another NAME, or first qcow2ctl detach q" clone a.qcow2 d.qcow2 q
want "an overlay is left" [ ! -e d.qcow2 ]
mkfs.ext4 -q /dev/mapper/qp1
mkdir -p mount
mount /dev/mapper/qp1 mount
answers 5 "$DIR/mount.*hint: --wait SEC" detach q
umount mount
does detach q
want "the partition is left" gone qp1 && clean c.qcow2
ok "clone, partitions"

# A device with a commit that failed goes, too, and its user is told. Once more after it was suspended: it is lost then.
truncate -s 32M disk.raw
loop disk.raw
dmsetup create low --table "0 65536 linear $LOOP 0"
made low
does create /dev/mapper/low 16M
# lower TARGET...: the device under the image becomes this.
lower() {
	dmsetup suspend --nolockfs --noflush low
	dmsetup load low --table "0 65536 $*"
	dmsetup resume low
}
for mode in fail lost; do
	attached --commit-ms 60000 /dev/mapper/low q
	dd if=/dev/zero of=/dev/mapper/q bs=4k count=1 seek=1 oflag=direct status=none
	lower error
	dd if=mbr of=/dev/mapper/q conv=notrunc,fsync status=none 2>/dev/null && fail "a flush of nothing succeeded"
	soon q mode fail
	[ $mode = fail ] || dmsetup suspend --nolockfs q
	lower linear "$LOOP" 0
	[ $mode = fail ] || dmsetup resume q
	is q mode $mode
	does detach q
	[[ $OUT == *"mode $mode"* ]] || fail "detach says: $OUT"
	want "it is there still" gone q
	ok "detach in mode $mode"
done

# The module comes when it is needed: by the tool, and by the kernel for a table.
rmmod dm_qcow2
attached a.qcow2 q
does detach q
rmmod dm_qcow2
attach q a.qcow2
detach q
rmmod dm_qcow2
mkdir -p /run/modprobe.d
echo "install dm_qcow2 /bin/false" >/run/modprobe.d/qcow2-test.conf
answers 1 "a.qcow2: cannot attach: the kernel has no target qcow2.*hint: .*modprobe dm-qcow2 says why.*dkms" attach a.qcow2 q
rm /run/modprobe.d/qcow2-test.conf
want "a device is left" gone q
load_target
ok "the module is loaded"
