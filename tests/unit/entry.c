// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Single entries of the L1 table, of L2 tables without subclusters, and of the refcount table.
 */
#include <string.h>
#include "geometry.h"
#include "sample.h"

#define COPIED		QCOW2_OFLAG_COPIED
#define COMPRESSED	QCOW2_OFLAG_COMPRESSED
#define ZERO		QCOW2_OFLAG_ZERO

static struct qcow2_geometry geometry(u32 version, u32 cluster_bits)
{
	struct qcow2_geometry geo;

	qcow2_geometry_init(&geo, version, cluster_bits, 4, false, false, GIB);
	return geo;
}

/* The last cluster below 2^56. */
static u64 last_cluster(const struct qcow2_geometry *geo)
{
	return QCOW2_MAX_HOFF - geo->cluster_size;
}

static enum qcow2_verdict l1(u32 bits, u64 raw)
{
	struct qcow2_geometry geo = geometry(3, bits);
	bool copied;
	u64 hoff;

	test_note("cluster_bits %u raw %#llx", bits, (unsigned long long)raw);
	return qcow2_l1_decode(&geo, raw, &hoff, &copied);
}

static enum qcow2_verdict l1_checked(u32 bits, u64 raw)
{
	struct qcow2_geometry geo = geometry(3, bits);

	test_note("cluster_bits %u raw %#llx", bits, (unsigned long long)raw);
	return qcow2_l1_check(&geo, raw);
}

TEST(l1_entry_is_an_offset_and_copied)
{
	for (u32 bits = 9; bits <= 21; bits++) {
		struct qcow2_geometry geo = geometry(3, bits);
		const u64 places[] = { geo.cluster_size, 1ULL << 40, last_cluster(&geo) };

		for (u32 i = 0; i < 6; i++) {
			bool copied, want = i & 1;
			u64 hoff, raw = qcow2_l1_encode(places[i / 2], want);

			test_note("cluster_bits %u raw %#llx", bits, (unsigned long long)raw);
			EXPECT_EQ(raw, places[i / 2] | (want ? 1ULL << 63 : 0));
			EXPECT_VERDICT(qcow2_l1_decode(&geo, raw, &hoff, &copied), QCOW2_OK);
			EXPECT_EQ(hoff, places[i / 2]);
			EXPECT_EQ(copied, want);
			EXPECT_VERDICT(qcow2_l1_check(&geo, raw), QCOW2_OK);
		}
	}
}

TEST(l1_entry_of_0_is_no_table)
{
	struct qcow2_geometry geo = geometry(3, 16);
	bool copied = true;
	u64 hoff = 1;

	EXPECT_VERDICT(qcow2_l1_decode(&geo, 0, &hoff, &copied), QCOW2_OK);
	EXPECT_EQ(hoff, 0);
	EXPECT(!copied);
	EXPECT_VERDICT(qcow2_l1_check(&geo, 0), QCOW2_OK);
	EXPECT_EQ(qcow2_l1_encode(0, false), 0);
}

TEST(l1_entry_is_cluster_aligned)
{
	for (u32 bits = 9; bits <= 21; bits++) {
		for (u32 bit = 9; bit < bits; bit++) {
			EXPECT_VERDICT(l1(bits, 1ULL << bit), QCOW2_L1_ENTRY_UNALIGNED);
			EXPECT_VERDICT(l1(bits, COPIED | 1ULL << 40 | 1ULL << bit),
				       QCOW2_L1_ENTRY_UNALIGNED);
			EXPECT_VERDICT(l1_checked(bits, 1ULL << bit), QCOW2_L1_ENTRY_UNALIGNED);
		}
		EXPECT_VERDICT(l1(bits, 1ULL << bits), QCOW2_OK);
	}
}

TEST(l1_entry_copied_needs_a_table)
{
	EXPECT_VERDICT(l1(16, COPIED), QCOW2_L1_ENTRY_COPIED_EMPTY);
	/* reserved bits make no offset */
	EXPECT_VERDICT(l1(16, COPIED | 0x1ff), QCOW2_L1_ENTRY_COPIED_EMPTY);
	EXPECT_VERDICT(l1(16, COPIED | 1ULL << 56), QCOW2_L1_ENTRY_COPIED_EMPTY);
	EXPECT_VERDICT(l1_checked(16, COPIED), QCOW2_L1_ENTRY_COPIED_EMPTY);
}

TEST(l1_entry_reserved_bits_are_ignored_and_a_check_tells_them)
{
	struct qcow2_geometry geo = geometry(3, 16);

	for (u32 bit = 0; bit < 63; bit++) {
		u64 hoff, raw = 0x50000 | COPIED | 1ULL << bit;
		bool copied;

		if (bit >= 9 && bit < 56)
			continue;
		test_note("bit %u", bit);
		EXPECT_VERDICT(qcow2_l1_decode(&geo, raw, &hoff, &copied), QCOW2_OK);
		EXPECT_EQ(hoff, 0x50000);
		EXPECT(copied);
		EXPECT_VERDICT(qcow2_l1_check(&geo, raw), QCOW2_L1_ENTRY_RESERVED);
		EXPECT_VERDICT(qcow2_l1_check(&geo, 1ULL << bit), QCOW2_L1_ENTRY_RESERVED);
	}
}

/* A word of an L2 table without extended L2, and all that it is to mean. */
static void expect_l2(const struct qcow2_geometry *geo, u64 raw, enum qcow2_cluster_kind kind,
		      u64 hoff, bool copied)
{
	struct qcow2_l2_entry entry;

	test_note("cluster_bits %u raw %#llx", geo->cluster_bits, (unsigned long long)raw);
	memset(&entry, 0xa5, sizeof(entry));
	EXPECT_VERDICT(qcow2_l2_decode(geo, raw, 0, &entry), QCOW2_OK);
	EXPECT_EQ(entry.kind, kind);
	EXPECT_EQ(entry.hoff, hoff);
	EXPECT_EQ(entry.has_host, hoff != 0);
	EXPECT_EQ(entry.copied, copied);
	EXPECT_EQ(entry.compressed_length, 0);
	EXPECT_EQ(entry.alloc, 0);
	EXPECT_EQ(entry.zero, 0);
	EXPECT_VERDICT(qcow2_l2_check(geo, raw, 0), QCOW2_OK);
}

static enum qcow2_verdict l2(const struct qcow2_geometry *geo, u64 raw)
{
	struct qcow2_l2_entry entry;

	test_note("cluster_bits %u raw %#llx", geo->cluster_bits, (unsigned long long)raw);
	return qcow2_l2_decode(geo, raw, 0, &entry);
}

TEST(l2_entry_of_every_kind_in_every_cluster_size)
{
	for (u32 bits = 9; bits <= 21; bits++) {
		struct qcow2_geometry geo = geometry(3, bits);
		const u64 places[] = { geo.cluster_size, 1ULL << 40, last_cluster(&geo) };

		expect_l2(&geo, 0, QCOW2_CLUSTER_UNALLOCATED, 0, false);
		expect_l2(&geo, ZERO, QCOW2_CLUSTER_ZERO_PLAIN, 0, false);
		for (u32 i = 0; i < 3; i++) {
			u64 at = places[i];

			expect_l2(&geo, at, QCOW2_CLUSTER_DATA, at, false);
			expect_l2(&geo, at | COPIED, QCOW2_CLUSTER_DATA, at, true);
			expect_l2(&geo, at | ZERO, QCOW2_CLUSTER_ZERO_ALLOC, at, false);
			expect_l2(&geo, at | COPIED | ZERO, QCOW2_CLUSTER_ZERO_ALLOC, at, true);
		}
	}
}

TEST(l2_entry_copied_without_an_offset_is_nothing)
{
	struct qcow2_geometry geo = geometry(3, 16);

	expect_l2(&geo, COPIED, QCOW2_CLUSTER_UNALLOCATED, 0, false);
	expect_l2(&geo, COPIED | ZERO, QCOW2_CLUSTER_ZERO_PLAIN, 0, false);
}

TEST(l2_entry_is_encoded_as_it_is_decoded)
{
	const u64 at = 0x7f0000;

	EXPECT_EQ(qcow2_l2_encode(QCOW2_CLUSTER_UNALLOCATED, at, true), 0);
	EXPECT_EQ(qcow2_l2_encode(QCOW2_CLUSTER_ZERO_PLAIN, at, true), ZERO);
	EXPECT_EQ(qcow2_l2_encode(QCOW2_CLUSTER_ZERO_ALLOC, at, false), at | ZERO);
	EXPECT_EQ(qcow2_l2_encode(QCOW2_CLUSTER_ZERO_ALLOC, at, true), at | ZERO | COPIED);
	EXPECT_EQ(qcow2_l2_encode(QCOW2_CLUSTER_DATA, at, false), at);
	EXPECT_EQ(qcow2_l2_encode(QCOW2_CLUSTER_DATA, at, true), at | COPIED);
	EXPECT_EQ(qcow2_l2_encode(QCOW2_CLUSTER_SUBCLUSTERS, at, true), at | COPIED);
	EXPECT_EQ(qcow2_l2_encode(QCOW2_CLUSTER_SUBCLUSTERS, 0, false), 0);
	EXPECT_EQ(qcow2_l2_encode(QCOW2_CLUSTER_COMPRESSED, at, false), 0);
	EXPECT_EQ(qcow2_l2_encode_bitmap(1, 0), 1);
	EXPECT_EQ(qcow2_l2_encode_bitmap(0, 1), 1ULL << 32);
	EXPECT_EQ(qcow2_l2_encode_bitmap(0x80000000, 0x40000000), 0x4000000080000000ULL);
}

TEST(l2_entry_is_cluster_aligned)
{
	for (u32 bits = 9; bits <= 21; bits++) {
		struct qcow2_geometry geo = geometry(3, bits);

		for (u32 bit = 9; bit < bits; bit++) {
			u64 raw = 1ULL << 40 | 1ULL << bit;

			EXPECT_VERDICT(l2(&geo, raw), QCOW2_L2_ENTRY_UNALIGNED);
			EXPECT_VERDICT(l2(&geo, raw | ZERO), QCOW2_L2_ENTRY_UNALIGNED);
			EXPECT_VERDICT(l2(&geo, 1ULL << bit | COPIED), QCOW2_L2_ENTRY_UNALIGNED);
			EXPECT_VERDICT(qcow2_l2_check(&geo, raw, 0), QCOW2_L2_ENTRY_UNALIGNED);
		}
	}
}

TEST(l2_entry_zero_flag_is_refused_in_version_2)
{
	struct qcow2_geometry geo = geometry(2, 16);

	EXPECT_VERDICT(l2(&geo, ZERO), QCOW2_L2_ENTRY_ZERO_V2);
	EXPECT_VERDICT(l2(&geo, 0x50000 | ZERO), QCOW2_L2_ENTRY_ZERO_V2);
	EXPECT_VERDICT(l2(&geo, 0x50000 | ZERO | COPIED), QCOW2_L2_ENTRY_ZERO_V2);
	EXPECT_VERDICT(qcow2_l2_check(&geo, ZERO, 0), QCOW2_L2_ENTRY_ZERO_V2);
	EXPECT_VERDICT(l2(&geo, 0x50000 | COPIED), QCOW2_OK);
	/* bit 0 of a compressed entry is one of its offset */
	EXPECT_VERDICT(l2(&geo, COMPRESSED | 0x50001), QCOW2_OK);
}

TEST(l2_entry_reserved_bits_are_ignored_and_a_check_tells_them)
{
	struct qcow2_geometry geo = geometry(3, 16);
	struct qcow2_l2_entry entry;

	for (u32 bit = 1; bit < 62; bit++) {
		u64 raw = 0x50000 | COPIED | 1ULL << bit;

		if (bit >= 9 && bit < 56)
			continue;
		test_note("bit %u", bit);
		EXPECT_VERDICT(qcow2_l2_decode(&geo, raw, 0, &entry), QCOW2_OK);
		EXPECT_EQ(entry.kind, QCOW2_CLUSTER_DATA);
		EXPECT_EQ(entry.hoff, 0x50000);
		EXPECT_VERDICT(qcow2_l2_check(&geo, raw, 0), QCOW2_L2_ENTRY_RESERVED);
		EXPECT_VERDICT(qcow2_l2_decode(&geo, 1ULL << bit, 0, &entry), QCOW2_OK);
		EXPECT_EQ(entry.kind, QCOW2_CLUSTER_UNALLOCATED);
		EXPECT_VERDICT(qcow2_l2_check(&geo, 1ULL << bit, 0), QCOW2_L2_ENTRY_RESERVED);
	}
}

/* A compressed entry at @hoff with @more sectors after its first one. */
static u64 packed(u32 bits, u64 hoff, u64 more)
{
	return COMPRESSED | more << (70 - bits) | hoff;
}

TEST(compressed_entry_has_offset_and_length_in_every_cluster_size)
{
	for (u32 bits = 9; bits <= 21; bits++) {
		struct qcow2_geometry geo = geometry(3, bits);
		const u64 most = (1ULL << (bits - 8)) - 1;	/* of the field of sectors */
		const u64 hoffs[] = { 0x50000, 0x50001, 0x501ff, 0x5fe00, 0x5ffff };
		struct qcow2_l2_entry entry;

		for (u32 i = 0; i < 15; i++) {
			u64 hoff = hoffs[i % 5], more = i < 5 ? 0 : i < 10 ? 1 : most;

			test_note("cluster_bits %u hoff %#llx more %#llx", bits,
				  (unsigned long long)hoff, (unsigned long long)more);
			EXPECT_VERDICT(qcow2_l2_decode(&geo, packed(bits, hoff, more), 0, &entry),
				       QCOW2_OK);
			EXPECT_EQ(entry.kind, QCOW2_CLUSTER_COMPRESSED);
			EXPECT_EQ(entry.hoff, hoff);
			EXPECT_EQ(entry.compressed_length, (more + 1) * 512 - hoff % 512);
			EXPECT(!entry.has_host);
			EXPECT(!entry.copied);
			EXPECT_VERDICT(qcow2_l2_check(&geo, packed(bits, hoff, more), 0), QCOW2_OK);
		}
	}
}

TEST(compressed_entry_has_at_most_two_clusters)
{
	for (u32 bits = 9; bits <= 21; bits++) {
		struct qcow2_geometry geo = geometry(3, bits);
		struct qcow2_l2_entry entry;

		test_note("cluster_bits %u", bits);
		EXPECT_VERDICT(qcow2_l2_decode(&geo, packed(bits, 1ULL << 40, (1 << (bits - 8)) - 1),
					       0, &entry), QCOW2_OK);
		EXPECT_EQ(entry.hoff, 1ULL << 40);
		EXPECT_EQ(entry.compressed_length, 2 * geo.cluster_size);
	}
}

TEST(compressed_data_may_straddle_clusters)
{
	for (u32 bits = 9; bits <= 21; bits++) {
		struct qcow2_geometry geo = geometry(3, bits);
		const u64 size = geo.cluster_size, at = 1ULL << 40;

		test_note("cluster_bits %u", bits);
		EXPECT_EQ(qcow2_compressed_last_clu(&geo, at, 1), at / size);
		EXPECT_EQ(qcow2_compressed_last_clu(&geo, at, size), at / size);
		EXPECT_EQ(qcow2_compressed_last_clu(&geo, at, size + 1), at / size + 1);
		EXPECT_EQ(qcow2_compressed_last_clu(&geo, at + size - 1, 1), at / size);
		EXPECT_EQ(qcow2_compressed_last_clu(&geo, at + size - 1, 2), at / size + 1);
		EXPECT_EQ(qcow2_compressed_last_clu(&geo, at + size - 1, size + 2), at / size + 2);
		EXPECT_EQ(qcow2_compressed_last_clu(&geo, QCOW2_MAX_HOFF - 512, 512),
			  QCOW2_MAX_HOFF / size - 1);
	}
}

TEST(compressed_entry_copied_is_refused)
{
	for (u32 bits = 9; bits <= 21; bits++) {
		struct qcow2_geometry geo = geometry(3, bits);

		EXPECT_VERDICT(l2(&geo, packed(bits, 0x50123, 1) | COPIED), QCOW2_L2_ENTRY_COMPRESSED);
		EXPECT_VERDICT(l2(&geo, COMPRESSED | COPIED), QCOW2_L2_ENTRY_COMPRESSED);
		EXPECT_VERDICT(qcow2_l2_check(&geo, packed(bits, 0x50123, 1) | COPIED, 0),
			       QCOW2_L2_ENTRY_COMPRESSED);
	}
}

TEST(compressed_entry_ends_at_2_to_56)
{
	/* Above clusters of 16 KiB the field of the offset ends before that. */
	for (u32 bits = 9; bits <= 14; bits++) {
		struct qcow2_geometry geo = geometry(3, bits);

		EXPECT_VERDICT(l2(&geo, packed(bits, QCOW2_MAX_HOFF - 512, 0)), QCOW2_OK);
		EXPECT_VERDICT(l2(&geo, packed(bits, QCOW2_MAX_HOFF - 1, 0)), QCOW2_OK);
		EXPECT_VERDICT(l2(&geo, packed(bits, QCOW2_MAX_HOFF - 512, 1)),
			       QCOW2_L2_ENTRY_COMPRESSED);
		EXPECT_VERDICT(l2(&geo, packed(bits, QCOW2_MAX_HOFF - 1, 1)),
			       QCOW2_L2_ENTRY_COMPRESSED);
		EXPECT_VERDICT(l2(&geo, packed(bits, QCOW2_MAX_HOFF - 1024, 1)), QCOW2_OK);
		for (u32 bit = 56; bit < 70 - bits; bit++)
			EXPECT_VERDICT(l2(&geo, packed(bits, 1ULL << bit, 0)),
				       QCOW2_L2_ENTRY_COMPRESSED);
	}
	for (u32 bits = 15; bits <= 21; bits++) {
		struct qcow2_geometry geo = geometry(3, bits);

		EXPECT_VERDICT(l2(&geo, COMPRESSED | (COMPRESSED - 1)), QCOW2_OK);
	}
}

TEST(reftable_entry_is_an_aligned_offset_below_2_to_56)
{
	for (u32 bits = 9; bits <= 21; bits++) {
		struct qcow2_geometry geo = geometry(3, bits);
		u64 hoff, last = last_cluster(&geo);

		test_note("cluster_bits %u", bits);
		EXPECT_VERDICT(qcow2_reftable_decode(&geo, 0, &hoff), QCOW2_OK);
		EXPECT_EQ(hoff, 0);
		EXPECT_VERDICT(qcow2_reftable_decode(&geo, last, &hoff), QCOW2_OK);
		EXPECT_EQ(hoff, last);
		EXPECT_VERDICT(qcow2_reftable_check(&geo, last), QCOW2_OK);
		for (u32 bit = 9; bit < bits; bit++) {
			EXPECT_VERDICT(qcow2_reftable_decode(&geo, last | 1ULL << bit, &hoff),
				       QCOW2_REFTABLE_ENTRY_UNALIGNED);
			EXPECT_VERDICT(qcow2_reftable_check(&geo, last | 1ULL << bit),
				       QCOW2_REFTABLE_ENTRY_UNALIGNED);
		}
		for (u32 bit = 56; bit < 64; bit++) {
			EXPECT_VERDICT(qcow2_reftable_decode(&geo, 1ULL << bit, &hoff),
				       QCOW2_REFTABLE_ENTRY_RANGE);
			EXPECT_VERDICT(qcow2_reftable_check(&geo, last | 1ULL << bit),
				       QCOW2_REFTABLE_ENTRY_RANGE);
		}
	}
}

TEST(reftable_entry_reserved_bits_are_ignored_and_a_check_tells_them)
{
	struct qcow2_geometry geo = geometry(3, 16);
	u64 hoff;

	for (u32 bit = 0; bit < 9; bit++) {
		test_note("bit %u", bit);
		EXPECT_VERDICT(qcow2_reftable_decode(&geo, 0x50000 | 1ULL << bit, &hoff), QCOW2_OK);
		EXPECT_EQ(hoff, 0x50000);
		EXPECT_VERDICT(qcow2_reftable_check(&geo, 0x50000 | 1ULL << bit),
			       QCOW2_REFTABLE_ENTRY_RESERVED);
		EXPECT_VERDICT(qcow2_reftable_check(&geo, 1ULL << bit),
			       QCOW2_REFTABLE_ENTRY_RESERVED);
	}
}
