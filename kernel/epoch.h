/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Who may still use an old mapping: every request is inside one of two epochs
 * from before its lookup until it gives the lookup up.
 *
 * A cluster that lost its mapping may be punched or used again only when
 * everybody who might have seen the mapping has left (rules.md (c)). A flip
 * sends newcomers to the other epoch; when the old one is empty, everybody who
 * entered before the flip has gone. Two percpu_refs, so that entering and
 * leaving cost two local increments; no hand-made counters, because a reader
 * that is stalled between reading the index and the increment would be missed.
 *
 * Layer 1. enter and leave: any context. No request may wait for anything but
 * its own lower I/O while it is inside.
 */
#ifndef QCOW2_EPOCH_H
#define QCOW2_EPOCH_H

#include <linux/percpu-refcount.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include "dm-qcow2.h"

struct qcow2_epoch;

struct qcow2_epoch_ref {
	struct percpu_ref ref;
	struct qcow2_epoch *owner;
};

struct qcow2_epoch {
	struct qcow2_epoch_ref refs[2];
	unsigned int index;		/* where newcomers go; written under lock */
	bool draining;			/* lock; who waits looks without */
	struct mutex lock;
	wait_queue_head_t idle;
	struct work_struct work;
	struct workqueue_struct *wq;	/* the owner may change it */
	void (*drained)(struct qcow2_epoch *epoch);	/* constant */
};

/*
 * @drained is called on @wq each time a flip has ended: everybody who entered
 * before that flip has left. May sleep.
 */
int qcow2_epoch_init(struct qcow2_epoch *epoch, struct workqueue_struct *wq,
		     void (*drained)(struct qcow2_epoch *epoch));
/* Nobody may be inside. May sleep. */
void qcow2_epoch_exit(struct qcow2_epoch *epoch);

static inline unsigned int qcow2_epoch_enter(struct qcow2_epoch *epoch)
{
	unsigned int index;

	rcu_read_lock();
	do {
		index = READ_ONCE(epoch->index);
	} while (!percpu_ref_tryget_live_rcu(&epoch->refs[index].ref));
	rcu_read_unlock();
	return index;
}

static inline void qcow2_epoch_leave(struct qcow2_epoch *epoch,
				     unsigned int index)
{
	percpu_ref_put(&epoch->refs[index].ref);
}

/* Start a flip; false if the last one has not ended yet. May sleep. */
bool qcow2_epoch_flip(struct qcow2_epoch *epoch);
/* Wait until no flip runs and its callback has returned. May sleep; not on @wq. */
void qcow2_epoch_wait(struct qcow2_epoch *epoch);
/* Wait until everybody who is inside now has left. May sleep; not on @wq. */
void qcow2_epoch_drain(struct qcow2_epoch *epoch);

#endif
