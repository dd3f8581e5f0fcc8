// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Messages check and check_stop, and what the status says meanwhile.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include "check_online.h"
#include "device.h"
#include "err.h"
#include "mem.h"
#include "progress.h"

#define POLL_NS	100000000

static int find(const char *target, struct device *device)
{
	struct stat st;

	if (!strchr(target, '/'))
		return device_get(target, device);
	if (stat(target, &st) || !S_ISBLK(st.st_mode))
		return -ENXIO;
	return device_get_number(major(st.st_rdev), minor(st.st_rdev), device);
}

int check_online_device(const char *target, char **device)
{
	struct device found;
	int ret = find(target, &found);

	*device = NULL;
	/* An image: whoever opens it says more. */
	if (ret == -ENXIO)
		return 0;
	if (ret)
		return device_fail(ret, target);
	if (!found.dm.readonly)
		*device = device_target_name(&found);
	device_release(&found);
	return 0;
}

/* What the kernel says about @device now. */
static int look(const char *device, struct status *status)
{
	struct dm_device dm;
	int ret = dm_query(device, &dm);

	memset(status, 0, sizeof(*status));
	if (!ret && !status_parse(dm.status, status))
		ret = -ENXIO;
	dm_release(&dm);
	return ret ? device_fail(ret, device) : 0;
}

static int start(const char *device)
{
	struct status status;
	int ret = dm_message(device, "check");
	bool runs;

	if (!ret)
		return 0;
	if (ret != -EBUSY)
		return err_errno_what(-ret, device, "cannot check");
	/* Somebody else's check is as good as ours. */
	ret = look(device, &status);
	runs = !ret && status.check && !strncmp(status.check, "running:", 8);
	status_release(&status);
	if (ret || runs)
		return ret;
	return err_fail(ERR_BUSY, device, "the device is suspended");
}

/* 0 and *@more: it runs on. */
static int step(const char *device, struct check_online *result, bool *more)
{
	unsigned long long errors, leaks;
	struct status status;
	unsigned int percent;
	int ret = look(device, &status);

	*more = false;
	if (ret || !status.check) {
		ret = ret ? ret : err_fail(ERR_FAILED, device, "the check was stopped");
	} else if (sscanf(status.check, "running:%u", &percent) == 1) {
		*more = true;
		ret = progress_step(percent, 100);
		if (ret)
			dm_message(device, "check_stop");
	} else if (sscanf(status.check, "done:%llu:%llu", &errors, &leaks) == 2) {
		result->errors = errors;
		result->leaks = leaks;
		if (status.cluster)
			result->clusters = (status.virtual + status.cluster - 1) / status.cluster;
	} else {
		ret = err_fail(ERR_FAILED, device,
			       "the check was stopped: the device was suspended meanwhile, or a message said so");
	}
	status_release(&status);
	return ret;
}

int check_online(const char *device, struct check_online *result)
{
	const struct timespec pause = { .tv_nsec = POLL_NS };
	bool more = true;
	int ret = start(device);

	memset(result, 0, sizeof(*result));
	while (!ret && more) {
		ret = step(device, result, &more);
		if (!ret && more)
			nanosleep(&pause, NULL);
	}
	return ret;
}
