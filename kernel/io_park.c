// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Requests that wait for space: parked without cell or epoch, so that they
 * never hold up a suspend or the freeing of what they wait for.
 */
#include "io_request.h"

/* There is space again: who meets the next lack of it may wait for its end. */
static void __be_patient(struct qcow2_io *io)
{
	lockdep_assert_held(&io->lock);
	if (!io->gave_up)
		return;
	io->gave_up = false;
	qcow2_commit_impatient(&io->chain->commit, !io->queue_when_full || io->no_parking);
}

static void set_full(struct qcow2_io *io, bool full)
{
	unsigned long flags;
	bool changed;

	spin_lock_irqsave(&io->lock, flags);
	changed = io->full != full;
	WRITE_ONCE(io->full, full);
	if (!full)
		__be_patient(io);
	spin_unlock_irqrestore(&io->lock, flags);
	if (changed)
		io->event(io, full ? QCOW2_EVENT_FULL : QCOW2_EVENT_OK);
}

/* Somebody begins to wait for space; the first one starts the clock. */
static void __start_clock(struct qcow2_io *io)
{
	u64 ticks = (u64)io->full_timeout_s * HZ;

	lockdep_assert_held(&io->lock);
	if (ticks)
		queue_delayed_work(io->chain->free_lane, &io->timeout,
				   min_t(u64, ticks, MAX_JIFFY_OFFSET));
}

/*
 * False: nobody may wait, @req ends with *@status. A suspend without flush that
 * is interrupted sends down what dm core had held back, and only then tells us
 * (presuspend_undo). In between dm core takes nothing back, and would make an
 * error of it: what finds no space waits.
 */
static bool __park(struct qcow2_request *req, blk_status_t *status)
{
	struct qcow2_io *io = req->io;

	lockdep_assert_held(&io->lock);
	*status = BLK_STS_NOSPC;
	if (io->no_parking && io->noflush && io->noflush_suspending(io)) {
		*status = BLK_STS_DM_REQUEUE;
		return false;
	}
	if ((io->no_parking && !io->noflush) || !io->queue_when_full || io->gave_up)
		return false;
	list_add_tail(&req->parked, &io->parked);
	WRITE_ONCE(io->nr_parked, io->nr_parked + 1);
	__start_clock(io);
	return true;
}

/*
 * Whoever ends what @req waits for, the mode or @stalled, wakes those that are
 * parked afterwards: what has ended already is seen here.
 */
static void park(struct qcow2_request *req, bool stalled)
{
	struct qcow2_commit *commit = &req->chain->commit;
	struct qcow2_io *io = req->io;
	bool parked = false, again;
	blk_status_t status;

	qcow2_request_end_change(req);
	spin_lock_irq(&io->lock);
	again = qcow2_commit_mode(commit) != QCOW2_MODE_RW ||
		(stalled && !READ_ONCE(commit->stalled));
	if (!again)
		parked = __park(req, &status);
	spin_unlock_irq(&io->lock);
	if (again)
		qcow2_io_queue(req);
	else if (!parked)
		qcow2_io_finish(req, status);
}

void qcow2_io_park(struct qcow2_request *req)
{
	qcow2_commit_fault(&req->chain->commit, QCOW2_FAULT_NOSPACE, req->goff);
	req->met_full = true;
	set_full(req->io, true);
	park(req, false);
}

/* The commit has told that it is full, and will tell when it is not. */
void qcow2_io_stall(struct qcow2_request *req)
{
	park(req, true);
}

void qcow2_io_commit_stalled(struct qcow2_io *io, bool stalled)
{
	unsigned long flags;

	spin_lock_irqsave(&io->lock, flags);
	if (!stalled && !io->full)
		__be_patient(io);
	if (!stalled && !io->nr_parked)
		cancel_delayed_work(&io->timeout);
	else if (stalled && io->queue_when_full && !io->gave_up && !io->no_parking)
		__start_clock(io);
	spin_unlock_irqrestore(&io->lock, flags);
}

/*
 * Only this ends the state full, not the hope that a retry means: a retry in
 * vain raises no event, so nobody who answers events with retries can spin.
 */
void qcow2_io_found_space(struct qcow2_request *req)
{
	struct qcow2_io *io = req->io;

	req->met_full = false;
	if (unlikely(READ_ONCE(io->full)) && !READ_ONCE(io->nr_parked))
		set_full(io, false);
}

void qcow2_io_allocated(struct qcow2_request *req)
{
	qcow2_io_found_space(req);
	qcow2_io_advance(req);
}

static void take_parked(struct qcow2_io *io, struct list_head *list)
{
	lockdep_assert_held(&io->lock);
	list_splice_init(&io->parked, list);
	WRITE_ONCE(io->nr_parked, 0);
}

static void queue_list(struct list_head *list)
{
	struct qcow2_request *req, *next;

	list_for_each_entry_safe(req, next, list, parked) {
		list_del_init(&req->parked);
		qcow2_io_queue(req);
	}
}

void qcow2_io_wake_parked(struct qcow2_io *io)
{
	unsigned long flags;
	LIST_HEAD(list);

	spin_lock_irqsave(&io->lock, flags);
	take_parked(io, &list);
	spin_unlock_irqrestore(&io->lock, flags);
	queue_list(&list);
}

static void finish_list(struct list_head *list, blk_status_t status)
{
	struct qcow2_request *req, *next;

	list_for_each_entry_safe(req, next, list, parked) {
		list_del_init(&req->parked);
		qcow2_io_finish(req, status);
	}
}

/* Nobody made space in time: until there is some, a full image is an error. */
void qcow2_io_full_timeout(struct work_struct *work)
{
	struct qcow2_io *io = container_of(to_delayed_work(work), struct qcow2_io, timeout);
	LIST_HEAD(list);

	spin_lock_irq(&io->lock);
	if (!io->nr_parked && !READ_ONCE(io->chain->commit.stalled)) {
		spin_unlock_irq(&io->lock);
		return;
	}
	io->gave_up = true;
	take_parked(io, &list);
	spin_unlock_irq(&io->lock);
	finish_list(&list, BLK_STS_NOSPC);
	if (io->chain->writable)
		qcow2_commit_impatient(&io->chain->commit, true);
}

void qcow2_io_stop_parking(struct qcow2_io *io)
{
	bool noflush = io->noflush_suspending(io);
	LIST_HEAD(list);

	spin_lock_irq(&io->lock);
	io->no_parking = true;
	io->noflush = noflush;
	take_parked(io, &list);
	spin_unlock_irq(&io->lock);
	finish_list(&list, noflush ? BLK_STS_DM_REQUEUE : BLK_STS_NOSPC);
	if (io->chain->writable)
		qcow2_commit_impatient(&io->chain->commit, true);
	cancel_delayed_work_sync(&io->timeout);
}

void qcow2_io_retry(struct qcow2_io *io)
{
	LIST_HEAD(list);

	cancel_delayed_work_sync(&io->timeout);
	spin_lock_irq(&io->lock);
	io->gave_up = false;
	take_parked(io, &list);
	spin_unlock_irq(&io->lock);
	queue_list(&list);
	if (io->chain->writable) {
		/* Also beside a suspend, during which nobody may wait. */
		spin_lock_irq(&io->lock);
		qcow2_commit_impatient(&io->chain->commit, !io->queue_when_full || io->no_parking);
		spin_unlock_irq(&io->lock);
		qcow2_io_commit_stalled(io, READ_ONCE(io->chain->commit.stalled));
		qcow2_commit_kick(&io->chain->commit);
	}
}

void qcow2_io_start_parking(struct qcow2_io *io)
{
	spin_lock_irq(&io->lock);
	io->no_parking = false;
	io->noflush = false;
	spin_unlock_irq(&io->lock);
	set_full(io, false);	/* if it still is, that is told again */
	qcow2_io_retry(io);
}

void qcow2_io_drain(struct qcow2_io *io)
{
	wait_event(io->idle, !atomic_read(&io->deferred));
}
