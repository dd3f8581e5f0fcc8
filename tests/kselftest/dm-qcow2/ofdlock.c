// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Hold byte locks of an open file description, as QEMU and qcow2ctl do, while a
 * command runs.
 *
 *	ofdlock FILE {r|w}BYTE... [-- COMMAND...]
 *
 * Without a command the locks are tried and let go. Exits with 1 when a lock is
 * refused, 2 on bad usage, else with what the command exits with.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void usage(void)
{
	fprintf(stderr, "usage: ofdlock FILE {r|w}BYTE... [-- COMMAND...]\n");
	exit(2);
}

static void lock(int fd, const char *file, const char *word)
{
	struct flock fl = { .l_whence = SEEK_SET, .l_len = 1 };
	char *end;

	if (*word != 'r' && *word != 'w')
		usage();
	fl.l_type = *word == 'w' ? F_WRLCK : F_RDLCK;
	fl.l_start = strtol(word + 1, &end, 10);
	if (!word[1] || *end)
		usage();
	if (fcntl(fd, F_OFD_SETLK, &fl)) {
		fprintf(stderr, "ofdlock: %s: %s: %s\n", file, word, strerror(errno));
		exit(1);
	}
}

int main(int argc, char **argv)
{
	int i, fd;

	if (argc < 3)
		usage();
	fd = open(argv[1], O_RDWR);
	if (fd < 0) {
		fprintf(stderr, "ofdlock: %s: %s\n", argv[1], strerror(errno));
		return 2;
	}
	for (i = 2; i < argc && strcmp(argv[i], "--"); i++)
		lock(fd, argv[1], argv[i]);
	if (i == argc)
		return 0;
	if (++i == argc)
		usage();
	/* The command inherits the descriptor, and with it the locks. */
	execvp(argv[i], argv + i);
	fprintf(stderr, "ofdlock: %s: %s\n", argv[i], strerror(errno));
	return 2;
}
