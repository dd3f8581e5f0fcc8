// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * The image of an attached device: its device is suspended (guard.h) before the
 * first byte is read that counts, and resumed when the image is closed.
 *
 * The kernel gives byte 300 back with its last commit; whoever writes to the
 * image has it write-locked, and holds QEMU's bytes beside the kernel's, so that
 * nobody else gets in even if the device should be removed meanwhile.
 */
#include <string.h>
#include "check.h"
#include "edit.h"
#include "err.h"
#include "lock.h"
#include "mem.h"

#define READ_BYTE	100
#define MEMORY_LEAST	(8U << 20)
#define MEMORY_MOST	(1ULL << 30)
#define OF_CLUSTER	128		/* what memory, lists and slots need for each one */

static u64 least(u64 a, u64 b)
{
	return a < b ? a : b;
}

static u64 most(u64 a, u64 b)
{
	return a > b ? a : b;
}

static bool reads_counts(enum edit_reader what)
{
	return what == EDIT_READS_COUNTS || what == EDIT_READS_DAMAGED;
}

/* What a check, or a walk through the tables, has in memory at most, roughly. */
static int estimate_reader(const struct image *image, enum edit_reader what, u64 *bytes)
{
	u64 l1 = image->header.l1_size * (u64)sizeof(__be64);
	u64 tables = least(least(image->header.l1_size * (u64)image->geo.cluster_size, TABLES_BYTES),
			   image->end);
	struct check_needs needs = { 0 };
	int ret = what == EDIT_READS_TABLES ? 0 : check_measure(image, &needs);

	*bytes = MEMORY_LEAST + 4 * l1 + needs.snapshots;
	if (reads_counts(what))
		*bytes += needs.snapshot_l1 + needs.tables + check_memory(image, false);
	else
		*bytes += tables;
	if (what == EDIT_READS_STATES)
		*bytes += 4 * needs.snapshot_l1 + least(TABLES_BYTES, image->end);
	return ret;
}

/* What a repair has beside its counts and the edit: lists of its own and of its check. */
static int estimate_repair(const struct image *image, u64 *bytes)
{
	struct check_needs needs;
	int ret = check_measure(image, &needs);

	*bytes += check_memory(image, true) + 2 * (needs.snapshots + needs.tables) + 3 * needs.snapshot_l1;
	return ret;
}

/* What an edit has in memory at most, roughly, but for what its check has. */
static int estimate_edit(const struct edit *edit, u64 *bytes)
{
	const struct image *image = edit->image;
	const struct qcow2_geometry *geo = &image->geo;
	const struct qcow2_header *h = &image->header;
	u64 clusters = qcow2_to_clu(geo, image->end), old = h->l1_size, l1 = old, before, after, blocks;
	u64 needed = qcow2_l1_needed(geo, edit->first_size), words = h->refcount_table_clusters;
	int ret = 0;
	u32 i;

	words = (words << geo->cluster_bits) / sizeof(__be64);
	blocks = (clusters >> geo->refblock_bits) + 1;
	if (!(edit->flags & EDIT_UNCLEAN))
		ret = refcounts_count_blocks(image, &blocks);
	for (i = 0; i < edit->snapshots.count; i++)
		l1 = most(l1, edit->snapshots.entries[i].l1_size);
	/* Tables that are read, and those that are written, among them what the disk gains. */
	before = least(old + l1, clusters);
	after = least(l1, clusters) + (needed > old ? needed - old : 0);
	l1 = most(l1, needed);
	*bytes = 2 * MEMORY_LEAST + edit->more + 6 * l1 * sizeof(__be64) + 4 * edit->snapshots.len;
	*bytes += least(before, TABLES_BYTES / geo->cluster_size) * (geo->cluster_size + OF_CLUSTER);
	*bytes += least(after, PLAN_PENDING / geo->cluster_size) * (geo->cluster_size + OF_CLUSTER);
	/* Counts as they are and as they were, with those of what is written. */
	blocks += (after + blocks) >> geo->refblock_bits;
	*bytes += 2 * blocks * (geo->cluster_size + OF_CLUSTER);
	*bytes += least(blocks * geo->cluster_size, PLAN_PENDING);
	*bytes += words * OF_CLUSTER;
	if (edit->flags & EDIT_UNCLEAN)
		*bytes += 4 * clusters;
	if (ret || *bytes <= MEMORY_MOST)
		return ret;
	err_fail(ERR_FAILED, edit->target.device, "the edit needs %llu MiB while it is suspended",
		 (unsigned long long)(*bytes >> 20));
	err_hint("detach it before");
	return ERR_FAILED;
}

/* Whoever made the image says how long it is. */
static int refuse_counts(const struct target *target, bool writes, bool has_other_way)
{
	u64 bytes = check_memory(&target->image, writes);

	if (bytes <= MEMORY_MOST)
		return 0;
	err_fail(ERR_FAILED, target->device, "the counts of its clusters need %llu MiB while it is suspended",
		 (unsigned long long)(bytes >> 20));
	err_hint(has_other_way ? "check --online does it without a pause" : "detach it before");
	return ERR_FAILED;
}

int edit_check_file(const struct image *image)
{
	int held = image->is_block ? 1 : lock_is_held(image->fd, READ_BYTE);

	if (held < 0)
		return edit_refuse_locked(image, held);
	return held ? 0 : err_fail(ERR_FAILED, image->path,
				   "it is not the file that the device uses any more");
}

/* Who holds a lock is found by paths, and one of them may lead to the device: it runs before that. */
static int refuse_held(struct edit *edit, struct image *image, int byte)
{
	int ret;

	lock_drop(image->fd);
	lock_drop(edit->image->fd);
	ret = guard_resume();
	edit->target.is_held = false;
	return ret ? ret : edit_refuse_locked(image, byte);
}

int edit_share(struct edit *edit, struct image *image, bool graph)
{
	int ret = lock_take_edit(image->fd, graph);

	if (!ret)
		ret = lock_share(image->fd, LOCK_WRITER);
	return ret ? refuse_held(edit, image, ret) : 0;
}

int edit_hold_device(struct edit *edit)
{
	struct guard_request request = {
		.writes = true,
		.mends = edit->flags & EDIT_UNCLEAN,
		.freeze = !edit->options->nolockfs,
		.exclusive = edit->flags & EDIT_CLOSED,
		.layered = edit->flags & EDIT_LAYERED,
		.seconds = EDIT_SECONDS(edit->options),
		.file = edit->beside,
	};
	bool graph = edit->flags & EDIT_GRAPH, mends = edit->flags & EDIT_UNCLEAN;
	int ret = edit_check_file(edit->image);

	if (!ret && mends)
		ret = refuse_counts(&edit->target, true, false);
	if (!ret)
		ret = estimate_edit(edit, &request.memory);
	if (!ret && mends)
		ret = estimate_repair(edit->image, &request.memory);
	if (ret)
		return ret;
	if (graph && lock_is_held(edit->image->fd, LOCK_GRAPH) > 0)
		return edit_refuse_locked(edit->image, LOCK_GRAPH);
	if (!(edit->first_size >> QCOW2_SECTOR_BITS))
		return err_fail(ERR_POLICY, edit->target.device, "an attached disk cannot have size 0");
	if (edit->first_size != edit->header.size && !edit->options->dry_run)
		request.sectors = edit->first_size >> QCOW2_SECTOR_BITS;
	/* No path leads to it any more, and the guardian has it closed before he says that he is there. */
	ret = image_open_direct(edit->image, false);
	if (!ret)
		ret = guard_suspend(edit->target.device, &request);
	if (ret)
		return ret;
	edit->target.is_held = true;
	return edit_share(edit, edit->image, graph);
}

void edit_fit_device(struct edit *edit)
{
	struct image *image = edit->image;
	u64 old = image->header.size;

	if (!edit->target.is_held || !edit->committed || image_verify_damaged(image))
		return;
	if (image->header.size != old)
		guard_want(image->header.size >> QCOW2_SECTOR_BITS);
}

int edit_hold_reader(struct target *target, enum edit_reader what, u64 room)
{
	struct guard_request request = { .seconds = GUARD_SECONDS, .layered = true, .text = room };
	struct image *image = &target->image;
	struct device device;
	bool damaged = what == EDIT_READS_DAMAGED, readonly;
	int ret = device_get(target->device, &device);

	if (ret)
		return device_fail(ret, target->device);
	readonly = device.dm.readonly;
	if (device_view(&device))
		ret = err_fail(ERR_UNSUPPORTED, target->device,
			       "it shows snapshot %s alone: give the image, or its own device",
			       device_view(&device));
	device_release(&device);
	if (ret)
		return ret;
	if (readonly) {
		ret = lock_take(image->fd, LOCK_READER);
		if (ret)
			return edit_refuse_locked(image, ret);
	} else {
		ret = estimate_reader(image, what, &request.memory);
		if (!ret)
			ret = edit_check_file(image);
		if (!ret && reads_counts(what))
			ret = refuse_counts(target, false, damaged);
		if (!ret)
			ret = guard_suspend(target->device, &request);
		if (ret)
			return ret;
		target->is_held = true;
	}
	return damaged ? image_verify_damaged(image) : image_verify(image);
}
