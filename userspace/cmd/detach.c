// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * detach: the device goes, the image stays.
 */
#include "../lib/detach.h"
#include "cmd.h"

#define MAX_WAIT	(86400 * 365)

struct args {
	bool deferred;
	u64 wait;
};

static const struct cli_option options[] = {
	{ "deferred", 0, CLI_FLAG, offsetof(struct args, deferred),
	  .help = "if it is in use, detach when the last user closes it" },
	{ "wait", 0, CLI_NUMBER, offsetof(struct args, wait), "SEC", MAX_WAIT,
	  .help = "wait so long for its users" },
	{ }
};

static int run(void *data, char **operands)
{
	const struct args *args = data;

	return detach_device(operands[0], args->deferred, args->wait == CLI_UNSET ? 0 : args->wait);
}

const struct cli_command cmd_detach = {
	.name = "detach",
	.action = "detach",
	.synopsis = "NAME",
	.summary = "Remove the device and its partitions; everything is in the image then",
	.text = "A device in use is refused with the names of its users: mounts, also those of other\n"
		"mount namespaces, other devices, processes.\n",
	.options = options,
	.min_operands = 1,
	.max_operands = 1,
	.args_size = sizeof(struct args),
	.run = run,
};
