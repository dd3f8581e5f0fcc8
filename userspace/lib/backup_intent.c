// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * NAME.frozen.intent: three lines, the kind of the point and two paths, empty if there is no such file.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "backup_intent.h"
#include "err.h"
#include "mem.h"
#include "run.h"

static const char *const kinds[] = { "itself", "view", "snapshot" };

char *backup_intent_path(const char *name)
{
	return mem_printf(RUN_FOLDER "/%s.frozen.intent", name);
}

int backup_intent_write(const struct backup_point *point, enum backup_kind kind)
{
	MEM_FREE char *path = backup_intent_path(point->request->name);
	FILE *file = fopen(path, "we");
	bool failed;

	if (!file)
		return err_errno(errno, path);
	failed = fprintf(file, "%s\n%s\n%s\n", kinds[kind], point->part ? point->part : "",
			 point->store ? point->store : "") < 0;
	failed |= fclose(file);
	return failed ? err_errno(errno ? errno : EIO, path) : 0;
}

static char *read_line(FILE *file)
{
	char *line = NULL;
	size_t size = 0;

	if (getline(&line, &size, file) < 0) {
		free(line);
		return mem_strdup("");
	}
	line[strcspn(line, "\n")] = '\0';
	return line;
}

void backup_intent_release(struct backup_intent *intent)
{
	free(intent->part);
	free(intent->store);
}

bool backup_intent_read(const char *name, struct backup_intent *intent)
{
	MEM_FREE char *path = backup_intent_path(name), *word = NULL;
	FILE *file = fopen(path, "re");
	enum backup_kind kind;

	memset(intent, 0, sizeof(*intent));
	if (!file)
		return false;
	word = read_line(file);
	intent->part = read_line(file);
	intent->store = read_line(file);
	fclose(file);
	/* One that is not complete was written before anything was made. */
	for (kind = BACKUP_SNAPSHOT; kind > BACKUP_ITSELF && strcmp(kinds[kind], word); kind--)
		;
	intent->kind = kind;
	return true;
}
