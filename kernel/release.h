/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Discard and write-zeroes of whole guest clusters: the mapping changes, the
 * host clusters go to quarantine.
 *
 * Layer 6.
 */
#ifndef QCOW2_RELEASE_H
#define QCOW2_RELEASE_H

#include "request.h"

/*
 * Work off the piece of @req, whole clusters under one L2 slice (the last one
 * may end with the disk), one cell after the other in ascending order; or zeros
 * for whole subclusters of one cluster that is not compressed. Ends
 * with ops->advance, park or finish, or goes on when a cell is granted. Runs
 * in the write lane, outside the epoch; sleeps.
 */
void qcow2_release_run(struct qcow2_request *req);

/*
 * What has to be filled for a change of the mapping to do it: a cluster, and
 * for zeros a subcluster. Bytes, a power of two.
 */
u32 qcow2_release_granule(const struct qcow2_request *req);

/*
 * Can zeros be put into the mapping? Version 2 has no zero clusters: only
 * where nothing lies below.
 */
bool qcow2_release_can_zero(const struct qcow2_chain *chain);

#endif
