// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * clone: a new overlay over a base image, attached at once.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include "../lib/create.h"
#include "../lib/err.h"
#include "../lib/mem.h"
#include "attach.h"
#include "cmd.h"

struct args {
	const char *format;
	u64 size;
	struct attach_args attach;
};

static const struct cli_option options[] = {
	{ "format", 0, CLI_CHOICE, offsetof(struct args, format), "qcow2|raw",
	  .help = "of BASE (qcow2)" },
	{ "size", 0, CLI_SIZE, offsetof(struct args, size), "SIZE",
	  .help = "of the new disk (as BASE)" },
	{ "attach", 0, CLI_TABLE, offsetof(struct args, attach), .table = cmd_attach_options },
	{ }
};

/* BASE, then the layers below it that --backing gives. */
static char **all_layers(const char *base, const struct args *args)
{
	char **layers = NULL, **text;

	mem_add_string(&layers,
		       mem_printf("%s,format=%s", base, args->format ? args->format : "qcow2"));
	for (text = args->attach.backing; text && *text; text++)
		mem_add_string(&layers, mem_strdup(*text));
	return layers;
}

static int create_and_attach(const struct create_request *create,
			     const struct attach_request *attach, struct device *device)
{
	struct newfile file;
	int ret;

	ret = create_image(create, &file);
	if (ret) {
		newfile_close(&file, true);
		return ret;
	}
	/* On a device the descriptor has locks that attach would meet. */
	ret = newfile_unlock(&file);
	if (!ret)
		ret = attach_image(attach, device);
	newfile_close(&file, ret);
	return ret;
}

static int run(void *data, char **operands)
{
	struct args *args = data;
	struct create_request create = {
		.path = operands[1], .version = 3, .cluster_bits = 16, .refcount_order = 4,
		.size = args->size, .backing_raw = args->format && !strcmp(args->format, "raw"),
	};
	struct attach_request attach;
	struct device device = { };
	MEM_FREE char *base = NULL;
	char real[PATH_MAX];
	char **layers;
	int ret;

	if (args->attach.data_file)
		return err_usage("--data-file: a clone has none");
	ret = cmd_attach_request(&args->attach, operands[1], operands[2], &attach);
	if (ret)
		return ret;
	/* The overlay may lie elsewhere: a relative name would mean another file there. */
	if (!realpath(operands[0], real))
		return err_errno(errno, operands[0]);
	base = device_lasting_path(real);
	create.backing = base;
	layers = all_layers(base, args);
	attach.chain.backing = layers;
	ret = attach_check_name(operands[2]);
	if (!ret)
		ret = create_and_attach(&create, &attach, &device);
	if (!ret)
		cmd_attach_print(&args->attach, &device);
	device_release(&device);
	mem_free_strings(layers);
	return ret;
}

const struct cli_command cmd_clone = {
	.name = "clone",
	.action = "clone",
	.synopsis = "BASE OVERLAY NAME",
	.summary = "Make a new overlay over BASE, attach it and print its path",
	.text = "OVERLAY must not exist; it is removed again if it cannot be attached. --backing gives\n"
		"the layers below BASE. The other options are those of attach.\n",
	.options = options,
	.min_operands = 3,
	.max_operands = 3,
	.args_size = sizeof(struct args),
	.run = run,
};
