#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# What qcow2-generator makes of a qcow2tab, what qcow2-tab tells qcow2ctl, and what both refuse.

# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

root=$DIR/root
DESTDIR=$root PREFIX=/opt "$TREE/scripts/install-boot" install
find "$root" -type f -exec sed -i "s|/opt/|$root/opt/|g" {} +
find "$root" -type f | sort >installed
# The scripts call this one: it notes its words.
mkdir -p "$root/opt/sbin"
cat >"$root/opt/sbin/qcow2ctl" <<END
#!/bin/bash
[ "\$1" != status ] || exit \$(cat $DIR/status)
printf '<%s>' "\$@" >>$DIR/words
END
chmod +x "$root/opt/sbin/qcow2ctl"
echo 3 >status
export QCOW2TAB=$DIR/qcow2tab
generator=$root/opt/lib/systemd/system-generators/qcow2-generator
units=$root/opt/lib/systemd/system

drop() { echo "out/qcow2-attach@$1.service.d/50-qcow2tab.conf"; }

# deps TITLE NAME NODE TEXT: what the drop-in of an instance says beyond what all say.
deps() {
	has "$1" "$(drop "$2")" "[Unit]
SourcePath=$QCOW2TAB
Before=blockdev@dev-mapper-$3.target
Wants=blockdev@dev-mapper-$3.target
$4"
}

# has NAME FILE TEXT: the file has the lines of the text, in this order, and but for comments no other.
has() { holds "$1" diff <(printf '%s\n' "$3") <(grep -v '^#' "$2"); }

cat >qcow2tab <<'END'
# name  image  -  options

data    /srv/img/data.qcow2    -  format=qcow2,discard,nofail
	vm-1.x /srv/two\040words/50%"o\134.qcow2 - backing=qcow2:/srv/base.qcow2,backing=raw:/a\054b,low-water=2G,when-full=queue,discard=keep
late  /dev/disk/by-id/virtio-late  none read-only,timeout=600
lv    /dev/vg0/lv
hand  /srv/hand.qcow2          -  noauto,partscan
net   /net/net.qcow2           -  _netdev
root  /img/root.qcow2          -  x-initrd.attach,host=/dev/vda1
END
run "$generator" out
told "a good file" 0 ''
holds "nothing is said" [ -z "$OUT$ERR" ]
deps "a file, nofail" data data "RequiresMountsFor=\"/srv/img/data.qcow2\""
deps "layers, and odd characters" vm-1.x 'vm\x2d1.x' "RequiresMountsFor=\"/srv/two words/50%%\\\"o\\\\.qcow2\"
RequiresMountsFor=\"/srv/base.qcow2\"
RequiresMountsFor=\"/a,b\"
Before=qcow2setup.target"
deps "a device that may be late" late late "BindsTo=dev-disk-by\\x2did-virtio\\x2dlate.device
After=dev-disk-by\\x2did-virtio\\x2dlate.device
Before=qcow2setup.target"
has "how long it is waited for" 'out/dev-disk-by\x2did-virtio\x2dlate.device.d/40-qcow2tab.conf' "[Unit]
JobRunningTimeoutSec=600"
has "when it comes later still" out/qcow2tab.late "qcow2-attach@late.service /dev/disk/by-id/virtio-late
qcow2-attach@lv.service /dev/vg0/lv"
late() { QCOW2_LATE=out/qcow2tab.late SYSTEMD_WANTS=other "$root/opt/lib/qcow2ctl/qcow2-late" "$@"; }
holds "a device that somebody waits for" [ "$(late /dev/vdz vg0/lv disk/by-id/x)" = "SYSTEMD_WANTS=other qcow2-attach@lv.service" ]
holds "a device that nobody waits for" [ -z "$(late /dev/vdz disk/by-id/x)" ]
deps "over a network" net net "RequiresMountsFor=\"/net/net.qcow2\"
Wants=network-online.target
After=network-online.target remote-fs-pre.target"
holds "who wants them" diff <(cat <<END
dev-mapper-data.device.wants/qcow2-attach@data.service
dev-mapper-late.device.requires/qcow2-attach@late.service
dev-mapper-lv.device.requires/qcow2-attach@lv.service
dev-mapper-net.device.requires/qcow2-attach@net.service
dev-mapper-vm\\x2d1.x.device.requires/qcow2-attach@vm-1.x.service
qcow2setup.target.requires/qcow2-attach@late.service
qcow2setup.target.requires/qcow2-attach@lv.service
qcow2setup.target.requires/qcow2-attach@vm-1.x.service
qcow2setup.target.wants/qcow2-attach@data.service
remote-fs.target.requires/qcow2-attach@net.service
END
) <(find out -type l -printf '%P\n' | LC_ALL=C sort)
holds "the initramfs has its own" absent "$(drop root)"
holds "links lead to the template" [ "$(find out -type l -printf '%l\n' | sort -u)" = "$units/qcow2-attach@.service" ]
if command -v systemd-analyze >/dev/null; then
	chmod 755 .
	for name in qcow2-attach@{data,vm-1.x,late,hand,net}.service qcow2setup.target; do
		SYSTEMD_UNIT_PATH=$DIR/out:$units:/lib/systemd/system run systemd-analyze verify --man=no "$name"
		told "systemd takes $name" 0 ''
		holds "$name: and has nothing to say" [ -z "$OUT$ERR" ]
	done
fi

# qcow2-tab.
tab=$root/opt/lib/qcow2ctl/qcow2-tab
# says NAME TEXT WORD...: qcow2-tab succeeds, and qcow2ctl gets these words.
says() {
	: >words
	run "$tab" "${@:3}"
	told "$1" 0 ''
	holds "$1: its words" [ "$(<words)" = "$2" ]
}
says "attach, all plain" "<attach><--></srv/img/data.qcow2><data>" attach data
says "attach, with options" '<attach><--backing></srv/base.qcow2,format=qcow2><--backing></a,b,format=raw><--low-water=2G><--when-full=queue><--discard=keep><--></srv/two words/50%"o\.qcow2><vm-1.x>' attach vm-1.x
says "attach, by hand" "<attach><--partscan><--></srv/hand.qcow2><hand>" attach hand
says "detach of what is not attached" "" detach data
echo 0 >status
says "detach" "<detach><--wait><10><--><data>" detach data
says "attach of what is attached" "" attach data
holds "it says so" matches "data: attached already" "$ERR"
echo 3 >status
run "$tab" attach dat
told "a name that is not there" 3 "dat: .*/qcow2tab has no such line"
run "$tab" attach root
told "a line of the initramfs" 4 "root: only the initramfs can"
run "$tab" attach
told "no name" 2 "usage:"

# bad NAME REGEX LINE: the generator tells, the tool refuses, and good lines count all the same.
bad() {
	rm -rf out
	printf '%s\ngood /srv/good.qcow2\n' "$3" >qcow2tab
	run "$generator" out
	told "generator: $1" 1 "qcow2tab: line 1: .*$2"
	holds "generator: $1: the next line counts" [ "$(find out -name '*.conf')" = "$(drop good)" ]
	: >words
	run "$tab" attach "${3%%[ 	]*}"
	told "tab: $1" 2 "line 1: .*$2"
	holds "tab: $1: nothing was called" [ ! -s words ]
}
bad "a name with a slash" "a/b: a name has letters" "a/b /x"
bad "a name with a blank" 'x.*y: a name has' 'x\040y /x'
bad "no image" "the image must be a path" "x"
bad "a path from nowhere" "the image must be a path that begins with /" "x img.qcow2"
bad "a third field" "the third field must be -" "x /x keyfile"
bad "five fields" "more than four" "x /x - nofail 0"
bad "an unknown option" "unknown option 'colour=red'" "x /x - nofail,colour=red"
bad "a layer without format" "not backing=qcow2:PATH or" "x /x - backing=/base"
bad "a format" "an image is always qcow2" "x /x - format=raw"
bad "a timeout" "not a number of seconds" "x /x - timeout=soon"
bad "a host in the wrong place" "goes with x-initrd.attach only" "x /x - host=/dev/vda"
bad "a control character" "control character" $'x /x\e[2J'
bad "a newline" "control character" 'x /x - low-water=1\0122'
printf 'x /x\nx /y' >qcow2tab
run "$generator" out
told "a name twice, and no newline" 1 "line 2: x: there is a line of this name above"
rm -rf out qcow2tab
run "$generator" out
told "no file" 0 ''
holds "no file, no units" absent out

rm "$root/opt/sbin/qcow2ctl"
expected=(/opt/lib/qcow2ctl/{entry.sh,mounted.sh,names.sh,qcow2-late,qcow2-tab} /usr/sbin/mount.qcow2
	/opt/lib/systemd/{system-generators/qcow2-generator,system/{qcow2-attach@.service,qcow2setup.target}}
	/opt/lib/udev/rules.d/{61-dm-qcow2,98-qcow2tab}.rules
	/usr/share/initramfs-tools/{hooks/qcow2,scripts/local-{block,top}/qcow2})
holds "files are where they are looked for" diff <(printf '%s\n' "${expected[@]/#/$root}" | sort) installed
find "$root" -type f -exec sed -i "s|$root/opt/|/opt/|g" {} +
DESTDIR=$root PREFIX=/opt "$TREE/scripts/install-boot" uninstall
holds "uninstall: nothing is left" [ -z "$(find "$root" ! -type d)" ]
