/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * The snapshot table of an image that may be damaged: what can be read of it,
 * and what is wrong with it.
 */
#ifndef QCOW2CTL_CHECK_SNAPSHOTS_H
#define QCOW2CTL_CHECK_SNAPSHOTS_H

#include "image.h"

struct check_snapshot {
	u64 l1_hoff;
	u32 l1_size;
	u8 *entry;		/* as on disk, its extra data cut to what the format allows */
	u32 extra_size;		/* of the entry here */
	u32 len;		/* of the entry here, without padding */
	bool cut;		/* it had more extra data */
	bool incomplete;	/* it has less than version 3 wants */
	bool bad_l1;		/* that pair cannot be used */
};

struct check_snapshots {
	struct check_snapshot *entries;
	u32 count;
	u64 len;		/* of the table on disk, as far as it could be read */
	bool truncated;		/* the header promises more */
};

/* Prints and returns an exit code; for check_snapshots_release() also after an error. */
int check_snapshots_read(struct check_snapshots *snapshots, const struct image *image);
void check_snapshots_release(struct check_snapshots *snapshots);

#endif
