// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Parser of command lines, and the help that their tables give.
 *
 * getopt_long() is not used: it accepts every unique abbreviation of an option
 * and takes "-1G" for one.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cli.h"
#include "err.h"
#include "mem.h"
#include "out.h"

/* Options that every command has; they are no part of its arguments. */
struct common {
	bool quiet;
	bool debug;
	bool help;
};

static const struct cli_option common_options[] = {
	{ "quiet", 'q', CLI_FLAG, offsetof(struct common, quiet),
	  .help = "print errors only, no warnings and hints" },
	{ "debug", 0, CLI_FLAG, offsetof(struct common, debug),
	  .help = "print every step on stderr" },
	{ "help", 0, CLI_FLAG, offsetof(struct common, help), .help = "print this text" },
	{ }
};

struct parser {
	const struct cli_command *command;
	struct common common;
	void *args;
	char **operands;
	unsigned int nr_operands;
	bool only_operands;	/* "--" was seen */
};

int cli_size(const char *text, const char *what, u64 *size)
{
	static const char units[] = "KMGT";
	const char *unit;
	unsigned int shift = 0;
	char *end;

	errno = 0;
	*size = strtoull(text, &end, 10);
	if (*text < '0' || *text > '9' || errno)
		goto bad;
	unit = *end ? strchr(units, *end) : NULL;
	if (unit) {
		shift = 10 * (unit - units + 1);
		end++;
	}
	if (*end || *size > (u64)INT64_MAX >> shift)
		goto bad;
	*size <<= shift;
	if (*size % 512)
		return err_usage("%s: '%s' is not a multiple of 512", what, text);
	return 0;
bad:
	return err_usage("%s: '%s' is not a size (bytes, or a number with K, M, G or T)", what,
			 text);
}

static int parse_number(const struct cli_option *option, const char *text, u64 *number)
{
	char *end;

	errno = 0;
	*number = strtoull(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || errno || *number < option->min ||
	    *number > option->max)
		return err_usage("--%s: '%s' is not a number from %llu to %llu", option->name, text,
				 (unsigned long long)option->min, (unsigned long long)option->max);
	return 0;
}

/* Is @text one of the words of "a|b|c"? */
static bool is_choice(const char *choices, const char *text)
{
	size_t len = strlen(text);
	const char *word = strchr(text, '|') ? NULL : choices;

	while (word) {
		if (!strncmp(word, text, len) && (word[len] == '|' || !word[len]))
			return len > 0;
		word = strchr(word, '|');
		word = word ? word + 1 : NULL;
	}
	return false;
}

static int set_value(const struct cli_option *option, char *base, const char *text)
{
	void *variable = base + option->offset;
	char name[64];

	switch (option->kind) {
	case CLI_FLAG:
		*(bool *)variable = true;
		return 0;
	case CLI_STRINGS:
		mem_add_string(variable, mem_strdup(text));
		return 0;
	case CLI_SIZE:
		snprintf(name, sizeof(name), "--%s", option->name);
		return cli_size(text, name, variable);
	case CLI_NUMBER:
		return parse_number(option, text, variable);
	case CLI_CHOICE:
		if (!is_choice(option->value, text))
			return err_usage("--%s: '%s' is none of %s", option->name, text,
					 option->value);
		break;
	default:
		break;
	}
	*(const char **)variable = text;
	return 0;
}

/*
 * The option called @name (@len bytes of it) or @letter in @options, whose
 * variables start at *@base; *@base follows into tables within.
 */
static const struct cli_option *find(const struct cli_option *options, const char *name, size_t len,
				     char letter, char **base)
{
	const struct cli_option *found;
	char *inner;

	for (; options && options->name; options++) {
		if (options->kind == CLI_TABLE) {
			inner = *base + options->offset;
			found = find(options->table, name, len, letter, &inner);
			if (!found)
				continue;
			*base = inner;
			return found;
		}
		if (letter ? options->letter == letter :
			     strlen(options->name) == len && !strncmp(options->name, name, len))
			return options;
	}
	return NULL;
}

/* The option that argv[*i] starts with, and moves *i on if it takes the next word too. */
static int parse_option(struct parser *parser, int argc, char **argv, int *i)
{
	const char *word = argv[*i], *text = NULL, *equal;
	const struct cli_option *option;
	char *base = parser->args;
	bool is_long = word[1] == '-';
	size_t len;

	if (is_long) {
		equal = strchr(word, '=');
		len = equal ? (size_t)(equal - word - 2) : strlen(word + 2);
		text = equal ? equal + 1 : NULL;
	} else {
		len = 0;
		text = word[2] ? word + 2 : NULL;
	}
	option = find(parser->command->options, word + 2, len, is_long ? 0 : word[1], &base);
	if (!option) {
		base = (char *)&parser->common;
		option = find(common_options, word + 2, len, is_long ? 0 : word[1], &base);
	}
	if (!option)
		return err_usage("unknown option '%s'", word);
	if (option->kind == CLI_FLAG) {
		if (text)
			return err_usage("option '%s' takes no value", word);
	} else if (!text) {
		if (*i + 1 >= argc)
			return err_usage("option '%s' needs a value (%s)", word, option->value);
		text = argv[++*i];
	}
	return set_value(option, base, text);
}

static int parse(struct parser *parser, int argc, char **argv)
{
	bool is_option;
	int i, ret;

	for (i = 0; i < argc; i++) {
		is_option = !parser->only_operands && argv[i][0] == '-' && argv[i][1] &&
			    !(argv[i][1] >= '0' && argv[i][1] <= '9');
		if (!is_option) {
			parser->operands[parser->nr_operands++] = argv[i];
		} else if (!strcmp(argv[i], "--")) {
			parser->only_operands = true;
		} else {
			ret = parse_option(parser, argc, argv, &i);
			if (ret)
				return ret;
		}
	}
	return 0;
}

static void preset(const struct cli_option *option, char *args)
{
	for (; option && option->name; option++) {
		if (option->kind == CLI_TABLE)
			preset(option->table, args + option->offset);
		else if (option->kind == CLI_SIZE || option->kind == CLI_NUMBER)
			*(u64 *)(args + option->offset) = CLI_UNSET;
	}
}

static void release(const struct cli_option *option, char *args)
{
	for (; option && option->name; option++) {
		if (option->kind == CLI_TABLE)
			release(option->table, args + option->offset);
		else if (option->kind == CLI_STRINGS)
			mem_free_strings(*(char ***)(args + option->offset));
	}
}

static int check_operands(const struct parser *parser)
{
	const struct cli_command *command = parser->command;

	if (parser->nr_operands < command->min_operands)
		return err_usage("missing argument, usage: qcow2ctl %s %s", command->name,
				 command->synopsis);
	if (parser->nr_operands > command->max_operands)
		return err_usage("one argument too many: '%s'",
				 parser->operands[command->max_operands]);
	return 0;
}

static int run_checked(const struct parser *parser)
{
	int ret = check_operands(parser);

	return ret ? ret : parser->command->run(parser->args, parser->operands);
}

const struct cli_command *cli_find(const struct cli_command *group, const char *word)
{
	const struct cli_command *const *command;
	size_t len = strlen(group->name) + 1;

	for (command = group->commands; command && *command; command++) {
		if (!strcmp((*command)->name + len, word))
			return *command;
	}
	return NULL;
}

/* The first word says which command of the group. */
static int run_group(const struct cli_command *group, int argc, char **argv)
{
	const struct cli_command *command;
	MEM_FREE char **rest = NULL;
	int at = 0;

	err_command(group->name, NULL);
	if (argc && !strcmp(argv[0], "--help")) {
		cli_help(group);
		return 0;
	}
	if (!argc)
		return err_usage("missing argument, usage: qcow2ctl %s %s", group->name,
				 group->synopsis);
	/* Options of its command may stand before it, if they have no value. */
	while (at + 1 < argc && *argv[at] == '-')
		at++;
	command = cli_find(group, argv[at]);
	if (!command)
		return err_usage(*argv[at] == '-' ? "unknown option '%s'" : "'%s' is not a command",
				 argv[at]);
	rest = mem_zalloc((argc + 1) * sizeof(*rest));
	memcpy(rest, argv, at * sizeof(*rest));
	memcpy(rest + at, argv + at + 1, (argc - at - 1) * sizeof(*rest));
	return cli_run(command, argc - 1, rest);
}

int cli_run(const struct cli_command *command, int argc, char **argv)
{
	struct parser parser = { .command = command };
	int ret;

	if (command->commands)
		return run_group(command, argc, argv);
	err_command(command->name, command->action);
	parser.args = mem_zalloc(command->args_size);
	parser.operands = mem_zalloc((argc + 1) * sizeof(*argv));
	preset(command->options, parser.args);
	ret = parse(&parser, argc, argv);
	err_is_quiet = parser.common.quiet;
	err_is_debug = parser.common.debug;
	if (!ret && parser.common.help)
		cli_help(command);
	else if (!ret)
		ret = run_checked(&parser);
	release(command->options, parser.args);
	free(parser.args);
	free(parser.operands);
	return ret;
}

/* ------------------------------------------------------------------------
 * Help
 */

static void help_options(const struct cli_option *option)
{
	char left[64];

	for (; option && option->name; option++) {
		char letter[8] = "    ";

		if (option->kind == CLI_TABLE) {
			help_options(option->table);
			continue;
		}
		if (option->letter)
			snprintf(letter, sizeof(letter), "-%c, ", option->letter);
		snprintf(left, sizeof(left), "%s--%s%s%s", letter, option->name,
			 option->value ? " " : "", option->value ? option->value : "");
		if (strlen(left) <= 32)
			out_text("  %-32s  %s\n", left, option->help);
		else
			out_text("  %s\n  %-32s  %s\n", left, "", option->help);
	}
}

static void help_group(const struct cli_command *group)
{
	const struct cli_command *const *command;

	for (command = group->commands; *command; command++)
		out_text("  %-16s %-12s %s\n", (*command)->name, (*command)->synopsis,
			 (*command)->summary);
	out_text("\n'qcow2ctl help %s COMMAND' says more about one.\n", group->name);
}

void cli_help(const struct cli_command *command)
{
	if (command->commands) {
		out_text("Usage: qcow2ctl %s %s\n\n%s.\n\n", command->name, command->synopsis,
			 command->summary);
		help_group(command);
		return;
	}
	out_text("Usage: qcow2ctl %s [option...]%s%s\n\n%s.\n", command->name,
		 *command->synopsis ? " " : "", command->synopsis, command->summary);
	if (command->text)
		out_text("\n%s", command->text);
	out_text("\nOptions:\n");
	help_options(command->options);
	help_options(common_options);
}
