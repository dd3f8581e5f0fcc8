// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Back up a device.
 *
 * The new image is open, without a name, before anything is frozen; the point is let go before the new
 * image is verified, and that gets its name last of all. So whatever happens there is a whole backup or
 * none, and the device keeps nothing that nobody needs.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "backup_copy.h"
#include "backup_ranges.h"
#include "cli.h"
#include "err.h"
#include "guard.h"
#include "map.h"
#include "mem.h"
#include "out.h"
#include "progress.h"

#define CLUSTER_BITS	16

struct backup {
	const struct backup_request *request;
	struct backup_point point;
	struct backup_ranges ranges;
	struct backup_copy copy;
	struct create_filled filled;
	sigset_t signals;		/* as they were before */
};

/* ------------------------------------------------------------------------
 * What is to be copied
 */

static int add_extent(void *data, const struct map_extent *extent)
{
	backup_ranges_add(data, extent->start, extent->length, extent->data && !extent->zero);
	return 0;
}

/* All of the disk as it was at the point. */
static int map_point(struct backup *b)
{
	const struct backup_point *point = &b->point;
	const char *view = device_view(&point->device);

	if (point->kind == BACKUP_SNAPSHOT) {
		struct device device;
		int ret = device_get(b->request->name, &device);

		/*
		 * What it has by now. It is more than at the point, if anything: the layer lets no
		 * discard through, so that nothing that had data can have lost it.
		 */
		if (!ret)
			ret = map_run_device(&device, add_extent, &b->ranges);
		else
			ret = device_fail(ret, b->request->name);
		device_release(&device);
		return ret;
	}
	return map_run_frozen(&point->device, point->kind == BACKUP_VIEW ? BACKUP_TAG : view,
			      add_extent, &b->ranges);
}

static int find_ranges(struct backup *b)
{
	int ret = map_point(b);

	if (ret)
		return ret;
	backup_ranges_keep_data(&b->ranges);
	backup_ranges_align(&b->ranges, 1U << CLUSTER_BITS);
	return 0;
}

/* ------------------------------------------------------------------------
 * From beginning to end
 */

static int open_image(struct backup *b)
{
	const struct backup_request *request = b->request;
	struct create_request create = {
		.path = request->to, .version = 3, .cluster_bits = CLUSTER_BITS, .refcount_order = 4,
		.size = b->point.size, .backing = request->base, .backing_raw = request->base_raw,
	};
	MEM_FREE char *folder = NULL;
	const char *slash = strrchr(request->to, '/');

	folder = slash ? mem_strndup(request->to, slash - request->to + 1) : mem_strdup(".");
	if (guard_check_places(&b->point.device, folder))
		return ERR_POLICY;
	return create_filled_open(&b->filled, &create);
}

/* Signals end the copy and nothing else. */
static int copy_point(struct backup *b)
{
	bool raw = !strcmp(b->request->to, "-");
	sigset_t blocked;
	int ret = 0;

	progress_start(b->request->progress, b->request->name);
	sigprocmask(SIG_SETMASK, &b->signals, &blocked);
	if (!raw)
		ret = find_ranges(b);
	if (!ret) {
		backup_copy_init(&b->copy, &b->point, raw ? NULL : &b->ranges);
		ret = raw ? backup_copy_stdout(&b->copy) : backup_copy_image(&b->copy, &b->filled);
	}
	if (!ret && guard_point("backup-copied"))
		ret = err_errno(EIO, "backup-copied");
	sigprocmask(SIG_SETMASK, &blocked, NULL);
	progress_end();
	return ret;
}

static int finish_image(struct backup *b)
{
	int ret = create_filled_end(&b->filled);

	if (!ret)
		ret = create_filled_seal(&b->filled);
	if (!ret && guard_point("backup-sealed"))
		ret = err_errno(EIO, "backup-sealed");
	progress_start(b->request->progress, b->request->name);
	sigprocmask(SIG_SETMASK, &b->signals, NULL);
	if (!ret)
		ret = backup_copy_verify(&b->copy, &b->filled);
	if (!ret) {
		progress_commit();
		ret = newfile_keep(&b->filled.file);
	}
	progress_end();
	return ret;
}

static int check_size(const struct backup *b)
{
	if (b->point.size == b->point.device.size)
		return 0;
	return err_fail(ERR_BUSY, b->request->name, "its size has changed meanwhile");
}

static int run(struct backup *b)
{
	bool raw = !strcmp(b->request->to, "-");
	int ret = backup_point_prepare(&b->point, b->request), error;

	if (!ret && !raw)
		ret = open_image(b);
	if (!ret)
		ret = backup_point_begin(&b->point);
	if (!ret)
		ret = check_size(b);
	if (!ret)
		ret = copy_point(b);
	error = backup_point_end(&b->point);
	if (!ret && !raw)
		ret = finish_image(b);
	return ret ? ret : error;
}

int backup_run(const struct backup_request *request)
{
	struct newfile closed = NEWFILE_CLOSED;
	struct backup b = { .request = request, .filled.file = closed };
	sigset_t signals;
	int ret;

	/* A reader who goes is an error, not the end. */
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&signals);
	sigaddset(&signals, SIGHUP);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigprocmask(SIG_BLOCK, &signals, &b.signals);
	ret = run(&b);
	create_filled_close(&b.filled, ret && !b.filled.file.is_kept);
	backup_copy_release(&b.copy);
	backup_ranges_release(&b.ranges);
	sigprocmask(SIG_SETMASK, &b.signals, NULL);
	return ret;
}
