// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Counts of all seven widths: where they lie, what they hold, and that their neighbours stay.
 */
#include <string.h>
#include "format.h"
#include "harness.h"

#define BLOCK	64	/* bytes; ends where the memory does */

static u32 counts(u32 order) { return BLOCK * 8 >> order; }

/* The same from the words of the specification, bit by bit. */
static void model_set(u8 *block, u32 index, u32 order, u64 value)
{
	u32 width = 1U << order, bit;

	for (bit = 0; bit < width; bit++) {
		u32 at = index * width + bit;	/* below 8 bits from the low end */
		u8 *byte = block + at / 8, mask = 1U << at % 8;

		if (width > 8) {
			byte = block + (index + 1) * width / 8 - 1 - bit / 8;
			mask = 1U << bit % 8;
		}
		*byte = value >> bit & 1 ? *byte | mask : *byte & ~mask;
	}
}

TEST(refcount_most_of_every_width)
{
	EXPECT_EQ(qcow2_refcount_max(0), 1);
	EXPECT_EQ(qcow2_refcount_max(1), 3);
	EXPECT_EQ(qcow2_refcount_max(2), 15);
	EXPECT_EQ(qcow2_refcount_max(3), 0xff);
	EXPECT_EQ(qcow2_refcount_max(4), 0xffff);
	EXPECT_EQ(qcow2_refcount_max(5), 0xffffffff);
	EXPECT_EQ(qcow2_refcount_max(6), ~0ULL);
}

TEST(refcount_bytes_are_those_of_the_specification)
{
	static const u8 bytes[] = { 0x1e, 0x2d, 0x3c, 0x4b, 0x5a, 0x69, 0x78, 0x87 };
	const void *block = test_buffer(bytes, sizeof(bytes));

	EXPECT_EQ(qcow2_refcount_get(block, 0, 0), 0);
	EXPECT_EQ(qcow2_refcount_get(block, 1, 0), 1);
	EXPECT_EQ(qcow2_refcount_get(block, 5, 0), 0);
	EXPECT_EQ(qcow2_refcount_get(block, 63, 0), 1);
	EXPECT_EQ(qcow2_refcount_get(block, 0, 1), 2);
	EXPECT_EQ(qcow2_refcount_get(block, 1, 1), 3);
	EXPECT_EQ(qcow2_refcount_get(block, 31, 1), 2);
	EXPECT_EQ(qcow2_refcount_get(block, 0, 2), 0xe);
	EXPECT_EQ(qcow2_refcount_get(block, 1, 2), 0x1);
	EXPECT_EQ(qcow2_refcount_get(block, 15, 2), 0x8);
	EXPECT_EQ(qcow2_refcount_get(block, 7, 3), 0x87);
	EXPECT_EQ(qcow2_refcount_get(block, 0, 4), 0x1e2d);
	EXPECT_EQ(qcow2_refcount_get(block, 3, 4), 0x7887);
	EXPECT_EQ(qcow2_refcount_get(block, 1, 5), 0x5a697887);
	EXPECT_EQ(qcow2_refcount_get(block, 0, 6), 0x1e2d3c4b5a697887ULL);
}

/* Every count of a block full of @fill becomes @value and nothing else changes. */
static void expect_set(u32 order, u8 fill, u64 value)
{
	u8 *block = test_buffer(NULL, BLOCK), *want = test_buffer(NULL, BLOCK);
	u32 index;

	for (index = 0; index < counts(order); index++) {
		test_note("order %u index %u value %#llx in %#x", order, index,
			  (unsigned long long)value, fill);
		memset(block, fill, BLOCK);
		memset(want, fill, BLOCK);
		model_set(want, index, order, value);
		qcow2_refcount_set(block, index, order, value);
		EXPECT(!memcmp(block, want, BLOCK));
		EXPECT_EQ(qcow2_refcount_get(block, index, order), value);
		if (index)
			EXPECT_EQ(qcow2_refcount_get(block, index - 1, order),
				  qcow2_refcount_get(want, index - 1, order));
	}
}

TEST(refcount_of_every_width_keeps_its_neighbours)
{
	for (u32 order = 0; order <= QCOW2_MAX_REFCOUNT_ORDER; order++) {
		const u64 most = qcow2_refcount_max(order);
		const u64 values[] = { 0, 1, most / 2, most / 2 + 1, most - 1, most,
				       0x0123456789abcdefULL & most };

		for (u32 i = 0; i < 7; i++) {
			expect_set(order, 0, values[i]);
			expect_set(order, 0xff, values[i]);
			expect_set(order, 0xa5, values[i]);
		}
	}
}

TEST(refcount_of_every_width_is_itself_when_all_differ)
{
	for (u32 order = 0; order <= QCOW2_MAX_REFCOUNT_ORDER; order++) {
		void *block = test_buffer(NULL, BLOCK);
		u32 index;

		for (index = 0; index < counts(order); index++)
			qcow2_refcount_set(block, index, order,
					   0x9e3779b97f4a7c15ULL * (index + 1) & qcow2_refcount_max(order));
		for (index = 0; index < counts(order); index++) {
			test_note("order %u index %u", order, index);
			EXPECT_EQ(qcow2_refcount_get(block, index, order),
				  0x9e3779b97f4a7c15ULL * (index + 1) & qcow2_refcount_max(order));
		}
	}
}

/* What a cluster's block ends with: the highest index of the largest block. */
TEST(refcount_at_the_end_of_the_largest_block)
{
	const size_t bytes = 1U << QCOW2_MAX_CLUSTER_BITS;
	u8 *block = test_buffer(NULL, bytes);

	for (u32 order = 0; order <= QCOW2_MAX_REFCOUNT_ORDER; order++) {
		u32 last = (bytes * 8 >> order) - 1;

		test_note("order %u", order);
		memset(block + bytes - 16, 0, 16);
		qcow2_refcount_set(block, last, order, qcow2_refcount_max(order));
		EXPECT_EQ(qcow2_refcount_get(block, last, order), qcow2_refcount_max(order));
		EXPECT_EQ(qcow2_refcount_get(block, last - 1, order), 0);
		EXPECT(block[bytes - 1]);
	}
}
