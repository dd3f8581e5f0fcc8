/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * The reference counts as the image has them on disk, read block by block when
 * they are asked for. Memory is bounded, whatever the table says.
 */
#ifndef QCOW2CTL_CHECK_STORED_H
#define QCOW2CTL_CHECK_STORED_H

#include "image.h"

struct check_stored {
	const struct image *image;
	__be64 *table;		/* as on disk */
	u64 nr_entries;		/* up to the last that leads somewhere */
	u8 *cache;		/* nr_slots blocks */
	u64 *held;		/* which entry of the table each slot holds, + 1; 0 = none */
	u64 nr_slots;
	u64 next;		/* entry behind those that were read last */
};

/* Prints and returns an exit code. */
int check_stored_init(struct check_stored *stored, const struct image *image);
void check_stored_release(struct check_stored *stored);
/* Place of block @index, without the reserved bits; 0 = there is none. */
u64 check_stored_block(const struct check_stored *stored, u64 index);
/*
 * The count of a cluster. -EUCLEAN if its block lies at no cluster's start,
 * another negative errno if it cannot be read.
 */
int check_stored_get(struct check_stored *stored, u64 hclu, u64 *count);

#endif
