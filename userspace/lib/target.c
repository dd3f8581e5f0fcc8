// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Tell devices from images.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include "err.h"
#include "guard.h"
#include "mem.h"
#include "target.h"
#include "text.h"

static int open_device(struct target *target, const struct device *device)
{
	if (!device->image)
		return err_fail(ERR_FAILED, device->dm.name, "device has no image");
	target->device = mem_strdup(device->dm.name);
	target->is_device = true;
	return image_open(&target->image, device->image);
}

static void hint_file(const char *name)
{
	MEM_FREE char *path = text_shell(name);

	err_hint("for the file of that name write ./%s", path);
}

static int open_name(struct target *target, const char *name)
{
	struct device device;
	struct stat st;
	int ret;

	ret = device_get(name, &device);
	if (ret == -ENXIO && !stat(name, &st)) {
		err_fail(ERR_NOT_FOUND, name, "no such qcow2 device");
		hint_file(name);
		return ERR_NOT_FOUND;
	}
	if (ret) {
		ret = device_fail(ret, name);
		if (ret != ERR_POLICY && !stat(name, &st))
			hint_file(name);
		return ret;
	}
	ret = open_device(target, &device);
	device_release(&device);
	return ret;
}

/* The device that uses the image; one that has it on top goes first, and a view last. */
static char *find_user(const struct image *image)
{
	struct device *devices;
	char *name = NULL;
	size_t count, i;
	int layer;

	device_list(&devices, &count);
	for (i = 0; i < count; i++) {
		layer = device_layer_of(&devices[i], image);
		if (!layer && device_view(&devices[i]))
			layer = 1;
		if (layer < 0 || (layer && name))
			continue;
		free(name);
		name = mem_strdup(devices[i].dm.name);
		if (!layer)
			break;
	}
	device_release_list(devices, count);
	return name;
}

static int open_path(struct target *target, const char *path)
{
	struct device device;
	struct stat st;
	int ret;

	if (!stat(path, &st) && S_ISBLK(st.st_mode) &&
	    !device_get_number(major(st.st_rdev), minor(st.st_rdev), &device)) {
		ret = open_device(target, &device);
		device_release(&device);
		return ret;
	}
	ret = image_open(&target->image, path);
	if (!ret)
		target->device = find_user(&target->image);
	return ret;
}

static int open_target(struct target *target, const char *text)
{
	struct image closed = IMAGE_CLOSED;

	memset(target, 0, sizeof(*target));
	target->image = closed;
	return strchr(text, '/') ? open_path(target, text) : open_name(target, text);
}

int target_open(struct target *target, const char *text)
{
	int ret = open_target(target, text);

	return ret ? ret : image_verify(&target->image);
}

int target_open_damaged(struct target *target, const char *text)
{
	int ret = open_target(target, text);

	return ret ? ret : image_verify_damaged(&target->image);
}

int target_close(struct target *target)
{
	int ret;

	/* First of all the locks go, which would keep the device from running. */
	image_close(&target->image);
	ret = target->is_held ? guard_resume() : 0;
	target->is_held = false;
	free(target->device);
	target->device = NULL;
	return ret;
}
