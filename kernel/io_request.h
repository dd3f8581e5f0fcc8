/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * What the three files of io know of each other: io.c (.map and the end),
 * io_lane.c (the lanes), io_park.c (waiting for space).
 */
#ifndef QCOW2_IO_REQUEST_H
#define QCOW2_IO_REQUEST_H

#include "io.h"
#include "request.h"

static inline bool qcow2_io_is_change(const struct bio *bio)
{
	return bio_op(bio) != REQ_OP_READ;
}

/* Bytes to the end of the guest cluster, for what a lane has to do. */
static inline u32 qcow2_io_to_cluster_end(const struct qcow2_request *req)
{
	const struct qcow2_image *top = qcow2_chain_top(req->chain);
	u32 size = top->geo.cluster_size;

	return size - (req->goff & (size - 1));
}

/* End @req. Any context. */
void qcow2_io_finish(struct qcow2_request *req, blk_status_t status);
/* To its lane. Any context. */
void qcow2_io_queue(struct qcow2_request *req);
/* The piece is done: the next one, the commit it needs, or the end. Any context. */
void qcow2_io_advance(struct qcow2_request *req);
/* The image is not full, or not any more. Any context. */
void qcow2_io_found_space(struct qcow2_request *req);
/* That, and the piece is done. */
void qcow2_io_allocated(struct qcow2_request *req);
/* Answer @req when a commit that starts from now on has ended. Any context. */
void qcow2_io_wait_for_commit(struct qcow2_request *req);
/* Prepare req->xfer for @len bytes of the bio from where @req stands. */
void qcow2_io_xfer(struct qcow2_request *req, struct qcow2_backend *backend, u64 hoff, u32 len,
		   bool fua, void (*done)(struct qcow2_xfer *xfer));
/* Park @req, or end it where nobody may wait. Process context. */
void qcow2_io_park(struct qcow2_request *req);
/*
 * The same where a commit waits for space, and too much is staged for @req to stage more. When the
 * commit goes on, so does @req.
 */
void qcow2_io_stall(struct qcow2_request *req);
void qcow2_io_full_timeout(struct work_struct *work);

/* Copy @len bytes to where @req stands. */
void qcow2_io_copy(struct qcow2_request *req, const u8 *from, u32 len);

/* The work of a request. */
void qcow2_io_lane(struct work_struct *work);
/* The cell that a request waited for is its own now. */
void qcow2_io_granted(struct qcow2_cell *cell);

extern const struct qcow2_request_ops qcow2_io_ops;

#endif
