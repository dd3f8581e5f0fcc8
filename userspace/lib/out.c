// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * From a table of fields to text (libsmartcols) and JSON (json-c).
 */
#include <errno.h>
#include <json-c/json.h>
#include <libsmartcols/libsmartcols.h>
#include <linux/magic.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>
#include "err.h"
#include "mem.h"
#include "out.h"
#include "text.h"

static const void *at(const void *row, const struct out_field *field)
{
	return (const char *)row + field->offset;
}

static u64 number(const void *row, const struct out_field *field)
{
	return *(const u64 *)at(row, field);
}

static void check(const void *pointer)
{
	if (!pointer)
		exit(err_fail(ERR_FAILED, NULL, "out of memory"));
}

/* ------------------------------------------------------------------------
 * JSON
 */

static struct json_object *json_string(const char *text)
{
	MEM_FREE char *safe = text ? text_printable(text) : NULL;
	struct json_object *object = safe ? json_object_new_string(safe) : NULL;

	if (safe)
		check(object);
	return object;
}

static struct json_object *json_number(u64 value)
{
	return value == OUT_ABSENT ? NULL : json_object_new_uint64(value);
}

static struct json_object *json_date(u64 seconds)
{
	time_t t = seconds;
	char text[64];
	struct tm tm;

	if (seconds == OUT_ABSENT || !gmtime_r(&t, &tm))
		return NULL;
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	return json_string(text);
}

static struct json_object *json_strings(char *const *strings)
{
	struct json_object *array = json_object_new_array();

	check(array);
	for (; strings && *strings; strings++)
		json_object_array_add(array, json_string(*strings));
	return array;
}

static void json_fill(struct json_object *object, const struct out_field *fields, const void *row);

static struct json_object *json_rows(const struct out_rows *rows)
{
	struct json_object *array = json_object_new_array(), *object;
	size_t i;

	check(array);
	for (i = 0; i < rows->count; i++) {
		object = json_object_new_object();
		check(object);
		json_fill(object, rows->fields, (const char *)rows->rows + i * rows->size);
		json_object_array_add(array, object);
	}
	return array;
}

static struct json_object *json_value(const struct out_field *field, const void *row)
{
	switch (field->type) {
	case OUT_STRING:
		return json_string(*(const char *const *)at(row, field));
	case OUT_BYTES:
	case OUT_COUNT:
		return json_number(number(row, field));
	case OUT_BOOL:
		return json_object_new_boolean(*(const bool *)at(row, field));
	case OUT_DATE:
		return json_date(number(row, field));
	case OUT_STRINGS:
		return json_strings(*(char *const *const *)at(row, field));
	case OUT_ROWS:
		return json_rows(at(row, field));
	default:
		return NULL;
	}
}

static void json_fill(struct json_object *object, const struct out_field *fields, const void *row)
{
	for (; fields->key; fields++) {
		if (fields->type == OUT_FIELDS)
			json_fill(object, fields->more, at(row, fields));
		else if (*fields->key)
			json_object_object_add(object, fields->key, json_value(fields, row));
	}
}

static struct json_object *json_start(void)
{
	struct json_object *object = json_object_new_object();

	check(object);
	json_object_object_add(object, "version", json_object_new_int(OUT_JSON_VERSION));
	return object;
}

static void json_finish(struct json_object *object)
{
	fputs(json_object_to_json_string_ext(object, JSON_C_TO_STRING_PRETTY |
							     JSON_C_TO_STRING_SPACED |
							     JSON_C_TO_STRING_NOSLASHESCAPE),
	      stdout);
	fputc('\n', stdout);
	json_object_put(object);
}

/* ------------------------------------------------------------------------
 * Text
 */

static char *text_date(u64 seconds)
{
	time_t t = seconds;
	char text[64];
	struct tm tm;

	if (seconds == OUT_ABSENT || !localtime_r(&t, &tm))
		return NULL;
	strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &tm);
	return mem_strdup(text);
}

static char *text_strings(char *const *strings)
{
	char *joined = NULL, *longer;

	for (; strings && *strings; strings++) {
		longer = joined ? mem_printf("%s, %s", joined, *strings) : mem_strdup(*strings);
		free(joined);
		joined = longer;
	}
	return joined;
}

enum bytes_style { BYTES_UNITS, BYTES_PLAIN, BYTES_BOTH };

static char *text_size(u64 bytes, enum bytes_style style)
{
	MEM_FREE char *units = text_bytes(bytes);

	if (style == BYTES_PLAIN)
		return mem_printf("%llu", (unsigned long long)bytes);
	if (style == BYTES_UNITS || bytes < 1024)
		return mem_strdup(units);
	return mem_printf("%s (%llu)", units, (unsigned long long)bytes);
}

/* The field as text for the caller to free, NULL if absent. */
static char *text_value(const struct out_field *field, const void *row, enum bytes_style style)
{
	const char *string;

	switch (field->type) {
	case OUT_STRING:
		string = *(const char *const *)at(row, field);
		return string ? mem_strdup(string) : NULL; /* libsmartcols makes it printable */
	case OUT_BYTES:
		return number(row, field) == OUT_ABSENT ? NULL :
							  text_size(number(row, field), style);
	case OUT_COUNT:
		return number(row, field) == OUT_ABSENT ? NULL :
		       mem_printf("%llu", (unsigned long long)number(row, field));
	case OUT_BOOL:
		return mem_strdup(*(const bool *)at(row, field) ? "yes" : "no");
	case OUT_DATE:
		return text_date(number(row, field));
	case OUT_STRINGS:
		return text_strings(*(char *const *const *)at(row, field));
	default:
		return NULL;
	}
}

static void set_cell(struct libscols_line *line, size_t column, char *text)
{
	if (scols_line_set_data(line, column, text ? text : "-"))
		check(NULL);
	free(text);
}

static struct libscols_table *new_table(void)
{
	struct libscols_table *table = scols_new_table();

	check(table);
	return table;
}

static void finish_table(struct libscols_table *table)
{
	scols_print_table(table);
	scols_unref_table(table);
}

static void add_columns(struct libscols_table *table, const struct out_field *field)
{
	bool right;

	for (; field->key; field++) {
		right = field->type == OUT_BYTES || field->type == OUT_COUNT;
		if (field->type == OUT_FIELDS)
			add_columns(table, field->more);
		else if (field->title)
			check(scols_table_new_column(table, field->title, 0,
						     right ? SCOLS_FL_RIGHT : 0));
	}
}

static void add_cells(struct libscols_line *line, size_t *column, const struct out_field *field,
		      const void *row, enum bytes_style style)
{
	for (; field->key; field++) {
		if (field->type == OUT_FIELDS)
			add_cells(line, column, field->more, at(row, field), style);
		else if (field->title)
			set_cell(line, (*column)++, text_value(field, row, style));
	}
}

static void table_print(const struct out_rows *rows, enum bytes_style style)
{
	struct libscols_table *table = new_table();
	const char *row = rows->rows;
	struct libscols_line *line;
	size_t i, column;

	add_columns(table, rows->fields);
	for (i = 0; i < rows->count; i++, row += rows->size) {
		line = scols_table_new_line(table, NULL);
		check(line);
		column = 0;
		add_cells(line, &column, rows->fields, row, style);
	}
	finish_table(table);
}

static void add_lines(struct libscols_table *table, const struct out_field *field, const void *row)
{
	struct libscols_line *line;

	for (; field->key; field++) {
		if (field->type == OUT_FIELDS)
			add_lines(table, field->more, at(row, field));
		if (!field->title || field->type == OUT_ROWS || field->type == OUT_FIELDS)
			continue;
		line = scols_table_new_line(table, NULL);
		check(line);
		set_cell(line, 0, mem_printf("%s:", field->title));
		set_cell(line, 1, text_value(field, row, BYTES_BOTH));
	}
}

/* Arrays follow the single values, each under its own heading. */
static void print_arrays(const struct out_field *field, const void *row)
{
	const struct out_rows *rows;

	for (; field->key; field++) {
		rows = at(row, field);
		if (field->type != OUT_ROWS || !field->title || !rows->count)
			continue;
		fputc('\n', stdout);
		table_print(rows, BYTES_UNITS);
	}
}

void out_object(const struct out_field *fields, const void *row, bool json)
{
	struct json_object *object;
	struct libscols_table *table;

	if (json) {
		object = json_start();
		json_fill(object, fields, row);
		json_finish(object);
		return;
	}
	table = new_table();
	scols_table_enable_noheadings(table, 1);
	check(scols_table_new_column(table, "field", 0, 0));
	check(scols_table_new_column(table, "value", 0, 0));
	add_lines(table, fields, row);
	finish_table(table);
	print_arrays(fields, row);
}

void out_table(const char *key, const struct out_rows *rows, bool json, bool bytes)
{
	struct json_object *object;

	if (json) {
		object = json_start();
		json_object_object_add(object, key, json_rows(rows));
		json_finish(object);
		return;
	}
	table_print(rows, bytes ? BYTES_PLAIN : BYTES_UNITS);
}

void out_text(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vprintf(format, args);
	va_end(args);
}

void out_line(const char *line)
{
	fputs(line, stdout);
	fputc('\n', stdout);
}

void out_flush(void)
{
	fflush(stdout);
}

/* ------------------------------------------------------------------------
 * Held back: whoever reads it may wait for a device that is suspended.
 */

struct held {
	FILE **stream, *real;
	char *text;
	size_t len, room;
};

static struct held held[2];

/* What is longer than the room is short: errors, and what is found in a check. */
static ssize_t keep(void *cookie, const char *text, size_t len)
{
	struct held *h = cookie;
	size_t wanted = h->len + len;

	if (wanted > h->room) {
		h->text = mem_resize(h->text, h->room, 2 * wanted, 1);
		h->room = 2 * wanted;
	}
	memcpy(h->text + h->len, text, len);
	h->len = wanted;
	return len;
}

void out_hold(size_t room)
{
	static const cookie_io_functions_t functions = { .write = keep };
	int i;

	held[0].stream = &stdout;
	held[1].stream = &stderr;
	for (i = 0; i < 2; i++) {
		struct held *h = &held[i];
		FILE *memory = fopencookie(h, "w", functions);

		h->len = 0;
		h->room = i ? 0 : room;
		h->text = mem_zalloc(h->room);
		fflush(*h->stream);
		h->real = memory ? *h->stream : NULL;
		if (memory)
			*h->stream = memory;
	}
}

/*
 * Does it take text without waiting, and without a file system that may lie on a device? A named pipe has its
 * times in one.
 */
static bool takes_text(int fd)
{
	struct pollfd poller = { .fd = fd, .events = POLLOUT };
	struct statfs fs;
	struct stat st;

	if (fstat(fd, &st) || (S_ISFIFO(st.st_mode) ? fstatfs(fd, &fs) || fs.f_type != PIPEFS_MAGIC :
			       !S_ISSOCK(st.st_mode) && !isatty(fd)))
		return false;
	return poll(&poller, 1, 0) == 1 && poller.revents == POLLOUT;
}

void out_progress(const char *text)
{
	if (!held[1].real)
		fputs(text, stderr);
	else if (takes_text(STDERR_FILENO))
		(void)!write(STDERR_FILENO, text, strlen(text));
}

void out_let_go(void)
{
	int i;

	for (i = 0; i < 2; i++) {
		struct held *h = &held[i];

		if (h->real) {
			fclose(*h->stream);
			*h->stream = h->real;
			h->real = NULL;
			fwrite(h->text, 1, h->len, *h->stream);
		}
		free(h->text);
		h->text = NULL;
	}
}

int out_close(int ret)
{
	bool failed = ferror(stdout);

	errno = 0;
	failed |= fflush(stdout);
	if (!failed)
		return ret;
	err_command(NULL, NULL);
	return err_errno_what(errno ? errno : EIO, "stdout", "cannot write the result");
}
