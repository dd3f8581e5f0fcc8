// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Resize.
 *
 * What a disk gains reads as zeros, whatever lies there: the rest of the old
 * last cluster (QEMU leaves old bytes in it when it makes a disk smaller),
 * clusters that were forgotten, and a backing file that goes on, which zero
 * clusters hide.
 *
 * A virtual machine's state may lie in the L1 entries behind those of the disk.
 * It stays as long as its place does, which depends on how many the disk has.
 */
#include <stdlib.h>
#include <string.h>
#include "content.h"
#include "err.h"
#include "mem.h"
#include "progress.h"
#include "resize.h"
#include "text.h"

struct resize {
	struct edit *edit;
	struct mapping *active;
	u64 old_size, size;
	u64 tail;		/* what lies behind it is nobody's, or reads as zeros */
	u64 zero_end;		/* up to here by zero clusters */
	struct content content;
};

/* ------------------------------------------------------------------------
 * May it be?
 */

/* Those that do not say how large their disk is mean the disk's size. */
static int check_snapshots(const struct edit *edit)
{
	MEM_FREE char *path = text_shell(edit->image->path);
	u32 i;

	for (i = 0; i < edit->snapshots.count; i++) {
		if (edit->snapshots.entries[i].disk_size != QCOW2_SNAPSHOT_NONE)
			continue;
		err_fail(ERR_CORRUPT, edit->image->path, "snapshot %u does not say its size", i);
		err_hint("qcow2ctl repair %s", path);
		return ERR_CORRUPT;
	}
	return 0;
}

static int check(const struct edit *edit, u64 size)
{
	int ret;

	if (edit->image->geo.data_file)
		return err_fail(ERR_UNSUPPORTED, edit->image->path,
				"image has an external data file, which would have to change too");
	if (edit->image->header.has_bitmaps)
		return err_fail(ERR_UNSUPPORTED, edit->image->path,
				"image has persistent bitmaps, which would not fit any more");
	ret = edit_check_size(edit, size);
	return ret ? ret : check_snapshots(edit);
}

static int find_size(const struct edit *edit, const struct resize_request *request, u64 *size)
{
	u64 old = edit->header.size;

	*size = request->sign == '+' ? old + request->size :
		request->sign == '-' ? old - request->size : request->size;
	if (request->sign == '-' && request->size > old)
		return err_fail(ERR_FAILED, edit->image->path, "the disk has %llu bytes only",
				(unsigned long long)old);
	if (*size > INT64_MAX)
		return err_fail(ERR_FAILED, edit->image->path, "no disk can have so many bytes");
	if (*size >= old || request->shrink)
		return 0;
	err_fail(ERR_POLICY, edit->image->path,
		 "the disk has %llu bytes, what lies behind %llu would be lost",
		 (unsigned long long)old, (unsigned long long)*size);
	err_hint("add --shrink if nothing there is needed");
	return ERR_POLICY;
}

/* ------------------------------------------------------------------------
 * Clusters
 */

/* The layers below are opened when they are needed. */
static int open_content(struct resize *r)
{
	return r->content.nr_layers ? 0 : content_add(&r->content, r->edit->image);
}

/* A new last cluster with nothing behind the tail. */
static int cut_cluster(struct resize *r, struct mapping_table *table, u32 nr)
{
	const struct qcow2_geometry *geo = &r->edit->image->geo;
	u32 in = qcow2_in_cluster(geo, r->tail), size = geo->cluster_size;
	MEM_FREE char *bytes = NULL;
	u64 raw, bitmap;
	void *data;
	int ret;

	mapping_table_get(table, nr, &raw, &bitmap);
	if (!raw && !bitmap && (r->size < r->old_size || !r->edit->header.backing_file.length))
		return 0;
	ret = open_content(r);
	if (ret)
		return ret;
	bytes = mem_aligned(size);
	r->content.layers[0]->size = r->tail - in + size;
	ret = content_read(&r->content, 0, r->tail - in, bytes, size);
	if (ret || content_is_zero(bytes + in, size - in))
		return ret;
	ret = mapping_table_alloc(table, nr, "last cluster", &data);
	if (!ret)
		memcpy(data, bytes, in);
	return ret;
}

static int change_table(struct resize *r, u32 index)
{
	const struct qcow2_geometry *geo = &r->edit->image->geo;
	u64 goff = (u64)index << qcow2_l1_shift(geo);
	u32 nr = goff < r->tail ? qcow2_l2_index(geo, r->tail) : 0;
	struct mapping_table table;
	int ret;

	if (goff >= r->tail && goff >= r->zero_end)
		return r->active->l1[index] ? mapping_clear(r->active, index, index + 1) : 0;
	ret = mapping_table_open(r->active, index, &table);
	for (; !ret && nr < 1U << geo->l2_bits; nr++) {
		goff = ((u64)index << qcow2_l1_shift(geo)) + qcow2_to_off(geo, nr);
		if (goff < r->tail)
			ret = cut_cluster(r, &table, nr);
		else if (goff < r->zero_end)
			ret = mapping_table_zero(&table, nr, false);
		else
			ret = mapping_table_drop(&table, nr);
	}
	if (!ret)
		return mapping_table_close(&table);
	mapping_table_forget(&table);
	return ret;
}

/* What the backing file has behind the old end must not be seen. */
static int find_zero_end(struct resize *r)
{
	const struct image *below;
	u64 end = r->size;
	int ret;

	if (r->size <= r->old_size || !r->edit->header.backing_file.length)
		return 0;
	ret = open_content(r);
	if (!ret)
		ret = content_follow(&r->content, true, &below);
	if (ret)
		return ret;
	/* If it cannot be asked, anything may be there. */
	if (below)
		end = r->content.layers[1]->size;
	r->zero_end = end < r->size ? end : r->size;
	return 0;
}

static int change(struct resize *r)
{
	const struct qcow2_geometry *geo = &r->edit->image->geo;
	u32 old_needed = qcow2_l1_needed(geo, r->old_size), needed = qcow2_l1_needed(geo, r->size);
	u32 index, end;
	int ret = find_zero_end(r);

	r->tail = r->size < r->old_size ? r->size : r->old_size;
	if (needed > r->active->size)
		mapping_resize(r->active, needed);
	end = needed == old_needed ? needed : r->active->size;
	for (index = qcow2_l1_index(geo, r->tail); !ret && index < end; index++) {
		ret = progress_step(index, end);
		if (!ret)
			ret = change_table(r, index);
	}
	if (!ret && needed != old_needed)
		mapping_resize(r->active, needed ? needed : 1);
	return ret;
}

static int may_resize(struct edit *edit, void *request)
{
	int ret = find_size(edit, request, &edit->first_size);

	return ret || edit->first_size == edit->header.size ? ret : check(edit, edit->first_size);
}

/* A device whose table could not follow when its disk has grown. */
static void lengthen(const struct edit *edit)
{
	u64 sectors = edit->first_size >> QCOW2_SECTOR_BITS;

	if (edit->target.is_held && !edit->options->dry_run && guard_sectors() < sectors)
		guard_want(sectors);
}

static int resize(struct edit *edit, struct resize_request *request)
{
	struct resize r = { .edit = edit, .active = &edit->active, .old_size = edit->header.size };
	int ret = may_resize(edit, request);

	r.size = edit->first_size;
	if (ret)
		return ret;
	if (r.size == r.old_size) {
		lengthen(edit);
		return 0;
	}
	ret = change(&r);
	content_release(&r.content);
	edit->header.size = r.size;
	return ret ? ret : edit_commit(edit);
}

int resize_image(struct resize_request *request, const struct edit_options *options)
{
	struct edit edit;
	unsigned int flags = EDIT_ONLINE | (request->shrink ? EDIT_GRAPH | EDIT_CLOSED : 0);
	int ret = edit_begin_checked(&edit, request->target, options, flags, may_resize, request);

	if (!ret)
		ret = resize(&edit, request);
	return edit_end(&edit, ret);
}
