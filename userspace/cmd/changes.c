// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * changes: what of a disk is another one than at a checkpoint.
 */
#include <stddef.h>
#include "../lib/backup.h"
#include "../lib/err.h"
#include "../lib/out.h"
#include "cmd.h"

struct args {
	const char *since;
	bool json;
};

static const struct cli_option options[] = {
	{ "since", 0, CLI_STRING, offsetof(struct args, since), "CHECKPOINT",
	  .help = "a number of layer era, or an internal snapshot (0)" },
	{ "json", 0, CLI_FLAG, offsetof(struct args, json),
	  .help = "print an array, in the shape of qemu-img map --output=json" },
	{ }
};

static void print_json(const struct backup_ranges *changes)
{
	size_t i;

	for (i = 0; i < changes->count; i++) {
		const struct backup_range *range = &changes->list[i];

		out_text("%s{ \"start\": %llu, \"length\": %llu, \"data\": %s, \"zero\": %s}",
			 i ? ",\n" : "[", (unsigned long long)range->start,
			 (unsigned long long)range->length, range->data ? "true" : "false",
			 range->data ? "false" : "true");
	}
	out_text("%s]\n", i ? "" : "[");
}

static void print_rows(const struct backup_ranges *changes)
{
	size_t i;

	for (i = 0; i < changes->count; i++) {
		const struct backup_range *range = &changes->list[i];

		if (!i)
			out_text("%-15s %-15s %s\n", "START", "LENGTH", "KIND");
		out_text("%#-15llx %#-15llx %s\n", (unsigned long long)range->start,
			 (unsigned long long)range->length, range->data ? "data" : "zero");
	}
}

static int run(void *data, char **operands)
{
	const struct args *args = data;
	struct backup_ranges changes;
	int ret;

	if (args->since && !*args->since)
		return err_usage("--since: an empty name");
	ret = backup_changes(operands[0], args->since ? args->since : "0", &changes);
	if (!ret && args->json)
		print_json(&changes);
	else if (!ret)
		print_rows(&changes);
	backup_ranges_release(&changes);
	return ret;
}

const struct cli_command cmd_changes = {
	.name = "changes",
	.action = "list changes",
	.synopsis = "NAME",
	.summary = "List what of a disk was written since a checkpoint",
	.text = "KIND is data, or zero for what reads as zeros now, or at the point that a backup copies or\n"
		"serves (by a view). A number needs layer era, which knows whole blocks; since a snapshot whole\n"
		"clusters are known.\n",
	.options = options,
	.min_operands = 1,
	.max_operands = 1,
	.args_size = sizeof(struct args),
	.run = run,
};
