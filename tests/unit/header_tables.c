// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * The tables that the header points to: how large they may be, where they may
 * lie, and that they share no cluster.
 */
#include "format.h"
#include "harness.h"
#include "sample.h"

/* A table offset at all edges; @bytes is what the table takes there. */
#define EXPECT_TABLE(disk, field, bytes, unaligned, range)		\
	do {								\
		const uint64_t last_ = (1ULL << 56) - (bytes);		\
		const uint64_t place_ = last_ & ~0xffffULL;		\
									\
		PUT(disk.field, place_);				\
		EXPECT_VERDICT(decode(&disk), QCOW2_OK);		\
		PUT(disk.field, place_ + 0x10000);			\
		EXPECT_VERDICT(decode(&disk), range);			\
		PUT(disk.field, 1ULL << 63);				\
		EXPECT_VERDICT(decode(&disk), range);			\
		PUT(disk.field, ~0xffffULL);				\
		EXPECT_VERDICT(decode(&disk), range);			\
		for (unsigned int bit_ = 0; bit_ < 16; bit_++) {	\
			test_note("bit %u", bit_);			\
			PUT(disk.field, place_ | 1ULL << bit_);		\
			EXPECT_VERDICT(decode(&disk), unaligned);	\
		}							\
	} while (0)

TEST(header_l1_covers_the_size_before_it_is_rounded)
{
	/* an L1 entry maps 512 MiB */
	EXPECT_VERDICT(WITH(3, l1_size, 1), QCOW2_L1_TOO_SMALL);
	EXPECT_VERDICT(WITH(3, l1_size, 0), QCOW2_L1_TOO_SMALL);
	EXPECT_VERDICT(WITH(3, l1_size, 3), QCOW2_OK);
	EXPECT_VERDICT(WITH(3, size, GIB + 1), QCOW2_L1_TOO_SMALL);
	EXPECT_VERDICT(WITH(3, size, GIB - 1), QCOW2_OK);
}

TEST(header_l1_of_an_empty_disk_may_be_absent)
{
	struct qcow2_header_disk disk = sample(3);

	PUT(disk.size, 0);
	PUT(disk.l1_size, 0);
	PUT(disk.l1_table_offset, 0);
	EXPECT_VERDICT(decode(&disk), QCOW2_OK);
	PUT(disk.size, 1);
	EXPECT_VERDICT(decode(&disk), QCOW2_L1_TOO_SMALL);
}

TEST(header_l1_holds_at_most_32_mib_of_entries)
{
	struct qcow2_header_disk disk = sample(3);

	PUT(disk.l1_table_offset, GIB);
	PUT(disk.l1_size, 4194304);
	EXPECT_VERDICT(decode(&disk), QCOW2_OK);
	PUT(disk.l1_size, 4194305);
	EXPECT_VERDICT(decode(&disk), QCOW2_L1_TOO_LARGE);
	PUT(disk.l1_size, 0xffffffff);
	EXPECT_VERDICT(decode(&disk), QCOW2_L1_TOO_LARGE);
	/* as a product in 32 bits these would be small */
	PUT(disk.l1_size, 0x20000002);
	EXPECT_VERDICT(decode(&disk), QCOW2_L1_TOO_LARGE);
}

TEST(header_size_beyond_any_l1_is_refused_for_every_cluster_size)
{
	for (unsigned int bits = 9; bits <= 21; bits++) {
		struct qcow2_header_disk disk = sample_bits(bits);
		uint64_t most = (4194304ULL << (bits - 3)) << bits;

		test_note("cluster_bits %u", bits);
		PUT(disk.l1_size, 4194304);
		PUT(disk.size, most);
		EXPECT_VERDICT(decode(&disk), QCOW2_OK);
		PUT(disk.size, most + 1);
		EXPECT_VERDICT(decode(&disk), QCOW2_BAD_SIZE);
		for (uint64_t huge = ~0ULL; huge > most; huge >>= 1) {
			PUT(disk.size, huge);
			EXPECT_VERDICT(decode(&disk), QCOW2_BAD_SIZE);
			PUT(disk.size, huge - 510);
			EXPECT_VERDICT(decode(&disk), QCOW2_BAD_SIZE);
		}
	}
}

TEST(header_extended_l2_halves_what_an_l1_entry_maps)
{
	struct qcow2_header_disk disk = sample(3);

	PUT(disk.incompatible_features, QCOW2_INCOMPAT_EXTENDED_L2);
	EXPECT_VERDICT(decode(&disk), QCOW2_L1_TOO_SMALL);
	PUT(disk.l1_size, 4);
	EXPECT_VERDICT(decode(&disk), QCOW2_OK);
}

TEST(header_l1_table_is_aligned_and_below_2_to_56)
{
	struct qcow2_header_disk disk = sample(3);

	PUT(disk.l1_size, 4194304);
	EXPECT_TABLE(disk, l1_table_offset, 32 * MIB, QCOW2_L1_UNALIGNED,
		     QCOW2_L1_RANGE);
	PUT(disk.l1_size, 2);
	EXPECT_TABLE(disk, l1_table_offset, 16, QCOW2_L1_UNALIGNED,
		     QCOW2_L1_RANGE);
}

TEST(header_refcount_table_is_aligned_and_below_2_to_56)
{
	struct qcow2_header_disk disk = sample(3);

	EXPECT_TABLE(disk, refcount_table_offset, 65536,
		     QCOW2_REFTABLE_UNALIGNED, QCOW2_REFTABLE_RANGE);
	PUT(disk.refcount_table_clusters, 128);
	EXPECT_TABLE(disk, refcount_table_offset, 8 * MIB,
		     QCOW2_REFTABLE_UNALIGNED, QCOW2_REFTABLE_RANGE);
}

TEST(header_snapshots_are_aligned_and_below_2_to_56)
{
	struct qcow2_header_disk disk = sample(3);

	PUT(disk.nb_snapshots, 65536);
	EXPECT_TABLE(disk, snapshots_offset, 65536 * 40,
		     QCOW2_SNAPSHOTS_UNALIGNED, QCOW2_SNAPSHOTS_RANGE);
}

TEST(header_snapshots_offset_is_checked_without_snapshots_too)
{
	EXPECT_VERDICT(WITH(3, snapshots_offset, 0), QCOW2_OK);
	EXPECT_VERDICT(WITH(3, snapshots_offset, 0x70000), QCOW2_OK);
	EXPECT_VERDICT(WITH(3, snapshots_offset, 0x70001),
		       QCOW2_SNAPSHOTS_UNALIGNED);
	EXPECT_VERDICT(WITH(3, snapshots_offset, 1ULL << 57),
		       QCOW2_SNAPSHOTS_RANGE);
}

TEST(header_snapshots_are_at_most_65536)
{
	struct qcow2_header_disk disk = sample(3);

	PUT(disk.snapshots_offset, 0x1000000);
	PUT(disk.nb_snapshots, 65536);
	EXPECT_VERDICT(decode(&disk), QCOW2_OK);
	PUT(disk.nb_snapshots, 65537);
	EXPECT_VERDICT(decode(&disk), QCOW2_SNAPSHOTS_TOO_MANY);
	PUT(disk.nb_snapshots, 0xffffffff);
	EXPECT_VERDICT(decode(&disk), QCOW2_SNAPSHOTS_TOO_MANY);
}

TEST(header_refcount_table_is_at_most_8_mib_in_every_cluster_size)
{
	for (unsigned int bits = 9; bits <= 21; bits++) {
		struct qcow2_header_disk disk = sample_bits(bits);

		test_note("cluster_bits %u", bits);
		PUT(disk.refcount_table_clusters, 8 * MIB >> bits);
		EXPECT_VERDICT(decode(&disk), QCOW2_OK);
		PUT(disk.refcount_table_clusters, (8 * MIB >> bits) + 1);
		EXPECT_VERDICT(decode(&disk), QCOW2_REFTABLE_TOO_LARGE);
		/* 0x00800001 << 9 is 512 in 32 bits */
		PUT(disk.refcount_table_clusters, (1ULL << (32 - bits)) + 1);
		EXPECT_VERDICT(decode(&disk), QCOW2_REFTABLE_TOO_LARGE);
		PUT(disk.refcount_table_clusters, 0xffffffff);
		EXPECT_VERDICT(decode(&disk), QCOW2_REFTABLE_TOO_LARGE);
	}
}

TEST(header_empty_refcount_table_is_reported_last)
{
	struct qcow2_header_disk disk = sample(3);

	PUT(disk.refcount_table_clusters, 0);
	EXPECT_VERDICT(decode(&disk), QCOW2_REFTABLE_EMPTY);
	PUT(disk.l1_table_offset, 0);
	EXPECT_VERDICT(decode(&disk), QCOW2_TABLES_OVERLAP);
	PUT(disk.l1_table_offset, 0x30000);
	PUT(disk.snapshots_offset, 1);
	EXPECT_VERDICT(decode(&disk), QCOW2_SNAPSHOTS_UNALIGNED);
}

TEST(header_tables_do_not_overlap_the_header)
{
	EXPECT_VERDICT(WITH(3, l1_table_offset, 0), QCOW2_TABLES_OVERLAP);
	EXPECT_VERDICT(WITH(3, refcount_table_offset, 0), QCOW2_TABLES_OVERLAP);
	EXPECT_VERDICT(WITH(3, nb_snapshots, 1), QCOW2_TABLES_OVERLAP);
}

TEST(header_tables_do_not_overlap_each_other)
{
	struct qcow2_header_disk disk = sample(3);

	/* L1 of 8193 entries takes two clusters */
	PUT(disk.l1_size, 8193);
	PUT(disk.refcount_table_offset, 0x60000);
	PUT(disk.refcount_table_clusters, 3);
	PUT(disk.nb_snapshots, 1639);	/* two clusters as well, by a byte */
	PUT(disk.snapshots_offset, 0x100000);
	EXPECT_VERDICT(decode(&disk), QCOW2_OK);
	for (uint64_t l1 = 0x10000; l1 < 0x180000; l1 += 0x10000) {
		test_note("l1_table_offset %#llx", (unsigned long long)l1);
		PUT(disk.l1_table_offset, l1);
		EXPECT_VERDICT(decode(&disk),
			       (l1 >= 0x50000 && l1 <= 0x80000) ||
			       (l1 >= 0xf0000 && l1 <= 0x110000) ?
			       QCOW2_TABLES_OVERLAP : QCOW2_OK);
	}
	PUT(disk.l1_table_offset, 0x10000);
	PUT(disk.snapshots_offset, 0x80000);
	EXPECT_VERDICT(decode(&disk), QCOW2_TABLES_OVERLAP);
	PUT(disk.snapshots_offset, 0x90000);
	EXPECT_VERDICT(decode(&disk), QCOW2_OK);
}
