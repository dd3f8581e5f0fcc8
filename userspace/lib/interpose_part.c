// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * The parts of a device that has a layer: what they are made with, and asked.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "err.h"
#include "interpose.h"
#include "kmsg.h"
#include "mem.h"
#include "module.h"
#include "text.h"

/* ------------------------------------------------------------------------
 * May it be?
 */

int interpose_need_target(const char *name, const char *target, const char *known)
{
	MEM_FREE char *module = known ? mem_strdup(known) : mem_printf("dm-%s", target);
	unsigned int version[3];
	int ret;

	if (text_has_control(target))
		return err_usage("--table: its target has control characters");
	if (!dm_target_version(target, version))
		return 0;
	module_load(module);
	ret = dm_target_version(target, version);
	if (!ret)
		return 0;
	if (ret != -ENOENT)
		return device_fail(ret, name);
	ret = err_fail(ERR_UNSUPPORTED, name, "the kernel has no target %s", target);
	err_hint("load module %s, if there is one", module);
	return ret;
}

int interpose_check_device(const struct device *device, const char *writer)
{
	const char *name = device->dm.name, *mode = device->status.mode;
	const char *space = device->status.space;

	if (device->layer) {
		err_fail(ERR_BUSY, name, "layer %s stands over its image", device->layer);
		err_hint("qcow2ctl interpose %s --remove", name);
		return ERR_BUSY;
	}
	if (!device->image)
		return err_fail(ERR_FAILED, name, "device has no image");
	if (device->dm.readonly && writer)
		return err_fail(ERR_POLICY, name, "device is read-only, %s is for writers", writer);
	if (mode && strcmp(mode, device->dm.readonly ? "ro" : "rw"))
		return err_fail(ERR_FAILED, name, "device is in mode %s", mode);
	if (space && !strcmp(space, "full"))
		return err_fail(ERR_BUSY, name, "writes wait for space");
	return device_check_name(name);
}

/* ------------------------------------------------------------------------
 * Make
 */

static int refuse_load(const struct dm_device *dm, int error, int log)
{
	MEM_FREE char *sentence = kmsg_sentence(log, dm->major, dm->minor);
	MEM_FREE char *shown = sentence ? text_printable(sentence) : NULL;

	if (shown)
		return err_fail(err_code(error), dm->name, "the kernel refuses the table: %s", shown);
	return err_errno_what(error, dm->name, "the kernel refuses the table");
}

int interpose_load(const struct dm_device *dm, const char *target, u64 sectors, const char *params,
		   bool readonly)
{
	int log = kmsg_open();
	int ret = dm_load(dm->name, target, sectors, params, readonly);

	if (ret)
		return refuse_load(dm, -ret, log);
	if (log >= 0)
		close(log);
	return 0;
}

int interpose_create_part(const struct device *device, const char *name, const char *end,
			  struct dm_device *part)
{
	MEM_FREE char *uuid = NULL;
	int ret = 0;

	if (!strncmp(device->dm.uuid, DEVICE_UUID_PREFIX, strlen(DEVICE_UUID_PREFIX))) {
		uuid = mem_printf("%s-%s", device->dm.uuid, end);
	} else {
		struct image image = IMAGE_CLOSED;

		ret = image_open(&image, device->image);
		MEM_FREE char *id = ret ? NULL : image_id(&image);

		uuid = mem_printf(DEVICE_UUID_PREFIX "%s-%s-%s", id ? id : "", device->dm.name, end);
		image_close(&image);
	}
	if (ret)
		return ret;
	ret = dm_create(name, uuid);
	if (ret == -EBUSY)
		return err_fail(ERR_BUSY, device->dm.name, "a device %s exists", name);
	if (!ret)
		ret = dm_query(name, part);
	return ret ? device_fail(ret, name) : 0;
}

int interpose_measure(const struct dm_device *part, u64 sectors)
{
	int ret = interpose_need_target(part->name, "zero", NULL);

	if (!ret)
		ret = interpose_load(part, "zero", sectors, "", part->readonly);
	if (ret)
		return ret;
	ret = dm_resume_private(part->name);
	dm_settle();
	dm_prepare();
	return ret ? err_errno_what(-ret, part->name, "cannot resume it") : 0;
}

/* ------------------------------------------------------------------------
 * Ask
 */

int interpose_is_live(const char *name, const char *target, u64 sectors)
{
	struct dm_device dm;
	int ret = dm_query(name, &dm);

	if (!ret && (!dm.live || dm.suspended || dm.sectors != sectors || strcmp(dm.target, target)))
		ret = -EIO;
	dm_release(&dm);
	return ret;
}

int interpose_is_parked(const char *name, bool writable)
{
	struct status status;
	struct dm_device dm;
	int ret = dm_query(name, &dm);

	if (ret)
		return ret;
	status_parse(dm.status, &status);
	if (!dm.suspended)
		ret = -EBUSY;
	else if (writable && (!status.clean || strcmp(status.clean, "yes") || !status.claim ||
			      strcmp(status.claim, "parked")))
		ret = -EIO;
	status_release(&status);
	dm_release(&dm);
	return ret;
}
