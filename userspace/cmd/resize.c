// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * resize: a larger or smaller disk.
 */
#include "../lib/err.h"
#include "../lib/fsgrow.h"
#include "../lib/resize.h"
#include "cmd.h"
#include "edit.h"

struct args {
	bool shrink, fs;
	struct edit_options edit;
};

static const struct cli_option options[] = {
	{ "shrink", 0, CLI_FLAG, offsetof(struct args, shrink),
	  .help = "allow a smaller disk; what lies behind its end is lost" },
	{ "fs", 0, CLI_FLAG, offsetof(struct args, fs),
	  .help = "attached: then let the file system (ext2-4, xfs, btrfs) grow, too" },
	{ "edit", 0, CLI_TABLE, offsetof(struct args, edit), .table = cmd_edit_options },
	{ }
};

static int resize_both(struct resize_request *request, const struct edit_options *edit)
{
	struct fsgrow grow;
	int ret = fsgrow_prepare(&grow, request->target);

	if (!ret)
		ret = resize_image(request, edit);
	if (!ret && !edit->dry_run)
		ret = fsgrow_run(&grow);
	fsgrow_release(&grow);
	return ret;
}

static int run(void *data, char **operands)
{
	const struct args *args = data;
	struct resize_request request = { .target = operands[0], .shrink = args->shrink };
	const char *size = operands[1];
	int ret;

	if (*size == '+' || *size == '-')
		request.sign = *size++;
	if (args->fs && (args->shrink || request.sign == '-'))
		return err_usage("--fs is for a larger disk");
	ret = cli_size(size, "SIZE", &request.size);
	if (ret)
		return ret;
	return args->fs ? resize_both(&request, &args->edit) : resize_image(&request, &args->edit);
}

const struct cli_command cmd_resize = {
	.name = "resize",
	.action = "resize",
	.synopsis = "TARGET [+|-]SIZE",
	.summary = "Make the disk larger or smaller",
	.text = "With a sign the disk gets larger or smaller by SIZE. What it gains reads as zeros.\n"
		"A smaller disk needs --shrink. Snapshots keep the size that they have.\n",
	.options = options,
	.min_operands = 2,
	.max_operands = 2,
	.args_size = sizeof(struct args),
	.run = run,
};
