// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Check an image while its device is written.
 *
 * References are collected from all that refers to clusters: the header, the L1
 * tables of the disk and of its snapshots, their L2 tables, the refcount
 * structures, the snapshot table. Then they are compared with the counts. More
 * references than counted is an error, less is a leak.
 *
 * What "now" is. The metadata that counts is the one in memory: a changed slice
 * stays in the cache until it is written, so a slice that is not there is on
 * disk as it is. In memory, counts are never lower than references: a cluster
 * is counted first, then referred to; it loses the reference first, then the
 * count. So between two changes of a cluster its count and its references
 * agree, unless something is wrong; commits do not matter at all.
 *
 * But things change while we go through them. So nothing is said about what
 * changes: a watch is hung up before the first look, and whoever changes an
 * entry or a count marks the clusters that lose or win by it. For a cluster
 * that is not marked at the end, every entry that refers to it has done so all
 * the time, and so has its count. Such an entry is seen exactly once, because
 * every guest cluster of every L1 table is looked at once: it does not matter
 * that an L2 table moves from one place to another meanwhile, nor whether an
 * entry that changes is seen before or after.
 *
 * Two things are on their way when the watch is hung up, and nobody will mark
 * them again in time:
 *  - Clusters reserved and not yet mapped, or unmapped and not yet in
 *    quarantine: they are in the hands of a request that has begun before. So
 *    we wait until all requests that change something, and had begun, have
 *    ended (chain->changes), and what they did to the rest was marked.
 *  - Clusters in quarantine, in the allocator's batch, and the old refcount table
 *    of a move: counted, referred to by nobody. They are marked by us.
 * Nothing is read from a table that may be used for something else already: the
 * look at the L1 entry and the read lie inside one epoch (rules.md 11).
 * Snapshots are neither made nor deleted while a device is active.
 *
 * Memory is bounded: references are collected for a window of host clusters,
 * and an image with more of them is gone through more than once, each time with
 * a new watch. A step is one slice; between two steps a stop is noticed.
 *
 * COPIED is compared too: an active entry has it exactly if the count is 1.
 */
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/workqueue.h>
#include "check_walk.h"

#define WINDOW		(4ULL << 20)	/* clusters */
#define POLL_MS		20

/* ------------------------------------------------------------------------
 * One pass
 */

static void hang_up(struct qcow2_check_run *run, struct qcow2_watch *watch)
{
	qcow2_map_watch(&run->top->map, watch);
	qcow2_refcount_watch(&run->top->rc, watch);
}

/* Everybody who had begun to change something has ended. */
static void wait_for_changes(struct qcow2_check_run *run)
{
	struct qcow2_epoch *changes = &run->check->chain->changes;
	long poll = msecs_to_jiffies(POLL_MS);

	while (!qcow2_check_is_stopped(run) && !qcow2_epoch_flip(changes))
		wait_event_timeout(changes->idle, !READ_ONCE(changes->draining), poll);
	while (!qcow2_check_is_stopped(run) && READ_ONCE(changes->draining))
		wait_event_timeout(changes->idle, !READ_ONCE(changes->draining), poll);
}

static void pass(struct qcow2_check_run *run, u64 first)
{
	run->watch.first = first;
	run->watch.count = min(WINDOW, run->clusters - first);
	memset(run->refs, 0, run->watch.count * sizeof(*run->refs));
	bitmap_zero(run->watch.bits, run->watch.count);
	hang_up(run, &run->watch);
	wait_for_changes(run);
	qcow2_quarantine_watch(&run->check->chain->quarantine, &run->watch);
	qcow2_check_collect(run);
	qcow2_check_compare(run);
	hang_up(run, NULL);
}

static void run_free(struct qcow2_check_run *run)
{
	if (!run)
		return;
	kvfree(run->refs);
	kvfree(run->watch.bits);
	kvfree(run->snapshots);
	kfree(run->l1);
	kfree(run->l2);
	kfree(run);
}

/* Who starts and stops waits for the work before a look at check->run. */
static void check_work(struct work_struct *work)
{
	struct qcow2_check *check = container_of(work, struct qcow2_check, work);
	struct qcow2_check_run *run = check->run;
	unsigned int noio = memalloc_noio_save();
	u64 first;

	for (first = 0; first < run->clusters && !qcow2_check_is_stopped(run); first += WINDOW) {
		run->first = !first;
		pass(run, first);
	}
	if (!qcow2_check_is_stopped(run)) {
		WRITE_ONCE(check->errors, run->errors);
		WRITE_ONCE(check->leaks, run->leaks);
		/* Who sees the state sees the numbers. */
		smp_store_release(&check->state, QCOW2_CHECK_DONE);
		check->done(check);
	}
	check->run = NULL;
	run_free(run);
	memalloc_noio_restore(noio);
}

/* ------------------------------------------------------------------------
 * Start and stop
 */

static int run_prepare(struct qcow2_check_run *run)
{
	struct qcow2_image *top = run->top;
	u32 size = qcow2_slice_size(&top->geo);
	u64 window, passes;
	int ret;

	run->clusters = qcow2_to_clu(&top->geo, READ_ONCE(top->map.end));
	window = min(WINDOW, run->clusters);
	passes = DIV_ROUND_UP_ULL(run->clusters, WINDOW);
	run->refs = kvcalloc(window, sizeof(*run->refs), GFP_KERNEL);
	run->watch.bits = kvcalloc(BITS_TO_LONGS(window), sizeof(long), GFP_KERNEL);
	run->l1 = kmalloc(size, GFP_KERNEL);
	run->l2 = kmalloc(size, GFP_KERNEL);
	if (!run->refs || !run->watch.bits || !run->l1 || !run->l2)
		return -ENOMEM;
	run->steps = top->map.l1_size;
	ret = qcow2_check_list_snapshots(run);
	run->steps = max(run->steps * passes, 1ULL);
	return ret;
}

/* Wait for the work, and forget what it used. */
static void __stop(struct qcow2_check *check)
{
	lockdep_assert_held(&check->lock);
	WRITE_ONCE(check->stop, true);
	cancel_work_sync(&check->work);
	if (check->state == QCOW2_CHECK_RUNNING)
		WRITE_ONCE(check->state, QCOW2_CHECK_NONE);
	run_free(check->run);
	check->run = NULL;
	WRITE_ONCE(check->stop, false);
}

static int __start(struct qcow2_check *check)
{
	struct qcow2_chain *chain = check->chain;
	int ret;

	lockdep_assert_held(&check->lock);
	if (!chain->writable)
		return -EROFS;
	if (!check->open || READ_ONCE(check->state) == QCOW2_CHECK_RUNNING)
		return -EBUSY;
	if (qcow2_commit_mode(&chain->commit) >= QCOW2_MODE_FAIL)
		return -EIO;
	__stop(check);		/* of the last one: what it used */
	check->run = kzalloc(sizeof(*check->run), GFP_KERNEL);
	if (!check->run)
		return -ENOMEM;
	check->run->check = check;
	check->run->top = qcow2_chain_top(chain);
	ret = run_prepare(check->run);
	if (ret) {
		run_free(check->run);
		check->run = NULL;
		return ret;
	}
	WRITE_ONCE(check->percent, 0);
	WRITE_ONCE(check->state, QCOW2_CHECK_RUNNING);
	/* Not in a lane: its rescuer would wait here for what it has to do itself. */
	queue_work(system_long_wq, &check->work);
	return 0;
}

int qcow2_check_start(struct qcow2_check *check)
{
	int ret;

	mutex_lock(&check->lock);
	ret = __start(check);
	mutex_unlock(&check->lock);
	return ret;
}

void qcow2_check_stop(struct qcow2_check *check)
{
	mutex_lock(&check->lock);
	__stop(check);
	mutex_unlock(&check->lock);
}

void qcow2_check_open(struct qcow2_check *check)
{
	mutex_lock(&check->lock);
	check->open = true;
	mutex_unlock(&check->lock);
}

void qcow2_check_close(struct qcow2_check *check)
{
	mutex_lock(&check->lock);
	check->open = false;
	__stop(check);
	mutex_unlock(&check->lock);
}

void qcow2_check_init(struct qcow2_check *check, struct qcow2_chain *chain,
		      void (*done)(struct qcow2_check *check))
{
	check->chain = chain;
	check->done = done;
	mutex_init(&check->lock);
	INIT_WORK(&check->work, check_work);
}
