// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * The two epochs of requests: see epoch.h for the idea.
 */
#include "epoch.h"

/* The old epoch is empty. Any context. */
static void epoch_empty(struct percpu_ref *ref)
{
	struct qcow2_epoch_ref *er = container_of(ref, struct qcow2_epoch_ref, ref);

	queue_work(READ_ONCE(er->owner->wq), &er->owner->work);
}

/* Make the old epoch usable again, then tell the owner. */
static void epoch_work(struct work_struct *work)
{
	struct qcow2_epoch *epoch = container_of(work, struct qcow2_epoch, work);

	mutex_lock(&epoch->lock);
	percpu_ref_reinit(&epoch->refs[!epoch->index].ref);
	WRITE_ONCE(epoch->draining, false);
	mutex_unlock(&epoch->lock);
	epoch->drained(epoch);
	wake_up_all(&epoch->idle);
}

int qcow2_epoch_init(struct qcow2_epoch *epoch, struct workqueue_struct *wq,
		     void (*drained)(struct qcow2_epoch *epoch))
{
	int ret;
	int i;

	mutex_init(&epoch->lock);
	init_waitqueue_head(&epoch->idle);
	INIT_WORK(&epoch->work, epoch_work);
	epoch->index = 0;
	epoch->draining = false;
	epoch->wq = wq;
	epoch->drained = drained;
	for (i = 0; i < 2; i++) {
		epoch->refs[i].owner = epoch;
		ret = percpu_ref_init(&epoch->refs[i].ref, epoch_empty,
				      PERCPU_REF_ALLOW_REINIT, GFP_KERNEL);
		if (ret) {
			if (i)
				percpu_ref_exit(&epoch->refs[0].ref);
			return ret;
		}
	}
	return 0;
}

void qcow2_epoch_wait(struct qcow2_epoch *epoch)
{
	wait_event(epoch->idle, !READ_ONCE(epoch->draining));
	flush_work(&epoch->work);
}

void qcow2_epoch_exit(struct qcow2_epoch *epoch)
{
	qcow2_epoch_wait(epoch);
	percpu_ref_exit(&epoch->refs[0].ref);
	percpu_ref_exit(&epoch->refs[1].ref);
}

bool qcow2_epoch_flip(struct qcow2_epoch *epoch)
{
	unsigned int old;
	bool started = false;

	mutex_lock(&epoch->lock);
	if (!epoch->draining) {
		old = epoch->index;
		WRITE_ONCE(epoch->draining, true);
		WRITE_ONCE(epoch->index, !old);
		percpu_ref_kill(&epoch->refs[old].ref);
		started = true;
	}
	mutex_unlock(&epoch->lock);
	return started;
}

void qcow2_epoch_drain(struct qcow2_epoch *epoch)
{
	while (!qcow2_epoch_flip(epoch))
		wait_event(epoch->idle, !READ_ONCE(epoch->draining));
	qcow2_epoch_wait(epoch);
}
