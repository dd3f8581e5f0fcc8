// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Walk over everything that refers to clusters, then compare.
 */
#include <asm/byteorder.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "check.h"
#include "err.h"
#include "mem.h"
#include "out.h"
#include "progress.h"

/* ------------------------------------------------------------------------
 * Findings
 */

static void list(struct check *check, const char *word, u64 times, const char *format, va_list args)
{
	char text[256];

	if (!check->print || check->listed++ >= CHECK_LISTED)
		return;
	vsnprintf(text, sizeof(text), format, args);
	if (times > 1)
		out_text("%s: %s (%llu times)\n", word, text, (unsigned long long)times);
	else
		out_text("%s: %s\n", word, text);
}

void check_error(struct check *check, u64 times, const char *format, ...)
{
	va_list args;

	check->errors += times;
	va_start(args, format);
	list(check, "error", times, format, args);
	va_end(args);
}

void check_leak(struct check *check, const char *format, ...)
{
	va_list args;

	check->leaks++;
	va_start(args, format);
	list(check, "leak", 1, format, args);
	va_end(args);
}

/* ------------------------------------------------------------------------
 * References
 */

bool check_is_beyond(const struct image *image, u64 hoff, u64 len)
{
	/* The last cluster of a file may be cut off. */
	return len && hoff + len >= image->end + image->geo.cluster_size;
}

/* It is an error, but who repairs that must know where not to write. */
static void add_beyond(struct check *check, u64 hclu, u64 last)
{
	for (; hclu <= last && hclu < check->beyond.room; hclu++)
		check_counts_add(&check->beyond, hclu, 1);
}

bool check_is_used(const struct check *check, u64 hclu)
{
	return (hclu < check->counts.room && check_counts_get(&check->counts, hclu)) ||
	       (hclu < check->beyond.room && check_counts_get(&check->beyond, hclu));
}

void check_add(struct check *check, u64 hoff, u64 len, u64 times)
{
	const struct qcow2_geometry *geo = &check->image->geo;
	u64 hclu, last;

	if (!len)
		return;
	last = qcow2_to_clu(geo, hoff + len - 1);
	if (check_is_beyond(check->image, hoff, len)) {
		add_beyond(check, qcow2_to_clu(geo, hoff), last);
		check_error(check, times, "%llu bytes at %#llx: beyond the end of the file",
			    (unsigned long long)len, (unsigned long long)hoff);
		return;
	}
	if (last >= check->nr_clusters)
		check->nr_clusters = last + 1;
	for (hclu = qcow2_to_clu(geo, hoff); hclu <= last; hclu++)
		check_counts_add(&check->counts, hclu, times);
}

static void check_l1_entry(struct check *check, u32 index, u64 raw, bool active)
{
	const struct qcow2_geometry *geo = &check->image->geo;
	u64 hoff = raw & QCOW2_L1_HOFF_MASK, count;

	if (raw & QCOW2_L1_RESERVED_MASK)
		check_error(check, 1, "l1 entry %u (%#llx): %s", index, (unsigned long long)raw,
			    qcow2_verdict_text(QCOW2_L1_ENTRY_RESERVED));
	if (qcow2_in_cluster(geo, hoff))
		check_error(check, 1, "l1 entry %u (%#llx): %s", index, (unsigned long long)raw,
			    qcow2_verdict_text(QCOW2_L1_ENTRY_UNALIGNED));
	check_add(check, hoff, geo->cluster_size, 1);
	check_tables_add(&check->tables, hoff, index, active);
	if (!active || !hoff || check_stored_get(&check->stored, qcow2_to_clu(geo, hoff), &count))
		return;
	if (raw & QCOW2_OFLAG_COPIED ? count != 1 : count == 1)
		check_error(check, 1, "l1 entry %u (%#llx): COPIED is wrong, the reference count is %llu",
			    index, (unsigned long long)raw, (unsigned long long)count);
}

static int check_l1(struct check *check, u64 hoff, u32 size, bool active)
{
	MEM_FREE __be64 *l1 = NULL;
	int ret;
	u32 i;

	check_add(check, hoff, size * sizeof(*l1), 1);
	if (hoff >= check->image->end)
		return 0;
	l1 = mem_aligned(size * sizeof(*l1));
	ret = image_read(check->image, hoff, l1, size * sizeof(*l1));
	if (ret)
		return err_errno_what(-ret, check->image->path, "cannot read an L1 table");
	for (i = 0; i < size; i++) {
		if (l1[i])
			check_l1_entry(check, i, be64_to_cpu(l1[i]), active);
	}
	return 0;
}

/*
 * L1 tables do not share clusters, so all of them take less than the file: who
 * says otherwise wants to keep us reading.
 */
static bool is_too_much(const struct check *check, const struct check_snapshot *snap, u64 *bytes)
{
	if (snap->l1_hoff < check->image->end)
		*bytes += snap->l1_size * sizeof(__be64);
	return *bytes > check->image->end;
}

static int check_snapshots(struct check *check)
{
	struct check_snapshots *snapshots = &check->snapshots;
	int ret = check_snapshots_read(snapshots, check->image);
	u64 bytes = 0;
	u32 i;

	if (ret)
		return ret;
	if (snapshots->truncated)
		check_error(check, check->image->header.nb_snapshots - snapshots->count,
			    "snapshot %u: the table ends before it", snapshots->count);
	if (check->image->geo.data_file && snapshots->count)
		check_error(check, 1, "the data is in an external file, but there are snapshots");
	for (i = 0; !ret && i < snapshots->count; i++) {
		struct check_snapshot *snap = &snapshots->entries[i];

		if (snap->cut)
			check_error(check, 1, "snapshot %u: %s", i,
				    qcow2_verdict_text(QCOW2_SNAPSHOT_EXTRA));
		if (snap->incomplete)
			check_error(check, 1, "snapshot %u: its entry is incomplete", i);
		snap->bad_l1 |= is_too_much(check, snap, &bytes);
		if (snap->bad_l1)
			check_error(check, 1, "snapshot %u: %s", i,
				    qcow2_verdict_text(QCOW2_SNAPSHOT_L1));
		else
			ret = check_l1(check, snap->l1_hoff, snap->l1_size, false);
		if (!ret)
			ret = progress_step(i, snapshots->count);
	}
	check_add(check, check->image->header.snapshots_offset, snapshots->len, 1);
	return ret;
}

/* ------------------------------------------------------------------------
 * Refcount table and blocks
 */

static void find_structure(struct check *check, u64 index, const char *text)
{
	check->structure = true;
	check_error(check, 1, "refcount block %llu: %s", (unsigned long long)index, text);
}

static void check_block(struct check *check, u64 index)
{
	const struct qcow2_geometry *geo = &check->image->geo;
	u64 hoff = check_stored_block(&check->stored, index), hclu = qcow2_to_clu(geo, hoff);

	if (be64_to_cpu(check->stored.table[index]) & QCOW2_REFTABLE_RESERVED_MASK) {
		find_structure(check, index, qcow2_verdict_text(QCOW2_REFTABLE_ENTRY_RESERVED));
	} else if (qcow2_in_cluster(geo, hoff)) {
		find_structure(check, index, qcow2_verdict_text(QCOW2_REFTABLE_ENTRY_UNALIGNED));
	} else if (hclu >= check->nr_clusters) {
		find_structure(check, index, "it lies beyond the end of the file");
	} else if (hoff) {
		check_add(check, hoff, geo->cluster_size, 1);
		if (check_counts_get(&check->counts, hclu) != 1 && geo->refcount_order)
			find_structure(check, index, "something else is in its place");
	}
}

static void check_blocks(struct check *check)
{
	u64 i;

	for (i = 0; i < check->stored.nr_entries; i++) {
		if (check->stored.table[i])
			check_block(check, i);
	}
}

/* ------------------------------------------------------------------------
 * Comparison
 */

static void compare(struct check *check, u64 hclu, u64 found, u64 max)
{
	unsigned long long hoff = qcow2_to_off(&check->image->geo, hclu);
	u64 stored;
	int ret;

	if (found > max) {
		check_error(check, found - max, "cluster %#llx: a count of %u bits cannot hold %llu references",
			    hoff, 1U << check->image->geo.refcount_order, (unsigned long long)found);
		check->structure = true;
		found = max;
	}
	ret = check_stored_get(&check->stored, hclu, &stored);
	if (ret || stored == found)
		return;
	if (!stored)
		check->structure = true;
	if (stored < found)
		check_error(check, 1, "cluster %#llx: reference count %llu, references %llu", hoff,
			    (unsigned long long)stored, (unsigned long long)found);
	else
		check_leak(check, "cluster %#llx: reference count %llu, references %llu", hoff,
			   (unsigned long long)stored, (unsigned long long)found);
}

static int compare_all(struct check *check)
{
	const struct qcow2_geometry *geo = &check->image->geo;
	u64 max = qcow2_refcount_max(geo->refcount_order), hclu, end, found;
	int ret = 0;

	for (hclu = 0; !ret && hclu < check->nr_clusters; hclu = end) {
		u64 index = qcow2_reftable_index(geo, hclu);
		bool none = index >= check->stored.nr_entries || !check->stored.table[index];

		end = (index + 1) << geo->refblock_bits;
		if (end > check->nr_clusters)
			end = check->nr_clusters;
		for (; hclu < end; hclu++) {
			found = check_counts_get(&check->counts, hclu);
			if (found || !none)
				compare(check, hclu, found, max);
		}
		ret = progress_step(end, check->nr_clusters);
	}
	return ret;
}

/* ------------------------------------------------------------------------
 * The whole
 */

static int walk(struct check *check)
{
	const struct qcow2_header *h = &check->image->header;
	int ret;

	check_add(check, 0, check->image->geo.cluster_size, 1);
	ret = check_l1(check, h->l1_table_offset, h->l1_size, true);
	if (!ret)
		ret = check_snapshots(check);
	if (ret)
		return ret;
	check_tables_merge(&check->tables);
	ret = check_tables_walk(&check->tables, check->image, check_l2, check);
	check_add(check, h->refcount_table_offset,
		  (u64)h->refcount_table_clusters << h->cluster_bits, 1);
	check_add(check, h->crypto_offset, h->crypto_length, 1);
	if (!ret)
		ret = check_bitmaps(check);
	if (!ret)
		check_blocks(check);
	return ret;
}

static u64 clusters_of(const struct image *image)
{
	return qcow2_to_clu(&image->geo, qcow2_round_up(&image->geo, image->end));
}

static int start(struct check *check)
{
	const struct image *image = check->image;
	int ret;

	check->nr_clusters = clusters_of(image);
	check->clusters = qcow2_to_clu(&image->geo, qcow2_round_up(&image->geo, image->header.size));
	/* More than QEMU takes as well. */
	if (check->nr_clusters > INT_MAX)
		return err_fail(ERR_CORRUPT, image->path, "the file has more than %d clusters",
				INT_MAX);
	ret = check_counts_init(&check->counts, check->nr_clusters + 1);
	if (!ret)
		ret = check_counts_init(&check->beyond, check_counts_beyond(check->nr_clusters));
	if (ret)
		return err_errno_what(-ret, image->path, "no memory for %llu counts",
				      (unsigned long long)check->nr_clusters);
	return check_stored_init(&check->stored, image);
}

int check_run(struct check *check, const struct image *image, bool print)
{
	int ret;

	memset(check, 0, sizeof(*check));
	check->image = image;
	check->print = print;
	progress_phase("checking");
	ret = start(check);
	if (!ret)
		ret = walk(check);
	if (!ret)
		ret = compare_all(check);
	if (!ret && check->listed > CHECK_LISTED)
		out_text("... and %llu more\n", (unsigned long long)check->listed - CHECK_LISTED);
	return ret;
}

void check_release(struct check *check)
{
	check_counts_release(&check->counts);
	check_counts_release(&check->beyond);
	check_stored_release(&check->stored);
	check_tables_release(&check->tables);
	check_snapshots_release(&check->snapshots);
}
