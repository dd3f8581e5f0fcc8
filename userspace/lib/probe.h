/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * What libblkid sees on a block device; the only file that knows it. Never
 * used to choose an image's format.
 */
#ifndef QCOW2CTL_PROBE_H
#define QCOW2CTL_PROBE_H

#include <stdbool.h>
#include <linux/types.h>

struct probe_partition {
	unsigned int number;
	u64 start, sectors;
};

/*
 * Does the device hold something that is not ours: a filesystem, a RAID or LVM
 * member, a partition table? 0 and *@what NULL or "ext4 filesystem" for the
 * caller to free; negative errno. Leaves the device's locks alone.
 */
int probe_signature(int fd, char **what);

/*
 * The partitions of a device, without the containers of logical ones. 0 and
 * an array for the caller to free, *@count 0 if there is no table; negative
 * errno.
 */
int probe_partitions(int fd, struct probe_partition **partitions, unsigned int *count);

#endif
