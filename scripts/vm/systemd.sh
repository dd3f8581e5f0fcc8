# SPDX-License-Identifier: GPL-2.0
# Copyright (C) 2026 The dm-qcow2 authors
# shellcheck shell=dash disable=SC1091,SC2154	# the variables come from setup
#
# The part of the test machine's init that hands it over to systemd; vm-run puts it beside the script.

# systemd starts our script when it has come up.
become_systemd()
{
	echo "vm-run: script starts" >/dev/kmsg
	bash "$systemd" || { finish "$?"; exit; }
	$bb mkdir -p /run/systemd/system /etc/tmpfiles.d
	# It would empty /tmp, where the tree may be.
	$bb ln -sf /dev/null /etc/tmpfiles.d/tmp.conf
	cat >/run/systemd/system/vm-run.service <<-EOF
	[Unit]
	After=basic.target
	[Service]
	Type=oneshot
	TimeoutStartSec=infinity
	ExecStart=/run/vm/busybox sh /run/vm/init service
	EOF
	cat >/run/systemd/system/vm-run.target <<-EOF
	[Unit]
	Requires=basic.target
	Wants=vm-run.service
	AllowIsolate=yes
	EOF
	watchdog &
	exec /lib/systemd/systemd --show-status=0 --unit=vm-run.target
}

# The script as a service; what comes then is an orderly shutdown.
service()
{
	bb=/run/vm/busybox
	export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
	. /run/vm/ctl/setup
	$bb dmesg -n 7
	run_script
	leave "$rc"
	systemctl --no-block poweroff
}
