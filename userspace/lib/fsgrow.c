// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Grow file systems. What there is says libblkid, where it is mounted libmount.
 */
#include <errno.h>
#include <fcntl.h>
#include <libmount/libmount.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>
#include "device.h"
#include "err.h"
#include "fsgrow.h"
#include "mem.h"
#include "probe.h"
#include "program.h"
#include "target.h"
#include "text.h"

#define MAX_WORDS	6

/* "DEVICE" and "MOUNT" stand for what they say. */
static const struct fsgrow_kind {
	const char *signature;
	const char *offline[MAX_WORDS];		/* before the other, if it is not mounted */
	const char *words[MAX_WORDS];
	bool mounted;				/* it must be */
} kinds[] = {
	{ "ext4 filesystem", { "e2fsck", "-f", "-p", "DEVICE" }, { "resize2fs", "DEVICE" }, false },
	{ "ext3 filesystem", { "e2fsck", "-f", "-p", "DEVICE" }, { "resize2fs", "DEVICE" }, false },
	{ "ext2 filesystem", { "e2fsck", "-f", "-p", "DEVICE" }, { "resize2fs", "DEVICE" }, false },
	{ "xfs filesystem", { NULL }, { "xfs_growfs", "MOUNT" }, true },
	{ "btrfs filesystem", { NULL }, { "btrfs", "filesystem", "resize", "max", "MOUNT" }, true },
	{ }
};

static char *find_mount(const char *path, dev_t number)
{
	struct libmnt_table *table = mnt_new_table_from_file("/proc/self/mountinfo");
	struct libmnt_fs *fs = NULL;
	char *mount = NULL;

	if (table)
		fs = mnt_table_find_devno(table, number, MNT_ITER_BACKWARD);
	/* btrfs has numbers of its own. */
	if (table && !fs)
		fs = mnt_table_find_srcpath(table, path, MNT_ITER_BACKWARD);
	if (fs)
		mount = mem_strdup(mnt_fs_get_target(fs));
	mnt_unref_table(table);
	return mount;
}

/* What stands between the disk and its file systems has to grow first, and is not ours to change. */
static void hint(const struct fsgrow *grow, const char *what)
{
	MEM_FREE char *path = text_shell(grow->path);

	if (strstr(what, "partition table"))
		err_hint("without --fs the disk grows; then a partition of %s (growpart, parted) and its file system",
			 path);
	else if (!strcmp(what, "LVM2_member"))
		err_hint("without --fs the disk grows; then pvresize %s, lvextend --resizefs", path);
}

static int find_kind(struct fsgrow *grow)
{
	MEM_FREE char *what = NULL;
	int fd = open(grow->path, O_RDONLY | O_CLOEXEC), ret;

	if (fd < 0)
		return err_errno(errno, grow->path);
	ret = probe_signature(fd, &what);
	close(fd);
	if (ret)
		return err_errno(-ret, grow->path);
	for (grow->kind = kinds; grow->kind->signature; grow->kind++) {
		if (what && !strcmp(what, grow->kind->signature))
			return 0;
	}
	err_fail(ERR_POLICY, grow->path, "no file system that can grow is on it%s%s",
		 what ? ", but: " : "", what ? what : "");
	if (what)
		hint(grow, what);
	return ERR_POLICY;
}

static int check_program(const struct fsgrow *grow, const char *name)
{
	MEM_FREE char *program = name ? program_find(name) : NULL;

	return !name || program ? 0 : err_fail(ERR_FAILED, grow->path, "%s is needed for the %s",
					       name, grow->kind->signature);
}

static int check_kind(const struct fsgrow *grow)
{
	int ret = check_program(grow, grow->kind->words[0]);

	if (!ret && !grow->mount)
		ret = check_program(grow, grow->kind->offline[0]);
	if (!ret && grow->kind->mounted && !grow->mount)
		ret = err_fail(ERR_POLICY, grow->path, "the %s grows only while it is mounted",
			       grow->kind->signature);
	return ret;
}

int fsgrow_prepare(struct fsgrow *grow, const char *text)
{
	struct target target;
	struct device device;
	int ret = target_open(&target, text);

	memset(grow, 0, sizeof(*grow));
	if (!ret && !target.is_device && target.device)
		ret = err_fail(ERR_BUSY, text, "image is in use by device %s", target.device);
	else if (!ret && !target.is_device)
		ret = err_fail(ERR_POLICY, text, "--fs is for an attached device");
	if (!ret) {
		ret = device_get(target.device, &device);
		if (ret)
			ret = device_fail(ret, target.device);
	}
	if (!ret) {
		grow->path = mem_strdup(device.path);
		grow->mount = find_mount(device.path, makedev(device.dm.major, device.dm.minor));
		device_release(&device);
	}
	target_close(&target);
	if (!ret)
		ret = find_kind(grow);
	return ret ? ret : check_kind(grow);
}

/* What it says is for people: our stdout is for results. */
static int run(const struct fsgrow *grow, const char *const *words)
{
	MEM_FREE char *program = program_find(words[0]);
	char *args[MAX_WORDS + 1] = { NULL };
	int i, status = 0;
	pid_t pid;

	for (i = 0; i < MAX_WORDS && words[i]; i++)
		args[i] = strcmp(words[i], "DEVICE") ? strcmp(words[i], "MOUNT") ?
			  (char *)words[i] : grow->mount : grow->path;
	pid = fork();
	if (!pid) {
		dup2(err_is_quiet ? open("/dev/null", O_WRONLY) : STDERR_FILENO, STDOUT_FILENO);
		execv(program ? program : words[0], args);
		_exit(127);
	}
	if (pid > 0)
		waitpid(pid, &status, 0);
	/* e2fsck says 1 if it has mended something. */
	if (pid > 0 && WIFEXITED(status) &&
	    WEXITSTATUS(status) <= (strcmp(words[0], "e2fsck") ? 0 : 1))
		return 0;
	return err_fail(ERR_FAILED, grow->path, "the device has grown, but %s failed", words[0]);
}

int fsgrow_run(const struct fsgrow *grow)
{
	const struct fsgrow_kind *kind = grow->kind;
	int ret = 0;

	if (!grow->mount && kind->offline[0])
		ret = run(grow, kind->offline);
	return ret ? ret : run(grow, kind->words);
}

void fsgrow_release(struct fsgrow *grow)
{
	free(grow->path);
	free(grow->mount);
	memset(grow, 0, sizeof(*grow));
}
