// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Detach a device.
 *
 * Partition maps hold the device open; they go first. A moment's use, by udev
 * say, is waited for even without --wait; whoever can be named is not.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <time.h>
#include "detach.h"
#include "device.h"
#include "err.h"
#include "guard.h"
#include "holder.h"
#include "kmsg.h"
#include "mem.h"
#include "partition.h"
#include "run.h"

#define GRACE_SECONDS	2

/* Openers of the device and its partition maps, the maps' own not counted. */
static unsigned int users(const struct device *device, dev_t *devices, size_t *count)
{
	unsigned int open = device->dm.open_count;
	struct dm_device map;
	char **name;

	devices[0] = makedev(device->dm.major, device->dm.minor);
	*count = 1;
	for (name = device->partition_names; name && *name; name++) {
		if (dm_query(*name, &map))
			continue;
		devices[(*count)++] = makedev(map.major, map.minor);
		open += map.open_count - 1;
		dm_release(&map);
	}
	return open;
}

static size_t max_devices(const struct device *device)
{
	size_t count = 1;
	char **name;

	for (name = device->partition_names; name && *name; name++)
		count++;
	return count;
}

/* Partition maps of ours are no holders to complain about. */
static bool is_own_map(const struct device *device, const char *text)
{
	char **name;

	for (name = device->partition_names; name && *name; name++) {
		MEM_FREE char *own = mem_printf("held by device %s", *name);

		if (!strcmp(own, text))
			return true;
	}
	return false;
}

/* All that can be named: "mounted on /mnt; held by device vg-root". NULL: nobody. */
static char *name_holders(const struct device *device, const dev_t *devices, size_t count)
{
	char **holders = NULL, **text, *joined = NULL, *longer;
	size_t i;

	holder_mounts(devices, count, &holders);
	for (i = 0; i < count; i++)
		holder_devices(devices[i], &holders);
	holder_processes(devices, count, &holders);
	for (text = holders; text && *text; text++) {
		if (is_own_map(device, *text))
			continue;
		longer = joined ? mem_printf("%s; %s", joined, *text) : mem_strdup(*text);
		free(joined);
		joined = longer;
	}
	mem_free_strings(holders);
	return joined;
}

/* Does anybody use it? Then *@who names them, NULL if they are not to be found. */
static bool is_used(const struct device *device, char **who)
{
	MEM_FREE dev_t *devices = mem_zalloc(max_devices(device) * sizeof(*devices));
	size_t count;

	if (!users(device, devices, &count))
		return false;
	*who = name_holders(device, devices, count);
	return true;
}

static int refuse_busy(const char *name, const char *who)
{
	err_fail(ERR_BUSY, name, "device is in use: %s", who ? who : "it is open");
	err_hint("--wait SEC waits for its users, --deferred detaches when the last one closes it");
	return ERR_BUSY;
}

static const char *lost_state(const struct device *device)
{
	const char *mode = device->status.mode;

	if (mode && !strcmp(mode, "fail"))
		return "a write or flush had failed (mode fail), unflushed data may be missing in the image";
	if (mode && !strcmp(mode, "lost"))
		return "it was lost (mode lost), data since the last commit is missing in the image";
	return NULL;
}

/* Now. 0, -EBUSY if somebody was faster, or another errno. */
static int remove_now(struct device *device)
{
	int log = kmsg_open(), ret;
	char *said;

	ret = partition_remove(device, false);
	if (!ret)
		ret = dm_remove(device->dm.name, false);
	dm_settle();
	said = kmsg_sentence(log, device->dm.major, device->dm.minor);
	if (!ret && said)
		err_warn(device->dm.name, "the kernel says: %s", said);
	if (!ret && lost_state(device))
		err_warn(device->dm.name, "%s", lost_state(device));
	free(said);
	if (ret == -EBUSY && device->partition_names)
		partition_add(device);
	return ret;
}

static int defer(const struct device *device)
{
	int ret = partition_remove(device, true);

	if (!ret)
		ret = dm_remove(device->dm.name, true);
	dm_settle();
	return ret && ret != -ENXIO ? err_errno(-ret, device->dm.name) : 0;
}

static int refuse_layer(const struct device *device)
{
	err_fail(ERR_BUSY, device->dm.name, "layer %s stands over its image", device->layer);
	err_hint("remove the layer first");
	return ERR_BUSY;
}

/*
 * One attempt. *@busy: it is in use, by *@who (or nobody knows); nothing was
 * printed. Else 0, or an exit code after a message.
 */
static int attempt(const char *name, bool *busy, char **who)
{
	struct device device;
	int ret;

	*who = NULL;
	*busy = false;
	ret = device_get(name, &device);
	if (ret)
		return device_fail(ret, name);
	if (device.layer) {
		ret = refuse_layer(&device);
	} else {
		*busy = is_used(&device, who);
		ret = *busy ? 0 : remove_now(&device);
		*busy |= ret == -EBUSY;
		if (*busy)
			ret = 0;
		else if (ret)
			ret = device_fail(ret, name);
	}
	device_release(&device);
	return ret;
}

static int defer_by_name(const char *name)
{
	struct device device;
	int ret = device_get(name, &device);

	if (ret == -ENXIO)	/* the last user has just gone, and it with him */
		return 0;
	if (ret)
		return device_fail(ret, name);
	ret = defer(&device);
	device_release(&device);
	return ret;
}

/* Seconds since an arbitrary start. */
static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

static int detach_locked(const char *name, bool deferred, u64 seconds)
{
	const struct timespec pause = { .tv_nsec = 100000000 };
	double start = now(), waited;
	bool busy;
	char *who;
	int ret;

	for (;;) {
		ret = attempt(name, &busy, &who);
		waited = now() - start;
		if (!busy || (waited >= seconds && (who || deferred || waited >= GRACE_SECONDS)))
			break;
		free(who);
		nanosleep(&pause, NULL);
	}
	if (busy)
		ret = deferred ? defer_by_name(name) : refuse_busy(name, who);
	free(who);
	return ret;
}

int detach_device(const char *name, bool deferred, u64 seconds)
{
	struct device device;
	int lock, ret;

	/* A wrong name needs no lock. */
	ret = device_get(name, &device);
	if (ret)
		return device_fail(ret, name);
	ret = run_lock(device.dm.name, seconds, &lock);
	if (!ret) {
		ret = detach_locked(device.dm.name, deferred, seconds);
		if (!ret)
			guard_bury(device.dm.name);
		run_unlock(device.dm.name, lock);
	}
	device_release(&device);
	return ret;
}
