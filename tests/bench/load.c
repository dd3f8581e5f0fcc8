// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * A load that costs next to nothing by itself, for measurements in virtual
 * time: what fio does for each request in user space would hide what a target
 * costs. Prints nanoseconds of the clock and context switches of the whole
 * machine, for so many requests.
 *
 *	load FILE OPERATION BLOCK DEPTH COUNT WARM SIZE [FSYNC]
 *
 * OPERATION: read, write (at random, no block twice), seqread, seqwrite,
 * discard. BLOCK and SIZE in bytes. WARM requests come first and do not count;
 * those that count go on where they ended. FSYNC: one after so many writes.
 * DEPTH 1 is pread and pwrite, more is io_submit.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MAX_DEPTH	64
#define STRIDE		2654435761ULL	/* odd: visits every block of 2^n once */

struct load {
	const char *path;
	int fd;
	bool write, random, discard;
	uint64_t block;
	uint64_t blocks;		/* in the file; 2^n if random */
	unsigned int depth;
	unsigned int fsync;
	uint64_t at;			/* number of the next request */
	aio_context_t aio;
	char *buffers;
	struct iocb iocbs[MAX_DEPTH];
};

struct mark {
	uint64_t ns;
	uint64_t switches;
};

static void die(const char *what)
{
	fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* Context switches of all processors since the boot. */
static uint64_t count_switches(void)
{
	char line[256];
	uint64_t switches = 0;
	FILE *file = fopen("/proc/stat", "r");

	if (!file)
		die("/proc/stat");
	while (fgets(line, sizeof(line), file))
		if (!strncmp(line, "ctxt ", 5))
			switches = strtoull(line + 5, NULL, 10);
	fclose(file);
	return switches;
}

static uint64_t clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ULL + now.tv_nsec;
}

static uint64_t next_offset(struct load *load)
{
	uint64_t number = load->at++;

	if (load->random)
		number *= STRIDE;
	return number % load->blocks * load->block;
}

static void sync_after(struct load *load, unsigned int done)
{
	if (load->fsync && !(done % load->fsync) && fdatasync(load->fd))
		die("fdatasync");
}

static void one(struct load *load)
{
	uint64_t range[2] = { next_offset(load), load->block };
	ssize_t n;

	if (load->discard) {
		if (ioctl(load->fd, BLKDISCARD, range))
			die("BLKDISCARD");
		return;
	}
	if (load->write)
		n = pwrite(load->fd, load->buffers, load->block, range[0]);
	else
		n = pread(load->fd, load->buffers, load->block, range[0]);
	if (n != (ssize_t)load->block)
		die(load->path);
}

static void run_serial(struct load *load, unsigned int count)
{
	unsigned int i;

	for (i = 1; i <= count; i++) {
		one(load);
		sync_after(load, i);
	}
}

static void prepare(struct load *load, unsigned int slot)
{
	struct iocb *iocb = &load->iocbs[slot];

	memset(iocb, 0, sizeof(*iocb));
	iocb->aio_data = slot;
	iocb->aio_lio_opcode = load->write ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD;
	iocb->aio_fildes = load->fd;
	iocb->aio_buf = (uintptr_t)(load->buffers + slot * load->block);
	iocb->aio_nbytes = load->block;
	iocb->aio_offset = next_offset(load);
}

static void run_parallel(struct load *load, unsigned int count)
{
	struct iocb *batch[MAX_DEPTH];
	struct io_event events[MAX_DEPTH];
	unsigned int sent = 0, ended = 0, nr = 0, i;
	long n, done;

	for (i = 0; i < load->depth && sent < count; i++, sent++) {
		prepare(load, i);
		batch[nr++] = &load->iocbs[i];
	}
	while (ended < count) {
		for (done = 0; done < nr; done += n) {
			n = syscall(SYS_io_submit, load->aio, nr - done, batch + done);
			if (n < 0)
				die("io_submit");
		}
		n = syscall(SYS_io_getevents, load->aio, 1, load->depth, events, NULL);
		if (n < 1)
			die("io_getevents");
		for (nr = 0, i = 0; i < n; i++, ended++) {
			if (events[i].res != (int64_t)load->block) {
				errno = events[i].res < 0 ? -events[i].res : EIO;
				die(load->path);
			}
			if (sent == count)
				continue;
			prepare(load, events[i].data);
			batch[nr++] = &load->iocbs[events[i].data];
			sent++;
		}
	}
}

static struct mark run(struct load *load, unsigned int count)
{
	struct mark mark = { .switches = count_switches() };

	mark.ns = clock_ns();
	if (load->depth == 1)
		run_serial(load, count);
	else
		run_parallel(load, count);
	mark.ns = clock_ns() - mark.ns;
	mark.switches = count_switches() - mark.switches;
	return mark;
}

static void set_operation(struct load *load, const char *name)
{
	load->discard = !strcmp(name, "discard");
	load->write = load->discard || strstr(name, "write");
	load->random = strncmp(name, "seq", 3) && !load->discard;
}

static void prepare_memory(struct load *load)
{
	uint64_t size = load->depth * load->block, i;
	void *memory;

	if (posix_memalign(&memory, 4096, size))
		die("memory");
	load->buffers = memory;
	for (i = 0; i < size; i++)
		load->buffers[i] = i * 7 + (i >> 9) + 1;
	if (load->depth > 1 && syscall(SYS_io_setup, MAX_DEPTH, &load->aio))
		die("io_setup");
}

int main(int argc, char **argv)
{
	struct load load = { 0 };
	unsigned int count, warm;
	struct mark mark;

	if (argc < 8 || argc > 9) {
		fprintf(stderr, "load: FILE OPERATION BLOCK DEPTH COUNT WARM SIZE [FSYNC]\n");
		return 2;
	}
	load.path = argv[1];
	set_operation(&load, argv[2]);
	load.block = strtoull(argv[3], NULL, 10);
	load.depth = strtoul(argv[4], NULL, 10);
	count = strtoul(argv[5], NULL, 10);
	warm = strtoul(argv[6], NULL, 10);
	load.blocks = strtoull(argv[7], NULL, 10) / load.block;
	load.fsync = argc > 8 ? strtoul(argv[8], NULL, 10) : 0;
	if (!count || !load.blocks || !load.depth || load.depth > MAX_DEPTH ||
	    (load.random && (load.blocks & (load.blocks - 1)))) {
		fprintf(stderr, "load: a size or a number is out of range\n");
		return 2;
	}
	load.fd = open(load.path, (load.write ? O_RDWR : O_RDONLY) | O_DIRECT);
	if (load.fd < 0)
		die(load.path);
	prepare_memory(&load);
	if (warm)
		run(&load, warm);
	mark = run(&load, count);
	printf("{\"ns\": %llu, \"switches\": %llu, \"count\": %u}\n",
	       (unsigned long long)mark.ns, (unsigned long long)mark.switches, count);
	return 0;
}
