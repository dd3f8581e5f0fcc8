// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Resume what was left suspended. NAME.intent says that it was an edit that
 * suspended the device; whoever else did had a reason that is not ours to judge. NAME.frozen.intent is
 * what a backup has left (backup_point.h). NAME.lock that nobody holds is what an attach, or any other work, has;
 * NAME.mount (run.h) what mount.qcow2 has.
 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "attach.h"
#include "backup.h"
#include "detach.h"
#include "device.h"
#include "err.h"
#include "guard.h"
#include "interpose.h"
#include "mem.h"
#include "move.h"
#include "recover.h"
#include "run.h"
#include "text.h"

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Names that have a file with this suffix in a folder, in order, NULL-terminated, for mem_free_strings(). */
static char **find_names(const char *folder, const char *suffix)
{
	size_t tail = strlen(suffix), len;
	DIR *dir = opendir(folder);
	struct dirent *entry;
	char **names = NULL;
	size_t count = 0;

	while (dir && (entry = readdir(dir))) {
		len = strlen(entry->d_name);
		if (len <= tail || strcmp(entry->d_name + len - tail, suffix))
			continue;
		mem_add_string(&names, mem_strndup(entry->d_name, len - tail));
		count++;
	}
	if (count)
		qsort(names, count, sizeof(*names), by_name);
	if (dir)
		closedir(dir);
	return names;
}

static int resume(const char *name, const struct guard_line *line)
{
	int ret = guard_rescue(name, line);

	if (ret)
		return guard_fail_rescue(name, ret);
	ret = guard_fit(name, line);
	if (line->moves && guard_has_moved(name, line))
		move_mark(line->moves, line->state);
	return ret ? err_errno_what(-ret, name, "cannot give the device the length of its disk") : 0;
}

/* Under its lock: whoever wrote the intent is not there any more. */
static int recover_locked(const char *name)
{
	struct guard_line line;
	struct dm_device dm;
	bool stays;
	int ret = guard_read_intent(name, &line);

	if (ret) {
		guard_release_line(&line);
		return ret == -ENOENT ? 0 : err_errno_what(-ret, name, "cannot read what was begun");
	}
	ret = dm_query(name, &dm);
	stays = !ret && dm.suspended;
	dm_release(&dm);
	/* Removed meanwhile, or its machine was: parts of it may be left. */
	ret = ret && ret != -ENXIO ? device_fail(ret, name) : resume(name, &line);
	if (!ret) {
		guard_drop_overlay(name, &line);
		guard_forget_intent(name, &line);
		if (stays)
			err_note("resumed %s", name);
	}
	guard_release_line(&line);
	return ret;
}

static int recover(const char *name)
{
	int lock, ret;

	ret = run_lock(name, 0, &lock);

	if (ret)
		return ret;
	ret = recover_locked(name);
	run_unlock(name, lock);
	return ret;
}

/* ------------------------------------------------------------------------
 * After a reboot
 */

/* Which of the two images counts after a move that was cut off? */
static void tell_move(const char *name, const struct guard_line *line, const char *image)
{
	MEM_FREE char *dest = text_printable(line->state), *source = text_printable(line->moves);

	if (line->turned)
		err_note("%s: the machine went down when it had moved to %s; that image counts", name, dest);
	else
		err_note("%s: the machine went down while it moved to %s; the old image %s counts", name,
			 dest, source);
	if (line->turned)
		move_mark(image, line->state);
}

/* By dm-clone: some of the disk is here, some there, and its state says what. */
static void tell_clone(const char *name, const struct guard_line *line)
{
	MEM_FREE char *dest = text_printable(line->state), *source = text_printable(line->moves);
	MEM_FREE char *path = guard_clone_path(name, line);
	MEM_FREE char *state = text_printable(path);

	err_warn(name, "the machine went down while dm-clone moved it: part of its disk is in %s, the rest in %s",
		 dest, source);
	err_hint("keep both, and %s, which says what is where", state);
}

/*
 * No device is left of what was edited then, and an edit that is cut off leaves a whole image; but an
 * overlay perhaps that was to go on top. @image: beside which the copy is, or NULL.
 */
static void forget_copy(const char *name, const char *copy, const char *image)
{
	MEM_FREE char *shown = text_printable(copy);
	struct guard_line line;
	bool goes = guard_is_stale(copy, &line) && (!image || guard_is_about(&line, image));

	if (goes && line.moves && line.state && line.next) {
		tell_clone(name, &line);
		goes = false;
	} else if (goes && line.moves && line.state) {
		tell_move(name, &line, image ? image : line.moves);
	} else if (goes) {
		err_note("%s: the machine went down during an edit; the image is what it was before, or after it",
			 name);
	}
	if (goes)
		guard_drop_overlay(name, &line);
	guard_release_line(&line);
	if (goes && unlink(copy))
		err_warn(name, "cannot remove %s: %s", shown, strerror(errno));
}

static void forget_copy_of(const struct device *device)
{
	MEM_FREE char *copy = device->image ? guard_copy_path(device->dm.name, device->image) : NULL;

	if (copy)
		forget_copy(device->dm.name, copy, device->image);
}

static void forget_copies(void)
{
	char **names = find_names(GUARD_STATE_FOLDER, ".intent"), **next;
	struct device *devices;
	size_t count, i;

	for (next = names; next && *next; next++) {
		MEM_FREE char *copy = mem_printf(GUARD_STATE_FOLDER "/%s.intent", *next);

		forget_copy(*next, copy, NULL);
	}
	mem_free_strings(names);
	if (device_list(&devices, &count))
		return;
	for (i = 0; i < count; i++)
		forget_copy_of(&devices[i]);
	device_release_list(devices, count);
}

/* A layer went with the machine, and its state, which nobody had named, did not. */
static void find_states(const struct device *device)
{
	const char *layer;
	struct stat st;
	size_t i;

	if (!device->image || device->layer)
		return;
	for (i = 0; (layer = interpose_with_state(i)); i++) {
		MEM_FREE char *path = interpose_default_state(device, layer);
		MEM_FREE char *shown = text_printable(path);

		if (stat(path, &st) || !S_ISREG(st.st_mode))
			continue;
		if (!strcmp(layer, "clone")) {
			err_warn(device->dm.name,
				 "it has no layer clone any more: part of its disk may be where that brought it");
			err_hint("keep both, and %s, which says what is where", shown);
			continue;
		}
		err_note("%s: it has no layer %s any more, and %s is of no use now", device->dm.name, layer,
			 shown);
		err_hint("remove that file");
	}
}

/* Of a backup that ended with the machine nobody knows but the image. One that has no path now is not looked at. */
static int find_snapshot(const struct device *device)
{
	MEM_FREE char *frozen = mem_printf("%s.frozen", device->dm.name);

	if (!device->image || access(device->image, R_OK) || run_is_locked(frozen))
		return 0;
	return backup_recover(device->dm.name);
}

/* What a machine that went down has left of the devices that are there. */
static int find_what_is_left(void)
{
	struct device *devices;
	int ret = 0, error;
	size_t count, i;

	if (device_list(&devices, &count))
		return 0;
	for (i = 0; i < count; i++) {
		find_states(&devices[i]);
		error = find_snapshot(&devices[i]);
		if (!ret)
			ret = error;
	}
	device_release_list(devices, count);
	return ret;
}

/*
 * An attach that was killed has its lock file left, and perhaps a device without a table. A file that
 * somebody holds is left alone: he is at work.
 */
static int sweep(void)
{
	char **names = find_names(RUN_FOLDER, ".lock"), **next;
	int ret = 0, error, lock;

	for (next = names; next && *next; next++) {
		if (run_is_locked(*next) || run_lock(*next, 0, &lock))
			continue;
		error = attach_clear_remains(*next);
		run_unlock(*next, lock);
		if (!ret)
			ret = error;
	}
	mem_free_strings(names);
	return ret;
}

/* A mount that was killed had a device that was to go with its last user: it does now. */
static int finish_mount(const char *name)
{
	struct dm_device dm;
	int ret = 0, fd = run_lost_mount(name);

	if (fd < 0)
		return 0;
	if (!dm_query(name, &dm)) {
		ret = detach_device(name, true, 0);
		if (!ret)
			err_note("%s: detached what a mount that was killed had left", name);
	}
	dm_release(&dm);
	if (ret)
		close(fd);
	else
		run_forget_mount(name, fd);
	return ret;
}

static int finish_mounts(void)
{
	char **names = find_names(RUN_FOLDER, ".mount"), **next;
	int ret = 0, error;

	for (next = names; next && *next; next++) {
		error = finish_mount(*next);
		if (!ret)
			ret = error;
	}
	mem_free_strings(names);
	return ret;
}

/* ------------------------------------------------------------------------
 * One, or all
 */

/* NAME for "NAME.frozen", which a backup has left; or NULL. For the caller to free. */
static char *backed_up(const char *name)
{
	const char *end = strrchr(name, '.');

	return end && !strcmp(end, ".frozen") ? mem_strndup(name, end - name) : NULL;
}

/* A device that is gone may have left the intent of an edit, and an overlay. */
static int recover_gone(const char *name, int error)
{
	struct guard_line line;
	int ret = guard_read_intent(name, &line);

	guard_release_line(&line);
	return ret ? device_fail(error, name) : recover(name);
}

static int recover_one(const char *name)
{
	struct device device;
	int ret = device_get(name, &device);

	if (ret)
		return recover_gone(name, ret);
	forget_copy_of(&device);
	device_release(&device);
	ret = recover(name);
	if (!ret)
		ret = backup_recover(name);
	if (!ret && !device_get(name, &device))
		find_states(&device);
	device_release(&device);
	return ret ? ret : finish_mount(name);
}

/* What one that goes on has is not left behind. */
static int recover_backup(const char *name)
{
	MEM_FREE char *backup = backed_up(name);

	return run_is_locked(name) ? 0 : backup_recover(backup);
}

int recover_devices(const char *name)
{
	char **names, **next;
	int ret = 0, error, pass;

	if (name)
		return recover_one(name);
	names = find_names(RUN_FOLDER, ".intent");
	/* A backup's snapshot can be deleted when the device runs. */
	for (pass = 0; pass < 2; pass++) {
		for (next = names; next && *next; next++) {
			MEM_FREE char *backup = backed_up(*next);

			if (!!backup != pass)
				continue;
			error = backup ? recover_backup(*next) : recover(*next);
			if (!ret)
				ret = error;
		}
	}
	mem_free_strings(names);
	/* Beside the images, one of which may lie on a device that was suspended. */
	forget_copies();
	error = sweep();
	if (!ret)
		ret = error;
	error = finish_mounts();
	if (!ret)
		ret = error;
	error = find_what_is_left();
	return ret ? ret : error;
}
