// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * The input is a whole image file. It is walked as the module and the tool do:
 * header, then guest offsets through L1 and L2 to the host, then host clusters
 * through the refcount table, then each snapshot in the same way. What is
 * outside of the file reads as zeros. All work is counted, and bounded by the
 * number of lookups and the size of the file, whatever the image says.
 */
#include <endian.h>
#include "fuzz.h"

struct file {
	const uint8_t *data;
	size_t size;
	u64 reads, limit;	/* of words, so far and at most */
};

/* A lookup is two reads, of L1 and of L2 (two words with bitmaps), or of a count and its block. */
#define LOOKUP_READS	3
#define LOOKUPS		64

static u64 word(struct file *file, u64 hoff)
{
	__be64 value;

	MUST(++file->reads <= file->limit);
	MUST(!(hoff % 8) && hoff < 1ULL << 57);
	if (hoff > file->size || file->size - hoff < sizeof(value))
		return 0;
	memcpy(&value, file->data + hoff, sizeof(value));
	return be64toh(value);
}

/* The parts of an offset make it whole again. */
static void offset_holds(const struct qcow2_geometry *geo, u64 goff)
{
	u64 clu = qcow2_to_clu(geo, goff);
	u32 sub = qcow2_subcluster_index(geo, goff), rest = qcow2_in_subcluster(geo, goff);

	MUST(qcow2_to_off(geo, clu) + qcow2_in_cluster(geo, goff) == goff);
	MUST(sub * qcow2_subcluster_size(geo) + rest == qcow2_in_cluster(geo, goff));
	MUST((qcow2_l1_index(geo, goff) << geo->l2_bits | qcow2_l2_index(geo, goff)) == clu);
	MUST((qcow2_reftable_index(geo, clu) << geo->refblock_bits | qcow2_refblock_index(geo, clu)) == clu);
	MUST(qcow2_slice_start(geo, goff) <= goff && goff - qcow2_slice_start(geo, goff) < qcow2_slice_size(geo));
	MUST(qcow2_subcluster_mask(geo, qcow2_in_cluster(geo, goff), qcow2_in_cluster(geo, goff) + 1) == 1U << sub);
	MUST(aligned(geo, qcow2_round_up(geo, goff)) && qcow2_round_up(geo, goff) - goff < geo->cluster_size);
	MUST(qcow2_to_clu(geo, qcow2_slice_start(geo, goff)) == clu);
}

/* One guest offset; the cluster that it leads to, or 0. */
static u64 lookup(struct file *file, const struct qcow2_geometry *geo, u64 l1, u32 l1_size, u64 goff)
{
	struct qcow2_l2_entry entry;
	u64 index = qcow2_l1_index(geo, goff), table, at;
	bool copied;

	offset_holds(geo, goff);
	if (index >= l1_size || qcow2_l1_decode(geo, word(file, l1 + index * 8), &table, &copied) || !table)
		return 0;
	at = (u64)qcow2_l2_index(geo, goff) << geo->l2_entry_bits;
	MUST(at + (1U << geo->l2_entry_bits) <= geo->cluster_size);
	at += table;
	if (qcow2_l2_decode(geo, word(file, at), geo->extended_l2 ? word(file, at + 8) : 0, &entry))
		return 0;
	if (geo->data_file)
		verdict_holds(qcow2_l2_data_file(&entry, qcow2_to_off(geo, qcow2_to_clu(geo, goff))));
	return entry.hoff;
}

/* The count of one host cluster, in a block of which all bytes outside of the file are zeros. */
static void count(struct file *file, const struct qcow2_geometry *geo, const struct qcow2_header *h, u64 hoff)
{
	u64 hclu = qcow2_to_clu(geo, hoff), index = qcow2_reftable_index(geo, hclu), block, at, value;
	u32 within = qcow2_refblock_index(geo, hclu);
	__be64 bytes;

	offset_holds(geo, hoff);
	if (index >= (u64)h->refcount_table_clusters << (h->cluster_bits - 3))
		return;
	if (qcow2_reftable_decode(geo, word(file, h->refcount_table_offset + index * 8), &block) || !block)
		return;
	at = (((u64)within << geo->refcount_order) >> 3) & ~7ULL;
	MUST(at + 8 <= geo->cluster_size);
	bytes = htobe64(word(file, block + at));
	value = qcow2_refcount_get(&bytes, within % (64U >> geo->refcount_order), geo->refcount_order);
	MUST(value <= qcow2_refcount_max(geo->refcount_order));
}

/* Guest offsets from all over the disk and its ends, and the counts of where they lead. */
static void disk(struct file *file, const struct qcow2_geometry *geo, const struct qcow2_header *h, u64 l1,
		 u32 l1_size, u64 size)
{
	u64 step = size / LOOKUPS | 1, goff = 0;
	int i;

	file->limit = file->reads + (LOOKUPS + 1) * (LOOKUP_READS + 2);
	for (i = 0; i < LOOKUPS && goff < size; i++, goff += step)
		count(file, geo, h, lookup(file, geo, l1, l1_size, goff));
	if (size)
		count(file, geo, h, lookup(file, geo, l1, l1_size, size - 1));
}

static void snapshots(struct file *file, const struct qcow2_geometry *geo, const struct qcow2_header *h)
{
	u64 at, offset = 0, start = h->snapshots_offset;
	struct qcow2_snapshot snap;
	uint8_t *table;
	u32 i;

	if (start >= file->size || !h->nb_snapshots)
		return;
	at = file->size - start;
	table = malloc(at);
	MUST(table);
	memcpy(table, file->data + start, at);
	for (i = 0; i < h->nb_snapshots && !qcow2_snapshot_decode(table, at, offset, &snap); i++) {
		MUST(i < file->size / 40);
		offset += snap.length;
		/* A disk may be of another size than the image; guest offsets have 63 bits. */
		if (i < 16 && !qcow2_snapshot_l1(geo, &snap))
			disk(file, geo, h, snap.l1_table_offset, snap.l1_size,
			     (snap.disk_size == QCOW2_SNAPSHOT_NONE ? h->size : snap.disk_size) % (1ULL << 62));
	}
	free(table);
}

static void bitmaps(const struct file *file, const struct qcow2_header *h)
{
	struct qcow2_bitmap bitmap;
	u64 offset = 0;
	uint8_t *directory;
	u32 i;

	if (!h->has_bitmaps || h->bitmap_directory_offset > file->size ||
	    file->size - h->bitmap_directory_offset < h->bitmap_directory_size)
		return;
	directory = malloc(h->bitmap_directory_size);
	MUST(directory);
	memcpy(directory, file->data + h->bitmap_directory_offset, h->bitmap_directory_size);
	for (i = 0; i < h->nb_bitmaps; i++) {
		if (qcow2_bitmap_decode(directory, h->bitmap_directory_size, offset, &bitmap))
			break;
		MUST(i < file->size / 24);
		offset += bitmap.length;
	}
	free(directory);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct file file = { data, size, 0, 0 };
	struct qcow2_geometry geo;
	struct qcow2_header h;
	enum qcow2_verdict verdict;
	u64 cluster;

	verdict = qcow2_header_decode(data, size, &h);
	if (verdict && verdict != QCOW2_REFTABLE_EMPTY)
		return 0;
	cluster = 1ULL << h.cluster_bits;
	if (qcow2_header_extensions(data, size < cluster ? size : cluster, &h))
		return 0;
	qcow2_header_geometry(&h, &geo);
	MUST(qcow2_l1_needed(&geo, h.size) <= h.l1_size);
	/* A good header promises that every offset of the disk has its place in L1. */
	MUST(!h.size || qcow2_l1_index(&geo, h.size - 1) < h.l1_size);
	disk(&file, &geo, &h, h.l1_table_offset, h.l1_size, h.size);
	snapshots(&file, &geo, &h);
	bitmaps(&file, &h);
	return 0;
}
