/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Does the metadata of an image agree with itself? All that refers to clusters
 * is walked once, the references are counted, and the counts are compared with
 * those that the image keeps. What is an error, and how often it counts, is as
 * in qemu-img check, so that the two can be held against each other.
 *
 * Memory: two bytes per cluster of the file (see check_counts.h), the L1 table
 * at hand, and buffers of fixed size. Every table is read once.
 *
 * Functions returning int print their error and return an exit code.
 */
#ifndef QCOW2CTL_CHECK_H
#define QCOW2CTL_CHECK_H

#include "check_counts.h"
#include "check_snapshots.h"
#include "check_stored.h"
#include "check_tables.h"

#define CHECK_LISTED	100	/* findings that are printed */

struct check {
	const struct image *image;
	bool print;			/* findings, on stdout */
	/* results */
	u64 errors;
	u64 leaks;
	u64 clusters, allocated;	/* guest clusters of the disk, and those with a place */
	bool structure;			/* the refcount table or a block cannot stay as it is */
	bool bitmaps;			/* the bitmaps contradict themselves */
	/* inside */
	u64 listed;
	u64 nr_clusters;		/* of the file, one more if something reaches into it */
	struct check_counts counts;
	struct check_counts beyond;	/* of references that do not end in the file */
	struct check_stored stored;
	struct check_tables tables;
	struct check_snapshots snapshots;
};

/* Bytes that the counts of a check take, or of one for a repair. */
u64 check_memory(const struct image *image, bool repairs);

/* What else it takes, by the snapshots that there are: bytes. */
struct check_needs {
	u64 snapshots;			/* the snapshot table */
	u64 snapshot_l1;		/* the largest L1 table of one */
	u64 tables;			/* the list of all L2 tables, those of the disk among them */
};

/* Of an image that may be damaged, and whose device may be running. Reads all L1 tables of snapshots. */
int check_measure(const struct image *image, struct check_needs *needs);
/*
 * Check a verified image (also one of image_verify_damaged()). 0: it could be
 * done, and the results are good. check_release() also after an error.
 */
int check_run(struct check *check, const struct image *image, bool print);
void check_release(struct check *check);

/* For the parts of the check: something is wrong, @times. */
void check_error(struct check *check, u64 times, const char *format, ...)
	__attribute__((__format__(__printf__, 3, 4)));
void check_leak(struct check *check, const char *format, ...)
	__attribute__((__format__(__printf__, 2, 3)));
/* @times references to @len bytes; what leads nowhere is an error instead. */
void check_add(struct check *check, u64 hoff, u64 len, u64 times);
/* Does anything lead to that cluster, be it in the file or not far behind its end? */
bool check_is_used(const struct check *check, u64 hclu);
/* Does that reach beyond the end of the file by a cluster or more? */
bool check_is_beyond(const struct image *image, u64 hoff, u64 len);
/* An L2 table; for check_tables_walk(). */
int check_l2(void *check, struct check_table *table, const __be64 *words);
/* References of the persistent bitmaps. */
int check_bitmaps(struct check *check);

#endif
