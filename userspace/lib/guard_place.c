// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Does a file lie on a device? Through file systems, partitions, loop devices,
 * other mapped devices and images, as far as sysfs and the mount table show it.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "err.h"
#include "guard.h"
#include "mem.h"
#include "run.h"
#include "text.h"

#define MAX_DEPTH	16

static bool file_is_on(const char *path, dev_t device, int depth);
static bool is_on(dev_t dev, dev_t device, int depth);

static bool number_is_on(const char *path, dev_t device, int depth)
{
	MEM_FREE char *number = text_first_line(path);
	unsigned int major, minor;

	return number && sscanf(number, "%u:%u", &major, &minor) == 2 &&
	       is_on(makedev(major, minor), device, depth);
}

static bool slaves_are_on(const char *folder, dev_t device, int depth)
{
	MEM_FREE char *slaves = mem_printf("%s/slaves", folder);
	DIR *dir = opendir(slaves);
	struct dirent *entry;
	bool found = false;

	while (dir && !found && (entry = readdir(dir))) {
		MEM_FREE char *path = mem_printf("%s/%s/dev", slaves, entry->d_name);

		found = *entry->d_name != '.' && number_is_on(path, device, depth);
	}
	if (dir)
		closedir(dir);
	return found;
}

/* The files of an image that is attached as @dev. */
static bool layers_are_on(dev_t dev, dev_t device, int depth)
{
	struct device upper;
	bool found = false;
	size_t i;

	if (device_get_number(major(dev), minor(dev), &upper))
		return false;
	for (i = 0; !found && i < upper.table.nr_layers; i++)
		found = file_is_on(upper.table.paths[i], device, depth);
	device_release(&upper);
	return found;
}

static bool is_on(dev_t dev, dev_t device, int depth)
{
	MEM_FREE char *folder = mem_printf("/sys/dev/block/%u:%u", major(dev), minor(dev));
	MEM_FREE char *partition = mem_printf("%s/partition", folder);
	MEM_FREE char *parent = mem_printf("%s/../dev", folder);
	MEM_FREE char *loop = mem_printf("%s/loop/backing_file", folder);
	MEM_FREE char *backing = NULL;

	if (dev == device)
		return true;
	if (!major(dev) || depth >= MAX_DEPTH)
		return false;
	backing = text_first_line(loop);
	if (backing && file_is_on(backing, device, depth + 1))
		return true;
	if (!access(partition, F_OK) && number_is_on(parent, device, depth + 1))
		return true;
	return slaves_are_on(folder, device, depth + 1) || layers_are_on(dev, device, depth + 1);
}

/* A file system without a device number of its own, btrfs say: what was mounted? */
static bool mount_is_on(u64 id, dev_t device, int depth)
{
	FILE *file = fopen("/proc/self/mountinfo", "re");
	MEM_FREE char *line = NULL;
	bool found = false;
	char source[256];
	struct stat st;
	size_t size = 0;
	const char *dash;

	while (file && !found && getline(&line, &size, file) >= 0) {
		dash = strstr(line, " - ");
		found = strtoull(line, NULL, 10) == id && dash &&
			sscanf(dash, " - %*s %255s", source) == 1 && *source == '/' &&
			!stat(source, &st) && S_ISBLK(st.st_mode) &&
			is_on(st.st_rdev, device, depth + 1);
	}
	if (file)
		fclose(file);
	return found;
}

static bool file_is_on(const char *path, dev_t device, int depth)
{
	struct statx stx;

	if (depth >= MAX_DEPTH || statx(AT_FDCWD, path, 0, STATX_BASIC_STATS | STATX_MNT_ID, &stx))
		return false;
	if (S_ISBLK(stx.stx_mode))
		return is_on(makedev(stx.stx_rdev_major, stx.stx_rdev_minor), device, depth + 1);
	if (stx.stx_dev_major)
		return is_on(makedev(stx.stx_dev_major, stx.stx_dev_minor), device, depth + 1);
	return stx.stx_mask & STATX_MNT_ID && mount_is_on(stx.stx_mnt_id, device, depth);
}

/* A file that is not there yet will be where its folder is. */
static bool place_is_on(const char *path, dev_t device)
{
	MEM_FREE char *place = mem_strdup(path);
	struct stat st;
	char *slash;

	while (stat(place, &st) && errno == ENOENT) {
		slash = strrchr(place, '/');
		if (!slash)
			return file_is_on(".", device, 0);
		slash[slash == place] = '\0';
	}
	return file_is_on(place, device, 0);
}

static int refuse(const struct device *device, const char *path)
{
	MEM_FREE char *shown = text_printable(path);

	return err_fail(ERR_POLICY, device->dm.name,
			"%s lies on it and could not be used while it is suspended", shown);
}

/* The program and the libraries that it is made of. */
static int check_program(const struct device *device, dev_t number)
{
	FILE *file = fopen("/proc/self/maps", "re");
	MEM_FREE char *line = NULL, *last = mem_strdup("");
	size_t size = 0;
	char *path;
	int ret = 0;

	while (file && !ret && getline(&line, &size, file) >= 0) {
		path = strchr(line, '/');
		if (!path)
			continue;
		path[strcspn(path, "\n")] = '\0';
		if (!strcmp(path, last))
			continue;
		free(last);
		last = mem_strdup(path);
		if (file_is_on(path, number, 0))
			ret = refuse(device, path);
	}
	if (file)
		fclose(file);
	return ret;
}

int guard_check_places(const struct device *device, const char *file)
{
	MEM_FREE char *copy = guard_copy_path(device->dm.name, device->image);
	dev_t number = makedev(device->dm.major, device->dm.minor);
	size_t i;

	for (i = 0; i < device->table.nr_layers; i++) {
		if (file_is_on(device->table.paths[i], number, 0))
			return refuse(device, device->table.paths[i]);
	}
	if (file && place_is_on(file, number))
		return refuse(device, file);
	if (file_is_on(RUN_FOLDER, number, 0))
		return refuse(device, RUN_FOLDER);
	if (copy && place_is_on(copy, number))
		return refuse(device, copy);
	return check_program(device, number);
}
