// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Begin, commit and end of an edit. How the commit is safe: plan.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "edit.h"
#include "err.h"
#include "holder.h"
#include "lock.h"
#include "mem.h"
#include "progress.h"
#include "text.h"

#define SECTOR	512

/* ------------------------------------------------------------------------
 * Begin
 */

/* False, and nothing is printed: no view is ours. */
static bool refuse_view(const struct image *image)
{
	struct device *devices;
	bool found = false;
	size_t count, i;

	device_list(&devices, &count);
	for (i = 0; i < count && !found; i++) {
		found = !device_layer_of(&devices[i], image) && device_view(&devices[i]);
		if (found)
			err_fail(ERR_BUSY, image->path, "snapshot %s is attached as %s (%s)",
				 device_view(&devices[i]), devices[i].dm.name, devices[i].number);
	}
	device_release_list(devices, count);
	return found;
}

int edit_refuse_locked(const struct image *image, int byte)
{
	if (byte < 0)
		return err_errno_what(-byte, image->path, "cannot lock the image");
	/* Whoever write-locks these is of our kind. */
	int edited = lock_probe_edit(image->fd);

	if (edited > 0)
		byte = edited;
	MEM_FREE char *holder = holder_of_byte(&image->st, byte);
	MEM_FREE char *shown = holder ? text_printable(holder) : NULL;

	if (edited > 0)
		return err_fail(ERR_BUSY, image->path, "another edit of the image is under way%s%s",
				shown ? ": " : "", shown ? shown : "");
	if (byte == LOCK_GRAPH && refuse_view(image))
		return ERR_BUSY;
	if (byte == LOCK_GRAPH)
		return err_fail(ERR_BUSY, image->path, "a view of a snapshot is attached%s%s",
				shown ? ": " : "", shown ? shown : "");
	err_fail(ERR_LOCKED, image->path, "image is locked by another process (byte %d)%s%s",
		 byte, shown ? ": " : "", shown ? shown : "");
	err_hint("end the virtual machine or the program that has it; info and list need no lock");
	return ERR_LOCKED;
}

int edit_lock(struct image *image, bool graph)
{
	int ret = image_open_direct(image, true);

	if (ret)
		return ret;
	/* Of two edits that begin at once, one gets the image. */
	ret = lock_take_edit(image->fd, graph);
	if (!ret)
		ret = lock_take(image->fd, LOCK_WRITER);
	return ret ? edit_refuse_locked(image, ret) : 0;
}

int edit_open_reader(struct target *target, const char *text, enum edit_reader what, u64 room)
{
	int ret = what == EDIT_READS_DAMAGED ? target_open_damaged(target, text) :
					       target_open(target, text);

	return ret ? ret : edit_take_reader(target, what, room);
}

int edit_take_reader(struct target *target, enum edit_reader what, u64 room)
{
	const struct image *image = &target->image;
	int ret;

	if (target->is_device)
		return edit_hold_reader(target, what, room);
	if (target->device)
		return err_fail(ERR_BUSY, image->path, "image is in use by device %s",
				target->device);
	ret = lock_take(image->fd, LOCK_READER);
	if (ret)
		return edit_refuse_locked(image, ret);
	/* It was looked at before it was locked. */
	return what == EDIT_READS_DAMAGED ? image_verify_damaged(&target->image) :
					    image_verify(&target->image);
}

int edit_check_unclean(const struct image *image)
{
	const struct qcow2_header *h = &image->header;
	bool corrupt = h->incompatible_features & QCOW2_INCOMPAT_CORRUPT;
	MEM_FREE char *path = text_shell(image->path);

	if (!corrupt && !(h->incompatible_features & QCOW2_INCOMPAT_DIRTY))
		return 0;
	err_fail(ERR_CORRUPT, image->path, "image is %s",
		 corrupt ? "marked corrupt" : "dirty (it was not closed cleanly)");
	err_hint("qcow2ctl repair %s", path);
	return ERR_CORRUPT;
}

int edit_check_size(const struct edit *edit, u64 size)
{
	const struct qcow2_geometry *geo = &edit->image->geo;

	if (edit->snapshots.count && edit->header.version < 3)
		return err_fail(ERR_UNSUPPORTED, edit->image->path,
				"an image of version 2 that has snapshots must keep its size");
	if (qcow2_l1_needed(geo, size) <= QCOW2_MAX_L1_BYTES / sizeof(__be64))
		return 0;
	return err_fail(ERR_FAILED, edit->image->path,
			"a disk of %llu bytes needs clusters larger than %u bytes",
			(unsigned long long)size, geo->cluster_size);
}

static u64 table_clusters(const struct edit *edit, u64 len)
{
	return qcow2_to_clu(&edit->image->geo, qcow2_round_up(&edit->image->geo, len));
}

void edit_init_mapping(struct edit *edit, struct mapping *mapping)
{
	memset(mapping, 0, sizeof(*mapping));
	mapping->image = edit->image;
	mapping->counts = &edit->counts;
	mapping->tables = &edit->tables;
	mapping->plan = &edit->plan;
}

/*
 * An allocator that follows wrong counts would write over what is in use, and
 * an entry that leads into metadata frees it when it goes: the metadata at
 * least must be counted, before and after. Whoever goes through the data finds
 * out about that.
 */
static int verify_counts(const struct edit *edit)
{
	const struct refcounts *counts = &edit->counts;
	const struct qcow2_header *h = &edit->header;
	u64 i, hoff;
	int ret;

	if (edit->flags & (EDIT_UNCLEAN | EDIT_HEADER))
		return 0;

	ret = refcounts_verify(counts, 0, 1);
	if (!ret)
		ret = refcounts_verify(counts, h->refcount_table_offset,
				       h->refcount_table_clusters);
	if (!ret)
		ret = refcounts_verify(counts, h->l1_table_offset,
				       table_clusters(edit, h->l1_size * (u64)sizeof(__be64)));
	if (!ret)
		ret = refcounts_verify(counts, h->snapshots_offset,
				       table_clusters(edit, edit->snapshots.len));
	/* Those that have changed have got new places, which are counted. */
	for (i = 0; !ret && i < counts->nr_blocks; i++) {
		if (!counts->blocks[i].dirty)
			ret = refcounts_verify(counts, counts->blocks[i].hoff, 1);
	}
	for (i = 0; !ret && i < edit->active.size; i++) {
		hoff = edit->active.l1[i] & QCOW2_L1_HOFF_MASK;
		ret = refcounts_verify(counts, hoff, 1);
	}
	for (i = 0; !ret && i < edit->snapshots.count; i++) {
		const struct qcow2_snapshot *snap = &edit->snapshots.entries[i];

		ret = refcounts_verify(counts, snap->l1_table_offset,
				       table_clusters(edit, snap->l1_size * (u64)sizeof(__be64)));
	}
	return ret;
}

/* Metadata as the header says it is. */
static int load(struct edit *edit)
{
	const struct qcow2_header *h = &edit->image->header;
	int ret;

	ret = snapshot_table_read(edit->image, &edit->snapshots);
	edit->snapshots_hoff = h->snapshots_offset;
	edit->snapshots_len = edit->snapshots.len;
	if (!ret && !(edit->flags & EDIT_UNCLEAN))
		ret = refcounts_load(&edit->counts, edit->image, false);
	if (!ret)
		ret = mapping_load(&edit->active, h->l1_table_offset, h->l1_size);
	return ret ? ret : verify_counts(edit);
}

/* Everything that can be known while the device runs. */
static int open_device(struct edit *edit, edit_check *check, void *data)
{
	int ret = 0;

	edit->header = edit->image->header;
	edit->first_size = edit->header.size;
	if (check)
		ret = snapshot_table_read(edit->image, &edit->snapshots);
	if (!ret && check)
		ret = check(edit, data);
	if (!ret)
		ret = edit_hold_device(edit);
	snapshot_table_release(&edit->snapshots);
	return ret;
}

static int open_image(struct edit *edit, const char *text, edit_check *check, void *data)
{
	bool damaged = edit->flags & EDIT_UNCLEAN;
	int ret = damaged ? target_open_damaged(&edit->target, text) :
			    target_open(&edit->target, text);

	if (ret)
		return ret;
	if (edit->target.is_device && edit->flags & EDIT_ONLINE)
		ret = open_device(edit, check, data);
	else if (edit->target.device)
		return err_fail(ERR_BUSY, edit->image->path, "image is in use by device %s",
				edit->target.device);
	else
		ret = edit_lock(edit->image, edit->flags & EDIT_GRAPH);
	/* It was looked at before it was ours. */
	if (ret)
		return ret;
	return damaged ? image_verify_damaged(edit->image) : image_verify(edit->image);
}

int edit_begin(struct edit *edit, const char *text, const struct edit_options *options,
	       unsigned int flags)
{
	return edit_begin_checked(edit, text, options, flags, NULL, NULL);
}

/* The image is ours: see what is in it. */
static int begin(struct edit *edit)
{
	edit->header = edit->image->header;
	edit->old_end = edit->image->end;
	plan_init(&edit->plan, edit->image, edit->options->dry_run);
	tables_init(&edit->tables, edit->image);
	edit_init_mapping(edit, &edit->active);
	return edit->flags & EDIT_HEADER ? 0 : load(edit);
}

int edit_begin_checked(struct edit *edit, const char *text, const struct edit_options *options,
		       unsigned int flags, edit_check *check, void *data)
{
	const struct image closed = IMAGE_CLOSED;
	int ret;

	memset(edit, 0, sizeof(*edit));
	edit->options = options;
	edit->flags = flags;
	edit->image = &edit->target.image;
	*edit->image = closed;
	progress_start(options->progress, text);
	ret = open_image(edit, text, check, data);
	if (!ret && !(flags & EDIT_UNCLEAN))
		ret = edit_check_unclean(edit->image);
	return ret ? ret : begin(edit);
}

static void release(struct edit *edit)
{
	plan_release(&edit->plan);
	refcounts_release(&edit->counts);
	tables_release(&edit->tables);
	mapping_release(&edit->active);
	snapshot_table_release(&edit->snapshots);
	free(edit->cluster);
	edit->cluster = NULL;
}

int edit_again(struct edit *edit)
{
	bool damaged = edit->flags & EDIT_UNCLEAN;
	int ret;

	edit_fit_device(edit);
	release(edit);
	edit->committed = false;
	edit->snapshots_dirty = false;
	edit->snapshots_hoff = 0;
	edit->snapshots_len = 0;
	/* What the next one does can be interrupted until its own header is written. */
	progress_end();
	progress_start(edit->options->progress,
		       edit->target.device ? edit->target.device : edit->image->path);
	ret = damaged ? image_verify_damaged(edit->image) : image_verify(edit->image);
	return ret ? ret : begin(edit);
}

int edit_end(struct edit *edit, int ret)
{
	struct image *image = edit->image;
	int error;

	/* Clusters that were written in vain lie behind the old end, as far as they can. */
	if (!edit->committed && image->fd >= 0 && !image->is_block && image->end > edit->old_end &&
	    edit->plan.image && ftruncate(image->fd, edit->old_end))
		err_debug("%s: cannot cut it: %s", image->path, strerror(errno));
	edit_fit_device(edit);
	progress_clear();
	release(edit);
	error = target_close(&edit->target);
	progress_end();
	return ret ? ret : error;
}

int edit_load_snapshot(struct edit *edit, u32 index, struct mapping *mapping)
{
	const struct qcow2_snapshot *snap = &edit->snapshots.entries[index];
	enum qcow2_verdict verdict = qcow2_snapshot_l1(&edit->image->geo, snap);

	edit_init_mapping(edit, mapping);
	if (verdict)
		return err_fail(err_code(qcow2_verdict_errno(verdict)), edit->image->path,
				"snapshot %u: %s", index, qcow2_verdict_text(verdict));
	return mapping_load(mapping, snap->l1_table_offset, snap->l1_size);
}

int edit_find_snapshot(const struct edit *edit, const char *id, u32 *index)
{
	if (snapshot_table_find(&edit->snapshots, id, index))
		return 0;
	return err_fail(ERR_NOT_FOUND, edit->image->path, "there is no snapshot '%s'", id);
}

/* ------------------------------------------------------------------------
 * Commit
 */

static int stage_snapshots(struct edit *edit)
{
	const struct snapshot_table *table = &edit->snapshots;
	u64 clusters = table_clusters(edit, table->len), hoff = 0;
	int ret = 0;

	if (!edit->snapshots_dirty)
		return 0;
	if (table->len > QCOW2_MAX_SNAPSHOT_TABLE_BYTES)
		return err_fail(ERR_CORRUPT, edit->image->path, "%s",
				qcow2_verdict_text(QCOW2_SNAPSHOT_TABLE_TOO_LARGE));
	if (edit->snapshots_len)
		ret = refcounts_add(&edit->counts, edit->snapshots_hoff,
				    table_clusters(edit, edit->snapshots_len), -1);
	if (!ret && clusters) {
		ret = refcounts_alloc(&edit->counts, clusters, &hoff);
		if (!ret)
			memcpy(plan_write(&edit->plan, hoff,
					  qcow2_to_off(&edit->image->geo, clusters),
					  "snapshot table"),
			       table->bytes, table->len);
	}
	edit->header.nb_snapshots = table->count;
	edit->header.snapshots_offset = hoff;
	return ret;
}

static int stage(struct edit *edit)
{
	int ret = mapping_stage(&edit->active);

	if (!ret)
		ret = stage_snapshots(edit);
	if (!ret)
		ret = refcounts_stage(&edit->counts, &edit->plan);
	if (ret || edit->flags & EDIT_HEADER)
		return ret;
	edit->header.l1_table_offset = edit->active.hoff;
	edit->header.l1_size = edit->active.size;
	edit->header.refcount_table_offset = edit->counts.table_hoff;
	edit->header.refcount_table_clusters = edit->counts.table_clusters;
	return 0;
}

/* The one write that makes the new image out of the old one. */
static int write_header(struct edit *edit)
{
	const u8 *cluster = edit->cluster ? edit->cluster : edit->image->cluster;
	size_t len_of = edit->cluster ? edit->cluster_len : edit->image->cluster_len;
	size_t have = len_of < SECTOR ? len_of : SECTOR;
	u8 *sector = plan_write(&edit->plan, 0, SECTOR, "header");
	struct qcow2_header_disk disk;
	u32 len;

	/* Promises of others that we do not know how to keep. */
	edit->header.autoclear_features &= QCOW2_AUTOCLEAR_KNOWN;
	len = qcow2_header_encode(&edit->header, &disk);
	memcpy(sector, cluster, have);
	memcpy(sector, &disk, len);
	edit->committed = !edit->options->dry_run;
	progress_commit();
	return plan_barrier(&edit->plan);
}

/* Behind what was counted there may have been what was not, but should have been: that stays. */
static int shorten(struct edit *edit)
{
	u64 end;

	if (edit->keep_end || edit->image->is_block)
		return 0;
	end = qcow2_to_off(&edit->image->geo, refcounts_old_end(&edit->counts));
	if (edit->old_end > end)
		return 0;
	end = qcow2_to_off(&edit->image->geo, refcounts_end(&edit->counts));
	return end < edit->image->end ? plan_truncate(&edit->plan, end) : 0;
}

int edit_commit(struct edit *edit)
{
	int ret;

	progress_phase("writing");
	ret = stage(edit);
	if (!ret)
		ret = verify_counts(edit);
	if (!ret)
		ret = plan_barrier(&edit->plan);
	if (!ret)
		ret = progress_step(0, 1);
	if (!ret)
		ret = write_header(edit);
	if (ret || edit->flags & EDIT_HEADER)
		return ret;
	refcounts_discard(&edit->counts, &edit->plan);
	ret = shorten(edit);
	err_debug("%s: %llu bytes written, %llu bytes read, %llu of them L2 tables, %llu barriers",
		  edit->image->path, (unsigned long long)edit->plan.written,
		  (unsigned long long)image_bytes_read(), (unsigned long long)edit->tables.read,
		  (unsigned long long)edit->plan.barriers);
	return ret;
}
