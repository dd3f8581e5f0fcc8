// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Check the entries of one L2 table and count what they refer to.
 */
#include <asm/byteorder.h>
#include "check.h"

/* COPIED has to say whether the count on disk is 1; unreadable counts were reported once. */
static void check_copied(struct check *check, const struct check_table *table, u64 raw)
{
	const struct qcow2_geometry *geo = &check->image->geo;
	u64 count = 1, hoff = raw & QCOW2_L2_HOFF_MASK;

	/* Nor does QEMU look there if L1 leads into the header. */
	if (!table->active || !table->hoff)
		return;
	if (!geo->data_file && check_stored_get(&check->stored, qcow2_to_clu(geo, hoff), &count))
		return;
	if (raw & QCOW2_OFLAG_COPIED ? count != 1 : count == 1)
		check_error(check, table->active,
			    "l2 entry %#llx at %#llx: COPIED is wrong, the reference count is %llu",
			    (unsigned long long)raw, (unsigned long long)table->hoff,
			    (unsigned long long)count);
}

static void check_compressed(struct check *check, const struct check_table *table, u64 raw,
			     u64 bitmap)
{
	const struct qcow2_geometry *geo = &check->image->geo;
	struct qcow2_l2_entry entry;

	if (raw & QCOW2_OFLAG_COPIED)
		check_error(check, table->refs, "l2 entry %#llx at %#llx: compressed, but COPIED is set",
			    (unsigned long long)raw, (unsigned long long)table->hoff);
	if (geo->data_file || bitmap) {
		check_error(check, table->refs, "l2 entry %#llx at %#llx: compressed, but %s",
			    (unsigned long long)raw, (unsigned long long)table->hoff,
			    geo->data_file ? "data is in an external file" :
			    "it has a subcluster bitmap");
		return;
	}
	/* A verdict is on values that are looked at here anyway. */
	(void)qcow2_l2_decode(geo, raw & ~QCOW2_OFLAG_COPIED, 0, &entry);
	check_add(check, entry.hoff, entry.compressed_length, table->refs);
	check->allocated += table->active;
}

static void check_standard(struct check *check, const struct check_table *table, u64 raw,
			   u64 bitmap)
{
	const struct qcow2_geometry *geo = &check->image->geo;
	u64 hoff = raw & QCOW2_L2_HOFF_MASK;

	check->allocated += table->active;
	if (bitmap >> 32 & bitmap & 0xffffffff)
		check_error(check, table->refs, "l2 entry %#llx at %#llx: subcluster bitmap %#llx contradicts itself",
			    (unsigned long long)raw, (unsigned long long)table->hoff,
			    (unsigned long long)bitmap);
	if (qcow2_in_cluster(geo, hoff))
		check_error(check, table->refs, "l2 entry %#llx at %#llx: %s",
			    (unsigned long long)raw, (unsigned long long)table->hoff,
			    qcow2_verdict_text(QCOW2_L2_ENTRY_UNALIGNED));
	if (!geo->data_file)
		check_add(check, hoff, geo->cluster_size, table->refs);
	check_copied(check, table, raw);
}

static void check_entry(struct check *check, const struct check_table *table, u64 raw, u64 bitmap)
{
	const struct qcow2_geometry *geo = &check->image->geo;
	bool zero = raw & QCOW2_OFLAG_ZERO && !geo->extended_l2;

	if (raw & QCOW2_OFLAG_COMPRESSED) {
		check_compressed(check, table, raw, bitmap);
		return;
	}
	if (raw & QCOW2_L2_RESERVED_MASK)
		check_error(check, table->refs, "l2 entry %#llx at %#llx: %s",
			    (unsigned long long)raw, (unsigned long long)table->hoff,
			    qcow2_verdict_text(QCOW2_L2_ENTRY_RESERVED));
	if (raw & QCOW2_L2_HOFF_MASK || (geo->data_file && raw & QCOW2_OFLAG_COPIED && !zero))
		check_standard(check, table, raw, bitmap);
	else if (bitmap & 0xffffffff)
		check_error(check, table->refs,
			    "l2 entry %#llx at %#llx: subclusters %#llx are allocated nowhere",
			    (unsigned long long)raw, (unsigned long long)table->hoff,
			    (unsigned long long)bitmap);
}

int check_l2(void *data, struct check_table *table, const __be64 *words)
{
	struct check *check = data;
	const struct qcow2_geometry *geo = &check->image->geo;
	u32 nr = 1U << geo->l2_bits, i;

	if (!geo->extended_l2) {
		for (i = 0; i < nr; i++) {
			if (words[i])
				check_entry(check, table, be64_to_cpu(words[i]), 0);
		}
		return 0;
	}
	for (i = 0; i < nr; i++, words += 2) {
		if (words[0] || words[1])
			check_entry(check, table, be64_to_cpu(words[0]), be64_to_cpu(words[1]));
	}
	return 0;
}
