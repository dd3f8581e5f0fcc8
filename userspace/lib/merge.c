// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Commit into the backing file: two edits, one after the other.
 *
 *	1. The backing file gets what the image has.
 *	2. The image gets an empty mapping; its data file, if it has one, gives
 *	   back its space after that.
 *
 * After the first the image shows what it did before, since it hides what it
 * has put below; so it does during the first, even where a raw backing file is
 * written in place. A cluster of a qcow2 backing file is always written whole,
 * as the image shows it.
 */
#include <stdlib.h>
#include <string.h>
#include "content.h"
#include "edit_data.h"
#include "err.h"
#include "mem.h"
#include "merge.h"
#include "out.h"
#include "progress.h"
#include "text.h"

struct merge {
	struct edit top, below;
	struct edit_data data;		/* of the image */
	struct image raw;		/* instead of below */
	bool is_raw;
	struct content content;		/* both, and what lies under them */
	u64 size, below_size;		/* of the disks, bytes */
	bool is_bottom;			/* nothing lies under the backing file */
	char *bytes;			/* a cluster of the backing file */
};

/* ------------------------------------------------------------------------
 * Begin
 */

static int check_top(const struct edit *top)
{
	MEM_FREE char *path = text_shell(top->image->path);

	if (!top->header.backing_file.length)
		return err_fail(ERR_POLICY, top->image->path, "image names no backing file");
	if (top->snapshots.count) {
		err_fail(ERR_POLICY, top->image->path,
			 "image has snapshots, which read from the backing file as it is now");
		err_hint("qcow2ctl snapshot delete %s ID removes one", path);
		return ERR_POLICY;
	}
	return 0;
}

static int check_below(const struct merge *m)
{
	const struct edit *below = &m->below;

	if (below->image->header.has_bitmaps)
		return err_fail(ERR_UNSUPPORTED, below->image->path,
				"image has persistent bitmaps, which would become invalid");
	return m->size > m->below_size ? edit_check_size(below, m->size) : 0;
}

static int open_raw(struct merge *m, const char *path, bool dry_run)
{
	int ret = image_open(&m->raw, path);

	m->raw.raw = true;
	if (!ret)
		ret = edit_lock(&m->raw, false);
	if (ret)
		return ret;
	m->below_size = m->raw.end;
	if (m->raw.is_block && m->size > m->raw.end)
		return err_fail(ERR_NO_SPACE, path, "the device is smaller than the disk");
	plan_init(&m->below.plan, &m->raw, dry_run);
	return content_add(&m->content, &m->raw);
}

static int open_qcow2(struct merge *m, const char *path, const struct edit_options *options)
{
	int ret = edit_begin(&m->below, path, options, 0);

	if (ret)
		return ret;
	m->below_size = m->below.header.size;
	m->is_bottom = !m->below.header.backing_file.length;
	ret = check_below(m);
	return ret ? ret : content_add(&m->content, m->below.image);
}

/* As its name is meant, and with a '/': never the name of a device. */
static char *path_of(const struct image *image, const char *name)
{
	MEM_FREE char *path = image_resolve(image, name);

	return mem_printf("%s%s", strchr(path, '/') ? "" : "./", path);
}

static int open_below(struct merge *m, const struct edit_options *options)
{
	const struct image *top = m->top.image;
	MEM_FREE char *name = image_string(top, &top->header.backing_file);
	MEM_FREE char *format = image_string(top, &top->header.backing_format);
	MEM_FREE char *shown = text_printable(name);
	MEM_FREE char *path = path_of(top, name);
	struct stat st;

	if (image_name_is_url(name))
		return err_fail(ERR_POLICY, top->path, "image names \"%s\", which is not a file",
				shown);
	if (!format)
		return err_fail(ERR_POLICY, top->path,
				"image does not say the format of its backing file");
	m->is_raw = !strcmp(format, "raw");
	if (!m->is_raw && strcmp(format, "qcow2"))
		return err_fail(ERR_UNSUPPORTED, top->path,
				"the format of its backing file is neither qcow2 nor raw");
	if (!stat(path, &st) && image_is_same(top, &st))
		return err_fail(ERR_FAILED, top->path, "image is its own backing file");
	return m->is_raw ? open_raw(m, path, options->dry_run) : open_qcow2(m, path, options);
}

static int begin(struct merge *m, const char *path, const struct edit_options *options)
{
	int ret = edit_begin(&m->top, path, options, 0);

	m->size = m->top.header.size;
	if (!ret)
		ret = check_top(&m->top);
	if (!ret)
		ret = edit_data_open(&m->data, &m->top);
	if (!ret)
		ret = edit_data_take(&m->data, &m->top);
	if (!ret)
		ret = content_add_data(&m->content, m->top.image,
				       edit_has_data(&m->data) ? &m->data.image : NULL);
	return ret ? ret : open_below(m, options);
}

/* ------------------------------------------------------------------------
 * Into qcow2
 */

/* Go on to the next byte that the image has something of its own at; m->size if there is none. */
static int find_next(struct merge *m, u64 *goff)
{
	bool has = false;
	int ret = 0;
	u64 next;

	while (!ret && *goff < m->size) {
		ret = content_has(&m->content, 0, *goff, &has, &next);
		if (has)
			return ret;
		*goff = next;
	}
	if (*goff > m->size)
		*goff = m->size;
	return ret;
}

static int write_cluster(struct merge *m, struct mapping_table *table, u32 nr, u64 goff)
{
	u32 len = m->below.image->geo.cluster_size;
	u64 own = m->size - goff < len ? m->size - goff : len;
	void *data;
	int ret;

	ret = content_read(&m->content, 0, goff, m->bytes, own);
	/* The backing file may go on. */
	if (!ret && own < len)
		ret = content_read(&m->content, 1, goff + own, m->bytes + own, len - own);
	if (ret)
		return ret;
	if (content_is_zero(m->bytes, len))
		return mapping_table_zero(table, nr, m->is_bottom);
	ret = mapping_table_alloc(table, nr, "data", &data);
	if (!ret)
		memcpy(data, m->bytes, len);
	return ret;
}

/* What becomes part of the disk now: has the table something else there than nothing? */
static bool is_gained(const struct merge *m, const struct mapping_table *table, u32 nr, u64 goff)
{
	u64 raw, bitmap;

	if (goff + m->below.image->geo.cluster_size <= m->below_size || m->size <= m->below_size)
		return false;
	mapping_table_get(table, nr, &raw, &bitmap);
	return raw || bitmap || !m->is_bottom;
}

static int write_table(struct merge *m, u32 index)
{
	const struct qcow2_geometry *geo = &m->below.image->geo;
	u64 start = (u64)index << qcow2_l1_shift(geo), end = start + (1ULL << qcow2_l1_shift(geo));
	u64 goff, next = start;
	struct mapping_table table = { 0 };
	int ret = find_next(m, &next);
	u32 nr;

	if (end > m->size)
		end = m->size;
	if (!ret && next >= end && end <= m->below_size)
		return 0;
	if (!ret && next >= end && m->is_bottom && !m->below.active.l1[index])
		return 0;
	if (!ret)
		ret = mapping_table_open(&m->below.active, index, &table);
	for (nr = 0, goff = start; !ret && goff < end; nr++, goff += geo->cluster_size) {
		if (next < goff) {
			next = goff;
			ret = find_next(m, &next);
		}
		if (!ret && (next < goff + geo->cluster_size || is_gained(m, &table, nr, goff)))
			ret = write_cluster(m, &table, nr, goff);
	}
	if (!ret)
		return mapping_table_close(&table);
	mapping_table_forget(&table);
	return ret;
}

static int grow_below(struct merge *m)
{
	struct mapping *active = &m->below.active;
	u32 needed = qcow2_l1_needed(&m->below.image->geo, m->size);
	u32 had = qcow2_l1_needed(&m->below.image->geo, m->below_size);
	int ret = 0;

	if (m->size <= m->below_size)
		return 0;
	m->below.header.size = m->size;
	/* The state of a virtual machine would be at another place now. */
	if (needed != had && needed < active->size)
		ret = mapping_clear(active, needed, active->size);
	if (needed != had)
		mapping_resize(active, needed);
	return ret;
}

static int write_qcow2(struct merge *m)
{
	const struct qcow2_geometry *geo = &m->below.image->geo;
	u32 index, end = qcow2_l1_needed(geo, m->size);
	int ret = grow_below(m);

	m->bytes = mem_aligned(geo->cluster_size);
	for (index = 0; !ret && index < end; index++) {
		ret = progress_step(index, end);
		if (!ret)
			ret = write_table(m, index);
	}
	return ret ? ret : edit_commit(&m->below);
}

/* ------------------------------------------------------------------------
 * Into raw
 */

static int write_piece(struct merge *m, u64 goff, u64 len)
{
	struct plan *plan = &m->below.plan;
	int ret = content_read(&m->content, 0, goff, m->bytes, len);

	if (ret)
		return ret;
	if (content_is_zero(m->bytes, len))
		return plan_zero(plan, goff, len);
	memcpy(plan_write(plan, goff, len, "data"), m->bytes, len);
	return plan->ret;
}

static int write_raw(struct merge *m)
{
	struct plan *plan = &m->below.plan;
	u64 goff = 0, next, end = m->size > m->below_size ? m->size : m->below_size;
	bool has;
	int ret = end > m->below_size ? plan_truncate(plan, end) : 0;

	m->bytes = mem_aligned(m->top.image->geo.cluster_size);
	for (; !ret && goff < m->size; goff = next) {
		ret = progress_step(goff, m->size);
		if (!ret)
			ret = content_has(&m->content, 0, goff, &has, &next);
		if (next > m->size)
			next = m->size;
		if (!ret && has)
			ret = write_piece(m, goff, next - goff);
	}
	if (!ret)
		ret = plan_barrier(plan);
	/* Direct writes may have made it longer by a part of their unit. */
	return !ret && m->raw.end > end ? plan_truncate(plan, end) : ret;
}

/* ------------------------------------------------------------------------
 * All of it
 */

static void print_file(const struct image *image, const struct edit_options *options)
{
	MEM_FREE char *path = text_printable(image->path);

	if (options->dry_run)
		out_text("image    %s\n", path);
}

/* Nothing leads there any more. */
static int empty_data(struct merge *m, const struct edit_options *options)
{
	if (!edit_has_data(&m->data))
		return 0;
	print_file(&m->data.image, options);
	plan_discard(&m->data.plan, 0, m->size);
	return plan_barrier(&m->data.plan);
}

static int write_both(struct merge *m, const struct edit_options *options)
{
	int ret;

	print_file(m->is_raw ? &m->raw : m->below.image, options);
	progress_phase("copying");
	ret = m->is_raw ? write_raw(m) : write_qcow2(m);
	if (!ret)
		ret = mapping_clear(&m->top.active, 0, m->top.active.size);
	if (ret)
		return ret;
	print_file(m->top.image, options);
	ret = edit_commit(&m->top);
	return ret ? ret : empty_data(m, options);
}

int merge_image(const char *image, const struct edit_options *options)
{
	MEM_FREE char *path = mem_printf("%s%s", strchr(image, '/') ? "" : "./", image);
	struct merge m = { .raw = IMAGE_CLOSED, .data = EDIT_DATA_CLOSED };
	int ret = begin(&m, path, options);

	if (!ret)
		ret = write_both(&m, options);
	content_release(&m.content);
	if (m.is_raw) {
		plan_release(&m.below.plan);
		image_close(&m.raw);
	} else if (m.below.image) {
		ret = edit_end(&m.below, ret);
	}
	free(m.bytes);
	edit_data_close(&m.data, &m.top);
	return edit_end(&m.top, ret);
}
