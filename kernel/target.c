// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * The glue to device-mapper: constructor, suspend and resume, hints.
 *
 * ctr       opens, claims and verifies; the old table may be live
 * preresume takes ownership and reads the metadata
 * presuspend   nobody waits for space any more
 * postsuspend  drains, commits, drops every cache and parks
 *
 * All of them may run while a filesystem on the device is frozen: no
 * allocation in them may enter a filesystem or wait for I/O of this device.
 */
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/statfs.h>
#include "cow.h"
#include "limits.h"
#include "options.h"
#include "target.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

/* ------------------------------------------------------------------------
 * Events and space
 */

void qcow2_target_event(struct qcow2_target *t)
{
	schedule_work(&t->event);
}

static void event_work(struct work_struct *work)
{
	struct qcow2_target *t = container_of(work, struct qcow2_target, event);

	dm_table_event(t->ti->table);
}

static void commit_event(struct qcow2_commit *commit, enum qcow2_event event)
{
	struct qcow2_chain *chain = container_of(commit, struct qcow2_chain, commit);
	struct qcow2_target *t = container_of(chain, struct qcow2_target, chain);

	if (event == QCOW2_EVENT_OK || event == QCOW2_EVENT_FAIL || event == QCOW2_EVENT_CORRUPT)
		qcow2_io_wake_parked(&t->io);
	if (event == QCOW2_EVENT_FULL || event == QCOW2_EVENT_OK)
		qcow2_io_commit_stalled(&t->io, event == QCOW2_EVENT_FULL);
	qcow2_target_event(t);
}

static int chain_start(struct qcow2_chain *chain)
{
	return qcow2_cow_reserve(chain);
}

static void chain_start_ended(struct qcow2_chain *chain)
{
	struct qcow2_target *t = container_of(chain, struct qcow2_target, chain);

	qcow2_io_started(&t->io);
}

static void io_event(struct qcow2_io *io, enum qcow2_event event)
{
	qcow2_target_event(container_of(io, struct qcow2_target, io));
}

static bool io_noflush_suspending(struct qcow2_io *io)
{
	return dm_noflush_suspending(container_of(io, struct qcow2_target, io)->ti);
}

static void check_done(struct qcow2_check *check)
{
	qcow2_target_event(container_of(check, struct qcow2_target, check));
}

static void chain_allocated(struct qcow2_chain *chain)
{
	struct qcow2_target *t = container_of(chain, struct qcow2_target, chain);

	if (t->options.low_water)
		schedule_work(&t->space);
}

/* What was discarded is free again: maybe somebody waits for just that. */
static void chain_released(struct qcow2_chain *chain)
{
	struct qcow2_target *t = container_of(chain, struct qcow2_target, chain);

	if (READ_ONCE(t->io.nr_parked))
		qcow2_io_wake_parked(&t->io);
	chain_allocated(chain);
}

/* Bytes that a file can still grow by, U64_MAX if unknown. */
static u64 free_bytes(const struct qcow2_backend *backend)
{
	struct kstatfs stat;

	if (vfs_statfs(&backend->file->f_path, &stat))
		return U64_MAX;
	return (u64)stat.f_bavail * stat.f_bsize;
}

/* The same of the image, or of its data file where that is less. */
static u64 space_left(struct qcow2_target *t)
{
	struct qcow2_image *top = qcow2_chain_top(&t->chain);
	u64 used = READ_ONCE(top->rc.allocated) << top->geo.cluster_bits;
	u64 size = qcow2_backend_size(&top->backend), left;

	if (top->backend.bdev)
		left = size > used ? size - used : 0;
	else
		left = free_bytes(&top->backend);
	/* One on a device has all the space that it will ever need. */
	if (top->data_file && top->data->file)
		left = min(left, free_bytes(top->data));
	return left;
}

static void space_work(struct work_struct *work)
{
	struct qcow2_target *t = container_of(work, struct qcow2_target, space);
	unsigned int noio = memalloc_noio_save();
	bool low = space_left(t) < t->options.low_water << SECTOR_SHIFT;
	bool was_low = READ_ONCE(t->low);

	WRITE_ONCE(t->low, low);	/* status shows it before the event comes */
	if (low != was_low)
		qcow2_target_event(t);
	memalloc_noio_restore(noio);
}

/* ------------------------------------------------------------------------
 * Constructor and destructor
 */

static void target_free(struct qcow2_target *t)
{
	qcow2_check_close(&t->check);
	qcow2_io_exit(&t->io);
	cancel_work_sync(&t->space);
	qcow2_chain_close(&t->chain);
	qcow2_cow_exit(&t->chain);	/* nobody starts the device any more */
	cancel_work_sync(&t->event);
	kfree(t);
}

static struct qcow2_target *target_alloc(struct dm_target *ti)
{
	struct qcow2_target *t = kzalloc(sizeof(*t), GFP_KERNEL);

	if (!t)
		return NULL;
	t->ti = ti;
	INIT_WORK(&t->event, event_work);
	INIT_WORK(&t->space, space_work);
	qcow2_io_init(&t->io);
	qcow2_check_init(&t->check, &t->chain, check_done);
	t->io.chain = &t->chain;
	t->io.event = io_event;
	t->io.noflush_suspending = io_noflush_suspending;
	return t;
}

static int layer_roles(struct qcow2_target *t, struct qcow2_layer *layers, unsigned int nr,
		       const char **error)
{
	layers[0].top = true;
	layers[0].writable = dm_table_get_mode(t->ti->table) & QCOW2_BLK_WRITE;
	layers[0].drop_bitmaps = t->options.drop_bitmaps;
	layers[0].snapshot = t->options.snapshot;
	layers[0].data_file = t->options.data_file;
	layers[nr - 1].no_backing = t->options.no_backing;
	if (!layers[0].snapshot || !layers[0].writable)
		return 0;
	*error = "view of a snapshot needs a read-only table";
	return -EROFS;
}

static int open_chain(struct qcow2_target *t, struct qcow2_layer *layers, unsigned int nr,
		      const char **error)
{
	struct qcow2_chain_options options = {
		.cache_bytes = (u64)t->options.cache_kib << 10,
		.commit_ms = t->options.commit_ms,
		.punch = !t->options.discard_keep,
		.event = commit_event,
		.allocated = chain_allocated,
		.released = chain_released,
		.start = chain_start,
		.start_ended = chain_start_ended,
	};
	int ret;

	ret = layer_roles(t, layers, nr, error);
	if (!ret)
		ret = qcow2_chain_open(&t->chain, t->ti, layers, nr, &options, error);
	if (ret)
		return ret;
	t->options.snapshot = qcow2_chain_view(&t->chain);
	t->options.data_file = NULL;	/* the words go; status asks the file */
	t->io.hop_always = t->options.hop_always;
	t->io.queue_when_full = !t->options.error_when_full;
	t->io.full_timeout_s = t->options.full_timeout;
	if (t->ti->len > qcow2_chain_top(&t->chain)->size >> SECTOR_SHIFT) {
		*error = "table is longer than the image's virtual size";
		return -EINVAL;
	}
	return 0;
}

static void set_target(struct qcow2_target *t)
{
	struct dm_target *ti = t->ti;

	ti->private = t;
	ti->per_io_data_size = sizeof(struct qcow2_request);
	ti->num_flush_bios = 1;
	ti->flush_supported = true;
	if (t->chain.writable) {
		ti->num_discard_bios = 1;
		ti->discards_supported = true;
		ti->num_write_zeroes_bios = 1;
	}
}

static int target_ctr_noio(struct dm_target *ti, unsigned int argc, char **argv)
{
	struct qcow2_layer *layers = NULL;
	const char *error = "out of memory";
	struct qcow2_target *t;
	unsigned int nr;
	int ret = -EINVAL;

	if (ti->begin) {
		ti->error = "the target starts at sector 0";
		return -EINVAL;
	}
	t = target_alloc(ti);
	if (!t) {
		ti->error = "out of memory";
		return -ENOMEM;
	}
	ret = qcow2_options_parse(&t->options, &layers, &nr, argc, argv, &error);
	if (!ret)
		ret = open_chain(t, layers, nr, &error);
	kfree(layers);
	if (ret) {
		ti->error = (char *)error;
		target_free(t);
		return ret;
	}
	set_target(t);
	return 0;
}

static int target_ctr(struct dm_target *ti, unsigned int argc, char **argv)
{
	unsigned int noio = memalloc_noio_save();
	int ret = target_ctr_noio(ti, argc, argv);

	memalloc_noio_restore(noio);
	return ret;
}

static void target_dtr(struct dm_target *ti)
{
	unsigned int noio = memalloc_noio_save();

	target_free(ti->private);
	memalloc_noio_restore(noio);
}

/* ------------------------------------------------------------------------
 * I/O
 */

static int target_map(struct dm_target *ti, struct bio *bio)
{
	struct qcow2_target *t = ti->private;

	return qcow2_io_map(&t->io, bio, dm_per_bio_data(bio, sizeof(struct qcow2_request)));
}

static int target_end_io(struct dm_target *ti, struct bio *bio, blk_status_t *error)
{
	struct qcow2_target *t = ti->private;

	return qcow2_io_end(&t->io, bio, dm_per_bio_data(bio, sizeof(struct qcow2_request)),
			    error);
}

/* ------------------------------------------------------------------------
 * Suspend and resume; any number of times, and nested by internal suspends
 */

static void target_presuspend(struct dm_target *ti)
{
	struct qcow2_target *t = ti->private;

	qcow2_io_stop_parking(&t->io);
}

static void target_presuspend_undo(struct dm_target *ti)
{
	struct qcow2_target *t = ti->private;

	qcow2_io_start_parking(&t->io);
}

static void target_postsuspend(struct dm_target *ti)
{
	struct qcow2_target *t = ti->private;
	unsigned int noio = memalloc_noio_save();
	bool clean;

	qcow2_check_close(&t->check);
	qcow2_io_drain(&t->io);
	cancel_work_sync(&t->space);
	clean = qcow2_chain_deactivate(&t->chain);
	WRITE_ONCE(t->clean, clean);
	/* Who sees this sees how the suspend ended. */
	smp_store_release(&t->suspended_once, true);
	memalloc_noio_restore(noio);
}

static int target_preresume(struct dm_target *ti)
{
	struct qcow2_target *t = ti->private;
	unsigned int noio = memalloc_noio_save();
	int ret;

	ret = qcow2_chain_activate(&t->chain, (u64)ti->len << SECTOR_SHIFT);
	/* Opened since the constructor; without memory the first request tries again. */
	if (!ret && qcow2_chain_has_users(&t->chain))
		qcow2_chain_start_now(&t->chain);
	memalloc_noio_restore(noio);
	return ret;
}

static void target_resume(struct dm_target *ti)
{
	struct qcow2_target *t = ti->private;
	unsigned int noio = memalloc_noio_save();

	qcow2_limits_apply(t);
	qcow2_io_start_parking(&t->io);
	WRITE_ONCE(t->low, false);
	if (t->options.low_water && t->chain.writable)
		schedule_work(&t->space);
	qcow2_check_open(&t->check);
	if (qcow2_commit_mode(&t->chain.commit) > QCOW2_MODE_RO ||
	    (t->chain.writable && qcow2_commit_mode(&t->chain.commit) == QCOW2_MODE_RO) ||
	    qcow2_chain_is_stale(&t->chain) || READ_ONCE(t->check.state) == QCOW2_CHECK_DONE)
		qcow2_target_event(t);
	memalloc_noio_restore(noio);
}

static int target_iterate_devices(struct dm_target *ti, iterate_devices_callout_fn fn, void *data)
{
	struct qcow2_target *t = ti->private;
	struct qcow2_backend *backend;
	unsigned int i;
	int ret = 0;

	for (i = 0; i < t->chain.nr_layers && !ret; i++) {
		backend = &t->chain.layers[i].backend;
		if (backend->dev)
			ret = fn(ti, backend->dev, 0, bdev_nr_sectors(backend->bdev), data);
	}
	backend = qcow2_chain_top(&t->chain)->data;
	if (!ret && backend->dev && qcow2_chain_top(&t->chain)->data_file)
		ret = fn(ti, backend->dev, 0, bdev_nr_sectors(backend->bdev), data);
	return ret;
}

static struct target_type qcow2_target_type = {
	.name = "qcow2",
	.features = DM_TARGET_SINGLETON,
	.version = { 1, 0, 0 },
	.module = THIS_MODULE,
	.ctr = target_ctr,
	.dtr = target_dtr,
	.map = target_map,
	.end_io = target_end_io,
	.presuspend = target_presuspend,
	.presuspend_undo = target_presuspend_undo,
	.postsuspend = target_postsuspend,
	.preresume = target_preresume,
	.resume = target_resume,
	.status = qcow2_target_status,
	.message = qcow2_target_message,
	.iterate_devices = target_iterate_devices,
	.io_hints = qcow2_limits_hints,
};

static int __init qcow2_init(void)
{
	int ret;

	ret = qcow2_meta_module_init();
	if (ret)
		return ret;
	ret = qcow2_quarantine_module_init();
	if (ret)
		goto out_meta;
	ret = qcow2_claim_init();
	if (ret)
		goto out_quarantine;
	ret = qcow2_chain_module_init();
	if (ret)
		goto out_claim;
	ret = dm_register_target(&qcow2_target_type);
	if (ret)
		goto out_chain;
	return 0;

out_chain:
	qcow2_chain_module_exit();
out_claim:
	qcow2_claim_exit();
out_quarantine:
	qcow2_quarantine_module_exit();
out_meta:
	qcow2_meta_module_exit();
	return ret;
}

static void __exit qcow2_exit(void)
{
	dm_unregister_target(&qcow2_target_type);
	qcow2_chain_module_exit();
	qcow2_claim_exit();
	qcow2_quarantine_module_exit();
	qcow2_meta_module_exit();
}

module_init(qcow2_init);
module_exit(qcow2_exit);

MODULE_ALIAS("dm-qcow2");
MODULE_DESCRIPTION("device-mapper target for QCOW2 images");
MODULE_AUTHOR("The dm-qcow2 authors");
MODULE_LICENSE("GPL");
