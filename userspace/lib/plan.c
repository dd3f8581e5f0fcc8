// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Execution of plans: the writes of a group are sorted, neighbours become one,
 * and they go out in large pieces past the page cache.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "err.h"
#include "mem.h"
#include "out.h"
#include "plan.h"

#define PIECE	(1U << 20)	/* of one write */

void plan_init(struct plan *plan, struct image *image, bool dry_run)
{
	memset(plan, 0, sizeof(*plan));
	plan->image = image;
	plan->dry_run = dry_run;
	plan->bounce = mem_aligned(PIECE);
}

static void forget(struct plan *plan)
{
	size_t i;

	for (i = 0; i < plan->nr_writes; i++)
		free(plan->writes[i].data);
	free(plan->writes);
	plan->writes = NULL;
	plan->nr_writes = 0;
	plan->pending = 0;
}

void plan_release(struct plan *plan)
{
	forget(plan);
	free(plan->bounce);
	plan->bounce = NULL;
}

/* ------------------------------------------------------------------------
 * Execution
 */

static int by_place(const void *a, const void *b)
{
	const struct plan_write *left = a, *right = b;

	return left->hoff < right->hoff ? -1 : left->hoff > right->hoff;
}

/* Gathers neighbours: @len bytes at @hoff wait in the bounce buffer. */
struct piece {
	u64 hoff;
	size_t len;
};

static int write_piece(struct plan *plan, const struct piece *piece)
{
	int ret = image_write(plan->image, piece->hoff, plan->bounce, piece->len);

	plan->written += piece->len;
	return ret ? err_errno_what(-ret, plan->image->path, "cannot write") : 0;
}

static int add_to_piece(struct plan *plan, struct piece *piece, const struct plan_write *write)
{
	size_t done = 0, part;
	int ret = 0;

	while (!ret && done < write->len) {
		if (piece->len == PIECE ||
		    (piece->len && piece->hoff + piece->len != write->hoff + done)) {
			ret = write_piece(plan, piece);
			piece->len = 0;
		}
		if (!piece->len)
			piece->hoff = write->hoff + done;
		part = PIECE - piece->len;
		if (part > write->len - done)
			part = write->len - done;
		memcpy(plan->bounce + piece->len, write->data + done, part);
		piece->len += part;
		done += part;
	}
	return ret;
}

static void print_writes(const struct plan *plan)
{
	size_t i, next;

	for (i = 0; i < plan->nr_writes; i = next) {
		const struct plan_write *first = &plan->writes[i];
		u64 len = first->len;

		for (next = i + 1; next < plan->nr_writes; next++) {
			if (plan->writes[next].hoff != first->hoff + len ||
			    strcmp(plan->writes[next].what, first->what))
				break;
			len += plan->writes[next].len;
		}
		out_text("write    %#14llx %12llu  %s\n", (unsigned long long)first->hoff,
			 (unsigned long long)len, first->what);
	}
}

static void execute(struct plan *plan)
{
	struct piece piece = { 0 };
	size_t i;

	if (plan->nr_writes)
		qsort(plan->writes, plan->nr_writes, sizeof(*plan->writes), by_place);
	if (plan->dry_run)
		print_writes(plan);
	for (i = 0; !plan->dry_run && !plan->ret && i < plan->nr_writes; i++)
		plan->ret = add_to_piece(plan, &piece, &plan->writes[i]);
	if (!plan->ret && piece.len)
		plan->ret = write_piece(plan, &piece);
	forget(plan);
}

/* ------------------------------------------------------------------------
 * Steps
 */

void *plan_write(struct plan *plan, u64 hoff, size_t len, const char *what)
{
	struct plan_write *write;

	if (plan->pending + len > PLAN_PENDING)
		execute(plan);
	plan->writes = mem_grow(plan->writes, plan->nr_writes, sizeof(*write));
	write = &plan->writes[plan->nr_writes++];
	write->hoff = hoff;
	write->len = len;
	write->data = mem_zalloc(len);
	write->what = what;
	plan->pending += len;
	return write->data;
}

int plan_barrier(struct plan *plan)
{
	execute(plan);
	if (plan->dry_run)
		out_text("barrier\n");
	else if (!plan->ret && fdatasync(plan->image->fd))
		plan->ret = err_errno_what(errno, plan->image->path, "cannot write");
	plan->barriers++;
	return plan->ret;
}

void plan_discard(struct plan *plan, u64 hoff, u64 len)
{
	u64 range[2] = { hoff, len };

	if (plan->dry_run) {
		out_text("discard  %#14llx %12llu\n", (unsigned long long)hoff,
			 (unsigned long long)len);
		return;
	}
	if (hoff >= plan->image->end)
		return;
	if (plan->image->is_block)
		(void)!ioctl(plan->image->fd, BLKDISCARD, range);
	else
		(void)!fallocate(plan->image->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, hoff,
				 len);
}

int plan_zero(struct plan *plan, u64 hoff, u64 len)
{
	u64 range[2] = { hoff, len }, part;
	int failed;

	if (plan->ret)
		return plan->ret;
	if (plan->dry_run) {
		out_text("zero     %#14llx %12llu\n", (unsigned long long)hoff,
			 (unsigned long long)len);
		return 0;
	}
	if (plan->image->is_block)
		failed = ioctl(plan->image->fd, BLKZEROOUT, range);
	else
		failed = fallocate(plan->image->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				   hoff, len);
	for (; failed && len; hoff += part, len -= part) {
		part = len < PIECE ? len : PIECE;
		plan_write(plan, hoff, part, "zeros");
	}
	return plan->ret;
}

int plan_truncate(struct plan *plan, u64 end)
{
	if (plan->ret || plan->image->is_block)
		return plan->ret;
	if (plan->dry_run)
		out_text("truncate %#14llx\n", (unsigned long long)end);
	else if (ftruncate(plan->image->fd, end))
		return err_errno_what(errno, plan->image->path, "cannot make it %llu bytes long",
				      (unsigned long long)end);
	else
		plan->image->end = end;
	return 0;
}
