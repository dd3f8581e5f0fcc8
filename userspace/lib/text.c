// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Quoting and units. A name inside an image is whatever an attacker wants it
 * to be: it must neither drive the terminal nor break out of a command line
 * that a hint offers for pasting.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "mem.h"
#include "text.h"

/* Length of the valid UTF-8 sequence at @s, or 0. */
static size_t utf8_length(const unsigned char *s)
{
	static const struct { unsigned char mask, lead; u32 min;
	} forms[] = {
		{ 0x80, 0x00, 0 },
		{ 0xe0, 0xc0, 0x80 },
		{ 0xf0, 0xe0, 0x800 },
		{ 0xf8, 0xf0, 0x10000 },
	};
	size_t len, i;
	u32 code;

	for (len = 0; len < 4; len++) {
		if ((s[0] & forms[len].mask) == forms[len].lead)
			break;
	}
	if (len == 4)
		return 0;
	code = s[0] & ~forms[len].mask;
	for (i = 1; i <= len; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (s[i] & 0x3f);
	}
	if (code < forms[len].min || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
		return 0;
	/* C0, DEL and C1 drive terminals; so do the marks that turn text round. */
	if (code < 0x20 || (code >= 0x7f && code < 0xa0) || (code >= 0x202a && code <= 0x202e) ||
	    (code >= 0x2066 && code <= 0x2069))
		return 0;
	return len + 1;
}

char *text_printable(const char *text)
{
	const unsigned char *s = (const unsigned char *)text;
	char *copy = mem_zalloc(4 * strlen(text) + 1);
	char *out = copy;
	size_t len;

	while (*s) {
		len = utf8_length(s);
		if (len) {
			memcpy(out, s, len);
			out += len;
			s += len;
		} else {
			out += sprintf(out, "\\x%02x", *s++);
		}
	}
	return copy;
}

bool text_has_control(const char *text)
{
	for (; *text; text++) {
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			return true;
	}
	return false;
}

static bool is_plain(const char *word)
{
	static const char plain[] = TEXT_LETTERS TEXT_DIGITS "/._-+=:,@%";

	return *word && !word[strspn(word, plain)];
}

char *text_shell(const char *word)
{
	MEM_FREE char *safe = text_printable(word);
	char *copy, *out;

	if (is_plain(word))
		return mem_strdup(word);
	copy = mem_zalloc(4 * strlen(safe) + 4);
	out = copy;
	/* Only $'...' understands \x; there the backslash itself is quoted too. */
	if (strcmp(safe, word)) {
		const unsigned char *s = (const unsigned char *)word;

		out += sprintf(out, "$'");
		for (; *s; s++) {
			if (*s < ' ' || *s >= 0x7f)
				out += sprintf(out, "\\x%02x", *s);
			else
				out += sprintf(out, *s == '\'' || *s == '\\' ? "\\%c" : "%c", *s);
		}
	} else {
		out += sprintf(out, "'");
		for (; *word; word++)
			out += sprintf(out, *word == '\'' ? "'\\''" : "%c", *word);
	}
	sprintf(out, "'");
	return copy;
}

char *text_bytes(u64 bytes)
{
	static const char units[] = "BKMGTPE";
	double value = bytes;
	int unit = 0;
	u64 tenths;

	while (value >= 1023.95) {
		value /= 1024;
		unit++;
	}
	tenths = value * 10 + 0.5;
	return mem_printf("%.*f%c", tenths % 10 ? 1 : 0, value, units[unit]);
}

char *text_first_line(const char *path)
{
	FILE *file = fopen(path, "re");
	char *line = NULL;
	size_t size = 0;

	if (!file)
		return NULL;
	if (getline(&line, &size, file) < 0) {
		free(line);
		line = NULL;
	} else {
		line[strcspn(line, "\n")] = '\0';
	}
	fclose(file);
	return line;
}
