// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Reference counts: load, change, allocate, write anew.
 *
 * Writing the blocks anew changes counts itself: the new place of a block is
 * counted, its old one is not any more, both perhaps in further blocks. This
 * ends, since each round takes a block that was clean.
 */
#include <asm/byteorder.h>
#include <stdlib.h>
#include <string.h>
#include "err.h"
#include "mem.h"
#include "refcounts.h"
#include "text.h"

#define NO_COUNT	"is in use, but its reference count is 0"
#define RUN_BYTES	(4U << 20)	/* of blocks that are read at once */

static const struct qcow2_geometry *geometry(const struct refcounts *counts)
{
	return &counts->image->geo;
}

static int fail_corrupt(const struct refcounts *counts, u64 hclu, const char *text)
{
	MEM_FREE char *path = text_shell(counts->image->path);
	int ret = err_fail(ERR_CORRUPT, counts->image->path, "cluster %#llx %s",
			   (unsigned long long)qcow2_to_off(geometry(counts), hclu), text);

	err_hint("qcow2ctl repair %s", path);
	return ret;
}

/* ------------------------------------------------------------------------
 * Load
 */

static void init(struct refcounts *counts, const struct image *image)
{
	u64 clusters = QCOW2_MAX_HOFF >> image->geo.cluster_bits;

	memset(counts, 0, sizeof(*counts));
	counts->image = image;
	counts->order = image->geo.refcount_order;
	counts->max = qcow2_refcount_max(counts->order);
	counts->limit = image->is_block ? image->end >> image->geo.cluster_bits : clusters;
	counts->first_free = 1;
}

void refcounts_start(struct refcounts *counts, const struct image *image)
{
	init(counts, image);
	counts->dirty = true;
}

static int compare(const void *a, const void *b)
{
	u64 left = *(const u64 *)a, right = *(const u64 *)b;

	return left < right ? -1 : left > right;
}

/* A table that leads to one block again and again would need any amount of memory. */
static int check_distinct(const struct refcounts *counts)
{
	MEM_FREE u64 *places = mem_zalloc(counts->nr_blocks * sizeof(*places));
	u64 i, nr = 0;

	for (i = 0; i < counts->nr_blocks; i++) {
		if (counts->blocks[i].hoff)
			places[nr++] = counts->blocks[i].hoff;
	}
	qsort(places, nr, sizeof(*places), compare);
	for (i = 1; i < nr; i++) {
		if (places[i] == places[i - 1])
			return fail_corrupt(counts, qcow2_to_clu(geometry(counts), places[i]),
					    "is a refcount block twice");
	}
	return 0;
}

static int load_table(struct refcounts *counts, bool tolerant)
{
	const struct image *image = counts->image;
	size_t bytes = (size_t)counts->table_clusters << image->geo.cluster_bits;
	MEM_FREE __be64 *table = mem_aligned(bytes);
	int ret = image_read(image, counts->table_hoff, table, bytes);
	u64 i;

	if (ret)
		return err_errno_what(-ret, image->path, "cannot read the refcount table");
	for (i = 0; i < counts->nr_blocks; i++) {
		struct refcount_block *block = &counts->blocks[i];

		block->verdict = qcow2_reftable_check(&image->geo, be64_to_cpu(table[i]));
		if (!block->verdict)
			qcow2_reftable_decode(&image->geo, be64_to_cpu(table[i]), &block->hoff);
		if (block->verdict && !tolerant)
			return err_fail(ERR_CORRUPT, image->path,
					"refcount table entry %#llx: %s",
					(unsigned long long)be64_to_cpu(table[i]),
					qcow2_verdict_text(block->verdict));
		if (block->hoff >= image->end && !tolerant)
			return fail_corrupt(counts, qcow2_to_clu(&image->geo, block->hoff),
					    "is a refcount block and beyond the end of the image");
	}
	return tolerant ? 0 : check_distinct(counts);
}

/* Read the blocks from @first on that adjoin each other on disk; *@next is the one behind. */
static int load_run(struct refcounts *counts, u64 first, u64 *next)
{
	u32 cluster_size = geometry(counts)->cluster_size;
	u64 hoff = counts->blocks[first].hoff, i;
	MEM_FREE u8 *run = NULL;
	int ret;

	for (i = first + 1; i < counts->nr_blocks && (i - first) * cluster_size < RUN_BYTES; i++) {
		if (counts->blocks[i].hoff != hoff + (i - first) * cluster_size)
			break;
	}
	*next = i;
	run = mem_aligned((i - first) * cluster_size);
	ret = image_read(counts->image, hoff, run, (i - first) * cluster_size);
	if (ret)
		return err_errno_what(-ret, counts->image->path, "cannot read the refcounts");
	for (i = first; i < *next; i++) {
		const u8 *block = run + (i - first) * cluster_size;

		/* Nothing is kept of one without counts. */
		if (!*block && !memcmp(block, block + 1, cluster_size - 1))
			continue;
		counts->blocks[i].now = mem_zalloc(cluster_size);
		memcpy(counts->blocks[i].now, block, cluster_size);
	}
	return 0;
}

int refcounts_load(struct refcounts *counts, const struct image *image, bool tolerant)
{
	u64 i;
	int ret;

	init(counts, image);
	counts->table_hoff = image->header.refcount_table_offset;
	counts->table_clusters = image->header.refcount_table_clusters;
	counts->nr_blocks = ((u64)counts->table_clusters << image->geo.cluster_bits) / sizeof(__be64);
	counts->blocks = mem_zalloc(counts->nr_blocks * sizeof(*counts->blocks));
	ret = load_table(counts, tolerant);
	for (i = 0; !ret && i < counts->nr_blocks;) {
		if (counts->blocks[i].hoff)
			ret = load_run(counts, i, &i);
		else
			i++;
	}
	return ret;
}

int refcounts_count_blocks(const struct image *image, u64 *nr)
{
	size_t bytes = (size_t)image->header.refcount_table_clusters << image->geo.cluster_bits, i;
	MEM_FREE __be64 *table = mem_aligned(bytes);
	int ret = image_read(image, image->header.refcount_table_offset, table, bytes);

	*nr = 0;
	for (i = 0; i < bytes / sizeof(*table); i++)
		*nr += table[i] != 0;
	return ret ? err_errno_what(-ret, image->path, "cannot read the refcount table") : 0;
}

void refcounts_release(struct refcounts *counts)
{
	u64 i;

	for (i = 0; i < counts->nr_blocks; i++) {
		free(counts->blocks[i].now);
		free(counts->blocks[i].old);
	}
	free(counts->blocks);
	memset(counts, 0, sizeof(*counts));
}

/* ------------------------------------------------------------------------
 * Counts
 */

static u64 get(const u8 *block, const struct refcounts *counts, u64 hclu)
{
	if (!block)
		return 0;
	return qcow2_refcount_get(block, qcow2_refblock_index(geometry(counts), hclu), counts->order);
}

u64 refcounts_get(const struct refcounts *counts, u64 hclu)
{
	u64 i = qcow2_reftable_index(geometry(counts), hclu);

	return i < counts->nr_blocks ? get(counts->blocks[i].now, counts, hclu) : 0;
}

/* What the disk says. */
static u64 get_old(const struct refcounts *counts, u64 hclu)
{
	u64 i = qcow2_reftable_index(geometry(counts), hclu);

	if (i >= counts->nr_blocks || !counts->blocks[i].hoff)
		return 0;
	return get(counts->blocks[i].old ? counts->blocks[i].old : counts->blocks[i].now, counts,
		   hclu);
}

/* Room for block @index in memory; the table grows by whole clusters. */
static int grow(struct refcounts *counts, u64 index)
{
	u64 per_cluster = geometry(counts)->cluster_size / sizeof(__be64);
	u64 nr = (index / per_cluster + 1) * per_cluster;
	struct refcount_block *blocks;

	if (index < counts->nr_blocks)
		return 0;
	if (nr * sizeof(__be64) > QCOW2_MAX_REFTABLE_BYTES)
		return err_fail(ERR_NO_SPACE, counts->image->path,
				"the refcount table cannot grow beyond 8 MiB");
	blocks = mem_zalloc(nr * sizeof(*blocks));
	if (counts->nr_blocks)
		memcpy(blocks, counts->blocks, counts->nr_blocks * sizeof(*blocks));
	free(counts->blocks);
	counts->blocks = blocks;
	counts->nr_blocks = nr;
	return 0;
}

static void make_dirty(struct refcounts *counts, struct refcount_block *block)
{
	u32 cluster_size = geometry(counts)->cluster_size;

	if (block->dirty)
		return;
	block->dirty = true;
	counts->dirty = true;
	if (block->hoff)
		block->old = mem_zalloc(cluster_size);
	if (!block->now)
		block->now = mem_zalloc(cluster_size);
	else if (block->old)
		memcpy(block->old, block->now, cluster_size);
}

int refcounts_set(struct refcounts *counts, u64 hclu, u64 value)
{
	u64 index = qcow2_reftable_index(geometry(counts), hclu);
	int ret = grow(counts, index);

	if (ret)
		return ret;
	make_dirty(counts, &counts->blocks[index]);
	qcow2_refcount_set(counts->blocks[index].now, qcow2_refblock_index(geometry(counts), hclu),
			   counts->order, value);
	return 0;
}

int refcounts_verify(const struct refcounts *counts, u64 hoff, u64 nr)
{
	u64 hclu = qcow2_to_clu(geometry(counts), hoff), i;

	for (i = 0; i < nr; i++) {
		if (!refcounts_get(counts, hclu + i))
			return fail_corrupt(counts, hclu + i, NO_COUNT);
	}
	return 0;
}

static int add_one(struct refcounts *counts, u64 hclu, int delta)
{
	u64 value = refcounts_get(counts, hclu);

	if (!value)
		return fail_corrupt(counts, hclu, NO_COUNT);
	if (delta > 0 && value == counts->max)
		return err_fail(ERR_UNSUPPORTED, counts->image->path,
				"cluster %#llx: a reference count of %u bit%s cannot hold one more",
				(unsigned long long)qcow2_to_off(geometry(counts), hclu),
				1U << counts->order, counts->order ? "s" : "");
	return refcounts_set(counts, hclu, value + delta);
}

int refcounts_add(struct refcounts *counts, u64 hoff, u64 nr, int delta)
{
	u64 hclu = qcow2_to_clu(geometry(counts), hoff), i;
	int ret = 0;

	for (i = 0; !ret && i < nr; i++)
		ret = add_one(counts, hclu + i, delta);
	return ret;
}

static u64 find_end(const struct refcounts *counts,
		    u64 (*count)(const struct refcounts *counts, u64 hclu))
{
	u32 bits = geometry(counts)->refblock_bits;
	u64 i = counts->nr_blocks, hclu;

	while (i--) {
		if (!counts->blocks[i].now)
			continue;
		for (hclu = (i + 1) << bits; hclu-- > i << bits;) {
			if (count(counts, hclu))
				return hclu + 1;
		}
	}
	return 0;
}

u64 refcounts_end(const struct refcounts *counts)
{
	return find_end(counts, refcounts_get);
}

u64 refcounts_old_end(const struct refcounts *counts)
{
	return find_end(counts, get_old);
}

/* ------------------------------------------------------------------------
 * Allocation
 */

static bool is_free(const struct refcounts *counts, u64 hclu)
{
	return !refcounts_get(counts, hclu) && !get_old(counts, hclu) &&
	       !(counts->is_taken && counts->is_taken(counts->is_taken_data, hclu));
}

int refcounts_alloc(struct refcounts *counts, u64 nr, u64 *hoff)
{
	u64 start, run = 0, i;
	int ret = 0;

	while (!is_free(counts, counts->first_free) && counts->first_free < counts->limit)
		counts->first_free++;
	for (start = counts->first_free; run < nr; start += run + 1) {
		if (start >= counts->limit || nr > counts->limit - start)
			return err_fail(ERR_NO_SPACE, counts->image->path,
					"no %llu adjoining clusters are free",
					(unsigned long long)nr);
		for (run = 0; run < nr && is_free(counts, start + run);)
			run++;
		if (run == nr)
			break;
	}
	for (i = 0; !ret && i < nr; i++)
		ret = refcounts_set(counts, start + i, 1);
	if (start == counts->first_free)
		counts->first_free += nr;
	*hoff = qcow2_to_off(geometry(counts), start);
	return ret;
}

/* ------------------------------------------------------------------------
 * Write anew
 */

struct placing {
	u64 *places;		/* of the blocks, 0 = not yet */
	u64 nr_places;
	u64 table_hoff;
	u32 table_clusters;
};

static u32 clusters_of_table(const struct refcounts *counts)
{
	return counts->nr_blocks * sizeof(__be64) / geometry(counts)->cluster_size;
}

static int place_block(struct refcounts *counts, struct placing *placing, u64 i)
{
	u64 hoff;
	int ret = refcounts_alloc(counts, 1, &hoff);

	/* Allocation may have made the array longer. */
	if (!ret && counts->nr_blocks != placing->nr_places) {
		placing->places = mem_resize(placing->places, placing->nr_places,
					     counts->nr_blocks, sizeof(*placing->places));
		placing->nr_places = counts->nr_blocks;
	}
	if (ret)
		return ret;
	placing->places[i] = hoff;
	return counts->blocks[i].hoff ? refcounts_add(counts, counts->blocks[i].hoff, 1, -1) : 0;
}

/* The table's new place; false in *@settled if it needs another look at the blocks. */
static int place_table(struct refcounts *counts, struct placing *placing, bool *settled)
{
	int ret = 0;

	if (placing->table_clusters == clusters_of_table(counts))
		return 0;
	*settled = false;
	if (placing->table_clusters)
		ret = refcounts_add(counts, placing->table_hoff, placing->table_clusters, -1);
	else if (counts->table_clusters)
		ret = refcounts_add(counts, counts->table_hoff, counts->table_clusters, -1);
	placing->table_clusters = clusters_of_table(counts);
	return ret ? ret : refcounts_alloc(counts, placing->table_clusters, &placing->table_hoff);
}

static int place(struct refcounts *counts, struct placing *placing)
{
	bool settled;
	int ret = 0;
	u64 i;

	placing->nr_places = counts->nr_blocks;
	placing->places = mem_zalloc(counts->nr_blocks * sizeof(*placing->places));
	do {
		settled = true;
		for (i = 0; !ret && i < counts->nr_blocks; i++) {
			if (!counts->blocks[i].dirty ||
			    (i < placing->nr_places && placing->places[i]))
				continue;
			settled = false;
			ret = place_block(counts, placing, i);
		}
		if (!ret)
			ret = place_table(counts, placing, &settled);
	} while (!ret && !settled);
	return ret;
}

static void write_all(struct refcounts *counts, const struct placing *placing, struct plan *plan)
{
	u32 cluster_size = geometry(counts)->cluster_size;
	__be64 *table;
	u64 i;

	for (i = 0; i < counts->nr_blocks; i++) {
		if (placing->places[i])
			memcpy(plan_write(plan, placing->places[i], cluster_size, "refcount block"),
			       counts->blocks[i].now, cluster_size);
	}
	table = plan_write(plan, placing->table_hoff, placing->table_clusters * (size_t)cluster_size,
			   "refcount table");
	for (i = 0; i < counts->nr_blocks; i++)
		table[i] = cpu_to_be64(placing->places[i] ? placing->places[i] :
							    counts->blocks[i].hoff);
}

int refcounts_stage(struct refcounts *counts, struct plan *plan)
{
	struct placing placing = { 0 };
	int ret;

	if (!counts->dirty)
		return 0;
	ret = grow(counts, 0);
	if (!ret)
		ret = place(counts, &placing);
	if (!ret) {
		write_all(counts, &placing, plan);
		counts->table_hoff = placing.table_hoff;
		counts->table_clusters = placing.table_clusters;
	}
	free(placing.places);
	return ret;
}

void refcounts_discard(const struct refcounts *counts, struct plan *plan)
{
	const struct qcow2_geometry *geo = geometry(counts);
	u64 i, hclu, end, start = 0, run = 0;

	for (i = 0; i < counts->nr_blocks; i++) {
		if (!counts->blocks[i].old)
			continue;
		end = (i + 1) << geo->refblock_bits;
		for (hclu = i << geo->refblock_bits; hclu < end; hclu++) {
			if (refcounts_get(counts, hclu) || !get_old(counts, hclu))
				continue;
			if (!run || start + run != hclu) {
				if (run)
					plan_discard(plan, qcow2_to_off(geo, start),
						     qcow2_to_off(geo, run));
				start = hclu;
				run = 0;
			}
			run++;
		}
	}
	if (run)
		plan_discard(plan, qcow2_to_off(geo, start), qcow2_to_off(geo, run));
}
