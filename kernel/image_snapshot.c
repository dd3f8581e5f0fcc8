// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * A view: one internal snapshot of an image as a device of its own, read-only,
 * also while the active layer is written by another device of this kernel.
 *
 * Why that is safe. A snapshot has an L1 table of its own, and each L2 table
 * and cluster that it leads to has a reference for it. The owner writes in
 * place only where both COPIED flags are set, that is where there is no second
 * reference, and frees a cluster only when its last reference goes. So what
 * the snapshot leads to stays where it is and keeps its bytes for as long as
 * the snapshot exists; its L2 tables can be cached, its L1 table is read once.
 * Flags in its tables mean nothing, nobody writes through them.
 *
 * What keeps the snapshot is byte 301, held from the constructor on: who would
 * delete, replace or repair needs it for writing. Edits that only add, as the
 * creation of a snapshot or growth, go on beside a view; they move the snapshot
 * table, so header and table are read until both belong together.
 *
 * Somebody who does not care for locks can still take the snapshot away. All
 * edits are made while the owner is suspended; so the owner, when it resumes
 * and before it writes, has every view of the image look at its entry again
 * (qcow2_claim_recheck()). One that has changed makes the view stale: all its
 * reads fail, those under way too, because a cluster of it may belong to
 * somebody else from now on. The owner goes on.
 *
 * Attaching reads the header, the snapshot table and the snapshot's L1 table,
 * and nothing that grows with the image. In particular nobody looks whether
 * the active tables claim a cluster of the snapshot as theirs alone: that is
 * what a check is for.
 */
#include <linux/ctype.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include "image_snapshot.h"

#define WINDOW		(64U << 10)	/* holds every usual entry, but not two names of 64 KiB */
#define WINDOW_MAX	(256U << 10)
#define HEADER_BYTES	512
#define TRIES		16

/* ------------------------------------------------------------------------
 * The table
 */

static int read_window(struct qcow2_backend *backend, u64 hoff, void *buf, u64 len)
{
	u64 end = qcow2_backend_size(backend);

	/* A file reads as zeros behind its end, a device does not. */
	if (backend->bdev && hoff < end && len > end - hoff) {
		memset(buf + (end - hoff), 0, len - (end - hoff));
		len = end - hoff;
	}
	return qcow2_backend_read(backend, hoff, buf, len);
}

int qcow2_image_snapshots(struct qcow2_backend *backend, const struct qcow2_header *h,
			  void (*found)(void *arg, const void *table,
					const struct qcow2_snapshot *snap),
			  void *arg, u64 *length, u32 *count)
{
	struct qcow2_snapshot snap;
	u64 start = 0, have = 0;
	u32 i, window = WINDOW;
	void *buf;
	int ret = 0;

	*length = 0;
	buf = kvmalloc(WINDOW_MAX, GFP_NOIO);
	if (!buf)
		return -ENOMEM;
	for (i = 0; i < h->nb_snapshots && *length < QCOW2_MAX_SNAPSHOT_TABLE_BYTES; ) {
		if (have && !qcow2_snapshot_decode(buf, have, *length - start, &snap)) {
			if (found)
				found(arg, buf, &snap);
			*length += snap.length;
			i++;
			continue;
		}
		if (have && start == *length) {
			if (window == WINDOW_MAX)
				break;
			window = WINDOW_MAX;
		}
		start = *length;
		have = window;
		ret = read_window(backend, h->snapshots_offset + start, buf, have);
		if (ret)
			break;
	}
	kvfree(buf);
	if (count)
		*count = i;
	return ret;
}

/* ------------------------------------------------------------------------
 * One entry
 */

/* By how well it fits: an id before a name, the first before the others. */
enum { RANK_NONE, RANK_NAME, RANK_ID };

struct search {
	const char *wanted;
	size_t wanted_len;
	int rank;
	struct qcow2_snapshot entry;
	char id[QCOW2_VIEW_ID_MAX + 1];
	bool id_usable;
	u64 table_length;
};

static bool matches(const struct search *search, const void *table,
		    const struct qcow2_string *string)
{
	return string->length == search->wanted_len &&
	       !memcmp(table + string->offset, search->wanted, string->length);
}

static void copy_id(struct search *search, const u8 *id, u32 len)
{
	u32 i;

	search->id_usable = len && len <= QCOW2_VIEW_ID_MAX;
	for (i = 0; search->id_usable && i < len; i++)
		search->id_usable = id[i] && !iscntrl(id[i]);
	if (!search->id_usable)
		len = 0;
	memcpy(search->id, id, len);
	search->id[len] = '\0';
}

static void look(void *arg, const void *table, const struct qcow2_snapshot *snap)
{
	struct search *search = arg;
	int rank = RANK_NONE;

	if (matches(search, table, &snap->id))
		rank = RANK_ID;
	else if (matches(search, table, &snap->name))
		rank = RANK_NAME;
	if (rank <= search->rank)
		return;
	search->rank = rank;
	search->entry = *snap;
	copy_id(search, table + snap->id.offset, snap->id.length);
}

static int read_header(struct qcow2_backend *backend, struct qcow2_header *h)
{
	enum qcow2_verdict verdict;
	void *buf = kmalloc(HEADER_BYTES, GFP_NOIO);
	int ret;

	if (!buf)
		return -ENOMEM;
	ret = qcow2_backend_read(backend, 0, buf, HEADER_BYTES);
	if (!ret) {
		verdict = qcow2_header_decode(buf, HEADER_BYTES, h);
		if (verdict)
			ret = -qcow2_verdict_errno(verdict);
	}
	kfree(buf);
	return ret;
}

/*
 * Look for @id in the table of now. A tool may be at work beside us: the table
 * counts if the header points to it before and after. -EBUSY: it always changes.
 */
static int find(struct qcow2_backend *backend, const char *id, struct search *search,
		struct qcow2_header *h)
{
	struct qcow2_header after;
	int tries, ret;

	for (tries = 0; tries < TRIES; tries++) {
		memset(search, 0, sizeof(*search));
		search->wanted = id;
		search->wanted_len = strlen(id);
		ret = read_header(backend, h);
		if (!ret)
			ret = qcow2_image_snapshots(backend, h, look, search,
						    &search->table_length, NULL);
		if (!ret)
			ret = read_header(backend, &after);
		if (ret)
			return ret;
		if (h->snapshots_offset == after.snapshots_offset &&
		    h->nb_snapshots == after.nb_snapshots && h->size == after.size)
			return 0;
	}
	return -EBUSY;
}

static bool is_same(const struct qcow2_snapshot *a, const struct qcow2_snapshot *b)
{
	return a->l1_table_offset == b->l1_table_offset && a->l1_size == b->l1_size &&
	       a->disk_size == b->disk_size && a->date_sec == b->date_sec &&
	       a->date_nsec == b->date_nsec;
}

/* Old tables store no size; the disk could not be resized then. */
static void set_size(struct qcow2_image *image, u64 disk_size)
{
	const struct qcow2_snapshot *entry = &image->view->entry;

	if (entry->disk_size != QCOW2_SNAPSHOT_NONE)
		disk_size = entry->disk_size;
	WRITE_ONCE(image->size, disk_size & ~511ULL);
	image->geo.virtual_size = image->size;
}

static int refuse(const char **error, const char *sentence, int ret)
{
	*error = sentence;
	return ret;
}

/* Can the entry be used? */
static int check_entry(const struct qcow2_image *image, const struct search *search,
		       const char **error)
{
	const struct qcow2_geometry *geo = &image->geo;
	const struct qcow2_snapshot *entry = &search->entry;
	enum qcow2_verdict verdict;

	if (search->rank == RANK_NONE)
		return refuse(error, "image has no such snapshot", -ENOENT);
	if (!search->id_usable)
		return refuse(error, "id of the snapshot is empty, too long or not printable",
			      -EUCLEAN);
	verdict = qcow2_snapshot_l1(geo, entry);
	if (verdict)
		return refuse(error, qcow2_verdict_text(verdict), -qcow2_verdict_errno(verdict));
	if (entry->l1_size &&
	    entry->l1_table_offset >= qcow2_round_up(geo, qcow2_backend_size(&image->backend)))
		return refuse(error, "L1 table of the snapshot lies beyond the end of the image",
			      -EUCLEAN);
	if (entry->disk_size != QCOW2_SNAPSHOT_NONE &&
	    qcow2_l1_needed(geo, entry->disk_size) > QCOW2_MAX_L1_BYTES / sizeof(__be64))
		return refuse(error, "disk size of the snapshot is larger than an image can be",
			      -EFBIG);
	return 0;
}

/* ------------------------------------------------------------------------
 * The view
 */

int qcow2_view_open(struct qcow2_image *image, const char *id, const char **error)
{
	struct search *search;
	struct qcow2_header h;
	int ret;

	if (image->header.incompatible_features & QCOW2_INCOMPAT_DATA_FILE)
		return refuse(error, "views of an image with external data file are not possible",
			      -EOPNOTSUPP);
	image->view = kzalloc(sizeof(*image->view), GFP_NOIO);
	search = kmalloc(sizeof(*search), GFP_NOIO);
	ret = image->view && search ? 0 : refuse(error, "out of memory", -ENOMEM);
	if (!ret) {
		ret = find(&image->backend, id, search, &h);
		if (ret)
			*error = "cannot read the snapshot table";
	}
	if (!ret)
		ret = check_entry(image, search, error);
	if (!ret) {
		image->view->entry = search->entry;
		strscpy(image->view->id, search->id, sizeof(image->view->id));
		set_size(image, h.size);
	}
	kfree(search);
	if (ret)
		qcow2_view_close(image);
	return ret;
}

void qcow2_view_close(struct qcow2_image *image)
{
	kfree(image->view);
	image->view = NULL;
}

static void make_stale(const struct qcow2_image *image)
{
	struct qcow2_view *view = image->view;

	if (READ_ONCE(view->stale))
		return;
	WRITE_ONCE(view->stale, true);
	DMERR("%s: snapshot %s was deleted or replaced under its view, which fails all reads now",
	      qcow2_backend_device(&image->backend), view->id);
}

int qcow2_view_activate(struct qcow2_image *image)
{
	struct qcow2_view *view = image->view;
	struct search *search = kmalloc(sizeof(*search), GFP_NOIO);
	struct qcow2_header h;
	int ret;

	if (!search)
		return -ENOMEM;
	ret = find(&image->backend, view->id, search, &h);
	if (!ret) {
		if (search->rank != RANK_ID || !is_same(&search->entry, &view->entry))
			make_stale(image);
		image->header.snapshots_offset = h.snapshots_offset;
		image->header.nb_snapshots = h.nb_snapshots;
		view->table_length = search->table_length;
		set_size(image, h.size);
	}
	kfree(search);
	return ret;
}

void qcow2_view_recheck(struct qcow2_use *use)
{
	struct qcow2_image *image = container_of(use, struct qcow2_image, use);
	struct search *search = kmalloc(sizeof(*search), GFP_NOIO);
	struct qcow2_view *view = image->view;
	struct qcow2_header h;

	/* What cannot be looked at cannot be trusted. */
	if (search && !find(&image->backend, view->id, search, &h) &&
	    search->rank == RANK_ID && is_same(&search->entry, &view->entry)) {
		kfree(search);
		return;
	}
	kfree(search);
	make_stale(image);
	view->event(image);
}
