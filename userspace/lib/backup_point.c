// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Freeze a point in time and let go of it.
 *
 * All is made in an order in which whatever is there can be found again: first the intent, then the
 * snapshot, then its view; and it is taken away in the opposite order.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "backup_intent.h"
#include "cli.h"
#include "err.h"
#include "guard.h"
#include "interpose.h"
#include "lock.h"
#include "mem.h"
#include "newfile.h"
#include "run.h"
#include "snapshot_edit.h"
#include "snapshot_table.h"

#define LOCK_SECONDS	10
#define REMOVE_TRIES	50
#define WAIT_TRIES	300
#define REMOVE_PAUSE_NS	100000000

/* ------------------------------------------------------------------------
 * Take away
 */

static int remove_file(const char *path)
{
	if (!path || !*path || !unlink(path) || errno == ENOENT)
		return 0;
	return err_errno(errno, path);
}

static int remove_device(const char *name)
{
	const struct timespec pause = { .tv_nsec = REMOVE_PAUSE_NS };
	int try, ret = -EBUSY;

	for (try = 0; ret == -EBUSY && try < REMOVE_TRIES; try++) {
		if (try)
			nanosleep(&pause, NULL);
		ret = dm_remove(name, false);
	}
	dm_settle();
	if (ret && ret != -ENXIO)
		return err_errno_what(-ret, name, "the point in time cannot be removed");
	return 0;
}

static bool is_view(const struct dm_device *dm)
{
	const char *end = strrchr(dm->uuid, '-');

	return end && !strcmp(end, "-frozen") &&
	       (!dm->live || !strcmp(dm->target, DEVICE_TARGET));
}

static int drop_view(const char *frozen)
{
	struct dm_device dm;
	int ret = dm_query(frozen, &dm);

	if (ret == -ENXIO)
		ret = 0;
	else if (ret)
		ret = device_fail(ret, frozen);
	else if (is_view(&dm))
		ret = remove_device(frozen);
	dm_release(&dm);
	return ret;
}

/* Does the image have our snapshot? */
static int find_snapshot(const struct device *device, bool *found)
{
	struct snapshot_table table = { 0 };
	struct image image = IMAGE_CLOSED;
	int ret = image_open(&image, device->image);

	*found = false;
	if (!ret)
		ret = image_verify(&image);
	if (!ret)
		ret = snapshot_table_read(&image, &table);
	if (!ret)
		*found = snapshot_table_has_tag(&table, BACKUP_TAG);
	snapshot_table_release(&table);
	image_close(&image);
	return ret;
}

static const struct edit_options *edit_options(const struct backup_request *request,
					       struct edit_options *options)
{
	*options = (struct edit_options){
		.nolockfs = request && request->nolockfs,
		.timeout = request ? request->timeout : CLI_UNSET,
		.progress = "none",
	};
	return options;
}

/* Has somebody a view of a snapshot? Then no snapshot can be deleted. */
static int find_views(const struct device *device, struct image *image, bool *found)
{
	int ret = image_open(image, device->image);

	*found = !ret && lock_is_held(image->fd, LOCK_GRAPH) > 0;
	return ret;
}

/* @left: it may have to stay. NULL: that is an error. */
static int drop_snapshot(const struct device *device, const struct backup_request *request, bool *left)
{
	struct image image = IMAGE_CLOSED;
	struct edit_options options;
	bool found, viewed = false;
	int ret = find_snapshot(device, &found);

	if (left)
		*left = false;
	if (ret || !found)
		return ret;
	if (left) {
		ret = find_views(device, &image, &viewed);
		image_close(&image);
		*left = viewed;
	}
	if (ret || viewed)
		return ret;
	edit_options(request, &options);
	/* Nobody's data is to be consistent for this. */
	options.nolockfs = true;
	return snapshot_delete(device->dm.name, BACKUP_TAG, &options);
}

static void init_layer(struct interpose_request *layer, const char *name,
		       const struct backup_request *request)
{
	*layer = (struct interpose_request){
		.name = name, .layer = "snapshot",
		.nolockfs = request && request->nolockfs,
		.timeout = request ? request->timeout : CLI_UNSET,
		.ms = CLI_UNSET, .up = CLI_UNSET, .down = CLI_UNSET, .block = CLI_UNSET,
		.cow_size = CLI_UNSET,
	};
}

static int drop_layer(const struct device *device, const struct backup_request *request)
{
	struct interpose_request layer;

	if (!device->layer || strcmp(interpose_name(device->layer), "snapshot"))
		return 0;
	init_layer(&layer, device->dm.name, request);
	return interpose_remove(&layer);
}

/* Another edit of the device is a matter of moments, and no reason to leave anything behind. */
static void wait_for_others(const char *name)
{
	const struct timespec pause = { .tv_nsec = REMOVE_PAUSE_NS };
	int try;

	for (try = 0; try < WAIT_TRIES && run_is_locked(name); try++)
		nanosleep(&pause, NULL);
}

/* All that a point is made of, whatever of it is there. */
static int drop(const char *name, enum backup_kind kind, const struct backup_request *request, bool *left)
{
	MEM_FREE char *frozen = mem_printf("%s.frozen", name);
	struct device device = { 0 };
	int ret;

	if (kind != BACKUP_ITSELF)
		wait_for_others(name);
	ret = kind == BACKUP_ITSELF ? -ENXIO : device_get(name, &device);
	if (ret == -ENXIO)
		ret = kind == BACKUP_VIEW ? drop_view(frozen) : 0;
	else if (ret)
		return device_fail(ret, name);
	else if (kind == BACKUP_SNAPSHOT)
		ret = drop_layer(&device, request);
	else
		ret = drop_view(frozen);
	if (!ret && device.image && kind == BACKUP_VIEW)
		ret = drop_snapshot(&device, request, left);
	device_release(&device);
	return ret;
}

/* Under the lock. @left as for drop_snapshot(). */
static int recover(const char *name, bool *left)
{
	MEM_FREE char *path = backup_intent_path(name);
	struct backup_intent intent;
	int ret;

	if (!backup_intent_read(name, &intent))
		return 0;
	ret = drop(name, intent.kind, NULL, left);
	if (!ret)
		ret = remove_file(intent.store);
	if (!ret)
		ret = remove_file(intent.part);
	if (!ret)
		ret = remove_file(path);
	backup_intent_release(&intent);
	return ret;
}

/* A snapshot is left by a machine that went down: then there is no intent. */
static int find_left(const char *name, bool *left)
{
	struct device device;
	int ret = device_get(name, &device);

	*left = false;
	if (ret)
		return ret == -ENXIO ? 0 : device_fail(ret, name);
	if (device.image && !device.dm.readonly)
		ret = find_snapshot(&device, left);
	device_release(&device);
	return ret;
}

int backup_recover(const char *name)
{
	MEM_FREE char *frozen = mem_printf("%s.frozen", name), *intent = backup_intent_path(name);
	bool left = !access(intent, F_OK);
	int lock, ret = left ? 0 : find_left(name, &left);

	if (ret || !left)
		return ret;
	ret = run_lock(frozen, 0, &lock);
	if (ret)
		return ret;
	ret = access(intent, F_OK) ? drop(name, BACKUP_VIEW, NULL, NULL) : recover(name, NULL);
	if (!ret)
		err_note("%s: what was left of a backup is gone", name);
	run_unlock(frozen, lock);
	return ret;
}

/* ------------------------------------------------------------------------
 * May it be?
 */

/* Can the image hold one more snapshot? Then every count goes up by one. */
static int holds_snapshot(const struct device *device, bool *holds)
{
	struct snapshot_table table = { 0 };
	struct image image = IMAGE_CLOSED;
	int ret = image_open(&image, device->image);
	u32 order;

	*holds = false;
	if (!ret)
		ret = image_verify(&image);
	if (!ret)
		ret = snapshot_table_read(&image, &table);
	if (!ret) {
		order = image.header.refcount_order;
		*holds = !image.geo.data_file && table.count < QCOW2_MAX_SNAPSHOTS &&
			 (order > 4 || table.count + 2ULL < 1ULL << (1U << order));
	}
	snapshot_table_release(&table);
	image_close(&image);
	return ret;
}

/* A snapshot of ours could not be deleted again: without one, if that is possible. */
static int avoid_views(struct backup_point *point)
{
	const struct device *device = &point->device;
	struct image image = IMAGE_CLOSED;
	bool viewed;
	int ret = find_views(device, &image, &viewed);

	if (!ret && viewed && (point->request->via || device->layer)) {
		ret = edit_refuse_locked(&image, LOCK_GRAPH);
		err_hint("detach that first%s", device->layer ? "" : ", or freeze by --via snapshot");
	} else if (!ret && viewed) {
		point->kind = BACKUP_SNAPSHOT;
	}
	image_close(&image);
	return ret;
}

static int choose(struct backup_point *point)
{
	const struct device *device = &point->device;
	const char *via = point->request->via, *name = device->dm.name;
	bool holds = true;
	int ret = 0;

	if (device->dm.readonly) {
		point->kind = BACKUP_ITSELF;
		return 0;
	}
	if (!via)
		ret = holds_snapshot(device, &holds);
	point->kind = via ? strcmp(via, "view") ? BACKUP_SNAPSHOT : BACKUP_VIEW :
		      holds ? BACKUP_VIEW : BACKUP_SNAPSHOT;
	if (!ret && point->kind == BACKUP_SNAPSHOT && device->layer)
		ret = err_fail(ERR_BUSY, name, "layer %s stands over its image%s", device->layer,
			       via ? "" : ", which cannot hold a snapshot itself");
	return ret || point->kind != BACKUP_VIEW ? ret : avoid_views(point);
}

/* Of the file @path, which need not be there yet; for the caller to free. */
static char *absolute(const char *path)
{
	char folder[PATH_MAX];

	if (*path == '/' || !getcwd(folder, sizeof(folder)))
		return mem_strdup(path);
	return mem_printf("%s/%s", folder, path);
}

/* Beside the image, where the layer puts it itself. A block device has no folder: that of the result will do. */
static int choose_store(struct backup_point *point)
{
	const struct backup_request *request = point->request;
	MEM_FREE char *beside = NULL;
	struct stat st;

	if (point->kind != BACKUP_SNAPSHOT || stat(point->device.image, &st))
		return 0;
	if (!S_ISBLK(st.st_mode)) {
		point->store = interpose_default_state(&point->device, "snapshot");
		return 0;
	}
	if (!request->to || !strcmp(request->to, "-") || (!stat(request->to, &st) && S_ISBLK(st.st_mode))) {
		err_fail(ERR_USAGE, request->name,
			 "neither its image nor the copy is a file, beside which a layer could keep its store");
		err_hint("copy to a file, or freeze by --via view if the image can hold a snapshot");
		return ERR_USAGE;
	}
	beside = mem_printf("%s.%s.snapshot", request->to, request->name);
	point->store = absolute(beside);
	point->store_beside = true;
	return 0;
}

static int refuse_frozen(const char *frozen)
{
	struct dm_device dm;
	int ret = dm_query(frozen, &dm);

	dm_release(&dm);
	return ret == -ENXIO ? 0 : ret ? device_fail(ret, frozen) :
	       err_fail(ERR_BUSY, frozen, "a device of this name exists");
}

static int look(struct backup_point *point)
{
	const char *name = point->request->name;
	int ret = device_get(name, &point->device);

	if (ret)
		return device_fail(ret, name);
	point->size = point->device.size;
	return point->device.image ? 0 : err_fail(ERR_FAILED, name, "device has no image");
}

/* What is there nobody can have, since the lock is ours: it was left, by a machine that went down too. */
static int clear_away(struct backup_point *point)
{
	int ret = recover(point->request->name, &point->left);

	device_release(&point->device);
	if (!ret)
		ret = look(point);
	if (!ret)
		ret = choose(point);
	if (ret || point->kind == BACKUP_ITSELF)
		return ret;
	ret = refuse_frozen(point->frozen);
	if (!ret && point->kind == BACKUP_VIEW)
		ret = drop_snapshot(&point->device, point->request, NULL);
	return ret;
}

int backup_point_prepare(struct backup_point *point, const struct backup_request *request)
{
	int ret;

	memset(point, 0, sizeof(*point));
	point->request = request;
	point->lock = -1;
	point->node = -1;
	point->fd = -1;
	point->frozen = mem_printf("%s.frozen", request->name);
	ret = look(point);
	if (ret)
		return ret;
	ret = run_lock(point->frozen, 0, &point->lock);
	if (ret) {
		point->lock = -1;
		return ret;
	}
	ret = clear_away(point);
	if (ret)
		return ret;
	ret = choose_store(point);
	if (!ret && point->store)
		ret = newfile_check_free(point->store);
	if (ret)
		return ret;
	point->path = mem_printf("/dev/mapper/%s",
				 point->kind == BACKUP_ITSELF ? request->name : point->frozen);
	point->node = open(point->device.path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	return point->node < 0 ? err_errno(errno, point->device.path) : 0;
}

/* ------------------------------------------------------------------------
 * Freeze
 */

static int make_view(struct backup_point *point)
{
	MEM_FREE char *line = NULL;
	struct dm_device part = { 0 };
	struct device device;
	int ret = device_get(point->request->name, &device);

	if (ret)
		return device_fail(ret, point->request->name);
	/* If it was made longer since the snapshot, the kernel refuses the table. */
	point->size = device.size;
	line = table_format_view(&device.table, BACKUP_TAG);
	ret = interpose_create_part(&device, point->frozen, "frozen", &part);
	if (!ret)
		ret = interpose_load(&part, DEVICE_TARGET, device.dm.sectors, line, true);
	dm_prepare();
	if (!ret) {
		ret = dm_resume_private(point->frozen);
		if (ret)
			ret = err_errno_what(-ret, point->frozen, "cannot resume it");
	}
	if (!ret)
		dm_make_node(point->frozen);
	dm_settle();
	dm_release(&part);
	device_release(&device);
	return ret;
}

/* Who takes a layer out, or puts in order what was left of one, takes what has no table yet for a part of it. */
static int attach_view(struct backup_point *point)
{
	int lock, ret = run_lock(point->request->name, LOCK_SECONDS, &lock);

	if (ret)
		return ret;
	ret = make_view(point);
	run_unlock(point->request->name, lock);
	return ret;
}

static int freeze_view(struct backup_point *point)
{
	struct edit_options options;
	int ret = snapshot_create(point->request->name, BACKUP_TAG,
				  edit_options(point->request, &options));

	return ret ? ret : attach_view(point);
}

static int freeze_layer(struct backup_point *point)
{
	struct interpose_request layer;
	struct device device;
	int ret;

	init_layer(&layer, point->request->name, point->request);
	layer.cow = point->store_beside ? point->store : NULL;
	ret = interpose_insert(&layer);
	if (ret)
		return ret;
	ret = device_get(point->request->name, &device);
	/* It may have got another one until then; under the layer it cannot. */
	point->size = device.size;
	device_release(&device);
	return ret ? device_fail(ret, point->request->name) : 0;
}

int backup_point_begin(struct backup_point *point, const char *part)
{
	int ret = 0;

	point->part = part ? absolute(part) : NULL;
	if (point->kind != BACKUP_ITSELF || part) {
		point->begun = true;
		ret = backup_intent_write(point, point->kind);
	}
	if (!ret && point->kind == BACKUP_VIEW)
		ret = freeze_view(point);
	else if (!ret && point->kind == BACKUP_SNAPSHOT)
		ret = freeze_layer(point);
	if (ret)
		return ret;
	point->fd = open(point->path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (point->fd < 0)
		return err_errno(errno, point->path);
	return 0;
}

int backup_point_fail(const struct backup_point *point, int error)
{
	struct dm_device dm;
	bool full = point->kind == BACKUP_SNAPSHOT && !dm_query(point->frozen, &dm) && dm.status &&
		    (!strcmp(dm.status, "Invalid") || !strcmp(dm.status, "Overflow"));

	if (point->kind == BACKUP_SNAPSHOT)
		dm_release(&dm);
	if (full)
		return err_fail(ERR_NO_SPACE, point->frozen,
				"the store for what is overwritten is full, the point in time is lost");
	return err_errno_what(error, point->frozen, "cannot read the point in time");
}

int backup_point_end(struct backup_point *point)
{
	MEM_FREE char *intent = backup_intent_path(point->request->name);
	int ret = 0;

	if (point->fd >= 0)
		close(point->fd);
	point->fd = -1;
	if (point->begun) {
		ret = drop(point->request->name, point->kind, point->request, &point->left);
		if (!ret)
			ret = remove_file(point->store);
		if (ret)
			err_hint("qcow2ctl recover %s", point->request->name);
		else if (!point->left)
			ret = point->part ? backup_intent_write(point, BACKUP_ITSELF) : remove_file(intent);
	}
	point->begun = ret;
	if (point->node >= 0)
		close(point->node);
	point->node = -1;
	return ret;
}

/* For recover, or the next backup, when nobody has a view any more. */
static void leave(struct backup_point *point)
{
	const char *name = point->request->name;

	free(point->part);
	free(point->store);
	point->part = NULL;
	point->store = NULL;
	if (!backup_intent_write(point, BACKUP_VIEW))
		err_warn(name, "its snapshot " BACKUP_TAG " stays while a view of a snapshot is attached");
	err_hint("qcow2ctl recover %s takes it away then", name);
}

void backup_point_release(struct backup_point *point)
{
	MEM_FREE char *intent = backup_intent_path(point->request->name);

	if (point->left)
		leave(point);
	else if (point->part && !point->begun)
		unlink(intent);
	if (point->lock >= 0)
		run_unlock(point->frozen, point->lock);
	device_release(&point->device);
	free(point->frozen);
	free(point->path);
	free(point->part);
	free(point->store);
}
