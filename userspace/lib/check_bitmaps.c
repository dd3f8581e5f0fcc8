// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Count the references of persistent bitmaps: directory, tables, bits.
 */
#include <asm/byteorder.h>
#include "check.h"
#include "err.h"
#include "mem.h"

#define PIECE		(1U << 20)	/* of a bitmap table */
#define MAX_BYTES	(512ULL << 20)	/* of one bitmap */
#define RESERVED	(GENMASK_ULL(63, 56) | GENMASK_ULL(8, 1))

/* A bitmap that contradicts itself makes all of them useless. */
static void find_bad(struct check *check, u32 nr, const char *text)
{
	check->bitmaps = true;
	check_error(check, 1, "bitmap %u: %s", nr, text);
}

static bool is_good(const struct qcow2_geometry *geo, u64 raw)
{
	u64 hoff = raw & QCOW2_L2_HOFF_MASK;

	return !(raw & RESERVED) && !qcow2_in_cluster(geo, hoff) && !(hoff && raw & 1);
}

static int check_table(struct check *check, u32 nr, const struct qcow2_bitmap *bitmap)
{
	const struct image *image = check->image;
	u64 bytes = (u64)bitmap->table_size * sizeof(__be64), done = 0, raw;
	MEM_FREE __be64 *piece = mem_aligned(PIECE);
	u32 part, i;
	int ret;

	check_add(check, bitmap->table_offset, bytes, 1);
	for (; done < bytes; done += part) {
		part = bytes - done < PIECE ? bytes - done : PIECE;
		ret = image_read(image, bitmap->table_offset + done, piece, part);
		if (ret)
			return err_errno_what(-ret, image->path, "cannot read a bitmap table");
		for (i = 0; i < part / sizeof(__be64); i++) {
			raw = be64_to_cpu(piece[i]);
			if (!is_good(&image->geo, raw))
				find_bad(check, nr, "a table entry has impossible values");
			else if (raw & QCOW2_L2_HOFF_MASK)
				check_add(check, raw & QCOW2_L2_HOFF_MASK, image->geo.cluster_size,
					  1);
		}
	}
	return 0;
}

/* Is there a table, of a size that QEMU takes and that suffices for the disk? */
static bool is_possible(const struct check *check, const struct qcow2_bitmap *bitmap)
{
	const struct qcow2_geometry *geo = &check->image->geo;
	u64 bytes = (u64)bitmap->table_size << geo->cluster_bits;

	if (!bitmap->table_size || !bitmap->table_offset || bytes > MAX_BYTES ||
	    qcow2_in_cluster(geo, bitmap->table_offset) || bitmap->table_offset > QCOW2_MAX_HOFF)
		return false;
	return bitmap->flags & QCOW2_BITMAP_IN_USE ||
	       geo->virtual_size <= (bytes * 8) << bitmap->granularity_bits;
}

static int check_directory(struct check *check, const void *directory)
{
	const struct qcow2_header *h = &check->image->header;
	struct qcow2_bitmap bitmap;
	enum qcow2_verdict verdict;
	u64 offset = 0, bytes = 0;
	int ret = 0;
	u32 nr;

	for (nr = 0; !ret && nr < h->nb_bitmaps; nr++) {
		verdict = qcow2_bitmap_decode(directory, h->bitmap_directory_size, offset, &bitmap);
		bytes += bitmap.table_size * sizeof(__be64);
		/* Tables do not share clusters, so all of them are in the file. */
		if (!verdict && (!is_possible(check, &bitmap) || bytes > check->image->end))
			verdict = QCOW2_BITMAP_VALUES;
		if (verdict) {
			find_bad(check, nr, qcow2_verdict_text(verdict));
			return 0;
		}
		ret = check_table(check, nr, &bitmap);
		offset += bitmap.length;
	}
	if (offset != h->bitmap_directory_size)
		find_bad(check, nr, "the directory is longer than its entries");
	return ret;
}

int check_bitmaps(struct check *check)
{
	const struct image *image = check->image;
	const struct qcow2_header *h = &image->header;
	MEM_FREE char *directory = NULL;
	u64 errors = check->errors;
	int ret;

	if (!h->has_bitmaps)
		return 0;
	check_add(check, h->bitmap_directory_offset, h->bitmap_directory_size, 1);
	directory = mem_zalloc(h->bitmap_directory_size);
	ret = image_read(image, h->bitmap_directory_offset, directory, h->bitmap_directory_size);
	if (ret)
		return err_errno_what(-ret, image->path, "cannot read the bitmap directory");
	ret = check_directory(check, directory);
	if (check->errors != errors)
		check->bitmaps = true;
	return ret;
}
