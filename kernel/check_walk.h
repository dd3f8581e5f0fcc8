/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Going through all metadata of an image that is active: what check.c and
 * check_walk.c know of each other.
 *
 * Only in the work of the check, but for qcow2_check_prepare(), which the
 * message runs before it. All sleep.
 */
#ifndef QCOW2_CHECK_WALK_H
#define QCOW2_CHECK_WALK_H

#include "check.h"

struct qcow2_check_l1 {
	u64 hoff;
	u32 size;
};

struct qcow2_check_run {
	struct qcow2_check *check;
	struct qcow2_image *top;
	struct qcow2_watch watch;
	u16 *refs;			/* of the watch's window */
	u64 clusters;			/* of the image when it began */
	u64 snapshots_length;
	struct qcow2_check_l1 *snapshots;
	u32 nr_snapshots;
	u64 l1_bytes;			/* of snapshots so far */
	bool active;			/* tables of the active layer are looked at */
	bool first;			/* of the passes: a wrong entry is told once */
	u64 steps, steps_done;		/* L1 entries, of all passes */
	u64 errors;
	u64 leaks;
	__be64 *l1;			/* a slice */
	__be64 *l2;			/* a slice */
};

static inline bool qcow2_check_is_stopped(const struct qcow2_check_run *run)
{
	return READ_ONCE(run->check->stop);
}

/* Find the snapshots; counts the steps of one pass. 0, -EIO, -ENOMEM. */
int qcow2_check_list_snapshots(struct qcow2_check_run *run);
/* Collect all references to the clusters of the window. */
void qcow2_check_collect(struct qcow2_check_run *run);
/* Compare them with the counts, but for clusters that are marked. */
void qcow2_check_compare(struct qcow2_check_run *run);

#endif
