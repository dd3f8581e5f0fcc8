// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * rebase --unsafe: another name in the header.
 */
#include <string.h>
#include "../lib/chain.h"
#include "../lib/err.h"
#include "../lib/mem.h"
#include "../lib/rebase.h"
#include "cmd.h"
#include "edit.h"

struct args {
	bool unsafe, no_backing;
	const char *backing;
	struct edit_options edit;
};

static const struct cli_option options[] = {
	{ "unsafe", 0, CLI_FLAG, offsetof(struct args, unsafe),
	  .help = "required: no data is compared or copied" },
	{ "backing", 0, CLI_STRING, offsetof(struct args, backing), "PATH,format=qcow2|raw",
	  .help = "what is not in the image reads from there" },
	{ "no-backing", 0, CLI_FLAG, offsetof(struct args, no_backing),
	  .help = "what is not in the image reads as zeros" },
	{ "edit", 0, CLI_TABLE, offsetof(struct args, edit), .table = cmd_edit_options },
	{ }
};

static int run(void *data, char **operands)
{
	const struct args *args = data;
	MEM_FREE char *backing = NULL, *path = NULL;
	bool raw = false;
	int ret = 0;

	if (!args->unsafe)
		return err_usage("it changes the name of the backing file and copies nothing: add --unsafe");
	if (!args->backing == !args->no_backing)
		return err_usage("one of --backing and --no-backing has to be given");
	if (args->backing)
		ret = chain_split(args->backing, &backing, &raw);
	if (ret)
		return ret;
	path = mem_printf("%s%s", strchr(operands[0], '/') ? "" : "./", operands[0]);
	return rebase_unsafe(path, backing, raw, &args->edit);
}

const struct cli_command cmd_rebase = {
	.name = "rebase",
	.action = "rebase",
	.synopsis = "IMAGE",
	.summary = "Change the name of the backing file that an image has",
	.text = "Only the header changes. The new backing file has to hold what the old one held, or\n"
		"the disk changes. PATH is stored as given; a relative one starts in the folder of IMAGE.\n",
	.options = options,
	.min_operands = 1,
	.max_operands = 1,
	.args_size = sizeof(struct args),
	.run = run,
};
