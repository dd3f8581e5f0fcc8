/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Make a new image.
 */
#ifndef QCOW2CTL_CREATE_H
#define QCOW2CTL_CREATE_H

#include <stdbool.h>
#include "newfile.h"

#define CREATE_UNSET	(~0ULL)

struct create_request {
	const char *path;
	u64 size;			/* bytes; CREATE_UNSET: as large as the backing file */
	unsigned int version;		/* 2 or 3 */
	unsigned int cluster_bits;
	unsigned int refcount_order;
	bool extended_l2, lazy_refcounts, zstd;	/* version 3 */
	const char *backing;		/* as it is stored, or NULL */
	bool backing_raw;
	const char *data_file;		/* or NULL; version 3 */
	bool data_file_raw;		/* not with a backing file */
	bool unnamed;			/* newfile_keep() is the caller's */
};

/*
 * The caller has checked that the values go together. A version 3 feature asked
 * for and a size that is too large are refused here. *@file is open and, unless @unnamed,
 * kept after 0; newfile_close() it in any case, with discard to take it all back.
 */
int create_image(const struct create_request *request, struct newfile *file);

#endif
