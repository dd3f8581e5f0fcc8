// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Run a program as on a machine that lacks others: without WORD... is the
 * program WITHOUT_RUN in a mount namespace of its own, in which the files of
 * WITHOUT (paths, one blank between) cannot be run.
 *
 * Who may not mount runs it as it is, unless WITHOUT_STRICT is set.
 */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

static int hide(char *paths)
{
	char *path;

	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_SLAVE, NULL))
		return -1;
	for (path = strtok(paths, " "); path; path = strtok(NULL, " ")) {
		if (mount("/dev/null", path, NULL, MS_BIND, NULL) && errno != ENOENT)
			return -1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	char *paths = getenv("WITHOUT"), *program = getenv("WITHOUT_RUN");

	(void)argc;
	if (!paths || !program)
		return 127;
	paths = strdup(paths);
	if (!paths || (hide(paths) && (errno != EPERM || getenv("WITHOUT_STRICT")))) {
		perror("without");
		return 127;
	}
	argv[0] = program;
	execv(program, argv);
	perror(program);
	return 127;
}
