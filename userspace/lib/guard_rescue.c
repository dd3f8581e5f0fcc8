// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * The guardian, and how a device that was left suspended is made to run.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "err.h"
#include "guard.h"
#include "mem.h"
#include "run.h"

#define RESCUE_SECONDS	600	/* then it is for `recover` */
#define PATIENCE	5	/* seconds */
#define RESCUE_PAUSE_NS	20000000
#define READY		'r'

/* ------------------------------------------------------------------------
 * What was begun
 */

static char *intent_path(const char *name)
{
	return mem_printf(RUN_FOLDER "/%s.intent", name);
}

int guard_write_intent(const char *name, const struct guard_line *line)
{
	MEM_FREE char *path = intent_path(name);
	MEM_FREE char *fresh = mem_printf("%s.new", path);
	FILE *file = fopen(fresh, "we");
	bool failed;

	if (!file)
		return -errno;
	fprintf(file, "%llu %s\n%s\n", (unsigned long long)line->sectors,
		line->readonly ? "ro" : "rw", line->params);
	if (line->state)
		fprintf(file, "%s\n", line->state);
	failed = ferror(file);
	failed |= fclose(file);
	/* It is complete or not there. */
	return failed || rename(fresh, path) ? -(errno ? errno : EIO) : 0;
}

int guard_read_intent(const char *name, struct guard_line *line)
{
	MEM_FREE char *path = intent_path(name);
	FILE *file = fopen(path, "re");
	unsigned long long sectors;
	size_t size = 0;
	char mode[3];
	int ret = 0;

	memset(line, 0, sizeof(*line));
	if (!file)
		return -errno;
	if (fscanf(file, "%llu %2s\n", &sectors, mode) != 2 ||
	    getline(&line->params, &size, file) < 0)
		ret = -EINVAL;
	size = 0;
	if (!ret && getline(&line->state, &size, file) < 0) {
		free(line->state);
		line->state = NULL;
	}
	fclose(file);
	if (ret) {
		guard_release_line(line);
		return ret;
	}
	line->params[strcspn(line->params, "\n")] = '\0';
	if (line->state)
		line->state[strcspn(line->state, "\n")] = '\0';
	line->sectors = sectors;
	line->readonly = !strcmp(mode, "ro");
	return 0;
}

void guard_release_line(struct guard_line *line)
{
	free(line->params);
	free(line->state);
	memset(line, 0, sizeof(*line));
}

void guard_forget_intent(const char *name)
{
	MEM_FREE char *path = intent_path(name);

	unlink(path);
}

/* ------------------------------------------------------------------------
 * Rescue
 */

int guard_rescue(const char *name, const struct guard_line *line)
{
	struct timespec pause = { .tv_nsec = RESCUE_PAUSE_NS };
	time_t start = time(NULL), end = start + RESCUE_SECONDS;
	int ret;

	while ((ret = guard_settle(name, line, time(NULL) > start + PATIENCE)) && time(NULL) < end) {
		nanosleep(&pause, NULL);
		if (ret != -EBUSY && pause.tv_nsec < 500000000)
			pause.tv_nsec *= 2;
	}
	return ret;
}

/* ------------------------------------------------------------------------
 * The guardian
 */

static bool is_kept(int fd, const int *keep)
{
	struct stat st;

	for (; *keep >= 0; keep++) {
		if (fd == *keep)
			return true;
	}
	/* Files and devices of others are not to be held; device mapper's own node is needed. */
	return fd <= STDERR_FILENO || fstat(fd, &st) || S_ISCHR(st.st_mode);
}

static void close_others(const int *keep)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;
	int fd;

	while (dir && (entry = readdir(dir))) {
		fd = atoi(entry->d_name);
		if (fd != dirfd(dir) && *entry->d_name != '.' && !is_kept(fd, keep))
			close(fd);
	}
	if (dir)
		closedir(dir);
}

/* Why does it have to act? 0: all is well. 1: the other died. 2: he takes too long. */
static int watch(int fd, unsigned int seconds)
{
	struct pollfd poller = { .fd = fd, .events = POLLIN };
	/* He has his own alarm clock for the suspend. */
	u64 end = time(NULL) + 2ULL * seconds + 5, now;
	char word;
	int ret;

	for (;;) {
		now = time(NULL);
		if (now >= end)
			return 2;
		ret = poll(&poller, 1, end - now > 1000 ? 1000000 : (int)(end - now) * 1000);
		if (ret <= 0)
			continue;
		if (read(fd, &word, 1) != 1)
			return 1;
		if (word == GUARD_DONE)
			return 0;
		end = time(NULL) + seconds;
	}
}

static void be_guardian(const char *name, const struct guard_line *line, unsigned int seconds,
			int fd, pid_t other)
{
	int why, ret;
	char word;

	why = watch(fd, seconds);
	if (!why)
		return;
	if (why == 2) {
		kill(other, SIGKILL);
		/* Until he is gone, with all that he had begun. */
		while (read(fd, &word, 1) == 1)
			;
	}
	ret = guard_rescue(name, line);
	if (ret) {
		err_fail(ERR_FAILED, name, "the device is suspended and cannot be resumed: %s",
			 strerror(-ret));
		err_hint("qcow2ctl recover %s", name);
		return;
	}
	guard_forget_intent(name);
	if (why == 2)
		err_fail(ERR_FAILED, name, "ended after %u seconds, and the device runs again",
			 seconds);
	else
		err_fail(ERR_FAILED, name, "qcow2ctl was killed, and the device runs again");
}

static void prepare(const int *keep)
{
	static const int ignored[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE };
	size_t i;
	int fd;

	setsid();
	for (i = 0; i < sizeof(ignored) / sizeof(*ignored); i++)
		signal(ignored[i], SIG_IGN);
	close_others(keep);
	/* A reader of results does not wait for this process; the other writes them. */
	fd = open("/dev/null", O_RDWR);
	dup2(fd, STDIN_FILENO);
	dup2(fd, STDOUT_FILENO);
	close(fd);
	fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (fd >= 0) {
		(void)!write(fd, "-1000", 5);
		close(fd);
	}
	mlockall(MCL_CURRENT | MCL_FUTURE);
}

int guard_fork(const char *name, const struct guard_line *line, unsigned int seconds,
	       const int *keep, int *fd, pid_t *pid)
{
	pid_t self = getpid();
	int ends[2], kept[5];
	char word = READY;
	size_t i;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends))
		return err_errno_what(errno, name, "no guardian");
	for (i = 0; i < 3 && keep[i] >= 0; i++)
		kept[i + 1] = keep[i];
	kept[0] = ends[1];
	kept[i + 1] = -1;
	*pid = fork();
	if (!*pid) {
		prepare(kept);
		(void)!write(ends[1], &word, 1);
		be_guardian(name, line, seconds, ends[1], self);
		_exit(0);
	}
	close(ends[1]);
	*fd = ends[0];
	if (*pid > 0 && read(*fd, &word, 1) == 1)
		return 0;
	close(*fd);
	*fd = -1;
	return err_fail(ERR_FAILED, name, "no guardian: %s", strerror(*pid < 0 ? errno : ECHILD));
}
