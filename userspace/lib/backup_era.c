// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Ask the layer era.
 *
 * Its metadata is a matter of the kernel's persistent-data library, and era_invalidate of
 * thin-provisioning-tools is its reader; it reads a snapshot of the metadata, which the target keeps
 * while it goes on.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "backup_era.h"
#include "device.h"
#include "err.h"
#include "mem.h"
#include "program.h"
#include "run.h"
#include "text.h"

#define PROGRAM		"era_invalidate"
#define FLAG		"--metadata-snapshot"
#define LOCK_SECONDS	10

struct era {
	const char *name;
	struct device device;
	int lock;
	u64 current;		/* number of the era */
	bool held;		/* a snapshot of the metadata is there */
	char *metadata;		/* path of its device */
	u64 block;		/* bytes */
};

bool backup_era_number(const char *text, u64 *number)
{
	char *end;

	if (!isdigit((unsigned char)*text))
		return false;
	errno = 0;
	*number = strtoull(text, &end, 10);
	return !errno && !*end;
}

/* ------------------------------------------------------------------------
 * The layer
 */

/* "8 13/2048 4 53": what one block of metadata has, how many are used, era, snapshot or "-". */
static int read_status(struct era *era)
{
	unsigned long long current;
	char snapshot[32];

	if (!era->device.dm.status ||
	    sscanf(era->device.dm.status, "%*u %*u/%*u %llu %31s", &current, snapshot) != 2 ||
	    !current)
		return err_fail(ERR_FAILED, era->name, "layer era does not work: %s",
				era->device.dm.status ? era->device.dm.status : "no status");
	era->current = current;
	era->held = strcmp(snapshot, "-") != 0;
	return 0;
}

/* The node of a block device, as the kernel calls it. */
static char *find_node(unsigned int major, unsigned int minor)
{
	MEM_FREE char *path = mem_printf("/sys/dev/block/%u:%u/uevent", major, minor);
	FILE *file = fopen(path, "re");
	MEM_FREE char *line = NULL;
	char *node = NULL;
	size_t size = 0;

	while (file && !node && getline(&line, &size, file) >= 0) {
		line[strcspn(line, "\n")] = '\0';
		if (!strncmp(line, "DEVNAME=", 8))
			node = mem_printf("/dev/%s", line + 8);
	}
	if (file)
		fclose(file);
	return node;
}

static int read_table(struct era *era)
{
	unsigned int major, minor;
	unsigned long long sectors;

	if (sscanf(era->device.dm.table, "%u:%u %*u:%*u %llu", &major, &minor, &sectors) != 3)
		return err_fail(ERR_FAILED, era->name, "layer era has an unknown table");
	era->block = sectors * 512;
	era->metadata = find_node(major, minor);
	return era->metadata ? 0 : err_fail(ERR_FAILED, era->name,
					    "the metadata of layer era has no device node");
}

static int look(struct era *era)
{
	const struct device *device = &era->device;
	int ret = device_get(era->name, &era->device);

	if (ret)
		return device_fail(ret, era->name);
	if (!device->layer || strcmp(device->layer, "era")) {
		err_fail(ERR_NOT_FOUND, era->name, "it has no layer era, which knows what is written");
		err_hint("qcow2ctl interpose %s era", era->name);
		return ERR_NOT_FOUND;
	}
	if (device->dm.suspended)
		return err_fail(ERR_BUSY, era->name, "device is suspended, by somebody else");
	ret = read_status(era);
	return ret ? ret : read_table(era);
}

static void release(struct era *era)
{
	device_release(&era->device);
	free(era->metadata);
	era->metadata = NULL;
}

/* era_close() in any case. */
static int era_open(struct era *era, const char *name)
{
	int ret;

	memset(era, 0, sizeof(*era));
	era->name = name;
	ret = run_lock(name, LOCK_SECONDS, &era->lock);
	if (ret)
		era->lock = -1;
	return ret ? ret : look(era);
}

static void era_close(struct era *era)
{
	release(era);
	if (era->lock >= 0)
		run_unlock(era->name, era->lock);
}

static int tell(const struct era *era, const char *message)
{
	int ret = dm_message(era->name, message);

	return ret ? err_errno_what(-ret, era->name, "layer era refuses %s", message) : 0;
}

int backup_checkpoint(const char *name, u64 *number)
{
	struct era era;
	int ret = era_open(&era, name);

	if (!ret)
		ret = tell(&era, "checkpoint");
	release(&era);
	if (!ret)
		ret = look(&era);
	*number = era.current - 1;
	era_close(&era);
	return ret;
}

static int check_number(const struct era *era, u64 number)
{
	if (number < era->current)
		return 0;
	return err_fail(ERR_NOT_FOUND, era->name, "there is no checkpoint %llu, the last is %llu",
			(unsigned long long)number, (unsigned long long)era->current - 1);
}

int backup_era_check(const char *name, u64 number)
{
	struct era era;
	int ret = era_open(&era, name);

	if (!ret)
		ret = check_number(&era, number);
	era_close(&era);
	return ret;
}

/* ------------------------------------------------------------------------
 * Its reader
 */

static pid_t start(char *const *words, int *out)
{
	int ends[2];
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC))
		return -err_errno(errno, PROGRAM);
	pid = fork();
	if (!pid) {
		dup2(ends[1], STDOUT_FILENO);
		execv(words[0], words);
		_exit(127);
	}
	close(ends[1]);
	if (pid < 0) {
		close(ends[0]);
		return -err_errno(errno, PROGRAM);
	}
	*out = ends[0];
	return pid;
}

/* Its end: does it say that all went well? */
static bool end(pid_t pid, FILE *file)
{
	int status = 0;

	if (file)
		fclose(file);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) && !WEXITSTATUS(status);
}

/*
 * --metadata-snapshot is a flag, but thin-provisioning-tools 1.1.0 wants a value with it, of which it
 * makes nothing. Its help tells.
 */
static bool wants_value(char *program)
{
	char *const words[] = { program, "--help", NULL };
	MEM_FREE char *line = NULL;
	bool wants = false;
	size_t size = 0;
	int out = -1;
	pid_t pid = start(words, &out);
	FILE *file;

	if (pid < 0)
		return false;
	file = fdopen(out, "r");
	while (file && getline(&line, &size, file) >= 0)
		wants = wants || strstr(line, FLAG " <");
	end(pid, file);
	return wants;
}

static pid_t start_reader(const struct era *era, u64 since, int *out)
{
	MEM_FREE char *program = program_find(PROGRAM);
	MEM_FREE char *number = mem_printf("%llu", (unsigned long long)since);

	if (!program) {
		err_fail(ERR_UNSUPPORTED, era->name, PROGRAM " is needed to read what has changed");
		err_hint("it is part of thin-provisioning-tools");
		return -ERR_UNSUPPORTED;
	}
	char *const words[] = {
		program, wants_value(program) ? FLAG "=1" : FLAG, "--written-since", number,
		era->metadata, NULL,
	};

	return start(words, out);
}

/*
 * Lines of XML: <block block="9"/> or <range begin="3" end = "5"/>, in order, between <blocks> and
 * </blocks>. Is it all there?
 */
static bool parse(FILE *file, u64 block, struct backup_ranges *changes)
{
	unsigned long long from, to, last = 0;
	bool begun = false, ended = false;
	MEM_FREE char *line = NULL;
	size_t size = 0;

	while (getline(&line, &size, file) >= 0) {
		const char *at = line + strspn(line, " \t");

		if (!begun || ended) {
			begun |= !strncmp(at, "<blocks>", 8);
			continue;
		}
		ended = !strncmp(at, "</blocks>", 9);
		if (ended)
			continue;
		if (sscanf(at, "<block block = \"%llu\"", &from) == 1)
			to = from + 1;
		else if (sscanf(at, "<range begin = \"%llu\" end = \"%llu\"", &from, &to) != 2)
			return false;
		if (from < last || to <= from || to > ~0ULL / block)
			return false;
		last = to;
		backup_ranges_add(changes, from * block, (to - from) * block, true);
	}
	return ended;
}

static int run_reader(const struct era *era, u64 since, struct backup_ranges *changes)
{
	int out = -1;
	pid_t pid = start_reader(era, since, &out);
	bool good;
	FILE *file;

	if (pid < 0)
		return -pid;
	file = fdopen(out, "r");
	good = file && parse(file, era->block, changes);
	if (end(pid, file) && good)
		return 0;
	return err_fail(ERR_FAILED, era->name, PROGRAM " could not read what has changed");
}

int backup_era_changes(const char *name, u64 number, struct backup_ranges *changes)
{
	struct era era;
	int ret = era_open(&era, name);

	if (!ret)
		ret = check_number(&era, number);
	/* One that is there was left behind: whoever uses one has the lock. */
	if (!ret && era.held)
		ret = tell(&era, "drop_metadata_snap");
	if (!ret)
		ret = tell(&era, "take_metadata_snap");
	if (!ret) {
		ret = run_reader(&era, number + 1, changes);
		if (tell(&era, "drop_metadata_snap") && !ret)
			ret = ERR_FAILED;
	}
	era_close(&era);
	return ret;
}
