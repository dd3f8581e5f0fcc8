// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * The layers under a device: their life together.
 */
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include "chain.h"
#include "image_snapshot.h"

#define MAX_CACHE_BYTES		(32ULL << 20)
#define MIN_CACHE_BYTES		(64ULL << 10)
#define MAX_SUSPEND_COMMITS	64

static void top_changed(struct qcow2_meta *meta, bool now)
{
	struct qcow2_image *image = container_of(meta, struct qcow2_image, meta);
	struct qcow2_chain *chain = container_of(image->map.epoch, struct qcow2_chain, epoch);

	qcow2_commit_changed(&chain->commit, now);
}

static void view_stale(struct qcow2_image *image)
{
	struct qcow2_chain *chain = container_of(image->map.epoch, struct qcow2_chain, epoch);

	chain->commit.event(&chain->commit, QCOW2_EVENT_STALE);
}

bool qcow2_chain_view_is_stale(const struct qcow2_chain *chain)
{
	return READ_ONCE(qcow2_chain_top(chain)->view->stale);
}

const char *qcow2_chain_view(const struct qcow2_chain *chain)
{
	const struct qcow2_view *view = qcow2_chain_top(chain)->view;

	return view ? view->id : NULL;
}

/* A reference that no count stood for: other counts may be too low as well. */
static void check_counts(struct qcow2_chain *chain)
{
	u64 n = atomic64_xchg(&chain->quarantine.uncounted, 0);

	if (!n)
		return;
	DMERR_LIMIT("%s: %llu clusters were in use with a reference count of 0", chain->name, n);
	qcow2_stat_inc(chain->stats, QCOW2_STAT_CORRUPTIONS);
	qcow2_commit_worsen(&chain->commit, QCOW2_MODE_RO, QCOW2_FAULT_REFCOUNT, 0);
}

static void epoch_drained(struct qcow2_epoch *epoch)
{
	struct qcow2_chain *chain = container_of(epoch, struct qcow2_chain, epoch);
	unsigned int noio = memalloc_noio_save();

	if (chain->writable) {
		if (qcow2_quarantine_drained(&chain->quarantine))
			chain->released(chain);
		check_counts(chain);
	}
	memalloc_noio_restore(noio);
}

/* Who waits for it looks by himself. */
static void changes_drained(struct qcow2_epoch *epoch)
{
}

static void top_refilled(struct qcow2_refcount *rc)
{
	struct qcow2_image *image = container_of(rc, struct qcow2_image, rc);
	struct qcow2_chain *chain = container_of(image->map.epoch, struct qcow2_chain, epoch);

	chain->allocated(chain);
}

/* One refcount block after the other, so that nobody waits long for the lock. */
static void census_work(struct work_struct *work)
{
	struct qcow2_chain *chain = container_of(work, struct qcow2_chain, census);
	unsigned int noio = memalloc_noio_save();

	while (!READ_ONCE(chain->census_stop) &&
	       qcow2_refcount_census(&qcow2_chain_top(chain)->rc))
		cond_resched();
	chain->allocated(chain);
	memalloc_noio_restore(noio);
}

/* The cache that maps the whole disk, in every layer, within bounds. */
static u64 cache_default(const struct qcow2_chain *chain)
{
	const struct qcow2_image *image;
	u64 bytes = 0, clusters;
	unsigned int i;

	for (i = 0; i < chain->nr_layers && bytes < MAX_CACHE_BYTES; i++) {
		image = &chain->layers[i];
		if (image->raw)
			continue;
		clusters = image->size >> image->geo.cluster_bits;
		bytes += max_t(u64, clusters << image->geo.l2_entry_bits,
			       qcow2_slice_size(&image->geo));
	}
	return clamp(bytes * 2, MIN_CACHE_BYTES, MAX_CACHE_BYTES);
}

static int open_layers(struct qcow2_chain *chain, struct dm_target *ti,
		       const struct qcow2_layer *layers, const char **error)
{
	unsigned int i;
	int ret;

	for (i = 0; i < chain->nr_layers; i++) {
		ret = qcow2_image_open(&chain->layers[i], ti, &layers[i], &chain->cache,
				       &chain->epoch, i ? NULL : top_changed, error);
		if (ret)
			return ret;
		chain->layers[i].backend.wq = chain->read_lane;
		chain->layers[i].data->wq = chain->read_lane;
	}
	return 0;
}

static int mark_corrupt(struct qcow2_commit *commit)
{
	struct qcow2_chain *chain = container_of(commit, struct qcow2_chain, commit);

	return qcow2_image_mark_corrupt(qcow2_chain_top(chain), commit);
}

static int open_commit(struct qcow2_chain *chain, const struct qcow2_chain_options *options)
{
	struct qcow2_image *top = qcow2_chain_top(chain);
	struct qcow2_commit *commit = &chain->commit;
	int ret;

	commit->mode = chain->writable ? QCOW2_MODE_RW : QCOW2_MODE_RO;
	commit->name = chain->name;
	commit->event = options->event;
	commit->mark = mark_corrupt;
	commit->stats = chain->stats;
	commit->meta = &top->meta;
	commit->data = top->data_file ? top->data : NULL;
	if (top->view)
		top->view->event = view_stale;
	if (!chain->writable)
		return 0;
	ret = qcow2_epoch_init(&chain->changes, chain->free_lane, changes_drained);
	if (ret) {
		chain->changes.wq = NULL;
		return ret;
	}
	ret = qcow2_quarantine_init(&chain->quarantine, &top->rc, &chain->epoch, options->punch);
	if (ret)
		return ret;
	chain->allocated = options->allocated;
	chain->released = options->released;
	top->rc.refilled = top_refilled;
	commit->map = &top->map;
	commit->rc = &top->rc;
	commit->quarantine = &chain->quarantine;
	commit->interval_ms = options->commit_ms;
	commit->max_dirty = max_t(u64, 8, (chain->cache.limit >> top->geo.slice_bits) / 4);
	return qcow2_commit_init(commit);
}

int qcow2_chain_open(struct qcow2_chain *chain, struct dm_target *ti,
		     const struct qcow2_layer *layers, unsigned int nr_layers,
		     const struct qcow2_chain_options *options, const char **error)
{
	int ret;

	chain->nr_layers = nr_layers;
	chain->writable = layers[0].writable;
	qcow2_cells_init(&chain->cells);
	INIT_WORK(&chain->census, census_work);
	chain->layers = kcalloc(nr_layers, sizeof(*chain->layers), GFP_KERNEL);
	chain->stats = alloc_percpu(struct qcow2_stats);
	*error = "out of memory";
	if (!chain->layers || !chain->stats)
		return -ENOMEM;
	qcow2_cache_init(&chain->cache, options->cache_bytes, chain->stats);
	qcow2_chain_start_init(chain, ti);
	chain->start = options->start;
	chain->start_ended = options->start_ended;
	ret = qcow2_epoch_init(&chain->epoch, chain->free_lane, epoch_drained);
	if (ret)
		return ret;
	ret = open_layers(chain, ti, layers, error);
	if (ret)
		return ret;
	*error = "out of memory";
	qcow2_chain_unzip_init(chain);
	if (!chain->cache.limit)
		chain->cache.limit = cache_default(chain);
	ret = open_commit(chain, options);
	/* It takes the place of what somebody uses. */
	if (!ret && qcow2_chain_has_users(chain))
		ret = qcow2_chain_start_now(chain);
	return ret;
}

void qcow2_chain_close(struct qcow2_chain *chain)
{
	unsigned int i;

	if (!chain->nr_layers)	/* nothing was opened */
		return;
	WRITE_ONCE(chain->census_stop, true);
	cancel_work_sync(&chain->census);
	if (chain->name)
		cancel_delayed_work_sync(&chain->start_work);
	if (chain->commit.writer)
		qcow2_commit_exit(&chain->commit);
	if (chain->epoch.wq)
		qcow2_epoch_exit(&chain->epoch);
	if (chain->changes.wq)
		qcow2_epoch_exit(&chain->changes);
	if (chain->quarantine.rc)
		qcow2_quarantine_exit(&chain->quarantine);
	qcow2_unzip_exit(&chain->unzip);
	for (i = chain->nr_layers; chain->layers && i-- > 0; )
		qcow2_image_close(&chain->layers[i]);
	qcow2_chain_close_lanes(chain);
	qcow2_cache_exit(&chain->cache);
	free_percpu(chain->stats);
	kfree(chain->layers);
}

/* ------------------------------------------------------------------------
 * Active and put away
 */

static void set_open(struct qcow2_chain *chain, bool open)
{
	unsigned long flags;

	if (!chain->writable)
		return;
	spin_lock_irqsave(&chain->commit.meta->lock, flags);
	WRITE_ONCE(chain->commit.open, open);
	if (open)
		chain->commit.impatient = false;
	spin_unlock_irqrestore(&chain->commit.meta->lock, flags);
}

/* The images are active and nothing is written yet: is the chain what the table says? */
static int first_look(struct qcow2_chain *chain, u64 size)
{
	struct qcow2_image *top = qcow2_chain_top(chain);
	int ret;

	if (top->size < size) {
		DMERR("%s: image is shorter than the table now", chain->name);
		return -ESTALE;
	}
	if (!chain->writable)
		return 0;
	ret = qcow2_commit_load_header(&chain->commit);
	if (!ret && chain->commit.mode == QCOW2_MODE_RW)
		ret = qcow2_image_clear_autoclear(top, &chain->commit);
	return ret;
}

int qcow2_chain_activate(struct qcow2_chain *chain, u64 size)
{
	struct qcow2_image *top = qcow2_chain_top(chain);
	unsigned int i;
	int ret = 0;

	if (top->active) {	/* the last suspend could not commit */
		qcow2_commit_worsen(&chain->commit, QCOW2_MODE_LOST,
				    READ_ONCE(chain->commit.fault),
				    READ_ONCE(chain->commit.fault_offset));
		return 0;
	}
	for (i = 0; i < chain->nr_layers; i++) {
		ret = qcow2_image_activate(&chain->layers[i]);
		if (ret)
			break;
	}
	if (ret > 0) {
		qcow2_commit_worsen(&chain->commit, QCOW2_MODE_LOST,
				    READ_ONCE(chain->commit.fault),
				    READ_ONCE(chain->commit.fault_offset));
		return 0;
	}
	if (!ret)
		ret = first_look(chain, size);
	if (ret) {
		while (i-- > 0)
			qcow2_image_abort(&chain->layers[i]);
		return ret;
	}
	if (chain->writable) {
		set_open(chain, true);
		WRITE_ONCE(chain->census_stop, false);
		queue_work(chain->read_lane, &chain->census);
	}
	if (top->damaged && chain->writable)
		qcow2_commit_worsen(&chain->commit, QCOW2_MODE_RO, QCOW2_FAULT_OVERLAP, 0);
	return 0;
}

/*
 * Everything to the disk, with exact counts: commits make decrements, and
 * those make another commit (rules.md 33).
 */
static int settle(struct qcow2_chain *chain)
{
	struct qcow2_image *top = qcow2_chain_top(chain);
	int i, ret = 0;

	for (i = 0; i < MAX_SUSPEND_COMMITS && !ret; i++) {
		ret = qcow2_commit_sync(&chain->commit);
		if (ret)
			break;
		qcow2_quarantine_flush(&chain->quarantine);
		check_counts(chain);
		if (!i)
			qcow2_refcount_return_batch(&top->rc);
		if (!READ_ONCE(top->meta.nr_dirty) && !READ_ONCE(chain->quarantine.clusters) &&
		    !READ_ONCE(top->rc.move.number))
			break;
	}
	return ret;
}

/*
 * The tail that was extended ahead. Best effort, after the last commit. What the
 * file had at activation stays: counts that lie must not cut off what is in use.
 */
static void trim_tail(struct qcow2_chain *chain)
{
	struct qcow2_image *top = qcow2_chain_top(chain);
	u64 end;

	if (!top->backend.file || qcow2_commit_mode(&chain->commit) != QCOW2_MODE_RW ||
	    qcow2_backend_size(&top->backend) <= top->map.old_end ||
	    qcow2_refcount_used_end(&top->rc, top->map.old_end, top->map.end, &end))
		return;
	end = max(end, top->map.old_end);
	if (end < qcow2_backend_size(&top->backend))
		qcow2_backend_trim(&top->backend, end);
	WRITE_ONCE(top->map.end, end);
}

bool qcow2_chain_deactivate(struct qcow2_chain *chain)
{
	bool clean = true;
	unsigned int i;

	if (qcow2_commit_mode(&chain->commit) == QCOW2_MODE_LOST)
		return false;
	if (!qcow2_chain_top(chain)->active)
		return true;
	flush_delayed_work(&chain->start_work);
	WRITE_ONCE(chain->census_stop, true);
	cancel_work_sync(&chain->census);
	/* Requests have ended, check and census have stopped: nobody is inside. */
	qcow2_epoch_wait(&chain->epoch);
	qcow2_unzip_reset(&chain->unzip);
	if (chain->writable) {
		qcow2_commit_impatient(&chain->commit, true);
		clean = !settle(chain);
		set_open(chain, false);
		flush_work(&chain->epoch.work);
		flush_work(&chain->changes.work);
		cancel_delayed_work_sync(&chain->commit.work);
		if (clean)
			trim_tail(chain);
	}
	if (!clean) {
		/* The layers stay as they are: a resume finds the claim lost. */
		qcow2_image_lose(qcow2_chain_top(chain));
		for (i = 1; i < chain->nr_layers; i++)
			qcow2_image_deactivate(&chain->layers[i], true);
		return false;
	}
	for (i = chain->nr_layers; i-- > 0; )
		qcow2_image_deactivate(&chain->layers[i], true);
	return true;
}

int qcow2_chain_claim(struct qcow2_chain *chain, struct qcow2_freed *freed, u64 more)
{
	u64 hoff = qcow2_to_off(&qcow2_chain_top(chain)->geo, freed->hclu);
	int ret = qcow2_quarantine_claim(&chain->quarantine, freed, more);

	if (ret != -EUCLEAN)
		return ret;
	DMERR_LIMIT("%s: %llu clusters at 0x%llx: more references than they are counted for",
		    chain->name, freed->count, hoff);
	qcow2_stat_inc(chain->stats, QCOW2_STAT_CORRUPTIONS);
	qcow2_commit_worsen(&chain->commit, QCOW2_MODE_RO, QCOW2_FAULT_REFCOUNT, hoff);
	return ret;
}

void qcow2_chain_corrupt(struct qcow2_chain *chain, unsigned int layer, u64 goff,
			 enum qcow2_verdict why)
{
	enum qcow2_fault fault = QCOW2_FAULT_L2;

	if (why == QCOW2_L2_ENTRY_METADATA || why == QCOW2_L2_ENTRY_RANGE)
		fault = QCOW2_FAULT_OVERLAP;
	else if (why == QCOW2_L1_ENTRY_RANGE || why == QCOW2_L1_ENTRY_UNALIGNED ||
		 why == QCOW2_L1_ENTRY_COPIED_EMPTY)
		fault = QCOW2_FAULT_L1;
	qcow2_stat_inc(chain->stats, QCOW2_STAT_CORRUPTIONS);
	DMERR_LIMIT("%s: layer %u: guest offset 0x%llx: %s", chain->name, layer, goff,
		    qcow2_verdict_text(why));
	if (!layer && qcow2_commit_mode(&chain->commit) == QCOW2_MODE_RW)
		qcow2_commit_worsen(&chain->commit, QCOW2_MODE_RO, fault, goff);
	else
		qcow2_commit_fault(&chain->commit, fault, goff);
}
