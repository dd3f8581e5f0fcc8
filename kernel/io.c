// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * The way of a guest request.
 *
 * .map looks the range up under RCU. What is mapped goes straight down: a
 * remapped bio on a block device, one direct I/O from the submitter's own
 * context on a file. Zeros end at once. Everything else (metadata not in
 * memory, allocation, copying, misaligned ends) is queued to a lane, which
 * may sleep and works the request off piece by piece.
 */
#include <linux/mm.h>
#include "io_request.h"
#include "release.h"
#include "trace.h"

/* ------------------------------------------------------------------------
 * The end of a request, and its way between the lanes
 */

void qcow2_io_finish(struct qcow2_request *req, blk_status_t status)
{
	req->bio->bi_status = status;
	bio_endio(req->bio);
}

/* Its lane is not there yet: keep @req. False: it is. Any context. */
static bool hold(struct qcow2_request *req)
{
	struct qcow2_io *io = req->io;
	unsigned long flags;
	bool held;

	spin_lock_irqsave(&io->held_lock, flags);
	held = !qcow2_chain_is_started(req->chain);
	if (held)
		list_add_tail(&req->parked, &io->held);
	spin_unlock_irqrestore(&io->held_lock, flags);
	if (held)
		qcow2_chain_start(req->chain);
	return held;
}

void qcow2_io_started(struct qcow2_io *io)
{
	struct qcow2_request *req, *next;
	LIST_HEAD(held);

	spin_lock_irq(&io->held_lock);
	list_splice_init(&io->held, &held);
	spin_unlock_irq(&io->held_lock);
	list_for_each_entry_safe(req, next, &held, parked) {
		list_del_init(&req->parked);
		qcow2_io_queue(req);
	}
}

/*
 * What has written its cluster goes on in another lane: in its own, as many
 * others as there are workers may wait for the memory that it will give back.
 */
static struct workqueue_struct *lane_of(const struct qcow2_request *req)
{
	const struct qcow2_chain *chain = req->chain;

	if (!qcow2_io_is_change(req->bio))
		return chain->read_lane;
	return req->step >= QCOW2_STEP_STAGE ? chain->free_lane : chain->write_lane;
}

void qcow2_io_queue(struct qcow2_request *req)
{
	struct qcow2_chain *chain = req->chain;

	if (unlikely(!qcow2_chain_is_started(chain)) && hold(req))
		return;
	if (qcow2_io_is_change(req->bio))
		qcow2_request_begin_change(req);
	queue_work(lane_of(req), &req->work);
}

/* What only a request needs that .map keeps: the others shall not pay for it. */
static void req_keep(struct qcow2_io *io, struct qcow2_request *req)
{
	req->ops = &qcow2_io_ops;
	INIT_WORK(&req->work, qcow2_io_lane);
	INIT_LIST_HEAD(&req->parked);
	req->piece = 0;
	req->holds_cell = false;
	req->met_full = false;
	req->needs_commit = false;
	req->step = QCOW2_STEP_NONE;
	req->cell.granted = qcow2_io_granted;
	req->slice = NULL;
	req->freed = NULL;
	req->fill = NULL;
	req->cluster.hoff = 0;
	req->xfer.ret = 0;
	atomic_inc(&io->deferred);
	req->deferred = true;
}

/* .map keeps the request: a lane will work on it. */
static int qcow2_io_defer(struct qcow2_io *io, struct qcow2_request *req)
{
	req_keep(io, req);
	qcow2_io_queue(req);
	return DM_MAPIO_SUBMITTED;
}

static void waiter_done(struct qcow2_waiter *waiter, int ret)
{
	struct qcow2_request *req = container_of(waiter, struct qcow2_request, waiter);

	qcow2_io_finish(req, qcow2_request_status(ret));
}

void qcow2_io_wait_for_commit(struct qcow2_request *req)
{
	qcow2_request_end_change(req);
	req->waiter.done = waiter_done;
	qcow2_commit_wait(&req->chain->commit, &req->waiter);
}

/* The piece is done. */
void qcow2_io_advance(struct qcow2_request *req)
{
	if (unlikely(req->met_full))
		qcow2_io_found_space(req);
	if (req->piece) {
		if (bio_has_data(req->bio))
			bvec_iter_advance(req->bio->bi_io_vec, &req->iter, req->piece);
		req->goff += req->piece;
		req->left -= req->piece;
		req->piece = 0;
	}
	if (req->left)
		qcow2_io_queue(req);
	else if (req->needs_commit)
		qcow2_io_wait_for_commit(req);
	else
		qcow2_io_finish(req, BLK_STS_OK);
}

const struct qcow2_request_ops qcow2_io_ops = {
	.finish = qcow2_io_finish,
	.again = qcow2_io_queue,
	.park = qcow2_io_park,
	.stall = qcow2_io_stall,
	.advance = qcow2_io_advance,
	.allocated = qcow2_io_allocated,
};

void qcow2_io_xfer(struct qcow2_request *req, struct qcow2_backend *backend, u64 hoff,
		   u32 len, bool fua, void (*done)(struct qcow2_xfer *xfer))
{
	struct qcow2_xfer *xfer = &req->xfer;

	xfer->backend = backend;
	xfer->bvec = req->bio->bi_io_vec;
	xfer->iter = req->iter;
	xfer->iter.bi_size = len;
	xfer->hoff = hoff;
	xfer->write = qcow2_io_is_change(req->bio);
	xfer->fua = fua;
	xfer->ret = 0;
	xfer->done = done;
}

/* ------------------------------------------------------------------------
 * The fast ways out of .map
 */

static void inline_done(struct qcow2_xfer *xfer)
{
	struct qcow2_request *req = container_of(xfer, struct qcow2_request, xfer);

	if (xfer->ret == -EAGAIN) {
		qcow2_request_leave(req);
		qcow2_io_defer(req->io, req);
		return;
	}
	if (xfer->ret)
		qcow2_commit_fault(&req->chain->commit, xfer->write ? QCOW2_FAULT_WRITE :
				   QCOW2_FAULT_READ, req->goff);
	qcow2_io_finish(req, qcow2_request_status(xfer->ret));
}

/* Does a direct transfer at these offsets need no bounce buffer? */
static bool aligned(const struct qcow2_backend *backend, u64 hoff, u32 len)
{
	return !((hoff | len) & (backend->granule - 1));
}

/*
 * Mapped data, the whole bio: straight down if that is possible. Inside the
 * epoch, which is kept on success. False: a lane has to do it.
 */
static bool map_data(struct qcow2_io *io, struct qcow2_request *req,
		     const struct qcow2_extent *extent, unsigned int layer, int *result)
{
	struct qcow2_backend *backend = io->chain->layers[layer].data;
	bool write = qcow2_io_is_change(req->bio);

	if (!aligned(backend, extent->hoff, req->left))
		return false;
	if (backend->bdev) {
		trace_qcow2_remap(req->goff, extent->hoff, req->left, write);
		bio_set_dev(req->bio, backend->bdev);
		req->bio->bi_iter.bi_sector = extent->hoff >> SECTOR_SHIFT;
		*result = DM_MAPIO_REMAPPED;
		return true;
	}
	if (io->hop_always || extent->hoff + req->left > qcow2_backend_size(backend) ||
	    !qcow2_backend_can_inline(backend, req->bio, write))
		return false;
	/* Of a file that somebody else made sparse the file system itself has to say so. */
	if (write && qcow2_unwritten_contains(&qcow2_chain_top(io->chain)->unwritten,
					      extent->hoff, req->left))
		return false;
	trace_qcow2_inline(req->goff, extent->hoff, req->left, write);
	qcow2_io_xfer(req, backend, extent->hoff, req->left, write && (req->bio->bi_opf & REQ_FUA),
		      inline_done);
	*result = DM_MAPIO_SUBMITTED;
	return qcow2_backend_try_inline(&req->xfer, req->bio);
}

/* Keep the first @len bytes of the bio, dm core sends the rest again. */
static void cut(struct qcow2_request *req, u64 len)
{
	if (len < req->left) {
		req->left = len;
		dm_accept_partial_bio(req->bio, len >> SECTOR_SHIFT);
	}
}

/* A compressed cluster that is in the cache. Inside the epoch, which is left on success. */
static bool map_inflated(struct qcow2_io *io, struct qcow2_request *req,
			 const struct qcow2_extent *extent, unsigned int layer)
{
	struct qcow2_chain *chain = io->chain;
	struct qcow2_inflated *inflated;

	inflated = qcow2_chain_find_inflated(chain, layer, extent);
	if (!inflated)
		return false;
	qcow2_request_leave(req);
	cut(req, extent->len);
	qcow2_io_copy(req, inflated->data + qcow2_chain_in_cluster(chain, layer, req->goff),
		      req->left);
	qcow2_unzip_put(&chain->unzip, inflated);
	qcow2_io_finish(req, BLK_STS_OK);
	return true;
}

static int map_read(struct qcow2_io *io, struct qcow2_request *req)
{
	struct qcow2_extent extent;
	unsigned int layer;
	int result;

	qcow2_request_enter(req);
	qcow2_chain_lookup(io->chain, req->goff, req->left, &extent, &layer);
	if (extent.kind == QCOW2_EXTENT_ZERO) {
		qcow2_request_leave(req);
		cut(req, extent.len);
		zero_fill_bio(req->bio);
		qcow2_io_finish(req, BLK_STS_OK);
		return DM_MAPIO_SUBMITTED;
	}
	if (extent.kind == QCOW2_EXTENT_DATA) {
		qcow2_stat_inc(io->chain->stats, QCOW2_STAT_HITS);
		cut(req, extent.len);
		if (map_data(io, req, &extent, layer, &result))
			return result;
	}
	if (extent.kind == QCOW2_EXTENT_COMPRESSED && map_inflated(io, req, &extent, layer))
		return DM_MAPIO_SUBMITTED;
	qcow2_request_leave(req);
	cut(req, qcow2_io_to_cluster_end(req));
	return qcow2_io_defer(io, req);
}

static int map_write(struct qcow2_io *io, struct qcow2_request *req)
{
	struct qcow2_chain *chain = io->chain;
	struct qcow2_extent extent;
	int result;

	qcow2_request_enter(req);
	qcow2_map_lookup(&qcow2_chain_top(chain)->map, req->goff, req->left, &extent);
	if (extent.kind == QCOW2_EXTENT_DATA && extent.owned &&
	    (!(req->bio->bi_opf & REQ_FUA) ||
	     qcow2_commit_settled(&chain->commit, extent.number))) {
		qcow2_stat_inc(chain->stats, QCOW2_STAT_HITS);
		cut(req, extent.len);
		if (map_data(io, req, &extent, 0, &result))
			return result;
	}
	qcow2_request_leave(req);
	cut(req, qcow2_io_to_cluster_end(req));
	return qcow2_io_defer(io, req);
}

/* Bytes of whole clusters from req->goff on under one L2 slice, or of subclusters of one. */
static u64 releasable(const struct qcow2_request *req, u64 whole)
{
	const struct qcow2_geometry *geo = &qcow2_chain_top(req->chain)->geo;
	u64 slice = 1ULL << (geo->slice_bits - geo->l2_entry_bits + geo->cluster_bits);
	u64 len = min(whole - req->goff, slice - (req->goff & (slice - 1)));

	if (qcow2_in_cluster(geo, req->goff) || len < geo->cluster_size)
		return min_t(u64, len, qcow2_io_to_cluster_end(req));
	return len - qcow2_in_cluster(geo, len);
}

/*
 * Discard and write-zeroes: first what does not fill a cluster or subcluster
 * (zeros are written there, a discard ends without effect), then what does.
 */
static int map_release(struct qcow2_io *io, struct qcow2_request *req)
{
	u64 end = req->goff + req->left, whole, granule = qcow2_release_granule(req);
	bool discard = bio_op(req->bio) == REQ_OP_DISCARD;

	qcow2_stat_inc(io->chain->stats, QCOW2_STAT_DISCARDS);
	if (end >= qcow2_chain_top(io->chain)->geo.virtual_size)
		whole = round_up(end, granule);
	else
		whole = round_down(end, granule);
	if ((req->goff & (granule - 1)) || whole <= req->goff) {
		cut(req, granule - (req->goff & (granule - 1)));
		if (!discard)
			return qcow2_io_defer(io, req);
		qcow2_io_finish(req, BLK_STS_OK);
		return DM_MAPIO_SUBMITTED;
	}
	cut(req, releasable(req, whole));
	if (discard && !qcow2_release_can_zero(io->chain)) {
		qcow2_io_finish(req, BLK_STS_OK);
		return DM_MAPIO_SUBMITTED;
	}
	return qcow2_io_defer(io, req);
}

static int map_flush(struct qcow2_io *io, struct qcow2_request *req)
{
	if (!io->chain->writable) {
		qcow2_io_finish(req, BLK_STS_OK);
		return DM_MAPIO_SUBMITTED;
	}
	req_keep(io, req);
	if (likely(qcow2_chain_is_started(io->chain)) || !hold(req))
		qcow2_io_wait_for_commit(req);
	return DM_MAPIO_SUBMITTED;
}

static void req_init(struct qcow2_io *io, struct bio *bio, struct qcow2_request *req)
{
	req->bio = bio;
	req->chain = io->chain;
	req->io = io;
	req->iter = bio->bi_iter;
	req->left = bio->bi_iter.bi_size;
	req->in_epoch = false;
	req->in_change = false;
	req->deferred = false;
}

int qcow2_io_map(struct qcow2_io *io, struct bio *bio, struct qcow2_request *req)
{
	struct qcow2_chain *chain = io->chain;
	enum qcow2_mode mode = qcow2_commit_mode(&chain->commit);

	req_init(io, bio, req);
	req->goff = bio->bi_iter.bi_sector << SECTOR_SHIFT;	/* the target starts at 0 */
	trace_qcow2_map(bio_dev(bio), (__force unsigned int)bio_op(bio), req->goff, req->left);
	if (mode == QCOW2_MODE_LOST || qcow2_chain_is_stale(chain))
		return DM_MAPIO_KILL;
	if (unlikely(!qcow2_chain_is_started(chain)))
		qcow2_chain_start(chain);
	if (bio->bi_opf & REQ_PREFLUSH)
		return mode == QCOW2_MODE_FAIL ? DM_MAPIO_KILL : map_flush(io, req);
	if (req->left > chain->layers[0].size || req->goff > chain->layers[0].size - req->left)
		return DM_MAPIO_KILL;
	if (bio_op(bio) == REQ_OP_READ) {
		qcow2_stat_inc(chain->stats, QCOW2_STAT_READS);
		return map_read(io, req);
	}
	if (mode != QCOW2_MODE_RW)
		return DM_MAPIO_KILL;
	switch (bio_op(bio)) {
	case REQ_OP_WRITE:
		qcow2_stat_inc(chain->stats, QCOW2_STAT_WRITES);
		return map_write(io, req);
	case REQ_OP_DISCARD:
	case REQ_OP_WRITE_ZEROES:
		return map_release(io, req);
	default:
		return DM_MAPIO_KILL;
	}
}

/* Any context; after this the per-bio data is gone. */
int qcow2_io_end(struct qcow2_io *io, struct bio *bio, struct qcow2_request *req,
		 blk_status_t *error)
{
	qcow2_request_leave(req);
	qcow2_request_end_change(req);
	if (!*error && qcow2_chain_is_stale(io->chain))
		*error = BLK_STS_IOERR;
	if (*error && *error != BLK_STS_DM_REQUEUE) {
		qcow2_stat_inc(io->chain->stats, QCOW2_STAT_IOERRS);
		if (!req->deferred && *error != BLK_STS_NOSPC)
			qcow2_commit_fault(&io->chain->commit, qcow2_io_is_change(bio) ?
					   QCOW2_FAULT_WRITE : QCOW2_FAULT_READ, req->goff);
	}
	if (req->deferred && atomic_dec_and_test(&io->deferred))
		wake_up_all(&io->idle);
	return DM_ENDIO_DONE;
}

void qcow2_io_init(struct qcow2_io *io)
{
	atomic_set(&io->deferred, 0);
	init_waitqueue_head(&io->idle);
	spin_lock_init(&io->lock);
	INIT_LIST_HEAD(&io->parked);
	spin_lock_init(&io->held_lock);
	INIT_LIST_HEAD(&io->held);
	INIT_DELAYED_WORK(&io->timeout, qcow2_io_full_timeout);
}

void qcow2_io_exit(struct qcow2_io *io)
{
	cancel_delayed_work_sync(&io->timeout);
}
