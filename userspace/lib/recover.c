// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Resume what was left suspended. NAME.intent says that it was an edit that
 * suspended the device; whoever else did had a reason that is not ours to judge.
 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "device.h"
#include "err.h"
#include "guard.h"
#include "mem.h"
#include "recover.h"
#include "run.h"

static int resume(const char *name, const struct guard_line *line)
{
	int ret = guard_rescue(name, line);

	return ret ? err_errno_what(-ret, name, "cannot resume the device") : 0;
}

/* Under its lock: whoever wrote the intent is not there any more. */
static int recover_locked(const char *name)
{
	struct guard_line line;
	struct dm_device dm;
	bool stays;
	int ret = guard_read_intent(name, &line);

	if (ret == -ENOENT)
		return 0;
	if (ret)
		return err_errno_what(-ret, name, "cannot read what was begun");
	ret = dm_query(name, &dm);
	stays = !ret && dm.suspended;
	dm_release(&dm);
	/* Removed meanwhile, or its machine was: parts of it may be left. */
	ret = ret && ret != -ENXIO ? device_fail(ret, name) : resume(name, &line);
	if (!ret) {
		guard_forget_intent(name);
		if (stays)
			err_note("resumed %s", name);
	}
	guard_release_line(&line);
	return ret;
}

static int recover(const char *name)
{
	int lock, ret = run_lock(name, 0, &lock);

	if (ret)
		return ret;
	ret = recover_locked(name);
	run_unlock(name, lock);
	return ret;
}

/* Names that have an intent, NULL-terminated, for mem_free_strings(). */
static char **find_intents(void)
{
	static const char suffix[] = ".intent";
	DIR *dir = opendir(RUN_FOLDER);
	char **names = NULL;
	struct dirent *entry;
	size_t len;

	while (dir && (entry = readdir(dir))) {
		len = strlen(entry->d_name);
		if (len >= sizeof(suffix) && !strcmp(entry->d_name + len - sizeof(suffix) + 1, suffix))
			mem_add_string(&names, mem_strndup(entry->d_name, len - sizeof(suffix) + 1));
	}
	if (dir)
		closedir(dir);
	return names;
}

static int recover_one(const char *name)
{
	struct device device;
	int ret = device_get(name, &device);

	if (ret)
		return device_fail(ret, name);
	device_release(&device);
	return recover(name);
}

int recover_devices(const char *name)
{
	char **names, **next;
	int ret = 0, error;

	if (name)
		return recover_one(name);
	names = find_intents();
	for (next = names; next && *next; next++) {
		error = recover(*next);
		if (!ret)
			ret = error;
	}
	mem_free_strings(names);
	return ret;
}
