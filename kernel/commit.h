/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * THE order in which metadata reaches the disk, and the mode of the image.
 *
 * Layer 4. The essay and the invariants are in commit.c.
 */
#ifndef QCOW2_COMMIT_H
#define QCOW2_COMMIT_H

#include "dm-qcow2.h"
#include "map.h"
#include "meta.h"
#include "quarantine.h"
#include "refcount.h"

/* By severity; a mode only ever gets worse while the device lives. */
enum qcow2_mode {
	QCOW2_MODE_RW,
	QCOW2_MODE_RO,		/* by the table, or after corruption was found */
	QCOW2_MODE_FAIL,	/* a commit or barrier failed */
	QCOW2_MODE_LOST,	/* resumed after an uncommitted suspend */
};

enum qcow2_event {
	QCOW2_EVENT_FULL,
	QCOW2_EVENT_OK,
	QCOW2_EVENT_LOW,
	QCOW2_EVENT_FAIL,
	QCOW2_EVENT_CORRUPT,
	QCOW2_EVENT_STALE,	/* the snapshot of a view is gone */
};

/* What status shows as last=. */
enum qcow2_fault {
	QCOW2_FAULT_NONE,
	QCOW2_FAULT_READ,
	QCOW2_FAULT_WRITE,
	QCOW2_FAULT_BARRIER,
	QCOW2_FAULT_NOSPACE,
	QCOW2_FAULT_L1,
	QCOW2_FAULT_L2,
	QCOW2_FAULT_REFCOUNT,
	QCOW2_FAULT_OVERLAP,
	QCOW2_FAULT_INFLATE,
};

/* Somebody who waits for durability; embedded in the request. */
struct qcow2_waiter {
	struct list_head list;
	void (*done)(struct qcow2_waiter *waiter, int ret);
};

struct qcow2_commit_writer;

struct qcow2_commit {
	struct qcow2_meta *meta;	/* constant */
	struct qcow2_backend *data;	/* constant: of the data file, or NULL */
	struct qcow2_map *map;		/* constant */
	struct qcow2_refcount *rc;	/* constant */
	struct qcow2_quarantine *quarantine; /* constant */
	struct qcow2_stats __percpu *stats; /* constant */
	const char *name;		/* constant: of the device, for the log */
	/* READ_ONCE; idle_wq, later an ordered one of its own */
	struct workqueue_struct *wq;
	struct workqueue_struct *idle_wq; /* constant: the lane of idle devices */
	unsigned int interval_ms;	/* constant */
	unsigned int max_dirty;		/* constant: slices that start a commit */
	/* constant; any context */
	void (*event)(struct qcow2_commit *commit, enum qcow2_event event);
	/* constant; commit work, while open: corruption was found, tell it in the image */
	int (*mark)(struct qcow2_commit *commit);
	/* One for each lane: who waits for a work that is in two lanes waits for one of them. */
	struct delayed_work idle_work, work;
	struct mutex one;		/* held by the works */
	wait_queue_head_t room;		/* woken when slices became clean */
	struct list_head waiters;	/* meta->lock: for the next START */
	struct list_head collected;	/* commit work: of the running commit */
	u64 running;			/* meta->lock: its number, 0 = none */
	bool stalled;			/* meta->lock: the running commit waits for space */
	bool impatient;			/* meta->lock: nobody may wait for space */
	bool open;			/* meta->lock: between activation and park */
	bool unmarked;			/* set with mode ro, cleared by the commit work */
	enum qcow2_mode mode;		/* READ_ONCE anywhere; worsened by qcow2_commit_worsen() */
	enum qcow2_fault fault;
	u64 fault_offset;
	u64 failed_hoff;		/* commit work: of the write that failed */
	struct qcow2_commit_writer *writer; /* commit work */
};

int qcow2_commit_init(struct qcow2_commit *commit);
void qcow2_commit_exit(struct qcow2_commit *commit);

/* Called through meta->changed, under meta->lock: something is staged; @now: not for long. */
void qcow2_commit_changed(struct qcow2_commit *commit, bool now);
/*
 * Wait for the first commit that starts from now on: done() is called with 0
 * when everything completed before this call is durable, else with an errno.
 * Any context; done() may run in this context or in the commit work.
 */
void qcow2_commit_wait(struct qcow2_commit *commit, struct qcow2_waiter *waiter);
/* Start a commit soon: memory is short, or space was made. Any context. */
void qcow2_commit_kick(struct qcow2_commit *commit);
/* Commit everything staged, now, and wait. Process context, not on commit->wq. */
int qcow2_commit_sync(struct qcow2_commit *commit);
/*
 * Wait until not too much is staged; on the way of every request that will
 * stage something, before it holds anything. False: a commit waits for space, so
 * the request has to as well. Sleeps; not on commit->wq.
 */
bool qcow2_commit_throttle(struct qcow2_commit *commit);
/*
 * From now on (@impatient) nobody waits for space: waiters of a stalled commit
 * get -ENOSPC.
 */
void qcow2_commit_impatient(struct qcow2_commit *commit, bool impatient);
/*
 * Remember the image's first sector. At activation: the header is ours until the next suspend,
 * and a commit that had to read it would fail when only reads do. Sleeps.
 */
int qcow2_commit_load_header(struct qcow2_commit *commit);
/*
 * Replace @len bytes at @offset of the first sector, which is loaded: one
 * write, not followed by a barrier. Sleeps.
 */
int qcow2_commit_header(struct qcow2_commit *commit, u32 offset, const void *bytes, u32 len);
/* Write the frozen slices of P1 (@mapping false) or P2 (true). Commit work only; sleeps. */
int qcow2_commit_write_slices(struct qcow2_commit *commit, bool mapping);
int qcow2_commit_writer_init(struct qcow2_commit *commit);
void qcow2_commit_writer_exit(struct qcow2_commit *commit);

static inline bool qcow2_slice_is_mapping(const struct qcow2_slice *slice)
{
	return slice->kind == QCOW2_SLICE_L2 || slice->kind == QCOW2_SLICE_L1;
}

/* One barrier over the image; counted. A failure is final: mode fail. */
int qcow2_commit_barrier(struct qcow2_commit *commit);
/* Is the mapping of commit @number durable? */
static inline bool qcow2_commit_settled(const struct qcow2_commit *commit, u64 number)
{
	return number <= READ_ONCE(commit->meta->durable);
}

static inline enum qcow2_mode qcow2_commit_mode(const struct qcow2_commit *commit)
{
	return READ_ONCE(commit->mode);
}

/* The one setter: logs, raises the event, never improves. Any context; @why is logged. */
void qcow2_commit_worsen(struct qcow2_commit *commit, enum qcow2_mode mode,
			 enum qcow2_fault fault, u64 offset);
/* Remember a fault for status without a change of mode. */
void qcow2_commit_fault(struct qcow2_commit *commit, enum qcow2_fault fault, u64 offset);
const char *qcow2_mode_name(enum qcow2_mode mode);
const char *qcow2_fault_name(enum qcow2_fault fault);

#endif
