// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * backup: copy a point in time of a device in use.
 */
#include <stddef.h>
#include <string.h>
#include "../lib/backup.h"
#include "../lib/chain.h"
#include "../lib/err.h"
#include "../lib/mem.h"
#include "cmd.h"

struct args {
	struct backup_request request;
	const char *base, *nbd;
};

#define AT(member) offsetof(struct args, member)

static const struct cli_option options[] = {
	{ "to", 0, CLI_STRING, AT(request.to), "DEST.qcow2|-",
	  .help = "a new image, or all of the disk on stdout" },
	{ "nbd", 0, CLI_STRING, AT(nbd), "unix:PATH",
	  .help = "let others read it there, until this is interrupted" },
	{ "since", 0, CLI_STRING, AT(request.since), "CHECKPOINT",
	  .help = "only what has changed since then" },
	{ "checkpoint", 0, CLI_FLAG, AT(request.checkpoint),
	  .help = "begin a new checkpoint and print its number" },
	{ "via", 0, CLI_CHOICE, AT(request.via), "view|snapshot",
	  .help = "freeze by an internal snapshot, or by a layer (what fits)" },
	{ "base", 0, CLI_STRING, AT(base), "PATH,format=qcow2|raw",
	  .help = "with --since: what DEST says lies under it" },
	{ "bwlimit", 0, CLI_SIZE, AT(request.bwlimit), "RATE", .help = "read at most so much a second" },
	{ "deadline", 0, CLI_NUMBER, AT(request.deadline), "SEC", 10000000, .min = 1,
	  .help = "give up if it is not copied by then" },
	{ "nolockfs", 0, CLI_FLAG, AT(request.nolockfs),
	  .help = "do not freeze the file system meanwhile" },
	{ "timeout", 0, CLI_NUMBER, AT(request.timeout), "SEC", 86400, .min = 1,
	  .help = "give up if it is not suspended by then (30)" },
	{ "progress", 0, CLI_CHOICE, AT(request.progress), "auto|json|none",
	  .help = "a bar on a terminal, lines for programs, or nothing (auto)" },
	{ }
};

static int check(struct args *args)
{
	struct backup_request *request = &args->request;
	bool raw = request->to && !strcmp(request->to, "-");

	if (!request->to == !args->nbd)
		return err_usage("one of --to and --nbd is needed");
	if (args->nbd && (strncmp(args->nbd, "unix:", 5) || !args->nbd[5]))
		return err_usage("--nbd: it is unix:PATH");
	request->nbd = args->nbd ? args->nbd + 5 : NULL;
	if (request->to && !*request->to)
		return err_usage("--to: an empty path");
	if (request->since && !*request->since)
		return err_usage("--since: an empty name");
	if (request->since && (raw || request->nbd))
		return err_usage("--since goes with --to DEST.qcow2 only");
	if (args->base && !request->since)
		return err_usage("--base goes with --since only");
	if (request->checkpoint && raw)
		return err_usage("--checkpoint prints on stdout, which gets the disk");
	if (!request->bwlimit)
		return err_usage("--bwlimit: at least 512");
	return 0;
}

static int run(void *data, char **operands)
{
	struct args *args = data;
	MEM_FREE char *base = NULL;
	int ret = check(args);

	if (!ret && args->base)
		ret = chain_split(args->base, &base, &args->request.base_raw);
	if (ret)
		return ret;
	args->request.base = base;
	args->request.name = operands[0];
	return backup_run(&args->request);
}

const struct cli_command cmd_backup = {
	.name = "backup",
	.action = "back up",
	.synopsis = "NAME {--to DEST.qcow2|- | --nbd unix:PATH}",
	.summary = "Copy a device in use as it is at one moment",
	.text = "DEST must not exist; it appears when it is complete and was read again. CHECKPOINT is a\n"
		"number that checkpoint or backup --checkpoint has printed, which needs layer era, or an\n"
		"internal snapshot. PATH of --base is stored as given; a relative one starts in the folder\n"
		"of DEST.\n",
	.options = options,
	.min_operands = 1,
	.max_operands = 1,
	.args_size = sizeof(struct args),
	.run = run,
};
