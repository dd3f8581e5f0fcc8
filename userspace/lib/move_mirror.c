// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * The mirror or dm-clone of a device that moves: how far it is, and how fast it may be.
 *
 * dm-clone can be told to stop copying, and to go on. For a mirror all that the kernel offers for the
 * latter is a share of time, for all mirrors together; with the share 0 it still copies a little in
 * each second. So the share is 0 while the copy is ahead of its rate, and what it was while it is
 * behind.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "cli.h"
#include "err.h"
#include "guard.h"
#include "mem.h"
#include "move.h"
#include "progress.h"
#include "text.h"

#define REGION		(512U << 10)
#define LEAST_REGION	4096U
#define PAUSE_NS	50000000
#define NS		1000000000ULL

u64 move_mirror_region(u64 bwlimit)
{
	u64 region = REGION;

	/* With the share 0 one takes two seconds. */
	while (bwlimit != CLI_UNSET && region > LEAST_REGION && region > bwlimit)
		region /= 2;
	return region;
}

/* "2 253:1 253:2 5/128 1 AA 1 core" */
static int parse(const char *text, struct move_mirror *mirror)
{
	unsigned long long done, total;
	char legs[8];

	if (!text || sscanf(text, "%*u %*s %*s %llu/%llu 1 %7s", &done, &total, legs) != 3)
		return -EIO;
	mirror->done = done;
	mirror->total = total;
	mirror->source = legs[0] == 'A';
	mirror->copy = legs[0] && legs[1] == 'A';
	return 0;
}

/* "8 14/1024 128 5/128 1 1 no_hydration ... rw": a region that is at work is not done. */
int move_clone_look(const char *name, struct move_mirror *clone)
{
	unsigned long long done, total, running;
	struct dm_device dm;
	int ret = dm_query(name, &dm);

	if (!ret && (strcmp(dm.target, "clone") || !dm.status ||
		     sscanf(dm.status, "%*u %*u/%*u %*u %llu/%llu %llu", &done, &total, &running) != 3))
		ret = -EIO;
	if (!ret) {
		clone->done = done - (running && done == total);
		clone->total = total;
		clone->source = true;
		clone->copy = strcmp(strrchr(dm.status, ' ') + 1, "rw") == 0;
	}
	dm_release(&dm);
	return ret;
}

int move_mirror_look(const char *name, struct move_mirror *mirror)
{
	struct dm_device dm;
	int ret = dm_query(name, &dm);

	if (!ret)
		ret = strcmp(dm.target, "mirror") ? -EIO : parse(dm.status, mirror);
	dm_release(&dm);
	return ret;
}

/* ------------------------------------------------------------------------
 * How fast
 */

struct rate {
	const char *clone;	/* its name, or NULL for a mirror */
	int fd;			/* of the kernel's share, -1: no limit */
	char *share;		/* what it was */
	bool slow;
	u64 start, bytes;	/* in a second */
};

static void set_share(const struct rate *rate, const char *share)
{
	if (rate->clone)
		dm_message(rate->clone, strcmp(share, "0") ? "enable_hydration" : "disable_hydration");
	else
		(void)!pwrite(rate->fd, share, strlen(share), 0);
}

static int rate_begin(struct rate *rate, const struct move_request *request, bool clone)
{
	int ret;

	rate->clone = clone ? request->name : NULL;
	rate->fd = -1;
	rate->share = NULL;
	rate->slow = false;
	rate->bytes = request->bwlimit;
	rate->start = guard_now();
	if (clone) {
		ret = dm_message(request->name, "enable_hydration");
		return ret ? err_errno_what(-ret, request->name, "dm-clone does not copy") : 0;
	}
	if (request->bwlimit == CLI_UNSET)
		return 0;
	rate->share = text_first_line(GUARD_SHARE);
	rate->fd = open(GUARD_SHARE, O_WRONLY | O_CLOEXEC);
	if (rate->fd < 0)
		return err_errno_what(errno, request->name, "--bwlimit: " GUARD_SHARE);
	return 0;
}

static void rate_keep(struct rate *rate, u64 bytes)
{
	double due = (double)(guard_now() - rate->start) * rate->bytes / 1e9;
	bool ahead = bytes >= due;

	if (rate->bytes == CLI_UNSET || ahead == rate->slow)
		return;
	rate->slow = ahead;
	set_share(rate, ahead ? "0" : "100");
}

static void rate_end(struct rate *rate)
{
	if (rate->fd >= 0) {
		set_share(rate, rate->share && strcmp(rate->share, "0") ? rate->share : "100");
		close(rate->fd);
	}
	free(rate->share);
}

/* ------------------------------------------------------------------------
 * How far
 */

/* A smaller write may have found space again since. */
static bool was_full(const struct status *status)
{
	return (status->space && !strcmp(status->space, "full")) ||
	       (status->last && !strncmp(status->last, "nospace@", strlen("nospace@")));
}

/* The copy is full, or does not work for another reason. */
static int give_up(const char *name, bool source)
{
	MEM_FREE char *copy = mem_printf("%s.copy", name);
	struct status status;
	struct dm_device dm;
	bool full = false;

	if (source)
		return err_fail(ERR_FAILED, name, "its image cannot be read");
	if (!dm_query(copy, &dm)) {
		status_parse(dm.status, &status);
		full = was_full(&status);
		status_release(&status);
	}
	dm_release(&dm);
	return full ? err_fail(ERR_NO_SPACE, name, "no space is left where it was to move to") :
		      err_fail(ERR_FAILED, name, "where it was to move to cannot be written");
}

static int wait_for(const struct move_request *request, u64 region, struct rate *rate)
{
	const struct timespec pause = { .tv_nsec = PAUSE_NS };
	struct move_mirror mirror;
	u64 moved = guard_now(), before = 0;
	int ret;

	for (;;) {
		ret = rate->clone ? move_clone_look(rate->clone, &mirror) :
				    move_mirror_look(request->name, &mirror);
		if (ret)
			return err_errno_what(-ret, request->name, "somebody else has changed its table");
		if (!mirror.source || !mirror.copy)
			return give_up(request->name, !mirror.source);
		/* On the way by dm-clone nothing is interrupted. */
		ret = progress_step(mirror.done * region, mirror.total * region);
		if (ret || mirror.done == mirror.total)
			return ret;
		if (mirror.done != before || rate->slow)
			moved = guard_now();
		/* The guard sees the same, and says it. */
		else if (rate->clone && guard_now() - moved > GUARD_STALL * NS)
			return 0;
		before = mirror.done;
		rate_keep(rate, mirror.done * region);
		nanosleep(&pause, NULL);
	}
}

int move_copy_wait(const struct move_request *request, u64 region, bool clone)
{
	struct rate rate;
	int ret = rate_begin(&rate, request, clone);

	progress_phase("copying");
	if (!ret)
		ret = wait_for(request, region, &rate);
	rate_end(&rate);
	progress_clear();
	if (!ret)
		progress_commit();
	return ret;
}
