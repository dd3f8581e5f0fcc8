// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Internal snapshots.
 *
 * A snapshot is an L1 table of its own and one more reference to everything
 * that the disk's L1 table leads to. Its L2 tables are the disk's old ones: the
 * disk gets copies of those that have to change, since no cluster of it is its
 * own any more (COPIED). What COPIED says in a table that only snapshots lead to
 * means nothing, here as in QEMU.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "err.h"
#include "mem.h"
#include "partition.h"
#include "snapshot_edit.h"

static int refuse_data_file(const struct edit *edit)
{
	if (!edit->image->geo.data_file)
		return 0;
	return err_fail(ERR_UNSUPPORTED, edit->image->path,
			"an image with an external data file cannot hold snapshots");
}

/* ------------------------------------------------------------------------
 * Create
 */

static int check_create(struct edit *edit, void *data)
{
	const char *tag = data;
	int ret = refuse_data_file(edit);

	if (ret)
		return ret;
	if (edit->snapshots.count >= QCOW2_MAX_SNAPSHOTS)
		return err_fail(ERR_FAILED, edit->image->path, "it has %u snapshots, no more are possible",
				edit->snapshots.count);
	if (snapshot_table_has_tag(&edit->snapshots, tag))
		return err_fail(ERR_POLICY, edit->image->path, "there is a snapshot '%s' already", tag);
	return 0;
}

/* The device still runs. */
static int check_before(struct edit *edit, void *data)
{
	int ret = check_create(edit, data);

	if (!ret && edit->target.is_device && !edit->options->nolockfs)
		partition_warn(edit->target.device);
	return ret;
}

/* The disk's L1 table once more, at a place of its own. */
static int copy_l1(struct edit *edit, struct mapping *copy)
{
	u32 i;
	int ret;

	edit_init_mapping(edit, copy);
	mapping_resize(copy, edit->active.size);
	for (i = 0; i < copy->size; i++)
		copy->l1[i] = edit->active.l1[i] & ~QCOW2_OFLAG_COPIED;
	copy->dirty = true;
	ret = mapping_stage(copy);
	mapping_release(copy);
	return ret;
}

static void add_entry(struct edit *edit, const struct mapping *copy, const char *tag)
{
	MEM_FREE char *id = snapshot_table_next_id(&edit->snapshots);
	struct timespec now;
	struct qcow2_snapshot snap = {
		.l1_table_offset = copy->hoff,
		.l1_size = copy->size_on_disk,
		.disk_size = edit->header.size,
		.icount = QCOW2_SNAPSHOT_NONE,
	};

	clock_gettime(CLOCK_REALTIME, &now);
	snap.date_sec = now.tv_sec;
	snap.date_nsec = now.tv_nsec;
	snapshot_table_add(&edit->snapshots, &snap, id, tag);
	edit->snapshots_dirty = true;
}

static int create(struct edit *edit, const char *tag)
{
	struct mapping copy;
	int ret = check_create(edit, (void *)tag);

	if (!ret)
		ret = mapping_count(&edit->active, 0, edit->active.size, 1);
	if (!ret)
		ret = copy_l1(edit, &copy);
	if (!ret)
		ret = mapping_refresh(&edit->active);
	if (ret)
		return ret;
	add_entry(edit, &copy, tag);
	return edit_commit(edit);
}

int snapshot_create(const char *target, const char *tag, const struct edit_options *options)
{
	struct edit edit;
	int ret = edit_begin_checked(&edit, target, options,
				     EDIT_ONLINE | EDIT_LAYERED, check_before, (void *)tag);

	if (!ret)
		ret = create(&edit, tag);
	return edit_end(&edit, ret);
}

/* ------------------------------------------------------------------------
 * Apply
 */

/* The disk's size with this snapshot. */
static int find_size(const struct edit *edit, const struct qcow2_snapshot *snap, u64 *size)
{
	*size = edit->header.size;
	if (snap->disk_size == QCOW2_SNAPSHOT_NONE || snap->disk_size == *size)
		return 0;
	*size = snap->disk_size & ~511ULL;
	if (edit->header.version < 3)
		return err_fail(ERR_UNSUPPORTED, edit->image->path,
				"the snapshot has another size, which version 2 of the format does not allow");
	if (qcow2_l1_needed(&edit->image->geo, *size) > QCOW2_MAX_L1_BYTES / sizeof(__be64))
		return err_fail(ERR_CORRUPT, edit->image->path, "%s",
				qcow2_verdict_text(QCOW2_BAD_SIZE));
	return 0;
}

/* Put @wanted in the place of the disk's mapping. */
static int replace_active(struct edit *edit, struct mapping *wanted)
{
	int ret;

	/* Down before up: the snapshot itself keeps what it leads to, and narrow counts suffice. */
	ret = mapping_count(&edit->active, 0, edit->active.size, -1);
	if (!ret)
		ret = mapping_count(wanted, 0, wanted->size, 1);
	if (ret)
		return ret;
	mapping_resize(&edit->active, wanted->size);
	memcpy(edit->active.l1, wanted->l1, wanted->size * sizeof(*wanted->l1));
	edit->active.dirty = true;
	return mapping_refresh(&edit->active);
}

static int check_apply(struct edit *edit, void *id)
{
	u32 index = 0;
	int ret = refuse_data_file(edit);

	if (!ret && edit->image->header.has_bitmaps)
		ret = err_fail(ERR_UNSUPPORTED, edit->image->path,
			       "image has persistent bitmaps, which say nothing about a snapshot");
	if (!ret)
		ret = edit_find_snapshot(edit, id, &index);
	if (!ret)
		ret = find_size(edit, &edit->snapshots.entries[index], &edit->first_size);
	return ret;
}

static int apply(struct edit *edit, const char *id)
{
	struct mapping wanted = { 0 };
	u32 index = 0;
	u64 size;
	int ret = check_apply(edit, (void *)id);

	size = edit->first_size;
	if (!ret)
		ret = edit_find_snapshot(edit, id, &index);
	if (!ret)
		ret = edit_load_snapshot(edit, index, &wanted);
	if (!ret) {
		u64 needed = qcow2_l1_needed(&edit->image->geo, size);

		mapping_resize(&wanted, needed > wanted.size ? needed : wanted.size);
		ret = replace_active(edit, &wanted);
	}
	mapping_release(&wanted);
	edit->header.size = size;
	return ret ? ret : edit_commit(edit);
}

int snapshot_apply(const char *target, const char *id, const struct edit_options *options)
{
	struct edit edit;
	int ret = edit_begin_checked(&edit, target, options, EDIT_GRAPH | EDIT_ONLINE | EDIT_CLOSED,
				     check_apply, (void *)id);

	if (!ret)
		ret = apply(&edit, id);
	return edit_end(&edit, ret);
}

/* ------------------------------------------------------------------------
 * Delete
 */

static int check_delete(struct edit *edit, void *id)
{
	int ret = refuse_data_file(edit);
	u32 index;

	return ret ? ret : edit_find_snapshot(edit, id, &index);
}

static int delete(struct edit *edit, const char *id)
{
	struct mapping gone = { 0 };
	u32 index = 0;
	int ret = refuse_data_file(edit);

	if (!ret)
		ret = edit_find_snapshot(edit, id, &index);
	if (!ret)
		ret = edit_load_snapshot(edit, index, &gone);
	if (!ret)
		ret = mapping_count(&gone, 0, gone.size, -1);
	if (!ret)
		ret = mapping_free(&gone);
	mapping_release(&gone);
	if (!ret)
		ret = mapping_refresh(&edit->active);
	if (ret)
		return ret;
	snapshot_table_remove(&edit->snapshots, index);
	edit->snapshots_dirty = true;
	return edit_commit(edit);
}

int snapshot_delete(const char *target, const char *id, const struct edit_options *options)
{
	struct edit edit;
	int ret = edit_begin_checked(&edit, target, options,
				     EDIT_GRAPH | EDIT_ONLINE | EDIT_LAYERED, check_delete,
				     (void *)id);

	if (!ret)
		ret = delete(&edit, id);
	return edit_end(&edit, ret);
}
