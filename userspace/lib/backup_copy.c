// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Copy a frozen point.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>
#include "backup_copy.h"
#include "backup_ranges.h"
#include "check.h"
#include "cli.h"
#include "content.h"
#include "err.h"
#include "guard.h"
#include "mem.h"
#include "progress.h"

#define PIECE		(1U << 20)	/* a multiple of all cluster sizes that are used here */
#define SECOND		1000000000ULL
#define NAP		(SECOND / 10)
#define TICK_US		200000

void backup_copy_init(struct backup_copy *copy, const struct backup_point *point)
{
	u64 deadline = point->request->deadline;

	memset(copy, 0, sizeof(*copy));
	copy->point = point;
	copy->begin = guard_now();
	copy->end = deadline == CLI_UNSET ? 0 : copy->begin + deadline * SECOND;
	copy->bytes = mem_aligned(PIECE);
}

void backup_copy_set(struct backup_copy *copy, const struct backup_ranges *ranges)
{
	copy->ranges = ranges;
	copy->total = ranges ? backup_ranges_data(ranges) : copy->point->size;
}

void backup_copy_release(struct backup_copy *copy)
{
	free(copy->bytes);
	free(copy->sums);
	memset(copy, 0, sizeof(*copy));
}

static int go_on(const struct backup_copy *copy)
{
	const struct backup_request *request = copy->point->request;

	if (copy->end && guard_now() >= copy->end)
		return err_fail(ERR_FAILED, request->name, "it took longer than %llu seconds",
				(unsigned long long)request->deadline);
	return progress_step(copy->done, copy->total);
}

int backup_copy_wait(const struct backup_copy *copy, u64 ns)
{
	u64 end = guard_now() + ns, now, nap;
	int ret = go_on(copy);

	while (!ret && (now = guard_now()) < end) {
		nap = end - now < NAP ? end - now : NAP;
		nanosleep(&(struct timespec){ .tv_nsec = nap }, NULL);
		ret = go_on(copy);
	}
	return ret;
}

/* Until no more has been read than is allowed by now. */
static int keep_pace(const struct backup_copy *copy)
{
	u64 rate = copy->point->request->bwlimit, due, now;

	if (rate == CLI_UNSET)
		return go_on(copy);
	due = copy->begin + (u64)((double)copy->done * SECOND / rate);
	now = guard_now();
	return backup_copy_wait(copy, due > now ? due - now : 0);
}

/* Into copy->bytes; what lies behind the end of the disk is zeros. */
static int read_piece(struct backup_copy *copy, u64 goff, u32 len)
{
	u64 left = copy->point->size - goff;
	u32 wanted = len < left ? len : left, got = 0;
	ssize_t n;

	while (got < wanted) {
		/* Direct I/O reads whole blocks, and ends where the device does. */
		n = pread(copy->point->fd, copy->bytes + got, len - got, goff + got);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return backup_point_fail(copy->point, n ? errno : EIO);
		got += n;
	}
	memset(copy->bytes + wanted, 0, len - wanted);
	copy->done += wanted;
	return 0;
}

static void remember(struct backup_copy *copy, u32 len)
{
	copy->sums = mem_grow(copy->sums, copy->nr_sums, sizeof(*copy->sums));
	copy->sums[copy->nr_sums++] = crc32(0, (const Bytef *)copy->bytes, len);
}

/* ------------------------------------------------------------------------
 * To an image
 */

/* A part of the disk, of at most a piece. */
typedef int piece_visit(struct backup_copy *copy, void *data, u64 goff, u32 len);

static int visit_pieces(struct backup_copy *copy, const struct backup_range *range,
			piece_visit *visit, void *data)
{
	u64 goff = range->start, end = goff + range->length;
	u32 len;
	int ret = 0;

	for (; !ret && goff < end; goff += len) {
		len = end - goff < PIECE ? end - goff : PIECE;
		ret = visit(copy, data, goff, len);
	}
	return ret;
}

static int copy_piece(struct backup_copy *copy, void *data, u64 goff, u32 len)
{
	int ret = keep_pace(copy);

	if (!ret)
		ret = read_piece(copy, goff, len);
	if (ret)
		return ret;
	remember(copy, len);
	return create_filled_data(data, goff, copy->bytes, len);
}

int backup_copy_image(struct backup_copy *copy, struct create_filled *filled)
{
	size_t i;
	int ret = 0;

	progress_phase("copying");
	for (i = 0; !ret && i < copy->ranges->count; i++) {
		const struct backup_range *range = &copy->ranges->list[i];

		if (range->data)
			ret = visit_pieces(copy, range, copy_piece, filled);
		else
			ret = create_filled_zeros(filled, range->start, range->length);
	}
	return ret;
}

/* ------------------------------------------------------------------------
 * Verify
 */

static int verify_piece(struct backup_copy *copy, void *data, u64 goff, u32 len)
{
	struct content *content = data;
	int ret = progress_step(copy->done, copy->total);

	if (!ret)
		ret = content_read(content, 0, goff, copy->bytes, len);
	copy->done += len;
	if (ret || copy->sums[copy->nr_sums++] == crc32(0, (const Bytef *)copy->bytes, len))
		return ret;
	return err_fail(ERR_FAILED, content->layers[0]->image->path,
			"what was written at %llu is not what is read again",
			(unsigned long long)goff);
}

static int verify_content(struct backup_copy *copy, struct image *image)
{
	struct content content = { 0 };
	size_t i;
	int ret = content_add(&content, image);

	for (i = 0; !ret && i < copy->ranges->count; i++) {
		if (copy->ranges->list[i].data)
			ret = visit_pieces(copy, &copy->ranges->list[i], verify_piece, &content);
	}
	content_release(&content);
	return ret;
}

static int verify_metadata(const struct image *image)
{
	struct check check;
	int ret = check_run(&check, image, false);

	if (!ret && (check.errors || check.leaks))
		ret = err_fail(ERR_FAILED, image->path, "what was written is no sound image");
	check_release(&check);
	return ret;
}

int backup_copy_verify(struct backup_copy *copy, const struct create_filled *filled)
{
	struct image image = IMAGE_CLOSED;
	int fd = fcntl(filled->file.fd, F_DUPFD_CLOEXEC, 0), ret;

	if (fd < 0)
		return err_errno(errno, filled->file.path);
	progress_phase("verifying");
	copy->done = 0;
	copy->nr_sums = 0;
	/* It is on disk: read it from there. */
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	ret = image_adopt(&image, fd, filled->file.path);
	if (!ret)
		ret = image_verify(&image);
	if (!ret)
		ret = verify_metadata(&image);
	if (!ret)
		ret = verify_content(copy, &image);
	image_close(&image);
	return ret;
}

/* ------------------------------------------------------------------------
 * To stdout
 */

static void tick(int signal)
{
	(void)signal;
}

/* A reader that does not come is no reason not to look at the clock. */
static void start_clock(const struct sigaction *action, struct sigaction *old, u32 us)
{
	struct itimerval timer = { { 0, us }, { 0, us } };

	setitimer(ITIMER_REAL, &timer, NULL);
	sigaction(SIGALRM, action, old);
}

static int put(struct backup_copy *copy, u32 len)
{
	u32 done = 0;
	ssize_t n;
	int ret = 0;

	while (!ret && done < len) {
		n = write(STDOUT_FILENO, copy->bytes + done, len - done);
		if (n > 0)
			done += n;
		else if (!n || errno != EINTR)
			return err_errno_what(n ? errno : EIO, "stdout", "cannot write");
		ret = go_on(copy);
	}
	return ret;
}

int backup_copy_stdout(struct backup_copy *copy)
{
	struct sigaction action = { .sa_handler = tick }, old;
	u64 goff, size = copy->point->size;
	u32 len;
	int ret = 0;

	progress_phase("copying");
	start_clock(&action, &old, TICK_US);
	for (goff = 0; !ret && goff < size; goff += len) {
		len = size - goff < PIECE ? size - goff : PIECE;
		ret = keep_pace(copy);
		if (!ret)
			ret = read_piece(copy, goff, len);
		if (!ret)
			ret = put(copy, len);
	}
	start_clock(&old, &action, 0);
	return ret;
}
