// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Attaches one image after the other, compares what it shows with what QEMU
 * reads from it, writes some, compares again, detaches.
 *
 *	image_loop FOLDER WORK
 *
 * FOLDER/plan has a line for each, FOLDER/sums the sums of all its sectors in
 * the same order: a number below 2^61 - 1, FAILS for an error, or ANY; with
 * EITHER an error is as good. In a row of valid images nothing may fail, and
 * WORK/after gets the sums in the end:
 *
 *	row NAME SECTORS SEED OPERATIONS TABLE...
 *
 * (with no operations it is attached read-only). A mutant is a copy of
 * FOLDER/BASE with changes, WORK/mutant: CUT:SIZE or OFFSET:HEX, with commas;
 * if there is FOLDER/BASE.data, WORK/mutant.data is a copy of that.
 * It is attached read-write, or else read-only, or refused. VERDICT says what
 * has to become of it: opens, or fails, or either; one that opens may be refused
 * with a sentence that the plan allows. Where a cluster in use has the count 0
 * (opens-uncounted) it may be given to a write, by QEMU as well:
 *
 *	allow NUMBER SENTENCE
 *	mutant NAME SECTORS SEED OPERATIONS BASE CHANGES opens|opens-uncounted|fails|either TABLE...
 *
 * Reads give the bytes of QEMU, or an error where QEMU has one. Writes may
 * fail; those that do not are there, unless a count is 0. What is not so is a
 * line "# NAME: ...".
 */
#define _GNU_SOURCE
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <linux/fs.h>
#include "rawdm.h"

#define PRIME		((1ULL << 61) - 1)
#define FAILS		(~0ULL)		/* the sum of a sector that cannot be read */
#define EITHER		(1ULL << 62)
#define ANY		(EITHER | (EITHER - 1))
#define CHUNK		(256U << 10)
#define BLOCK		8		/* sectors */
#define MOST		(64U << 10)	/* bytes of one write */
#define SECONDS		60		/* for one image: more is a hang */
#define ALLOWED		64

static struct {
	unsigned long long sectors;
	uint64_t random;
	unsigned int operations;
	bool mutant, writable, uncounted;
	uint64_t *sums;
} image;
static struct {
	char sentence[128];
	unsigned int used;
} allowed[ALLOWED];
static const char *folder, *work;
static const uint64_t *oracle;
static size_t oracle_left;
static unsigned char *buffer;
static char *words;
#define WORDS	(1U << 20)
static int kmsg;
static FILE *after;
static unsigned int images, refused, readers, writers, writes, failures, errors;

static uint64_t below(uint64_t limit)
{
	image.random ^= image.random << 13;
	image.random ^= image.random >> 7;
	image.random ^= image.random << 17;
	return image.random % limit;
}

/* The sector as one number, the first byte its lowest, modulo 2^61 - 1. */
static uint64_t sum_of(const void *sector)
{
	const uint64_t *word = sector;
	uint64_t sum = 0;
	int i;

	for (i = 63; i >= 0; i--) {
		sum = (sum << 3 & PRIME) | sum >> 58;	/* times 2^64, which is 2^3 */
		sum += (word[i] & PRIME) + (word[i] >> 61);
		sum = (sum & PRIME) + (sum >> 61);
	}
	return sum == PRIME ? 0 : sum;
}

/* ------------------------------------------------------------------------
 * What the device shows
 */

static uint64_t read_sum(unsigned long long sector)
{
	if (pread(rawdm.node, buffer, 512, sector * 512) == 512)
		return sum_of(buffer);
	if (errno != EIO)
		problem("sector %llu: %s", sector, strerror(errno));
	return FAILS;
}

static bool as_wanted(uint64_t found, uint64_t wanted)
{
	if (found == wanted || wanted == ANY)
		return true;
	return wanted != FAILS && (wanted & EITHER) && (found == FAILS || found == (wanted & ~EITHER));
}

/* How many sectors from here on fail, as they may: looked at by one read, where it is BLOCK of them. */
static unsigned int fail_together(unsigned long long sector, unsigned long long count)
{
	unsigned int i;

	if (count < BLOCK)
		return 0;
	for (i = 0; i < BLOCK; i++) {
		if (!as_wanted(FAILS, image.sums[sector + i]))
			return 0;
	}
	return pread(rawdm.node, buffer, BLOCK * 512, sector * 512) < 0 && errno == EIO ? BLOCK : 0;
}

/* All sectors are what image.sums says. */
static void compare(const char *when)
{
	unsigned long long sector, count, i, bad = 0, first = 0;
	unsigned int together;
	uint64_t found;
	ssize_t got;

	for (sector = 0; sector < image.sectors; sector += count) {
		count = image.sectors - sector;
		if (count > CHUNK / 512)
			count = CHUNK / 512;
		got = pread(rawdm.node, buffer, count * 512, sector * 512);
		if (got == (ssize_t)(count * 512)) {
			for (i = 0; i < count; i++) {
				found = sum_of(buffer + i * 512);
				if (!as_wanted(found, image.sums[sector + i]) && !bad++)
					first = sector + i;
			}
			continue;
		}
		for (i = 0; i < count; i++) {
			together = fail_together(sector + i, count - i);
			if (together) {
				errors += together;
				i += together - 1;
				continue;
			}
			found = read_sum(sector + i);
			errors += found == FAILS;
			if (!as_wanted(found, image.sums[sector + i]) && !bad++)
				first = sector + i;
		}
	}
	if (!bad)
		return;
	found = read_sum(first);
	problem("%s: %llu sectors are not what QEMU reads, the first is %llu: %s", when, bad, first,
		image.sums[first] == FAILS ? "QEMU has an error" : found == FAILS ? "an error" :
		"other bytes");
}

static void stamp(unsigned long long sector, unsigned long long count)
{
	uint64_t tag = below(PRIME), *word = (uint64_t *)buffer;
	unsigned long long i;

	for (i = 0; i < count * 64; i++)
		word[i] = tag ^ (sector * 64 + i) * 0x9e3779b97f4a7c15ULL;
}

/* The sums of a range: by one read where that works, else sector by sector. */
static const uint64_t *read_sums(unsigned long long sector, unsigned long long count)
{
	static uint64_t found[MOST / 512];
	bool whole = pread(rawdm.node, buffer, count * 512, sector * 512) == (ssize_t)(count * 512);
	unsigned long long i;

	for (i = 0; i < count; i++)
		found[i] = whole ? sum_of(buffer + i * 512) : read_sum(sector + i);
	return found;
}

/* After a discard a sector is what it was, or zeros. */
static void look_again(unsigned long long sector, unsigned long long count)
{
	const uint64_t *found = read_sums(sector, count);

	for (; count; sector++, count--, found++) {
		if (*found && *found != image.sums[sector] && !image.mutant)
			problem("sector %llu: neither zeros nor what was discarded", sector);
		image.sums[sector] = *found;
	}
}

/* Two clusters of a mutant may have one place: then the last sector written there is seen in both. */
static bool of_this_write(uint64_t found, unsigned long long sector, unsigned long long count)
{
	while (image.mutant && count--) {
		if (found == image.sums[sector + count])
			return true;
	}
	return false;
}

static void write_some(void)
{
	unsigned long long sector = below(image.sectors), count, i;
	unsigned int kind = below(10);
	const uint64_t *found;
	uint64_t range[2];
	int failed = 0;

	count = 1 + below(below(2) ? 16 : MOST / 512);
	if (count > image.sectors - sector)
		count = image.sectors - sector;
	range[0] = sector * 512;
	range[1] = count * 512;
	writes++;
	if (kind < 2) {
		if (ioctl(rawdm.node, kind ? BLKZEROOUT : BLKDISCARD, range))
			failed = errno;
	} else {
		stamp(sector, count);
		for (i = 0; i < count; i++)
			image.sums[sector + i] = sum_of(buffer + i * 512);
		if (pwrite(rawdm.node, buffer, count * 512, sector * 512) != (ssize_t)(count * 512))
			failed = errno;
	}
	if (!failed && !below(8) && fsync(rawdm.node))
		failed = errno;
	failures += !!failed;
	if (failed && (!image.mutant || failed != EIO))
		problem("writing %llu sectors at %llu: %s", count, sector, strerror(failed));
	if (failed)
		return;
	if (kind == 0) {
		look_again(sector, count);
		return;
	}
	if (kind == 1)
		memset(image.sums + sector, 0, count * 8);
	found = read_sums(sector, count);
	for (i = 0; i < count; i++) {
		if (found[i] != image.sums[sector + i] && !image.uncounted && !of_this_write(found[i], sector, count)) {
			problem("sector %llu is not what was written", sector + i);
			return;
		}
	}
}

/* ------------------------------------------------------------------------
 * Mutants
 */

static void change(int fd, char *text)
{
	char *colon = strchr(text, ':'), *hex;
	unsigned int byte;
	off_t at;

	if (!colon)
		give_up(text);
	*colon = 0;
	if (!strcmp(text, "CUT")) {
		if (ftruncate(fd, atoll(colon + 1)))
			give_up("cut");
		return;
	}
	at = atoll(text);
	for (hex = colon + 1; sscanf(hex, "%2x", &byte) == 1; hex += 2) {
		if (pwrite(fd, &byte, 1, at++) != 1)	/* its lowest byte */
			give_up("change");
	}
}

/* Copies FOLDER/BASE to WORK/mutant, both with @suffix; returns the copy, or -1 if there is no such base. */
static int copy(const char *base, const char *suffix)
{
	char path[512];
	ssize_t got;
	off_t at = 0, end;
	int from, to;

	snprintf(path, sizeof(path), "%s/%s%s", folder, base, suffix);
	from = open(path, O_RDONLY | O_CLOEXEC);
	if (from < 0 && errno == ENOENT)
		return -1;
	snprintf(path, sizeof(path), "%s/mutant%s", work, suffix);
	to = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (from < 0 || to < 0)
		give_up(path);
	end = lseek(from, 0, SEEK_END);
	while ((got = pread(from, buffer, CHUNK, at)) > 0) {
		if (pwrite(to, buffer, got, at) != got)
			give_up(path);
		at += got;
	}
	if (at != end)
		give_up(base);
	close(from);
	return to;
}

static void mutate(const char *base, char *changes)
{
	int fd = copy(base, ""), data = copy(base, ".data");
	char *one;

	if (fd < 0)
		give_up(base);
	for (one = strtok(changes, ","); one; one = strtok(NULL, ","))
		change(fd, one);
	close(fd);
	if (data >= 0)
		close(data);
}

/* Is the table refused for what the plan allows? */
static bool stricter(void)
{
	const char *said = rawdm_said(kmsg, words, WORDS);
	int i;

	for (i = 0; i < ALLOWED && allowed[i].sentence[0]; i++) {
		if (strstr(said, allowed[i].sentence)) {
			allowed[i].used++;
			return true;
		}
	}
	return false;
}

/* ------------------------------------------------------------------------
 * Lines of the plan
 */

static bool attach(const char *table, const char *verdict)
{
	int failed;

	if (rawdm_create())
		give_up("create");
	rawdm_said(kmsg, words, WORDS);
	failed = rawdm_load(image.sectors, table, image.writable);
	if (failed && image.mutant && image.writable) {
		image.writable = false;
		failed = rawdm_load(image.sectors, table, false);
	}
	if (!failed) {
		failed = rawdm_resume(image.writable);
		if (failed)
			problem("cannot be resumed: %s", strerror(failed));
		else if (*verdict == 'f')
			problem("is attached, and QEMU does not open it");
		return !failed;
	}
	if (*verdict == 'o' && !stricter())
		problem("is refused, and QEMU opens it: %s: %.600s", strerror(failed), words);
	refused++;
	return false;
}

static void go(const char *table, const char *verdict)
{
	unsigned int i;
	char *text;
	int failed;

	alarm(SECONDS);
	images++;
	if (attach(table, verdict)) {
		compare("as it came");
		for (i = 0; i < image.operations && image.writable; i++)
			write_some();
		if (!image.mutant)
			compare("in the end");
		if (rawdm_status(&text))
			problem("no status");
		else if (!image.mutant && strncmp(text, image.writable ? "1 rw ok" : "1 ro ok", 7))
			problem("status: %s", text);
		readers += !image.writable;
		writers += image.writable;
	}
	failed = rawdm_remove();
	if (failed)
		problem("cannot be removed: %s", strerror(failed));
	if (after && fwrite(image.sums, 8, image.sectors, after) != image.sectors)
		give_up("after");
}

static void line(char *text)
{
	char base[64], verdict[16] = "opens", *changes = NULL;
	unsigned long long seed;
	int at = 0, more = 0;

	if (sscanf(text, "allow %d %n", &at, &more) == 1 && more && at >= 0 && at < ALLOWED) {
		snprintf(allowed[at].sentence, sizeof(allowed[at].sentence), "%s", text + more);
		return;
	}
	image.mutant = !strncmp(text, "mutant ", 7);
	if (sscanf(text, "%*s %63s %llu %llu %u %n", rawdm.image, &image.sectors, &seed,
		   &image.operations, &at) != 4 || image.sectors * 8 > oracle_left || (image.mutant &&
	    sscanf(text + at, "%63s %ms %15s %n", base, &changes, verdict, &more) != 3))
		give_up(text);
	image.writable = image.operations;
	image.uncounted = strstr(verdict, "-uncounted");
	image.random = (seed + 1) * 0x9e3779b97f4a7c15ULL | 1;
	image.sums = malloc(image.sectors * 8 + 8);
	if (!image.sums)
		give_up("memory");
	memcpy(image.sums, oracle, image.sectors * 8);
	oracle += image.sectors;
	oracle_left -= image.sectors * 8;
	if (image.mutant)
		mutate(base, changes);
	go(text + at + more, verdict);
	free(image.sums);
	free(changes);
}

static void open_all(FILE **plan)
{
	char path[512];
	struct stat st;
	int fd;

	snprintf(path, sizeof(path), "%s/plan", folder);
	*plan = fopen(path, "re");
	snprintf(path, sizeof(path), "%s/sums", folder);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (!*plan || fd < 0 || fstat(fd, &st))
		give_up(path);
	oracle_left = st.st_size;
	oracle = mmap(NULL, oracle_left, PROT_READ, MAP_PRIVATE, fd, 0);
	kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	words = malloc(WORDS);
	if (oracle == MAP_FAILED || kmsg < 0 || !words || rawdm_start("image_loop") ||
	    posix_memalign((void **)&buffer, 65536, CHUNK))
		give_up("start");
	lseek(kmsg, 0, SEEK_END);
}

int main(int argc, char **argv)
{
	static char text[65536];
	char path[512];
	FILE *plan;
	int i;

	if (argc != 3)
		return 2;
	folder = argv[1];
	work = argv[2];
	open_all(&plan);
	while (fgets(text, sizeof(text), plan)) {
		text[strcspn(text, "\n")] = 0;
		if (!after && !strncmp(text, "row ", 4)) {
			snprintf(path, sizeof(path), "%s/after", work);
			after = fopen(path, "we");
			if (!after)
				give_up(path);
		}
		line(text);
	}
	for (i = 0; i < ALLOWED && allowed[i].sentence[0]; i++) {
		if (allowed[i].used)
			printf("# stricter than QEMU: %u: %s\n", allowed[i].used, allowed[i].sentence);
	}
	printf("# %u images: %u refused, %u read, %u written; %u sectors failed; %u writes, %u failed\n",
	       images, refused, readers, writers, errors, writes, failures);
	return rawdm.problems || !images || oracle_left || (after && fclose(after));
}
