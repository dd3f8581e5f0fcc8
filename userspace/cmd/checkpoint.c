// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * checkpoint: a moment since which changes are known.
 */
#include "../lib/backup.h"
#include "../lib/mem.h"
#include "../lib/out.h"
#include "cmd.h"

static int run(void *args, char **operands)
{
	u64 number;
	int ret = backup_checkpoint(operands[0], &number);

	(void)args;
	if (!ret) {
		MEM_FREE char *line = mem_printf("%llu", (unsigned long long)number);

		out_line(line);
	}
	return ret;
}

const struct cli_command cmd_checkpoint = {
	.name = "checkpoint",
	.action = "begin a checkpoint",
	.synopsis = "NAME",
	.summary = "Begin a checkpoint of a device with layer era, and print it",
	.text = "What is written from now on is what has changed since. Layer era itself began number 0.\n",
	.options = NULL,
	.min_operands = 1,
	.max_operands = 1,
	.run = run,
};
