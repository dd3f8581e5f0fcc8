// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Find and describe attached devices.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "device.h"
#include "err.h"
#include "mem.h"
#include "text.h"

/* Longest NAME: "part128-QCOW2-<20 digits>-NAME-frozen" must fit a uuid. */
#define MAX_NAME	80

#define FIELD(key, title, type, member) { key, title, type, offsetof(struct device, member), NULL }

const struct out_field device_fields[] = {
	FIELD("name", "NAME", OUT_STRING, dm.name),
	FIELD("path", NULL, OUT_STRING, path),
	FIELD("dev", "DEV", OUT_STRING, number),
	FIELD("size", "SIZE", OUT_BYTES, size),
	FIELD("readonly", "RO", OUT_BOOL, dm.readonly),
	FIELD("partitions", NULL, OUT_STRINGS, partitions),
	{ }
};

const struct out_field device_list_fields[] = {
	{ "device", NULL, OUT_FIELDS, 0, device_fields },
	FIELD("image", NULL, OUT_STRING, image),
	FIELD("layers", NULL, OUT_STRINGS, table.paths),
	FIELD("mode", "MODE", OUT_STRING, status.mode),
	FIELD("space", "SPACE", OUT_STRING, status.space),
	FIELD("open", "OPEN", OUT_COUNT, open),
	FIELD("layer", "LAYER", OUT_STRING, layer),
	/* The longest comes last for people. */
	FIELD("", "IMAGE", OUT_STRING, image),
	{ }
};

static bool ends_with(const char *text, const char *end)
{
	size_t text_len = strlen(text), end_len = strlen(end);

	return text_len >= end_len && !strcmp(text + text_len - end_len, end);
}

static bool has_end(const char *text, char before)
{
	static const char *const ends[] = { "real", "frozen", "copy" };
	size_t i, len;

	for (i = 0; i < sizeof(ends) / sizeof(*ends); i++) {
		len = strlen(text) - strlen(ends[i]);
		if (ends_with(text, ends[i]) && len && text[len - 1] == before)
			return true;
	}
	return false;
}

static bool has_our_uuid(const struct dm_device *dm)
{
	return dm->uuid && !strncmp(dm->uuid, DEVICE_UUID_PREFIX, strlen(DEVICE_UUID_PREFIX));
}

/* By the uuid alone a device that somebody has called vm-copy would be one. */
bool device_is_private(const struct dm_device *dm)
{
	return has_our_uuid(dm) && has_end(dm->name, '.') && has_end(dm->uuid, '-');
}

/* NAME.real may be called NAME.frozen for a while: the uuid counts. */
bool device_shows_point(const struct dm_device *dm)
{
	const char *end = strrchr(dm->uuid, '-');

	return dm->live && dm->target && !strcmp(dm->target, DEVICE_TARGET) && end && !strcmp(end, "-frozen");
}

/* A device that was made by hand, with a layer of ours over its image. */
static bool has_our_layer(const struct dm_device *dm)
{
	MEM_FREE char *name = mem_printf("%s.real", dm->name);
	struct dm_device real;
	bool ours = !dm_query(name, &real) && device_is_private(&real);

	dm_release(&real);
	return ours;
}

static bool is_ours(const struct dm_device *dm)
{
	if (has_our_uuid(dm))
		return !device_is_private(dm);
	return (dm->target && !strcmp(dm->target, DEVICE_TARGET)) || has_our_layer(dm);
}

/* ------------------------------------------------------------------------
 * Partition maps: holders whose uuid is "part<number>-<uuid of the device>"
 */

static char *read_attribute(const char *device, const char *attribute)
{
	MEM_FREE char *path = mem_printf("/sys/block/%s/dm/%s", device, attribute);

	return text_first_line(path);
}

/* Its number if holder @entry is a partition map of @dm, else 0. */
static unsigned int partition_number(const struct dm_device *dm, const char *entry)
{
	MEM_FREE char *uuid = read_attribute(entry, "uuid");
	unsigned int number;
	int end = 0;

	if (!uuid || !*dm->uuid || sscanf(uuid, "part%u-%n", &number, &end) != 1 || !end)
		return 0;
	return strcmp(uuid + end, dm->uuid) ? 0 : number;
}

struct map {
	unsigned int number;
	char *name;
};

static int compare_maps(const void *a, const void *b)
{
	const struct map *left = a, *right = b;

	return left->number < right->number ? -1 : left->number > right->number;
}

static void find_partitions(struct device *device)
{
	MEM_FREE char *path =
		mem_printf("/sys/dev/block/%u:%u/holders", device->dm.major, device->dm.minor);
	MEM_FREE struct map *maps = NULL;
	DIR *folder = opendir(path);
	struct dirent *entry;
	unsigned int number;
	size_t count = 0, i;

	while (folder && (entry = readdir(folder))) {
		number = partition_number(&device->dm, entry->d_name);
		if (!number)
			continue;
		maps = mem_grow(maps, count, sizeof(*maps));
		maps[count].number = number;
		maps[count].name = read_attribute(entry->d_name, "name");
		if (maps[count].name)
			count++;
	}
	if (folder)
		closedir(folder);
	if (count)
		qsort(maps, count, sizeof(*maps), compare_maps);
	for (i = 0; i < count; i++) {
		mem_add_string(&device->partitions, mem_printf("/dev/mapper/%s", maps[i].name));
		mem_add_string(&device->partition_names, maps[i].name);
	}
}

/* ------------------------------------------------------------------------
 * One device
 */

static void read_target(struct device *device, const struct dm_device *dm)
{
	status_parse(dm->status, &device->status);
	if (!dm->table || !table_parse(dm->table, &device->table))
		return;
	device->image = mem_strdup(device->table.paths[0]);
}

/* Complete @device, whose dm part is filled in. */
static void describe(struct device *device)
{
	struct dm_device *dm = &device->dm, real;

	device->path = mem_printf("/dev/mapper/%s", dm->name);
	device->number = mem_printf("%u:%u", dm->major, dm->minor);
	device->size = dm->sectors * 512;
	device->open = dm->open_count;
	find_partitions(device);
	if (!dm->target || !strcmp(dm->target, DEVICE_TARGET)) {
		read_target(device, dm);
		return;
	}
	MEM_FREE char *name = mem_printf("%s.real", dm->name);
	int ret = dm_query(name, &real);

	/* A layer: the image is under NAME.real. Without that it is one that has moved, and has none. */
	if (ret != -ENXIO || strcmp(dm->target, "linear"))
		device->layer = mem_strdup(dm->target);
	if (!ret && real.target && !strcmp(real.target, DEVICE_TARGET))
		read_target(device, &real);
	else
		status_parse(NULL, &device->status);
	dm_release(&real);
}

static int finish(struct device *device, int ret)
{
	if (!ret && !is_ours(&device->dm))
		ret = -ENXIO;
	if (ret) {
		dm_release(&device->dm);
		return ret;
	}
	describe(device);
	return 0;
}

int device_get(const char *name, struct device *device)
{
	memset(device, 0, sizeof(*device));
	return finish(device, dm_query(name, &device->dm));
}

/* NAME for NAME.real or NAME.frozen, which are parts of it. */
static int get_owner(const struct dm_device *private, struct device *device)
{
	const char *dot = strrchr(private->name, '.');
	MEM_FREE char *name = dot ? mem_strndup(private->name, dot - private->name) : NULL;

	return name ? device_get(name, device) : -ENXIO;
}

int device_get_number(unsigned int major, unsigned int minor, struct device *device)
{
	struct dm_device dm;
	int ret;

	memset(device, 0, sizeof(*device));
	ret = dm_query_number(major, minor, &dm);
	if (!ret && device_is_private(&dm)) {
		ret = get_owner(&dm, device);
		dm_release(&dm);
		return ret;
	}
	device->dm = dm;
	return finish(device, ret);
}

void device_release(struct device *device)
{
	dm_release(&device->dm);
	free(device->path);
	free(device->number);
	mem_free_strings(device->partitions);
	mem_free_strings(device->partition_names);
	free(device->layer);
	table_release(&device->table);
	free(device->image);
	status_release(&device->status);
	memset(device, 0, sizeof(*device));
}

int device_list(struct device **devices, size_t *count)
{
	char **names, **name;
	struct device device;
	int ret;

	*devices = NULL;
	*count = 0;
	ret = dm_names(&names);
	for (name = names; !ret && name && *name; name++) {
		/* One that went away meanwhile is no error. */
		if (device_get(*name, &device))
			continue;
		*devices = mem_grow(*devices, *count, sizeof(device));
		(*devices)[(*count)++] = device;
	}
	mem_free_strings(names);
	return ret;
}

void device_release_list(struct device *devices, size_t count)
{
	while (count--)
		device_release(&devices[count]);
	free(devices);
}

int device_fail(int ret, const char *name)
{
	switch (ret) {
	case -ENXIO:
		err_fail(ERR_NOT_FOUND, name, "no such qcow2 device");
		if (strchr(name, '/') || !access(name, F_OK))
			err_hint("'qcow2ctl list IMAGE' shows the names of the devices of an image");
		else
			err_hint("'qcow2ctl list' shows the names of all devices");
		return ERR_NOT_FOUND;
	case -ENODEV:
		return err_fail(name ? ERR_NOT_FOUND : ERR_FAILED, name, "the kernel has no device mapper");
	case -EACCES:
	case -EPERM:
		err_fail(ERR_POLICY, name, "only root may use device mapper");
		err_hint("run it as root");
		return ERR_POLICY;
	default:
		return err_errno(-ret, name);
	}
}

const char *device_view(const struct device *device)
{
	const struct table *table = &device->table;

	/* It comes first. */
	return table->nr_words > 1 && !strcmp(table->words[0], "snapshot") ? table->words[1] : NULL;
}

int device_layer_of(const struct device *device, const struct image *image)
{
	struct stat st;
	size_t i;

	for (i = 0; i < device->table.nr_layers; i++) {
		if (!stat(device->table.paths[i], &st) && image_is_same(image, &st))
			return i;
	}
	return -1;
}

char *device_target_name(const struct device *device)
{
	return mem_printf("%s%s", device->dm.name, device->layer ? ".real" : "");
}

const char *device_data_file(const struct device *device)
{
	const struct table *table = &device->table;
	size_t at = device_view(device) ? 2 : 0;

	/* It comes next. */
	return table->nr_words > at + 1 && !strcmp(table->words[at], "data_file") ?
		       table->words[at + 1] : NULL;
}

bool device_has_data_file(const struct device *device, const struct image *image)
{
	const char *path = device_data_file(device);
	struct stat st;

	return path && !stat(path, &st) && image_is_same(image, &st);
}

char *device_lasting_path(const char *path)
{
	MEM_FREE char *attribute = NULL, *name = NULL, *lasting = NULL;
	struct stat st, named;

	if (stat(path, &st) || !S_ISBLK(st.st_mode))
		return mem_strdup(path);
	attribute = mem_printf("/sys/dev/block/%u:%u/dm/name", major(st.st_rdev), minor(st.st_rdev));
	name = text_first_line(attribute);
	if (!name)
		return mem_strdup(path);
	lasting = mem_printf("/dev/mapper/%s", name);
	return mem_strdup(!stat(lasting, &named) && image_same_file(&st, &named) ? lasting : path);
}

int device_check_name(const char *name)
{
	static const char allowed[] = TEXT_LETTERS TEXT_DIGITS "#+-.:=@_";

	if (!*name || name[strspn(name, allowed)])
		return err_usage("'%s' is no device name: letters, digits and #+-.:=@_ are allowed",
				 name);
	if (!strcmp(name, ".") || !strcmp(name, "..") || !strcmp(name, "control"))
		return err_usage("'%s' is no device name: /dev/mapper needs it itself", name);
	if (strlen(name) > MAX_NAME)
		return err_usage("'%s' is no device name: it is longer than %d characters", name,
				 MAX_NAME);
	if (has_end(name, '.'))
		return err_usage("'%s' is no device name: .real, .frozen and .copy are for layers",
				 name);
	return 0;
}
