// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Reader of /dev/kmsg.
 *
 * Device mapper logs the constructor's sentence with the device's number:
 *   device-mapper: table: 253:3: qcow2: <sentence> (-EBUSY)
 * The target logs values before that, which holder, which layer:
 *   device-mapper: qcow2: <sentence>
 * A failing resume has lines of the second kind only.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "kmsg.h"
#include "mem.h"

#define RECORD_SIZE	8192

int kmsg_open(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd >= 0 && lseek(fd, 0, SEEK_END) < 0) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/* The text of the next record in @record, or NULL at the end. */
static char *next_text(int fd, char *record)
{
	ssize_t n;
	char *text;

	do {
		n = read(fd, record, RECORD_SIZE - 1);
		/* EPIPE: records were overwritten meanwhile, the next one is there. */
	} while (n < 0 && (errno == EPIPE || errno == EINTR));
	if (n <= 0)
		return NULL;
	record[n] = '\0';
	text = strchr(record, ';');
	if (!text)
		return record + n;
	text[strcspn(text, "\n")] = '\0';
	return text + 1;
}

/* @text without @prefix, or NULL if it does not start with it. */
static const char *behind(const char *text, const char *prefix)
{
	size_t len = strlen(prefix);

	return strncmp(text, prefix, len) ? NULL : text + len;
}

/* Cut " (-EBUSY)" off the end. */
static void cut_errno(char *text)
{
	char *open = strrchr(text, '(');

	if (open > text && open[-1] == ' ' && open[1] == '-' && open[strlen(open) - 1] == ')')
		open[-1] = '\0';
}

static void replace(char **old, const char *text)
{
	free(*old);
	*old = mem_strdup(text);
}

char *kmsg_sentence(int fd, unsigned int major, unsigned int minor)
{
	MEM_FREE char *table_prefix =
		mem_printf("device-mapper: table: %u:%u: qcow2: ", major, minor);
	MEM_FREE char *own_prefix = mem_printf("%u:%u: ", major, minor);
	MEM_FREE char *record = mem_zalloc(RECORD_SIZE);
	MEM_FREE char *detail = NULL, *sentence = NULL;
	const char *text, *rest, *own;

	if (fd < 0)
		return NULL;
	for (text = next_text(fd, record); text; text = next_text(fd, record)) {
		rest = behind(text, table_prefix);
		if (rest)
			replace(&sentence, rest);
		rest = behind(text, "device-mapper: qcow2: ");
		own = rest ? behind(rest, own_prefix) : NULL;
		if (rest)
			replace(&detail, own ? own : rest);
	}
	close(fd);
	if (sentence)
		cut_errno(sentence);
	if (!sentence)
		return detail ? mem_strdup(detail) : NULL;
	if (!detail || strstr(sentence, detail))
		return mem_strdup(sentence);
	if (strstr(detail, sentence))
		return mem_strdup(detail);
	return mem_printf("%s (%s)", sentence, detail);
}
