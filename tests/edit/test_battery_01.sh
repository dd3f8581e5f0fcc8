#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# Every edit answers what cannot be with a sentence and the right exit code, and changes nothing.

# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/../cli/lib.sh"
alone
edit=$TREE/tests/edit

img() { qemu-img "$@" >/dev/null; }
make_image() { img create -q -f qcow2 "$@"; }

holder_PID=
# For each: what makes a command line of an image, with all that it needs.
declare -A line=(
	[create]="snapshot create IMAGE new" [apply]="snapshot apply IMAGE snap" [delete]="snapshot delete IMAGE snap"
	[external]="snapshot create --external over IMAGE" [resize]="resize IMAGE +1M" [shrink]="resize --shrink IMAGE 512K"
	[list]="snapshot list IMAGE" [commit]="commit IMAGE" [rebase]="rebase --unsafe --no-backing IMAGE"
)
# words COMMAND IMAGE: into the array call.
words() {
	read -ra cmd <<<"${line[$1]}"
	cmd=("${cmd[@]/#IMAGE/$2}")
}
# refuses CODE COMMAND NAME REGEX IMAGE: and the image stays as it is, to the byte.
refuses() {
	local sum
	sum=$(md5sum "$5" 2>&1)
	words "$2" "$5"
	fails "$1" "$2: $3" "$4" "${cmd[@]}"
	[ "$sum" = "$(md5sum "$5" 2>&1)" ] || notok "$2: $3" "the image changed"
}

# Words.
for group in "snapshot create" "snapshot list" "snapshot apply" "snapshot delete" resize commit rebase; do
	read -ra cmd <<<"$group"
	succeeds "$group --help" "^Usage: qcow2ctl $group" "${cmd[@]}" --help
	succeeds "help $group" "^Usage: qcow2ctl $group" help "${cmd[@]}"
	fails 2 "$group: no argument" "missing argument" "${cmd[@]}"
	hints "$group: where help is" "qcow2ctl help $group"
	fails 2 "$group: unknown option" "unknown option '--no-such'" "${cmd[@]}" ./x y --no-such
	[ "$group" = "snapshot list" ] && continue
	fails 2 "$group: --progress" "none of auto.json.none" "${cmd[@]}" ./x y --progress=loud
	fails 2 "$group: --timeout" "not a number" "${cmd[@]}" ./x y --timeout soon
done
for group in "snapshot create ./x y" "snapshot list ./x" "snapshot apply ./x y" "snapshot delete ./x y" "resize ./x 1M" "commit ./x"; do
	read -ra cmd <<<"$group"
	fails 2 "$group: too many" "one argument too many: 'more'" "${cmd[@]}" more
done
fails 2 "snapshot: no command" "missing argument" snapshot
fails 2 "snapshot: unknown command" "'frob' is not a command" snapshot frob
succeeds "snapshot --help" "snapshot apply" snapshot --help
fails 2 "help: unknown command of a group" "'snapshot frob' is not a command" help snapshot frob
fails 2 "create: no tag" "missing argument, TAG" snapshot create ./x
fails 2 "create: empty tag" "1 to 255 bytes" snapshot create ./x ""
fails 2 "create: the tag of backups" "backups make and delete" snapshot create ./x qcow2ctl-backup
fails 2 "create: long tag" "1 to 255 bytes" snapshot create ./x "$(printf 'x%.0s' {1..256})"
fails 2 "create: tag with --external" "there is no TAG" snapshot create ./x y --external z
for size in 1 +1 -513 ++1M +-1M 1.5G "" + -; do
	fails 2 "resize: '$size'" "SIZE: '.*' is not a" resize ./x "$size"
done
fails 2 "rebase: not without --unsafe" "add --unsafe" rebase --no-backing ./x
fails 2 "rebase: nothing to do" "has to be given" rebase --unsafe ./x
fails 2 "rebase: both" "has to be given" rebase --unsafe --no-backing --backing a,format=raw ./x
fails 2 "rebase: format" "neither qcow2 nor raw" rebase --unsafe --backing a,format=vmdk ./x
fails 2 "rebase: no format" "is not PATH,format" rebase --unsafe --backing a ./x

# Files.
mkdir folder
: >empty
printf 'QFI\xfb' >short
make_image base 2M
make_image -b "$PWD/base" -F qcow2 good
qemu-io -f qcow2 -c "write -P 1 0 300k" good >/dev/null
cp good bare
img snapshot -c snap good
chmod 444 bare
cp bare private
chmod 000 private
for command in "${!line[@]}"; do
	refuses 3 "$command" "missing file" "^qcow2ctl: ./gone: cannot .*No such file" ./gone
	refuses 1 "$command" "directory" "it is a directory" ./folder
	refuses 1 "$command" "empty file" "not a qcow2 image" ./empty
	refuses 7 "$command" "short file" "ends inside the header" ./short
	refuses 1 "$command" "character device" "it is a character device" /dev/null
done
cp good noslash
for command in create apply delete resize shrink external; do
	words "$command" noslash
	fails 3 "$command: a device's name, not a path" "^qcow2ctl: noslash: " "${cmd[@]}"
	hints "$command: how to say that it is a path" "write ./noslash"
done
holds "a device's name: no file was touched" cmp good noslash
for command in commit rebase; do
	cp bare noslash
	words "$command" noslash
	succeeds "$command: always a path" "^$" "${cmd[@]}"
done
if [ "$(id -u)" = 0 ] && setpriv --reuid=65534 --clear-groups true 2>/dev/null; then
	chmod 755 .
	cp good shared && chmod 666 shared base
	plain=$Q
	# call() runs "$Q": give it one that has no rights. The tree may lie where only root gets.
	cp "${WITHOUT_RUN:-$Q}" own
	printf '#!/bin/sh\nexec setpriv --reuid=65534 --clear-groups "%s" "$@"\n' "$DIR/own" >weak
	chmod 755 weak
	Q=$DIR/weak
	cp good readonly && chmod 444 readonly
	for command in create apply delete resize shrink commit rebase; do
		refuses 4 "$command" "read-only file" "^qcow2ctl: ./readonly: cannot .*Permission denied" ./readonly
		refuses 4 "$command" "no rights at all" "^qcow2ctl: ./private: cannot .*Permission denied" ./private
	done
	for command in list external; do
		refuses 4 "$command" "no rights at all" "^qcow2ctl: ./private: cannot .*Permission denied" ./private
	done
	succeeds "list: read-only file" "snap" snapshot list ./readonly
	Q=$plain
else
	ok "read-only file # SKIP not root"
fi

# Locks.
for mode in "" -r; do
	# shellcheck disable=SC2086
	coproc holder { exec qemu-io $mode -f qcow2 good 2>&1; }
	echo "read 0 512" >&"${holder[1]}"
	until read -r said <&"${holder[0]}" && [[ $said == *"read 512/512"* ]]; do :; done
	for command in create apply delete resize shrink commit rebase; do
		refuses 6 "$command" "image of qemu-io $mode" "locked by another process .byte [12]0[0-9]..*qemu-io .pid" ./good
	done
	succeeds "list: qemu-io $mode has it" "snap" snapshot list ./good
	[ -n "$mode" ] || refuses 6 external "image of qemu-io" "locked by another process" ./good
	pid=$holder_PID
	echo quit >&"${holder[1]}"
	wait "$pid"
done
coproc holder { exec python3 "$edit/hold.py" good r100 r101 r103 r201 r203 w300; }
read -r said <&"${holder[0]}"
for command in create apply delete resize shrink commit rebase; do
	refuses 5 "$command" "another edit" "another edit of the image is under way: python3 .pid" ./good
done
pid=$holder_PID
eval "exec ${holder[1]}>&-"
wait "$pid"
coproc holder { exec python3 "$edit/hold.py" good r301; }
read -r said <&"${holder[0]}"
for command in apply delete shrink; do
	refuses 5 "$command" "a view is attached" "a view of a snapshot is attached: python3 .pid" ./good
done
succeeds "create: beside a view" "^$" snapshot create ./good beside
pid=$holder_PID
eval "exec ${holder[1]}>&-"
wait "$pid"
succeeds "delete: when the view is gone" "^$" snapshot delete ./good beside
coproc holder { exec qemu-io -f qcow2 base 2>&1; }
echo "read 0 512" >&"${holder[1]}"
until read -r said <&"${holder[0]}" && [[ $said == *"read 512/512"* ]]; do :; done
chmod 644 bare
refuses 6 commit "backing file of qemu-io" "^qcow2ctl: $PWD/base: .*locked by another process" ./bare
pid=$holder_PID
echo quit >&"${holder[1]}"
wait "$pid"
