/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * What every room of the module shares: the message prefix, forward
 * declarations, and the counters that status prints. Nothing else.
 */
#ifndef DM_QCOW2_H
#define DM_QCOW2_H

#include <linux/device-mapper.h>
#include <linux/percpu.h>
#include "compat.h"

#ifdef DM_MSG_PREFIX
#undef DM_MSG_PREFIX
#endif
#define DM_MSG_PREFIX "qcow2"

/* Counters of one device, printed by status; incremented from any context. */
enum qcow2_stat {
	QCOW2_STAT_HITS,
	QCOW2_STAT_MISSES,
	QCOW2_STAT_COMMITS,
	QCOW2_STAT_BARRIERS,
	QCOW2_STAT_READS,
	QCOW2_STAT_WRITES,
	QCOW2_STAT_ALLOCS,
	QCOW2_STAT_COWS,
	QCOW2_STAT_DISCARDS,
	QCOW2_STAT_IOERRS,
	QCOW2_STAT_CORRUPTIONS,
	QCOW2_NR_STATS,
};

struct qcow2_stats {
	u64 count[QCOW2_NR_STATS];
};

static inline void qcow2_stat_inc(struct qcow2_stats __percpu *stats,
				  enum qcow2_stat stat)
{
	this_cpu_inc(stats->count[stat]);
}

static inline u64 qcow2_stat_sum(struct qcow2_stats __percpu *stats,
				 enum qcow2_stat stat)
{
	u64 sum = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		sum += READ_ONCE(per_cpu_ptr(stats, cpu)->count[stat]);
	return sum;
}

#endif
