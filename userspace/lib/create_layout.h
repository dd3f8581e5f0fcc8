/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Where things lie in a new image, and how they are written; for those who make one.
 *
 * Functions returning int print their error and return an exit code.
 */
#ifndef QCOW2CTL_CREATE_LAYOUT_H
#define QCOW2CTL_CREATE_LAYOUT_H

#include "create.h"
#include "../../kernel/geometry.h"

struct create_layout {
	struct qcow2_geometry geo;
	u64 l1_entries;
	u64 reftable, reftable_clusters;	/* first cluster, number of clusters */
	u64 refblocks, refblock_clusters;
	u64 l1, l1_clusters;
	u64 l2, l2_clusters;
	u64 clusters;				/* in all */
};

u64 create_divide(u64 value, u64 by);
/* The size of the new disk; the backing file must be there and be what it is said to be. */
int create_find_size(const struct create_request *request, u64 *size);
/* Counts for @fixed clusters and their own: how many they need, and clusters in all. */
void create_lay_out_counts(struct create_layout *l, u64 fixed);
/* Cluster 0, for the caller to free; NULL after a message. */
char *create_header(const struct create_request *request, const struct create_layout *l);
int create_write_cluster(struct newfile *file, const struct create_layout *l, u64 clu,
			 const void *data);
/* A table of @entries entries in clusters from @first on, entry i pointing to cluster @to + i. */
int create_write_pointers(struct newfile *file, const struct create_layout *l, u64 first, u64 to,
			  u64 entries, u64 flags);
/* Each cluster has one reference. */
int create_write_counts(struct newfile *file, const struct create_layout *l);

#endif
