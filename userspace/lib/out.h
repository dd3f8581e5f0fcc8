/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Results on stdout. A result is a struct, or an array of them, described by
 * one table of fields; the table gives the text for people and the JSON for
 * programs, so that the two cannot disagree.
 *
 * JSON: numbers are bytes or counts, what is absent is null, a key never
 * changes its type.
 */
#ifndef QCOW2CTL_OUT_H
#define QCOW2CTL_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <linux/types.h>

#define OUT_JSON_VERSION	1
#define OUT_ABSENT		(~0ULL)	/* of BYTES, COUNT and DATE */

enum out_type {
	OUT_STRING,	/* const char *, NULL = absent */
	OUT_BYTES,	/* u64 */
	OUT_COUNT,	/* u64 */
	OUT_BOOL,	/* bool */
	OUT_DATE,	/* u64, seconds since 1970 */
	OUT_STRINGS,	/* char **, NULL-terminated; NULL = none */
	OUT_ROWS,	/* struct out_rows */
	OUT_FIELDS,	/* a struct whose fields (more) stand here among the others */
};

struct out_field {
	const char *key;	/* in JSON, "" = not there; NULL ends the table */
	const char *title;	/* in text; NULL = not shown there */
	enum out_type type;
	size_t offset;
	const struct out_field *more;
};

struct out_rows {
	const struct out_field *fields;
	const void *rows;
	size_t count;
	size_t size;		/* of one row */
};

/*
 * Keep all that is printed from now on, errors too, in memory until it is let go. Results of up to
 * @room bytes need no more of it from then on.
 */
void out_hold(size_t room);
void out_let_go(void);
/*
 * To stderr. While all is kept, it is seen at once where nobody has to wait for that, or not at all: it is of no
 * use later.
 */
void out_progress(const char *text);

/* One result: lines "title  value", or an object. */
void out_object(const struct out_field *fields, const void *row, bool json);
/* Many: a table with headings, or an object with the array @key. @bytes: no units. */
void out_table(const char *key, const struct out_rows *rows, bool json, bool bytes);
/* Text that is no result, for help. */
void out_text(const char *format, ...) __attribute__((__format__(__printf__, 1, 2)));
/* The result of a command that is one line for scripts. */
void out_line(const char *line);
/* Who waits for what was printed so far gets it now. */
void out_flush(void);
/* Write everything out; the exit code is @ret, or that of a failed write. */
int out_close(int ret);

#endif
