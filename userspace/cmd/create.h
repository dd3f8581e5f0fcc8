/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * The options of create, which measure has as well.
 */
#ifndef QCOW2CTL_CMD_CREATE_H
#define QCOW2CTL_CMD_CREATE_H

#include "../lib/cli.h"
#include "../lib/create.h"

struct create_args {
	u64 cluster_size, refcount_bits;
	const char *compat, *compression, *data_file, *backing;
	bool extended_l2, lazy_refcounts, raw;
};

/* For a CLI_TABLE entry at the place of a struct create_args. */
extern const struct cli_option cmd_create_options[];

/*
 * What the options mean, for an image at @path of @size (NULL: as its backing
 * file). ERR_USAGE after a message if they contradict. The backing file is not
 * in the request yet.
 */
int cmd_create_request(const struct create_args *args, const char *path, const char *size,
		       struct create_request *request);

#endif
