// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * The input is cluster_bits in one byte and a list in the other bytes, which is
 * walked as a snapshot table, and once more as a bitmap directory.
 */
#include "fuzz.h"

/* Both ends of a string in a list of @size bytes. */
static void string_holds(struct qcow2_string string, u64 from, u64 size)
{
	MUST(string.offset >= from && string.offset <= size && string.length <= size - string.offset);
}

struct entry {
	struct qcow2_snapshot_disk disk;
	struct qcow2_snapshot_extra_disk extra;
	uint8_t rest[QCOW2_MAX_SNAPSHOT_EXTRA + 2 * 65536];
} __packed;

static void snapshot_round_trip(const uint8_t *entry, const struct qcow2_snapshot *snap)
{
	struct entry *copy = calloc(1, sizeof(*copy));
	struct qcow2_snapshot again;
	u32 words = snap->extra_data_size / 8 * 8;

	MUST(copy);
	qcow2_snapshot_encode(snap, &copy->disk, &copy->extra);
	MUST(!qcow2_snapshot_decode(copy, sizeof(*copy), 0, &again));
	MUST(again.l1_table_offset == snap->l1_table_offset && again.l1_size == snap->l1_size);
	MUST(again.date_sec == snap->date_sec && again.date_nsec == snap->date_nsec);
	MUST(again.vm_clock_nsec == snap->vm_clock_nsec && again.vm_state_size == snap->vm_state_size);
	MUST(again.disk_size == snap->disk_size && again.icount == snap->icount);
	MUST(again.id.length == snap->id.length && again.name.length == snap->name.length);
	MUST(again.extra_data_size == snap->extra_data_size && again.length == snap->length);
	/* The old field of the VM state's size may differ: 32 bits before extra_data_size. */
	MUST(!memcmp(&copy->disk, entry, 32) && !memcmp((uint8_t *)copy + 36, entry + 36, 4));
	MUST(!memcmp(&copy->extra, entry + 40, words < 24 ? words : 24));
	free(copy);
}

static void snapshots_hold(const struct qcow2_geometry *geo, const uint8_t *table, u64 size)
{
	struct qcow2_snapshot snap, again;
	enum qcow2_verdict verdict;
	u64 offset = 0, bytes, count = 0;

	for (;; offset += snap.length) {
		verdict = qcow2_snapshot_decode(table, size, offset, &snap);
		verdict_holds(verdict);
		if (verdict)
			break;
		MUST(++count <= size / 40);
		MUST(snap.length >= 40 && !(snap.length % 8) && snap.extra_data_size <= 1024);
		string_holds(snap.id, offset + 40 + snap.extra_data_size, size);
		string_holds(snap.name, snap.id.offset + snap.id.length, size);
		/* It needs its own bytes, and no more. */
		bytes = snap.name.offset + snap.name.length;
		MUST(bytes - offset <= snap.length && snap.length - (bytes - offset) < 8);
		MUST(!qcow2_snapshot_decode(table, bytes, offset, &again));
		MUST(!memcmp(&snap, &again, sizeof(snap)));
		MUST(qcow2_snapshot_decode(table, bytes - 1, offset, &again) == QCOW2_SNAPSHOT_RANGE);
		snapshot_round_trip(table + offset, &snap);
		verdict = qcow2_snapshot_l1(geo, &snap);
		verdict_holds(verdict);
		if (verdict)
			continue;
		MUST(aligned(geo, snap.l1_table_offset) && snap.l1_size <= 1U << 22);
		MUST(snap.l1_table_offset + 8ULL * snap.l1_size <= 1ULL << 56);
		MUST(snap.l1_table_offset || !snap.l1_size);
	}
	MUST(qcow2_snapshot_decode(table, size, (64ULL << 20) + 8, &snap) == QCOW2_SNAPSHOT_TABLE_TOO_LARGE);
	/* The caller counts up to a table's limit; what its bytes do not hold is out of range. */
	MUST(qcow2_snapshot_decode(table, size, (size + 7) & ~7ULL, &snap) == QCOW2_SNAPSHOT_RANGE);
}

static void bitmaps_hold(const uint8_t *directory, u64 size)
{
	struct qcow2_bitmap bitmap, again;
	enum qcow2_verdict verdict;
	u64 offset, bytes, count = 0;

	for (offset = 0;; offset += bitmap.length) {
		verdict = qcow2_bitmap_decode(directory, size, offset, &bitmap);
		verdict_holds(verdict);
		if (verdict)
			break;
		MUST(++count <= size / 24);
		MUST(bitmap.length > 24 && !(bitmap.length % 8));
		MUST(bitmap.granularity_bits >= 9 && bitmap.granularity_bits <= 31);
		MUST(bitmap.table_size <= 0x8000000 && !(bitmap.flags >> 3));
		MUST(bitmap.name.length >= 1 && bitmap.name.length <= 1023);
		string_holds(bitmap.name, offset + 24, size);
		bytes = bitmap.name.offset + bitmap.name.length;
		MUST(bytes - offset <= bitmap.length && bitmap.length - (bytes - offset) < 8);
		MUST(!qcow2_bitmap_decode(directory, bytes, offset, &again));
		MUST(!memcmp(&bitmap, &again, sizeof(bitmap)));
		MUST(qcow2_bitmap_decode(directory, bytes - 1, offset, &again) == QCOW2_BITMAP_RANGE);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct qcow2_geometry geo;
	uint8_t *list;

	if (!size)
		return 0;
	/* A list lies at the start of a cluster: aligned. */
	list = malloc(size - 1);
	MUST(list || size == 1);
	memcpy(list, data + 1, size - 1);
	qcow2_geometry_init(&geo, 3, 9 + data[0] % 13, 4, false, false, 1 << 20);
	snapshots_hold(&geo, list, size - 1);
	bitmaps_hold(list, size - 1);
	free(list);
	return 0;
}
