// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Messages on stderr and the table from errno to exit code.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "err.h"

bool err_is_quiet;
bool err_is_debug;

static const char *command_name;
static const char *command_action;

void err_command(const char *name, const char *action)
{
	command_name = name;
	command_action = action;
}

/*
 * Names come from command lines, images and other processes: whatever would
 * move the cursor or start an escape sequence is shown as a question mark.
 */
static void print_safely(const char *text)
{
	for (; *text; text++)
		fputc((unsigned char)*text < ' ' || *text == 0x7f ? '?' : *text, stderr);
}

static void print_formatted(const char *format, va_list args)
{
	char *text;

	if (vasprintf(&text, format, args) < 0)
		return;
	print_safely(text);
	free(text);
}

static void print_start(const char *subject)
{
	fputs("qcow2ctl: ", stderr);
	if (!subject)
		return;
	print_safely(subject);
	fputs(": ", stderr);
}

static void print_error(const char *subject, const char *format, va_list args)
{
	print_start(subject);
	if (command_action)
		fprintf(stderr, "cannot %s: ", command_action);
	print_formatted(format, args);
}

int err_fail(int code, const char *subject, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	print_error(subject, format, args);
	va_end(args);
	fputc('\n', stderr);
	return code;
}

int err_errno(int error, const char *subject)
{
	return err_fail(err_code(error), subject, "%s", strerror(error));
}

int err_errno_what(int error, const char *subject, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	print_error(subject, format, args);
	va_end(args);
	fprintf(stderr, ": %s\n", strerror(error));
	return err_code(error);
}

int err_usage(const char *format, ...)
{
	va_list args;

	print_start(command_name);
	va_start(args, format);
	print_formatted(format, args);
	va_end(args);
	fputc('\n', stderr);
	if (command_name)
		err_hint("see 'qcow2ctl help %s'", command_name);
	else
		err_hint("see 'qcow2ctl help'");
	return ERR_USAGE;
}

void err_hint(const char *format, ...)
{
	va_list args;

	if (err_is_quiet)
		return;
	fputs("hint: ", stderr);
	va_start(args, format);
	print_formatted(format, args);
	va_end(args);
	fputc('\n', stderr);
}

void err_warn(const char *subject, const char *format, ...)
{
	va_list args;

	if (err_is_quiet)
		return;
	print_start(subject);
	fputs("warning: ", stderr);
	va_start(args, format);
	print_formatted(format, args);
	va_end(args);
	fputc('\n', stderr);
}

void err_note(const char *format, ...)
{
	va_list args;

	if (err_is_quiet)
		return;
	va_start(args, format);
	print_formatted(format, args);
	va_end(args);
	fputc('\n', stderr);
}

void err_debug(const char *format, ...)
{
	va_list args;

	if (!err_is_debug)
		return;
	fputs("debug: ", stderr);
	va_start(args, format);
	print_formatted(format, args);
	va_end(args);
	fputc('\n', stderr);
}

int err_code(int error)
{
	switch (error) {
	case ENOENT:
		return ERR_NOT_FOUND;
	case EBUSY:
		return ERR_BUSY;
	case EUCLEAN:
	case EFBIG:
	case ESTALE:
		return ERR_CORRUPT;
	case EOPNOTSUPP:
		return ERR_UNSUPPORTED;
	case ENOKEY:
	case EROFS:
	case EACCES:
	case EPERM:
		return ERR_POLICY;
	case ENOSPC:
	case EDQUOT:
		return ERR_NO_SPACE;
	default:
		return ERR_FAILED;
	}
}
