// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * help: the list of commands, or one of them.
 */
#include <string.h>
#include "../lib/err.h"
#include "../lib/out.h"
#include "cmd.h"

const struct cli_command *const cmd_all[] = {
	&cmd_attach, &cmd_detach, &cmd_list, &cmd_status, &cmd_info, &cmd_create, &cmd_clone,
	&cmd_snapshot, &cmd_resize, &cmd_commit, &cmd_rebase, &cmd_check, &cmd_repair,
	&cmd_map, &cmd_measure, &cmd_interpose, &cmd_checkpoint, &cmd_changes, &cmd_backup, &cmd_move,
	&cmd_monitor, &cmd_recover, &cmd_version, &cmd_help, NULL
};

const struct cli_command *cmd_find(const char *name)
{
	const struct cli_command *const *command;

	for (command = cmd_all; *command; command++) {
		if (!strcmp((*command)->name, name))
			return *command;
	}
	return NULL;
}

static void list_commands(void)
{
	const struct cli_command *const *command;

	out_text("Usage: qcow2ctl COMMAND [option...] [argument...]\n\n"
		 "Attach QCOW2 images as block devices and look after them.\n\n"
		 "Commands:\n");
	for (command = cmd_all; *command; command++)
		out_text("  %-10s %s\n", (*command)->name, (*command)->summary);
	out_text("\n'qcow2ctl help COMMAND' says more about one. IMAGE is a path. TARGET is a\n"
		 "device's name or, with a '/' in it, the path of an image or device. SIZE is a\n"
		 "number of bytes, or has K, M, G or T behind it (units of 1024).\n\n"
		 "Exit status: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 refused by policy,\n"
		 "5 busy, 6 locked, 7 corrupt, 8 no space, 9 not supported.\n");
}

static int run(void *args, char **operands)
{
	const struct cli_command *command, *group;

	(void)args;
	if (!*operands) {
		list_commands();
		return 0;
	}
	command = cmd_find(*operands);
	if (!command)
		return err_usage("'%s' is not a command", *operands);
	if (operands[1]) {
		group = command;
		if (!group->commands)
			return err_usage("one argument too many: '%s'", operands[1]);
		command = cli_find(group, operands[1]);
		if (!command)
			return err_usage("'%s %s' is not a command", group->name, operands[1]);
	}
	cli_help(command);
	return 0;
}

const struct cli_command cmd_help = {
	.name = "help",
	.synopsis = "[COMMAND [WORD]]",
	.summary = "Print this list, or what a command does",
	.max_operands = 2,
	.run = run,
};
