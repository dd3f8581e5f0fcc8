// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Make and remove partition maps. Names and uuids are those of kpartx -p p, so
 * that lsblk and udev know the maps for partitions.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
#include "err.h"
#include "mem.h"
#include "partition.h"
#include "probe.h"

static char *map_name(const struct device *device, unsigned int number)
{
	return mem_printf("%sp%u", device->dm.name, number);
}

/* 0 or a negative errno; nothing is left after an error. */
static int add_map(const struct device *device, const char *name,
		   const struct probe_partition *partition)
{
	MEM_FREE char *uuid = mem_printf("part%u-%s", partition->number, device->dm.uuid);
	MEM_FREE char *params =
		mem_printf("%s %llu", device->number, (unsigned long long)partition->start);
	int ret;

	ret = dm_create(name, uuid);
	if (ret)
		return ret;
	ret = dm_load(name, "linear", partition->sectors, params, device->dm.readonly);
	if (!ret)
		ret = dm_resume(name);
	if (ret)
		dm_remove(name, false);
	return ret;
}

static bool fits(const struct device *device, const struct probe_partition *partition)
{
	return partition->sectors && partition->start < device->dm.sectors &&
	       partition->sectors <= device->dm.sectors - partition->start;
}

static int add_all(const struct device *device, const struct probe_partition *partitions,
		   unsigned int count)
{
	unsigned int i;
	int ret = 0;

	for (i = 0; i < count && !ret; i++) {
		MEM_FREE char *name = map_name(device, partitions[i].number);

		if (!fits(device, &partitions[i])) {
			err_warn(device->dm.name, "partition %u leaves the disk, it gets no map",
				 partitions[i].number);
			continue;
		}
		ret = add_map(device, name, &partitions[i]);
		if (ret)
			err_errno_what(-ret, device->dm.name, "cannot make partition map %s", name);
	}
	/* The last one that was tried left nothing behind. */
	for (i = ret ? i - 1 : 0; i-- > 0; ) {
		MEM_FREE char *name = map_name(device, partitions[i].number);

		if (fits(device, &partitions[i]))
			dm_remove(name, false);
	}
	dm_settle();
	return ret ? err_code(-ret) : 0;
}

int partition_add(const struct device *device)
{
	MEM_FREE struct probe_partition *partitions = NULL;
	unsigned int count;
	int fd, ret;

	fd = open(device->path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(errno, device->path);
	ret = probe_partitions(fd, &partitions, &count);
	close(fd);
	if (ret)
		return err_errno_what(-ret, device->path, "cannot read the partition table");
	if (!count)
		err_warn(device->dm.name, "no partitions found");
	return add_all(device, partitions, count);
}

int partition_remove(const struct device *device, bool deferred)
{
	char **name;
	int ret = 0;

	for (name = device->partition_names; !ret && name && *name; name++)
		ret = dm_remove(*name, deferred);
	dm_settle();
	return ret;
}

void partition_warn(const char *name)
{
	struct device device;
	struct dm_device map;
	char **next;
	int ret = device_get(name, &device);

	for (next = device.partition_names; !ret && next && *next; next++) {
		if (!dm_query(*next, &map) && map.open_count > 0)
			err_warn(*next, "what is on this partition is not frozen: in the snapshot it is as after a loss of power");
		dm_release(&map);
	}
	device_release(&device);
}
