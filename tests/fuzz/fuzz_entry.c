// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * The input is the kind of an image in four bytes, and then words: each is
 * looked at as an L1 entry, an L2 entry with the word behind it as its bitmap,
 * an entry of the refcount table, and a count to be stored.
 */
#include <endian.h>
#include "fuzz.h"

#define LIMIT	(1ULL << 56)

static void l1_holds(const struct qcow2_geometry *geo, u64 raw)
{
	u64 hoff, again;
	bool copied, copied_again;
	enum qcow2_verdict verdict = qcow2_l1_decode(geo, raw, &hoff, &copied);
	enum qcow2_verdict check = qcow2_l1_check(geo, raw);

	verdict_holds(verdict);
	verdict_holds(check);
	MUST(check || !verdict);
	if (verdict)
		return;
	MUST(aligned(geo, hoff) && hoff < LIMIT);
	MUST(hoff || !copied);
	MUST(!qcow2_l1_decode(geo, qcow2_l1_encode(hoff, copied), &again, &copied_again));
	MUST(again == hoff && copied_again == copied);
	MUST(check || qcow2_l1_encode(hoff, copied) == raw);
}

static void reftable_holds(const struct qcow2_geometry *geo, u64 raw)
{
	u64 hoff;
	enum qcow2_verdict verdict = qcow2_reftable_decode(geo, raw, &hoff);
	enum qcow2_verdict check = qcow2_reftable_check(geo, raw);

	verdict_holds(verdict);
	verdict_holds(check);
	MUST(check || !verdict);
	if (verdict)
		return;
	MUST(aligned(geo, hoff) && hoff < LIMIT);
	MUST(check || hoff == raw);
}

/* The runs of equal subclusters cover the cluster, and agree with the bits. */
static void subclusters_hold(const struct qcow2_l2_entry *entry)
{
	u32 index, run, one, at;
	enum qcow2_cluster_kind kind, wanted;

	for (index = 0; index < 32; index += run) {
		kind = qcow2_l2_subcluster(entry, index, &run);
		MUST(run >= 1 && run <= 32 - index);
		for (at = index; at < index + run; at++) {
			MUST(qcow2_l2_subcluster(entry, at, &one) == kind && one == index + run - at);
			if (entry->kind == QCOW2_CLUSTER_COMPRESSED)
				wanted = QCOW2_CLUSTER_COMPRESSED;
			else if (entry->alloc >> at & 1)
				wanted = QCOW2_CLUSTER_DATA;
			else if (entry->zero >> at & 1)
				wanted = entry->has_host ? QCOW2_CLUSTER_ZERO_ALLOC : QCOW2_CLUSTER_ZERO_PLAIN;
			else
				wanted = QCOW2_CLUSTER_UNALLOCATED;
			MUST(kind == wanted);
		}
		if (index + run < 32)
			MUST(qcow2_l2_subcluster(entry, index + run, &one) != kind);
	}
}

static void compressed_holds(const struct qcow2_geometry *geo, u64 raw, const struct qcow2_l2_entry *entry)
{
	u64 last = qcow2_compressed_last_clu(geo, entry->hoff, entry->compressed_length);

	MUST(raw >> 62 == 1 && !geo->data_file && !entry->has_host && !entry->copied);
	MUST(entry->compressed_length >= 1 && entry->compressed_length <= 2 * geo->cluster_size);
	MUST(!((entry->hoff + entry->compressed_length) % 512));
	MUST(entry->hoff + entry->compressed_length <= LIMIT);
	MUST(last >= qcow2_to_clu(geo, entry->hoff) && last - qcow2_to_clu(geo, entry->hoff) <= 2);
}

/* Encoded and decoded again an entry is the same. */
static void l2_round_trip(const struct qcow2_geometry *geo, const struct qcow2_l2_entry *entry)
{
	enum qcow2_cluster_kind kind = geo->extended_l2 ? QCOW2_CLUSTER_SUBCLUSTERS : entry->kind;
	struct qcow2_l2_entry again;
	u64 bitmap = geo->extended_l2 ? qcow2_l2_encode_bitmap(entry->alloc, entry->zero) : 0;

	MUST(!qcow2_l2_decode(geo, qcow2_l2_encode(kind, entry->hoff, entry->copied), bitmap, &again));
	MUST(again.kind == entry->kind && again.hoff == entry->hoff && again.copied == entry->copied);
	MUST(again.has_host == entry->has_host && again.alloc == entry->alloc && again.zero == entry->zero);
}

static void l2_holds(const struct qcow2_geometry *geo, u64 raw, u64 bitmap)
{
	struct qcow2_l2_entry entry;
	enum qcow2_verdict verdict, check;

	if (!geo->extended_l2)
		bitmap = 0;
	verdict = qcow2_l2_decode(geo, raw, bitmap, &entry);
	check = qcow2_l2_check(geo, raw, bitmap);
	verdict_holds(verdict);
	verdict_holds(check);
	MUST(check || !verdict);
	if (verdict)
		return;
	if (entry.kind == QCOW2_CLUSTER_COMPRESSED) {
		compressed_holds(geo, raw, &entry);
		MUST(qcow2_l2_data_file(&entry, 0) == QCOW2_L2_ENTRY_DATA_FILE);
	} else {
		MUST(raw >> 62 != 1 && !entry.compressed_length);
		MUST(aligned(geo, entry.hoff) && entry.hoff < LIMIT);
		MUST(entry.has_host || (!entry.hoff && !entry.copied && !entry.alloc));
		MUST(entry.has_host || entry.kind != QCOW2_CLUSTER_DATA);
		MUST(!entry.has_host || !qcow2_l2_data_file(&entry, entry.hoff));
		MUST(!entry.has_host || qcow2_l2_data_file(&entry, entry.hoff + geo->cluster_size));
		MUST(!(entry.alloc & entry.zero));
		MUST(geo->extended_l2 || entry.kind != QCOW2_CLUSTER_SUBCLUSTERS);
		l2_round_trip(geo, &entry);
	}
	if (geo->extended_l2)
		subclusters_hold(&entry);
}

/* A count is kept, and its neighbours too, whatever its width. */
static void count_holds(u32 order, u32 index, u64 value)
{
	__be64 block[8], copy[8];
	u32 number = sizeof(block) * 8 >> order, i;

	memset(block, (int)(value >> 56), sizeof(block));
	memcpy(copy, block, sizeof(block));
	index %= number;
	value &= qcow2_refcount_max(order);
	qcow2_refcount_set(block, index, order, value);
	for (i = 0; i < number; i++)
		MUST(qcow2_refcount_get(block, i, order) ==
		     (i == index ? value : qcow2_refcount_get(copy, i, order)));
	qcow2_refcount_set(block, index, order, qcow2_refcount_get(copy, index, order));
	MUST(!memcmp(block, copy, sizeof(block)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct qcow2_geometry geo;
	u32 bits, order;
	bool extended;
	__be64 word[2];
	size_t at;

	if (size < 4 + sizeof(word))
		return 0;
	bits = 9 + data[0] % 13;
	order = data[1] % 7;
	extended = bits >= 14 && (data[2] & 1);
	qcow2_geometry_init(&geo, data[2] & 2 ? 2 : 3, bits, order, extended, data[2] & 4, 1 << 20);
	for (at = 4; size - at >= sizeof(word); at += sizeof(word)) {
		memcpy(word, data + at, sizeof(word));
		l1_holds(&geo, be64toh(word[0]));
		l2_holds(&geo, be64toh(word[0]), be64toh(word[1]));
		reftable_holds(&geo, be64toh(word[0]));
		count_holds(order, be64toh(word[1]) % 4096, be64toh(word[0]));
	}
	return 0;
}
