/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * How often each host cluster is used, and which one is free: counts in
 * memory for the next commit, and the allocator over them.
 *
 * Counts go up before anything refers to a cluster: a batch of clusters is
 * counted as used when it is reserved, so that a steady stream of new clusters
 * changes one slice of counts per batch. A crash leaks at most that batch.
 * Counts go down only through quarantine.c, after the commit that dropped the
 * reference.
 *
 * Where the structures themselves grow, the new block or table is written at
 * once, because nothing on disk points to it yet; the entry (or the header's
 * pair) that makes it reachable is staged, and the commit puts a barrier
 * between the two (P0). A new block lies in the range that it describes and
 * counts itself; a new table lies, with the blocks that count it, beyond
 * everything the old table covers.
 *
 * Layer 3. Everything sleeps. All under qcow2_refcount.lock.
 */
#ifndef QCOW2_REFCOUNT_H
#define QCOW2_REFCOUNT_H

#include "dm-qcow2.h"
#include "format.h"
#include "geometry.h"
#include "meta.h"
#include "metaset.h"
#include "watch.h"

#define QCOW2_BATCH_CLUSTERS	64
#define QCOW2_BATCH_BYTES	(16U << 20)

/* The header's pair when the refcount table moved; meta->lock. */
struct qcow2_table_move {
	u64 number;		/* commit that will write the pair; 0 = not moved */
	u64 hoff;
	u32 clusters;
	u64 old_hclu;		/* freed when that commit is durable */
	u32 old_clusters;
};

struct qcow2_refcount {
	const struct qcow2_geometry *geo; /* constant */
	struct qcow2_meta *meta;	/* constant */
	struct qcow2_metaset *metaset;	/* constant */
	u64 *end;			/* constant: where the map keeps the image's end */
	struct mutex lock;
	/* all below: lock */
	struct qcow2_slice **table;	/* NULL: all zeros on the disk, and not in memory */
	u32 nr_table_slices;
	u64 table_hoff;
	u32 table_clusters;
	u64 cursor;		/* every cluster below is in use */
	u64 fresh;		/* from here on we have used none, nor anybody before us */
	u64 ready[QCOW2_BATCH_CLUSTERS];
	u32 nr_ready;
	u32 next_ready;
	u64 ready_fresh;	/* ready clusters from here on read as zeros */
	u64 counted;		/* census: blocks below were counted */
	/* Status reads these two without the lock. */
	u64 allocated;		/* clusters in use, as far as counted */
	u64 highest;		/* highest cluster in use, as far as known */
	struct qcow2_table_move move; /* meta->lock */
	struct qcow2_watch *watch; /* told of each change of a count, or NULL */
	void (*refilled)(struct qcow2_refcount *rc); /* constant: under lock, must not sleep */
};

struct qcow2_cluster {
	u64 hoff;
	bool zeroed;		/* reads as zeros although never written */
};

/* Read the refcount table. ioctl context. */
int qcow2_refcount_open(struct qcow2_refcount *rc, u64 table_hoff, u32 table_clusters);
void qcow2_refcount_close(struct qcow2_refcount *rc);

/*
 * One cluster, counted as used. -ENOSPC: the device or the file system is
 * full; -EFBIG: 2^56 bytes; -EUCLEAN: broken refcount structures.
 */
int qcow2_refcount_reserve(struct qcow2_refcount *rc, struct qcow2_cluster *cluster);
/* Give back a cluster that was reserved and never mapped. */
void qcow2_refcount_unreserve(struct qcow2_refcount *rc, u64 hoff);
/* Give back what is left of the batch: before a clean suspend. */
void qcow2_refcount_return_batch(struct qcow2_refcount *rc);

int qcow2_refcount_count(struct qcow2_refcount *rc, u64 hclu, u64 *count);
/* One reference less. */
int qcow2_refcount_drop(struct qcow2_refcount *rc, u64 hclu);

/*
 * From the return on every change of a count marks its cluster. Marked already
 * are those that are counted and that nobody refers to yet or any more: the
 * batch, and a table that was moved.
 */
void qcow2_refcount_watch(struct qcow2_refcount *rc, struct qcow2_watch *watch);
/* Where refcount block @index lies; 0: there is none. -EUCLEAN: a broken entry. */
int qcow2_refcount_block(struct qcow2_refcount *rc, u64 index, u64 *hoff);
/*
 * Call @fn, which does not sleep, under rc->lock for the clusters from *@hclu
 * to the end of a slice of counts; *@hclu is the next one then, on errors too.
 */
int qcow2_refcount_visit(struct qcow2_refcount *rc, u64 *hclu,
			 void (*fn)(void *arg, u64 hclu, u64 count), void *arg);

/* Count one more refcount block for the statistics; false when all are. */
bool qcow2_refcount_census(struct qcow2_refcount *rc);
/*
 * Bytes up to the end of the highest cluster in use, if it lies behind @from; reads blocks from
 * that of @to to there.
 */
int qcow2_refcount_used_end(struct qcow2_refcount *rc, u64 from, u64 to, u64 *end);

#endif
