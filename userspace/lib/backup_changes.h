/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * What a disk consists of, and what of it has changed.
 *
 * Functions print their error and return an exit code.
 */
#ifndef QCOW2CTL_BACKUP_CHANGES_H
#define QCOW2CTL_BACKUP_CHANGES_H

#include "backup_point.h"
#include "backup_ranges.h"

/* Is there such a checkpoint? */
int backup_changes_check(const struct device *device, const char *since);
/* All of the disk as it was at a point; since a checkpoint, if there is one. */
int backup_changes_of(const struct backup_point *point, const char *since,
		      struct backup_ranges *ranges);

#endif
