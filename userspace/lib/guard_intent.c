// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * What an edit of a device has begun, for whoever comes after a loss: NAME.intent
 * is there while the device may be suspended. It goes away with the machine, as
 * the device does; a copy beside the image, or in STATE_FOLDER if the image is a
 * block device, tells after a reboot that an edit was cut off.
 *
 * Eight lines: sectors, sectors afterwards (or 0) and ro or rw; the parameters of the
 * image's table; the path of the copy, empty if there is none; the boot's id; the file
 * that goes when the device has no layer any more, empty if there is none; the image that the
 * device is about to leave for that file, empty if it does not; the table that it gets then, empty if
 * there is a way back; inode (0: a block device) and path of the overlay that goes if it did not get on top, empty if
 * there is none. Of a move there is one line more, about the two images: which of them counts when the machine
 * goes down.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "err.h"
#include "guard.h"
#include "mem.h"
#include "run.h"
#include "table.h"
#include "text.h"

#define OLD_COUNTS	"old\n"
#define NEW_COUNTS	"new\n"	/* it is written over the other */

static char *intent_path(const char *name)
{
	return mem_printf(RUN_FOLDER "/%s.intent", name);
}

char *guard_copy_path(const char *name, const char *image)
{
	struct stat st;

	if (stat(image, &st))
		return NULL;
	if (S_ISBLK(st.st_mode))
		return mem_printf(GUARD_STATE_FOLDER "/%s.intent", name);
	return mem_printf("%s.%s.intent", image, name);
}

/* One line of a file, without its end; for the caller to free, or NULL. */
static char *read_line(FILE *file)
{
	char *line = NULL;
	size_t size = 0;

	if (getline(&line, &size, file) < 0) {
		free(line);
		return NULL;
	}
	line[strcspn(line, "\n")] = '\0';
	return line;
}

/* The same, and NULL if it is empty. */
static char *read_optional(FILE *file)
{
	char *line = read_line(file);

	if (line && !*line) {
		free(line);
		line = NULL;
	}
	return line;
}

static char *boot_id(void)
{
	char *id = text_first_line("/proc/sys/kernel/random/boot_id");

	return id ? id : mem_strdup("");
}

/* The parameters with names that a mapped device will have after a reboot, too; for the caller to free. */
static char *lasting_params(const char *params)
{
	struct table table, lasting = { 0 };
	char *text;
	size_t i;

	if (!table_parse(params, &table))
		return mem_strdup(params);
	for (i = 0; i < table.nr_layers; i++) {
		MEM_FREE char *path = device_lasting_path(table.paths[i]);

		table_add_layer(&lasting, table.raw[i], path);
	}
	for (i = 0; i < table.nr_words; i++)
		table_add_word(&lasting, table.words[i]);
	text = table_format(&lasting);
	table_release(&lasting);
	table_release(&table);
	return text;
}

/* To a file that was not there before. @durable: for whoever comes after a reboot. 0 or negative errno. */
static int write_file(const char *path, const struct guard_line *line, bool durable)
{
	MEM_FREE char *params = durable ? lasting_params(line->params) : mem_strdup(line->params);
	MEM_FREE char *boot = boot_id();
	FILE *file = NULL;
	bool failed;
	int fd;

	unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd >= 0)
		file = fdopen(fd, "w");
	if (!file)
		return -errno;
	fprintf(file, "%llu %llu %s\n%s\n%s\n%s\n%s\n%s\n%s\n%s\n%s", (unsigned long long)line->sectors,
		(unsigned long long)line->other, line->readonly ? "ro" : "rw", params,
		line->copy ? line->copy : "", boot, line->state ? line->state : "",
		line->moves ? line->moves : "", line->next ? line->next : "",
		line->overlay ? line->overlay : "", line->moves ? OLD_COUNTS : "");
	failed = fflush(file) || ferror(file) || (durable && fsync(fd));
	failed |= fclose(file);
	return failed ? -(errno ? errno : EIO) : 0;
}

int guard_write_intent(const char *name, const struct guard_line *line)
{
	MEM_FREE char *path = intent_path(name);
	MEM_FREE char *fresh = mem_printf("%s.new", path);
	int ret = write_file(fresh, line, false);

	/* It is complete or not there. */
	if (ret || rename(fresh, path))
		return ret ? ret : -errno;
	if (!line->copy)
		return 0;
	/* The device can be resumed without it. */
	if (!strncmp(line->copy, GUARD_STATE_FOLDER "/", sizeof(GUARD_STATE_FOLDER)))
		mkdir(GUARD_STATE_FOLDER, 0700);
	ret = write_file(line->copy, line, true);
	if (ret)
		err_debug("%s: cannot write: %s", line->copy, strerror(-ret));
	/* Of a move it has to say which image counts. */
	return line->moves ? ret : 0;
}

/* By root, and nobody else can write to it: others may make files where an image lies. */
static int open_ours(const char *path, int flags)
{
	int fd = open(path, flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || (!fstat(fd, &st) && S_ISREG(st.st_mode) && !st.st_uid &&
		       !(st.st_mode & 0022)))
		return fd;
	close(fd);
	errno = EPERM;
	return -1;
}

/* @boot: of the machine that wrote it, for the caller to free; or NULL. */
static int read_file(const char *path, struct guard_line *line, char **boot)
{
	int fd = open_ours(path, O_RDONLY);
	unsigned long long sectors, other;
	MEM_FREE char *first = NULL, *wrote = NULL, *counts = NULL;
	FILE *file = NULL;
	char mode[3];

	memset(line, 0, sizeof(*line));
	if (fd >= 0)
		file = fdopen(fd, "r");
	if (!file)
		return -errno;
	first = read_line(file);
	line->params = read_line(file);
	line->copy = read_line(file);
	wrote = read_line(file);
	line->state = read_optional(file);
	line->moves = read_optional(file);
	line->next = read_optional(file);
	line->overlay = read_optional(file);
	counts = read_optional(file);
	line->turned = counts && !strncmp(counts, NEW_COUNTS, strlen(counts));
	fclose(file);
	if (boot)
		*boot = wrote ? mem_strdup(wrote) : NULL;
	if (!first || sscanf(first, "%llu %llu %2s", &sectors, &other, mode) != 3 || !line->copy)
		return -EINVAL;
	line->sectors = sectors;
	line->other = other;
	line->readonly = !strcmp(mode, "ro");
	return 0;
}

int guard_read_intent(const char *name, struct guard_line *line)
{
	MEM_FREE char *path = intent_path(name);

	return read_file(path, line, NULL);
}

bool guard_is_stale(const char *copy, struct guard_line *line)
{
	MEM_FREE char *now = boot_id(), *boot = NULL;
	int ret = read_file(copy, line, &boot);

	return !ret && boot && strcmp(boot, now) != 0;
}

bool guard_is_about(const struct guard_line *line, const char *image)
{
	struct stat named, here;
	struct table table;
	const char *path;
	bool is;

	if (!table_parse(line->params, &table))
		return false;
	path = line->moves ? line->moves : table.paths[0];
	is = !stat(image, &here) && (stat(path, &named) ? errno == ENOENT :
				     image_same_file(&named, &here));
	table_release(&table);
	return is;
}

int guard_open_turn(const struct guard_line *line)
{
	int fd = -1;

	if (line->moves && line->copy && *line->copy)
		fd = open_ours(line->copy, O_WRONLY);
	if (fd >= 0 && lseek(fd, -(off_t)strlen(OLD_COUNTS), SEEK_END) < 0) {
		close(fd);
		fd = -1;
	}
	return fd;
}

int guard_write_turn(int fd)
{
	ssize_t len = strlen(NEW_COUNTS);

	return write(fd, NEW_COUNTS, len) == len && !fdatasync(fd) ? 0 : -(errno ? errno : EIO);
}

void guard_turn_back(const struct guard_line *line)
{
	struct guard_line copy = { 0 };
	int ret;

	if (!line->copy || !*line->copy)
		return;
	ret = read_file(line->copy, &copy, NULL);
	if (!ret && copy.turned) {
		ret = write_file(line->copy, line, true);
		if (ret)
			err_debug("%s: cannot write: %s", line->copy, strerror(-ret));
	}
	guard_release_line(&copy);
}

void guard_forget_intent(const char *name, const struct guard_line *line)
{
	MEM_FREE char *clone = line->next ? guard_clone_path(name, line) : NULL;
	MEM_FREE char *path = intent_path(name);

	/* As long as dm-clone's own record is there, part of the disk is elsewhere. */
	if (line->copy && *line->copy && (!clone || access(clone, F_OK)))
		unlink(line->copy);
	unlink(path);
}

void guard_release_line(struct guard_line *line)
{
	free(line->params);
	free(line->copy);
	free(line->state);
	free(line->moves);
	free(line->next);
	free(line->overlay);
	memset(line, 0, sizeof(*line));
}
