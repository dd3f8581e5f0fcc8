// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Attaches one image after the other and does what the plan of hostile.py says.
 *
 *	hostile_attach FOLDER
 *
 * One process for all of them, with the ioctls of device-mapper, since a
 * process costs more than an image here. Each line of FOLDER/plan is a step:
 *
 *	image NAME SECTORS ro|rw|view TABLE	the next image, or a view of its snapshot 1, and
 *					its table, where @ is FOLDER/; the steps after it
 *					are its own. NAME.other, if there is one, is its
 *					data file or the layer below, which is never written
 *	refused ERRNO SENTENCE		the table is not loaded, and the kernel says so
 *	read SECTOR SECTORS BYTE|E	all are this byte, or an error
 *	write SECTOR SECTORS ok|E	works and reads back, or an error
 *	discard|zero|unmap SECTOR SECTORS ok|E	the same; zeros that keep the place, that give it up
 *	mode MODE, bit 0|1		in the end; mode ro has raised an event
 *	same				the file is what it was
 *	metadata			no guest data lies where the tables of the image are; if
 *					all writes had to fail, they are what they were, but for
 *					the corrupt bit
 *
 * What is not so is a line "# NAME: ...", and makes the exit code 1.
 */
#define _GNU_SOURCE
#include <linux/fs.h>
#include <stdint.h>
#include "rawdm.h"

#define PATTERN		0xee
#define METADATA	8	/* clusters at the start of every image of the plan; */
#define OVER		4	/* of one that is empty over another */
#define LARGEST		(METADATA << 14)
#define FEATURES	79	/* byte of the header with the corrupt bit */
#define SECONDS		60	/* for one image: more is a hang */

static const struct {
	const char *name;
	int value;
} errnos[] = {
	{ "EINVAL", EINVAL }, { "EUCLEAN", EUCLEAN }, { "EOPNOTSUPP", EOPNOTSUPP },
	{ "EFBIG", EFBIG }, { "ENOKEY", ENOKEY }, { "EPERM", EPERM }, { "ENOENT", ENOENT },
};

static struct {
	char path[512];
	unsigned long long sectors;
	char table[2048], other[520];
	int writable, below, attached, failed, bit, written;
	uint64_t sum;
	off_t size;
} image;
static const char *folder;
static int kmsg, images, refusals, readers, writers;
static char *buffer;
#define BUFFER	(2 << 20)
static uint8_t before[LARGEST];		/* the tables of the image */

/* ------------------------------------------------------------------------
 * The device and its file
 */

static int load(void)
{
	return rawdm_load(image.sectors, image.table, image.writable);
}

/* The words of a table, with the folder in the place of each @. */
static void make_table(const char *words)
{
	size_t used = 0;

	for (; *words && used + strlen(folder) + 2 < sizeof(image.table); words++) {
		if (*words == '@')
			used += sprintf(image.table + used, "%s/", folder);
		else
			image.table[used++] = *words;
	}
	image.table[used] = 0;
}

static char *status(void)
{
	char *text;

	if (rawdm_status(&text))
		give_up("status");
	return text;
}

static const char *said(void)
{
	return rawdm_said(kmsg, buffer, BUFFER);
}

/* Of a file that need not be there. */
static uint64_t sum_of(const char *path)
{
	uint64_t hash = 0xcbf29ce484222325ULL;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint64_t *words = (uint64_t *)buffer;
	ssize_t got, i;

	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0)
		give_up(path);
	while ((got = read(fd, buffer, BUFFER)) > 0) {
		memset(buffer + got, 0, -got & 7);
		hash = (hash ^ got) * 0x100000001b3ULL;
		for (i = 0; i < (got + 7) / 8; i++)
			hash = (hash ^ words[i]) * 0x100000001b3ULL;
	}
	close(fd);
	return hash;
}

/* Of the image and of what belongs to it. */
static uint64_t sum(void)
{
	return sum_of(image.path) * 0x100000001b3ULL ^ sum_of(image.other);
}

static void keep_tables(void)
{
	int fd = open(image.path, O_RDONLY | O_CLOEXEC);

	memset(before, 0, sizeof(before));
	if (fd < 0 || pread(fd, before, sizeof(before), 0) < 0)
		give_up(image.path);
	close(fd);
}

static off_t size(void)
{
	struct stat st;

	if (stat(image.path, &st))
		give_up(image.path);
	return st.st_size;
}

static void attach(void)
{
	int failed;

	if (image.attached || image.failed)
		return;
	image.failed = 1;
	failed = load();
	if (failed) {
		problem("is refused: %s", strerror(failed));
		return;
	}
	failed = rawdm_resume(image.writable);
	if (failed) {
		problem("cannot be resumed: %s", strerror(failed));
		return;
	}
	image.attached = 1;
	image.failed = 0;
}

static void detach(void)
{
	uint8_t byte = 0;
	int fd, bit;

	errno = rawdm_remove();
	if (errno)
		give_up("remove");
	image.attached = 0;
	if (image.bit < 0)
		return;
	fd = open(image.path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || pread(fd, &byte, 1, FEATURES) != 1)
		give_up(image.path);
	close(fd);
	bit = byte >> 1 & 1;
	if (bit != image.bit)
		problem("the corrupt bit is %d", bit);
}

/* ------------------------------------------------------------------------
 * Steps
 */

static void step_image(const char *rest)
{
	char how[5];
	int end = 0;

	if (sscanf(rest, "%63s %llu %4s %n", rawdm.image, &image.sectors, how, &end) != 3 || !end)
		give_up("image");
	make_table(rest + end);
	alarm(SECONDS);
	snprintf(image.path, sizeof(image.path), "%s/%s", folder, rawdm.image);
	snprintf(image.other, sizeof(image.other), "%s.other", image.path);
	image.writable = !strcmp(how, "rw");
	image.below = *image.table == '2';
	image.bit = -1;
	image.failed = 0;
	image.written = 0;
	image.size = size();
	image.sum = image.writable && image.below ? sum_of(image.other) : sum();
	keep_tables();
	said();
	if (rawdm_create())
		give_up("create");
	images++;
}

static void step_refused(const char *rest)
{
	const char *sentence = strchr(rest, ' ') + 1, *words;
	int failed = load(), wanted = 0;
	size_t i;

	for (i = 0; i < sizeof(errnos) / sizeof(*errnos); i++) {
		if (!strncmp(rest, errnos[i].name, sentence - rest - 1))
			wanted = errnos[i].value;
	}
	if (failed != wanted)
		problem("the table is answered with %s", failed ? strerror(failed) : "success");
	words = said();
	if (!strstr(words, sentence))
		problem("nobody says \"%s\": %.400s", sentence, words);
	refusals++;
	detach();
	if ((image.writable && image.below ? sum_of(image.other) : sum()) != image.sum)
		problem("the file was changed");
}

static void step_read(unsigned long long sector, size_t length, const char *what)
{
	uint8_t byte = atoi(what);
	size_t i = 0;
	ssize_t got;

	got = pread(rawdm.node, buffer, length, sector * 512);
	if (*what == 'E') {
		if (got >= 0)
			problem("sector %llu can be read", sector);
		else if (errno != EIO)
			problem("sector %llu: %s", sector, strerror(errno));
		return;
	}
	if (got != (ssize_t)length) {
		problem("sector %llu: %s", sector, got < 0 ? strerror(errno) : "a short read");
		return;
	}
	if ((uint8_t)*buffer == byte && !memcmp(buffer, buffer + 1, length - 1))
		return;
	while ((uint8_t)buffer[i] == byte)
		i++;
	problem("byte %llu is %#x, not %#x", sector * 512 + i, (uint8_t)buffer[i], byte);
}

/* Zeros and discards, by the calls that make them. */
static int give_back(off_t at, off_t length, const char *how)
{
	uint64_t range[2] = { at, length };

	if (!strcmp(how, "discard"))
		return ioctl(rawdm.node, BLKDISCARD, range);
	return fallocate(rawdm.node, FALLOC_FL_KEEP_SIZE |
			 (strcmp(how, "unmap") ? FALLOC_FL_ZERO_RANGE : FALLOC_FL_PUNCH_HOLE),
			 at, length);
}

static void step_write(unsigned long long sector, size_t length, const char *what, const char *how)
{
	int writes = !strcmp(how, "write"), failed = 0;
	char pattern[8];

	memset(buffer, PATTERN, length);
	if (!writes)
		failed = give_back(sector * 512, length, how) ? errno : 0;
	else if (pwrite(rawdm.node, buffer, length, sector * 512) != (ssize_t)length)
		failed = errno;
	image.written |= *what == 'o';
	if (failed && failed != EIO)
		problem("%s to %llu: %s", how, sector, strerror(failed));
	if (!failed != (*what == 'o')) {
		problem("%s to sector %llu: %s", how, sector, strerror(failed));
	} else if (!failed && writes) {
		snprintf(pattern, sizeof(pattern), "%d", PATTERN);
		step_read(sector, length, pattern);
	}
}

static void step_mode(const char *wanted)
{
	char *text, mode[16] = "";
	int i;

	/* What was answered is committed, and the error of a flush is told by the mode. */
	fsync(rawdm.node);
	text = status();
	if (sscanf(text, "1 %15s", mode) != 1 || strcmp(mode, wanted))
		problem("mode is not %s: %s", wanted, text);
	if (strcmp(wanted, "ro"))
		return;
	if (strstr(text, "last=none"))
		problem("no cause: %s", text);
	/* An event is sent by somebody else, soon. */
	for (i = 0; i < 100 && !rawdm.request.dm.event_nr; i++) {
		usleep(20000);
		status();
	}
	if (!rawdm.request.dm.event_nr)
		problem("no event");
}

/* All writes had to fail: @length bytes at the start of the file, in the buffer, are as before. */
static void compare_tables(size_t length)
{
	size_t at;

	buffer[FEATURES] = (buffer[FEATURES] & ~2) | (before[FEATURES] & 2);
	for (at = 0; at < length && (uint8_t)buffer[at] == before[at]; at++)
		;
	if (at < length)
		problem("byte %#zx of the tables has become %#x", at, (uint8_t)buffer[at]);
}

/* The tables of the image have no sector of the pattern in them. */
static void step_metadata(void)
{
	uint8_t header[24];
	size_t length, at, i;
	int fd = open(image.path, O_RDONLY | O_CLOEXEC);

	detach();
	if (fd < 0 || pread(fd, header, sizeof(header), 0) != sizeof(header))
		give_up(image.path);
	length = (size_t)(image.below ? OVER : METADATA) << header[23];
	if (size() < image.size)
		problem("the file was cut to %lld bytes", (long long)size());
	if (memcmp(header, "QFI\xfb", 4))
		problem("the header is gone");
	else if (pread(fd, buffer, length, 0) != (ssize_t)length)
		problem("the file is too short");
	for (at = 0; at < length; at += 512) {
		for (i = 0; i < 512 && (uint8_t)buffer[at + i] == PATTERN; i++)
			;
		if (i == 512)
			problem("guest data lies at %#zx", at);
	}
	if (image.below && sum_of(image.other) != image.sum)
		problem("the layer below was changed");
	if (!image.written && length <= sizeof(before))
		compare_tables(length);
	close(fd);
	writers++;
}

static void step_same(void)
{
	char *text = status(), mode[16] = "";

	if (sscanf(text, "1 %15s", mode) != 1 || strcmp(mode, "ro"))
		problem("mode is %s", mode);
	detach();
	if (sum() != image.sum)
		problem("the file was changed");
	readers++;
}

static void step(char *line)
{
	unsigned long long sector;
	unsigned int sectors;
	char what[8];
	char *rest = strchr(line, ' ');

	if (rest)
		*rest++ = 0;
	if (!strcmp(line, "image")) {
		step_image(rest);
		return;
	}
	if (!strcmp(line, "refused")) {
		step_refused(rest);
		return;
	}
	attach();
	if (!image.attached) {
		if (!rest)	/* the last step */
			detach();
		return;
	}
	if (!strcmp(line, "same")) {
		step_same();
	} else if (!strcmp(line, "metadata")) {
		step_metadata();
	} else if (!strcmp(line, "mode")) {
		step_mode(rest);
	} else if (!strcmp(line, "bit")) {
		image.bit = atoi(rest);
	} else {
		if (sscanf(rest, "%llu %u %7s", &sector, &sectors, what) != 3 || sectors * 512UL > BUFFER)
			give_up(line);
		if (!strcmp(line, "read"))
			step_read(sector, sectors * 512UL, what);
		else
			step_write(sector, sectors * 512UL, what, line);
	}
}

int main(int argc, char **argv)
{
	char line[1024];
	FILE *plan;

	if (argc != 2)
		return 2;
	folder = argv[1];
	snprintf(line, sizeof(line), "%s/plan", folder);
	plan = fopen(line, "re");
	kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (!plan || rawdm_start("hostile") || kmsg < 0 || posix_memalign((void **)&buffer, 65536, BUFFER + 1))
		give_up("start");
	lseek(kmsg, 0, SEEK_END);
	while (fgets(line, sizeof(line), plan)) {
		line[strcspn(line, "\n")] = 0;
		step(line);
	}
	printf("# %d images: %d refused, %d read, %d written\n", images, refusals, readers, writers);
	return rawdm.problems || !images || refusals + readers + writers != images;
}
