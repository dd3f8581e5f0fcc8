/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * One guest request on its way: lives in the per-bio data of dm core, so that
 * the hot path allocates nothing.
 *
 * A request that .map neither finishes nor remaps is worked off in pieces by
 * a lane, one piece after the other: a piece is one extent of a read, one
 * run of clusters written in place, one cluster that is allocated. It holds at
 * most one cell, and no epoch while it waits.
 */
#ifndef QCOW2_REQUEST_H
#define QCOW2_REQUEST_H

#include "chain.h"

struct qcow2_io;
struct qcow2_request;

/* What cow and release ask of io, which lies above them. All: any context. */
struct qcow2_request_ops {
	void (*finish)(struct qcow2_request *req, blk_status_t status);
	void (*again)(struct qcow2_request *req);	/* back to its lane */
	void (*park)(struct qcow2_request *req);	/* until there is space */
	void (*stall)(struct qcow2_request *req);	/* until the commit has space */
	void (*advance)(struct qcow2_request *req);	/* the piece is done: next, or finish */
	void (*allocated)(struct qcow2_request *req);	/* the same, and there was space for it */
};

/* The steps of an allocating write, in order. */
enum qcow2_step {
	QCOW2_STEP_NONE,
	QCOW2_STEP_RESERVE,
	QCOW2_STEP_FILL,
	QCOW2_STEP_DATA,
	QCOW2_STEP_STAGE,
	QCOW2_STEP_DONE,
};

struct qcow2_fill;

struct qcow2_request {
	struct bio *bio;
	struct qcow2_chain *chain;
	struct qcow2_io *io;		/* for io.c only */
	const struct qcow2_request_ops *ops;
	struct work_struct work;
	struct list_head parked;
	struct bvec_iter iter;		/* at goff; bi_size is not kept */
	u64 goff;			/* of what is left */
	u32 left;			/* bytes */
	u32 piece;			/* bytes of the piece under way */
	u8 epoch;
	u8 change;
	bool in_epoch;
	bool in_change;			/* inside chain->changes */
	bool deferred;			/* counted by io */
	bool holds_cell;
	bool met_full;			/* it was parked: when it goes on, there is space */
	bool needs_commit;		/* FUA, and a piece's mapping is not durable */
	enum qcow2_step step;
	struct qcow2_cell cell;
	struct qcow2_waiter waiter;
	struct qcow2_xfer xfer;
	atomic_t data_refs;		/* of the DATA step: who submits, and the completion */
	/* the allocating write of one cluster */
	struct qcow2_slice *slice;
	struct qcow2_freed *freed;
	struct qcow2_fill *fill;
	u64 zipped_hoff;		/* of the compressed cluster that freed gives up, or 0 */
	struct qcow2_cluster cluster;
	bool reused;			/* the host cluster was ours already */
	u32 fresh;			/* subclusters that are written to it, one bit each */
	u64 bitmap;			/* extended L2: of the new entry */
};

static inline void qcow2_request_leave(struct qcow2_request *req)
{
	if (req->in_epoch) {
		req->in_epoch = false;
		qcow2_epoch_leave(&req->chain->epoch, req->epoch);
	}
}

static inline void qcow2_request_enter(struct qcow2_request *req)
{
	req->epoch = qcow2_epoch_enter(&req->chain->epoch);
	req->in_epoch = true;
}

/* It may hold clusters that are counted and not mapped, or the other way round. */
static inline void qcow2_request_begin_change(struct qcow2_request *req)
{
	if (!req->in_change) {
		req->change = qcow2_epoch_enter(&req->chain->changes);
		req->in_change = true;
	}
}

static inline void qcow2_request_end_change(struct qcow2_request *req)
{
	if (req->in_change) {
		req->in_change = false;
		qcow2_epoch_leave(&req->chain->changes, req->change);
	}
}

static inline void qcow2_request_release_cell(struct qcow2_request *req)
{
	if (req->holds_cell) {
		req->holds_cell = false;
		qcow2_cell_release(&req->chain->cells, &req->cell);
	}
}

/* For status: why @req failed. -EUCLEAN: qcow2_chain_corrupt() has told that better. */
static inline void qcow2_request_blame(struct qcow2_request *req, enum qcow2_fault fault, int ret)
{
	if (ret != -EUCLEAN)
		qcow2_commit_fault(&req->chain->commit, fault, req->goff);
}

static inline blk_status_t qcow2_request_status(int ret)
{
	switch (ret) {
	case 0:
		return BLK_STS_OK;
	case -ENOSPC:
		return BLK_STS_NOSPC;
	case -ENOMEM:
		return BLK_STS_RESOURCE;
	default:
		return BLK_STS_IOERR;
	}
}

#endif
