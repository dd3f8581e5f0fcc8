/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Checkpoints that the layer era counts. Checkpoint N is the beginning of era N + 1: what is written
 * after it belongs to that era or a later one. The kernel begins an era at each checkpoint, and also
 * whenever the device is resumed or its metadata is looked at, so numbers are left out at times.
 *
 * Functions print their error and return an exit code.
 */
#ifndef QCOW2CTL_BACKUP_ERA_H
#define QCOW2CTL_BACKUP_ERA_H

#include "backup_ranges.h"

/* Is it the number of a checkpoint, and not the name of a snapshot? */
bool backup_era_number(const char *text, u64 *number);
/* Is there a checkpoint @number? */
int backup_era_check(const char *name, u64 number);
/* Blocks that were written since; they may reach beyond the end of the disk. */
int backup_era_changes(const char *name, u64 number, struct backup_ranges *changes);

#endif
