// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * recover: devices that an edit has left suspended run again.
 */
#include "../lib/recover.h"
#include "cmd.h"

static int run(void *args, char **operands)
{
	(void)args;
	return recover_devices(operands[0]);
}

const struct cli_command cmd_recover = {
	.name = "recover",
	.action = "recover",
	.synopsis = "[NAME]",
	.summary = "Resume devices that an edit has left suspended",
	.text = "A device runs again by itself when its edit is killed; this is for the case that the\n"
		"process that sees to it was killed too. It also tells of edits that a loss of power has\n"
		"cut off. There may be nothing to do.\n",
	.max_operands = 1,
	.run = run,
};
