// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * commit: an image into its backing file.
 */
#include "../lib/merge.h"
#include "cmd.h"
#include "edit.h"

static int run(void *args, char **operands)
{
	return merge_image(operands[0], args);
}

const struct cli_command cmd_commit = {
	.name = "commit",
	.action = "commit",
	.synopsis = "IMAGE",
	.summary = "Put what an image holds into its backing file, and empty it",
	.text = "The backing file is opened as IMAGE names it, and grows if the disk is larger. Other\n"
		"images over the same backing file become worthless. An image that has snapshots is\n"
		"refused, since they read from the backing file as it is now.\n",
	.options = cmd_edit_options,
	.min_operands = 1,
	.max_operands = 1,
	.args_size = sizeof(struct edit_options),
	.run = run,
};
