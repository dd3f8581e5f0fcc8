// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * The lanes: what may sleep. A request is worked off piece by piece, see
 * request.h.
 */
#include <linux/sched/mm.h>
#include "cow.h"
#include "io_request.h"
#include "release.h"
#include "trace.h"

void qcow2_io_granted(struct qcow2_cell *cell)
{
	struct qcow2_request *req = container_of(cell, struct qcow2_request, cell);

	req->holds_cell = true;
	qcow2_io_queue(req);
}

static void piece_done(struct qcow2_xfer *xfer)
{
	struct qcow2_request *req = container_of(xfer, struct qcow2_request, xfer);

	if (xfer->write && !xfer->ret)
		qcow2_unwritten_remove(&qcow2_chain_top(req->chain)->unwritten, xfer->hoff,
				       req->piece);
	qcow2_request_leave(req);
	if (xfer->ret == -ENOSPC && xfer->write && req->io->queue_when_full) {
		/* Parking sleeps: the lane finds the error again, or space. */
		req->xfer.ret = -ENOSPC;
		req->piece = 0;
		req->cluster.hoff = 0;
		qcow2_io_queue(req);
		return;
	}
	if (xfer->ret) {
		qcow2_commit_fault(&req->chain->commit, xfer->write ? QCOW2_FAULT_WRITE :
				   QCOW2_FAULT_READ, req->goff);
		qcow2_io_finish(req, qcow2_request_status(xfer->ret));
		return;
	}
	qcow2_io_advance(req);
}

/* The piece is mapped data of @layer: transfer it. Inside the epoch, which piece_done() leaves. */
static void lane_data(struct qcow2_request *req, const struct qcow2_extent *extent,
		      unsigned int layer, bool fua)
{
	req->piece = min_t(u64, req->left, extent->len);
	trace_qcow2_lane(req->goff, extent->hoff, req->piece, qcow2_io_is_change(req->bio));
	qcow2_io_xfer(req, req->chain->layers[layer].data, extent->hoff, req->piece, fua,
		      piece_done);
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

void qcow2_io_copy(struct qcow2_request *req, const u8 *from, u32 len)
{
	struct bvec_iter iter = req->iter, at;
	struct bio_vec bvec;

	iter.bi_size = len;
	for_each_bvec(bvec, req->bio->bi_io_vec, at, iter) {
		memcpy_to_bvec(&bvec, from);
		from += bvec.bv_len;
	}
}

/* The piece is compressed data of @layer. Leaves the epoch. */
static void lane_inflate(struct qcow2_request *req, const struct qcow2_extent *extent,
			 unsigned int layer, unsigned int epoch)
{
	struct qcow2_chain *chain = req->chain;
	struct qcow2_inflated *inflated;
	int ret;

	ret = qcow2_chain_inflate(chain, layer, req->goff, extent, epoch, &inflated);
	if (ret == -EAGAIN) {
		qcow2_io_queue(req);
		return;
	}
	if (ret) {
		qcow2_request_blame(req, QCOW2_FAULT_READ, ret);
		qcow2_io_finish(req, qcow2_request_status(ret));
		return;
	}
	req->piece = min_t(u64, req->left, extent->len);
	qcow2_io_copy(req, inflated->data + qcow2_chain_in_cluster(chain, layer, req->goff),
		      req->piece);
	qcow2_unzip_put(&chain->unzip, inflated);
	qcow2_io_advance(req);
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
	if (extent.kind == QCOW2_EXTENT_COMPRESSED) {
		lane_inflate(req, &extent, layer, epoch);
		return;
	}
	qcow2_epoch_leave(&chain->epoch, epoch);
	if (extent.kind == QCOW2_EXTENT_ZERO) {
		req->piece = min_t(u64, req->left, extent.len);
		zero_piece(req, req->piece);
		qcow2_io_advance(req);
		return;
	}
	qcow2_chain_corrupt(chain, layer, req->goff, extent.why);
	ret = -EUCLEAN;
out_failed:
	qcow2_request_blame(req, QCOW2_FAULT_READ, ret);
	qcow2_io_finish(req, qcow2_request_status(ret));
}

/*
 * Zeros by their own means, or by writing. Of a raw data file the space may be given back, because
 * the mapping cannot.
 */
static int zero_data(const struct qcow2_request *req, u64 hoff, u32 len)
{
	const struct qcow2_image *top = qcow2_chain_top(req->chain);
	bool unmap = bio_op(req->bio) == REQ_OP_DISCARD || !(req->bio->bi_opf & REQ_NOUNMAP);

	if (top->data_raw && unmap && req->chain->quarantine.punch &&
	    !qcow2_backend_deallocate(top->data, hoff, len))
		return 0;
	return qcow2_backend_zero(top->data, hoff, len);
}

/* Zeros into data that is mapped and ours. Inside the epoch. */
static void lane_zero_in_place(struct qcow2_request *req, const struct qcow2_extent *extent)
{
	struct qcow2_image *top = qcow2_chain_top(req->chain);
	int ret;

	req->piece = min_t(u64, req->left, extent->len);
	if (!top->data->bdev)
		/* Nobody waits for memory inside the epoch. */
		qcow2_unwritten_add(&top->unwritten, extent->hoff, req->piece, GFP_NOWAIT);
	ret = zero_data(req, extent->hoff, req->piece);
	qcow2_request_leave(req);
	if (req->bio->bi_opf & REQ_FUA)
		req->needs_commit = true;
	if (ret == -ENOSPC) {
		qcow2_io_park(req);
	} else if (ret) {
		qcow2_request_blame(req, QCOW2_FAULT_WRITE, ret);
		qcow2_io_finish(req, qcow2_request_status(ret));
	} else {
		qcow2_io_advance(req);
	}
}

/*
 * A cluster that has to be allocated or copied: its cell, then cow. True: look again, with the
 * cell, because somebody may have allocated it meanwhile.
 */
static bool lane_allocate(struct qcow2_request *req)
{
	const struct qcow2_geometry *geo = &qcow2_chain_top(req->chain)->geo;

	if (!req->holds_cell) {
		if (!qcow2_commit_throttle(&req->chain->commit)) {
			qcow2_io_stall(req);
			return false;
		}
		if (!qcow2_cell_acquire(&req->chain->cells, &req->cell,
					qcow2_to_clu(geo, req->goff)))
			return false;
		req->holds_cell = true;
		return true;
	}
	req->piece = min(req->left, qcow2_io_to_cluster_end(req));
	qcow2_cow_run(req);
	return false;
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
		ret = qcow2_map_load(map, req->goff, true, &pin);
		if (ret == -EUCLEAN)
			qcow2_chain_corrupt(req->chain, 0, req->goff, QCOW2_L1_ENTRY_RANGE);
		if (ret)
			break;
	}
	if (pin)
		qcow2_meta_put(pin);
	return ret;
}

/* True: once more. */
static bool lane_write_piece(struct qcow2_request *req)
{
	struct qcow2_chain *chain = req->chain;
	struct qcow2_extent extent;
	bool zero = false;
	u32 piece;
	int ret;

	ret = lane_lookup_top(req, &extent);
	if (!ret && extent.kind == QCOW2_EXTENT_DATA && extent.owned) {
		lane_in_place(req, &extent);
		return false;
	}
	qcow2_request_leave(req);
	piece = min(req->left, qcow2_io_to_cluster_end(req));
	if (!ret && extent.kind == QCOW2_EXTENT_CORRUPT) {
		qcow2_chain_corrupt(chain, 0, req->goff, extent.why);
		ret = -EUCLEAN;
	} else if (!ret && bio_op(req->bio) == REQ_OP_WRITE_ZEROES && req->holds_cell) {
		ret = qcow2_chain_is_zero(chain, req->goff, piece, &zero);
	}
	if (ret) {
		qcow2_request_release_cell(req);
		qcow2_request_blame(req, QCOW2_FAULT_WRITE, ret);
		qcow2_io_finish(req, qcow2_request_status(ret));
	} else if (zero) {
		qcow2_request_release_cell(req);
		req->piece = piece;
		qcow2_io_advance(req);
	} else {
		return lane_allocate(req);
	}
	return false;
}

static void lane_write(struct qcow2_request *req)
{
	while (lane_write_piece(req))
		;
}

/* Whole clusters or subclusters whose mapping can say that they are zero or gone. */
static bool is_release(const struct qcow2_request *req)
{
	u64 size = qcow2_chain_top(req->chain)->geo.virtual_size;
	u32 mask = qcow2_release_granule(req) - 1;

	if (bio_op(req->bio) == REQ_OP_DISCARD)
		return true;
	return bio_op(req->bio) == REQ_OP_WRITE_ZEROES && qcow2_release_can_zero(req->chain) &&
	       !(req->goff & mask) && (!(req->left & mask) || req->goff + req->left >= size);
}

/* Subclusters of a cluster that has others as well. */
static bool is_part(const struct qcow2_request *req)
{
	const struct qcow2_geometry *geo = &qcow2_chain_top(req->chain)->geo;

	if (!geo->extended_l2 || bio_op(req->bio) == REQ_OP_DISCARD)
		return false;
	return qcow2_in_cluster(geo, req->goff) ||
	       (req->left < geo->cluster_size && req->goff + req->left < geo->virtual_size);
}

/* Is it compressed, so that it has no subclusters whose bits could say anything? */
static int is_compressed(struct qcow2_request *req, bool *compressed)
{
	struct qcow2_extent extent;
	int ret = lane_lookup_top(req, &extent);

	qcow2_request_leave(req);
	*compressed = !ret && extent.kind == QCOW2_EXTENT_COMPRESSED;
	return ret;
}

/*
 * A raw data file has to say by itself what reads as zeros, and has no layer below: zeros go into
 * data, whose mapping stays, and nothing is to be done where there is none.
 */
static void lane_release_raw(struct qcow2_request *req)
{
	struct qcow2_extent extent;
	int ret = lane_lookup_top(req, &extent);

	if (!ret && extent.kind == QCOW2_EXTENT_DATA) {
		lane_zero_in_place(req, &extent);
		return;
	}
	qcow2_request_leave(req);
	if (!ret && extent.kind == QCOW2_EXTENT_CORRUPT) {
		qcow2_chain_corrupt(req->chain, 0, req->goff, extent.why);
		ret = -EUCLEAN;
	}
	if (ret) {
		qcow2_request_blame(req, QCOW2_FAULT_WRITE, ret);
		qcow2_io_finish(req, qcow2_request_status(ret));
		return;
	}
	req->piece = min_t(u64, req->left, extent.len);
	qcow2_io_advance(req);
}

static void lane_release(struct qcow2_request *req)
{
	bool compressed = false;
	int ret = 0;

	if (is_part(req))
		ret = is_compressed(req, &compressed);
	if (ret) {
		qcow2_request_release_cell(req);
		qcow2_request_blame(req, QCOW2_FAULT_WRITE, ret);
		qcow2_io_finish(req, qcow2_request_status(ret));
	} else if (compressed) {
		lane_write(req);	/* nobody compresses it again */
	} else {
		req->piece = req->left;
		qcow2_release_run(req);
	}
}

static void lane_dispatch(struct qcow2_request *req)
{
	if (req->step != QCOW2_STEP_NONE) {
		qcow2_cow_run(req);
	} else if (!req->left) {
		qcow2_io_wait_for_commit(req);	/* a flush that was held */
	} else if (bio_op(req->bio) == REQ_OP_READ) {
		lane_read(req);
	} else if (qcow2_commit_mode(&req->chain->commit) != QCOW2_MODE_RW) {
		qcow2_request_release_cell(req);
		qcow2_io_finish(req, BLK_STS_IOERR);
	} else if (is_release(req) && qcow2_chain_top(req->chain)->data_raw) {
		lane_release_raw(req);
	} else if (is_release(req)) {
		lane_release(req);
	} else if (req->xfer.ret == -ENOSPC) {
		req->xfer.ret = 0;
		qcow2_io_park(req);
	} else {
		lane_write(req);
	}
}

void qcow2_io_lane(struct work_struct *work)
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
