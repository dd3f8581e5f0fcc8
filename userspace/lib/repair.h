/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Repair of an image.
 *
 * What is good stays where it is. What is not is written anew to clusters that
 * nothing refers to, and so are all reference counts; then the header's sector
 * makes the new image out of the old one, as in every edit (plan.h). So a repair
 * that is cut off leaves the image as it was.
 *
 *	collect		which L2 tables are used, and by whom
 *	count		what their entries, once mended, refer to
 *	rewrite		tables that change, or that share their cluster with
 *			something else; with COPIED as the new counts want it
 *	commit		L1 tables, snapshot table, reference counts, header
 *
 * A table that moves away from a shared cluster changes that cluster's count,
 * and thereby COPIED elsewhere: that is the work of the next round. Each round
 * begins with a check, and the last one finds nothing.
 *
 * An entry that leads nowhere is lost, with what it led to: its range reads as
 * zeros from then on and is named. Functions returning int print their error and
 * return an exit code.
 */
#ifndef QCOW2CTL_REPAIR_H
#define QCOW2CTL_REPAIR_H

#include "check.h"
#include "edit.h"

struct repair_result {
	u64 errors, leaks;	/* that there were */
	bool marks;		/* the image was marked dirty or corrupt */
};

/* 0: nothing is left. @leaks_only: counts that are too high and nothing else. */
int repair_image(const char *target, const struct edit_options *options, bool leaks_only,
		 struct repair_result *result);

/* The same for the image at @path, if it is marked dirty or corrupt. */
int repair_marked(const char *path);

/* For the parts of a repair. */
struct repair {
	struct edit edit;
	struct check check;		/* of the image as it is */
	struct check_counts counts;	/* references as they will be */
	struct check_tables tables;	/* L2 tables that are used */
	u64 zeros, zeros_refs;		/* an L2 table of zeros in place of lost ones */
	u64 blank, blank_refs;		/* a cluster of zeros in place of lost ones; version 2 */
	u64 lost;			/* messages about what is */
};

/*
 * Mend an L2 entry. Returns true if something is lost by that. @goff: where it
 * maps, or REPAIR_NOWHERE if that is not known.
 */
#define REPAIR_NOWHERE	(~0ULL)
bool repair_entry(const struct image *image, u64 goff, u64 *raw, u64 *bitmap);
/* The L2 table that an L1 entry leads to; 0 = none, or none that can be used. */
u64 repair_l1_entry(const struct image *image, u64 raw);

/* Say that @len bytes from @goff on are lost, of the disk or of a snapshot. */
void repair_report_lost(struct repair *repair, u64 goff, u64 len, bool active);

/* Collect and count. */
int repair_count(struct repair *repair);
/* Rewrite and stage L2 tables, L1 tables, snapshot table. */
int repair_rewrite(struct repair *repair);
/* The tables of L1 entries that were lost; *@place is 0 where nothing is needed. */
int repair_zeros(struct repair *repair, u64 *place);
/* L1 tables of the snapshots and their table. */
int repair_snapshots(struct repair *repair);
/* Make an L1 table what it shall be; @active: that of the disk. */
int repair_l1(struct repair *repair, struct mapping *mapping, bool active);

#endif
