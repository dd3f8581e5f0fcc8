/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * An edit of one image from its first lock to its last byte; the one way in
 * which an edit happens.
 *
 *	edit_begin()	open, lock, verify; read counts, L1 table, snapshot table
 *	...		change header, active, snapshots, counts in memory
 *	edit_commit()	write all that has changed to free clusters, then the header
 *	edit_end()	give everything back; what was not committed never was
 *
 * Functions returning int print their error and return an exit code.
 */
#ifndef QCOW2CTL_EDIT_H
#define QCOW2CTL_EDIT_H

#include "mapping.h"
#include "snapshot_table.h"
#include "target.h"

struct edit_options {
	bool dry_run, nolockfs;
	u64 timeout;			/* seconds, or CLI_UNSET */
	const char *progress;
};

enum edit_flags {
	EDIT_GRAPH = 1,		/* frees or replaces what snapshots refer to */
	EDIT_UNCLEAN = 2,	/* dirty, corrupt and damaged images are welcome; counts are not loaded */
	EDIT_HEADER = 4,	/* counts and mappings are not needed */
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
};

/* @edit is for edit_end() also after an error. */
int edit_begin(struct edit *edit, const char *target, const struct edit_options *options,
	       unsigned int flags);
int edit_commit(struct edit *edit);
void edit_end(struct edit *edit);

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
/*
 * Open an image that is read alone, and keep writers out until it is closed:
 * no edit, but refused as one. target_close() also after an error.
 */
int edit_open_reader(struct target *target, const char *text, bool damaged);
/* Open for writing and take QEMU's bytes and ours; a refusal names the holder. */
int edit_lock(struct image *image, bool graph);

#endif
