// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * map: where the bytes of a disk are.
 */
#include <unistd.h>
#include "../lib/map.h"
#include "../lib/mem.h"
#include "../lib/out.h"
#include "../lib/progress.h"
#include "../lib/text.h"
#include "cmd.h"

struct args {
	bool json;
};

static const struct cli_option options[] = {
	{ "json", 0, CLI_FLAG, offsetof(struct args, json),
	  .help = "print an array, the same as qemu-img map --output=json" },
	{ }
};

static const char *truth(bool value)
{
	return value ? "true" : "false";
}

/* @data: has anything been printed? */
static int print_json(void *data, const struct map_extent *e)
{
	bool *begun = data;

	out_text("%s{ \"start\": %llu, \"length\": %llu, \"depth\": %u, ", *begun ? ",\n" : "[",
		 (unsigned long long)e->start, (unsigned long long)e->length, e->depth);
	out_text("\"present\": %s, \"zero\": %s, \"data\": %s, \"compressed\": %s", truth(e->present),
		 truth(e->zero), truth(e->data), truth(e->compressed));
	if (e->has_offset)
		out_text(", \"offset\": %llu", (unsigned long long)e->offset);
	out_text("}");
	*begun = true;
	return 0;
}

static const char *kind(const struct map_extent *e)
{
	if (e->data && e->zero)
		return "hole";
	if (e->data)
		return e->has_offset ? "data" : "packed";
	return e->present ? "zero" : "-";
}

static int print_row(void *data, const struct map_extent *e)
{
	MEM_FREE char *file = e->has_offset ? text_printable(e->file) : NULL;
	bool *begun = data;

	if (!*begun)
		out_text("%-15s %-15s %5s %-6s %-15s %s\n", "START", "LENGTH", "DEPTH", "KIND",
			 "OFFSET", "FILE");
	*begun = true;
	out_text("%#-15llx %#-15llx %5u %-6s ", (unsigned long long)e->start,
		 (unsigned long long)e->length, e->depth, kind(e));
	if (e->has_offset)
		out_text("%#-15llx %s\n", (unsigned long long)e->offset, file);
	else
		out_text("%-15s -\n", "-");
	return 0;
}

static int run(void *data, char **operands)
{
	const struct args *args = data;
	bool begun = false;
	int ret;

	/* A bar does not go with lines on the same terminal. */
	progress_start(isatty(STDOUT_FILENO) ? "none" : NULL, operands[0]);
	progress_phase("map");
	ret = map_run(operands[0], args->json ? print_json : print_row, &begun);
	progress_end();
	if (!ret && args->json)
		out_text("%s]\n", begun ? "" : "[");
	return ret;
}

const struct cli_command cmd_map = {
	.name = "map",
	.action = "map",
	.synopsis = "TARGET",
	.summary = "Show where the bytes of the disk are",
	.text = "The files that the image names are opened for that, as qcow2 or raw as it says, and of a\n"
		"device those that its table names; no data is read from them. KIND is data, packed\n"
		"(compressed or encrypted), zero, hole (a place that was never written), or - for what\n"
		"no layer has and reads as zeros.\n",
	.options = options,
	.min_operands = 1,
	.max_operands = 1,
	.args_size = sizeof(struct args),
	.run = run,
};
