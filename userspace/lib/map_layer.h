/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * One layer of a disk that is mapped.
 */
#ifndef QCOW2CTL_MAP_LAYER_H
#define QCOW2CTL_MAP_LAYER_H

#include "map.h"

struct map_layer {
	struct image *image;
	u64 size;		/* bytes of its disk */
	u64 l1_hoff;		/* 0: as the header says */
	u32 l1_size;
	u64 *l1;		/* in the byte order of the host; NULL: a raw layer */
	__be64 *l2;		/* the table that was used last */
	u64 l2_hoff;
	bool finds_holes;	/* it is worth the time to look for them */
	bool sparse;		/* clusters have a place, but the file has holes there */
	bool is_told;		/* a table says where its data file is, and not the image */
	struct image data_file;	/* fd -1 if there is none */
};

/* Of an image that is open. These print and return an exit code. */
int map_layer_load(struct map_layer *layer);
/* Before it is loaded: it is what the disk was in snapshot @id. */
int map_layer_find_snapshot(struct map_layer *layer, const char *id);
/* What becomes of extent->start; extent->length is made smaller if it has to be. */
int map_layer_status(struct map_layer *layer, struct map_extent *extent);

#endif
