/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * The inodes on which one claim holds its bytes. Mostly it is one; an image
 * below overlayfs has the overlay's and the real one, a block device may be
 * given by several nodes.
 *
 * Layer 1, for claim.c. The claim's mutex protects all of it. May sleep.
 */
#ifndef QCOW2_CLAIM_POINTS_H
#define QCOW2_CLAIM_POINTS_H

#include <linux/list.h>
#include "claim_bytes.h"

/* One inode. Users that came by it count it. */
struct qcow2_claim_point {
	struct list_head list;
	struct qcow2_claim_bytes bytes;
	unsigned int uses;
};

struct qcow2_claim_points {
	struct list_head list;
	unsigned int held;	/* the bytes that every point holds */
};

void qcow2_claim_points_init(struct qcow2_claim_points *points);

/*
 * Make every point hold exactly the bytes of @mask. Either all points do, or
 * nothing has changed; less than before never fails. Errors and @conflict as
 * for qcow2_claim_bytes_take().
 */
int qcow2_claim_points_set(struct qcow2_claim_points *points, unsigned int mask,
			   unsigned int *conflict);
/* Lock on @file's inode too what the others hold; @pointp gets a count of the point. */
int qcow2_claim_points_add(struct qcow2_claim_points *points, struct file *file,
			   struct qcow2_claim_point **pointp, unsigned int *conflict);
/* Give the count back; NULL is allowed. The last one unlocks. */
void qcow2_claim_points_put(struct qcow2_claim_point *point);

#endif
