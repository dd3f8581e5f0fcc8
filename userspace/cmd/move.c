// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * move: a device in use goes to another image.
 */
#include <stddef.h>
#include <string.h>
#include "../lib/err.h"
#include "../lib/move.h"
#include "cmd.h"

#define AT(member) offsetof(struct move_request, member)
#define LEAST_RATE	4096

static const struct cli_option options[] = {
	{ "format", 0, CLI_CHOICE, AT(format), "qcow2|raw", .help = "what DEST becomes (qcow2)" },
	{ "via", 0, CLI_CHOICE, AT(via), "mirror|clone", .help = "how it is copied (mirror)" },
	{ "bwlimit", 0, CLI_SIZE, AT(bwlimit), "RATE", .help = "copy so many bytes in a second, about" },
	{ "timeout", 0, CLI_NUMBER, AT(timeout), "SEC", 86400, .min = 1,
	  .help = "give up if it is not suspended by then (30)" },
	{ "progress", 0, CLI_CHOICE, AT(progress), "auto|json|none",
	  .help = "how far it is, on stderr (auto: a bar on a terminal)" },
	{ }
};

static int run(void *data, char **operands)
{
	struct move_request *request = data;

	request->name = operands[0];
	request->dest = operands[1];
	if (request->bwlimit < LEAST_RATE)
		return err_usage("--bwlimit: at least 4K");
	return move_device(request);
}

const struct cli_command cmd_move = {
	.name = "move",
	.action = "move the device",
	.synopsis = "NAME DEST",
	.summary = "Copy a device in use to another image, and go on with that",
	.text = "DEST is a file that does not exist yet, or a block device that holds nothing, also one of\n"
		"another host (NBD). All of the disk is copied while it is used; then the device has DEST,\n"
		"and its old image is marked as one that has moved. Ctrl-C before that leaves everything as\n"
		"it was, and takes DEST away; --via clone cannot be interrupted. After --format raw the device has no image any more: it is\n"
		"DEST, until it is detached.\n",
	.options = options,
	.min_operands = 2,
	.max_operands = 2,
	.args_size = sizeof(struct move_request),
	.run = run,
};
