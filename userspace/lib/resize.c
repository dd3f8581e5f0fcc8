// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Resize.
 *
 * What a disk gains reads as zeros, whatever lies there: the rest of the old
 * last cluster (QEMU leaves old bytes in it when it makes a disk smaller),
 * clusters that were forgotten, and a backing file that goes on, which zero
 * clusters hide. An external data file gets as long as the disk: before the
 * header says so if that is longer, after it if it is shorter.
 *
 * What lies below is what the table of a device says, opened while it runs. The
 * name in an image that is not attached was written by whoever made it: it is
 * followed beside the image only.
 *
 * A virtual machine's state may lie in the L1 entries behind those of the disk.
 * It stays as long as its place does, which depends on how many the disk has.
 */
#include <stdlib.h>
#include <string.h>
#include "content.h"
#include "edit_data.h"
#include "err.h"
#include "mem.h"
#include "out.h"
#include "progress.h"
#include "resize.h"
#include "text.h"

struct resize {
	const struct resize_request *request;
	struct edit *edit;
	struct edit_data data;
	struct mapping *active;
	u64 old_size, size;
	u64 tail;		/* what lies behind it is nobody's, or reads as zeros */
	u64 zero_end;		/* up to here by zero clusters */
	u64 map_end;		/* up to here every cluster is mapped (a raw data file) */
	struct content content;
	struct image *layers;	/* below the top one, as the table of the device has them */
	size_t nr_layers;
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

/* The layers below are those of the table, or are opened when they are needed. */
static int open_content(struct resize *r)
{
	const struct image *data = edit_has_data(&r->data) ? &r->data.image : NULL;
	size_t i;
	int ret;

	if (r->content.nr_layers)
		return 0;
	r->content.names = r->edit->target.is_device ? CONTENT_IGNORED : CONTENT_BESIDE;
	ret = content_add_data(&r->content, r->edit->image, data);
	for (i = 0; !ret && i < r->nr_layers; i++)
		ret = content_add(&r->content, &r->layers[i]);
	return ret;
}

/* The device shows zeros where the image would show what its backing file has. */
static bool ignores_backing(const struct resize *r)
{
	return r->edit->target.is_device && !r->nr_layers && r->edit->header.backing_file.length;
}

/* Is all of a cluster the image's own? */
static bool is_own(const struct qcow2_geometry *geo, u64 raw, u64 bitmap)
{
	struct qcow2_l2_entry entry;

	return !qcow2_l2_decode(geo, raw, bitmap, &entry) &&
	       entry.kind != QCOW2_CLUSTER_UNALLOCATED && entry.kind != QCOW2_CLUSTER_SUBCLUSTERS;
}

static void hint_backing(const struct resize *r)
{
	MEM_FREE char *path = text_shell(r->edit->image->path);

	err_hint("qcow2ctl attach --backing PATH,format=FORMAT %s NAME, if you trust it, then use NAME",
		 path);
}

/*
 * The last cluster as it is, with what would be seen behind the tail: NULL if that is zeros, or an error.
 * A backing file that is ignored must not be seen there later: as by a write, the cluster takes the zeros.
 */
static char *read_cluster(struct resize *r, u64 raw, u64 bitmap, int *ret)
{
	const struct qcow2_geometry *geo = &r->edit->image->geo;
	u32 in = qcow2_in_cluster(geo, r->tail), size = geo->cluster_size;
	bool taken = r->size > r->old_size && ignores_backing(r) && !is_own(geo, raw, bitmap);
	MEM_FREE char *bytes = mem_aligned(size);
	char *found = NULL;

	*ret = open_content(r);
	if (*ret)
		return NULL;
	r->content.layers[0]->size = r->tail - in + size;
	*ret = content_read(&r->content, 0, r->tail - in, bytes, size);
	if (*ret == ERR_POLICY)
		hint_backing(r);
	if (!*ret && (taken || !content_is_zero(bytes + in, size - in))) {
		found = bytes;
		bytes = NULL;
	}
	return found;
}

/*
 * In a data file the last cluster has its place, and there are zeros behind the tail already. What
 * the backing file has behind it is hidden by mapping all of the cluster: as it is shown now, to
 * where nothing is mapped yet, or what is there anyway.
 */
static int cut_data_cluster(struct resize *r, struct mapping_table *table, u32 nr)
{
	const struct qcow2_geometry *geo = &r->edit->image->geo;
	u32 in = qcow2_in_cluster(geo, r->tail);
	u64 goff = r->tail - in, raw, bitmap, len;
	struct qcow2_l2_entry entry;
	MEM_FREE char *bytes = NULL;
	int ret;

	mapping_table_get(table, nr, &raw, &bitmap);
	if (r->size < r->old_size || !r->edit->header.backing_file.length ||
	    (!qcow2_l2_decode(geo, raw, bitmap, &entry) && entry.kind == QCOW2_CLUSTER_DATA))
		return 0;
	bytes = read_cluster(r, raw, bitmap, &ret);
	if (!bytes)
		return ret;
	len = r->size - goff < geo->cluster_size ? r->size - goff : geo->cluster_size;
	memcpy(plan_write(&r->data.plan, goff, len, "last cluster"), bytes, in);
	mapping_table_set(table, nr, qcow2_l2_encode(QCOW2_CLUSTER_DATA, goff, true),
			  qcow2_l2_encode_bitmap(~0U, 0));
	return 0;
}

/* A new last cluster with nothing behind the tail. */
static int cut_cluster(struct resize *r, struct mapping_table *table, u32 nr)
{
	MEM_FREE char *bytes = NULL;
	u64 raw, bitmap;
	void *data;
	int ret;

	mapping_table_get(table, nr, &raw, &bitmap);
	if (!raw && !bitmap && (r->size < r->old_size || !r->edit->header.backing_file.length))
		return 0;
	bytes = read_cluster(r, raw, bitmap, &ret);
	if (!bytes)
		return ret;
	ret = mapping_table_alloc(table, nr, "last cluster", &data);
	if (!ret)
		memcpy(data, bytes, qcow2_in_cluster(&r->edit->image->geo, r->tail));
	return ret;
}

static int change_cluster(struct resize *r, struct mapping_table *table, u32 nr, u64 goff)
{
	if (goff < r->tail)
		return edit_has_data(&r->data) ? cut_data_cluster(r, table, nr) :
						 cut_cluster(r, table, nr);
	if (goff < r->map_end) {
		mapping_table_set(table, nr, qcow2_l2_encode(QCOW2_CLUSTER_DATA, goff, true),
				  qcow2_l2_encode_bitmap(~0U, 0));
		return 0;
	}
	if (goff < r->zero_end)
		return mapping_table_zero(table, nr, false);
	return mapping_table_drop(table, nr);
}

static int change_table(struct resize *r, u32 index)
{
	const struct qcow2_geometry *geo = &r->edit->image->geo;
	u64 goff = (u64)index << qcow2_l1_shift(geo);
	u32 nr = goff < r->tail ? qcow2_l2_index(geo, r->tail) : 0;
	struct mapping_table table;
	int ret;

	if (goff >= r->tail && goff >= r->zero_end && goff >= r->map_end)
		return r->active->l1[index] ? mapping_clear(r->active, index, index + 1) : 0;
	ret = mapping_table_open(r->active, index, &table);
	for (; !ret && nr < 1U << geo->l2_bits; nr++) {
		goff = ((u64)index << qcow2_l1_shift(geo)) + qcow2_to_off(geo, nr);
		ret = change_cluster(r, &table, nr, goff);
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

/* ------------------------------------------------------------------------
 * An external data file
 */

static void print_file(const struct resize *r, const struct image *image)
{
	MEM_FREE char *path = text_printable(image->path);

	if (r->edit->options->dry_run)
		out_text("image    %s\n", path);
}

static u64 least(u64 a, u64 b)
{
	return a < b ? a : b;
}

/* What the disk gains is zeros there, too, as far as a cluster may lead to it; and the file is long enough. */
static int lengthen_data(struct resize *r)
{
	const struct image *file = &r->data.image;
	u64 start = r->old_size, end = qcow2_round_up(&r->edit->image->geo, start);
	int ret = 0;

	if (!edit_has_data(&r->data) || r->size < start)
		return 0;
	print_file(r, file);
	if (file->is_block && file->end < r->size)
		return err_fail(ERR_NO_SPACE, file->path, "the device is smaller than the disk would be");
	if (r->edit->header.autoclear_features & QCOW2_AUTOCLEAR_DATA_FILE_RAW)
		r->map_end = r->size;
	end = least(r->map_end ? r->map_end : end, file->end);
	if (start < end)
		ret = plan_zero(&r->data.plan, start, end - start);
	if (!ret && file->end < r->size)
		ret = plan_truncate(&r->data.plan, r->size);
	return ret;
}

/* All that the new header shows is there. */
static int sync_data(struct resize *r)
{
	struct plan *plan = &r->data.plan;
	u64 end = r->data.old_end > r->size ? r->data.old_end : r->size;
	int ret;

	if (!edit_has_data(&r->data))
		return 0;
	ret = r->size < r->old_size ? 0 : plan_barrier(plan);
	/* Direct writes may have made it longer by a part of their unit. */
	if (!ret && r->data.image.end > end)
		ret = plan_truncate(plan, end);
	print_file(r, r->edit->image);
	return ret;
}

/* What lies behind the end of the new disk is nobody's now. */
static int shorten_data(struct resize *r)
{
	struct image *file = &r->data.image;
	struct plan *plan = &r->data.plan;
	u64 end = qcow2_round_up(&r->edit->image->geo, r->size);
	int ret;

	if (!edit_has_data(&r->data) || r->size >= r->old_size)
		return 0;
	print_file(r, file);
	if (!file->is_block)
		return file->end > r->size ? plan_truncate(plan, r->size) : 0;
	/* QEMU, growing it once more, would show the rest of the last cluster. */
	end = least(end, file->end);
	ret = end > r->size ? plan_zero(plan, r->size, end - r->size) : 0;
	if (!ret && end < r->old_size)
		plan_discard(plan, end, r->old_size - end);
	return ret ? ret : plan_barrier(plan);
}

/* ------------------------------------------------------------------------
 * All of it
 */

/* What it takes to read it, and in version 2 to hide what the first one has behind the old end. */
static u64 memory_of_layer(const struct resize *r, const struct image *image, bool first)
{
	const struct qcow2_geometry *geo = &r->edit->image->geo;
	u64 old = r->edit->header.size, end, clusters;
	u64 bytes = 2 * image->header.l1_size * sizeof(__be64) + 4 * image->geo.cluster_size;

	end = least(image->raw ? image->end : image->header.size, r->edit->first_size);
	if (!first || geo->version >= 3 || end <= old)
		return bytes;
	clusters = qcow2_to_clu(geo, end - old) + 2;
	return bytes + PLAN_PENDING + 2 * ((clusters >> geo->refblock_bits) + 1) * geo->cluster_size;
}

static int open_layers(struct resize *r, const struct table *table)
{
	struct image *image;
	size_t i;
	int ret = 0;

	r->layers = mem_zalloc(table->nr_layers * sizeof(*r->layers));
	for (i = 1; !ret && i < table->nr_layers; i++) {
		image = &r->layers[r->nr_layers++];
		ret = image_open(image, table->paths[i]);
		image->raw = table->raw[i];
		if (!ret)
			ret = edit_check_file(image);
		if (!ret && !image->raw)
			ret = image_verify(image);
		if (!ret)
			r->edit->more += memory_of_layer(r, image, i == 1);
	}
	return ret;
}

/* A path that leads onto the device would wait for it when it is suspended. */
static int find_layers(struct resize *r)
{
	const struct edit *edit = r->edit;
	struct device device;
	int ret;

	if (r->layers || !edit->target.is_device || !edit->header.backing_file.length)
		return 0;
	ret = device_get(edit->target.device, &device);
	if (ret)
		return device_fail(ret, edit->target.device);
	ret = open_layers(r, &device.table);
	device_release(&device);
	return ret;
}

static void close_layers(struct resize *r)
{
	size_t i;

	for (i = 0; i < r->nr_layers; i++)
		image_close(&r->layers[i]);
	free(r->layers);
}

static int may_resize(struct edit *edit, void *data)
{
	struct resize *r = data;
	int ret = find_size(edit, r->request, &edit->first_size);

	if (ret || edit->first_size == edit->header.size)
		return ret;
	ret = check(edit, edit->first_size);
	if (!ret)
		ret = find_layers(r);
	return ret ? ret : edit_data_open(&r->data, edit);
}

/* A device whose table could not follow when its disk has grown. */
static void lengthen(const struct edit *edit)
{
	u64 sectors = edit->first_size >> QCOW2_SECTOR_BITS;

	if (edit->target.is_held && !edit->options->dry_run && guard_sectors() < sectors)
		guard_want(sectors);
}

static int resize(struct resize *r)
{
	struct edit *edit = r->edit;
	int ret = may_resize(edit, r);

	r->active = &edit->active;
	r->old_size = edit->header.size;
	r->size = edit->first_size;
	r->tail = least(r->size, r->old_size);
	if (ret)
		return ret;
	if (r->size == r->old_size) {
		lengthen(edit);
		return 0;
	}
	ret = edit_data_take(&r->data, edit);
	if (!ret)
		ret = lengthen_data(r);
	if (!ret)
		ret = change(r);
	if (!ret)
		ret = sync_data(r);
	edit->header.size = r->size;
	if (!ret)
		ret = edit_commit(edit);
	return ret ? ret : shorten_data(r);
}

int resize_image(const struct resize_request *request, const struct edit_options *options)
{
	struct edit edit;
	struct resize r = { .request = request, .edit = &edit, .data = EDIT_DATA_CLOSED };
	bool may_shrink = request->shrink && request->sign != '+';
	unsigned int flags = EDIT_ONLINE | (may_shrink ? EDIT_GRAPH | EDIT_CLOSED : 0);
	int ret = edit_begin_checked(&edit, request->target, options, flags, may_resize, &r);

	if (!ret)
		ret = resize(&r);
	content_release(&r.content);
	close_layers(&r);
	edit_data_close(&r.data, &edit);
	return edit_end(&edit, ret);
}
