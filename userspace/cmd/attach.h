/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * The options of attach, which clone has as well.
 */
#ifndef QCOW2CTL_CMD_ATTACH_H
#define QCOW2CTL_CMD_ATTACH_H

#include "../lib/attach.h"
#include "../lib/cli.h"

struct attach_args {
	bool readonly, drop_bitmaps, partscan, json, repair;
	char **backing, **allow_under;
	const char *chain, *data_file, *snapshot, *when_full, *discard;
	u64 cache, low_water, full_timeout, commit_ms;
};

/* For a CLI_TABLE entry at the place of a struct attach_args. */
extern const struct cli_option cmd_attach_options[];

/* What the options mean, for IMAGE and NAME. ERR_USAGE after a message if they contradict. */
int cmd_attach_request(const struct attach_args *args, const char *image, const char *name,
		       struct attach_request *request);
/* Print the new device. */
void cmd_attach_print(const struct attach_args *args, const struct device *device);

#endif
