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
#include <sys/resource.h>
#include <sys/stat.h>
#include "backup_changes.h"
#include "backup_copy.h"
#include "backup_nbd.h"
#include "backup_ranges.h"
#include "cli.h"
#include "err.h"
#include "guard.h"
#include "mem.h"
#include "out.h"
#include "progress.h"

#define CLUSTER_BITS	16
#define NICE		15

struct backup {
	const struct backup_request *request;
	struct backup_point point;
	struct backup_ranges ranges;
	struct backup_copy copy;
	struct create_filled filled;
	u64 number;			/* of the new checkpoint */
	int priority;			/* as it was before */
	sigset_t signals;		/* likewise */
};

static void print_number(u64 number)
{
	MEM_FREE char *line = mem_printf("%llu", (unsigned long long)number);

	out_line(line);
}

/* ------------------------------------------------------------------------
 * What is to be copied
 */

static int find_ranges(struct backup *b)
{
	int ret = backup_changes_of(&b->point, b->request->since, &b->ranges);

	if (ret)
		return ret;
	if (!b->request->since)
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
	int ret = guard_check_places(&b->point.device, request->to);

	return ret ? ret : create_filled_open(&b->filled, &create, request->since);
}

/* Who uses the device goes first; but nobody may wait for us when it is suspended. */
static void be_nice(const struct backup *b, bool nice)
{
	if (b->priority < NICE && setpriority(PRIO_PROCESS, 0, nice ? NICE : b->priority))
		err_debug("cannot set the priority: %s", strerror(errno));
}

/* Signals end the copy and nothing else. */
static int copy_point(struct backup *b)
{
	bool raw = !strcmp(b->request->to, "-");
	sigset_t blocked;
	int ret = 0;

	progress_start(b->request->progress, b->request->name);
	sigprocmask(SIG_SETMASK, &b->signals, &blocked);
	backup_copy_init(&b->copy, &b->point);
	if (!raw)
		ret = find_ranges(b);
	if (!ret) {
		backup_copy_set(&b->copy, raw ? NULL : &b->ranges);
		be_nice(b, true);
		ret = raw ? backup_copy_stdout(&b->copy) : backup_copy_image(&b->copy, &b->filled);
		be_nice(b, false);
	}
	sigprocmask(SIG_SETMASK, &blocked, NULL);
	progress_end();
	return ret;
}

static int finish_image(struct backup *b)
{
	int ret;

	be_nice(b, true);
	ret = create_filled_end(&b->filled);
	if (!ret)
		ret = create_filled_seal(&b->filled);
	progress_start(b->request->progress, b->request->name);
	sigprocmask(SIG_SETMASK, &b->signals, NULL);
	if (!ret)
		ret = backup_copy_verify(&b->copy, &b->filled);
	if (!ret) {
		progress_commit();
		ret = newfile_keep(&b->filled.file);
	}
	progress_end();
	be_nice(b, false);
	return ret;
}

static int check_size(const struct backup *b)
{
	if (b->point.size == b->point.device.size)
		return 0;
	return err_fail(ERR_BUSY, b->request->name, "its size has changed meanwhile");
}

static int prepare(struct backup *b)
{
	const struct backup_request *request = b->request;
	int ret = backup_point_prepare(&b->point, request);

	if (!ret && request->since)
		ret = backup_changes_check(&b->point.device, request->since);
	if (!ret && request->nbd)
		ret = backup_nbd_check(request);
	else if (!ret && strcmp(request->to, "-"))
		ret = open_image(b);
	if (!ret && request->checkpoint)
		ret = backup_checkpoint(request->name, &b->number);
	return ret;
}

/* Whoever reads it needs the number first. */
static int serve(struct backup *b)
{
	if (b->request->checkpoint) {
		print_number(b->number);
		out_flush();
	}
	return backup_nbd_serve(&b->point);
}

static int run(struct backup *b)
{
	const struct backup_request *request = b->request;
	bool image = request->to && strcmp(request->to, "-");
	int ret = prepare(b), error;

	if (!ret)
		ret = backup_point_begin(&b->point, b->filled.file.part);
	if (!ret)
		ret = check_size(b);
	if (!ret)
		ret = request->nbd ? serve(b) : copy_point(b);
	error = backup_point_end(&b->point);
	if (!ret && image)
		ret = finish_image(b);
	if (!ret && image && request->checkpoint)
		print_number(b->number);
	return ret ? ret : error;
}

int backup_run(const struct backup_request *request)
{
	struct newfile closed = NEWFILE_CLOSED;
	struct backup b = { .request = request, .filled.file = closed };
	sigset_t signals;
	int ret;

	b.priority = getpriority(PRIO_PROCESS, 0);
	/* A reader who goes is an error, not the end. */
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&signals);
	sigaddset(&signals, SIGHUP);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	/* For who waits for a child and a signal at once. */
	sigaddset(&signals, SIGCHLD);
	sigprocmask(SIG_BLOCK, &signals, &b.signals);
	ret = run(&b);
	create_filled_close(&b.filled, ret && !b.filled.file.is_kept);
	backup_point_release(&b.point);
	backup_copy_release(&b.copy);
	backup_ranges_release(&b.ranges);
	sigprocmask(SIG_SETMASK, &b.signals, NULL);
	return ret;
}
