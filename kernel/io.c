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
#include <linux/sched/mm.h>
#include "cow.h"
#include "io.h"
#include "release.h"
#include "trace.h"

static void lane_work(struct work_struct *work);

static bool op_is_change(const struct bio *bio)
{
	return bio_op(bio) != REQ_OP_READ;
}

/* ------------------------------------------------------------------------
 * The end of a request, and its way between the lanes
 */

static void req_finish(struct qcow2_request *req, blk_status_t status)
{
	req->bio->bi_status = status;
	bio_endio(req->bio);
}

static void req_queue(struct qcow2_request *req)
{
	struct qcow2_chain *chain = req->chain;

	queue_work(op_is_change(req->bio) ? chain->write_lane : chain->read_lane, &req->work);
}

/* .map keeps the request: a lane will work on it. */
static int req_defer(struct qcow2_io *io, struct qcow2_request *req)
{
	atomic_inc(&io->deferred);
	req->deferred = true;
	req_queue(req);
	return DM_MAPIO_SUBMITTED;
}

static void waiter_done(struct qcow2_waiter *waiter, int ret)
{
	struct qcow2_request *req = container_of(waiter, struct qcow2_request, waiter);

	req_finish(req, qcow2_request_status(ret));
}

static void wait_for_commit(struct qcow2_request *req)
{
	req->waiter.done = waiter_done;
	qcow2_commit_wait(&req->chain->commit, &req->waiter);
}

/* The piece is done. */
static void req_advance(struct qcow2_request *req)
{
	if (req->piece) {
		if (bio_has_data(req->bio))
			bvec_iter_advance(req->bio->bi_io_vec, &req->iter, req->piece);
		req->goff += req->piece;
		req->left -= req->piece;
		req->piece = 0;
	}
	if (req->left)
		req_queue(req);
	else if (req->needs_commit)
		wait_for_commit(req);
	else
		req_finish(req, BLK_STS_OK);
}

static void cell_granted(struct qcow2_cell *cell)
{
	struct qcow2_request *req = container_of(cell, struct qcow2_request, cell);

	req->holds_cell = true;
	req_queue(req);
}

/* ------------------------------------------------------------------------
 * Waiting for space
 */

static void set_full(struct qcow2_io *io, bool full)
{
	bool changed;

	spin_lock_irq(&io->lock);
	changed = io->full != full;
	io->full = full;
	spin_unlock_irq(&io->lock);
	if (changed)
		io->event(io, full ? QCOW2_EVENT_FULL : QCOW2_EVENT_OK);
}

/* Park @req, or end it where nobody may wait. Process context. */
static void req_park(struct qcow2_request *req)
{
	struct qcow2_io *io = req->io;
	blk_status_t status = BLK_STS_NOSPC;
	bool parked = false;

	qcow2_commit_fault(&req->chain->commit, QCOW2_FAULT_NOSPACE, req->goff);
	set_full(io, true);
	spin_lock_irq(&io->lock);
	if (io->no_parking) {
		if (io->noflush)
			status = BLK_STS_DM_REQUEUE;
	} else if (io->queue_when_full && !io->gave_up) {
		list_add_tail(&req->parked, &io->parked);
		if (!io->nr_parked++ && io->full_timeout_s)
			queue_delayed_work(req->chain->free_lane, &io->timeout,
					   msecs_to_jiffies(1000 * (u64)io->full_timeout_s));
		parked = true;
	}
	spin_unlock_irq(&io->lock);
	if (!parked)
		req_finish(req, status);
}

static void take_parked(struct qcow2_io *io, struct list_head *list)
{
	lockdep_assert_held(&io->lock);
	list_splice_init(&io->parked, list);
	io->nr_parked = 0;
}

static void finish_list(struct list_head *list, blk_status_t status)
{
	struct qcow2_request *req, *next;

	list_for_each_entry_safe(req, next, list, parked) {
		list_del_init(&req->parked);
		req_finish(req, status);
	}
}

/* Nobody made space in time: from now on a full image is an error. */
static void full_timeout(struct work_struct *work)
{
	struct qcow2_io *io = container_of(to_delayed_work(work), struct qcow2_io, timeout);
	LIST_HEAD(list);

	spin_lock_irq(&io->lock);
	io->gave_up = true;
	take_parked(io, &list);
	spin_unlock_irq(&io->lock);
	finish_list(&list, BLK_STS_NOSPC);
	if (io->chain->writable)
		qcow2_commit_impatient(&io->chain->commit, true);
}

void qcow2_io_stop_parking(struct qcow2_io *io, bool noflush)
{
	LIST_HEAD(list);

	spin_lock_irq(&io->lock);
	io->no_parking = true;
	io->noflush = noflush;
	take_parked(io, &list);
	spin_unlock_irq(&io->lock);
	finish_list(&list, noflush ? BLK_STS_DM_REQUEUE : BLK_STS_NOSPC);
	if (io->chain->writable)
		qcow2_commit_impatient(&io->chain->commit, true);
	cancel_delayed_work_sync(&io->timeout);
}

void qcow2_io_retry(struct qcow2_io *io)
{
	struct qcow2_request *req, *next;
	LIST_HEAD(list);

	cancel_delayed_work_sync(&io->timeout);
	spin_lock_irq(&io->lock);
	io->gave_up = false;
	take_parked(io, &list);
	spin_unlock_irq(&io->lock);
	set_full(io, false);
	list_for_each_entry_safe(req, next, &list, parked) {
		list_del_init(&req->parked);
		req_queue(req);
	}
	if (io->chain->writable) {
		qcow2_commit_impatient(&io->chain->commit, false);
		qcow2_commit_kick(&io->chain->commit);
	}
}

void qcow2_io_start_parking(struct qcow2_io *io)
{
	spin_lock_irq(&io->lock);
	io->no_parking = false;
	io->noflush = false;
	spin_unlock_irq(&io->lock);
	qcow2_io_retry(io);
}

void qcow2_io_drain(struct qcow2_io *io)
{
	wait_event(io->idle, !atomic_read(&io->deferred));
}

static const struct qcow2_request_ops req_ops = {
	.finish = req_finish,
	.again = req_queue,
	.park = req_park,
	.advance = req_advance,
};

/* ------------------------------------------------------------------------
 * The fast ways out of .map
 */

static void inline_done(struct qcow2_xfer *xfer)
{
	struct qcow2_request *req = container_of(xfer, struct qcow2_request, xfer);

	if (xfer->ret == -EAGAIN) {
		qcow2_request_leave(req);
		req_defer(req->io, req);
		return;
	}
	if (xfer->ret)
		qcow2_commit_fault(&req->chain->commit, xfer->write ? QCOW2_FAULT_WRITE :
				   QCOW2_FAULT_READ, req->goff);
	req_finish(req, qcow2_request_status(xfer->ret));
}

static void req_xfer(struct qcow2_request *req, struct qcow2_backend *backend, u64 hoff,
		     u32 len, bool fua, void (*done)(struct qcow2_xfer *xfer))
{
	struct qcow2_xfer *xfer = &req->xfer;

	xfer->backend = backend;
	xfer->bvec = req->bio->bi_io_vec;
	xfer->iter = req->iter;
	xfer->iter.bi_size = len;
	xfer->hoff = hoff;
	xfer->write = op_is_change(req->bio);
	xfer->fua = fua;
	xfer->ret = 0;
	xfer->done = done;
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
	struct qcow2_backend *backend = &io->chain->layers[layer].backend;
	bool write = op_is_change(req->bio);

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
	trace_qcow2_inline(req->goff, extent->hoff, req->left, write);
	req_xfer(req, backend, extent->hoff, req->left, write && (req->bio->bi_opf & REQ_FUA),
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

/* Bytes to the end of the guest cluster, for what a lane has to do. */
static u32 to_cluster_end(const struct qcow2_request *req)
{
	const struct qcow2_image *top = qcow2_chain_top(req->chain);
	u32 size = top->raw ? 64U << 10 : top->geo.cluster_size;

	return size - (req->goff & (size - 1));
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
		req_finish(req, BLK_STS_OK);
		return DM_MAPIO_SUBMITTED;
	}
	if (extent.kind == QCOW2_EXTENT_DATA) {
		qcow2_stat_inc(io->chain->stats, QCOW2_STAT_HITS);
		cut(req, extent.len);
		if (map_data(io, req, &extent, layer, &result))
			return result;
	}
	qcow2_request_leave(req);
	cut(req, to_cluster_end(req));
	return req_defer(io, req);
}

static int map_write(struct qcow2_io *io, struct qcow2_request *req)
{
	struct qcow2_chain *chain = io->chain;
	struct qcow2_extent extent;
	int result;

	qcow2_request_enter(req);
	qcow2_map_lookup(&qcow2_chain_top(chain)->map, req->goff, req->left, &extent);
	if (extent.kind == QCOW2_EXTENT_DATA && extent.owned &&
	    (!(req->bio->bi_opf & REQ_FUA) || qcow2_commit_settled(&chain->commit, extent.number))) {
		qcow2_stat_inc(chain->stats, QCOW2_STAT_HITS);
		cut(req, extent.len);
		if (map_data(io, req, &extent, 0, &result))
			return result;
	}
	qcow2_request_leave(req);
	cut(req, to_cluster_end(req));
	return req_defer(io, req);
}

/*
 * Discard and write-zeroes: first what does not fill a cluster (zeros are
 * written there, a discard ends without effect), then whole clusters under
 * one L2 slice.
 */
static int map_release(struct qcow2_io *io, struct qcow2_request *req)
{
	const struct qcow2_image *top = qcow2_chain_top(io->chain);
	const struct qcow2_geometry *geo = &top->geo;
	u64 end = req->goff + req->left, slice, whole;
	bool discard = bio_op(req->bio) == REQ_OP_DISCARD;

	qcow2_stat_inc(io->chain->stats, QCOW2_STAT_DISCARDS);
	whole = end >= geo->virtual_size ? qcow2_round_up(geo, end) : end;
	whole -= qcow2_in_cluster(geo, whole);
	if (qcow2_in_cluster(geo, req->goff) || whole <= req->goff) {
		cut(req, to_cluster_end(req));
		if (!discard)
			return req_defer(io, req);
		req_finish(req, BLK_STS_OK);
		return DM_MAPIO_SUBMITTED;
	}
	slice = 1ULL << (geo->slice_bits - geo->l2_entry_bits + geo->cluster_bits);
	cut(req, min(whole - req->goff, slice - (req->goff & (slice - 1))));
	if (discard && !qcow2_release_can_zero(io->chain)) {
		req_finish(req, BLK_STS_OK);
		return DM_MAPIO_SUBMITTED;
	}
	return req_defer(io, req);
}

static int map_flush(struct qcow2_io *io, struct qcow2_request *req)
{
	if (!io->chain->writable) {
		req_finish(req, BLK_STS_OK);
		return DM_MAPIO_SUBMITTED;
	}
	atomic_inc(&io->deferred);
	req->deferred = true;
	wait_for_commit(req);
	return DM_MAPIO_SUBMITTED;
}

static void req_init(struct qcow2_io *io, struct bio *bio, struct qcow2_request *req)
{
	req->bio = bio;
	req->chain = io->chain;
	req->io = io;
	req->ops = &req_ops;
	INIT_WORK(&req->work, lane_work);
	INIT_LIST_HEAD(&req->parked);
	req->iter = bio->bi_iter;
	req->left = bio->bi_iter.bi_size;
	req->piece = 0;
	req->in_epoch = false;
	req->deferred = false;
	req->holds_cell = false;
	req->needs_commit = false;
	req->step = QCOW2_STEP_NONE;
	req->cell.granted = cell_granted;
	req->slice = NULL;
	req->freed = NULL;
	req->fill = NULL;
	req->cluster.hoff = 0;
	req->xfer.ret = 0;
}

int qcow2_io_map(struct qcow2_io *io, struct bio *bio, struct qcow2_request *req)
{
	struct qcow2_chain *chain = io->chain;
	enum qcow2_mode mode = qcow2_commit_mode(&chain->commit);

	req_init(io, bio, req);
	req->goff = bio->bi_iter.bi_sector << SECTOR_SHIFT;	/* the target starts at 0 */
	trace_qcow2_map(bio_dev(bio), (__force unsigned int)bio_op(bio), req->goff, req->left);
	if (mode == QCOW2_MODE_LOST)
		return DM_MAPIO_KILL;
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
	if (*error && *error != BLK_STS_DM_REQUEUE) {
		qcow2_stat_inc(io->chain->stats, QCOW2_STAT_IOERRS);
		if (!req->deferred && *error != BLK_STS_NOSPC)
			qcow2_commit_fault(&io->chain->commit, op_is_change(bio) ?
					   QCOW2_FAULT_WRITE : QCOW2_FAULT_READ, req->goff);
	}
	if (req->deferred && atomic_dec_and_test(&io->deferred))
		wake_up_all(&io->idle);
	return DM_ENDIO_DONE;
}

/* ------------------------------------------------------------------------
 * The lanes
 */

static void piece_done(struct qcow2_xfer *xfer)
{
	struct qcow2_request *req = container_of(xfer, struct qcow2_request, xfer);

	qcow2_request_leave(req);
	if (xfer->ret == -ENOSPC && xfer->write && req->io->queue_when_full) {
		/* Parking sleeps: the lane finds the error again, or space. */
		req->xfer.ret = -ENOSPC;
		req->piece = 0;
		req->cluster.hoff = 0;
		req_queue(req);
		return;
	}
	if (xfer->ret) {
		qcow2_commit_fault(&req->chain->commit, xfer->write ? QCOW2_FAULT_WRITE :
				   QCOW2_FAULT_READ, req->goff);
		req_finish(req, qcow2_request_status(xfer->ret));
		return;
	}
	req_advance(req);
}

/* The piece is mapped data of @layer: transfer it. Inside the epoch, which piece_done() leaves. */
static void lane_data(struct qcow2_request *req, const struct qcow2_extent *extent,
		      unsigned int layer, bool fua)
{
	req->piece = min_t(u64, req->left, extent->len);
	trace_qcow2_lane(req->goff, extent->hoff, req->piece, op_is_change(req->bio));
	req_xfer(req, &req->chain->layers[layer].backend, extent->hoff, req->piece, fua, piece_done);
	qcow2_backend_submit(&req->xfer);
}

static void zero_piece(struct qcow2_request *req, u32 len)
{
	struct bvec_iter iter = req->iter, at;
	struct bio_vec bvec;

	iter.bi_size = len;
	for_each_bvec(bvec, req->bio->bi_io_vec, at, iter)
		memzero_bvec(&bvec);
}

static void lane_read(struct qcow2_request *req)
{
	struct qcow2_chain *chain = req->chain;
	struct qcow2_extent extent;
	unsigned int layer, epoch;
	int ret;

	ret = qcow2_chain_lookup_wait(chain, req->goff, req->left, &extent, &layer, &epoch);
	if (ret)
		goto out_failed;
	if (extent.kind == QCOW2_EXTENT_DATA) {
		req->epoch = epoch;
		req->in_epoch = true;
		lane_data(req, &extent, layer, false);
		return;
	}
	qcow2_epoch_leave(&chain->epoch, epoch);
	if (extent.kind == QCOW2_EXTENT_ZERO) {
		req->piece = min_t(u64, req->left, extent.len);
		zero_piece(req, req->piece);
		req_advance(req);
		return;
	}
	ret = -EIO;
	if (extent.kind == QCOW2_EXTENT_CORRUPT)
		qcow2_chain_corrupt(chain, layer, req->goff, extent.why);
	else
		DMERR_LIMIT("compressed cluster at guest offset 0x%llx is not supported", req->goff);
out_failed:
	qcow2_commit_fault(&chain->commit, QCOW2_FAULT_READ, req->goff);
	req_finish(req, qcow2_request_status(ret));
}

/* Zeros into data that is mapped and ours. Inside the epoch. */
static void lane_zero_in_place(struct qcow2_request *req, const struct qcow2_extent *extent)
{
	int ret;

	req->piece = min_t(u64, req->left, extent->len);
	ret = qcow2_backend_zero(&qcow2_chain_top(req->chain)->backend, extent->hoff, req->piece);
	qcow2_request_leave(req);
	if (req->bio->bi_opf & REQ_FUA)
		req->needs_commit = true;
	if (ret == -ENOSPC)
		req_park(req);
	else if (ret)
		req_finish(req, qcow2_request_status(ret));
	else
		req_advance(req);
}

/* A cluster that has to be allocated or copied: its cell, then cow. */
static void lane_allocate(struct qcow2_request *req)
{
	const struct qcow2_geometry *geo = &qcow2_chain_top(req->chain)->geo;

	if (!req->holds_cell) {
		qcow2_commit_throttle(&req->chain->commit);
		if (!qcow2_cell_acquire(&req->chain->cells, &req->cell,
					qcow2_to_clu(geo, req->goff)))
			return;
		req->holds_cell = true;
		/* Somebody may have allocated it meanwhile: look again, with the cell. */
		req_queue(req);
		return;
	}
	req->piece = min(req->left, to_cluster_end(req));
	qcow2_cow_run(req);
}

/* Mapped data that is ours: no cell is wanted. Inside the epoch. */
static void lane_in_place(struct qcow2_request *req, const struct qcow2_extent *extent)
{
	bool fua = req->bio->bi_opf & REQ_FUA;

	qcow2_request_release_cell(req);
	if (bio_op(req->bio) == REQ_OP_WRITE_ZEROES) {
		lane_zero_in_place(req, extent);
		return;
	}
	if (fua && !qcow2_commit_settled(&req->chain->commit, extent->number))
		req->needs_commit = true;
	lane_data(req, extent, 0, fua && !req->needs_commit);
}

/* Look the top layer up; a miss waits. On 0 the request is inside the epoch. */
static int lane_lookup_top(struct qcow2_request *req, struct qcow2_extent *extent)
{
	struct qcow2_map *map = &qcow2_chain_top(req->chain)->map;
	struct qcow2_slice *pin = NULL;
	int ret = 0;

	for (;;) {
		qcow2_request_enter(req);
		qcow2_map_lookup(map, req->goff, req->left, extent);
		if (extent->kind != QCOW2_EXTENT_MISS)
			break;
		qcow2_request_leave(req);
		if (pin)
			qcow2_meta_put(pin);
		ret = qcow2_map_load(map, req->goff, &pin);
		if (ret)
			break;
	}
	if (pin)
		qcow2_meta_put(pin);
	return ret;
}

static void lane_write(struct qcow2_request *req)
{
	struct qcow2_chain *chain = req->chain;
	struct qcow2_extent extent;
	bool zero = false;
	u32 piece;
	int ret;

	ret = lane_lookup_top(req, &extent);
	if (!ret && extent.kind == QCOW2_EXTENT_DATA && extent.owned) {
		lane_in_place(req, &extent);
		return;
	}
	qcow2_request_leave(req);
	piece = min(req->left, to_cluster_end(req));
	if (!ret && extent.kind == QCOW2_EXTENT_CORRUPT) {
		qcow2_chain_corrupt(chain, 0, req->goff, extent.why);
		ret = -EIO;
	} else if (!ret && bio_op(req->bio) == REQ_OP_WRITE_ZEROES && req->holds_cell) {
		ret = qcow2_chain_is_zero(chain, req->goff, piece, &zero);
	}
	if (ret) {
		qcow2_request_release_cell(req);
		qcow2_commit_fault(&chain->commit, QCOW2_FAULT_WRITE, req->goff);
		req_finish(req, qcow2_request_status(ret));
	} else if (zero) {
		qcow2_request_release_cell(req);
		req->piece = piece;
		req_advance(req);
	} else {
		lane_allocate(req);
	}
}

/* Whole clusters whose mapping can say that they are zero or gone. */
static bool is_release(const struct qcow2_request *req)
{
	const struct qcow2_geometry *geo = &qcow2_chain_top(req->chain)->geo;

	if (bio_op(req->bio) == REQ_OP_DISCARD)
		return true;
	return bio_op(req->bio) == REQ_OP_WRITE_ZEROES && qcow2_release_can_zero(req->chain) &&
	       !qcow2_in_cluster(geo, req->goff) &&
	       (!qcow2_in_cluster(geo, req->left) || req->goff + req->left >= geo->virtual_size);
}

static void lane_dispatch(struct qcow2_request *req)
{
	if (req->step != QCOW2_STEP_NONE) {
		qcow2_cow_run(req);
	} else if (bio_op(req->bio) == REQ_OP_READ) {
		lane_read(req);
	} else if (qcow2_commit_mode(&req->chain->commit) != QCOW2_MODE_RW) {
		qcow2_request_release_cell(req);
		req_finish(req, BLK_STS_IOERR);
	} else if (is_release(req)) {
		req->piece = req->left;
		qcow2_release_run(req);
	} else if (req->xfer.ret == -ENOSPC) {
		req->xfer.ret = 0;
		req_park(req);
	} else {
		lane_write(req);
	}
}

static void lane_work(struct work_struct *work)
{
	struct qcow2_request *req = container_of(work, struct qcow2_request, work);
	unsigned int noio = memalloc_noio_save();
	unsigned int throttle = current->flags & PF_LOCAL_THROTTLE;

	current->flags |= PF_LOCAL_THROTTLE;
	lane_dispatch(req);
	if (!throttle)
		current->flags &= ~PF_LOCAL_THROTTLE;
	memalloc_noio_restore(noio);
}

void qcow2_io_init(struct qcow2_io *io)
{
	atomic_set(&io->deferred, 0);
	init_waitqueue_head(&io->idle);
	spin_lock_init(&io->lock);
	INIT_LIST_HEAD(&io->parked);
	INIT_DELAYED_WORK(&io->timeout, full_timeout);
}

void qcow2_io_exit(struct qcow2_io *io)
{
	cancel_delayed_work_sync(&io->timeout);
}
