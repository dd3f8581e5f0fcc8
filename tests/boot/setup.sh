# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
# shellcheck shell=bash
#
# Before systemd comes up: a qcow2tab and an fstab for the images of test_systemd_01.sh, and a unit that brings one disk late.

set -euo pipefail
tree=$(readlink -f "$(dirname "$0")/../..")
PREFIX=/usr "$tree/scripts/install-boot" install
ln -sf "$tree/userspace/qcow2ctl" /usr/sbin/qcow2ctl
mkdir -p /srv/{img,data,disk,late,later,over,part}

cat >/etc/qcow2tab <<'END'
# name  image              -  options
data    /srv/img/data.qcow2  -  format=qcow2,discard,nofail
over    /srv/img/over.qcow2  -  backing=qcow2:/srv/img/base.qcow2
wrong   /srv/img/data.qcow2  -  nofail,colour=red
disk    /dev/vdb
late    /dev/mapper/slow     -  timeout=60
later   /dev/mapper/slower   -  nofail,timeout=1
hand    /srv/img/part.qcow2  -  noauto,read-only
END
cat >/etc/fstab <<'END'
/dev/vda             /srv/img   ext4   defaults  0 0
/dev/mapper/data     /srv/data  ext4   nofail    0 0
/dev/mapper/over     /srv/over  ext4   defaults  0 0
/dev/mapper/disk     /srv/disk  ext4   defaults  0 0
/dev/mapper/late     /srv/late  ext4   defaults  0 0
/srv/img/part.qcow2  /srv/part  qcow2  ro,noauto 0 0
END
mkdir -p /etc/systemd/system/sysinit.target.wants /etc/systemd/system/qcow2-attach@.service.d
cat >/etc/systemd/system/slow.service <<END
[Unit]
DefaultDependencies=no
After=systemd-udevd.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'sleep 6; echo boot: the slow disk comes >/dev/kmsg; dmsetup create slow --table "0 $(blockdev --getsz /dev/vdc) linear /dev/vdc 0"'
END
ln -s ../slow.service /etc/systemd/system/sysinit.target.wants/
# What the shutdown does is told on the console.
cat >/etc/systemd/system/qcow2-attach@.service.d/tell.conf <<'END'
[Service]
ExecStartPost=/bin/sh -c 'echo "boot: %i attached" >/dev/kmsg'
ExecStopPost=/bin/sh -c 'echo "boot: %i stopped: $SERVICE_RESULT" >/dev/kmsg'
END
# What is empty here is not read elsewhere, and does nothing.
for unit in getty.target systemd-{random-seed,update-utmp,firstboot,binfmt,hwdb-update,tmpfiles-setup,sysusers,sysctl,journal-flush} \
	keyboard-setup console-setup ldconfig {apt-daily,apt-daily-upgrade,man-db,e2scrub_all,dpkg-db-backup,logrotate}.timer \
	lvm2-monitor blk-availability mdmonitor multipathd; do
	case $unit in
	*.*) : >"/etc/systemd/system/$unit" ;;
	*) : >"/etc/systemd/system/$unit.service" ;;
	esac
done
# Of the generators fstab's and ours are enough.
mkdir -p /etc/systemd/system-generators
for generator in /lib/systemd/system-generators/*; do
	case ${generator##*/} in
	systemd-fstab-generator | qcow2-generator) ;;
	*) : >"/etc/systemd/system-generators/${generator##*/}" ;;
	esac
done
