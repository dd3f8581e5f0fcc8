// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * What a device needs as soon as it is used, and not before: its lanes, each
 * with a thread that works when memory is short, and one of each thing that
 * work must not wait for. Of a thousand devices over one base most are idle,
 * and these would be nine tenths of what they take.
 *
 * The first request of any kind starts it, and requests that need a lane are
 * held until the lanes are there (io.c). Nothing of another device is lent to
 * a request meanwhile: with images on images the one could wait for the other.
 * A mount or swapon reads long before anybody depends on the device for
 * memory. Where somebody may depend on it before, the constructor starts it: a
 * device that is open when its table is loaded, and one that is going to take
 * an image over from another device, which comes to life while the other is
 * suspended. From then on all is there until the destructor, as if the
 * constructor had made it. Without memory the first request waits for it, as
 * later ones wait for a reserve.
 *
 * What suspend, resume and messages do to an idle device works in the module's
 * own lane. Nobody waits there for a request of an idle device: the first one
 * starts it.
 */
#include <linux/blkdev.h>
#include <linux/sched/mm.h>
#include "chain.h"

#define LANE_FLAGS	(WQ_MEM_RECLAIM | WQ_UNBOUND)
#define RETRY_JIFFIES	(HZ / 10)

static struct workqueue_struct *idle_lane;

int qcow2_chain_module_init(void)
{
	idle_lane = alloc_workqueue("qcow2_idle", LANE_FLAGS, 0);
	return idle_lane ? 0 : -ENOMEM;
}

void qcow2_chain_module_exit(void)
{
	destroy_workqueue(idle_lane);
}

/* ------------------------------------------------------------------------
 * Lanes
 */

/* The same for all that has a lane of its own; read anywhere. */
static void use_lanes(struct qcow2_chain *chain)
{
	unsigned int i;

	for (i = 0; i < chain->nr_layers; i++) {
		struct qcow2_image *image = &chain->layers[i];
		struct workqueue_struct *lane = image->writable ? chain->write_lane :
								  chain->read_lane;

		WRITE_ONCE(image->backend.wq, lane);
		WRITE_ONCE(image->data->wq, lane);
	}
	WRITE_ONCE(chain->epoch.wq, chain->free_lane);
	if (chain->writable)
		WRITE_ONCE(chain->changes.wq, chain->free_lane);
}

static int make_lane(struct workqueue_struct **lane, struct workqueue_struct *made)
{
	if (!made)
		return -ENOMEM;
	WRITE_ONCE(*lane, made);
	return 0;
}

static int make_lanes(struct qcow2_chain *chain)
{
	const char *name = chain->name;
	int ret = 0;

	if (chain->read_lane == idle_lane)
		ret = make_lane(&chain->read_lane,
				alloc_workqueue("qcow2_read/%s", LANE_FLAGS, 0, name));
	if (!ret && chain->free_lane == idle_lane)
		ret = make_lane(&chain->free_lane,
				alloc_workqueue("qcow2_free/%s", LANE_FLAGS, 0, name));
	if (!chain->writable)
		return ret;
	if (!ret && chain->write_lane == idle_lane)
		ret = make_lane(&chain->write_lane,
				alloc_workqueue("qcow2_write/%s", LANE_FLAGS, 0, name));
	if (!ret && chain->commit.wq == idle_lane)
		ret = make_lane(&chain->commit.wq,
				alloc_ordered_workqueue("qcow2_commit/%s", WQ_MEM_RECLAIM, name));
	return ret;
}

void qcow2_chain_close_lanes(struct qcow2_chain *chain)
{
	struct workqueue_struct *lanes[] = {
		chain->read_lane, chain->write_lane, chain->free_lane, chain->commit.wq,
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(lanes); i++) {
		if (lanes[i] && lanes[i] != idle_lane)
			destroy_workqueue(lanes[i]);
	}
}

/* ------------------------------------------------------------------------
 * The start
 */

static int make_all(struct qcow2_chain *chain)
{
	unsigned int i;
	int ret;

	ret = make_lanes(chain);
	for (i = 0; i < chain->nr_layers && !ret; i++)
		ret = qcow2_image_reserve(&chain->layers[i]);
	if (!ret)
		ret = qcow2_unzip_reserve(&chain->unzip);
	return ret ?: chain->start(chain);
}

int qcow2_chain_start_now(struct qcow2_chain *chain)
{
	int ret = 0;

	mutex_lock(&chain->start_lock);
	if (!chain->started) {
		ret = make_all(chain);
		if (!ret) {
			use_lanes(chain);
			/* Whoever sees it sees the lanes. */
			smp_store_release(&chain->started, true);
		}
	}
	mutex_unlock(&chain->start_lock);
	return ret;
}

static void start_work(struct work_struct *work)
{
	struct qcow2_chain *chain = container_of(to_delayed_work(work), struct qcow2_chain,
						 start_work);
	unsigned int noio = memalloc_noio_save();
	int ret = qcow2_chain_start_now(chain);

	memalloc_noio_restore(noio);
	if (!ret) {
		chain->start_ended(chain);
		return;
	}
	DMERR_LIMIT("%s: its first request waits for memory", chain->name);
	queue_delayed_work(idle_lane, &chain->start_work, RETRY_JIFFIES);
}

void qcow2_chain_start(struct qcow2_chain *chain)
{
	queue_delayed_work(idle_lane, &chain->start_work, 0);
}

bool qcow2_chain_has_users(const struct qcow2_chain *chain)
{
	const struct qcow2_image *top = &chain->layers[0];

	return disk_openers(dm_disk(chain->md)) > 0 ||
	       (chain->writable && qcow2_claim_users(&top->use) > 1);
}

void qcow2_chain_start_init(struct qcow2_chain *chain, struct dm_target *ti)
{
	chain->md = dm_table_get_md(ti->table);
	chain->name = dm_device_name(chain->md);
	mutex_init(&chain->start_lock);
	INIT_DELAYED_WORK(&chain->start_work, start_work);
	chain->read_lane = idle_lane;
	chain->free_lane = idle_lane;
	if (!chain->writable)
		return;
	chain->write_lane = idle_lane;
	chain->commit.idle_wq = idle_lane;
	chain->commit.wq = idle_lane;
}
