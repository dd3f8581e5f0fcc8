/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * The status line of the target: "1 <mode> <space> key=value...".
 */
#ifndef QCOW2CTL_STATUS_H
#define QCOW2CTL_STATUS_H

#include <stdbool.h>
#include "out.h"

/* Strings are NULL, numbers OUT_ABSENT where the line has no such key or "-". */
struct status {
	char *mode, *space, *claim, *clean;
	u64 layers, cluster, virtual, alloc, highest, end;
	char *cache;
	u64 hits, misses, commits, barriers, staged, parked;
	u64 reads, writes, allocs, cows, discards, ioerrs, corruptions;
	char *last, *check, *view;
};

/* For out_object(), and what status_parse() goes by. */
extern const struct out_field status_fields[];

/* false: not a line of version 1; everything is absent then. */
bool status_parse(const char *line, struct status *status);
void status_release(struct status *status);

#endif
