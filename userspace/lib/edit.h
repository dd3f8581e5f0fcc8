/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * An edit of one image from its first lock to its last byte; the one way in
 * which an edit happens.
 *
 *	edit_begin()	open, lock, verify; read counts, L1 table, snapshot table
 *	...		change header, active, snapshots, counts in memory
 *	edit_commit()	write all that has changed to free clusters, then the header
 *	edit_again()	another edit of the image as it is now, before anybody else gets it
 *	edit_end()	give everything back; what was not committed never was
 *
 * Functions returning int print their error and return an exit code.
 */
#ifndef QCOW2CTL_EDIT_H
#define QCOW2CTL_EDIT_H

#include "guard.h"
#include "mapping.h"
#include "snapshot_table.h"
#include "target.h"

struct edit_options {
	bool dry_run, nolockfs;
	u64 timeout;			/* seconds, or CLI_UNSET */
	const char *progress;
};

#define EDIT_SECONDS(options) \
	((options)->timeout == ~0ULL || !(options)->timeout ? GUARD_SECONDS : (unsigned int)(options)->timeout)

enum edit_flags {
	EDIT_GRAPH = 1,		/* frees or replaces what snapshots refer to */
	EDIT_UNCLEAN = 2,	/* dirty, corrupt and damaged images are welcome; counts are not loaded */
	EDIT_HEADER = 4,	/* counts and mappings are not needed */
	EDIT_ONLINE = 8,	/* the image of an attached device, too; it is suspended until edit_end() */
	EDIT_CLOSED = 16,	/* nobody may have that device open */
	EDIT_LAYERED = 32,	/* a layer may stand over the image */
};

struct edit {
	const struct edit_options *options;
	unsigned int flags;
	struct target target;
	struct image *image;		/* = &target.image */
	struct plan plan;
	struct refcounts counts;
	struct tables tables;
	struct mapping active;
	struct snapshot_table snapshots;
	bool snapshots_dirty;
	u64 snapshots_hoff, snapshots_len;	/* as they are on disk */
	struct qcow2_header header;	/* what the new one will say */
	/* with that many bytes of the new header's cluster, if more than its fields change; ours */
	u8 *cluster;
	size_t cluster_len;
	bool keep_end;			/* the file is not cut behind its last cluster */
	u64 old_end;
	bool committed;			/* the header may have been written */
	u64 first_size;			/* bytes of the new disk; a device is made so short at first */
	u64 more;			/* bytes that it needs beside what every edit needs */
	const char *beside;		/* a file that is written, too, or NULL (edit_data.h) */
};

/*
 * May the edit be, as far as header and snapshot table say? It is asked before a device is suspended,
 * while the edit has no more than these two, and should be asked once more by the edit itself. It may
 * set first_size, more and beside. Prints its error.
 */
typedef int edit_check(struct edit *edit, void *data);

/* What somebody reads who writes nothing. */
enum edit_reader {
	EDIT_READS_TABLES,
	EDIT_READS_STATES,	/* and those of a snapshot beside them */
	EDIT_READS_COUNTS,	/* the tables, and counts all clusters, for check_run() */
	EDIT_READS_DAMAGED,	/* the same of a damaged image, too */
};

/* @edit is for edit_end() also after an error. */
int edit_begin(struct edit *edit, const char *target, const struct edit_options *options,
	       unsigned int flags);
/* The same with a check. */
int edit_begin_checked(struct edit *edit, const char *target, const struct edit_options *options,
		       unsigned int flags, edit_check *check, void *data);
int edit_commit(struct edit *edit);
/* After a commit: once more from the start, with the same image, device and locks; nothing is opened for that. */
int edit_again(struct edit *edit);
/* The code of the whole edit: @ret, or that of what failed at its end. */
int edit_end(struct edit *edit, int ret);

/* An empty mapping of this image, for mapping_load(). */
void edit_init_mapping(struct edit *edit, struct mapping *mapping);
/* The L1 table of a snapshot. */
int edit_load_snapshot(struct edit *edit, u32 index, struct mapping *mapping);
/* Entry @id, or an error. */
int edit_find_snapshot(const struct edit *edit, const char *id, u32 *index);

/* Somebody else holds byte @byte, as lock_take() says, or it is a negative errno. */
int edit_refuse_locked(const struct image *image, int byte);
/* Refuse a dirty or corrupt image. */
int edit_check_unclean(const struct image *image);
/* May the disk have @size bytes, as far as its snapshots and its clusters go? */
int edit_check_size(const struct edit *edit, u64 size);
/*
 * Open an image that is read alone, and keep writers out until it is closed:
 * no edit, but refused as one. @room: so long are the results that will be printed
 * until then. target_close() also after an error.
 */
int edit_open_reader(struct target *target, const char *text, enum edit_reader what, u64 room);
/* The same after target_open() or target_open_damaged(). */
int edit_take_reader(struct target *target, enum edit_reader what, u64 room);
/*
 * Suspend the device of an image that is open, and make it ours. @options, flags and first size as
 * in @edit, which has its snapshot table by then.
 */
int edit_hold_device(struct edit *edit);
/* Before it is resumed: its table fits the disk as it is now. @ret as for edit_end(). */
void edit_fit_device(struct edit *edit);
/* Suspend the device of an image that is only read, unless nobody writes to it anyway. */
int edit_hold_reader(struct target *target, enum edit_reader what, u64 room);

/* Open for writing and take QEMU's bytes and ours; a refusal names the holder. */
int edit_lock(struct image *image, bool graph);
/*
 * QEMU's bytes beside the kernel's, of a file that image_open_direct() opened before @edit's device was
 * suspended. If they are refused the device runs again: nothing may be written before.
 */
int edit_share(struct edit *edit, struct image *image, bool graph);
/* The kernel holds its bytes on the file that a device uses: is it this one? */
int edit_check_file(const struct image *image);

#endif
