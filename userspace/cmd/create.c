// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * create: a new, empty image.
 */
#include <string.h>
#include "../lib/chain.h"
#include "../lib/err.h"
#include "../lib/mem.h"
#include "cmd.h"
#include "create.h"

#define AT(member) offsetof(struct create_args, member)

const struct cli_option cmd_create_options[] = {
	{ "cluster-size", 0, CLI_SIZE, AT(cluster_size), "SIZE",
	  .help = "512 to 2M, a power of two (64K)" },
	{ "compat", 0, CLI_CHOICE, AT(compat), "v2|v3", .help = "version of the format (v3)" },
	{ "refcount-bits", 0, CLI_NUMBER, AT(refcount_bits), "N", 64,
	  .help = "width of a reference count, 1 to 64, a power of two (16)" },
	{ "extended-l2", 0, CLI_FLAG, AT(extended_l2), .help = "allocate by 32nds of a cluster" },
	{ "lazy-refcounts", 0, CLI_FLAG, AT(lazy_refcounts),
	  .help = "let QEMU write reference counts late" },
	{ "compression", 0, CLI_CHOICE, AT(compression), "deflate|zstd",
	  .help = "how compressed clusters are compressed (deflate)" },
	{ "data-file", 0, CLI_STRING, AT(data_file), "PATH",
	  .help = "keep the data in a file or device of its own" },
	{ "raw", 0, CLI_FLAG, AT(raw), .help = "the data file is a raw image at any time" },
	{ "backing", 0, CLI_STRING, AT(backing), "PATH,format=qcow2|raw",
	  .help = "what is not written reads from there" },
	{ }
};

/* Its logarithm if @value is a power of two, else -1. */
static int log2_of(u64 value)
{
	return value && !(value & (value - 1)) ? __builtin_ctzll(value) : -1;
}

static int check_version(const struct create_args *args, const struct create_request *request)
{
	if (request->version >= 3)
		return 0;
	if (request->refcount_order != 4)
		return err_usage("--compat v2 has --refcount-bits 16 only");
	if (args->extended_l2 || args->lazy_refcounts || request->zstd || args->data_file)
		return err_usage("--compat v2 has no %s", args->extended_l2 ? "--extended-l2" :
				 args->lazy_refcounts ? "--lazy-refcounts" :
				 request->zstd ? "--compression zstd" : "--data-file");
	return 0;
}

static int check(const struct create_args *args, const struct create_request *request)
{
	if (args->raw && !args->data_file)
		return err_usage("--raw goes with --data-file only");
	if (args->raw && args->backing)
		return err_usage("--raw and --backing contradict each other");
	if (request->size == CREATE_UNSET && !args->backing)
		return err_usage("missing argument, SIZE (only with --backing it can be left out)");
	if (args->extended_l2 && request->cluster_bits < QCOW2_MIN_EXTENDED_L2_BITS)
		return err_usage("--extended-l2 needs a --cluster-size of 16K or more");
	return check_version(args, request);
}

int cmd_create_request(const struct create_args *args, const char *path, const char *size,
		       struct create_request *request)
{
	u64 cluster_size = args->cluster_size == CLI_UNSET ? 65536 : args->cluster_size;
	u64 refcount_bits = args->refcount_bits == CLI_UNSET ? 16 : args->refcount_bits;
	int ret;

	memset(request, 0, sizeof(*request));
	request->path = path;
	request->size = CREATE_UNSET;
	ret = size ? cli_size(size, "SIZE", &request->size) : 0;
	if (ret)
		return ret;
	if (log2_of(cluster_size) < QCOW2_MIN_CLUSTER_BITS ||
	    log2_of(cluster_size) > QCOW2_MAX_CLUSTER_BITS)
		return err_usage("--cluster-size: it must be a power of two from 512 to 2M");
	if (log2_of(refcount_bits) < 0)
		return err_usage("--refcount-bits: it must be a power of two from 1 to 64");
	request->cluster_bits = log2_of(cluster_size);
	request->refcount_order = log2_of(refcount_bits);
	request->version = args->compat && !strcmp(args->compat, "v2") ? 2 : 3;
	request->extended_l2 = args->extended_l2;
	request->lazy_refcounts = args->lazy_refcounts;
	request->zstd = args->compression && !strcmp(args->compression, "zstd");
	request->data_file = args->data_file;
	request->data_file_raw = args->raw;
	return check(args, request);
}

static int run(void *data, char **operands)
{
	const struct create_args *args = data;
	struct create_request request;
	MEM_FREE char *backing = NULL;
	struct newfile file;
	int ret;

	ret = cmd_create_request(args, operands[0], operands[1], &request);
	if (!ret && args->backing)
		ret = chain_split(args->backing, &backing, &request.backing_raw);
	if (ret)
		return ret;
	request.backing = backing;
	ret = create_image(&request, &file);
	newfile_close(&file, ret);
	return ret;
}

const struct cli_command cmd_create = {
	.name = "create",
	.action = "create",
	.synopsis = "IMAGE [SIZE]",
	.summary = "Make a new image in a file or on a block device",
	.text = "A file that exists, or a device that holds something, is refused. Without SIZE the disk\n"
		"is as large as its backing file. PATH of --backing is stored as given; a relative one\n"
		"starts in the folder of IMAGE.\n",
	.options = cmd_create_options,
	.min_operands = 1,
	.max_operands = 2,
	.args_size = sizeof(struct create_args),
	.run = run,
};
