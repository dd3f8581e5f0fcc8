/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Metadata in memory: slices of L2 tables and refcount blocks in a bounded
 * cache, slices of the L1 and refcount tables pinned for as long as the image
 * is active, and what has been changed for which commit.
 *
 * A slice is 4 KiB of a table (one cluster if clusters are smaller). The cache
 * never decides by itself when to write: a changed slice stays until commit.c
 * has written it.
 *
 * Staging. Every change carries the number of the commit that will contain it
 * (meta->staged). At its start a commit freezes the changed slices: a pointer
 * freeze, no copy. The first change to a frozen slice moves the current
 * content into the slice's spare buffer, so that a buffer under write never
 * changes; the spare is reserved before the lock is taken. Without memory for
 * one the change waits until the commit has written the slice.
 *
 * Memory. A slice that has to be read waits for memory, and gets some however
 * little there is: those that nobody uses are evicted, those that are changed
 * are written and evicted then, and what is freed fills the reserve first. One
 * reserve is for L2 tables, one for refcount blocks, so that all who wait for
 * each other stand in one order: who holds a slice of an L2 table may wait for
 * one of a layer below, or for a refcount block; who holds that, under
 * qcow2_refcount.lock, only for the commit, which needs no memory. Where there
 * is none for a place in the xarray, the slice is in a list beside it.
 *
 * Layer 2. Entries are 64-bit words in the byte order of the disk, read with
 * READ_ONCE and written with WRITE_ONCE, so that .map may read them under RCU
 * without a lock; the two words of an extended L2 entry belong together and
 * are read under the slice's seqcount. Lock order: meta->lock, then the xarray's, then cache->lock.
 */
#ifndef QCOW2_META_H
#define QCOW2_META_H

#include <linux/mempool.h>
#include <linux/seqlock.h>
#include <linux/wait.h>
#include <linux/xarray.h>
#include "backend.h"
#include "dm-qcow2.h"
#include "geometry.h"

enum qcow2_slice_kind {
	QCOW2_SLICE_L2,
	QCOW2_SLICE_L1,
	QCOW2_SLICE_REFBLOCK,
	QCOW2_SLICE_REFTABLE,
};

/* Legend: I = constant, M = meta->lock, C = cache->lock, R = RCU for readers. */
struct qcow2_slice {
	struct qcow2_meta *meta;	/* I */
	u64 hoff;			/* I: where it lies in the image */
	enum qcow2_slice_kind kind;	/* I */
	bool referenced;		/* any: looked at since the last scan */
	atomic_t pins;			/* one for the cache, one for each user and list */
	__be64 *data;			/* M, R: the current content */
	__be64 *frozen;			/* M: what the running commit writes, or NULL */
	/* M: reserved for the first change while frozen; a glance without M is checked under it */
	__be64 *spare;
	seqcount_spinlock_t seq;	/* M: changes of entries of two words */
	/* M: last commit that may have to contain a change; of one read anew the last written */
	u64 number;
	bool changed;			/* M: since it was read */
	struct list_head dirty;		/* M: on meta->dirty, changed for commit meta->staged */
	struct list_head writing;	/* M: on meta->writing, frozen */
	struct list_head lru;		/* C */
	struct hlist_node homeless;	/* M, R: on meta->homeless, with no place in meta->slices */
	struct rcu_head rcu;
};

/* The memory of all layers of one device. */
struct qcow2_cache {
	spinlock_t lock;		/* C: innermost */
	struct list_head lru;		/* C: most recently inserted first */
	atomic64_t used;		/* bytes of all slices, tables included */
	atomic64_t cached;		/* bytes of those that may be evicted */
	atomic64_t leaving;		/* bytes of those that wait for readers under RCU */
	wait_queue_head_t left;		/* these have become fewer */
	u64 limit;			/* I: bytes for the latter */
	struct qcow2_stats __percpu *stats; /* I */
	struct list_head all;		/* meta_shrink.c */
};

struct qcow2_meta {
	const struct qcow2_geometry *geo; /* I */
	struct qcow2_backend *backend;	/* I */
	struct qcow2_cache *cache;	/* I */
	struct xarray slices;		/* of L2 and refcount blocks, by hoff >> slice_bits */
	struct hlist_head homeless;	/* M, R: more of them; nearly always empty */
	mempool_t fresh[2];		/* slices with a buffer: of L2 tables, of all else */
	mempool_t buffers;		/* spare ones */
	spinlock_t lock;		/* M: numbers, lists and contents of changed slices */
	u64 staged;			/* M: number of the commit being gathered */
	u64 written;			/* commit work: number of the last one that is written */
	u64 durable;			/* commit work: of the last one that a barrier followed */
	struct list_head dirty;		/* M */
	struct list_head writing;	/* M */
	struct list_head loads;		/* M: reads on their way, see meta.c */
	unsigned int nr_dirty;		/* M, but for throttle and status: slices on either list */
	/* I: called under M when a slice is added to dirty; @now: memory waits for the commit */
	void (*changed)(struct qcow2_meta *meta, bool now);
};

int qcow2_meta_module_init(void);
void qcow2_meta_module_exit(void);

void qcow2_cache_init(struct qcow2_cache *cache, u64 limit,
		      struct qcow2_stats __percpu *stats);
/* Every slice was dropped before. Also of zeroed memory. */
void qcow2_cache_exit(struct qcow2_cache *cache);
/*
 * Evict one slice that nobody has pinned: second chance from the old end. False: found none.
 * Any context.
 */
bool qcow2_cache_evict(struct qcow2_cache *cache);
/*
 * Every slice was dropped before exit, which waits for the frees that are on their way.
 */
int qcow2_meta_init(struct qcow2_meta *meta, const struct qcow2_geometry *geo,
		    struct qcow2_backend *backend, struct qcow2_cache *cache,
		    void (*changed)(struct qcow2_meta *meta, bool now));
/*
 * From now on slices can be had whatever memory is free, if @writable those that are changed too.
 * Sleeps; any number of times.
 */
int qcow2_meta_reserve(struct qcow2_meta *meta, bool writable);
void qcow2_meta_exit(struct qcow2_meta *meta);
/* Drop all slices, changed ones too. Nobody uses them any more. */
void qcow2_meta_drop_all(struct qcow2_meta *meta);

/* The slice at @hoff if it is cached; caller is in an RCU section and does not keep it. */
struct qcow2_slice *qcow2_meta_peek(struct qcow2_meta *meta, u64 hoff);
/* The same, pinned, or NULL. Any context. */
struct qcow2_slice *qcow2_meta_find(struct qcow2_meta *meta, u64 hoff);

/*
 * An empty slice for qcow2_meta_read(), pinned; not to be called inside the epoch. NULL: there is
 * no memory; with @wait it waits until there is, and the caller holds no slice of the same reserve.
 */
struct qcow2_slice *qcow2_meta_fresh(struct qcow2_meta *meta, enum qcow2_slice_kind kind,
				     bool wait);
/*
 * The slice at @hoff, pinned; read from the image if need be (sleeps, but not
 * for memory): into *@fresh, which is used up then. NULL: there is no *@fresh
 * and one is needed. It enters the cache only if @valid(@arg), called under
 * meta->lock after the read, still says that the table belongs to the image
 * (rules.md 11); else -EAGAIN. ERR_PTR on errors.
 */
struct qcow2_slice *qcow2_meta_read(struct qcow2_meta *meta, u64 hoff,
				    struct qcow2_slice **fresh,
				    bool (*valid)(void *arg), void *arg);
/* The same where the table cannot go, and outside the epoch: waits for memory too. */
struct qcow2_slice *qcow2_meta_get(struct qcow2_meta *meta, u64 hoff,
				   enum qcow2_slice_kind kind);
/*
 * A slice outside the cache, pinned until qcow2_meta_put(): L1 and refcount
 * table; counts that are looked at once. @content NULL: read it. Without memory
 * -ENOMEM; counts wait for it.
 */
struct qcow2_slice *qcow2_meta_load(struct qcow2_meta *meta, u64 hoff,
				    enum qcow2_slice_kind kind, const void *content);
/*
 * The same of a whole table at @hoff, into @slices, which is all NULL; read in larger pieces. Of
 * the refcount table a slice without entries stays NULL: a new one is full of them. On errors
 * nothing is left.
 */
int qcow2_meta_load_table(struct qcow2_meta *meta, u64 hoff, enum qcow2_slice_kind kind,
			  struct qcow2_slice **slices, u32 nr);
/* Put those that are not NULL, and make all so. */
void qcow2_meta_put_table(struct qcow2_slice **slices, u32 nr);
void qcow2_meta_pin(struct qcow2_slice *slice);
void qcow2_meta_put(struct qcow2_slice *slice);
/* Forget the cached slices of the cluster at @hoff. */
void qcow2_meta_forget(struct qcow2_meta *meta, u64 hoff);

static inline u64 qcow2_slice_word(const struct qcow2_slice *slice, u32 index)
{
	return be64_to_cpu(READ_ONCE(READ_ONCE(slice->data)[index]));
}

/*
 * The commit that the words read from @slice before are in, or a later one. It is written before
 * the word it goes with (qcow2_meta_change()), so it is read behind it.
 */
static inline u64 qcow2_slice_number(const struct qcow2_slice *slice)
{
	smp_rmb();	/* pairs with __slice_change() */
	return READ_ONCE(slice->number);
}

/*
 * Words @index and @index + 1 as they were at one moment. A slow reader may
 * still look at a buffer that is not the content any more; before that buffer
 * is used again, the change that replaced it has moved the seqcount.
 */
static inline void qcow2_slice_pair(const struct qcow2_slice *slice, u32 index, u64 *first,
				    u64 *second)
{
	unsigned int seq;

	do {
		seq = read_seqcount_begin(&slice->seq);
		*first = qcow2_slice_word(slice, index);
		*second = qcow2_slice_word(slice, index + 1);
	} while (read_seqcount_retry(&slice->seq, seq));
}

/* Both at once; meta->lock is held by qcow2_meta_change(). */
static inline void __qcow2_slice_set_pair(struct qcow2_slice *slice, u32 index, u64 first,
					  u64 second)
{
	write_seqcount_begin(&slice->seq);
	WRITE_ONCE(slice->data[index], cpu_to_be64(first));
	WRITE_ONCE(slice->data[index + 1], cpu_to_be64(second));
	write_seqcount_end(&slice->seq);
}

/*
 * Open @slice for a change: sleeps until it has what it needs, returns with
 * meta->lock held (the interrupt flags are the result). Write into
 * slice->data, read slice->number, unlock.
 */
unsigned long qcow2_meta_change(struct qcow2_slice *slice)
	__acquires(&slice->meta->lock);
/* Take a changed slice off its lists unwritten: its table has moved. */
void qcow2_meta_abandon(struct qcow2_slice *slice);

/* Start of a commit: freeze what is staged, give the number, open the next one. */
u64 __qcow2_meta_freeze(struct qcow2_meta *meta);
/* The frozen slices of commit @number are written. */
void qcow2_meta_thaw(struct qcow2_meta *meta, u64 number);

/*
 * Fill the cluster at @hoff, to which nothing on disk points yet, with zeros.
 * @zeroed: it reads as zeros already.
 */
int qcow2_meta_format(struct qcow2_meta *meta, u64 hoff, bool zeroed);

#endif
