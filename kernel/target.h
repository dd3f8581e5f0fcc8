/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * The device-mapper target: what one table holds, and what its three files
 * (target.c, status.c, message.c) know of each other.
 *
 * Layer 8.
 */
#ifndef QCOW2_TARGET_H
#define QCOW2_TARGET_H

#include "chain.h"
#include "check.h"
#include "io.h"

#define QCOW2_DEFAULT_FULL_TIMEOUT	60
#define QCOW2_DEFAULT_COMMIT_MS		1000

/* The words of the table after the layers; what is not given has its default. */
struct qcow2_options {
	const char *snapshot;		/* as given, later the id; NULL: none */
	const char *data_file;		/* as given; while the constructor runs */
	bool no_backing;
	bool drop_bitmaps;
	u32 cache_kib;			/* 0: default */
	u64 low_water;			/* sectors, 0: off */
	bool error_when_full;
	u32 full_timeout;		/* seconds, 0: for ever */
	bool discard_keep;
	bool hop_always;
	u32 commit_ms;
};

struct qcow2_target {
	struct dm_target *ti;
	struct qcow2_options options;
	struct qcow2_chain chain;
	struct qcow2_io io;
	struct qcow2_check check;
	struct work_struct event;	/* tells user space, in process context */
	struct work_struct space;	/* looks how much space is left */
	bool low;			/* as status shows it */
	bool suspended_once;
	bool clean;			/* the last suspend committed everything */
};

/* Events are level triggered: the state is in the status, this says "look". */
void qcow2_target_event(struct qcow2_target *t);

void qcow2_target_status(struct dm_target *ti, status_type_t type, unsigned int flags,
			 char *result, unsigned int maxlen);
int qcow2_target_message(struct dm_target *ti, unsigned int argc, char **argv, char *result,
			 unsigned int maxlen);

#endif
