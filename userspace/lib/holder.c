// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Users of devices and locks, from /proc and /sys.
 *
 * A mount that another namespace has is in no mountinfo of ours, so one
 * process of every mount namespace is asked. A lock of an open file
 * description has no pid; it is found at the descriptor that it belongs to,
 * in /proc/<pid>/fdinfo.
 */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <libmount/libmount.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "holder.h"
#include "mem.h"
#include "text.h"

static bool is_one_of(dev_t device, const dev_t *devices, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++) {
		if (devices[i] == device)
			return true;
	}
	return false;
}

/* Add @raw, which is ours then, unless it is there. */
static void add(char ***holders, char *raw)
{
	char *text = text_printable(raw);
	size_t i;

	free(raw);
	for (i = 0; *holders && (*holders)[i]; i++) {
		if (!strcmp((*holders)[i], text)) {
			free(text);
			return;
		}
	}
	mem_add_string(holders, text);
}

/* The next pid in /proc; 0 at the end. */
static pid_t next_pid(DIR *proc)
{
	struct dirent *entry;

	while ((entry = readdir(proc))) {
		if (isdigit((unsigned char)*entry->d_name))
			return atoi(entry->d_name);
	}
	return 0;
}

static char *process_name(pid_t pid)
{
	MEM_FREE char *path = mem_printf("/proc/%d/comm", pid);
	MEM_FREE char *name = text_first_line(path);

	return mem_printf("%s (pid %d)", name ? name : "process", pid);
}

/* ------------------------------------------------------------------------
 * Mounts
 */

/* A filesystem such as btrfs has a device number of its own: look at its source too. */
static bool is_mount_of(struct libmnt_fs *fs, const dev_t *devices, size_t count)
{
	const char *source = mnt_fs_get_srcpath(fs);
	struct stat st;

	if (is_one_of(mnt_fs_get_devno(fs), devices, count))
		return true;
	return source && !strncmp(source, "/dev/", 5) && !stat(source, &st) &&
	       S_ISBLK(st.st_mode) && is_one_of(st.st_rdev, devices, count);
}

/* The mounts that process @pid sees; 0 = we. */
static void mounts_of(pid_t pid, const dev_t *devices, size_t count, char ***holders)
{
	MEM_FREE char *path = pid ? mem_printf("/proc/%d/mountinfo", pid) :
				    mem_strdup("/proc/self/mountinfo");
	MEM_FREE char *where = pid ? mem_printf(" (mount namespace of pid %d)", pid) :
				     mem_strdup("");
	struct libmnt_table *table = mnt_new_table_from_file(path);
	struct libmnt_iter *iter = mnt_new_iter(MNT_ITER_FORWARD);
	struct libmnt_fs *fs;

	while (table && iter && !mnt_table_next_fs(table, iter, &fs)) {
		if (is_mount_of(fs, devices, count))
			add(holders, mem_printf("mounted on %s%s", mnt_fs_get_target(fs), where));
	}
	mnt_free_iter(iter);
	mnt_unref_table(table);
}

static void swaps_of(const dev_t *devices, size_t count, char ***holders)
{
	struct libmnt_table *table = mnt_new_table();
	struct libmnt_iter *iter = mnt_new_iter(MNT_ITER_FORWARD);
	struct libmnt_fs *fs;
	struct stat st;

	if (table && iter && !mnt_table_parse_swaps(table, NULL)) {
		while (!mnt_table_next_fs(table, iter, &fs)) {
			if (mnt_fs_get_source(fs) && !stat(mnt_fs_get_source(fs), &st) &&
			    S_ISBLK(st.st_mode) && is_one_of(st.st_rdev, devices, count))
				add(holders, mem_strdup("used as swap"));
		}
	}
	mnt_free_iter(iter);
	mnt_unref_table(table);
}

static ino_t namespace_of(const char *process)
{
	MEM_FREE char *path = mem_printf("/proc/%s/ns/mnt", process);
	struct stat st;

	return stat(path, &st) ? 0 : st.st_ino;
}

void holder_mounts(const dev_t *devices, size_t count, char ***holders)
{
	DIR *proc = opendir("/proc");
	ino_t *seen = NULL, space;
	size_t nr_seen = 0, i;
	pid_t pid;

	mounts_of(0, devices, count, holders);
	swaps_of(devices, count, holders);
	seen = mem_grow(seen, nr_seen, sizeof(*seen));
	seen[nr_seen++] = namespace_of("self");
	while (proc && (pid = next_pid(proc))) {
		MEM_FREE char *process = mem_printf("%d", pid);

		space = namespace_of(process);
		for (i = 0; i < nr_seen && seen[i] != space; i++)
			;
		if (!space || i < nr_seen)
			continue;
		seen = mem_grow(seen, nr_seen, sizeof(*seen));
		seen[nr_seen++] = space;
		mounts_of(pid, devices, count, holders);
	}
	if (proc)
		closedir(proc);
	free(seen);
}

/* ------------------------------------------------------------------------
 * Other block devices
 */

/* A kernel device as people know it: dm devices by their name. */
static char *device_name(const char *kernel_name)
{
	MEM_FREE char *path = mem_printf("/sys/block/%s/dm/name", kernel_name);
	char *name = text_first_line(path);

	return name ? name : mem_strdup(kernel_name);
}

static void loops_over(dev_t device, char ***holders)
{
	DIR *block = opendir("/sys/block");
	struct dirent *entry;
	struct stat st;

	while (block && (entry = readdir(block))) {
		MEM_FREE char *path = mem_printf("/sys/block/%s/loop/backing_file", entry->d_name);
		MEM_FREE char *file = strncmp(entry->d_name, "loop", 4) ? NULL : text_first_line(path);

		if (file && !stat(file, &st) && S_ISBLK(st.st_mode) && st.st_rdev == device)
			add(holders, mem_printf("held by device %s", entry->d_name));
	}
	if (block)
		closedir(block);
}

void holder_devices(dev_t device, char ***holders)
{
	MEM_FREE char *path =
		mem_printf("/sys/dev/block/%u:%u/holders", major(device), minor(device));
	struct dirent *entry;
	DIR *folder = opendir(path);

	while (folder && (entry = readdir(folder))) {
		MEM_FREE char *name = *entry->d_name == '.' ? NULL : device_name(entry->d_name);

		if (name)
			add(holders, mem_printf("held by device %s", name));
	}
	if (folder)
		closedir(folder);
	loops_over(device, holders);
}

/* ------------------------------------------------------------------------
 * Processes
 */

/* Call @visit for every descriptor of every process until it says true; that process or 0. */
static pid_t find_descriptor(bool (*visit)(pid_t pid, const char *fd, const void *data),
			     const void *data)
{
	DIR *proc = opendir("/proc"), *folder;
	struct dirent *entry;
	pid_t pid = 0;
	bool found = false;

	while (proc && !found && (pid = next_pid(proc))) {
		MEM_FREE char *path = mem_printf("/proc/%d/fd", pid);

		folder = opendir(path);
		while (folder && !found && (entry = readdir(folder))) {
			if (*entry->d_name != '.' && pid != getpid())
				found = visit(pid, entry->d_name, data);
		}
		if (folder)
			closedir(folder);
	}
	if (proc)
		closedir(proc);
	return found ? pid : 0;
}

struct device_search {
	const dev_t *devices;
	size_t count;
	char ***holders;
};

static bool visit_device(pid_t pid, const char *fd, const void *data)
{
	const struct device_search *search = data;
	MEM_FREE char *path = mem_printf("/proc/%d/fd/%s", pid, fd);
	MEM_FREE char *name = NULL;
	struct stat st;

	if (!stat(path, &st) && S_ISBLK(st.st_mode) &&
	    is_one_of(st.st_rdev, search->devices, search->count)) {
		name = process_name(pid);
		add(search->holders, mem_printf("open in %s", name));
	}
	return false;
}

void holder_processes(const dev_t *devices, size_t count, char ***holders)
{
	const struct device_search search = { devices, count, holders };

	find_descriptor(visit_device, &search);
}

struct byte_search {
	const struct stat *file;
	unsigned int byte;
};

/* Is @line one of fdinfo's locks, "lock:\t1: OFDLCK  ADVISORY  READ -1 08:01:17 100 101", on @byte? */
static bool is_lock_on(const char *line, unsigned int byte)
{
	unsigned long long first, last;
	char end[32];

	if (strncmp(line, "lock:", 5) ||
	    sscanf(line, "lock: %*s %*s %*s %*s %*s %*s %llu %31s", &first, end) != 2)
		return false;
	last = strcmp(end, "EOF") ? strtoull(end, NULL, 10) : ULLONG_MAX;
	return first <= byte && byte <= last;
}

static bool visit_byte(pid_t pid, const char *fd, const void *data)
{
	const struct byte_search *search = data;
	MEM_FREE char *path = mem_printf("/proc/%d/fd/%s", pid, fd);
	MEM_FREE char *info = mem_printf("/proc/%d/fdinfo/%s", pid, fd);
	bool found = false;
	struct stat st;
	char *line = NULL;
	size_t size = 0;
	FILE *file;

	if (stat(path, &st) || st.st_dev != search->file->st_dev ||
	    st.st_ino != search->file->st_ino)
		return false;
	file = fopen(info, "re");
	while (file && !found && getline(&line, &size, file) >= 0)
		found = is_lock_on(line, search->byte);
	if (file)
		fclose(file);
	free(line);
	return found;
}

char *holder_of_byte(const struct stat *file, unsigned int byte)
{
	const struct byte_search search = { file, byte };
	pid_t pid = find_descriptor(visit_byte, &search);

	return pid ? process_name(pid) : NULL;
}
