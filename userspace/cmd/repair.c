// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * repair: make the metadata of an image agree with itself again.
 */
#include "../lib/out.h"
#include "../lib/repair.h"
#include "cmd.h"
#include "edit.h"

struct args {
	bool leaks;
	struct edit_options edit;
};

static const struct cli_option options[] = {
	{ "leaks", 0, CLI_FLAG, offsetof(struct args, leaks),
	  .help = "only free clusters that nothing refers to" },
	{ "edit", 0, CLI_TABLE, offsetof(struct args, edit), .table = cmd_edit_options },
	{ }
};

static int run(void *data, char **operands)
{
	const struct args *args = data;
	struct repair_result result;
	int ret = repair_image(operands[0], &args->edit, args->leaks, &result);

	if (ret || args->edit.dry_run)
		return ret;
	if (!result.errors && !result.leaks && !result.marks)
		out_text("nothing to repair\n");
	else
		out_text("repaired: errors %llu, leaks %llu\n", (unsigned long long)result.errors,
			 (unsigned long long)result.leaks);
	return 0;
}

const struct cli_command cmd_repair = {
	.name = "repair",
	.action = "repair",
	.synopsis = "TARGET",
	.summary = "Repair the metadata of an image",
	.text = "Reference counts are made anew, flags and broken table entries mended, the marks\n"
		"dirty and corrupt taken off. What cannot be saved is named and reads as zeros. The\n"
		"image changes at one moment: an interrupted repair leaves it as it was.\n",
	.options = options,
	.min_operands = 1,
	.max_operands = 1,
	.args_size = sizeof(struct args),
	.run = run,
};
