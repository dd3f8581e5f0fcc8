// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * L1 and L2 of one image: lookup without sleeping, staging of new entries.
 */
#include <linux/mm.h>
#include <linux/slab.h>
#include "map.h"

int qcow2_map_open(struct qcow2_map *map, u64 l1_hoff, u32 l1_size)
{
	u32 size = qcow2_slice_size(map->geo);
	u32 nr = DIV_ROUND_UP((u64)l1_size * sizeof(__be64), size);
	int ret = -ENOMEM;

	map->l1_size = l1_size;
	map->nr_l1_slices = 0;
	map->l1 = kvcalloc(max(nr, 1U), sizeof(*map->l1), GFP_NOIO);
	map->buffer = kmalloc(size, GFP_NOIO);
	if (map->l1 && map->buffer)
		ret = qcow2_meta_load_table(map->meta, l1_hoff, QCOW2_SLICE_L1, map->l1, nr);
	if (ret)
		qcow2_map_close(map);
	else
		map->nr_l1_slices = nr;
	return ret;
}

void qcow2_map_close(struct qcow2_map *map)
{
	qcow2_meta_put_table(map->l1, map->nr_l1_slices);
	kvfree(map->l1);
	kfree(map->buffer);
	map->l1 = NULL;
	map->buffer = NULL;
	map->nr_l1_slices = 0;
	map->l1_size = 0;
}

/* Slice of the L1 table and index of the entry in it. */
static struct qcow2_slice *l1_slice(const struct qcow2_map *map, u64 goff, u32 *index)
{
	u64 l1_index = qcow2_l1_index(map->geo, goff);
	u32 shift = map->geo->slice_bits - 3;

	if (l1_index >= map->l1_size)
		return NULL;
	*index = l1_index & ((1U << shift) - 1);
	return map->l1[l1_index >> shift];
}

/* Host offset of the L2 slice that holds the entry of @goff, and its word index there. */
static u64 l2_slice_hoff(const struct qcow2_map *map, u64 table, u64 goff, u32 *index)
{
	u64 byte = (u64)qcow2_l2_index(map->geo, goff) << map->geo->l2_entry_bits;
	u32 mask = qcow2_slice_size(map->geo) - 1;

	*index = (byte & mask) / sizeof(__be64);
	return table + (byte & ~(u64)mask);
}

/* The table of @goff: its offset (0 = none) and flag. A verdict if the entry is broken. */
static enum qcow2_verdict l1_entry(const struct qcow2_map *map, u64 goff, u64 *table,
				   bool *copied, u64 *number)
{
	enum qcow2_verdict verdict;
	struct qcow2_slice *slice;
	u32 index;
	u64 raw;

	*table = 0;
	*copied = false;
	*number = 0;
	slice = l1_slice(map, goff, &index);
	if (!slice)
		return QCOW2_OK;
	raw = qcow2_slice_word(slice, index);
	*number = qcow2_slice_number(slice);
	*table = raw & QCOW2_L1_HOFF_MASK;
	*copied = raw & QCOW2_OFLAG_COPIED;
	verdict = QCOW2_OK;
	/* Of a table that is there and aligned the decoder has nothing more to say. */
	if (unlikely(!*table || qcow2_in_cluster(map->geo, *table)))
		verdict = qcow2_l1_decode(map->geo, raw, table, copied);
	if (!verdict && *table >= READ_ONCE(map->end))
		return QCOW2_L1_ENTRY_RANGE;
	return verdict;
}

enum qcow2_table qcow2_map_table(const struct qcow2_map *map, u64 goff, u64 *hoff)
{
	bool copied;
	u64 number;

	if (l1_entry(map, goff, hoff, &copied, &number))
		return QCOW2_TABLE_CORRUPT;
	if (!*hoff)
		return QCOW2_TABLE_NONE;
	return copied ? QCOW2_TABLE_OURS : QCOW2_TABLE_SHARED;
}

u64 qcow2_map_table_references(const struct qcow2_map *map, u64 hoff)
{
	u32 words = 1U << (map->geo->slice_bits - 3), slice, i;
	u64 n = 0;

	lockdep_assert_held(&map->table_lock);
	if (!map->twins)
		return 1;
	for (slice = 0; slice < map->nr_l1_slices; slice++) {
		for (i = 0; i < words && (u64)slice * words + i < map->l1_size; i++)
			n += (qcow2_slice_word(map->l1[slice], i) & QCOW2_L1_HOFF_MASK) == hoff;
		cond_resched();
	}
	return n;
}

static enum qcow2_verdict entry_at(const struct qcow2_map *map, const struct qcow2_slice *slice,
				   u32 index, struct qcow2_l2_entry *entry)
{
	u64 raw, bitmap;

	if (!map->geo->extended_l2)
		return qcow2_l2_decode(map->geo, qcow2_slice_word(slice, index), 0, entry);
	qcow2_slice_pair(slice, index, &raw, &bitmap);
	return qcow2_l2_decode(map->geo, raw, bitmap, entry);
}

/*
 * May guest data lie there: whole clusters inside the image that hold no metadata. In a data file
 * the place was compared with the one that the guest offset gives. In an RCU section.
 */
static enum qcow2_verdict check_place(const struct qcow2_map *map, u64 hoff)
{
	if (map->geo->data_file)
		return QCOW2_OK;
	if (hoff >= READ_ONCE(map->end))
		return QCOW2_L2_ENTRY_RANGE;
	if (__qcow2_metaset_contains(map->metaset, qcow2_to_clu(map->geo, hoff)))
		return QCOW2_L2_ENTRY_METADATA;
	return QCOW2_OK;
}

enum qcow2_verdict qcow2_map_entry(const struct qcow2_map *map, const struct qcow2_slice *slice,
				   u64 goff, struct qcow2_l2_entry *entry)
{
	enum qcow2_verdict why;
	u32 index;

	l2_slice_hoff(map, 0, goff, &index);
	why = entry_at(map, slice, index, entry);
	if (why)
		return why;
	if (map->geo->data_file)
		return qcow2_l2_data_file(entry, goff - qcow2_in_cluster(map->geo, goff));
	rcu_read_lock();
	if (entry->has_host)
		why = check_place(map, entry->hoff);
	rcu_read_unlock();
	return why;
}

u32 qcow2_map_compressed_length(const struct qcow2_map *map, const struct qcow2_l2_entry *entry)
{
	u64 hclu, last;
	u32 len;

	if (entry->hoff >= map->old_end)
		return 0;
	len = min_t(u64, entry->compressed_length, map->old_end - entry->hoff);
	last = qcow2_compressed_last_clu(map->geo, entry->hoff, len);
	for (hclu = qcow2_to_clu(map->geo, entry->hoff); hclu <= last; hclu++) {
		if (qcow2_metaset_contains(map->metaset, hclu))
			return 0;
	}
	return len;
}

static enum qcow2_verdict extent_of(const struct qcow2_map *map, const struct qcow2_slice *slice,
				    u32 index, bool table_ours, struct qcow2_extent *extent)
{
	struct qcow2_l2_entry entry;
	enum qcow2_verdict verdict;

	verdict = entry_at(map, slice, index, &entry);
	if (verdict)
		return verdict;
	extent->hoff = entry.hoff;
	extent->owned = table_ours && entry.copied;
	switch (entry.kind) {
	case QCOW2_CLUSTER_UNALLOCATED:
		extent->kind = QCOW2_EXTENT_BELOW;
		return QCOW2_OK;
	case QCOW2_CLUSTER_ZERO_PLAIN:
		extent->kind = QCOW2_EXTENT_ZERO;
		return QCOW2_OK;
	case QCOW2_CLUSTER_ZERO_ALLOC:
		extent->kind = QCOW2_EXTENT_ZERO;
		break;
	case QCOW2_CLUSTER_DATA:
		extent->kind = QCOW2_EXTENT_DATA;
		break;
	case QCOW2_CLUSTER_COMPRESSED:
		extent->kind = QCOW2_EXTENT_COMPRESSED;
		extent->compressed_length = qcow2_map_compressed_length(map, &entry);
		return QCOW2_OK;
	default:
		return QCOW2_L2_ENTRY_SUBCLUSTERS;
	}
	return check_place(map, entry.hoff);
}

/* Does @next, one cluster further, continue @first, which is @done bytes long? */
static bool extent_continues(const struct qcow2_extent *first, const struct qcow2_extent *next,
			     u64 done)
{
	if (next->kind != first->kind || next->owned != first->owned)
		return false;
	switch (first->kind) {
	case QCOW2_EXTENT_DATA:
		return next->hoff == first->hoff + done;
	case QCOW2_EXTENT_ZERO:
	case QCOW2_EXTENT_BELOW:
		return !first->hoff && !next->hoff;
	default:
		return false;
	}
}

/*
 * The longest run of one kind in @slice from the cluster at @index, which begins @inside bytes
 * before what is wanted. *@done is the length of one cluster, and becomes that of the run.
 */
static enum qcow2_verdict extent_of_clusters(const struct qcow2_map *map,
					     const struct qcow2_slice *slice, u32 index,
					     bool table_ours, u32 inside, u64 len,
					     struct qcow2_extent *extent, u64 *done)
{
	u32 words = 1U << (map->geo->slice_bits - 3), size = map->geo->cluster_size;
	struct qcow2_extent next;
	enum qcow2_verdict why;

	why = extent_of(map, slice, index, table_ours, extent);
	for (; !why && *done < inside + len; *done += size) {
		index++;
		if (index >= words || extent_of(map, slice, index, table_ours, &next) ||
		    !extent_continues(extent, &next, *done))
			break;
	}
	return why;
}

/* The run of subclusters from @subcluster on in the cluster of one entry; *@run is its length. */
static enum qcow2_verdict subclusters_of(const struct qcow2_map *map,
					 const struct qcow2_slice *slice, u32 index,
					 u32 subcluster, bool table_ours,
					 struct qcow2_extent *extent, u32 *run)
{
	struct qcow2_l2_entry entry;
	enum qcow2_verdict verdict;

	verdict = entry_at(map, slice, index, &entry);
	if (verdict)
		return verdict;
	extent->hoff = 0;
	extent->owned = false;
	switch (qcow2_l2_subcluster(&entry, subcluster, run)) {
	case QCOW2_CLUSTER_DATA:
		extent->kind = QCOW2_EXTENT_DATA;
		extent->hoff = entry.hoff;
		extent->owned = table_ours && entry.copied;
		break;
	case QCOW2_CLUSTER_COMPRESSED:
		extent->kind = QCOW2_EXTENT_COMPRESSED;
		extent->hoff = entry.hoff;
		extent->compressed_length = qcow2_map_compressed_length(map, &entry);
		return QCOW2_OK;
	case QCOW2_CLUSTER_UNALLOCATED:
		extent->kind = QCOW2_EXTENT_BELOW;
		break;
	default:
		extent->kind = QCOW2_EXTENT_ZERO;
	}
	return entry.has_host ? check_place(map, entry.hoff) : QCOW2_OK;
}

/*
 * The longest run of one kind in @slice from byte @inside of the cluster at @index: clusters
 * follow it where its own subclusters are the same to the end. *@done is where the run ends,
 * in bytes from the start of its first cluster.
 */
static enum qcow2_verdict extent_of_subclusters(const struct qcow2_map *map,
						const struct qcow2_slice *slice, u32 index,
						bool table_ours, u32 inside, u64 len,
						struct qcow2_extent *extent, u64 *done)
{
	const struct qcow2_geometry *geo = map->geo;
	u32 words = 1U << (geo->slice_bits - 3), step = 1U << (geo->l2_entry_bits - 3), run;
	u32 subcluster = qcow2_subcluster_index(geo, inside);
	struct qcow2_extent next;
	enum qcow2_verdict why;

	why = subclusters_of(map, slice, index, subcluster, table_ours, extent, &run);
	if (why)
		return why;
	*done = (u64)(subcluster + run) << geo->subcluster_bits;
	while (!qcow2_in_cluster(geo, *done) && *done < inside + len) {
		index += step;
		if (index >= words ||
		    subclusters_of(map, slice, index, 0, table_ours, &next, &run) ||
		    !extent_continues(extent, &next, *done))
			break;
		*done += (u64)run << geo->subcluster_bits;
	}
	return QCOW2_OK;
}

/*
 * What nearly every request finds: the cluster at @index holds plain data. False: the decoder
 * has to say what it is. With extended L2 and with a data file it takes more than this word.
 */
static __always_inline bool extent_is_data(const struct qcow2_map *map,
					   const struct qcow2_slice *slice, u32 index,
					   bool table_ours, struct qcow2_extent *extent)
{
	const struct qcow2_geometry *geo = map->geo;
	u64 raw, hoff;

	if (unlikely(geo->extended_l2 || geo->data_file))
		return false;
	raw = qcow2_slice_word(slice, index);
	hoff = raw & QCOW2_L2_HOFF_MASK;
	if (unlikely((raw & (QCOW2_OFLAG_COMPRESSED | QCOW2_OFLAG_ZERO)) || !hoff ||
		     qcow2_in_cluster(geo, hoff) || check_place(map, hoff)))
		return false;
	extent->kind = QCOW2_EXTENT_DATA;
	extent->hoff = hoff;
	extent->owned = table_ours && (raw & QCOW2_OFLAG_COPIED);
	return true;
}

static void extent_broken(struct qcow2_extent *extent, enum qcow2_verdict why, u64 len)
{
	extent->kind = QCOW2_EXTENT_CORRUPT;
	extent->why = why;
	extent->hoff = 0;
	extent->owned = false;
	extent->len = len;
}

void qcow2_map_lookup(const struct qcow2_map *map, u64 goff, u64 len,
		      struct qcow2_extent *extent)
{
	const struct qcow2_geometry *geo = map->geo;
	u32 inside = qcow2_in_cluster(geo, goff);
	struct qcow2_l2_entry entry;
	struct qcow2_slice *slice;
	enum qcow2_verdict why;
	u64 table, number, done = geo->cluster_size - inside;
	bool copied;
	u32 index;

	extent->hoff = 0;
	extent->owned = false;
	why = l1_entry(map, goff, &table, &copied, &number);
	extent->number = number;
	if (why) {
		extent_broken(extent, why, min(len, done));
		return;
	}
	if (!table) {
		u64 span = 1ULL << qcow2_l1_shift(geo);

		extent->kind = QCOW2_EXTENT_BELOW;
		extent->len = min(len, span - (goff & (span - 1)));
		return;
	}
	rcu_read_lock();
	slice = qcow2_meta_peek(map->meta, l2_slice_hoff(map, table, goff, &index));
	if (!slice) {
		rcu_read_unlock();
		extent->kind = QCOW2_EXTENT_MISS;
		extent->len = min(len, done);
		return;
	}
	if (len <= done && extent_is_data(map, slice, index, copied, extent)) {
		extent->number = max(number, qcow2_slice_number(slice));
		rcu_read_unlock();
		extent->len = len;
		extent->hoff += inside;
		return;
	}
	/* The run is measured from the start of its first cluster. */
	done = geo->cluster_size;
	if (geo->extended_l2)
		why = extent_of_subclusters(map, slice, index, copied, inside, len, extent, &done);
	else
		why = extent_of_clusters(map, slice, index, copied, inside, len, extent, &done);
	/* A run of data that begins at its place is there as a whole. */
	if (!why && unlikely(geo->data_file))
		why = qcow2_map_entry(map, slice, goff, &entry);
	extent->number = max(number, qcow2_slice_number(slice));
	if (why)
		extent_broken(extent, why, done);
	rcu_read_unlock();
	extent->len = min(len, done - inside);
	/* Data may be at offset 0: of a data file. */
	if (extent->kind == QCOW2_EXTENT_DATA ||
	    (extent->hoff && extent->kind != QCOW2_EXTENT_COMPRESSED))
		extent->hoff += inside;
}

struct load_check {
	const struct qcow2_map *map;
	u64 goff;
	u64 table;
};

/* Under meta->lock: is the table that was read still the one of this range? */
static bool table_unchanged(void *arg)
{
	const struct load_check *check = arg;
	u64 table, number;
	bool copied;

	return !l1_entry(check->map, check->goff, &table, &copied, &number) &&
	       table == check->table;
}

static struct qcow2_slice *slice_read(struct qcow2_map *map, u64 goff,
				      struct qcow2_slice **fresh)
{
	struct load_check check = { .map = map, .goff = goff };
	enum qcow2_verdict why;
	u64 number, hoff;
	u32 index;
	bool copied;

	why = l1_entry(map, goff, &check.table, &copied, &number);
	if (why || !check.table)
		return ERR_PTR(why ? -EUCLEAN : -ENOENT);
	hoff = l2_slice_hoff(map, check.table, goff, &index);
	/* The file was cut: what is no longer there must not read as a table of holes. */
	if (hoff >= qcow2_backend_size(map->meta->backend))
		return ERR_PTR(-EUCLEAN);
	return qcow2_meta_read(map->meta, hoff, fresh, table_unchanged, &check);
}

/* The same, inside the epoch; but nobody is inside while he waits for memory, if he does. */
static struct qcow2_slice *slice_get(struct qcow2_map *map, u64 goff, bool wait)
{
	struct qcow2_slice *fresh = NULL, *slice;
	unsigned int epoch;

	for (;;) {
		epoch = qcow2_epoch_enter(map->epoch);
		slice = slice_read(map, goff, &fresh);
		qcow2_epoch_leave(map->epoch, epoch);
		if (slice)
			break;
		fresh = qcow2_meta_fresh(map->meta, QCOW2_SLICE_L2, wait);
		if (!fresh)
			return ERR_PTR(-ENOMEM);
	}
	if (fresh)
		qcow2_meta_put(fresh);
	return slice;
}

int qcow2_map_load(struct qcow2_map *map, u64 goff, bool wait, struct qcow2_slice **slice)
{
	int ret = 0;

	*slice = slice_get(map, goff, wait);
	if (IS_ERR(*slice)) {
		ret = PTR_ERR(*slice);
		*slice = NULL;
	}
	return ret == -EAGAIN || ret == -ENOENT ? 0 : ret;
}

struct qcow2_slice *qcow2_map_pin(struct qcow2_map *map, u64 goff)
{
	struct qcow2_slice *slice;

	do {
		slice = slice_get(map, goff, true);
	} while (slice == ERR_PTR(-EAGAIN));
	return slice;
}

void qcow2_map_watch(struct qcow2_map *map, struct qcow2_watch *watch)
{
	unsigned long flags;

	spin_lock_irqsave(&map->meta->lock, flags);
	map->watch = watch;
	spin_unlock_irqrestore(&map->meta->lock, flags);
}

/* Mark the clusters that @raw of an L1 or L2 table refers to. */
static void mark_entry(const struct qcow2_map *map, const struct qcow2_slice *slice, u64 raw)
{
	struct qcow2_l2_entry entry;
	u64 hclu, last;

	lockdep_assert_held(&map->meta->lock);
	if (slice->kind == QCOW2_SLICE_L1) {
		qcow2_watch_mark(map->watch,
				 qcow2_to_clu(map->geo, raw & QCOW2_L1_HOFF_MASK), 1);
		return;
	}
	if (map->geo->data_file || qcow2_l2_decode(map->geo, raw, 0, &entry))
		return;
	hclu = qcow2_to_clu(map->geo, entry.hoff);
	last = hclu;
	if (entry.kind == QCOW2_CLUSTER_COMPRESSED)
		last = qcow2_compressed_last_clu(map->geo, entry.hoff, entry.compressed_length);
	if (entry.hoff)
		qcow2_watch_mark(map->watch, hclu, last - hclu + 1);
}

/* Only an entry of an extended L2 table has a @bitmap. */
static u64 change_entry(const struct qcow2_map *map, struct qcow2_slice *slice, u32 index,
			u64 raw, u64 bitmap)
{
	unsigned long flags = qcow2_meta_change(slice);
	u64 number = slice->number;

	if (unlikely(map->watch)) {
		mark_entry(map, slice, qcow2_slice_word(slice, index));
		mark_entry(map, slice, raw);
	}
	if (map->geo->extended_l2 && slice->kind == QCOW2_SLICE_L2)
		__qcow2_slice_set_pair(slice, index, raw, bitmap);
	else
		WRITE_ONCE(slice->data[index], cpu_to_be64(raw));
	spin_unlock_irqrestore(&slice->meta->lock, flags);
	return number;
}

u64 qcow2_map_stage(struct qcow2_map *map, struct qcow2_slice *slice, u64 goff, u64 raw,
		    u64 bitmap)
{
	u32 index;

	l2_slice_hoff(map, 0, goff, &index);
	return change_entry(map, slice, index, raw, bitmap);
}

u64 qcow2_map_stage_table(struct qcow2_map *map, u64 goff, u64 hoff)
{
	struct qcow2_slice *slice;
	u32 index;

	slice = l1_slice(map, goff, &index);
	if (WARN_ON_ONCE(!slice))
		return 0;
	return change_entry(map, slice, index, qcow2_l1_encode(hoff, true), 0);
}

int qcow2_map_copy_table(struct qcow2_map *map, u64 from, u64 to)
{
	u32 size = qcow2_slice_size(map->geo);
	u32 step = 1U << (map->geo->l2_entry_bits - 3);
	__be64 *words = map->buffer;
	u32 done, i;
	int ret;

	lockdep_assert_held(&map->table_lock);
	for (done = 0; done < map->geo->cluster_size; done += size) {
		ret = qcow2_backend_read_table(map->meta->backend, from + done, words, size,
					       map->geo->cluster_size);
		if (ret)
			return ret;
		for (i = 0; i < size / sizeof(__be64); i += step) {
			u64 raw = be64_to_cpu(words[i]);

			words[i] = cpu_to_be64(raw & ~QCOW2_OFLAG_COPIED);
		}
		ret = qcow2_backend_write(map->meta->backend, to + done, words, size);
		if (ret)
			return ret;
	}
	return 0;
}
