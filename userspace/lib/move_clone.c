// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * The end of layer clone, which somebody has put in by `interpose`: a device that goes to a raw one.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "err.h"
#include "guard.h"
#include "interpose.h"
#include "loop.h"
#include "mem.h"
#include "move.h"

#define MEMORY	(4U << 20)

bool move_is_begun(const char *name)
{
	struct device device;
	bool begun = !device_get(name, &device) && device.layer && !strcmp(device.layer, "clone");

	device_release(&device);
	return begun;
}

/* "7:0 7:1 253:3 128 ...": the second is where it goes. */
static int read_dest(const char *table, unsigned int *major, unsigned int *minor)
{
	return table && sscanf(table, "%*s %u:%u", major, minor) == 2 ? 0 : -EINVAL;
}

static int prepare(const struct device *device, void *data)
{
	MEM_FREE char *params = NULL;
	struct move_mirror clone;
	unsigned int major, minor;
	int ret = move_clone_look(device->dm.name, &clone);

	(void)data;
	if (!ret)
		ret = read_dest(device->dm.table, &major, &minor);
	if (ret)
		return err_errno_what(-ret, device->dm.name, "its layer does not say how far it is");
	if (clone.done != clone.total)
		return err_fail(ERR_BUSY, device->dm.name,
				"%llu of %llu regions are copied; without the layer the rest is missing",
				(unsigned long long)clone.done, (unsigned long long)clone.total);
	params = mem_printf("%u:%u 0", major, minor);
	return guard_only_way("linear", params);
}

/* The guard knows the way. */
static int apply(const struct device *device, void *data)
{
	(void)device;
	(void)data;
	guard_rest();
	return 0;
}

/* A file under a loop device, or a node. */
static char *find_dest(const struct device *device)
{
	unsigned int major, minor;
	bool own;
	char *path;

	if (read_dest(device->dm.table, &major, &minor))
		return NULL;
	path = loop_file(makedev(major, minor), &own);
	return path ? path : mem_printf("/dev/block/%u:%u", major, minor);
}

int move_finish(const char *name, unsigned int seconds)
{
	struct guard_request guard = {
		.writes = true, .layered = true, .seconds = seconds, .memory = MEMORY,
		.moved = move_mark,
	};
	struct guard_change change = { prepare, apply, NULL };
	MEM_FREE char *dest = NULL, *state = NULL, *note = NULL;
	struct device device;
	bool own = false;
	int ret = device_get(name, &device);

	if (ret)
		return device_fail(ret, name);
	dest = find_dest(&device);
	state = interpose_find_state(&device.dm, &own);
	note = device.image ? interpose_default_state(&device, "clone") : NULL;
	device_release(&device);
	guard.state = dest;
	ret = guard_change(name, &guard, &change);
	dm_settle();
	if (ret)
		return ret;
	if (state && own)
		unlink(state);
	else if (note)
		unlink(note);
	return 0;
}
