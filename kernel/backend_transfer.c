// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Moving guest data between memory and the file or block device of an image.
 *
 * A file is read and written by kiocbs on the caller's own bio_vecs, a block
 * device by a bio on them; nothing is copied. Two references end an attempt on
 * a file, the submitter's and the completion's, because read_iter and
 * write_iter may complete the kiocb before they return and still look at it.
 *
 * The inline attempt runs in .map, in the context of whoever submitted the
 * bio. It is safe because of what qcow2_backend_can_inline() asks for:
 *
 * - No file system may be in the middle of a transaction (journal_info): the
 *   lower one would take it for its own.
 * - No bio of this task may wait in current->bio_list. The list is hidden
 *   during the call, so that bios of the lower file system are sent at once
 *   and not after .map returned. A hidden bio could be the one that the call
 *   waits for, by a mempool that it will refill.
 * - Half of the stack is left, which also bounds images on images.
 * - Nothing that is charged to the task lands on the wrong one: the task's
 *   I/O cgroup is the bio's, its file size limit is off. A kernel thread that
 *   works for a cgroup is not tried, because what it was told with
 *   kthread_associate_blkcg() before cannot be read and put back.
 *   dm core hides the cgroup of the original bio. A target that sets
 *   needs_bio_set_dev sees that of the submitter; else the submitter is as
 *   good a guess, and a worker would know no better.
 *
 * What the file refuses, at once or later by the completion, or serves in part
 * only, starts again from a worker.
 */
#include <linux/blk-cgroup.h>
#include <linux/cgroup.h>
#include <linux/rcupdate.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/task_stack.h>
#include "backend_io.h"

/* Can the whole of @xfer be done in place? */
static bool is_in_place(const struct qcow2_xfer *xfer)
{
	const struct qcow2_backend *backend = xfer->backend;
	struct bvec_iter iter = xfer->iter;
	struct bio_vec bv;

	if (!backend->direct)
		return true;
	if (!qcow2_backend_is_aligned(backend, xfer->hoff, iter.bi_size))
		return false;
	while (iter.bi_size) {
		bv = mp_bvec_iter_bvec(xfer->bvec, iter);
		if (!qcow2_backend_is_segment_aligned(backend, bv.bv_offset,
						      bv.bv_len))
			return false;
		bvec_iter_advance(xfer->bvec, &iter, bv.bv_len);
	}
	return true;
}

static unsigned int count_segments(const struct bio_vec *bvec,
				   const struct bvec_iter *iter)
{
	unsigned int left = iter->bi_size, skip = qcow2_bvec_skip(iter), n = 0;

	while (left) {
		left -= min(left, bvec[iter->bi_idx + n].bv_len - skip);
		skip = 0;
		n++;
	}
	return n;
}

/* The part of the caller's memory that begins at byte @from of the transfer. */
static struct bvec_iter iter_from(const struct qcow2_xfer *xfer, u32 from)
{
	struct bvec_iter iter = xfer->iter;

	bvec_iter_advance(xfer->bvec, &iter, from);
	return iter;
}

static void zero_from(struct qcow2_xfer *xfer, u32 from)
{
	struct bvec_iter iter, start = iter_from(xfer, from);
	struct bio_vec bv;

	for_each_bvec(bv, xfer->bvec, iter, start)
		memzero_bvec(&bv);
}

/* A file */

static void finish(struct qcow2_xfer *xfer)
{
	if (xfer->counted)
		kiocb_end_write(&xfer->iocb);
	xfer->done(xfer);
}

/*
 * Look at the attempt that has just ended. True: that is all, with xfer->ret.
 * False: something is left to do, by someone who may sleep.
 */
static bool settle(struct qcow2_xfer *xfer)
{
	long result = xfer->result;

	if (result == -EOPNOTSUPP && xfer->nowait) {
		WRITE_ONCE(xfer->backend->nowait, false);
		result = -EAGAIN;
	}
	if (result < 0) {
		xfer->ret = xfer->nowait && result == -EAGAIN ?
			    -EAGAIN : qcow2_backend_error(result);
		return true;
	}
	xfer->transferred = xfer->start + result;
	if (xfer->transferred >= xfer->iter.bi_size) {
		xfer->ret = 0;
		return true;
	}
	xfer->ret = -EAGAIN;
	return xfer->nowait;
}

/*
 * Get a short transfer ready for its next attempt. False: there is none, that
 * is all, with xfer->ret. A short count need not be a multiple of the granule:
 * the next attempt starts below it.
 */
static bool advance(struct qcow2_xfer *xfer)
{
	const struct qcow2_backend *backend = xfer->backend;
	u32 next = round_down(xfer->transferred, backend->granule);

	if (!xfer->write &&
	    xfer->hoff + xfer->transferred >= qcow2_backend_size(backend)) {
		zero_from(xfer, xfer->transferred);
		xfer->ret = 0;
		return false;
	}
	if (next == xfer->start) {
		xfer->ret = -EIO;
		return false;
	}
	xfer->start = next;
	return true;
}

static void continue_work(struct work_struct *work);

static void file_complete(struct kiocb *iocb, long result)
{
	struct qcow2_xfer *xfer = container_of(iocb, struct qcow2_xfer, iocb);

	xfer->result = result;
	if (!atomic_dec_and_test(&xfer->refs))
		return;
	if (settle(xfer)) {
		finish(xfer);
		return;
	}
	INIT_WORK(&xfer->work, continue_work);
	queue_work(READ_ONCE(xfer->backend->wq), &xfer->work);
}

/*
 * One attempt from xfer->start on. True: it ended before this returned, and
 * the caller settles it.
 */
static bool attempt(struct qcow2_xfer *xfer, int flags, u16 ioprio)
{
	const struct qcow2_backend *backend = xfer->backend;
	struct bvec_iter part = iter_from(xfer, xfer->start);
	struct iov_iter iter;
	long result;

	iov_iter_bvec(&iter, xfer->write ? ITER_SOURCE : ITER_DEST,
		      xfer->bvec + part.bi_idx,
		      count_segments(xfer->bvec, &part), part.bi_size);
	iter.iov_offset = qcow2_bvec_skip(&part);

	memset(&xfer->iocb, 0, sizeof(xfer->iocb));
	xfer->iocb.ki_filp = backend->file;
	xfer->iocb.ki_pos = xfer->hoff + xfer->start;
	xfer->iocb.ki_complete = file_complete;
	xfer->iocb.ki_ioprio = ioprio;
	xfer->iocb.ki_flags = flags | qcow2_backend_iocb_flags(backend,
						xfer->write, xfer->fua);

	atomic_set(&xfer->refs, 2);
	result = qcow2_backend_call(&xfer->iocb, &iter, xfer->write);
	if (result != -EIOCBQUEUED) {
		xfer->result = result;
		return true;
	}
	return atomic_dec_and_test(&xfer->refs);
}

static void run(struct qcow2_xfer *xfer)
{
	do {
		if (!attempt(xfer, 0, 0))
			return;
	} while (!settle(xfer) && advance(xfer));
	finish(xfer);
}

static void continue_work(struct work_struct *work)
{
	struct qcow2_xfer *xfer = container_of(work, struct qcow2_xfer, work);
	unsigned int noio = memalloc_noio_save();

	if (advance(xfer))
		run(xfer);
	else
		finish(xfer);
	memalloc_noio_restore(noio);
}

/* A block device */

static void bio_complete(struct bio *bio)
{
	struct qcow2_xfer *xfer = container_of(bio, struct qcow2_xfer, bio);

	xfer->ret = qcow2_backend_error(blk_status_to_errno(bio->bi_status));
	bio_uninit(bio);
	xfer->done(xfer);
}

static void send_bio(struct qcow2_xfer *xfer)
{
	struct bio *bio = &xfer->bio;

	/* The table is only read; as a clone has it, bi_vcnt stays 0. */
	bio_init(bio, xfer->backend->bdev, (struct bio_vec *)xfer->bvec, 0,
		 qcow2_backend_bio_flags(xfer->write, xfer->fua));
	bio->bi_iter = xfer->iter;
	bio->bi_iter.bi_sector = xfer->hoff >> SECTOR_SHIFT;
	bio->bi_end_io = bio_complete;
	submit_bio(bio);
}

static void prepare(struct qcow2_xfer *xfer, bool nowait)
{
	xfer->nowait = nowait;
	xfer->counted = false;
	xfer->start = 0;
	xfer->transferred = 0;
}

static void end_with(struct qcow2_xfer *xfer, int ret)
{
	xfer->ret = ret;
	xfer->done(xfer);
}

void qcow2_backend_submit(struct qcow2_xfer *xfer)
{
	struct qcow2_backend *backend = xfer->backend;
	int ret;

	might_sleep();
	ret = qcow2_backend_check_end(backend, xfer->hoff, xfer->iter.bi_size,
				      xfer->write);
	if (ret || !xfer->iter.bi_size) {
		end_with(xfer, ret);
		return;
	}
	if (!is_in_place(xfer)) {
		end_with(xfer, qcow2_backend_bounce(xfer));
		return;
	}
	prepare(xfer, false);
	if (backend->bdev) {
		send_bio(xfer);
		return;
	}
	if (xfer->write) {
		/* Ended by whoever completes, hence lockdep must let go. */
		sb_start_write(file_inode(backend->file)->i_sb);
		__sb_writers_release(file_inode(backend->file)->i_sb,
				     SB_FREEZE_WRITE);
		xfer->counted = true;
	}
	run(xfer);
}

/* Inline, in the submitter's own context */

static bool has_stack(void)
{
	unsigned long bottom = (unsigned long)end_of_stack(current);
	unsigned long here = (unsigned long)__builtin_frame_address(0);
	unsigned long left = here > bottom ? here - bottom : bottom - here;

	return left > THREAD_SIZE / 2 && left <= THREAD_SIZE;
}

static bool has_bios_waiting(void)
{
	const struct bio_list *lists = current->bio_list;

	return lists && !(bio_list_empty(&lists[0]) &&
			  bio_list_empty(&lists[1]));
}

static bool is_charged_right(struct bio *bio)
{
#ifdef CONFIG_BLK_CGROUP
	struct cgroup_subsys_state *css = bio_blkcg_css(bio);
	bool same;

	rcu_read_lock();
	same = !css || css == task_css(current, io_cgrp_id);
	rcu_read_unlock();
	return same;
#else
	return true;
#endif
}

bool qcow2_backend_can_inline(const struct qcow2_backend *backend,
			      struct bio *bio, bool write)
{
	if (!READ_ONCE(backend->nowait))
		return false;
	if (current->journal_info ||
	    (current->flags & (PF_MEMALLOC | PF_KSWAPD)))
		return false;
	if (has_bios_waiting() || !has_stack())
		return false;
	if (write && rlimit(RLIMIT_FSIZE) != RLIM_INFINITY)
		return false;
	return is_charged_right(bio);
}

static bool attempt_alone(struct qcow2_xfer *xfer, u16 ioprio)
{
	struct bio_list *lists = current->bio_list;
	unsigned int noio = memalloc_noio_save();
	bool ended;

	current->bio_list = NULL;
	ended = attempt(xfer, IOCB_NOWAIT, ioprio);
	current->bio_list = lists;
	memalloc_noio_restore(noio);
	return ended;
}

bool qcow2_backend_try_inline(struct qcow2_xfer *xfer, const struct bio *bio)
{
	struct super_block *sb = file_inode(xfer->backend->file)->i_sb;
	u64 size = qcow2_backend_size(xfer->backend);

	if (xfer->hoff > size || xfer->iter.bi_size > size - xfer->hoff ||
	    !is_in_place(xfer))
		return false;
	prepare(xfer, true);
	if (xfer->write) {
		if (!sb_start_write_trylock(sb))
			return false;
		__sb_writers_release(sb, SB_FREEZE_WRITE);
		xfer->counted = true;
	}
	if (!attempt_alone(xfer, bio->bi_ioprio))
		return true;
	settle(xfer);
	if (xfer->ret == -EAGAIN) {
		if (xfer->counted)
			kiocb_end_write(&xfer->iocb);
		return false;
	}
	finish(xfer);
	return true;
}
