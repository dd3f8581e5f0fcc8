// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Reader of the target's status line. Unknown keys are skipped: a newer module
 * may have more of them.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "mem.h"
#include "status.h"
#include "table.h"

#define STRING(key, title) { #key, title, OUT_STRING, offsetof(struct status, key), NULL }
#define BYTES(key, title) { #key, title, OUT_BYTES, offsetof(struct status, key), NULL }
#define COUNT(key, title) { #key, title, OUT_COUNT, offsetof(struct status, key), NULL }

/* The keys are the status line's own. */
const struct out_field status_fields[] = {
	STRING(mode, "mode"),
	STRING(space, "space"),
	STRING(claim, "claim"),
	STRING(clean, "clean"),
	COUNT(layers, "layers"),
	BYTES(cluster, "cluster size"),
	BYTES(virtual, "virtual size"),
	BYTES(alloc, "allocated"),
	BYTES(highest, "highest used"),
	BYTES(end, "image end"),
	STRING(cache, "cache (KiB)"),
	COUNT(hits, "cache hits"),
	COUNT(misses, "cache misses"),
	COUNT(commits, "commits"),
	COUNT(barriers, "barriers"),
	COUNT(staged, "staged"),
	COUNT(parked, "parked"),
	COUNT(reads, "reads"),
	COUNT(writes, "writes"),
	COUNT(allocs, "allocations"),
	COUNT(cows, "copies on write"),
	COUNT(discards, "discards"),
	COUNT(ioerrs, "I/O errors"),
	COUNT(corruptions, "corruptions"),
	STRING(last, "last error"),
	STRING(check, "check"),
	STRING(view, "view"),
	{ }
};

static void *variable(struct status *status, const struct out_field *field)
{
	return (char *)status + field->offset;
}

static void set(struct status *status, const struct out_field *field, const char *value)
{
	char **string = variable(status, field);
	char *end;
	u64 number;

	if (!strcmp(value, "-"))
		return;
	if (field->type == OUT_STRING) {
		free(*string);
		*string = mem_strdup(value);
		return;
	}
	errno = 0;
	number = strtoull(value, &end, 10);
	if (!errno && *value >= '0' && *value <= '9' && !*end)
		*(u64 *)variable(status, field) = number;
}

static void set_key(struct status *status, const char *key, const char *value)
{
	const struct out_field *field;

	for (field = status_fields; field->key; field++) {
		if (!strcmp(field->key, key))
			set(status, field, value);
	}
}

/* KEY=VALUE */
static void set_pair(struct status *status, char *pair)
{
	char *equal = strchr(pair, '=');

	if (!equal)
		return;
	*equal = '\0';
	set_key(status, pair, equal + 1);
}

bool status_parse(const char *line, struct status *status)
{
	const struct out_field *field;
	const char *rest = line ? line : "";
	unsigned int nr;
	char *word;

	memset(status, 0, sizeof(*status));
	for (field = status_fields; field->key; field++) {
		if (field->type != OUT_STRING)
			*(u64 *)variable(status, field) = OUT_ABSENT;
	}
	/* The id of a snapshot is quoted. */
	for (nr = 0; (word = table_next_word(&rest)); nr++) {
		if (!nr && strcmp(word, "1")) {
			free(word);
			return false;
		}
		if (nr == 1 || nr == 2)
			set_key(status, nr == 1 ? "mode" : "space", word);
		else if (nr)
			set_pair(status, word);
		free(word);
	}
	return nr;
}

void status_release(struct status *status)
{
	const struct out_field *field;

	for (field = status_fields; field->key; field++) {
		if (field->type == OUT_STRING)
			free(*(char **)variable(status, field));
	}
	memset(status, 0, sizeof(*status));
}
