/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Clusters that lost a reference and may not be touched yet (rules.md (c)).
 *
 * An entry waits for two things: the commit that made the new mapping durable,
 * and the end of every request that may have seen the old one. Then the
 * cluster is punched, while its count still keeps it from being allocated,
 * and only then is the count lowered; the lower count reaches the disk with a
 * later commit.
 *
 * A count that lies would let the allocator have a cluster that is still in
 * here, and the new owner's data would be punched. So who gives up a reference
 * claims it first, and that fails when the count is lower than all claims
 * together: the clusters in here are never free.
 *
 * Layer 3, above map and refcount.
 */
#ifndef QCOW2_QUARANTINE_H
#define QCOW2_QUARANTINE_H

#include <linux/mempool.h>
#include "dm-qcow2.h"
#include "epoch.h"
#include "refcount.h"
#include "watch.h"

/* A run of host clusters, each with one reference less. */
struct qcow2_freed {
	struct list_head list;
	struct rb_node node;	/* in quarantine.claimed, by cluster */
	u64 subtree_last;	/* the tree's */
	u64 number;		/* commit that drops the references */
	u64 hclu;
	u64 count;
};

struct qcow2_quarantine {
	struct qcow2_refcount *rc;	/* constant */
	struct qcow2_epoch *epoch;	/* constant */
	bool punch;			/* constant: give the space back */
	mempool_t pool;
	spinlock_t lock;		/* lists, tree and numbers */
	struct rb_root_cached claimed;	/* lock: the entries of the lists, and those to come */
	struct list_head pending;	/* lock: waiting for a commit */
	struct list_head armed;		/* lock: durable, waiting for a flip */
	struct list_head draining;	/* lock: waiting for the running flip to end */
	struct list_head releasing;	/* lock: on their way to the allocator */
	struct mutex release_lock;	/* one after the other takes from releasing */
	u64 clusters;			/* lock: in all lists */
	u64 durable;			/* lock */
	atomic64_t uncounted;		/* clusters whose count was 0 already: corruption */
};

int qcow2_quarantine_module_init(void);
void qcow2_quarantine_module_exit(void);

int qcow2_quarantine_init(struct qcow2_quarantine *q, struct qcow2_refcount *rc,
			  struct qcow2_epoch *epoch, bool punch);
void qcow2_quarantine_exit(struct qcow2_quarantine *q);

/* Memory for one entry, before the mapping changes. Sleeps, never fails. */
struct qcow2_freed *qcow2_quarantine_alloc(struct qcow2_quarantine *q);
/* The same for who must not wait, because a commit waits for him. NULL: there is none. */
struct qcow2_freed *qcow2_quarantine_try_alloc(struct qcow2_quarantine *q);
void qcow2_quarantine_unused(struct qcow2_quarantine *q, struct qcow2_freed *freed);
/*
 * Claim a reference of each cluster of @freed; @more others are known. -EUCLEAN: a count is lower
 * than that; other errors of reading it. Sleeps, before the mapping changes. Then
 * qcow2_quarantine_add(), or unused().
 */
int qcow2_quarantine_claim(struct qcow2_quarantine *q, struct qcow2_freed *freed, u64 more);
/* The mapping has changed in memory and freed->number says for which commit. */
void qcow2_quarantine_add(struct qcow2_quarantine *q, struct qcow2_freed *freed);
/* Commit @durable has ended: start what it allows. Sleeps. */
void qcow2_quarantine_commit(struct qcow2_quarantine *q, u64 durable);
/* The epoch's drained callback: release what the flip waited for, if anything. Sleeps. */
bool qcow2_quarantine_drained(struct qcow2_quarantine *q);
/* Release everything durable now; all requests have left. Sleeps. */
void qcow2_quarantine_flush(struct qcow2_quarantine *q);
/* Mark all that is in quarantine. Sleeps not. */
void qcow2_quarantine_watch(struct qcow2_quarantine *q, struct qcow2_watch *watch);
/* Forget everything: the image is given up; clusters leak. */
void qcow2_quarantine_forget(struct qcow2_quarantine *q);

#endif
