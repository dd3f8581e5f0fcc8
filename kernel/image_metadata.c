// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Tables into memory, and where all the metadata of the image lies.
 */
#include <linux/mm.h>
#include <linux/slab.h>
#include "image_metadata.h"
#include "image_snapshot.h"
#include "reftable.h"

static void report_overlap(struct qcow2_image *image, u64 hoff, const char *what)
{
	DMERR_LIMIT("%s: %s at 0x%llx overlaps other metadata",
		    qcow2_backend_device(&image->backend), what, hoff);
	image->damaged = true;
}

/* Add the clusters of [@hoff, @hoff + @len). An overlap makes the image damaged. */
static int add_clusters(struct qcow2_image *image, u64 hoff, u64 len, const char *what)
{
	const struct qcow2_geometry *geo = &image->geo;
	u64 hclu = qcow2_to_clu(geo, hoff);
	u64 end = qcow2_to_clu(geo, qcow2_round_up(geo, hoff + len));
	int ret;

	for (; hclu < end; hclu++) {
		ret = qcow2_metaset_add(&image->metaset, hclu);
		if (ret == -EEXIST)
			report_overlap(image, qcow2_to_off(geo, hclu), what);
		else if (ret)
			return ret;
	}
	return 0;
}

struct inactive {
	const struct qcow2_image *image;
	struct qcow2_metaset_range *ranges;
	u32 nr;
};

/* One that cannot be used is not protected, as in QEMU: using it fails. */
static void note_inactive(void *arg, const void *table, const struct qcow2_snapshot *snap)
{
	struct inactive *list = arg;
	const struct qcow2_geometry *geo = &list->image->geo;
	u64 end = snap->l1_table_offset + snap->l1_size * (u64)sizeof(__be64);

	if (!snap->l1_size || qcow2_snapshot_l1(geo, snap))
		return;
	list->ranges[list->nr].first = qcow2_to_clu(geo, snap->l1_table_offset);
	list->ranges[list->nr++].end = qcow2_to_clu(geo, qcow2_round_up(geo, end));
}

/*
 * The L1 tables of snapshots, where somebody may write, and the length of the
 * snapshot table, which only its entries tell. Where one cannot be decoded nobody
 * knows where those behind it lie: the image is damaged.
 */
static int collect_snapshots(struct qcow2_image *image, u64 *length)
{
	const struct qcow2_header *h = &image->header;
	struct inactive list = { .image = image };
	u32 count;
	int ret;

	*length = 0;
	if (!h->nb_snapshots)
		return 0;
	if (image->view) {
		*length = image->view->table_length;
		return 0;
	}
	if (!image->writable)
		return qcow2_image_snapshots(&image->backend, h, NULL, NULL, length, NULL);
	list.ranges = kvmalloc_array(h->nb_snapshots, sizeof(*list.ranges), GFP_NOIO);
	if (!list.ranges)
		return -ENOMEM;
	ret = qcow2_image_snapshots(&image->backend, h, note_inactive, &list, length, &count);
	if (ret) {
		kvfree(list.ranges);
		return ret;
	}
	if (count < h->nb_snapshots) {
		DMERR_LIMIT("%s: snapshot %u cannot be read",
			    qcow2_backend_device(&image->backend), count);
		image->damaged = true;
	}
	if (qcow2_metaset_fix(&image->metaset, list.ranges, list.nr)) {
		DMERR_LIMIT("%s: L1 tables of snapshots overlap",
			    qcow2_backend_device(&image->backend));
		image->damaged = true;
	}
	return 0;
}

/* First what is fixed in the set: all that follows is compared with it. */
static int collect_fixed(struct qcow2_image *image)
{
	const struct qcow2_header *h = &image->header;
	u64 length;
	int ret;

	ret = collect_snapshots(image, &length);
	if (!ret)
		ret = add_clusters(image, 0, 1, "header");
	if (!ret)
		ret = add_clusters(image, h->l1_table_offset, (u64)h->l1_size * sizeof(__be64),
				   "L1 table");
	if (!ret)
		ret = add_clusters(image, h->refcount_table_offset,
				   (u64)h->refcount_table_clusters << h->cluster_bits,
				   "refcount table");
	if (!ret)
		ret = add_clusters(image, h->snapshots_offset, length, "snapshot table");
	return ret;
}

/* The L1 table that maps the disk: the active one, or the snapshot's; none of a stale view. */
static int open_map(struct qcow2_image *image)
{
	const struct qcow2_snapshot *entry;
	int ret;

	if (!image->view)
		return qcow2_map_open(&image->map, image->header.l1_table_offset,
				      image->header.l1_size);
	entry = &image->view->entry;
	if (READ_ONCE(image->view->stale))
		return qcow2_map_open(&image->map, 0, 0);
	ret = add_clusters(image, entry->l1_table_offset, entry->l1_size * (u64)sizeof(__be64),
			   "L1 table of the snapshot");
	return ret ?: qcow2_map_open(&image->map, entry->l1_table_offset, entry->l1_size);
}

/*
 * One active L2 table. Several L1 entries may lead to one that has no COPIED, as a snapshot's
 * does; the first write under each of them gets a copy. One with COPIED is written where it is.
 */
static int add_table(struct qcow2_image *image, u64 hoff, bool copied)
{
	int ret;

	if (copied)
		return add_clusters(image, hoff, 1, "L2 table");
	ret = qcow2_metaset_share(&image->metaset, qcow2_to_clu(&image->geo, hoff));
	if (ret > 0)
		image->map.twins = true;
	else if (ret == -EEXIST)
		report_overlap(image, hoff, "L2 table");
	else
		return ret;
	return 0;
}

/* The active L2 tables. The lookup refuses a broken entry by itself. */
static int collect_tables(struct qcow2_image *image)
{
	u32 shift = image->geo.slice_bits - 3;
	enum qcow2_verdict verdict;
	u64 raw, hoff;
	bool copied;
	int ret;
	u32 i;

	image->map.twins = false;
	for (i = 0; i < image->map.l1_size; i++) {
		if (!(i & 1023))
			cond_resched();
		raw = qcow2_slice_word(image->map.l1[i >> shift], i & ((1U << shift) - 1));
		if (!raw)
			continue;	/* most of a large disk */
		verdict = qcow2_l1_decode(&image->geo, raw, &hoff, &copied);
		if (verdict || (hoff && hoff >= image->map.end)) {
			DMERR_LIMIT("%s: L1 entry %u: %s",
				    qcow2_backend_device(&image->backend), i,
				    qcow2_verdict_text(verdict ?: QCOW2_L1_ENTRY_RANGE));
			image->damaged = true;
			continue;
		}
		ret = hoff ? add_table(image, hoff, copied) : 0;
		if (ret)
			return ret;
	}
	return 0;
}

static int collect_blocks(struct qcow2_image *image)
{
	struct qcow2_refcount *rc = &image->rc;
	u64 index, hoff, nr = qcow2_reftable_entries(rc);
	int ret;

	for (index = qcow2_reftable_next(rc, 0); index < nr;
	     index = qcow2_reftable_next(rc, index + 1)) {
		if (qcow2_reftable_block(rc, index, &hoff)) {
			DMERR_LIMIT("%s: refcount table entry %llu is broken",
				    qcow2_backend_device(&image->backend), index);
			image->damaged = true;
			continue;
		}
		ret = hoff ? add_clusters(image, hoff, 1, "refcount block") : 0;
		if (ret)
			return ret;
		if (!(index & 1023))
			cond_resched();
	}
	return 0;
}

int qcow2_image_metadata_read(struct qcow2_image *image)
{
	const struct qcow2_header *h = &image->header;
	int ret;

	ret = collect_fixed(image);
	if (!ret)
		ret = open_map(image);
	if (!ret && image->writable)
		ret = qcow2_refcount_open(&image->rc, h->refcount_table_offset,
					  h->refcount_table_clusters);
	if (!ret && image->writable)
		ret = collect_blocks(image);
	if (!ret)
		ret = collect_tables(image);
	if (ret)
		qcow2_image_metadata_forget(image);
	return ret;
}

void qcow2_image_metadata_forget(struct qcow2_image *image)
{
	qcow2_meta_drop_all(&image->meta);
	qcow2_refcount_close(&image->rc);
	qcow2_map_close(&image->map);
	qcow2_metaset_clear(&image->metaset);
	qcow2_unwritten_clear(&image->unwritten);
}
