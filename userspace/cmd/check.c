// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * check: does the metadata of an image agree with itself?
 */
#include "../lib/check.h"
#include "../lib/check_online.h"
#include "../lib/edit.h"
#include "../lib/err.h"
#include "../lib/mem.h"
#include "../lib/out.h"
#include "../lib/progress.h"
#include "cmd.h"

/* Exit codes of qemu-img check; 0 is clean. */
#define COULD_NOT	1
#define ERRORS		2
#define LEAKS		3
#define UNSUPPORTED	63

struct args {
	bool online, json;
	const char *progress;
};

static const struct cli_option options[] = {
	{ "online", 0, CLI_FLAG, offsetof(struct args, online),
	  .help = "let the kernel check a device that is written, without a pause" },
	{ "json", 0, CLI_FLAG, offsetof(struct args, json), .help = "print an object" },
	{ "progress", 0, CLI_CHOICE, offsetof(struct args, progress), "auto|json|none",
	  .help = "a bar on a terminal, lines for programs, or nothing (auto)" },
	{ }
};

struct result {
	u64 errors, leaks, repaired, clusters, allocated;
};

#define FIELD(key) { #key, #key, OUT_COUNT, offsetof(struct result, key), NULL }

static const struct out_field fields[] = {
	FIELD(errors), FIELD(leaks), FIELD(repaired), FIELD(clusters), FIELD(allocated), { }
};

static int check_in_use(const char *device, struct result *result)
{
	struct check_online online;
	int ret = check_online(device, &online);

	if (!ret)
		*result = (struct result){ .errors = online.errors, .leaks = online.leaks,
					   .clusters = online.clusters,
					   .allocated = OUT_ABSENT };
	return ret;
}

static int check(const struct target *target, const struct args *args, struct result *result)
{
	struct check run = { 0 };
	int ret = check_run(&run, &target->image, !args->json);
	if (!ret)
		*result = (struct result){ .errors = run.errors, .leaks = run.leaks,
					   .clusters = run.clusters, .allocated = run.allocated };
	check_release(&run);
	return ret;
}

static int exit_code(int ret, const struct result *result)
{
	if (ret)
		return ret == ERR_UNSUPPORTED ? UNSUPPORTED : COULD_NOT;
	if (result->errors)
		return ERRORS;
	return result->leaks ? LEAKS : 0;
}

static int run(void *data, char **operands)
{
	const struct args *args = data;
	struct result result = { 0 };
	MEM_FREE char *device = NULL;
	struct target target;
	int ret = 0, error;

	progress_start(args->progress, operands[0]);
	if (args->online)
		ret = check_online_device(operands[0], &device);
	if (device) {
		ret = check_in_use(device, &result);
	} else if (!ret) {
		ret = edit_open_reader(&target, operands[0], EDIT_READS_DAMAGED, 0);
		if (!ret)
			ret = check(&target, args, &result);
		progress_clear();
		error = target_close(&target);
		if (!ret)
			ret = error;
	}
	progress_end();
	if (!ret)
		out_object(fields, &result, args->json);
	return exit_code(ret, &result);
}

const struct cli_command cmd_check = {
	.name = "check",
	.action = "check",
	.synopsis = "TARGET",
	.summary = "Check the metadata of an image",
	.text = "Errors can damage data; leaks only waste space. Nothing is written. Exit status as\n"
		"qemu-img check has it: 0 clean, 1 could not check, 2 errors, 3 leaks, 63 not supported.\n"
		"A device that is written is suspended meanwhile; with --online it is not, and the kernel\n"
		"looks for all but reserved bits and bitmaps. What it finds is in the kernel's log.\n",
	.options = options,
	.min_operands = 1,
	.max_operands = 1,
	.args_size = sizeof(struct args),
	.run = run,
};
