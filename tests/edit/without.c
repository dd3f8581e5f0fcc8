// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Run a program as on a machine that lacks others.
 *
 * without hide PATH...: make a mount namespace in which these files cannot be
 * run, print the number of a process in it, and wait until the parent ends.
 * With WITHOUT_PID, that number, and WITHOUT_RUN in the environment: run this
 * program there, in the same folder and with the same words.
 *
 * Who may not change the namespace (a plain user) runs it where he is, unless
 * WITHOUT_STRICT is set.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <unistd.h>

static int hide(char **paths)
{
	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_SLAVE, NULL))
		return 1;
	for (; *paths; paths++) {
		if (mount("/dev/null", *paths, NULL, MS_BIND, NULL))
			return 1;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	printf("%d\n", getpid());
	fclose(stdout);
	for (;;)
		pause();
}

static int enter(const char *pid)
{
	char path[64], folder[PATH_MAX];
	int fd, root, ret;

	snprintf(path, sizeof(path), "/proc/%s/ns/mnt", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	snprintf(path, sizeof(path), "/proc/%s/root", pid);
	root = open(path, O_PATH | O_CLOEXEC);	/* the namespace's root is another below chroot */
	if (fd < 0 || root < 0 || !getcwd(folder, sizeof(folder)))
		return -1;
	ret = setns(fd, CLONE_NEWNS) || fchdir(root) || chroot(".") || chdir(folder);
	close(fd);
	close(root);
	return ret;
}

int main(int argc, char **argv)
{
	const char *pid = getenv("WITHOUT_PID"), *program = getenv("WITHOUT_RUN");

	if (!program && argc > 1 && !strcmp(argv[1], "hide")) {
		hide(argv + 2);
		perror("without");
		return 127;
	}
	if (!program || !pid)
		return 127;
	if (enter(pid) && ((errno != EPERM && errno != EACCES) || getenv("WITHOUT_STRICT"))) {
		perror("without");
		return 127;
	}
	argv[0] = (char *)program;
	execv(program, argv);
	perror(program);
	return 127;
}
