// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Decoder of the entries of the bitmap directory.
 */
#include <linux/types.h>
#include <linux/stddef.h>
#include <linux/string.h>
#include <linux/build_bug.h>
#include <asm/byteorder.h>
#include "format.h"

#define KNOWN_FLAGS \
	(QCOW2_BITMAP_IN_USE | QCOW2_BITMAP_AUTO | QCOW2_BITMAP_EXTRA_COMPATIBLE)

static_assert(sizeof(struct qcow2_bitmap_disk) == 24);
static_assert(offsetof(struct qcow2_bitmap_disk, bitmap_table_size) == 8);
static_assert(offsetof(struct qcow2_bitmap_disk, flags) == 12);
static_assert(offsetof(struct qcow2_bitmap_disk, type) == 16);
static_assert(offsetof(struct qcow2_bitmap_disk, granularity_bits) == 17);
static_assert(offsetof(struct qcow2_bitmap_disk, name_size) == 18);
static_assert(offsetof(struct qcow2_bitmap_disk, extra_data_size) == 20);

enum qcow2_verdict qcow2_bitmap_decode(const void *directory, u64 len, u64 offset,
				       struct qcow2_bitmap *bitmap)
{
	const struct qcow2_bitmap_disk *disk;
	u32 extra;
	u64 bytes;

	memset(bitmap, 0, sizeof(*bitmap));
	if (offset > len || len - offset < sizeof(*disk))
		return QCOW2_BITMAP_RANGE;
	disk = (const void *)((const u8 *)directory + offset);
	bitmap->table_offset = be64_to_cpu(disk->bitmap_table_offset);
	bitmap->table_size = be32_to_cpu(disk->bitmap_table_size);
	bitmap->flags = be32_to_cpu(disk->flags);
	bitmap->granularity_bits = disk->granularity_bits;
	bitmap->name.length = be16_to_cpu(disk->name_size);
	extra = be32_to_cpu(disk->extra_data_size);
	if (disk->type != QCOW2_BITMAP_TYPE_DIRTY || (bitmap->flags & ~KNOWN_FLAGS) ||
	    bitmap->granularity_bits < QCOW2_MIN_BITMAP_GRANULARITY ||
	    bitmap->granularity_bits > QCOW2_MAX_BITMAP_GRANULARITY ||
	    bitmap->table_size > QCOW2_MAX_BITMAP_TABLE ||
	    !bitmap->name.length || bitmap->name.length > QCOW2_MAX_NAME ||
	    (extra && !(bitmap->flags & QCOW2_BITMAP_EXTRA_COMPATIBLE)))
		return QCOW2_BITMAP_VALUES;
	bytes = sizeof(*disk) + (u64)extra + bitmap->name.length;
	if (len - offset < bytes)
		return QCOW2_BITMAP_RANGE;
	/* Both fit 32 bits: the directory is limited to 64 MiB. */
	bitmap->name.offset = offset + sizeof(*disk) + extra;
	bitmap->length = (bytes + 7) & ~7ULL;
	return QCOW2_OK;
}
