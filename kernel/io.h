/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Guest requests: .map classifies and takes the fast way where there is one,
 * lanes do the rest, and whoever waits for space waits here.
 *
 * Layer 7.
 */
#ifndef QCOW2_IO_H
#define QCOW2_IO_H

#include "chain.h"
#include "request.h"

struct qcow2_io {
	struct qcow2_chain *chain;	/* I */
	bool hop_always;		/* I: never inline */
	bool queue_when_full;		/* I */
	unsigned int full_timeout_s;	/* I: 0 = for ever */
	void (*event)(struct qcow2_io *io, enum qcow2_event event); /* I: any context */
	bool (*noflush_suspending)(struct qcow2_io *io); /* I: as dm core sees it; any context */
	atomic_t deferred;		/* requests that .map kept */
	wait_queue_head_t idle;		/* deferred went to zero */
	spinlock_t lock;
	struct list_head parked;	/* lock: waiting for space */
	unsigned int nr_parked;		/* lock; status reads it without */
	bool no_parking;		/* lock: a suspend is on its way */
	bool noflush;			/* lock: it is one that takes requests back */
	bool gave_up;			/* lock: full_timeout ran out */
	bool full;			/* lock: as status shows it, without */
	struct delayed_work timeout;
	spinlock_t held_lock;		/* interrupts off */
	struct list_head held;		/* held_lock: until the device is started */
};

void qcow2_io_init(struct qcow2_io *io);
void qcow2_io_exit(struct qcow2_io *io);

/* The target's .map and .end_io; @req is the per-bio data. */
int qcow2_io_map(struct qcow2_io *io, struct bio *bio, struct qcow2_request *req);
int qcow2_io_end(struct qcow2_io *io, struct bio *bio, struct qcow2_request *req,
		 blk_status_t *error);

/* presuspend: nobody waits for space any more; without flush requests go back to dm core. */
void qcow2_io_stop_parking(struct qcow2_io *io);
/* presuspend_undo, resume: waiting is allowed again. */
void qcow2_io_start_parking(struct qcow2_io *io);
/*
 * A commit waits for space, and flushes with it, or goes on: when writes would
 * get errors, they do. Any context.
 */
void qcow2_io_commit_stalled(struct qcow2_io *io, bool stalled);
/* A commit had space again, or there will be none: who waits looks again. Any context. */
void qcow2_io_wake_parked(struct qcow2_io *io);
/* The device is started: what was held goes on. */
void qcow2_io_started(struct qcow2_io *io);
/* Message retry: there may be space now. */
void qcow2_io_retry(struct qcow2_io *io);
/* Wait until every request that .map kept has ended. */
void qcow2_io_drain(struct qcow2_io *io);

#endif
