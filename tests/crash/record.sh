#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
#
# In the machine: run every workload on an image over dm-log-writes: the image is the block device, or a
# file in an ext4 on it. Or it has a data file, and a program that serves both logs them.
#
# Each of WORKLOADS has a disk of its own for the log (VM_DISKS); the last disk, quicker than a shared folder, gets the media,
# one behind the other. Journals go to VM_OUT.

# shellcheck source=tests/kselftest/dm-qcow2/lib.sh
. "$(dirname "$(readlink -f "$0")")/../kselftest/dm-qcow2/lib.sh"
# shellcheck source=tests/kselftest/dm-qcow2/zip.sh
. "$HERE/zip.sh"

CRASH=$TREE/tests/crash
operations=600 commits=60
[ -z "${QCOW2_FULL:-}" ] || { operations=4000; commits=300; }
medium_kib=49152
read -ra logs <<<"$VM_DISKS"
media=${logs[-1]}
medium=0
scratch ext4
need_module dm-log-writes
ramdisk 1 64
mkdir below above
# What is not written is poison, so that it shows.
python3 -c "open('poison', 'wb').write(b'\xa5' * ($medium_kib << 10))"
create base.qcow2 16M
# The base has numbers that no write has.
qemu-io -c 'write -P 187 0 12M' base.qcow2 >/dev/null
cp base.qcow2 "$VM_OUT/base.qcow2"

wanted() { [[ " $WORKLOADS " = *" $1 "* ]]; }

# shellcheck source=tests/crash/logged.sh
. "$CRASH/logged.sh"

# record_sectors NAME ON KINDS CLUSTER CREATE-OPTIONS...: numbered sectors; CLUSTER is what zeros fill.
record_sectors() {
	local name=$1 kind=${1%-file} on=$2 kinds=$3 cluster=$4 worker
	wanted "$name" || return 0
	local -a below=()
	shift 4
	case $kind in cow | subcluster) below=(-b "qcow2:$DIR/base.qcow2") ;; esac
	begin "$name" "$on" -o "cluster_size=$cluster" "$@"
	attach q "$IMAGE" "${below[@]}" commit_ms 100
	python3 "$CRASH/workload.py" /dev/mapper/q logged "$VM_OUT/$name.journal" "$name" "$operations" "$cluster" "$kinds" &
	worker=$!
	if [ "$kind" = suspend ]; then
		while kill -0 $worker 2>/dev/null; do
			dmsetup suspend q
			dmsetup resume q
			sleep 0.2
		done
	fi
	wait $worker || fail "$name: the workload failed"
	if [ "$kind" = suspend ]; then
		dmsetup suspend q
		all_durable "$name" in_log
	fi
	end "$name" "$on"
}

# record_files NAME KINDS CLUSTER CREATE-OPTIONS: image and data file are block devices over two files.
record_files() {
	local name=$1 image server
	wanted "$name" || return 0
	need_module fuse
	mkdir -p files
	python3 "$CRASH/twofiles.py" files "$VM_OUT/$name.log" 16 &
	server=$!
	MOUNTS+=("$DIR/files")
	until mountpoint -q files; do
		kill -0 $server || fail "nobody serves the files"
		sleep 0.1
	done
	loop files/image
	image=$LOOP
	loop files/data
	create -o "$4,data_file=$LOOP" "$image" 16M
	sync "$image" "$LOOP"
	cat files/image files/data >"$VM_OUT/$name.medium"
	echo begin >files/mark
	attach q "$image" data_file "$LOOP" commit_ms 100
	# Fewer: each write has its way through a program.
	python3 "$CRASH/workload.py" /dev/mapper/q "$DIR/files/mark" "$VM_OUT/$name.journal" "$name" \
		$((operations / 2)) "$3" "$2" || fail "$name: the workload failed"
	detach q
	all_durable "$name" in_file
	losetup -d "$image" "$LOOP"
	until umount files 2>/dev/null; do sleep 0.1; done
	wait $server || fail "$name: no log"
	ok "$name"
}

# record_database NAME ON MODE: SQLite on an ext4 on the device.
record_database() {
	wanted "$1" || return 0
	begin "$1" "$2" -o cluster_size=4096
	attach q "$IMAGE" commit_ms 100
	mount /dev/mapper/q above
	MOUNTS+=("$DIR/above")
	python3 "$CRASH/database.py" above logged "$VM_OUT/$1.journal" "$commits" "$3" || fail "$1: the workload failed"
	umount above
	end "$1" "$2"
}

# NAME-file: the same on the file system.
record_sectors allocate device www 65536
record_sectors cow device www 65536 -u -b "$DIR/base.qcow2" -F qcow2
record_sectors subcluster device wwwz 4096 -o extended_l2=on,cluster_size=128k -u -b "$DIR/base.qcow2" -F qcow2
record_sectors snapshot device www 4096
record_sectors compressed device wwwzd 65536
record_sectors mixed device wwwzd 4096
record_sectors growth device www 512 -o refcount_bits=64
record_sectors suspend device wwz 4096
record_sectors file file wwwzd 65536
record_files datafile wwwzd 4096 cluster_size=4096
record_files datafile-sub wwwz 4096 extended_l2=on,cluster_size=128k
record_database database-wal device wal
record_database database-delete file delete
record_sectors allocate-file file www 65536
record_sectors cow-file file www 65536 -u -b "$DIR/base.qcow2" -F qcow2
record_sectors snapshot-file file www 4096
record_sectors growth-file file www 512 -o refcount_bits=64
record_sectors suspend-file file wwz 4096
record_database database-wal-file file wal
