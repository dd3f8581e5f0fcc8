// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * blkmodel: random requests on a block device from several threads, and the
 * same changes on a plain file that models what the device must hold.
 *
 * Each thread owns every THREADS-th sector group of the device, so that their
 * requests touch the same clusters at the same time and never the same
 * sectors: the content at the end is known. A request reads and compares,
 * writes, discards or zeroes; some writes are followed by fsync or carry
 * RWF_DSYNC. A discarded range must read as zeros or unchanged (what does not
 * fill a cluster has no effect), so the model takes over what the device says.
 *
 * blkmodel [-s SEED] [-n OPERATIONS] [-t THREADS] [-m MAX-SECTORS] [-p MS] [-d] [-w] DEVICE MODEL
 *	-d no discards and zeroing	-w whole ranges: one thread, unaligned ranges of any length
 *	-p each thread pauses for so long after a request
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#define MAX_BYTES (2U << 20)

static struct {
	uint64_t seed;
	unsigned long operations;
	unsigned int threads;
	unsigned int max_sectors;
	unsigned int pause_ms;
	bool no_discard;
	bool whole;
	int device;
	int model;
	uint64_t sectors;
	unsigned int block;	/* sectors in a logical block */
} run = { .seed = 1, .operations = 1000, .threads = 4, .max_sectors = 64 };

struct worker {
	pthread_t thread;
	unsigned int index;
	uint64_t random;
	unsigned char *buffer;
	unsigned char *expected;
	bool failed;
};

static uint64_t next_random(struct worker *w)
{
	w->random ^= w->random << 13;
	w->random ^= w->random >> 7;
	w->random ^= w->random << 17;
	return w->random;
}

static uint64_t below(struct worker *w, uint64_t limit)
{
	return limit ? next_random(w) % limit : 0;
}

static bool complain(struct worker *w, const char *what, uint64_t sector, uint64_t count)
{
	fprintf(stderr, "blkmodel: thread %u: %s, sectors %llu+%llu: %s\n", w->index, what,
		(unsigned long long)sector, (unsigned long long)count, strerror(errno));
	w->failed = true;
	return false;
}

static bool transfer(struct worker *w, bool write, int fd, void *buf, uint64_t sector,
		     uint64_t count, int flags)
{
	struct iovec iov = { .iov_base = buf, .iov_len = count * 512 };
	ssize_t done = write ? pwritev2(fd, &iov, 1, sector * 512, flags)
			     : preadv2(fd, &iov, 1, sector * 512, flags);

	if (done == (ssize_t)(count * 512))
		return true;
	if (done >= 0)
		errno = EIO;
	return complain(w, write ? "write" : "read", sector, count);
}

static bool check(struct worker *w, uint64_t sector, uint64_t count)
{
	uint64_t i;

	if (!transfer(w, false, run.device, w->buffer, sector, count, 0) ||
	    !transfer(w, false, run.model, w->expected, sector, count, 0))
		return false;
	for (i = 0; i < count; i++) {
		if (memcmp(w->buffer + i * 512, w->expected + i * 512, 512)) {
			errno = EBADMSG;
			fprintf(stderr, "blkmodel: found %02x, expected %02x\n", w->buffer[i * 512],
				w->expected[i * 512]);
			return complain(w, "content", sector + i, 1);
		}
	}
	return true;
}

/* Every sector carries its own number and that of the write. */
static void stamp(struct worker *w, uint64_t sector, uint64_t count)
{
	uint64_t tag = next_random(w), i, j;
	uint64_t *word;

	for (i = 0; i < count; i++) {
		word = (uint64_t *)(w->buffer + i * 512);
		for (j = 0; j < 64; j++)
			word[j] = tag ^ (sector + i) * 0x9e3779b97f4a7c15ULL ^ j;
	}
}

static bool write_range(struct worker *w, uint64_t sector, uint64_t count)
{
	int flags = below(w, 16) ? 0 : RWF_DSYNC;

	stamp(w, sector, count);
	if (!transfer(w, true, run.device, w->buffer, sector, count, flags))
		return false;
	if (!below(w, 64) && fsync(run.device))
		return complain(w, "fsync", sector, count);
	return transfer(w, true, run.model, w->buffer, sector, count, 0);
}

static bool zero_range(struct worker *w, uint64_t sector, uint64_t count)
{
	int mode = FALLOC_FL_KEEP_SIZE |
		   (below(w, 2) ? FALLOC_FL_ZERO_RANGE : FALLOC_FL_PUNCH_HOLE);

	if (fallocate(run.device, mode, sector * 512, count * 512))
		return complain(w, "fallocate", sector, count);
	memset(w->buffer, 0, count * 512);
	return transfer(w, true, run.model, w->buffer, sector, count, 0);
}

/* After a discard each sector is what it was, or zeros. */
static bool discard_range(struct worker *w, uint64_t sector, uint64_t count)
{
	uint64_t range[2] = { sector * 512, count * 512 }, i;
	static const unsigned char zeros[512];

	if (ioctl(run.device, BLKDISCARD, range))
		return complain(w, "discard", sector, count);
	if (!transfer(w, false, run.device, w->buffer, sector, count, 0) ||
	    !transfer(w, false, run.model, w->expected, sector, count, 0))
		return false;
	for (i = 0; i < count; i++) {
		if (memcmp(w->buffer + i * 512, zeros, 512) &&
		    memcmp(w->buffer + i * 512, w->expected + i * 512, 512)) {
			errno = EBADMSG;
			return complain(w, "discarded content", sector + i, 1);
		}
	}
	return transfer(w, true, run.model, w->buffer, sector, count, 0);
}

/* A range that belongs to this thread alone. */
static void pick(struct worker *w, uint64_t *sector, uint64_t *count)
{
	uint64_t group = (uint64_t)run.max_sectors, groups = run.sectors / group / run.threads;
	uint64_t blocks;

	if (run.whole || !groups) {
		*sector = below(w, run.sectors / run.block) * run.block;
		*count = (1 + below(w, run.max_sectors / run.block)) * run.block;
		if (*count > run.sectors - *sector)
			*count = run.sectors - *sector;
		return;
	}
	*sector = (below(w, groups) * run.threads + w->index) * group;
	blocks = group / run.block;
	*count = below(w, blocks);
	*sector += *count * run.block;
	*count = (1 + below(w, blocks - *count)) * run.block;
}

static void *work(void *arg)
{
	struct worker *w = arg;
	uint64_t sector, count;
	unsigned long i;
	bool good = true;

	for (i = 0; i < run.operations && good; i++) {
		pick(w, &sector, &count);
		switch (below(w, 10)) {
		case 0:
		case 1:
		case 2:
			good = check(w, sector, count);
			break;
		case 3:
			good = run.no_discard || discard_range(w, sector, count);
			break;
		case 4:
			good = run.no_discard || zero_range(w, sector, count);
			break;
		default:
			good = write_range(w, sector, count);
		}
		if (run.pause_ms)
			usleep(run.pause_ms * 1000);
	}
	return NULL;
}

static void *aligned_buffer(void)
{
	void *buf;

	if (posix_memalign(&buf, 4096, MAX_BYTES))
		exit(2);
	return buf;
}

static bool start(struct worker *workers)
{
	unsigned int i;

	for (i = 0; i < run.threads; i++) {
		workers[i].index = i;
		workers[i].random = (run.seed + 1) * 0x9e3779b97f4a7c15ULL + i * 7919 + 1;
		workers[i].buffer = aligned_buffer();
		workers[i].expected = aligned_buffer();
		if (pthread_create(&workers[i].thread, NULL, work, &workers[i]))
			return false;
	}
	return true;
}

/* The whole device against the whole model. */
static bool check_all(struct worker *w)
{
	uint64_t sector, count;

	for (sector = 0; sector < run.sectors; sector += count) {
		count = run.sectors - sector;
		if (count > MAX_BYTES / 512)
			count = MAX_BYTES / 512;
		if (!check(w, sector, count))
			return false;
	}
	return true;
}

static int parse(int argc, char **argv)
{
	int option;

	while ((option = getopt(argc, argv, "s:n:t:m:p:dw")) != -1) {
		switch (option) {
		case 's':
			run.seed = strtoull(optarg, NULL, 10);
			break;
		case 'n':
			run.operations = strtoul(optarg, NULL, 10);
			break;
		case 't':
			run.threads = strtoul(optarg, NULL, 10);
			break;
		case 'm':
			run.max_sectors = strtoul(optarg, NULL, 10);
			break;
		case 'p':
			run.pause_ms = strtoul(optarg, NULL, 10);
			break;
		case 'd':
			run.no_discard = true;
			break;
		case 'w':
			run.whole = true;
			run.threads = 1;
			break;
		default:
			return -1;
		}
	}
	return argc - optind == 2 ? optind : -1;
}

int main(int argc, char **argv)
{
	int at = parse(argc, argv), block;
	struct worker *workers;
	uint64_t bytes;
	unsigned int i;
	bool good;

	if (at < 0 || !run.threads || !run.max_sectors || run.max_sectors > MAX_BYTES / 512) {
		fprintf(stderr, "usage: blkmodel [-s SEED] [-n OPERATIONS] [-t THREADS] %s\n",
			"[-m SECTORS] [-p MS] [-dw] DEVICE MODEL");
		return 2;
	}
	run.device = open(argv[at], O_RDWR | O_DIRECT);
	run.model = open(argv[at + 1], O_RDWR);
	if (run.device < 0 || run.model < 0 || ioctl(run.device, BLKGETSIZE64, &bytes) ||
	    ioctl(run.device, BLKSSZGET, &block)) {
		perror("blkmodel: open");
		return 2;
	}
	run.sectors = bytes / 512;
	run.block = block / 512;
	workers = calloc(run.threads, sizeof(*workers));
	if (!workers || !start(workers))
		return 2;
	for (i = 0, good = true; i < run.threads; i++) {
		pthread_join(workers[i].thread, NULL);
		good = good && !workers[i].failed;
	}
	return good && check_all(&workers[0]) ? 0 : 1;
}
