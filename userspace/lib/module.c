// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Loading of kernel modules by modprobe, which knows the machine's aliases,
 * options and blacklists.
 */
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>
#include "err.h"
#include "module.h"

void module_load(const char *name)
{
	pid_t pid = fork();
	int status = 0, null;

	if (!pid) {
		null = open("/dev/null", O_RDWR);
		dup2(null, 0);
		dup2(null, 1);
		if (!err_is_debug)
			dup2(null, 2);
		execl("/sbin/modprobe", "modprobe", "-q", name, NULL);
		execl("/usr/sbin/modprobe", "modprobe", "-q", name, NULL);
		_exit(127);
	}
	if (pid > 0)
		waitpid(pid, &status, 0);
	err_debug("modprobe %s: %s", name, pid > 0 && !status ? "done" : "failed");
}
