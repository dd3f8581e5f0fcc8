// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Units and indices without extended L2, whose own lie in l2_extended.c.
 */
#include "geometry.h"
#include "sample.h"

static struct qcow2_geometry geometry(u32 cluster_bits, u32 refcount_order)
{
	struct qcow2_geometry geo;

	test_note("cluster_bits %u refcount_order %u", cluster_bits, refcount_order);
	qcow2_geometry_init(&geo, 3, cluster_bits, refcount_order, false, false, GIB);
	return geo;
}

TEST(geometry_of_every_cluster_size_and_width)
{
	for (u32 bits = 9; bits <= 21; bits++) {
		for (u32 order = 0; order <= 6; order++) {
			struct qcow2_geometry geo = geometry(bits, order);
			u64 size = 1ULL << bits;

			EXPECT_EQ(geo.cluster_size, size);
			EXPECT_EQ(geo.virtual_size, GIB);
			EXPECT_EQ(1ULL << geo.l2_bits, size / 8);
			EXPECT_EQ(1ULL << geo.refblock_bits, (size * 8) >> order);
			EXPECT_EQ(qcow2_slice_size(&geo), size < 4096 ? size : 4096);
			EXPECT_EQ(geo.compressed_bits, 70 - bits);
			EXPECT_EQ(qcow2_l1_shift(&geo), 2 * bits - 3);
			EXPECT_EQ(geo.subcluster_bits, bits);
		}
	}
}

TEST(geometry_clusters_begin_and_end_where_they_should)
{
	for (u32 bits = 9; bits <= 21; bits++) {
		struct qcow2_geometry geo = geometry(bits, 4);
		const u64 size = geo.cluster_size, at = QCOW2_MAX_HOFF - size;

		EXPECT_EQ(qcow2_to_clu(&geo, size - 1), 0);
		EXPECT_EQ(qcow2_to_clu(&geo, size), 1);
		EXPECT_EQ(qcow2_to_clu(&geo, at + size - 1), (1ULL << (56 - bits)) - 1);
		EXPECT_EQ(qcow2_to_off(&geo, (1ULL << (56 - bits)) - 1), at);
		EXPECT_EQ(qcow2_to_clu(&geo, ~0ULL), ~0ULL >> bits);
		EXPECT_EQ(qcow2_in_cluster(&geo, at), 0);
		EXPECT_EQ(qcow2_in_cluster(&geo, at + size - 1), size - 1);
		EXPECT_EQ(qcow2_in_cluster(&geo, ~0ULL), size - 1);
		EXPECT_EQ(qcow2_round_up(&geo, 0), 0);
		EXPECT_EQ(qcow2_round_up(&geo, 1), size);
		EXPECT_EQ(qcow2_round_up(&geo, size), size);
		EXPECT_EQ(qcow2_round_up(&geo, size + 1), 2 * size);
		EXPECT_EQ(qcow2_round_up(&geo, at + 1), QCOW2_MAX_HOFF);
		EXPECT_EQ(qcow2_round_up(&geo, ~0ULL - size), ~0ULL - size + 1);
	}
}

TEST(geometry_l1_and_l2_indices_meet_at_the_edge_of_a_table)
{
	for (u32 bits = 9; bits <= 21; bits++) {
		struct qcow2_geometry geo = geometry(bits, 4);
		const u64 size = geo.cluster_size, span = size * (size / 8);

		EXPECT_EQ(qcow2_l1_index(&geo, span - 1), 0);
		EXPECT_EQ(qcow2_l2_index(&geo, span - 1), size / 8 - 1);
		EXPECT_EQ(qcow2_l1_index(&geo, span), 1);
		EXPECT_EQ(qcow2_l2_index(&geo, span), 0);
		EXPECT_EQ(qcow2_l2_index(&geo, size - 1), 0);
		EXPECT_EQ(qcow2_l2_index(&geo, size), 1);
		EXPECT_EQ(qcow2_l1_index(&geo, ~0ULL), ~0ULL / span);
		EXPECT_EQ(qcow2_l2_index(&geo, ~0ULL), size / 8 - 1);
	}
}

TEST(geometry_l1_entries_needed_are_rounded_up_once)
{
	for (u32 bits = 9; bits <= 21; bits++) {
		struct qcow2_geometry geo = geometry(bits, 4);
		const u64 span = (u64)geo.cluster_size * (geo.cluster_size / 8);

		EXPECT_EQ(qcow2_l1_needed(&geo, 0), 0);
		EXPECT_EQ(qcow2_l1_needed(&geo, 1), 1);
		EXPECT_EQ(qcow2_l1_needed(&geo, span - 1), 1);
		EXPECT_EQ(qcow2_l1_needed(&geo, span), 1);
		EXPECT_EQ(qcow2_l1_needed(&geo, span + 1), 2);
		/* rounding up by an addition would wrap to 0 */
		EXPECT_EQ(qcow2_l1_needed(&geo, ~0ULL), ~0ULL / span + 1);
	}
}

TEST(geometry_counts_of_a_block_meet_at_its_edge)
{
	for (u32 bits = 9; bits <= 21; bits++) {
		for (u32 order = 0; order <= 6; order++) {
			struct qcow2_geometry geo = geometry(bits, order);
			const u64 many = (8ULL << bits) >> order;
			const u64 last = (1ULL << (56 - bits)) - 1;

			EXPECT_EQ(qcow2_reftable_index(&geo, many - 1), 0);
			EXPECT_EQ(qcow2_refblock_index(&geo, many - 1), many - 1);
			EXPECT_EQ(qcow2_reftable_index(&geo, many), 1);
			EXPECT_EQ(qcow2_refblock_index(&geo, many), 0);
			EXPECT_EQ(qcow2_reftable_index(&geo, last), last / many);
			EXPECT_EQ(qcow2_refblock_index(&geo, last), last % many);
		}
	}
}

TEST(geometry_slices_begin_at_their_own_size)
{
	for (u32 bits = 9; bits <= 21; bits++) {
		struct qcow2_geometry geo = geometry(bits, 4);
		const u64 slice = bits < 12 ? 1ULL << bits : 4096;

		EXPECT_EQ(qcow2_slice_start(&geo, 0), 0);
		EXPECT_EQ(qcow2_slice_start(&geo, slice - 1), 0);
		EXPECT_EQ(qcow2_slice_start(&geo, slice), slice);
		EXPECT_EQ(qcow2_slice_start(&geo, QCOW2_MAX_HOFF - 1), QCOW2_MAX_HOFF - slice);
		EXPECT_EQ(qcow2_slice_start(&geo, ~0ULL), ~(slice - 1));
	}
}
