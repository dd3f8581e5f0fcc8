/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * The allocating write of one guest cluster: new data, with the rest of the
 * cluster copied from what the guest saw there.
 *
 * Layer 6.
 */
#ifndef QCOW2_COW_H
#define QCOW2_COW_H

#include "request.h"

/*
 * The reserve of memory of one device: stacked devices must not wait for each
 * other's. When the device is started, see chain_start.c; nothing to do for a
 * read-only one, or the second time. exit: in the destructor, also without one.
 */
int qcow2_cow_reserve(struct qcow2_chain *chain);
void qcow2_cow_exit(struct qcow2_chain *chain);

/*
 * Write the piece of @req (bytes inside one guest cluster, whose cell @req
 * holds). Ends with ops->allocated, finish, park or again, now or later; the
 * cell is released before. Runs in the write lane, also as the continuation
 * of a request whose step is not NONE. Outside the epoch; sleeps.
 */
void qcow2_cow_run(struct qcow2_request *req);

#endif
