/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Where a guest range lies: L1 and L2 of one image, looked up without
 * sleeping, and changed in memory for the next commit.
 *
 * Layer 3.
 */
#ifndef QCOW2_MAP_H
#define QCOW2_MAP_H

#include "dm-qcow2.h"
#include "epoch.h"
#include "format.h"
#include "geometry.h"
#include "meta.h"
#include "metaset.h"
#include "watch.h"

enum qcow2_extent_kind {
	QCOW2_EXTENT_MISS,		/* the slice is not in memory: qcow2_map_load() */
	QCOW2_EXTENT_BELOW,		/* unallocated: ask the layer below */
	QCOW2_EXTENT_ZERO,
	QCOW2_EXTENT_DATA,
	QCOW2_EXTENT_COMPRESSED,
	QCOW2_EXTENT_CORRUPT,
};

struct qcow2_extent {
	enum qcow2_extent_kind kind;
	bool owned;		/* L1 and L2 entry carry COPIED: may be written in place */
	u64 len;		/* bytes from goff */
	/* of goff; DATA, or ZERO with a cluster kept; COMPRESSED: of its bytes; else 0 */
	u64 hoff;
	u32 compressed_length;	/* COMPRESSED: bytes at hoff, 0: none may be there */
	u64 number;		/* commit that must be durable for this mapping to be */
	enum qcow2_verdict why;	/* CORRUPT */
};

enum qcow2_table {
	QCOW2_TABLE_NONE,
	QCOW2_TABLE_SHARED,	/* no COPIED flag: copy before a change */
	QCOW2_TABLE_OURS,
	QCOW2_TABLE_CORRUPT,
};

struct qcow2_map {
	const struct qcow2_geometry *geo; /* constant */
	struct qcow2_meta *meta;	/* constant */
	struct qcow2_metaset *metaset;	/* constant */
	struct qcow2_epoch *epoch;	/* constant */
	struct qcow2_slice **l1;	/* constant while active */
	u32 nr_l1_slices;
	u32 l1_size;			/* entries */
	u64 end;			/* bytes of the image, whole clusters; grows */
	u64 old_end;			/* constant while active: end at activation */
	bool twins;			/* constant while active: L1 entries share a table */
	struct mutex table_lock;	/* creation and copying of L2 tables, and buffer */
	void *buffer;			/* table_lock: one slice */
	struct qcow2_watch *watch;	/* meta->lock: told of each change of an entry, or NULL */
};

/* Read the L1 table of @l1_size entries at @l1_hoff. ioctl context. */
int qcow2_map_open(struct qcow2_map *map, u64 l1_hoff, u32 l1_size);
void qcow2_map_close(struct qcow2_map *map);

/*
 * The longest run of one kind from @goff, at most @len bytes (> 0). Caller is
 * inside the epoch. Never sleeps; any context that may hold RCU.
 */
void qcow2_map_lookup(const struct qcow2_map *map, u64 goff, u64 len,
		      struct qcow2_extent *extent);
/*
 * Bring the L2 slice of @goff into memory. Sleeps; outside the epoch.
 * *@slice is it, pinned, so that it is still there for the next lookup; NULL
 * where the mapping changed meanwhile. Without @wait -ENOMEM where it would wait
 * for memory; who waits holds no slice of this map.
 */
int qcow2_map_load(struct qcow2_map *map, u64 goff, bool wait, struct qcow2_slice **slice);

/* The L2 table of @goff: whose it is and where. */
enum qcow2_table qcow2_map_table(const struct qcow2_map *map, u64 goff, u64 *hoff);
/* How many L1 entries lead to the table at @hoff, to which one does. Holds table_lock; sleeps. */
u64 qcow2_map_table_references(const struct qcow2_map *map, u64 hoff);
/* The L2 slice of @goff, pinned, of a table that is ours. Sleeps. */
struct qcow2_slice *qcow2_map_pin(struct qcow2_map *map, u64 goff);
/*
 * The L2 entry of @goff in @slice, decoded; _RANGE or _METADATA: its host cluster is none for
 * guest data. Of compressed data qcow2_map_compressed_length() says that.
 */
enum qcow2_verdict qcow2_map_entry(const struct qcow2_map *map,
				   const struct qcow2_slice *slice, u64 goff,
				   struct qcow2_l2_entry *entry);

/*
 * Bytes of the compressed @entry that are there: up to the end of the image as it was when it
 * became active, because what was added since belongs to others. 0: it begins behind that, or
 * touches metadata. All host clusters that these bytes touch lose a reference with the entry.
 */
u32 qcow2_map_compressed_length(const struct qcow2_map *map, const struct qcow2_l2_entry *entry);
/* From the return on every change of an entry marks the clusters of the old and the new one. */
void qcow2_map_watch(struct qcow2_map *map, struct qcow2_watch *watch);

/*
 * Set the L2 entry of @goff, with extended L2 its bitmap too; gives the number of the commit that
 * will hold it. Sleeps.
 */
u64 qcow2_map_stage(struct qcow2_map *map, struct qcow2_slice *slice, u64 goff, u64 raw,
		    u64 bitmap);
/* Hang the table at @hoff, which is ours, under the L1 entry of @goff. Sleeps. */
u64 qcow2_map_stage_table(struct qcow2_map *map, u64 goff, u64 hoff);
/*
 * Write the contents of table @from to the unreachable cluster @to with every
 * COPIED flag cleared (rules.md 5). Holds table_lock.
 */
int qcow2_map_copy_table(struct qcow2_map *map, u64 from, u64 to);

#endif
