// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Extended L2 entries: the two bits of each of 32 subclusters.
 */
#include <string.h>
#include "geometry.h"
#include "sample.h"

#define HOFF	0x7f0000ULL

static struct qcow2_geometry geometry(u32 cluster_bits, bool data_file)
{
	struct qcow2_geometry geo;

	qcow2_geometry_init(&geo, 3, cluster_bits, 4, true, data_file, GIB);
	return geo;
}

/* Decoded with a host cluster or none. */
static enum qcow2_verdict decode_bits(u32 alloc, u32 zero, bool host, struct qcow2_l2_entry *entry)
{
	struct qcow2_geometry geo = geometry(16, false);

	return qcow2_l2_decode(&geo, host ? HOFF | QCOW2_OFLAG_COPIED : 0,
			       qcow2_l2_encode_bitmap(alloc, zero), entry);
}

/* What the specification says of one pair of bits. */
static enum qcow2_cluster_kind expected(u32 alloc, u32 zero, bool host, u32 index)
{
	if (alloc >> index & 1)
		return QCOW2_CLUSTER_DATA;
	if (zero >> index & 1)
		return host ? QCOW2_CLUSTER_ZERO_ALLOC : QCOW2_CLUSTER_ZERO_PLAIN;
	return QCOW2_CLUSTER_UNALLOCATED;
}

/* Every subcluster, and where its run ends, looked at bit by bit. */
static void expect_subclusters(u32 alloc, u32 zero, bool host)
{
	struct qcow2_l2_entry entry;
	u32 i, end, run;

	test_note("alloc %#x zero %#x host %d", alloc, zero, host);
	EXPECT_VERDICT(decode_bits(alloc, zero, host, &entry), QCOW2_OK);
	EXPECT_EQ(entry.alloc, alloc);
	EXPECT_EQ(entry.zero, zero);
	EXPECT_EQ(entry.has_host, host);
	EXPECT_EQ(entry.hoff, host ? HOFF : 0);
	for (i = 0; i < 32; i++) {
		EXPECT_EQ(qcow2_l2_subcluster(&entry, i, &run), expected(alloc, zero, host, i));
		for (end = i; end < 32 && expected(alloc, zero, host, end) ==
					  expected(alloc, zero, host, i);)
			end++;
		EXPECT_EQ(run, end - i);
	}
}

TEST(extended_every_state_at_every_place)
{
	u32 i;

	for (i = 0; i < 32; i++) {
		u32 bit = 1U << i;

		expect_subclusters(0, bit, false);
		expect_subclusters(0, ~bit, false);
		expect_subclusters(bit, 0, true);
		expect_subclusters(~bit, 0, true);
		expect_subclusters(0, bit, true);
		expect_subclusters(bit, ~bit, true);
		expect_subclusters(~bit, bit, true);
	}
}

TEST(extended_all_pairs_of_two_neighbours)
{
	static const u32 pairs[3][2] = { { 0, 0 }, { 1, 0 }, { 0, 1 } };
	u32 at, a, b;

	for (at = 0; at < 31; at++) {
		for (a = 0; a < 3; a++) {
			for (b = 0; b < 3; b++)
				expect_subclusters((pairs[a][0] | pairs[b][0] << 1) << at,
						   (pairs[a][1] | pairs[b][1] << 1) << at, true);
		}
	}
	expect_subclusters(0x12492492, 0x24924924, true);
	expect_subclusters(0xffff, 0xffff0000, true);
}

TEST(extended_both_bits_are_refused_wherever_they_are)
{
	struct qcow2_l2_entry entry;
	u32 i;

	for (i = 0; i < 32; i++) {
		test_note("bit %u", i);
		EXPECT_VERDICT(decode_bits(1U << i, 1U << i, true, &entry), QCOW2_L2_ENTRY_SUBCLUSTERS);
		EXPECT_VERDICT(decode_bits(~0U, 1U << i, true, &entry), QCOW2_L2_ENTRY_SUBCLUSTERS);
		EXPECT_VERDICT(decode_bits(1U << i, ~0U, true, &entry), QCOW2_L2_ENTRY_SUBCLUSTERS);
	}
}

TEST(extended_allocated_without_a_host_cluster_is_refused)
{
	struct qcow2_geometry geo = geometry(16, false), outside = geometry(16, true);
	struct qcow2_l2_entry entry;
	u32 i;

	for (i = 0; i < 32; i++)
		EXPECT_VERDICT(decode_bits(1U << i, 0, false, &entry), QCOW2_L2_ENTRY_SUBCLUSTERS);
	/* COPIED alone is no host cluster, but in a data file it is guest cluster 0. */
	EXPECT_VERDICT(qcow2_l2_decode(&geo, QCOW2_OFLAG_COPIED, 1, &entry),
		       QCOW2_L2_ENTRY_SUBCLUSTERS);
	EXPECT_VERDICT(qcow2_l2_decode(&outside, QCOW2_OFLAG_COPIED, 1, &entry), QCOW2_OK);
	EXPECT(entry.has_host);
}

TEST(extended_uniform_clusters_have_the_kind_of_their_subclusters)
{
	struct qcow2_l2_entry entry;

	EXPECT_VERDICT(decode_bits(~0U, 0, true, &entry), QCOW2_OK);
	EXPECT_EQ(entry.kind, QCOW2_CLUSTER_DATA);
	EXPECT_VERDICT(decode_bits(0, ~0U, true, &entry), QCOW2_OK);
	EXPECT_EQ(entry.kind, QCOW2_CLUSTER_ZERO_ALLOC);
	EXPECT_VERDICT(decode_bits(0, ~0U, false, &entry), QCOW2_OK);
	EXPECT_EQ(entry.kind, QCOW2_CLUSTER_ZERO_PLAIN);
	EXPECT_VERDICT(decode_bits(0, 0, false, &entry), QCOW2_OK);
	EXPECT_EQ(entry.kind, QCOW2_CLUSTER_UNALLOCATED);
	EXPECT_VERDICT(decode_bits(0, 0, true, &entry), QCOW2_OK);
	EXPECT_EQ(entry.kind, QCOW2_CLUSTER_SUBCLUSTERS);
	expect_subclusters(~0U, 0, true);
	expect_subclusters(0, ~0U, true);
	expect_subclusters(0, ~0U, false);
	expect_subclusters(0, 0, false);
	expect_subclusters(0, 0, true);
}

TEST(extended_bit_0_of_the_entry_means_nothing)
{
	struct qcow2_geometry geo = geometry(16, false);
	struct qcow2_l2_entry entry;

	EXPECT_VERDICT(qcow2_l2_decode(&geo, HOFF | QCOW2_OFLAG_ZERO, ~0U, &entry), QCOW2_OK);
	EXPECT_EQ(entry.kind, QCOW2_CLUSTER_DATA);
}

TEST(extended_compressed_ignores_its_bitmap_and_a_check_does_not)
{
	struct qcow2_geometry geo = geometry(16, false);
	u64 raw = QCOW2_OFLAG_COMPRESSED | 0x50123;
	struct qcow2_l2_entry entry;
	u32 run;

	EXPECT_VERDICT(qcow2_l2_decode(&geo, raw, 0x100000001ULL, &entry), QCOW2_OK);
	EXPECT_EQ(entry.kind, QCOW2_CLUSTER_COMPRESSED);
	EXPECT_EQ(qcow2_l2_subcluster(&entry, 5, &run), QCOW2_CLUSTER_COMPRESSED);
	EXPECT_EQ(run, 27);
	EXPECT_VERDICT(qcow2_l2_check(&geo, raw, 0), QCOW2_OK);
	EXPECT_VERDICT(qcow2_l2_check(&geo, raw, 1), QCOW2_L2_ENTRY_SUBCLUSTERS);
}

TEST(extended_geometry_has_half_the_entries_and_32_subclusters)
{
	struct qcow2_geometry geo;
	u32 bits;

	for (bits = QCOW2_MIN_EXTENDED_L2_BITS; bits <= QCOW2_MAX_CLUSTER_BITS; bits++) {
		u32 size = 1U << bits, part = size / 32;

		test_note("cluster_bits %u", bits);
		geo = geometry(bits, false);
		EXPECT_EQ(1U << geo.l2_bits, size / 16);
		EXPECT_EQ(qcow2_l1_shift(&geo), 2 * bits - 4);
		EXPECT_EQ(qcow2_subcluster_size(&geo), part);
		EXPECT_EQ(qcow2_in_subcluster(&geo, 5ULL * size + 3 * part + 7), 7);
		EXPECT_EQ(qcow2_subcluster_index(&geo, 5ULL * size + 31 * part), 31);
		EXPECT_EQ(qcow2_subcluster_mask(&geo, 0, size), ~0U);
		EXPECT_EQ(qcow2_subcluster_mask(&geo, 0, 1), 1);
		EXPECT_EQ(qcow2_subcluster_mask(&geo, size - 1, size), 1U << 31);
		EXPECT_EQ(qcow2_subcluster_mask(&geo, part, 2 * part), 2);
		EXPECT_EQ(qcow2_subcluster_mask(&geo, part - 1, 2 * part + 1), 7);
	}
	qcow2_geometry_init(&geo, 3, 16, 4, false, false, GIB);
	EXPECT_EQ(qcow2_subcluster_size(&geo), geo.cluster_size);
	EXPECT_EQ(qcow2_subcluster_index(&geo, 3 * geo.cluster_size + 5), 0);
	EXPECT_EQ(qcow2_subcluster_mask(&geo, 7, geo.cluster_size), 1);
}
