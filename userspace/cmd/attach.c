// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * attach: an image becomes a block device.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "../lib/err.h"
#include "../lib/mem.h"
#include "../lib/repair.h"
#include "../lib/text.h"
#include "attach.h"
#include "cmd.h"

#define AT(member) offsetof(struct attach_args, member)

const struct cli_option cmd_attach_options[] = {
	{ "read-only", 'r', CLI_FLAG, AT(readonly), .help = "the device cannot be written" },
	{ "backing", 0, CLI_STRINGS, AT(backing), "PATH,format=qcow2|raw",
	  .help = "the next layer below, top down; repeat for each" },
	{ "chain", 0, CLI_CHOICE, AT(chain), "explicit|follow|none",
	  .help = "what to do with files that only the image names" },
	{ "allow-under", 0, CLI_STRINGS, AT(allow_under), "DIR",
	  .help = "follow names to files beneath DIR; repeat for each" },
	{ "data-file", 0, CLI_STRING, AT(data_file), "PATH",
	  .help = "the external data file of the image" },
	{ "drop-bitmaps", 0, CLI_FLAG, AT(drop_bitmaps),
	  .help = "give up the persistent bitmaps of the image" },
	{ "partscan", 0, CLI_FLAG, AT(partscan),
	  .help = "make devices NAMEp1... for the partitions" },
	{ "cache", 0, CLI_SIZE, AT(cache), "SIZE",
	  .help = "memory for metadata, 1K to 32M" },
	{ "low-water", 0, CLI_SIZE, AT(low_water), "SIZE",
	  .help = "raise an event when less space is left" },
	{ "when-full", 0, CLI_CHOICE, AT(when_full), "queue|error",
	  .help = "writes when no space is left (queue)" },
	{ "full-timeout", 0, CLI_NUMBER, AT(full_timeout), "SEC", .max = 86400 * 365,
	  .help = "fail queued writes after SEC, 0 = never (60)" },
	{ "discard", 0, CLI_CHOICE, AT(discard), "pass|keep",
	  .help = "give freed space back to the host, or not (pass)" },
	{ "commit-ms", 0, CLI_NUMBER, AT(commit_ms), "N", .max = 3600 * 1000,
	  .help = "longest time that metadata waits to be written (1000)" },
	{ "json", 0, CLI_FLAG, AT(json), .help = "print an object instead of the path" },
	{ }
};

/* Attach alone can do that: a clone is new, and its base is not written. */
static const struct cli_option options[] = {
	{ "attach", 0, CLI_TABLE, 0, .table = cmd_attach_options },
	{ "snapshot", 0, CLI_STRING, AT(snapshot), "ID",
	  .help = "instead of the disk this snapshot of it, read-only" },
	{ "repair", 0, CLI_FLAG, AT(repair),
	  .help = "first repair the image if it is dirty or marked corrupt" },
	{ }
};

static enum chain_policy policy(const struct attach_args *args)
{
	if (!args->chain || !strcmp(args->chain, "explicit"))
		return CHAIN_EXPLICIT;
	return !strcmp(args->chain, "follow") ? CHAIN_FOLLOW : CHAIN_NONE;
}

/* Wrong words are found before any file is opened. */
static int check_backing(char **backing)
{
	bool raw = false;
	char *path;
	int ret = 0;

	for (; !ret && backing && *backing; backing++) {
		if (raw)
			return chain_refuse_under_raw(*backing);
		ret = chain_split(*backing, &path, &raw);
		mem_freep(&path);
	}
	return ret;
}

int cmd_attach_request(const struct attach_args *args, const char *image, const char *name,
		       struct attach_request *request)
{
	memset(request, 0, sizeof(*request));
	request->chain.image = image;
	request->chain.backing = args->backing;
	request->chain.data_file = args->data_file;
	request->chain.policy = policy(args);
	request->chain.allow_under = args->allow_under;
	request->name = name;
	request->snapshot = args->snapshot;
	request->readonly = args->readonly || args->snapshot;
	request->drop_bitmaps = args->drop_bitmaps;
	request->partscan = args->partscan;
	request->cache = args->cache;
	request->low_water = args->low_water;
	request->full_timeout = args->full_timeout;
	request->commit_ms = args->commit_ms;
	request->when_full = args->when_full;
	request->discard = args->discard;
	if (request->chain.policy == CHAIN_FOLLOW && !args->allow_under)
		return err_usage("--chain=follow needs --allow-under DIR");
	if (request->chain.policy != CHAIN_FOLLOW && args->allow_under)
		return err_usage("--allow-under goes with --chain=follow only");
	if (args->cache != CLI_UNSET && (args->cache < 1024 || args->cache > 32 << 20))
		return err_usage("--cache: it must be 1K to 32M");
	if (!args->commit_ms)
		return err_usage("--commit-ms: '0' is not a number from 1 to 3600000");
	return check_backing(args->backing);
}

void cmd_attach_print(const struct attach_args *args, const struct device *device)
{
	if (args->json)
		out_object(device_fields, device, true);
	else
		out_line(device->path);
}

/* Who types the name first means the other way round. */
static int refuse_swapped(const char *image, const char *name)
{
	MEM_FREE char *shown_image = text_shell(name);
	MEM_FREE char *shown_name = text_shell(image);

	if (!access(image, F_OK) || errno != ENOENT || access(name, F_OK))
		return 0;
	err_errno(ENOENT, image);
	err_hint("the image comes first: qcow2ctl attach %s %s", shown_image, shown_name);
	return ERR_NOT_FOUND;
}

static int run(void *data, char **operands)
{
	const struct attach_args *args = data;
	struct attach_request request;
	struct device device;
	int ret;

	ret = cmd_attach_request(args, operands[0], operands[1], &request);
	if (ret)
		return ret;
	ret = refuse_swapped(operands[0], operands[1]);
	if (!ret && args->repair)
		ret = attach_check_name(request.name);
	if (!ret && args->repair)
		ret = repair_marked(operands[0]);
	if (ret)
		return ret;
	ret = attach_image(&request, &device);
	if (!ret)
		cmd_attach_print(args, &device);
	device_release(&device);
	return ret;
}

const struct cli_command cmd_attach = {
	.name = "attach",
	.action = "attach",
	.synopsis = "IMAGE NAME",
	.summary = "Make the image a block device and print its path",
	.text = "The device is /dev/mapper/NAME, ready for use when the command returns. The image is\n"
		"always read as qcow2. Files that it names are not opened: each layer below is given\n"
		"by --backing, or looked up by --chain=follow beneath the folders of --allow-under,\n"
		"or left out by --chain=none (what is missing reads as zeros). With --snapshot the\n"
		"device shows an internal snapshot, by its id or else its tag, also while the image is\n"
		"attached and written; as long as it is attached no snapshot can be deleted or applied.\n",
	.options = options,
	.min_operands = 2,
	.max_operands = 2,
	.args_size = sizeof(struct attach_args),
	.run = run,
};
