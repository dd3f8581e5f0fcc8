// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * qcow2ctl: attach QCOW2 images as block devices and look after them.
 */
#include <fcntl.h>
#include <locale.h>
#include <string.h>
#include <unistd.h>
#include "cmd/cmd.h"
#include "lib/err.h"
#include "lib/out.h"

/* A result must never be written into an image that got the number of a closed stdout. */
static bool has_standard_files(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd < 0)
		return false;
	close(fd);
	return true;
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : NULL;
	const struct cli_command *command;

	if (!has_standard_files())
		return ERR_FAILED;
	setlocale(LC_CTYPE, "");
	if (!name)
		return err_usage("no command given");
	if (!strcmp(name, "--help"))
		name = "help";
	command = cmd_find(name);
	if (!command)
		return err_usage(*name == '-' ? "unknown option '%s'" : "'%s' is not a command",
				 name);
	return out_close(cli_run(command, argc - 2, argv + 2));
}
