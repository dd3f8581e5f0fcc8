// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Where programs are, whatever PATH says.
 */
#include <stdlib.h>
#include <unistd.h>
#include "mem.h"
#include "program.h"

char *program_find(const char *name)
{
	static const char *const folders[] = { "/usr/sbin", "/sbin", "/usr/bin", "/bin", NULL };
	const char *const *folder;

	for (folder = folders; *folder; folder++) {
		char *path = mem_printf("%s/%s", *folder, name);

		if (!access(path, X_OK))
			return path;
		free(path);
	}
	return NULL;
}
