// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * recover: devices that an edit or a change of layers has left in the middle run again.
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
	.summary = "Resume devices that were left in the middle of a change",
	.text = "A device runs again by itself when an edit or a change of layers is killed; this is for\n"
		"the case that the process that sees to it was killed too. It also tells of edits that a\n"
		"loss of power has cut off, and takes away what a backup or an attach that was killed has\n"
		"left. There may be nothing to do.\n",
	.max_operands = 1,
	.run = run,
};
