/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * The parameters of a qcow2 table line:
 * <#layers> {qcow2|raw <path>}... [<#words> <word>...]
 */
#ifndef QCOW2CTL_TABLE_H
#define QCOW2CTL_TABLE_H

#include <stdbool.h>
#include <stddef.h>

struct table {
	bool *raw;		/* one per layer, top first */
	char **paths;		/* NULL-terminated */
	size_t nr_layers;
	char **words;		/* options, NULL-terminated */
	size_t nr_words;
};

void table_release(struct table *table);
void table_add_layer(struct table *table, bool raw, const char *path);
void table_add_word(struct table *table, const char *word);
/* The line, quoted; for the caller to free. */
char *table_format(const struct table *table);
/* The same of a view: of its options only those stay that say what lies below. For the caller to free. */
char *table_format_view(const struct table *table, const char *snapshot);
/* Cut the next word off *@line, unquoted, for the caller to free; NULL at the end. */
char *table_next_word(const char **line);
/* false: not a line that the target prints; @table is empty then. */
bool table_parse(const char *line, struct table *table);

#endif
