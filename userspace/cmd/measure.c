// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * measure: how much room an image needs, and how much it can come to need.
 */
#include "../lib/err.h"
#include "../lib/measure.h"
#include "../lib/out.h"
#include "../lib/progress.h"
#include "cmd.h"
#include "create.h"

struct args {
	const char *size;
	struct create_args create;
	bool json;
};

static const struct cli_option options[] = {
	{ "size", 0, CLI_STRING, offsetof(struct args, size), "SIZE",
	  .help = "of the disk of an image that does not exist yet" },
	{ "create", 0, CLI_TABLE, offsetof(struct args, create), .table = cmd_create_options },
	{ "json", 0, CLI_FLAG, offsetof(struct args, json), .help = "print an object" },
	{ }
};

static const struct out_field fields[] = {
	{ "required", "required", OUT_COUNT, offsetof(struct measure, required), NULL },
	{ "fully_allocated", "fully allocated", OUT_COUNT,
	  offsetof(struct measure, fully_allocated), NULL },
	{ }
};

/* Options of create say nothing about an image that is there. */
static bool has_create_option(const struct create_args *args)
{
	return args->compat || args->compression || args->data_file || args->backing ||
	       args->extended_l2 || args->lazy_refcounts || args->raw ||
	       args->cluster_size != CLI_UNSET || args->refcount_bits != CLI_UNSET;
}

static int measure(const struct args *args, const char *image, struct measure *result)
{
	struct create_request request;
	int ret;

	if (image && (args->size || has_create_option(&args->create)))
		return err_usage("IMAGE and the options of a new image contradict each other");
	if (image)
		return measure_image(image, result);
	if (!args->size)
		return err_usage("missing argument, IMAGE or --size SIZE");
	ret = cmd_create_request(&args->create, NULL, args->size, &request);
	if (ret)
		return ret;
	request.data_file = args->create.data_file;
	return measure_new(&request, result);
}

static int run(void *data, char **operands)
{
	const struct args *args = data;
	struct measure result;
	int ret;

	if (operands[0])
		progress_start(NULL, operands[0]);
	ret = measure(args, operands[0], &result);
	if (operands[0])
		progress_end();
	if (!ret)
		out_object(fields, &result, args->json);
	return ret;
}

const struct cli_command cmd_measure = {
	.name = "measure",
	.action = "measure",
	.synopsis = "[IMAGE]",
	.summary = "Tell how large an image can become",
	.text = "In bytes: what it needs now, and what it needs when the whole disk has been written,\n"
		"so large a logical volume has to be. An image that exists keeps its snapshots by that;\n"
		"for one that does not, --size and the options of create say what it will be.\n",
	.options = options,
	.max_operands = 1,
	.args_size = sizeof(struct args),
	.run = run,
};
