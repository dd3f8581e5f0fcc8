/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Command lines as data: a command is a table of options and a function. The
 * same table drives parsing and help.
 *
 * Options and arguments come in any order, "--" ends the options. Names are
 * never abbreviated, so a new option cannot break a script. "-" followed by a
 * digit is an argument (a size), not an option.
 */
#ifndef QCOW2CTL_CLI_H
#define QCOW2CTL_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <linux/types.h>

#define CLI_UNSET	(~0ULL)	/* a SIZE or NUMBER that was not given */

enum cli_kind {
	CLI_FLAG,	/* bool */
	CLI_STRING,	/* const char *, NULL if not given */
	CLI_STRINGS,	/* char **, NULL-terminated, one per use */
	CLI_CHOICE,	/* const char *; value "a|b" lists what it may be */
	CLI_SIZE,	/* u64 */
	CLI_NUMBER,	/* u64, from min to max */
	CLI_TABLE,	/* no option: the options of table stand here, their variables at offset */
};

struct cli_option {
	const char *name;	/* without the dashes; NULL ends the table */
	char letter;
	enum cli_kind kind;
	size_t offset;		/* of the variable in the command's arguments */
	const char *value;	/* what help calls it */
	u64 max;
	const char *help;
	const struct cli_option *table;
	u64 min;
};

struct cli_command {
	const char *name;
	const char *action;	/* "cannot <action>" */
	const char *synopsis;	/* the arguments */
	const char *summary;	/* one line for the list of commands */
	const char *text;	/* more for its own help, or NULL */
	const struct cli_option *options;
	unsigned int min_operands, max_operands;
	size_t args_size;	/* starts zeroed, SIZE and NUMBER as CLI_UNSET */
	int (*run)(void *args, char **operands);	/* operands: NULL-terminated */
	/* Or a group: its commands, called "<group> <word>", NULL-terminated. */
	const struct cli_command *const *commands;
};

/* Parse @argv (without the command's name), run, return the exit code. */
int cli_run(const struct cli_command *command, int argc, char **argv);
/* The command of a group that @word calls, or NULL. */
const struct cli_command *cli_find(const struct cli_command *group, const char *word);
/* Print the help of one command on stdout. */
void cli_help(const struct cli_command *command);

/*
 * SIZE: a number of bytes, or with K, M, G, T of 1024; a multiple of 512. 0,
 * or ERR_USAGE after a message that calls it @what.
 */
int cli_size(const char *text, const char *what, u64 *size);

#endif
