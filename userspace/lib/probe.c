// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Signatures and partition tables through libblkid.
 */
#include <blkid/blkid.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "mem.h"
#include "probe.h"

/* A prober over a descriptor of its own: libblkid moves the file position. */
static int open_probe(int fd, blkid_probe *probe, int *own)
{
	MEM_FREE char *path = mem_printf("/proc/self/fd/%d", fd);

	*probe = NULL;
	*own = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (*own < 0)
		return -errno;
	*probe = blkid_new_probe();
	if (!*probe)
		return -ENOMEM;
	return blkid_probe_set_device(*probe, *own, 0, 0) ? -EIO : 0;
}

static void close_probe(blkid_probe probe, int own)
{
	if (probe)
		blkid_free_probe(probe);
	if (own >= 0)
		close(own);
}

static const char *value(blkid_probe probe, const char *name)
{
	const char *data;

	return blkid_probe_lookup_value(probe, name, &data, NULL) ? NULL : data;
}

/* "ext4 filesystem", "LVM2_member", "gpt partition table" */
static char *describe(blkid_probe probe)
{
	const char *type = value(probe, "TYPE"), *usage = value(probe, "USAGE");
	const char *table = value(probe, "PTTYPE");

	if (type && usage && !strcmp(usage, "filesystem"))
		return mem_printf("%s filesystem", type);
	if (type)
		return mem_printf("%s signature", type);
	if (table)
		return mem_printf("%s partition table", table);
	return mem_strdup("signature");
}

int probe_signature(int fd, char **what)
{
	blkid_probe probe;
	int own, ret;

	*what = NULL;
	ret = open_probe(fd, &probe, &own);
	if (!ret) {
		blkid_probe_enable_superblocks(probe, 1);
		blkid_probe_set_superblocks_flags(probe, BLKID_SUBLKS_TYPE | BLKID_SUBLKS_USAGE);
		blkid_probe_enable_partitions(probe, 1);
		switch (blkid_do_safeprobe(probe)) {
		case 0:
			*what = describe(probe);
			break;
		case 1:
			break;
		case -2:
			*what = mem_strdup("mixture of signatures");
			break;
		default:
			ret = -EIO;
		}
	}
	close_probe(probe, own);
	return ret;
}

static void collect(blkid_partlist list, struct probe_partition **partitions, unsigned int *count)
{
	int i, nr = blkid_partlist_numof_partitions(list);
	blkid_partition partition;

	for (i = 0; i < nr; i++) {
		partition = blkid_partlist_get_partition(list, i);
		if (!partition || blkid_partition_is_extended(partition) ||
		    blkid_partition_get_partno(partition) <= 0)
			continue;
		*partitions = mem_grow(*partitions, *count, sizeof(**partitions));
		(*partitions)[*count].number = blkid_partition_get_partno(partition);
		(*partitions)[*count].start = blkid_partition_get_start(partition);
		(*partitions)[*count].sectors = blkid_partition_get_size(partition);
		++*count;
	}
}

int probe_partitions(int fd, struct probe_partition **partitions, unsigned int *count)
{
	blkid_partlist list;
	blkid_probe probe;
	int own, ret;

	*partitions = NULL;
	*count = 0;
	ret = open_probe(fd, &probe, &own);
	if (!ret) {
		/* NULL is "no table" as well as "cannot read". */
		errno = 0;
		list = blkid_probe_get_partitions(probe);
		if (list)
			collect(list, partitions, count);
		else if (errno == EIO)
			ret = -EIO;
	}
	close_probe(probe, own);
	return ret;
}
