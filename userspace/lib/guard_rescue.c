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
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "err.h"
#include "guard.h"
#include "mem.h"

#define RESCUE_SECONDS	600	/* then it is for `recover` */
#define PATIENCE	5	/* seconds */
#define RESCUE_PAUSE_NS	20000000
#define READY		'r'
#define MEMORY		(1U << 20)
#define NEVER		(~0ULL)

/* ------------------------------------------------------------------------
 * Rescue
 */

static u64 seconds_now(void)
{
	return guard_now() / 1000000000;
}

int guard_rescue(const char *name, const struct guard_line *line)
{
	struct timespec pause = { .tv_nsec = RESCUE_PAUSE_NS };
	u64 start = seconds_now(), moved = start, passed = 0, copied = 0, before = 0;
	int ret;

	/* What is being copied comes to its end. */
	while ((ret = guard_settle(name, line, passed > PATIENCE, &copied)) &&
	       (passed < RESCUE_SECONDS || ret == -EINPROGRESS)) {
		nanosleep(&pause, NULL);
		if (ret != -EBUSY && pause.tv_nsec < 500000000)
			pause.tv_nsec *= 2;
		passed = seconds_now() - start;
		if (ret != -EINPROGRESS || copied != before)
			moved = seconds_now();
		else if (seconds_now() - moved >= GUARD_STALL)
			return -ENODATA;
		before = copied;
	}
	return ret;
}

int guard_fail_rescue(const char *name, int error)
{
	int ret;

	if (error == -ENODATA)
		ret = err_fail(ERR_FAILED, name,
			       "dm-clone cannot copy all of the old image (the kernel's log says why), and goes on over both");
	else
		ret = err_errno_what(-error, name, "cannot resume the device");
	err_hint("qcow2ctl recover %s", name);
	return ret;
}

/* Its image may have gone, and another one come under the name. Both lines are as the kernel prints them. */
static bool is_of(const struct guard_line *line, const struct dm_device *dm)
{
	return dm->target && !strcmp(dm->target, DEVICE_TARGET) && dm->readonly == line->readonly &&
	       !strcmp(dm->table, line->params);
}

int guard_fit(const char *name, const struct guard_line *line)
{
	u64 longest = line->other > line->sectors ? line->other : line->sectors;
	struct dm_device dm;
	bool fits;
	int ret;

	if (!line->other)
		return 0;
	ret = dm_query(name, &dm);
	fits = ret || dm.suspended || dm.inactive || dm.sectors >= longest || !is_of(line, &dm);
	dm_release(&dm);
	if (fits)
		return ret == -ENXIO ? 0 : ret;
	ret = dm_load(name, DEVICE_TARGET, longest, line->params, line->readonly);
	/* The disk is not so long. */
	if (ret == -EINVAL)
		return 0;
	if (!ret)
		ret = dm_swap(name, false);
	return ret ? guard_rescue(name, line), ret : 0;
}

void guard_bury(const char *name)
{
	struct guard_line line;
	struct dm_device dm;
	u64 copied;

	/* In a move the disk may be in parts: that is for `recover`. */
	if (!guard_read_intent(name, &line) && !line.moves) {
		if (dm_query(name, &dm) == -ENXIO && !guard_settle(name, &line, true, &copied)) {
			guard_drop_overlay(name, &line);
			guard_forget_intent(name, &line);
		}
		dm_release(&dm);
	}
	guard_release_line(&line);
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
	u64 end = seconds_now() + 2ULL * seconds + 5, now;
	char word;
	int ret;

	for (;;) {
		now = seconds_now();
		if (now >= end)
			return 2;
		ret = poll(&poller, 1, end - now > 1000 ? 1000000 : (int)(end - now) * 1000);
		if (ret <= 0)
			continue;
		if (read(fd, &word, 1) != 1)
			return 1;
		if (word == GUARD_DONE)
			return 0;
		end = word == GUARD_RESTS ? NEVER : seconds_now() + seconds;
	}
}

/*
 * Until the other is gone, with all that he had begun; but he may wait for the device. What he still
 * writes keeps it from running, by the lock that he has.
 */
static void await_end(int fd)
{
	struct pollfd poller = { .fd = fd, .events = POLLIN };
	u64 end = seconds_now() + PATIENCE, now;
	char word;

	while ((now = seconds_now()) < end && poll(&poller, 1, (int)(end - now) * 1000) > 0 &&
	       read(fd, &word, 1) == 1)
		;
}

static void be_guardian(const char *name, const struct guard_line *line, unsigned int seconds,
			int fd, pid_t other)
{
	struct guard_line fresh;
	int why, ret;

	why = watch(fd, seconds);
	if (!why)
		return;
	if (why == 2) {
		kill(other, SIGKILL);
		await_end(fd);
	}
	/* A move adds to what was known at the fork. */
	if (line->moved && !guard_read_intent(name, &fresh)) {
		fresh.moved = line->moved;
		line = &fresh;
	}
	ret = guard_rescue(name, line);
	if (ret) {
		guard_fail_rescue(name, ret);
		return;
	}
	ret = guard_fit(name, line);
	if (line->moved && guard_has_moved(name, line))
		line->moved(line->moves, line->state);
	guard_drop_overlay(name, line);
	guard_forget_intent(name, line);
	if (ret)
		err_warn(name, "the device could not get the length of its disk: %s", strerror(-ret));
	if (why == 2)
		err_fail(ERR_FAILED, name, "ended after %u seconds, and the device runs again",
			 seconds);
	else
		err_fail(ERR_FAILED, name, "qcow2ctl was killed, and the device runs again");
}

/*
 * Out of the control group of the other, to the root of the hierarchy: whoever ends all of that group
 * (systemd, when a service or a session ends) ends him, and not this process. A scope of our own would
 * mean to ask systemd over D-Bus, and to wait for it.
 */
static void leave_group(void)
{
	static const char *const groups[] = { "/sys/fs/cgroup/cgroup.procs",
					      "/sys/fs/cgroup/unified/cgroup.procs",
					      "/sys/fs/cgroup/systemd/cgroup.procs" };
	size_t i;
	int fd;

	for (i = 0; i < sizeof(groups) / sizeof(*groups); i++) {
		fd = open(groups[i], O_WRONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		(void)!write(fd, "0", 1);
		close(fd);
	}
}

static void prepare(const int *keep)
{
	static const int ignored[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE };
	size_t i;
	int fd;

	setsid();
	leave_group();
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
	mem_lock(MEMORY);
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
