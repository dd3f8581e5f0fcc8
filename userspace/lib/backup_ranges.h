/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Lists of parts of a disk, in its order.
 */
#ifndef QCOW2CTL_BACKUP_RANGES_H
#define QCOW2CTL_BACKUP_RANGES_H

#include "backup.h"

/*
 * Empty, and with memory for so many that nothing more is allocated: for what is looked up while a device is
 * suspended. If there are more in the end, backup_ranges_is_short(), they are counted and not there.
 */
void backup_ranges_reserve(struct backup_ranges *ranges, size_t room);
bool backup_ranges_is_short(const struct backup_ranges *ranges);
/* Behind all that there is; joined with the last one if it goes on. */
void backup_ranges_add(struct backup_ranges *ranges, u64 start, u64 length, bool data);
/* Nothing from @end on. */
void backup_ranges_end(struct backup_ranges *ranges, u64 end);
/* Of @ranges what lies in @wanted, too. */
void backup_ranges_cut(struct backup_ranges *ranges, const struct backup_ranges *wanted);
/*
 * Whole units of @unit bytes, a power of two; and where one of @ranges ends in zeros of @map or just before them, these
 * too, at most @reach bytes.
 */
void backup_ranges_follow(struct backup_ranges *ranges, const struct backup_ranges *map, u64 unit, u64 reach);
/*
 * Whole units of @unit bytes; what lies beyond the end of the last is the caller's. One that is zeros
 * only in part becomes data.
 */
void backup_ranges_align(struct backup_ranges *ranges, u64 unit);
/* Without zeros. */
void backup_ranges_keep_data(struct backup_ranges *ranges);
/* Bytes of data. */
u64 backup_ranges_data(const struct backup_ranges *ranges);

#endif
