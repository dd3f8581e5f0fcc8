// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * interpose: layers between the users of a device and its image.
 */
#include <stddef.h>
#include "../lib/err.h"
#include "../lib/interpose.h"
#include "../lib/move.h"
#include "cmd.h"

struct args {
	struct interpose_request request;
	bool remove, list, json;
};

#define AT(member) offsetof(struct args, member)

static const struct cli_option options[] = {
	{ "remove", 0, CLI_FLAG, AT(remove), .help = "take the layer out again" },
	{ "list", 0, CLI_FLAG, AT(list), .help = "list the layers that there are" },
	{ "json", 0, CLI_FLAG, AT(json), .help = "list: print an object with the array layers" },
	{ "ms", 0, CLI_NUMBER, AT(request.ms), "N", 60000, .help = "delay: by so much (5)" },
	{ "up", 0, CLI_NUMBER, AT(request.up), "SEC", 1000000,
	  .help = "flakey: works for so long, again and again (3600)" },
	{ "down", 0, CLI_NUMBER, AT(request.down), "SEC", 1000000,
	  .help = "flakey: and fails for so long (0)" },
	{ "state", 0, CLI_STRING, AT(request.state), "PATH",
	  .help = "era, clone: where it keeps its state" },
	{ "block", 0, CLI_SIZE, AT(request.block), "SIZE",
	  .help = "era: how much is one block (64K)" },
	{ "cow", 0, CLI_STRING, AT(request.cow), "PATH",
	  .help = "snapshot: where it keeps what is overwritten" },
	{ "cow-size", 0, CLI_SIZE, AT(request.cow_size), "SIZE",
	  .help = "snapshot: how large a new file is made (enough)" },
	{ "to", 0, CLI_STRING, AT(request.to), "PATH", .help = "mirror: the second copy; clone: where it goes" },
	{ "table", 0, CLI_STRING, AT(request.table), "'TARGET ARGS'",
	  .help = "raw: {DEV} is the device below, {SECTORS} its length" },
	{ "nolockfs", 0, CLI_FLAG, AT(request.nolockfs),
	  .help = "snapshot: do not freeze the file system meanwhile" },
	{ "timeout", 0, CLI_NUMBER, AT(request.timeout), "SEC", 86400, .min = 1,
	  .help = "give up if it is not suspended by then (30)" },
	{ }
};

static int run(void *data, char **operands)
{
	struct args *args = data;

	args->request.name = operands[0];
	args->request.layer = operands[0] ? operands[1] : NULL;
	if (args->list && (args->remove || operands[0]))
		return err_usage("--list stands alone");
	if (args->json && !args->list)
		return err_usage("--json goes with --list");
	if (args->list)
		return interpose_list(args->json);
	if (!operands[0])
		return err_usage("missing argument, NAME");
	if (args->remove && operands[1])
		return err_usage("with --remove there is no LAYER");
	if (args->remove && move_is_begun(operands[0]))
		return move_finish(operands[0], interpose_seconds(&args->request));
	if (args->remove)
		return interpose_remove(&args->request);
	if (!operands[1])
		return err_usage("missing argument, LAYER");
	return interpose_insert(&args->request);
}

const struct cli_command cmd_interpose = {
	.name = "interpose",
	.action = "change the layer",
	.synopsis = "NAME {LAYER | --remove} | --list",
	.summary = "Put a layer between a device in use and its image, or take it out",
	.text = "LAYER is one of\n"
		"  linear    nothing but the way through\n"
		"  delay     everything takes longer\n"
		"  flakey    works and fails by turns\n"
		"  era       remembers which blocks are written\n"
		"  snapshot  NAME.frozen shows the disk as it was when the layer came\n"
		"  mirror    a second copy of the disk\n"
		"  clone     the disk goes elsewhere; when all is copied, --remove leaves it there\n"
		"  raw       any table of device mapper\n"
		"State that no PATH is given for is a file IMAGE.NAME.LAYER, which goes with the layer. A\n"
		"PATH is a block device, or a file that does not exist yet; it stays.\n",
	.options = options,
	.max_operands = 2,
	.args_size = sizeof(struct args),
	.run = run,
};
