// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Rebase without a look at any data: the header's extensions and the name of
 * the backing file are laid out anew.
 *
 * Only the first sector of the header can change at once. So what the new
 * layout has behind that sector may lie only where the old one has the same
 * bytes or none; and where that does not work out, names of features (which are
 * for older programs, and for people) are left out until it does.
 */
#include <stdlib.h>
#include <string.h>
#include <asm/byteorder.h>
#include "cli.h"
#include "err.h"
#include "mem.h"
#include "rebase.h"

#define SECTOR		512

struct layout {
	const struct image *image;
	const char *backing;		/* or NULL */
	bool raw;
	bool keep_format;		/* of the backing file: as it is */
	const char *moved;		/* text of REBASE_EXT_MOVED, or NULL */
	u8 *old, *new;			/* cluster 0 */
	u8 *used;			/* which bytes of the old one mean something */
	u32 size, pos;
	bool full;
};

static void put(struct layout *l, const void *data, u32 len)
{
	if (l->full || len > l->size - l->pos) {
		l->full = true;
		return;
	}
	if (len)
		memcpy(l->new + l->pos, data, len);
	l->pos += len;
}

static void put_extension(struct layout *l, u32 type, const void *data, u32 len)
{
	struct qcow2_extension_disk disk = {
		.type = cpu_to_be32(type), .length = cpu_to_be32(len),
	};
	static const char padding[8];

	put(l, &disk, sizeof(disk));
	put(l, data, len);
	put(l, padding, -len & 7);
}

static void put_format(struct layout *l)
{
	const char *format = l->raw ? "raw" : "qcow2";

	if (l->backing)
		put_extension(l, QCOW2_EXT_BACKING_FORMAT, format, strlen(format));
}

/* All extensions, with @names feature names. */
static void put_extensions(struct layout *l, u32 names)
{
	const struct qcow2_header *h = &l->image->header;
	struct qcow2_string data;
	u32 pos = 0, type, keep;

	if (l->moved)
		put_extension(l, REBASE_EXT_MOVED, l->moved, strlen(l->moved));
	if (!h->backing_format.length && !l->keep_format)
		put_format(l);
	while (qcow2_extension_next(l->image->cluster, l->image->cluster_len, h, &pos, &type,
				    &data)) {
		keep = names * sizeof(struct qcow2_feature_name_disk);
		if (type == REBASE_EXT_MOVED && l->moved)
			continue;
		if (type == QCOW2_EXT_BACKING_FORMAT && !l->keep_format)
			put_format(l);
		else if (type != QCOW2_EXT_FEATURE_NAMES || data.length <= keep)
			put_extension(l, type, l->old + data.offset, data.length);
		else if (keep)
			put_extension(l, type, l->old + data.offset, keep);
	}
	put_extension(l, QCOW2_EXT_END, NULL, 0);
}

static void mark_used(struct layout *l)
{
	const struct qcow2_header *h = &l->image->header;
	struct qcow2_string data;
	u32 pos = 0, type, end = h->header_length;

	while (qcow2_extension_next(l->image->cluster, l->image->cluster_len, h, &pos, &type, &data))
		end = data.offset + ((data.length + 7) & ~7U);
	end += sizeof(struct qcow2_extension_disk);
	memset(l->used, 1, end < l->size ? end : l->size);
	if (h->backing_file.length)
		memset(l->used + h->backing_file.offset, 1, h->backing_file.length);
}

/* Can [@start, @end) of the new cluster be there while the old header still counts? */
static bool fits(const struct layout *l, u32 start, u32 end)
{
	u32 i;

	for (i = start < SECTOR ? SECTOR : start; i < end; i++) {
		if (l->used[i] && l->old[i] != l->new[i])
			return false;
	}
	return true;
}

/* The name behind the extensions. */
static bool place_name(struct layout *l, struct qcow2_string *place)
{
	u32 len = l->backing ? strlen(l->backing) : 0, end = l->pos;

	place->offset = 0;
	place->length = len;
	for (; len && end <= l->size && len <= l->size - end; end += 8) {
		memcpy(l->new + end, l->backing, len);
		if (fits(l, end, end + len)) {
			place->offset = end;
			l->pos = end + len;
			return true;
		}
		memcpy(l->new + end, l->old + end, len);
	}
	return !len;
}

static bool lay_out(struct layout *l, u32 names, struct qcow2_string *place)
{
	u32 start = l->image->header.header_length;

	memcpy(l->new, l->old, l->size);
	l->pos = start;
	l->full = false;
	put_extensions(l, names);
	return !l->full && fits(l, start, l->pos) && place_name(l, place);
}

/* Leave out as few names as possible. */
static int build(struct layout *l, struct qcow2_string *place)
{
	u32 names = l->image->header.feature_names.length / sizeof(struct qcow2_feature_name_disk);

	l->size = l->image->geo.cluster_size;
	l->old = mem_zalloc(l->size);
	l->new = mem_zalloc(l->size);
	l->used = mem_zalloc(l->size);
	memcpy(l->old, l->image->cluster, l->image->cluster_len);
	mark_used(l);
	while (!lay_out(l, names, place)) {
		if (!names--)
			return err_fail(ERR_FAILED, l->image->path,
					"the header has no room for %s",
					l->moved ? "a mark" : "the name of the backing file");
	}
	return 0;
}

static int check(const struct edit *edit, const char *backing)
{
	if (!backing)
		return 0;
	if (strlen(backing) > QCOW2_MAX_NAME)
		return err_fail(ERR_FAILED, edit->image->path,
				"the name of the backing file has more than %d bytes",
				QCOW2_MAX_NAME);
	if (edit->header.autoclear_features & QCOW2_AUTOCLEAR_DATA_FILE_RAW)
		return err_fail(ERR_POLICY, edit->image->path,
				"an image with a raw data file has no backing file");
	return 0;
}

static int write_layout(struct edit *edit, struct layout *l)
{
	int ret = build(l, &edit->header.backing_file);
	u32 end;

	if (!ret) {
		end = (l->pos + SECTOR - 1) & ~(SECTOR - 1U);
		if (end > SECTOR)
			memcpy(plan_write(&edit->plan, SECTOR, end - SECTOR, "rest of the header"),
			       l->new + SECTOR, end - SECTOR);
		edit->cluster = l->new;
		edit->cluster_len = l->size;
		l->new = NULL;
		ret = edit_commit(edit);
	}
	free(l->old);
	free(l->new);
	free(l->used);
	return ret;
}

static int rebase(struct edit *edit, const char *backing, bool raw)
{
	struct layout l = { .image = edit->image, .backing = backing, .raw = raw };
	int ret = check(edit, backing);

	return ret ? ret : write_layout(edit, &l);
}

int rebase_mark_moved(const char *image, const char *text)
{
	const struct edit_options options = { .timeout = CLI_UNSET, .progress = "none" };
	struct edit edit;
	int ret = edit_begin(&edit, image, &options, EDIT_HEADER);

	if (!ret) {
		MEM_FREE char *backing = image_string(edit.image, &edit.image->header.backing_file);
		struct layout l = { .image = edit.image, .backing = backing, .keep_format = true,
				    .moved = text };

		ret = write_layout(&edit, &l);
	}
	return edit_end(&edit, ret);
}

int rebase_unsafe(const char *image, const char *backing, bool raw,
		  const struct edit_options *options)
{
	struct edit edit;
	int ret = edit_begin(&edit, image, options, EDIT_HEADER);

	if (!ret)
		ret = rebase(&edit, backing, raw);
	return edit_end(&edit, ret);
}
