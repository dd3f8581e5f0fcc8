// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * The commit: the one place that decides when metadata reaches the disk.
 *
 * Requests change metadata in memory only and stamp every change with the
 * number of the commit that will contain it. A commit then goes
 *
 *   START  under meta->lock: take the number, freeze everything staged, collect
 *          the waiters that queued so far, open the next number
 *   P0     only if refcount structures grew (their new blocks and tables were
 *          written when they were made): barrier
 *   P1     refcount blocks, refcount table entries, the header's pair: write,
 *          barrier. Guest data that completed before START is durable now too:
 *          a data file has its own barrier before that.
 *   P2     L2 slices and L1 entries: write, thaw; barrier
 *   P3     the number is durable: answer the waiters, let quarantine go on
 *
 * Where nobody waits, as after the timer, P2's barrier is left to the next
 * commit, whose first barrier settles this one too: a device that only writes
 * costs one barrier per interval. Until then the number is written and not
 * durable. The timer settles it if nothing else does.
 *
 *   idle --(waiter, timer, memory)--> START --> P0 --> P1 --> P2 --> P3 --> idle
 *                                       |       \______|______/ ENOSPC
 *                                       |              v
 *                                       |           stalled --(retry)--> P0
 *                                       \--(any other error, any barrier)--> fail
 *
 * Invariants, each with a test:
 *  1. A mapping on disk refers only to data that is durable: data completes
 *     before its mapping is staged, P1's barrier comes before P2's writes.
 *  2. A count on disk is never lower than the references on disk: increments
 *     are written in P1 of a commit not later than the mapping's, decrements
 *     are applied only when the commit that dropped the reference is durable.
 *  3. A cluster is used again only when nothing on disk points to it and nobody
 *     still reads it: quarantine.c.
 *  4. A flush belongs to the first commit that starts after it arrived. It
 *     never joins a commit that has passed START, and no barrier sent before
 *     it arrived answers it.
 *  5. Only one commit runs: a mutex says so, for there may be a work in the lane
 *     of idle devices and one in the device's own. A buffer under write is
 *     never changed.
 *  6. ENOSPC keeps everything: the same frozen slices are written again. Every
 *     other failed write and every failed barrier is final, because the lower
 *     device may have dropped what it could not write: mode fail, no flush is
 *     answered with success any more.
 */
#include <linux/list_sort.h>
#include <linux/sched/mm.h>
#include "commit.h"
#include "trace.h"

#define STALL_RETRY_MS	1000

static const char * const mode_names[] = {
	[QCOW2_MODE_RW] = "rw",
	[QCOW2_MODE_RO] = "ro",
	[QCOW2_MODE_FAIL] = "fail",
	[QCOW2_MODE_LOST] = "lost",
};

static const char * const fault_names[] = {
	[QCOW2_FAULT_NONE] = "none",
	[QCOW2_FAULT_READ] = "read",
	[QCOW2_FAULT_WRITE] = "write",
	[QCOW2_FAULT_BARRIER] = "barrier",
	[QCOW2_FAULT_NOSPACE] = "nospace",
	[QCOW2_FAULT_L1] = "l1",
	[QCOW2_FAULT_L2] = "l2",
	[QCOW2_FAULT_REFCOUNT] = "refcount",
	[QCOW2_FAULT_OVERLAP] = "overlap",
	[QCOW2_FAULT_INFLATE] = "inflate",
};

const char *qcow2_mode_name(enum qcow2_mode mode)
{
	return mode_names[mode];
}

const char *qcow2_fault_name(enum qcow2_fault fault)
{
	return fault_names[fault];
}

void qcow2_commit_fault(struct qcow2_commit *commit, enum qcow2_fault fault, u64 offset)
{
	WRITE_ONCE(commit->fault_offset, offset);
	WRITE_ONCE(commit->fault, fault);
}

void qcow2_commit_worsen(struct qcow2_commit *commit, enum qcow2_mode mode,
			 enum qcow2_fault fault, u64 offset)
{
	enum qcow2_mode old = READ_ONCE(commit->mode), seen;

	while (old < mode) {
		seen = cmpxchg(&commit->mode, old, mode);
		if (seen == old)
			break;
		old = seen;
	}
	if (old >= mode)
		return;		/* what made it so stays the last fault */
	qcow2_commit_fault(commit, fault, offset);
	DMERR("%s: mode is %s now: %s failed at 0x%llx", commit->name, qcow2_mode_name(mode),
	      qcow2_fault_name(fault), offset);
	if (mode == QCOW2_MODE_RO)
		WRITE_ONCE(commit->unmarked, true);
	commit->event(commit, mode == QCOW2_MODE_RO ? QCOW2_EVENT_CORRUPT : QCOW2_EVENT_FAIL);
	if (!commit->writer)	/* of a device that only reads: it has a mode, and no commits */
		return;
	wake_up_all(&commit->room);
	qcow2_commit_kick(commit);
}

static int flush_backend(struct qcow2_commit *commit, struct qcow2_backend *backend)
{
	int ret;

	qcow2_stat_inc(commit->stats, QCOW2_STAT_BARRIERS);
	ret = qcow2_backend_barrier(backend);
	if (ret)
		qcow2_commit_worsen(commit, QCOW2_MODE_FAIL, QCOW2_FAULT_BARRIER, 0);
	return ret;
}

int qcow2_commit_barrier(struct qcow2_commit *commit)
{
	return flush_backend(commit, commit->meta->backend);
}

static int slice_cmp(void *priv, const struct list_head *a, const struct list_head *b)
{
	u64 ha = list_entry(a, struct qcow2_slice, writing)->hoff;
	u64 hb = list_entry(b, struct qcow2_slice, writing)->hoff;

	return ha < hb ? -1 : ha > hb;
}

/* ------------------------------------------------------------------------
 * One commit
 */

/* What the frozen slices need. */
struct commit_content {
	bool growth;		/* refcount table entries or the header's pair */
	bool counts;
	bool mapping;
};

static struct commit_content commit_look(struct qcow2_commit *commit, bool moved)
{
	struct commit_content content = { .growth = moved };
	struct qcow2_slice *slice;

	list_for_each_entry(slice, &commit->meta->writing, writing) {
		if (qcow2_slice_is_mapping(slice))
			content.mapping = true;
		else
			content.counts = true;
		if (slice->kind == QCOW2_SLICE_REFTABLE)
			content.growth = true;
	}
	return content;
}

static int write_table_move(struct qcow2_commit *commit, const struct qcow2_table_move *move)
{
	struct {
		__be64 hoff;
		__be32 clusters;
	} __packed pair = {
		.hoff = cpu_to_be64(move->hoff),
		.clusters = cpu_to_be32(move->clusters),
	};

	return qcow2_commit_header(commit,
				   offsetof(struct qcow2_header_disk, refcount_table_offset),
				   &pair, sizeof(pair));
}

/*
 * Has the refcount table moved with a commit that is durable? Then the old one is free now. The
 * memory for that is not waited for, because what gives it back may need a commit: the next one
 * tries again.
 */
static bool free_old_table(struct qcow2_commit *commit)
{
	const struct qcow2_table_move *move = &commit->rc->move;
	struct qcow2_freed *freed;
	unsigned long flags;
	u64 i;

	if (!READ_ONCE(move->number) || move->number > commit->meta->durable)
		return false;
	freed = qcow2_quarantine_try_alloc(commit->quarantine);
	if (!freed)
		return false;
	for (i = 0; i < move->old_clusters; i++)
		qcow2_metaset_remove(commit->rc->metaset, move->old_hclu + i);
	freed->hclu = move->old_hclu;
	freed->count = move->old_clusters;
	freed->number = move->number;
	qcow2_quarantine_add(commit->quarantine, freed);
	spin_lock_irqsave(&commit->meta->lock, flags);
	WRITE_ONCE(commit->rc->move.number, 0);
	spin_unlock_irqrestore(&commit->meta->lock, flags);
	return true;
}

/* P3: every commit that is written is durable too. */
static void settled(struct qcow2_commit *commit)
{
	struct qcow2_meta *meta = commit->meta;

	if (meta->durable != meta->written) {
		WRITE_ONCE(meta->durable, meta->written);
		qcow2_quarantine_commit(commit->quarantine, meta->durable);
	}
	if (free_old_table(commit))
		qcow2_quarantine_commit(commit->quarantine, meta->durable);
}

static int settle(struct qcow2_commit *commit)
{
	int ret = qcow2_commit_barrier(commit);

	if (!ret)
		settled(commit);
	return ret;
}

/*
 * P0 and P1: counts are on disk before what they count. Guest data in a file of
 * its own is durable before P1's barrier returns, so before P2.
 */
static int write_counts(struct qcow2_commit *commit, const struct commit_content *content,
			const struct qcow2_table_move *move)
{
	int ret = 0;

	if (content->growth)
		ret = settle(commit);
	if (!ret && content->counts)
		ret = qcow2_commit_write_slices(commit, false);
	if (!ret && move->number)
		ret = write_table_move(commit, move);
	if (!ret && commit->data)
		ret = flush_backend(commit, commit->data);
	return ret ?: settle(commit);
}

static int commit_write(struct qcow2_commit *commit, const struct qcow2_table_move *move)
{
	struct commit_content content;
	int ret;

	list_sort(NULL, &commit->meta->writing, slice_cmp);
	content = commit_look(commit, move->number);
	trace_qcow2_commit_write(commit->running, content.growth, content.counts, content.mapping);
	ret = write_counts(commit, &content, move);
	if (!ret && content.mapping)
		ret = qcow2_commit_write_slices(commit, true);	/* P2 */
	if (ret)
		return ret;
	qcow2_meta_thaw(commit->meta, commit->running);
	if (!content.mapping) {
		settled(commit);	/* P1's barrier was the last thing needed */
		return 0;
	}
	return list_empty(&commit->collected) ? 0 : settle(commit);
}

static void answer(struct list_head *list, int ret)
{
	struct qcow2_waiter *waiter, *next;

	list_for_each_entry_safe(waiter, next, list, list) {
		list_del_init(&waiter->list);
		waiter->done(waiter, ret);
	}
}

/*
 * START. True: there is a commit to run, new or stalled. Waiters that cannot
 * be served are answered.
 */
static bool commit_start(struct qcow2_commit *commit, struct qcow2_table_move *move)
{
	struct qcow2_meta *meta = commit->meta;
	unsigned long flags;
	LIST_HEAD(refused);
	bool run;

	spin_lock_irqsave(&meta->lock, flags);
	if (qcow2_commit_mode(commit) >= QCOW2_MODE_FAIL || !commit->open) {
		list_splice_init(&commit->waiters, &refused);
		list_splice_init(&commit->collected, &refused);
		run = false;
	} else if (commit->running) {
		run = true;
	} else {
		run = !list_empty(&commit->waiters) || !list_empty(&meta->dirty) ||
		      meta->durable < meta->written || commit->rc->move.number;
		if (run) {
			list_splice_init(&commit->waiters, &commit->collected);
			commit->running = __qcow2_meta_freeze(meta);
		}
	}
	if (run) {
		*move = commit->rc->move;
		if (move->number != commit->running)
			move->number = 0;	/* written already, or not yet */
	}
	spin_unlock_irqrestore(&meta->lock, flags);
	answer(&refused, -EIO);
	return run;
}

static struct delayed_work *work_of(struct qcow2_commit *commit, struct workqueue_struct *wq)
{
	return wq == commit->idle_wq ? &commit->idle_work : &commit->work;
}

static void commit_within(struct qcow2_commit *commit, unsigned int ms)
{
	struct workqueue_struct *wq = READ_ONCE(commit->wq);

	queue_delayed_work(wq, work_of(commit, wq), msecs_to_jiffies(ms));
}

static void commit_succeeded(struct qcow2_commit *commit)
{
	struct qcow2_meta *meta = commit->meta;
	unsigned long flags;
	bool was_stalled;

	spin_lock_irqsave(&meta->lock, flags);
	commit->running = 0;
	was_stalled = commit->stalled;
	WRITE_ONCE(commit->stalled, false);
	spin_unlock_irqrestore(&meta->lock, flags);
	qcow2_stat_inc(commit->stats, QCOW2_STAT_COMMITS);
	wake_up_all(&commit->room);
	answer(&commit->collected, 0);
	if (meta->durable < meta->written)
		commit_within(commit, commit->interval_ms);
	if (was_stalled) {
		/* Whoever asked for a commit meanwhile got a try of this one. */
		qcow2_commit_kick(commit);
		commit->event(commit, QCOW2_EVENT_OK);
	}
}

/* No space for metadata: everything stays as it is until there is. */
static void commit_stalled(struct qcow2_commit *commit)
{
	unsigned long flags;
	LIST_HEAD(refused);
	bool first;

	spin_lock_irqsave(&commit->meta->lock, flags);
	first = !commit->stalled;
	WRITE_ONCE(commit->stalled, true);
	if (commit->impatient) {
		list_splice_init(&commit->waiters, &refused);
		list_splice_init(&commit->collected, &refused);
	}
	spin_unlock_irqrestore(&commit->meta->lock, flags);
	qcow2_commit_fault(commit, QCOW2_FAULT_NOSPACE, 0);
	if (first)
		commit->event(commit, QCOW2_EVENT_FULL);
	answer(&refused, -ENOSPC);
	wake_up_all(&commit->room);
	commit_within(commit, STALL_RETRY_MS);
}

/* The mode fell to ro. A commit that follows still writes what was answered before. */
static void mark_corrupt(struct qcow2_commit *commit)
{
	if (!READ_ONCE(commit->unmarked) || qcow2_commit_mode(commit) >= QCOW2_MODE_FAIL ||
	    !READ_ONCE(commit->open))
		return;
	WRITE_ONCE(commit->unmarked, false);
	if (commit->mark(commit))
		qcow2_commit_worsen(commit, QCOW2_MODE_FAIL, QCOW2_FAULT_WRITE, 0);
}

/* One commit. Whoever wants another has queued a work again. */
static void commit_once(struct qcow2_commit *commit)
{
	unsigned int noio = memalloc_noio_save();
	struct qcow2_table_move move;
	int ret;

	mutex_lock(&commit->one);
	mark_corrupt(commit);
	if (commit_start(commit, &move)) {
		ret = commit_write(commit, &move);
		if (!ret) {
			commit_succeeded(commit);
		} else if (ret == -ENOSPC && qcow2_commit_mode(commit) < QCOW2_MODE_FAIL) {
			commit_stalled(commit);
		} else {
			qcow2_commit_worsen(commit, QCOW2_MODE_FAIL, QCOW2_FAULT_WRITE,
					    commit->failed_hoff);
			qcow2_commit_kick(commit);	/* answers the waiters */
		}
	}
	mutex_unlock(&commit->one);
	memalloc_noio_restore(noio);
}

static void commit_work(struct work_struct *work)
{
	commit_once(container_of(to_delayed_work(work), struct qcow2_commit, work));
}

static void idle_commit_work(struct work_struct *work)
{
	commit_once(container_of(to_delayed_work(work), struct qcow2_commit, idle_work));
}

/* ------------------------------------------------------------------------
 * Asking for one
 */

void qcow2_commit_changed(struct qcow2_commit *commit, bool now)
{
	lockdep_assert_held(&commit->meta->lock);
	if (now || commit->meta->nr_dirty >= commit->max_dirty)
		qcow2_commit_kick(commit);
	else
		commit_within(commit, commit->interval_ms);
}

void qcow2_commit_wait(struct qcow2_commit *commit, struct qcow2_waiter *waiter)
{
	unsigned long flags;

	spin_lock_irqsave(&commit->meta->lock, flags);
	list_add_tail(&waiter->list, &commit->waiters);
	spin_unlock_irqrestore(&commit->meta->lock, flags);
	qcow2_commit_kick(commit);
}

void qcow2_commit_kick(struct qcow2_commit *commit)
{
	struct workqueue_struct *wq = READ_ONCE(commit->wq);

	mod_delayed_work(wq, work_of(commit, wq), 0);
}

struct sync_waiter {
	struct qcow2_waiter waiter;
	struct completion done;
	int ret;
};

static void sync_done(struct qcow2_waiter *waiter, int ret)
{
	struct sync_waiter *sync = container_of(waiter, struct sync_waiter, waiter);

	sync->ret = ret;
	complete(&sync->done);
}

int qcow2_commit_sync(struct qcow2_commit *commit)
{
	struct sync_waiter sync = { .waiter.done = sync_done };

	init_completion(&sync.done);
	qcow2_commit_wait(commit, &sync.waiter);
	wait_for_completion(&sync.done);
	return sync.ret;
}

static bool has_room(struct qcow2_commit *commit)
{
	return READ_ONCE(commit->meta->nr_dirty) < 2 * commit->max_dirty ||
	       qcow2_commit_mode(commit) != QCOW2_MODE_RW;
}

/* Nobody sleeps while the commit waits for space: it may be for ever, and a suspend waits. */
bool qcow2_commit_throttle(struct qcow2_commit *commit)
{
	wait_event(commit->room, has_room(commit) || READ_ONCE(commit->stalled));
	return has_room(commit);
}

void qcow2_commit_impatient(struct qcow2_commit *commit, bool impatient)
{
	unsigned long flags;

	spin_lock_irqsave(&commit->meta->lock, flags);
	commit->impatient = impatient;
	spin_unlock_irqrestore(&commit->meta->lock, flags);
	if (READ_ONCE(commit->stalled))
		qcow2_commit_kick(commit);
}

int qcow2_commit_init(struct qcow2_commit *commit)
{
	INIT_DELAYED_WORK(&commit->idle_work, idle_commit_work);
	INIT_DELAYED_WORK(&commit->work, commit_work);
	mutex_init(&commit->one);
	init_waitqueue_head(&commit->room);
	INIT_LIST_HEAD(&commit->waiters);
	INIT_LIST_HEAD(&commit->collected);
	commit->running = 0;
	commit->stalled = false;
	commit->impatient = false;
	commit->open = false;
	commit->unmarked = false;
	commit->fault = QCOW2_FAULT_NONE;
	commit->fault_offset = 0;
	commit->failed_hoff = 0;
	return qcow2_commit_writer_init(commit);
}

void qcow2_commit_exit(struct qcow2_commit *commit)
{
	if (!commit->writer)
		return;
	cancel_delayed_work_sync(&commit->idle_work);
	cancel_delayed_work_sync(&commit->work);
	qcow2_commit_writer_exit(commit);
}
