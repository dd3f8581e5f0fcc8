// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Serve a frozen point.
 *
 * The server goes with us, even if we are killed; its socket is ours to remove.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "backup_nbd.h"
#include "cli.h"
#include "err.h"
#include "guard.h"
#include "mem.h"
#include "program.h"

#define PROGRAM		"nbdkit"
#define SECOND		1000000000ULL
#define FOR_EVER	86400
#define GRACE_SECONDS	5

int backup_nbd_check(const struct backup_request *request)
{
	MEM_FREE char *program = program_find(PROGRAM);
	struct stat st;

	if (!lstat(request->nbd, &st))
		return err_fail(ERR_POLICY, request->nbd, "it exists already");
	if (program)
		return 0;
	err_fail(ERR_UNSUPPORTED, request->name, PROGRAM " is needed for --nbd");
	err_hint("it is in a package of the same name");
	return ERR_UNSUPPORTED;
}

static pid_t start(const struct backup_point *point)
{
	const struct backup_request *request = point->request;
	MEM_FREE char *program = program_find(PROGRAM);
	bool limited = request->bwlimit != CLI_UNSET;
	/* It counts in bits. */
	MEM_FREE char *rate = mem_printf("rate=%llu",
					 limited ? (unsigned long long)request->bwlimit * 8 : 0);
	const char *args[16] = { PROGRAM, "--foreground", "--exit-with-parent", "--readonly",
				 "--unix", request->nbd };
	int n = 6;
	sigset_t none;
	pid_t parent = getpid(), pid;

	if (limited)
		args[n++] = "--filter=rate";
	args[n++] = "file";
	args[n++] = point->path;
	if (limited)
		args[n++] = rate;
	pid = fork();
	if (!pid) {
		/* Before the program can do it: we may be killed by then. */
		if (prctl(PR_SET_PDEATHSIG, SIGTERM) || getppid() != parent)
			_exit(127);
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		signal(SIGPIPE, SIG_DFL);
		dup2(STDERR_FILENO, STDOUT_FILENO);
		execv(program ? program : PROGRAM, (char *const *)args);
		_exit(127);
	}
	return pid;
}

static int wait_for_end(const struct backup_point *point, pid_t pid, bool *gone)
{
	const struct backup_request *request = point->request;
	u64 now, end = request->deadline == CLI_UNSET ? 0 : guard_now() + request->deadline * SECOND;
	struct timespec left = { .tv_sec = FOR_EVER };
	sigset_t signals;
	int signal = -1;

	sigemptyset(&signals);
	sigaddset(&signals, SIGHUP);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGCHLD);
	/* CHLD may still be pending for a child of before. */
	while (signal < 0 || signal == SIGCHLD) {
		*gone = waitpid(pid, NULL, WNOHANG) == pid;
		if (*gone)
			return err_fail(ERR_FAILED, request->name, PROGRAM " ended by itself");
		now = guard_now();
		if (end && now >= end)
			return err_fail(ERR_FAILED, request->name,
					"it was not told to end within %llu seconds",
					(unsigned long long)request->deadline);
		if (end) {
			left.tv_sec = (end - now) / SECOND;
			left.tv_nsec = (end - now) % SECOND;
		}
		signal = sigtimedwait(&signals, NULL, &left);
	}
	return 0;
}

static void stop(pid_t pid)
{
	const struct timespec pause = { .tv_nsec = SECOND / 20 };
	u64 end = guard_now() + GRACE_SECONDS * SECOND;

	kill(pid, SIGTERM);
	while (waitpid(pid, NULL, WNOHANG) == 0) {
		if (guard_now() >= end)
			kill(pid, SIGKILL);
		nanosleep(&pause, NULL);
	}
}

int backup_nbd_serve(const struct backup_point *point)
{
	pid_t pid = start(point);
	bool gone = false;
	int ret;

	if (pid < 0)
		return err_errno(errno, PROGRAM);
	err_note("%s is served at unix:%s until this is interrupted", point->request->name,
		 point->request->nbd);
	ret = wait_for_end(point, pid, &gone);
	if (!gone)
		stop(pid);
	unlink(point->request->nbd);
	return ret;
}
