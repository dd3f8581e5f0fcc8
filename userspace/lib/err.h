/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * What goes to stderr, and the exit codes.
 *
 * An error is one line "qcow2ctl: <subject>: cannot <action>: <reason>" and at
 * most one line "hint: ...". Whoever prints an error returns its exit code, and
 * the callers pass that on without another word. Functions that print nothing
 * return a negative errno instead; each header says which kind it has.
 */
#ifndef QCOW2CTL_ERR_H
#define QCOW2CTL_ERR_H

#include <stdbool.h>

enum err {
	ERR_OK = 0,
	ERR_FAILED = 1,
	ERR_USAGE = 2,
	ERR_NOT_FOUND = 3,
	ERR_POLICY = 4,
	ERR_BUSY = 5,
	ERR_LOCKED = 6,
	ERR_CORRUPT = 7,
	ERR_NO_SPACE = 8,
	ERR_UNSUPPORTED = 9,
};

#define ERR_PRINTF(format, args) __attribute__((__format__(__printf__, format, args)))

/* Set by the command line. Quiet: errors and nothing else. */
extern bool err_is_quiet;
extern bool err_is_debug;

/* The running command, for messages: its name ("attach") and what it does ("attach"). */
void err_command(const char *name, const char *action);

/* Print an error about @subject (NULL: about the command itself) and return @code. */
int err_fail(int code, const char *subject, const char *format, ...) ERR_PRINTF(3, 4);
/* The reason is the text of @error (positive errno), and the code follows from it. */
int err_errno(int error, const char *subject);
/* The same, with what could not be done in front of it. */
int err_errno_what(int error, const char *subject, const char *format, ...) ERR_PRINTF(3, 4);
/* A wrong command line: prints the error and where help is; returns ERR_USAGE. */
int err_usage(const char *format, ...) ERR_PRINTF(1, 2);
void err_hint(const char *format, ...) ERR_PRINTF(1, 2);
void err_warn(const char *subject, const char *format, ...) ERR_PRINTF(2, 3);
/* A line about what was done, without any more words. */
void err_note(const char *format, ...) ERR_PRINTF(1, 2);
void err_debug(const char *format, ...) ERR_PRINTF(1, 2);

/* The exit code that an errno (positive) means. */
int err_code(int error);

#endif
