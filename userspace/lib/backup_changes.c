// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * What has changed, and what is there.
 *
 * What has changed is looked up first, and what is there then: so each part is described as it is after
 * all changes that were found. What is written behind that belongs to the next checkpoint.
 */
#include <string.h>
#include "backup_changes.h"
#include "backup_differ.h"
#include "backup_era.h"
#include "edit.h"
#include "err.h"
#include "map.h"
#include "mem.h"

/* A discard has at most so much (kernel/limits.c). */
#define DISCARD_BYTES	(1ULL << 30)
#define FIRST_RANGES	10000
#define MOST_RANGES	((1U << 30) / sizeof(struct backup_range))

static int add_extent(void *data, const struct map_extent *extent)
{
	backup_ranges_add(data, extent->start, extent->length, extent->data && !extent->zero);
	return 0;
}

typedef int look_up(const struct device *device, const char *since, struct backup_ranges *ranges);

/*
 * What is found while a device is suspended takes memory that has to be there before. So it is looked up a second
 * time if that was too little, and again if what its writers have added is more than a quarter.
 */
static int look_up_now(const struct device *device, const char *since, struct backup_ranges *ranges, look_up *look)
{
	size_t room = FIRST_RANGES;
	int ret;

	for (;;) {
		backup_ranges_reserve(ranges, room);
		ret = look(device, since, ranges);
		if (!ret && !backup_ranges_is_short(ranges))
			return 0;
		if (!ret && ranges->count > MOST_RANGES)
			ret = err_fail(ERR_FAILED, device->dm.name, "its changes need %zu MiB while it is suspended",
				       ranges->count * sizeof(*ranges->list) >> 20);
		room = ranges->count + ranges->count / 4;
		if (ret) {
			backup_ranges_release(ranges);
			return ret;
		}
	}
}

/* From a snapshot to the disk as it is now. */
static int differ_now(const struct device *device, const char *since, struct backup_ranges *changes)
{
	struct target target;
	int ret = edit_open_reader(&target, device->dm.name, EDIT_READS_STATES, 0), error;

	if (!ret)
		ret = backup_differ(&target.image, since, NULL, changes);
	error = target_close(&target);
	return ret ? ret : error;
}

static int map_now(const struct device *device, const char *since, struct backup_ranges *ranges)
{
	(void)since;
	return map_run_device(device, add_extent, ranges);
}

/* To another snapshot, or to what is not written. */
static int differ_frozen(const struct device *device, const char *since, const char *to,
			 struct backup_ranges *changes)
{
	struct image image;
	int ret = image_open(&image, device->image);

	if (!ret)
		ret = image_verify(&image);
	if (!ret)
		ret = backup_differ(&image, since, to, changes);
	image_close(&image);
	return ret;
}

static int find_snapshot(const struct device *device, const char *since)
{
	struct snapshot_table table = { 0 };
	struct image image;
	int ret = image_open(&image, device->image);
	u32 index;

	if (!ret)
		ret = image_verify(&image);
	if (!ret)
		ret = snapshot_table_read(&image, &table);
	if (!ret && !snapshot_table_find(&table, since, &index))
		ret = err_fail(ERR_NOT_FOUND, image.path, "there is no snapshot '%s'", since);
	snapshot_table_release(&table);
	image_close(&image);
	return ret;
}

int backup_changes_check(const struct device *device, const char *since)
{
	u64 number;

	if (backup_era_number(since, &number))
		return backup_era_check(device->dm.name, number);
	return find_snapshot(device, since);
}

static int find_changes(const struct backup_point *point, const char *since,
			struct backup_ranges *changes)
{
	const struct device *device = &point->device;
	u64 number;

	if (backup_era_number(since, &number))
		return backup_era_changes(device->dm.name, number, changes);
	/* The layer lets no discard through: what differs now includes what differed then. */
	if (point->kind == BACKUP_SNAPSHOT)
		return look_up_now(device, since, changes, differ_now);
	return differ_frozen(device, since,
			     point->kind == BACKUP_VIEW ? BACKUP_TAG : device_view(device), changes);
}

static int map_point(const struct backup_point *point, struct backup_ranges *ranges)
{
	const struct device *device = &point->device;

	/* In the same way, what has data then had it at the point, or reads as what was there. */
	if (point->kind == BACKUP_SNAPSHOT)
		return look_up_now(device, NULL, ranges, map_now);
	return map_run_frozen(device, point->kind == BACKUP_VIEW ? BACKUP_TAG : device_view(device),
			      add_extent, ranges);
}

/*
 * dm-era notes of a discard only the block where it begins. All clusters behind that are zeros then, in one
 * piece but for what was written later, which is noted; so zeros that go on from a block that is noted count
 * as changed too. And one write into a cluster that was discarded makes all of it data.
 */
static void follow_discards(const struct device *device, const struct backup_ranges *map,
			    struct backup_ranges *changes)
{
	backup_ranges_follow(changes, map, device->status.cluster, DISCARD_BYTES);
}

/* With a raw data file a discard leaves the mapping as it is: then nothing tells what was discarded. */
static int is_mapped(const struct device *device, bool *mapped)
{
	struct image image;
	int ret = image_open(&image, device->image);

	if (!ret)
		ret = image_verify(&image);
	*mapped = !ret && !(image.header.autoclear_features & QCOW2_AUTOCLEAR_DATA_FILE_RAW);
	image_close(&image);
	return ret;
}

int backup_changes_of(const struct backup_point *point, const char *since,
		      struct backup_ranges *ranges)
{
	struct backup_ranges changes = { 0 };
	int ret = since ? find_changes(point, since, &changes) : 0;
	u64 number;

	if (!ret)
		ret = map_point(point, ranges);
	if (!ret && since && backup_era_number(since, &number))
		follow_discards(&point->device, ranges, &changes);
	if (!ret && since)
		backup_ranges_cut(ranges, &changes);
	backup_ranges_release(&changes);
	return ret;
}

/* The snapshot that is described: that of a view, or of a frozen point, which somebody may read by NBD; or NULL. */
static const char *snapshot_shown(const struct device *device)
{
	MEM_FREE char *frozen = mem_printf("%s.frozen", device->dm.name);
	struct dm_device dm;
	bool shows;

	if (device_view(device))
		return device_view(device);
	shows = !dm_query(frozen, &dm) && device_shows_point(&dm);
	dm_release(&dm);
	return shows ? BACKUP_TAG : NULL;
}

int backup_changes(const char *name, const char *since, struct backup_ranges *ranges)
{
	struct backup_ranges changes = { 0 };
	const char *shown;
	struct device device;
	int ret = device_get(name, &device);
	bool by_era, mapped = true;
	u64 number;

	memset(ranges, 0, sizeof(*ranges));
	if (ret)
		return device_fail(ret, name);
	shown = snapshot_shown(&device);
	by_era = backup_era_number(since, &number);
	if (!device.image)
		ret = err_fail(ERR_FAILED, name, "device has no image");
	else if (by_era)
		ret = backup_era_changes(name, number, &changes);
	else if (shown)
		ret = differ_frozen(&device, since, shown, &changes);
	else
		ret = look_up_now(&device, since, &changes, differ_now);
	if (!ret)
		ret = shown ? map_run_frozen(&device, shown, add_extent, ranges) :
			      look_up_now(&device, NULL, ranges, map_now);
	if (!ret && by_era)
		ret = is_mapped(&device, &mapped);
	if (!ret && by_era)
		follow_discards(&device, ranges, &changes);
	if (mapped)
		backup_ranges_cut(ranges, &changes);
	backup_ranges_release(&changes);
	device_release(&device);
	return ret;
}
