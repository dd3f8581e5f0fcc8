// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Entries of the bitmap directory.
 */
#include <string.h>
#include "format.h"
#include "harness.h"

#define LEN 40	/* 24 fixed bytes, "daily-monday" and padding */

static struct qcow2_bitmap_disk *sample(void)
{
	struct qcow2_bitmap_disk *disk = test_buffer(NULL, LEN);

	PUT(disk->bitmap_table_offset, 0x50000);
	PUT(disk->bitmap_table_size, 1);
	PUT(disk->flags, QCOW2_BITMAP_AUTO);
	PUT(disk->type, QCOW2_BITMAP_TYPE_DIRTY);
	PUT(disk->granularity_bits, 16);
	PUT(disk->name_size, 12);
	memcpy(disk + 1, "daily-monday", 12);
	return disk;
}

TEST(bitmap_entry_is_decoded)
{
	struct qcow2_bitmap_disk *disk = sample();
	struct qcow2_bitmap bitmap;

	EXPECT_EQ(qcow2_bitmap_decode(disk, LEN, 0, &bitmap), QCOW2_OK);
	EXPECT_EQ(bitmap.table_offset, 0x50000);
	EXPECT_EQ(bitmap.table_size, 1);
	EXPECT_EQ(bitmap.flags, QCOW2_BITMAP_AUTO);
	EXPECT_EQ(bitmap.granularity_bits, 16);
	EXPECT_EQ(bitmap.name.offset, 24);
	EXPECT_EQ(bitmap.name.length, 12);
	EXPECT_EQ(bitmap.length, 40);
}

TEST(bitmap_entry_never_leaves_the_directory)
{
	struct qcow2_bitmap_disk *whole = sample();
	struct qcow2_bitmap bitmap;
	uint64_t len;

	for (len = 0; len < 36; len++) {
		test_note("%u bytes", (unsigned int)len);
		EXPECT_EQ(qcow2_bitmap_decode(test_buffer(whole, len), len, 0, &bitmap),
			  QCOW2_BITMAP_RANGE);
	}
	EXPECT_EQ(qcow2_bitmap_decode(test_buffer(whole, 36), 36, 0, &bitmap), QCOW2_OK);
	EXPECT_EQ(qcow2_bitmap_decode(whole, LEN, LEN, &bitmap), QCOW2_BITMAP_RANGE);
	EXPECT_EQ(qcow2_bitmap_decode(whole, LEN, ~0ULL & ~7ULL, &bitmap), QCOW2_BITMAP_RANGE);
}

TEST(bitmap_extra_data_must_be_announced_and_must_fit)
{
	struct qcow2_bitmap_disk *disk = sample();
	struct qcow2_bitmap bitmap;

	PUT(disk->extra_data_size, 4);
	EXPECT_EQ(qcow2_bitmap_decode(disk, LEN, 0, &bitmap), QCOW2_BITMAP_VALUES);
	PUT(disk->flags, QCOW2_BITMAP_EXTRA_COMPATIBLE);
	EXPECT_EQ(qcow2_bitmap_decode(disk, LEN, 0, &bitmap), QCOW2_OK);
	EXPECT_EQ(bitmap.name.offset, 28);
	PUT(disk->extra_data_size, 0xffffffff);
	EXPECT_EQ(qcow2_bitmap_decode(disk, LEN, 0, &bitmap), QCOW2_BITMAP_RANGE);
}

/* Is the sample refused with one field changed? */
static bool is_refused(void (*change)(struct qcow2_bitmap_disk *disk))
{
	struct qcow2_bitmap_disk *disk = sample();
	struct qcow2_bitmap bitmap;

	change(disk);
	return qcow2_bitmap_decode(disk, LEN, 0, &bitmap) == QCOW2_BITMAP_VALUES;
}

static void type_0(struct qcow2_bitmap_disk *disk) { PUT(disk->type, 0); }
static void type_2(struct qcow2_bitmap_disk *disk) { PUT(disk->type, 2); }
static void unknown_flag(struct qcow2_bitmap_disk *disk) { PUT(disk->flags, 8); }
static void granularity_8(struct qcow2_bitmap_disk *disk) { PUT(disk->granularity_bits, 8); }
static void granularity_32(struct qcow2_bitmap_disk *disk) { PUT(disk->granularity_bits, 32); }
static void no_name(struct qcow2_bitmap_disk *disk) { PUT(disk->name_size, 0); }
static void long_name(struct qcow2_bitmap_disk *disk) { PUT(disk->name_size, 1024); }
static void large_table(struct qcow2_bitmap_disk *disk) { PUT(disk->bitmap_table_size, 0x8000001); }

TEST(bitmap_entry_with_impossible_values_is_refused)
{
	EXPECT(is_refused(type_0));
	EXPECT(is_refused(type_2));
	EXPECT(is_refused(unknown_flag));
	EXPECT(is_refused(granularity_8));
	EXPECT(is_refused(granularity_32));
	EXPECT(is_refused(no_name));
	EXPECT(is_refused(long_name));
	EXPECT(is_refused(large_table));
}
