// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * What things cost, by the clock of a machine that counts instructions.
 *
 *	swap insert TOP BELOW	us from the suspend of TOP to its resume, with BELOW resumed in between
 *	swap remove TOP BELOW	the same, and BELOW is suspended
 *	swap io DEVICE COUNT	ns for a read, and for a write, of 4 KiB; the least of some rounds
 *
 * The new tables are loaded by whoever calls. The ioctls are bare: no library, no look at the result.
 */
#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define BLOCK	4096
#define ROUNDS	7

static unsigned long long now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000ULL + time.tv_nsec;
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void change(int control, const char *name, unsigned int flags)
{
	struct dm_ioctl dm = {
		.version = { DM_VERSION_MAJOR }, .data_size = sizeof(dm), .data_start = sizeof(dm),
		.flags = flags,
	};

	snprintf(dm.name, sizeof(dm.name), "%s", name);
	if (ioctl(control, DM_DEV_SUSPEND, &dm))
		die(name);
}

static void swap(const char *top, const char *below, int removes)
{
	const unsigned int suspend = DM_SUSPEND_FLAG | DM_SKIP_LOCKFS_FLAG;
	int control = open("/dev/mapper/control", O_RDWR);
	unsigned long long begin;

	if (control < 0)
		die("/dev/mapper/control");
	begin = now();
	change(control, top, suspend);
	change(control, below, removes ? suspend : 0);
	change(control, top, 0);
	printf("%llu\n", (now() - begin) / 1000);
}

/* One round over the same places in the same order. */
static unsigned long long round_of(int fd, char *block, unsigned int count, off_t blocks, int writes)
{
	unsigned long long begin = now();
	unsigned int i, dice = 1;
	ssize_t n;

	for (i = 0; i < count; i++) {
		dice = dice * 1103515245 + 12345;
		n = writes ? pwrite(fd, block, BLOCK, (dice >> 8) % blocks * BLOCK) :
			     pread(fd, block, BLOCK, (dice >> 8) % blocks * BLOCK);
		if (n != BLOCK)
			die("I/O");
	}
	return (now() - begin) / count;
}

static void io(const char *path, unsigned int count)
{
	int fd = open(path, O_RDWR | O_DIRECT), writes, i;
	unsigned long long least, time;
	char *block = aligned_alloc(BLOCK, BLOCK);
	off_t blocks;

	if (fd < 0 || !block)
		die(path);
	memset(block, 'x', BLOCK);
	blocks = lseek(fd, 0, SEEK_END) / BLOCK;
	for (writes = 0; writes < 2; writes++) {
		least = ~0ULL;
		for (i = 0; i < ROUNDS; i++) {
			time = round_of(fd, block, count, blocks, writes);
			least = time < least ? time : least;
		}
		printf("%llu%c", least, writes ? '\n' : ' ');
	}
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "io"))
		io(argv[2], atoi(argv[3]));
	else if (argc == 4 && (!strcmp(argv[1], "insert") || !strcmp(argv[1], "remove")))
		swap(argv[2], argv[3], argv[1][0] == 'r');
	else
		return 2;
	return 0;
}
