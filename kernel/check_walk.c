// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Collect what refers to host clusters, and compare it with the counts; why
 * that is right while they change is said in check.c.
 */
#include <linux/mm.h>
#include "check_walk.h"
#include "image_snapshot.h"

/* A word per cluster: references, and what active entries say of it. */
#define REFS_MAX	0x3fffU		/* that many, or more */
#define SEEN_COPIED	0x4000U
#define SEEN_SHARED	0x8000U

static const char *device_of(const struct qcow2_check_run *run)
{
	return qcow2_backend_device(&run->top->backend);
}

static void find_error(struct qcow2_check_run *run, const char *what, u64 where)
{
	if (!run->first)
		return;
	run->errors++;
	DMWARN_LIMIT("%s: check: %s at 0x%llx", device_of(run), what, where);
}

static void step(struct qcow2_check_run *run)
{
	run->steps_done++;
	WRITE_ONCE(run->check->percent, min_t(u64, 99, run->steps_done * 100 / run->steps));
	cond_resched();
}

/* ------------------------------------------------------------------------
 * References
 */

static void add_refs(struct qcow2_check_run *run, u64 hoff, u64 len, u16 seen)
{
	const struct qcow2_geometry *geo = &run->top->geo;
	const struct qcow2_watch *watch = &run->watch;
	u64 hclu = max(qcow2_to_clu(geo, hoff), watch->first);
	u64 end = min(qcow2_to_clu(geo, qcow2_round_up(geo, hoff + len)),
		      watch->first + watch->count);
	u16 *word;

	for (; hclu < end; hclu++) {
		word = &run->refs[hclu - watch->first];
		if ((*word & REFS_MAX) < REFS_MAX)
			(*word)++;
		*word |= seen;
	}
}

/* The same for what an entry says: it may be anywhere. */
static void add_entry(struct qcow2_check_run *run, u64 hoff, u64 len, u16 seen, const char *what)
{
	u64 end = READ_ONCE(run->top->map.end);

	if (hoff >= end || len > end - hoff)
		find_error(run, what, hoff);
	else
		add_refs(run, hoff, len, seen);
}

static u16 seen_copied(const struct qcow2_check_run *run, bool copied)
{
	if (!run->active)
		return 0;
	return copied ? SEEN_COPIED : SEEN_SHARED;
}

static void add_l2_entry(struct qcow2_check_run *run, u64 raw, u64 bitmap)
{
	const struct qcow2_geometry *geo = &run->top->geo;
	struct qcow2_l2_entry entry;
	enum qcow2_verdict verdict = qcow2_l2_check(geo, raw, bitmap);

	if (verdict)
		find_error(run, qcow2_verdict_text(verdict), raw);
	if (qcow2_l2_decode(geo, raw, bitmap, &entry))
		return;
	if (entry.kind == QCOW2_CLUSTER_COMPRESSED)
		add_entry(run, entry.hoff, entry.compressed_length, 0,
			  "compressed data beyond the end");
	else if (entry.has_host && !geo->data_file)
		add_entry(run, entry.hoff, geo->cluster_size, seen_copied(run, entry.copied),
			  "data cluster beyond the end");
}

/* run->l2 is a slice of an L2 table. */
static void add_l2_slice(struct qcow2_check_run *run)
{
	const struct qcow2_geometry *geo = &run->top->geo;
	u32 words = qcow2_slice_size(geo) / sizeof(__be64), i;

	if (!geo->extended_l2) {
		for (i = 0; i < words; i++) {
			if (run->l2[i])
				add_l2_entry(run, be64_to_cpu(run->l2[i]), 0);
		}
		return;
	}
	for (i = 0; i < words; i += 2) {
		if (run->l2[i] || run->l2[i + 1])
			add_l2_entry(run, be64_to_cpu(run->l2[i]), be64_to_cpu(run->l2[i + 1]));
	}
}

/* ------------------------------------------------------------------------
 * The active layer
 */

/* The entries of @slice into run->l2, each as it was at one moment. */
static void copy_slice(struct qcow2_check_run *run, const struct qcow2_slice *slice)
{
	const struct qcow2_geometry *geo = &run->top->geo;
	u32 words = qcow2_slice_size(geo) / sizeof(__be64), i;
	u64 raw, bitmap;

	if (!geo->extended_l2) {
		for (i = 0; i < words; i++)
			run->l2[i] = cpu_to_be64(qcow2_slice_word(slice, i));
		return;
	}
	for (i = 0; i < words; i += 2) {
		qcow2_slice_pair(slice, i, &raw, &bitmap);
		run->l2[i] = cpu_to_be64(raw);
		run->l2[i + 1] = cpu_to_be64(bitmap);
	}
}

/* Slice @nr of the table that maps @goff into run->l2; *@there is false if there is none (now). */
static int read_active(struct qcow2_check_run *run, u64 goff, u32 nr, bool *there)
{
	struct qcow2_map *map = &run->top->map;
	u32 size = qcow2_slice_size(map->geo);
	struct qcow2_slice *slice;
	unsigned int epoch;
	enum qcow2_table table;
	int ret = 0;
	u64 hoff;

	epoch = qcow2_epoch_enter(map->epoch);
	table = qcow2_map_table(map, goff, &hoff);
	*there = table == QCOW2_TABLE_OURS || table == QCOW2_TABLE_SHARED;
	if (!*there)
		goto out_leave;
	hoff += (u64)nr * size;
	rcu_read_lock();
	slice = qcow2_meta_peek(map->meta, hoff);
	if (slice)
		copy_slice(run, slice);
	rcu_read_unlock();
	if (!slice)
		ret = qcow2_backend_read(&run->top->backend, hoff, run->l2, size);
out_leave:
	qcow2_epoch_leave(map->epoch, epoch);
	return ret;
}

static void walk_active_table(struct qcow2_check_run *run, u64 goff)
{
	struct qcow2_map *map = &run->top->map;
	u32 slices = map->geo->cluster_size / qcow2_slice_size(map->geo), i;
	enum qcow2_table table;
	bool there;
	u64 hoff;

	table = qcow2_map_table(map, goff, &hoff);
	if (table == QCOW2_TABLE_CORRUPT)
		find_error(run, "broken L1 entry of guest offset", goff);
	if (table == QCOW2_TABLE_CORRUPT || table == QCOW2_TABLE_NONE)
		return;
	add_refs(run, hoff, map->geo->cluster_size, seen_copied(run, table == QCOW2_TABLE_OURS));
	for (i = 0; i < slices && !qcow2_check_is_stopped(run); i++) {
		if (read_active(run, goff, i, &there))
			find_error(run, "cannot read L2 table of guest offset", goff);
		else if (there)
			add_l2_slice(run);
		cond_resched();
	}
}

static void walk_active(struct qcow2_check_run *run)
{
	const struct qcow2_map *map = &run->top->map;
	u32 i;

	run->active = true;
	for (i = 0; i < map->l1_size && !qcow2_check_is_stopped(run); i++) {
		walk_active_table(run, (u64)i << qcow2_l1_shift(map->geo));
		step(run);
	}
	run->active = false;
}

/* ------------------------------------------------------------------------
 * Snapshots: nothing of theirs changes
 */

static void walk_table(struct qcow2_check_run *run, u64 table)
{
	const struct qcow2_geometry *geo = &run->top->geo;
	u32 size = qcow2_slice_size(geo), done;

	for (done = 0; done < geo->cluster_size && !qcow2_check_is_stopped(run); done += size) {
		if (qcow2_backend_read(&run->top->backend, table + done, run->l2, size))
			find_error(run, "cannot read L2 table of a snapshot", table);
		else
			add_l2_slice(run);
		cond_resched();
	}
}

static void walk_l1_entry(struct qcow2_check_run *run, u64 raw)
{
	const struct qcow2_geometry *geo = &run->top->geo;
	enum qcow2_verdict verdict;
	bool copied;
	u64 hoff;

	verdict = qcow2_l1_decode(geo, raw, &hoff, &copied);
	if (!verdict && hoff >= READ_ONCE(run->top->map.end))
		verdict = QCOW2_L1_ENTRY_RANGE;
	if (verdict) {
		find_error(run, qcow2_verdict_text(verdict), raw);
	} else if (hoff) {
		add_refs(run, hoff, geo->cluster_size, 0);
		walk_table(run, hoff);
	}
}

static void walk_snapshot(struct qcow2_check_run *run, const struct qcow2_check_l1 *snapshot)
{
	u32 size = qcow2_slice_size(&run->top->geo), words = size / sizeof(__be64), i;

	for (i = 0; i < snapshot->size && !qcow2_check_is_stopped(run); i++) {
		if (!(i % words) &&
		    qcow2_backend_read(&run->top->backend, snapshot->hoff + i * sizeof(__be64),
				       run->l1, size)) {
			find_error(run, "cannot read L1 table of a snapshot", snapshot->hoff);
			return;
		}
		walk_l1_entry(run, be64_to_cpu(run->l1[i % words]));
		step(run);
	}
}

/*
 * L1 tables do not share clusters, so all of them take less than the image: who
 * says otherwise wants to keep us reading.
 */
static void found_snapshot(void *arg, const void *table, const struct qcow2_snapshot *snap)
{
	struct qcow2_check_run *run = arg;
	u64 bytes = snap->l1_size * (u64)sizeof(__be64), end = READ_ONCE(run->top->map.end);

	if (qcow2_snapshot_l1(&run->top->geo, snap) || snap->l1_table_offset > end ||
	    bytes > end - snap->l1_table_offset || bytes > end - run->l1_bytes) {
		run->errors++;
		DMWARN_LIMIT("%s: check: broken L1 table of a snapshot at 0x%llx", device_of(run),
			     snap->l1_table_offset);
		return;
	}
	run->l1_bytes += bytes;
	run->snapshots[run->nr_snapshots].hoff = snap->l1_table_offset;
	run->snapshots[run->nr_snapshots++].size = snap->l1_size;
	run->steps += snap->l1_size;
}

int qcow2_check_list_snapshots(struct qcow2_check_run *run)
{
	const struct qcow2_header *h = &run->top->header;
	u32 count;
	int ret;

	if (!h->nb_snapshots)
		return 0;
	run->snapshots = kvcalloc(h->nb_snapshots, sizeof(*run->snapshots), GFP_KERNEL);
	if (!run->snapshots)
		return -ENOMEM;
	ret = qcow2_image_snapshots(&run->top->backend, h, found_snapshot, run,
				    &run->snapshots_length, &count);
	if (!ret && count < h->nb_snapshots) {
		run->errors++;
		DMWARN_LIMIT("%s: check: snapshot %u cannot be read", device_of(run), count);
	}
	return ret;
}

/* ------------------------------------------------------------------------
 * What lies at fixed places, and the refcount structures
 */

static void walk_refcounts(struct qcow2_check_run *run)
{
	const struct qcow2_geometry *geo = &run->top->geo;
	struct qcow2_refcount *rc = &run->top->rc;
	u64 index, hoff, nr;

	mutex_lock(&rc->lock);
	add_refs(run, rc->table_hoff, (u64)rc->table_clusters << geo->cluster_bits, 0);
	nr = (u64)rc->table_clusters << (geo->cluster_bits - 3);
	mutex_unlock(&rc->lock);
	for (index = 0; index < nr && !qcow2_check_is_stopped(run); index++) {
		if (qcow2_refcount_block(rc, index, &hoff))
			find_error(run, "broken refcount table entry", index);
		else if (hoff)
			add_refs(run, hoff, geo->cluster_size, 0);
		if (!(index & 1023))
			cond_resched();
	}
}

static void walk_fixed(struct qcow2_check_run *run)
{
	const struct qcow2_header *h = &run->top->header;
	u32 i;

	add_refs(run, 0, 1, 0);
	add_refs(run, h->l1_table_offset, h->l1_size * (u64)sizeof(__be64), 0);
	add_refs(run, h->snapshots_offset, run->snapshots_length, 0);
	for (i = 0; i < run->nr_snapshots; i++)
		add_refs(run, run->snapshots[i].hoff,
			 run->snapshots[i].size * (u64)sizeof(__be64), 0);
}

void qcow2_check_collect(struct qcow2_check_run *run)
{
	u32 i;

	walk_fixed(run);
	walk_refcounts(run);
	walk_active(run);
	for (i = 0; i < run->nr_snapshots && !qcow2_check_is_stopped(run); i++)
		walk_snapshot(run, &run->snapshots[i]);
}

/* ------------------------------------------------------------------------
 * Comparison
 */

/* Under rc->lock: the count does not change while we look at the mark. */
static void compare(void *arg, u64 hclu, u64 count)
{
	struct qcow2_check_run *run = arg;
	const struct qcow2_watch *watch = &run->watch;
	u64 hoff = qcow2_to_off(&run->top->geo, hclu);
	u16 word;
	u32 refs;

	if (hclu >= watch->first + watch->count)
		return;
	word = run->refs[hclu - watch->first];
	refs = word & REFS_MAX;
	if (!refs && !count)
		return;
	if (qcow2_watch_is_marked(watch, hclu) || (refs == REFS_MAX && count >= REFS_MAX))
		return;
	if (count < refs) {
		run->errors++;
		DMWARN_LIMIT("%s: check: cluster at 0x%llx has %u references and a count of %llu",
			     device_of(run), hoff, refs, count);
	} else if (((word & SEEN_COPIED) && count != 1) ||
		   ((word & SEEN_SHARED) && count == 1)) {
		run->errors++;
		DMWARN_LIMIT("%s: check: COPIED is wrong for cluster 0x%llx, its count is %llu",
			     device_of(run), hoff, count);
	}
	if (count > refs) {
		run->leaks++;
		DMWARN_LIMIT("%s: check: leak at 0x%llx: %u references, count %llu",
			     device_of(run), hoff, refs, count);
	}
}

void qcow2_check_compare(struct qcow2_check_run *run)
{
	const struct qcow2_watch *watch = &run->watch;
	u64 hclu = watch->first, end = watch->first + watch->count;
	int ret;

	while (hclu < end && !qcow2_check_is_stopped(run)) {
		ret = qcow2_refcount_visit(&run->top->rc, &hclu, compare, run);
		if (ret) {
			run->errors++;
			DMWARN_LIMIT("%s: check: cannot read counts of clusters before 0x%llx",
				     device_of(run), qcow2_to_off(&run->top->geo, hclu));
		}
		cond_resched();
	}
}
