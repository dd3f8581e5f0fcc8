// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Writing and reading of table lines. A backslash quotes the character behind
 * it, so that a blank in a path does not end the word.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include "mem.h"
#include "table.h"

void table_release(struct table *table)
{
	free(table->raw);
	mem_free_strings(table->paths);
	mem_free_strings(table->words);
	memset(table, 0, sizeof(*table));
}

void table_add_layer(struct table *table, bool raw, const char *path)
{
	table->raw = mem_grow(table->raw, table->nr_layers, sizeof(*table->raw));
	table->raw[table->nr_layers] = raw;
	mem_add_string(&table->paths, mem_strdup(path));
	table->nr_layers++;
}

void table_add_word(struct table *table, const char *word)
{
	mem_add_string(&table->words, mem_strdup(word));
	table->nr_words++;
}

/* For the kernel, which takes the no-break space of Latin-1 for one wherever it finds that byte. */
static bool is_blank(unsigned char c)
{
	return (c >= '\t' && c <= '\r') || c == ' ' || c == 0xa0;
}

static char *quote(const char *word)
{
	char *copy = mem_zalloc(2 * strlen(word) + 1), *out = copy;

	for (; *word; word++) {
		if (*word == '\\' || is_blank(*word))
			*out++ = '\\';
		*out++ = *word;
	}
	return copy;
}

static void append(char **line, const char *word)
{
	char *longer = mem_printf("%s %s", *line, word);

	free(*line);
	*line = longer;
}

char *table_format(const struct table *table)
{
	char *line = mem_printf("%zu", table->nr_layers);
	size_t i;

	for (i = 0; i < table->nr_layers; i++) {
		MEM_FREE char *path = quote(table->paths[i]);

		append(&line, table->raw[i] ? "raw" : "qcow2");
		append(&line, path);
	}
	if (table->nr_words) {
		MEM_FREE char *count = mem_printf("%zu", table->nr_words);

		append(&line, count);
	}
	for (i = 0; i < table->nr_words; i++) {
		MEM_FREE char *word = quote(table->words[i]);

		append(&line, word);
	}
	return line;
}

char *table_format_view(const struct table *table, const char *snapshot)
{
	struct table view = { 0 };
	char *line;
	size_t i;

	for (i = 0; i < table->nr_layers; i++)
		table_add_layer(&view, table->raw[i], table->paths[i]);
	table_add_word(&view, "snapshot");
	table_add_word(&view, snapshot);
	for (i = 0; i < table->nr_words; i++) {
		if (!strcmp(table->words[i], "no_backing"))
			table_add_word(&view, "no_backing");
	}
	line = table_format(&view);
	table_release(&view);
	return line;
}

char *table_next_word(const char **line)
{
	const char *in = *line;
	char *word, *out;

	while (is_blank(*in))
		in++;
	if (!*in)
		return NULL;
	word = mem_zalloc(strlen(in) + 1);
	out = word;
	while (*in && !is_blank(*in)) {
		if (*in == '\\' && in[1])
			in++;
		*out++ = *in++;
	}
	*line = in;
	return word;
}

/* A count at the start of *@line; -1 if there is none. */
static long next_count(const char **line)
{
	MEM_FREE char *word = table_next_word(line);
	char *end;
	long count;

	if (!word || !isdigit((unsigned char)*word))
		return -1;
	count = strtol(word, &end, 10);
	return *end || count > 65536 ? -1 : count;
}

static bool parse_layer(const char **line, struct table *table)
{
	MEM_FREE char *format = table_next_word(line);
	MEM_FREE char *path = table_next_word(line);

	if (!path)
		return false;
	table_add_layer(table, !strcmp(format, "raw"), path);
	return true;
}

static bool parse(const char *line, struct table *table)
{
	long layers = next_count(&line);
	char *word;

	if (layers < 1)
		return false;
	while (layers--) {
		if (!parse_layer(&line, table))
			return false;
	}
	if (next_count(&line) <= 0)
		return true;
	while ((word = table_next_word(&line))) {
		table_add_word(table, word);
		free(word);
	}
	return true;
}

bool table_parse(const char *line, struct table *table)
{
	memset(table, 0, sizeof(*table));
	if (parse(line, table))
		return true;
	table_release(table);
	return false;
}
