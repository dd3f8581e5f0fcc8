/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * A new image with data, written from front to back in one go:
 *
 *	header | data clusters, each L2 table behind its own | L1 table | refcount table | refcount blocks
 *
 * The header comes last; before that the file is no image, and it has no name until it is kept.
 * Little is in memory: the L1 table, one L2 table.
 *
 * Functions returning int print their error and return an exit code.
 */
#ifndef QCOW2CTL_CREATE_FILLED_H
#define QCOW2CTL_CREATE_FILLED_H

#include "create_layout.h"

struct create_filled {
	struct create_request request;
	struct newfile file;
	bool hides;			/* zeros get an entry, so that they hide what lies below */
	struct create_layout layout;
	__be64 *l1, *l2;
	u64 l2_index;			/* of the L1 entry that l2 will have */
	u64 next;			/* free cluster */
	char *header;
};

/* @request is good until create_filled_close(), which is called also after an error. */
int create_filled_open(struct create_filled *filled, const struct create_request *request,
		       bool hides);
/*
 * What the disk has at @goff: whole clusters, with zeros behind the end of the disk. Later calls go on
 * behind them. Clusters of zeros get no place.
 */
int create_filled_data(struct create_filled *filled, u64 goff, const void *data, u64 len);
/* Whole clusters read as zeros, whatever lies below if that is to be hidden. */
int create_filled_zeros(struct create_filled *filled, u64 goff, u64 len);
/* Complete and durable, but for the header. */
int create_filled_end(struct create_filled *filled);
/* The header: now it is an image. newfile_keep() gives the file its name. */
int create_filled_seal(struct create_filled *filled);
/* @discard: nothing is left of it. */
void create_filled_close(struct create_filled *filled, bool discard);

#endif
