// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Entries of the snapshot table.
 */
#include <string.h>
#include "geometry.h"
#include "sample.h"

#define FIXED	40
#define EXTRA	24
#define ID	"17"
#define NAME	"before the upgrade"
#define BYTES	(FIXED + EXTRA + 2 + 18)	/* 84: four bytes of padding follow */
#define LEN	88
#define MOST	(64 * MIB)			/* of a table */

/* An entry as QEMU writes it, at @disk, with an id and a name of their own. */
static void fill(struct qcow2_snapshot_disk *disk)
{
	struct qcow2_snapshot_extra_disk *extra = (void *)(disk + 1);

	PUT(disk->l1_table_offset, 0x1122334450000ULL);
	PUT(disk->l1_size, 0x12345);
	PUT(disk->id_str_size, 2);
	PUT(disk->name_size, 18);
	PUT(disk->date_sec, 0x80000001);
	PUT(disk->date_nsec, 999999999);
	PUT(disk->vm_clock_nsec, 0x99aabbccddeeff00ULL);
	PUT(disk->vm_state_size, 0x01020304);
	PUT(disk->extra_data_size, EXTRA);
	PUT(extra->vm_state_size_large, 0x0102030405060708ULL);
	PUT(extra->disk_size, 5 * GIB);
	PUT(extra->icount, 0x1234567890ULL);
	memcpy(extra + 1, ID NAME, 20);
}

static struct qcow2_snapshot_disk *entry(void)
{
	struct qcow2_snapshot_disk *disk = test_buffer(NULL, LEN);

	fill(disk);
	return disk;
}

TEST(snapshot_is_decoded_field_by_field)
{
	struct qcow2_snapshot snap;

	EXPECT_VERDICT(qcow2_snapshot_decode(entry(), LEN, 0, &snap), QCOW2_OK);
	EXPECT_EQ(snap.l1_table_offset, 0x1122334450000ULL);
	EXPECT_EQ(snap.l1_size, 0x12345);
	EXPECT_EQ(snap.date_sec, 0x80000001);
	EXPECT_EQ(snap.date_nsec, 999999999);
	EXPECT_EQ(snap.vm_clock_nsec, 0x99aabbccddeeff00ULL);
	EXPECT_EQ(snap.vm_state_size, 0x0102030405060708ULL);
	EXPECT_EQ(snap.disk_size, 5 * GIB);
	EXPECT_EQ(snap.icount, 0x1234567890ULL);
	EXPECT_EQ(snap.extra_data_size, EXTRA);
	EXPECT_EQ(snap.id.offset, 64);
	EXPECT_EQ(snap.id.length, 2);
	EXPECT_EQ(snap.name.offset, 66);
	EXPECT_EQ(snap.name.length, 18);
	EXPECT_EQ(snap.length, LEN);
}

TEST(snapshot_strings_count_from_the_start_of_the_table)
{
	u8 *table = test_buffer(NULL, 3 * LEN);
	struct qcow2_snapshot snap;
	u64 offset;

	for (offset = 0; offset < 3 * LEN; offset += LEN)
		fill((void *)(table + offset));
	for (offset = 0; offset < 3 * LEN; offset += snap.length) {
		test_note("at %u", (unsigned int)offset);
		EXPECT_VERDICT(qcow2_snapshot_decode(table, 3 * LEN, offset, &snap), QCOW2_OK);
		EXPECT_EQ(snap.id.offset, offset + 64);
		EXPECT_EQ(snap.name.offset, offset + 66);
		EXPECT(!memcmp(table + snap.name.offset, NAME, 18));
	}
	EXPECT_EQ(offset, 3 * LEN);
}

TEST(snapshot_padding_of_the_last_entry_may_be_missing)
{
	struct qcow2_snapshot snap;

	EXPECT_VERDICT(qcow2_snapshot_decode(test_buffer(entry(), BYTES), BYTES, 0, &snap), QCOW2_OK);
	EXPECT_EQ(snap.length, LEN);
}

TEST(snapshot_never_leaves_the_bytes_given)
{
	struct qcow2_snapshot_disk *whole = entry();
	struct qcow2_snapshot snap;
	u64 len;

	for (len = 0; len < BYTES; len++) {
		test_note("%u bytes", (unsigned int)len);
		EXPECT_VERDICT(qcow2_snapshot_decode(test_buffer(whole, len), len, 0, &snap),
			       QCOW2_SNAPSHOT_RANGE);
	}
	EXPECT_VERDICT(qcow2_snapshot_decode(whole, LEN, LEN, &snap), QCOW2_SNAPSHOT_RANGE);
	EXPECT_VERDICT(qcow2_snapshot_decode(whole, LEN, LEN + 8, &snap), QCOW2_SNAPSHOT_RANGE);
	PUT(whole->name_size, 0xffff);
	EXPECT_VERDICT(qcow2_snapshot_decode(whole, LEN, 0, &snap), QCOW2_SNAPSHOT_RANGE);
	PUT(whole->name_size, 0);
	PUT(whole->id_str_size, 0xffff);
	EXPECT_VERDICT(qcow2_snapshot_decode(whole, LEN, 0, &snap), QCOW2_SNAPSHOT_RANGE);
}

TEST(snapshot_length_is_padded_to_8)
{
	struct qcow2_snapshot_disk *disk = entry();
	struct qcow2_snapshot snap;
	u32 size;

	for (size = 0; size <= 20; size++) {
		test_note("name of %u", size);
		PUT(disk->name_size, size > 18 ? 18 : size);
		EXPECT_VERDICT(qcow2_snapshot_decode(disk, LEN, 0, &snap), QCOW2_OK);
		EXPECT_EQ(snap.length % 8, 0);
		EXPECT(snap.length >= FIXED + EXTRA + 2 + snap.name.length);
		EXPECT(snap.length < FIXED + EXTRA + 2 + snap.name.length + 8);
	}
}

TEST(snapshot_extra_data_counts_as_far_as_it_goes)
{
	struct qcow2_snapshot_disk *disk = entry();
	struct qcow2_snapshot snap;
	u32 size;

	PUT(disk->id_str_size, 0);
	PUT(disk->name_size, 0);
	for (size = 0; size <= 48; size++) {
		test_note("%u bytes", size);
		PUT(disk->extra_data_size, size);
		EXPECT_VERDICT(qcow2_snapshot_decode(test_buffer(disk, FIXED + size), FIXED + size, 0,
						     &snap), QCOW2_OK);
		EXPECT_EQ(snap.vm_state_size, size < 8 ? 0x01020304 : 0x0102030405060708ULL);
		EXPECT_EQ(snap.disk_size, size < 16 ? QCOW2_SNAPSHOT_NONE : 5 * GIB);
		EXPECT_EQ(snap.icount, size < 24 ? QCOW2_SNAPSHOT_NONE : 0x1234567890ULL);
		EXPECT_EQ(snap.extra_data_size, size);
	}
}

TEST(snapshot_extra_data_is_at_most_1024_bytes)
{
	struct qcow2_snapshot_disk *disk = test_buffer(NULL, FIXED + 1032);
	struct qcow2_snapshot snap;

	PUT(disk->extra_data_size, 1024);
	EXPECT_VERDICT(qcow2_snapshot_decode(disk, FIXED + 1032, 0, &snap), QCOW2_OK);
	EXPECT_EQ(snap.id.offset, FIXED + 1024);
	PUT(disk->extra_data_size, 1025);
	EXPECT_VERDICT(qcow2_snapshot_decode(disk, FIXED + 1032, 0, &snap), QCOW2_SNAPSHOT_EXTRA);
	/* in 32 bits these would end inside the entry */
	PUT(disk->extra_data_size, 0xffffffff);
	EXPECT_VERDICT(qcow2_snapshot_decode(disk, FIXED + 1032, 0, &snap), QCOW2_SNAPSHOT_EXTRA);
	PUT(disk->extra_data_size, -FIXED);
	EXPECT_VERDICT(qcow2_snapshot_decode(disk, FIXED + 1032, 0, &snap), QCOW2_SNAPSHOT_EXTRA);
}

TEST(snapshot_table_is_at_most_64_mib)
{
	const u64 len = MOST + LEN;
	u8 *table = test_buffer(NULL, len);
	struct qcow2_snapshot snap;

	fill((void *)(table + MOST - LEN));
	EXPECT_VERDICT(qcow2_snapshot_decode(table, len, MOST - LEN, &snap), QCOW2_OK);
	EXPECT_EQ(snap.name.offset, MOST - LEN + 66);
	fill((void *)(table + MOST - LEN + 8));
	EXPECT_VERDICT(qcow2_snapshot_decode(table, len, MOST - LEN + 8, &snap),
		       QCOW2_SNAPSHOT_TABLE_TOO_LARGE);
	fill((void *)(table + MOST));
	EXPECT_VERDICT(qcow2_snapshot_decode(table, len, MOST, &snap),
		       QCOW2_SNAPSHOT_TABLE_TOO_LARGE);
	EXPECT_VERDICT(qcow2_snapshot_decode(table, len, MOST + 8, &snap),
		       QCOW2_SNAPSHOT_TABLE_TOO_LARGE);
	EXPECT_VERDICT(qcow2_snapshot_decode(table, len, ~7ULL, &snap),
		       QCOW2_SNAPSHOT_TABLE_TOO_LARGE);
}

/* May a table of @size entries at @offset be read? */
static enum qcow2_verdict table(u32 bits, u64 offset, u32 size)
{
	struct qcow2_snapshot snap = { .l1_table_offset = offset, .l1_size = size };
	struct qcow2_geometry geo;

	test_note("cluster_bits %u offset %#llx size %#x", bits, (unsigned long long)offset, size);
	qcow2_geometry_init(&geo, 3, bits, 4, false, false, GIB);
	return qcow2_snapshot_l1(&geo, &snap);
}

TEST(snapshot_l1_holds_at_most_32_mib_of_entries)
{
	EXPECT_VERDICT(table(16, 0x50000, 4194304), QCOW2_OK);
	EXPECT_VERDICT(table(16, 0x50000, 4194305), QCOW2_SNAPSHOT_L1);
	EXPECT_VERDICT(table(16, 0x50000, 0x20000001), QCOW2_SNAPSHOT_L1);
	EXPECT_VERDICT(table(16, 0x50000, 0xffffffff), QCOW2_SNAPSHOT_L1);
}

TEST(snapshot_l1_has_a_place_unless_it_is_empty)
{
	EXPECT_VERDICT(table(16, 0, 0), QCOW2_OK);
	EXPECT_VERDICT(table(16, 0, 1), QCOW2_SNAPSHOT_L1);
	EXPECT_VERDICT(table(16, 0x10000, 1), QCOW2_OK);
}

TEST(snapshot_l1_is_aligned_and_below_2_to_56)
{
	for (u32 bits = 9; bits <= 21; bits++) {
		const u64 last = QCOW2_MAX_HOFF - QCOW2_MAX_L1_BYTES;

		for (u32 bit = 0; bit < bits; bit++) {
			EXPECT_VERDICT(table(bits, 1ULL << 40 | 1ULL << bit, 1), QCOW2_SNAPSHOT_L1);
			EXPECT_VERDICT(table(bits, 1ULL << bit, 0), QCOW2_SNAPSHOT_L1);
		}
		EXPECT_VERDICT(table(bits, last, 4194304), QCOW2_OK);
		EXPECT_VERDICT(table(bits, last + (1ULL << bits), 4194304), QCOW2_SNAPSHOT_L1);
		for (u32 bit = 56; bit < 64; bit++)
			EXPECT_VERDICT(table(bits, 1ULL << bit, 1), QCOW2_SNAPSHOT_L1);
	}
}

TEST(snapshot_is_encoded_as_it_was)
{
	struct qcow2_snapshot_disk *disk = entry(), again;
	struct qcow2_snapshot_extra_disk extra;
	struct qcow2_snapshot snap;

	PUT(disk->vm_state_size, 0);	/* the large field says what 32 bits do not hold */
	EXPECT_VERDICT(qcow2_snapshot_decode(disk, LEN, 0, &snap), QCOW2_OK);
	memset(&again, 0xa5, sizeof(again));
	memset(&extra, 0xa5, sizeof(extra));
	qcow2_snapshot_encode(&snap, &again, &extra);
	EXPECT(!memcmp(&again, disk, FIXED));
	EXPECT(!memcmp(&extra, disk + 1, EXTRA));
}

TEST(snapshot_state_is_in_both_fields_if_it_fits)
{
	struct qcow2_snapshot snap = { .vm_state_size = 0xffffffff };
	struct qcow2_snapshot_disk disk;
	struct qcow2_snapshot_extra_disk extra;

	qcow2_snapshot_encode(&snap, &disk, &extra);
	EXPECT_EQ(disk.vm_state_size, 0xffffffff);
	EXPECT(!memcmp(&extra.vm_state_size_large, "\0\0\0\0\xff\xff\xff\xff", 8));
	snap.vm_state_size++;
	qcow2_snapshot_encode(&snap, &disk, &extra);
	EXPECT_EQ(disk.vm_state_size, 0);
	EXPECT(!memcmp(&extra.vm_state_size_large, "\0\0\0\1\0\0\0\0", 8));
}
