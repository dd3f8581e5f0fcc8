// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Device mapper through libdevmapper.
 *
 * Waiting for udev must not be for ever. The event that ends it is sent by a
 * rule (95-dm-notify.rules) that calls dmsetup; where one of the two or udevd
 * itself is missing, libdevmapper is told to do without udev, and if the event
 * gets lost all the same, the wait has an end.
 */
#include <errno.h>
#include <libdevmapper.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include "dm.h"
#include "err.h"
#include "mem.h"

#define SETTLE_SECONDS	60
/* udev makes nothing of the device but a node. */
#define PRIVATE		(DM_UDEV_DISABLE_SUBSYSTEM_RULES_FLAG | DM_UDEV_DISABLE_DISK_RULES_FLAG | \
			 DM_UDEV_DISABLE_OTHER_RULES_FLAG | DM_UDEV_LOW_PRIORITY_FLAG)

static uint32_t cookie;
static bool is_set_up;

__attribute__((__format__(__printf__, 5, 6)))
static void log_line(int level, const char *file, int line, int error, const char *format, ...)
{
	MEM_FREE char *text = NULL;
	va_list args;

	(void)level, (void)file, (void)line, (void)error;
	if (!err_is_debug)
		return;
	va_start(args, format);
	if (vasprintf(&text, format, args) < 0)
		text = NULL;
	va_end(args);
	err_debug("libdevmapper: %s", text ? text : format);
}

static bool udevd_answers(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "/run/udev/control" };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int ret;

	if (fd < 0)
		return false;
	ret = connect(fd, (struct sockaddr *)&address, sizeof(address));
	if (ret && errno == EAGAIN)	/* busy, so it is there */
		ret = 0;
	close(fd);
	return !ret;
}

static bool exists_in(const char *const *folders, const char *name, int mode)
{
	for (; *folders; folders++) {
		MEM_FREE char *path = mem_printf("%s/%s", *folders, name);

		if (!access(path, mode))
			return true;
	}
	return false;
}

static bool udev_notifies(void)
{
	static const char *const rules[] = { "/etc/udev/rules.d", "/run/udev/rules.d",
					     "/usr/lib/udev/rules.d", "/lib/udev/rules.d", NULL };
	static const char *const programs[] = { "/usr/sbin", "/sbin", NULL };

	return udevd_answers() && exists_in(rules, "95-dm-notify.rules", F_OK) &&
	       exists_in(programs, "dmsetup", X_OK);
}

static void set_up(void)
{
	if (is_set_up)
		return;
	is_set_up = true;
	dm_log_with_errno_init(log_line);
	dm_set_name_mangling_mode(DM_STRING_MANGLING_NONE);
	if (!getenv("DM_DISABLE_UDEV") && !udev_notifies()) {
		err_debug("udev does not serve device mapper, nodes are made without it");
		dm_udev_set_sync_support(0);
	}
}

/* What it means if not even the control device could be asked. */
static int no_answer(void)
{
	return geteuid() ? -EACCES : -ENODEV;
}

/* A task for device @name (or none), or -errno in *@ret. */
static struct dm_task *new_task(int type, const char *name, int *ret)
{
	struct dm_task *task;

	set_up();
	/* It fails if the kernel does not answer with its version. */
	*ret = no_answer();
	task = dm_task_create(type);
	if (!task)
		return NULL;
	*ret = -ENXIO;	/* too long, or a path that is no device */
	if (name && !dm_task_set_name(task, name)) {
		dm_task_destroy(task);
		return NULL;
	}
	*ret = 0;
	return task;
}

static int run(struct dm_task *task)
{
	int error;

	if (dm_task_run(task))
		return 0;
	error = dm_task_get_errno(task);
	return error ? -error : no_answer();
}

static int set_cookie(struct dm_task *task, uint16_t more)
{
	uint16_t flags = dm_udev_get_sync_support() ? DM_UDEV_DISABLE_LIBRARY_FALLBACK : 0;

	return dm_task_set_cookie(task, &cookie, flags | more) ? 0 : -EIO;
}

/* ------------------------------------------------------------------------
 * Questions
 */

static void read_first_target(struct dm_task *task, struct dm_device *device, char **params)
{
	uint64_t start, length;
	char *type, *text;
	void *next = NULL;

	device->sectors = 0;
	do {
		bool first = !next;

		next = dm_get_next_target(task, next, &start, &length, &type, &text);
		if (!type)
			return;
		device->sectors = start + length;
		if (first) {
			free(device->target);
			device->target = mem_strdup(type);
			*params = mem_strdup(text ? text : "");
		}
	} while (next);
}

static int read_info(struct dm_task *task, struct dm_device *device)
{
	struct dm_info info;

	if (!dm_task_get_info(task, &info))
		return -EIO;
	if (!info.exists)
		return -ENXIO;
	device->name = mem_strdup(dm_task_get_name(task));
	device->uuid = mem_strdup(dm_task_get_uuid(task));
	device->major = info.major;
	device->minor = info.minor;
	device->open_count = info.open_count;
	device->event_number = info.event_nr;
	device->live = info.live_table;
	device->inactive = info.inactive_table;
	device->suspended = info.suspended;
	device->readonly = info.read_only;
	device->deferred = info.deferred_remove;
	return 0;
}

/* Ask by name, or by number if @name is NULL. */
static int ask(int type, const char *name, unsigned int major, unsigned int minor,
	       struct dm_task **task)
{
	int ret;

	*task = new_task(type, name, &ret);
	if (ret)
		return ret;
	if (!name && (!dm_task_set_major(*task, major) || !dm_task_set_minor(*task, minor)))
		ret = -ENOMEM;
	/* A status for looking at must not make the target write anything. */
	if (!ret && !dm_task_no_flush(*task))
		ret = -ENOMEM;
	return ret ? ret : run(*task);
}

/*
 * A target that answers by a worker which its suspend has stopped: whoever asks waits for the resume,
 * and cannot be killed.
 */
static bool answers(const struct dm_device *device)
{
	return !device->suspended || !device->target || strcmp(device->target, "era");
}

static int query(const char *name, unsigned int major, unsigned int minor, struct dm_device *device)
{
	struct dm_task *task = NULL;
	int ret;

	memset(device, 0, sizeof(*device));
	ret = ask(DM_DEVICE_TABLE, name, major, minor, &task);
	if (!ret)
		ret = read_info(task, device);
	if (!ret)
		read_first_target(task, device, &device->table);
	if (task)
		dm_task_destroy(task);
	if (ret || !answers(device))
		return ret;
	task = NULL;
	ret = ask(DM_DEVICE_STATUS, NULL, device->major, device->minor, &task);
	if (!ret)
		read_first_target(task, device, &device->status);
	if (task)
		dm_task_destroy(task);
	return ret;
}

int dm_query(const char *name, struct dm_device *device)
{
	return query(name, 0, 0, device);
}

int dm_query_number(unsigned int major, unsigned int minor, struct dm_device *device)
{
	return query(NULL, major, minor, device);
}

void dm_release(struct dm_device *device)
{
	free(device->name);
	free(device->uuid);
	free(device->target);
	free(device->table);
	free(device->status);
	memset(device, 0, sizeof(*device));
}

int dm_names(char ***names)
{
	struct dm_names *entry;
	struct dm_task *task;
	int ret;

	*names = NULL;
	task = new_task(DM_DEVICE_LIST, NULL, &ret);
	if (!ret)
		ret = run(task);
	entry = ret ? NULL : dm_task_get_names(task);
	while (entry && entry->dev) {
		mem_add_string(names, mem_strdup(entry->name));
		entry = entry->next ? (struct dm_names *)((char *)entry + entry->next) : NULL;
	}
	if (task)
		dm_task_destroy(task);
	return ret;
}

int dm_target_version(const char *target, unsigned int version[3])
{
	struct dm_versions *entry;
	struct dm_task *task;
	int ret;

	task = new_task(DM_DEVICE_LIST_VERSIONS, NULL, &ret);
	if (!ret)
		ret = run(task);
	entry = ret ? NULL : dm_task_get_versions(task);
	ret = ret ? ret : -ENOENT;
	while (entry) {
		if (!strcmp(entry->name, target)) {
			version[0] = entry->version[0];
			version[1] = entry->version[1];
			version[2] = entry->version[2];
			ret = 0;
			break;
		}
		entry = entry->next ? (struct dm_versions *)((char *)entry + entry->next) : NULL;
	}
	if (task)
		dm_task_destroy(task);
	return ret;
}

/* ------------------------------------------------------------------------
 * Changes
 */

/* Run a task that is complete; it is destroyed in any case. */
static int finish(struct dm_task *task, int ret)
{
	if (!ret)
		ret = run(task);
	if (task)
		dm_task_destroy(task);
	return ret;
}

int dm_create(const char *name, const char *uuid)
{
	struct dm_task *task;
	int ret;

	task = new_task(DM_DEVICE_CREATE, name, &ret);
	if (!ret && !dm_task_set_uuid(task, uuid))
		ret = -EINVAL;
	return finish(task, ret);
}

int dm_load(const char *name, const char *target, u64 sectors, const char *params, bool readonly)
{
	struct dm_task *task;
	int ret;

	err_debug("load %s: 0 %llu %s %s%s", name, (unsigned long long)sectors, target, params,
		  readonly ? " (read-only)" : "");
	task = new_task(DM_DEVICE_RELOAD, name, &ret);
	if (!ret && (!dm_task_add_target(task, 0, sectors, target, params) ||
		     (readonly && !dm_task_set_ro(task))))
		ret = -ENOMEM;
	return finish(task, ret);
}

int dm_resume(const char *name)
{
	struct dm_task *task;
	int ret;

	task = new_task(DM_DEVICE_RESUME, name, &ret);
	if (!ret && !dm_task_set_add_node(task, DM_ADD_NODE_ON_RESUME))
		ret = -EINVAL;
	if (!ret)
		ret = set_cookie(task, 0);
	return finish(task, ret);
}

int dm_resume_only(const char *name)
{
	struct dm_task *task;
	int ret;

	task = new_task(DM_DEVICE_RESUME, name, &ret);
	if (!ret && !dm_task_set_add_node(task, DM_ADD_NODE_ON_CREATE))
		ret = -EINVAL;
	return finish(task, ret);
}

int dm_resume_private(const char *name)
{
	struct dm_task *task;
	int ret;

	task = new_task(DM_DEVICE_RESUME, name, &ret);
	if (!ret && !dm_task_set_add_node(task, DM_ADD_NODE_ON_CREATE))
		ret = -EINVAL;
	if (!ret)
		ret = set_cookie(task, PRIVATE);
	return finish(task, ret);
}

void dm_prepare(void)
{
	set_up();
	/* It reads random numbers for its name. */
	if (!cookie && dm_udev_get_sync_support())
		dm_udev_create_cookie(&cookie);
}

void dm_make_node(const char *name)
{
	if (!dm_udev_get_sync_support())
		dm_mknodes(name);
}

int dm_swap(const char *name, bool freeze)
{
	struct dm_task *task;
	int ret;

	task = new_task(DM_DEVICE_RESUME, name, &ret);
	if (!ret && (!dm_task_set_add_node(task, DM_ADD_NODE_ON_CREATE) ||
		     (!freeze && !dm_task_skip_lockfs(task))))
		ret = -EINVAL;
	return finish(task, ret);
}

int dm_suspend(const char *name, bool freeze, bool flush)
{
	struct dm_task *task;
	int ret;

	task = new_task(DM_DEVICE_SUSPEND, name, &ret);
	if (!ret && ((!freeze && !dm_task_skip_lockfs(task)) || (!flush && !dm_task_no_flush(task))))
		ret = -EINVAL;
	return finish(task, ret);
}

int dm_rename(const char *name, const char *other)
{
	struct dm_task *task;
	int ret;

	task = new_task(DM_DEVICE_RENAME, name, &ret);
	if (!ret && !dm_task_set_newname(task, other))
		ret = -EINVAL;
	if (!ret)
		ret = set_cookie(task, PRIVATE);
	return finish(task, ret);
}

int dm_clear(const char *name)
{
	struct dm_task *task;
	int ret;

	task = new_task(DM_DEVICE_CLEAR, name, &ret);
	return finish(task, ret);
}

int dm_message(const char *name, const char *text)
{
	struct dm_task *task;
	int ret;

	task = new_task(DM_DEVICE_TARGET_MSG, name, &ret);
	if (!ret && (!dm_task_set_sector(task, 0) || !dm_task_set_message(task, text)))
		ret = -ENOMEM;
	return finish(task, ret);
}

int dm_remove(const char *name, bool deferred)
{
	struct dm_task *task;
	int ret;

	task = new_task(DM_DEVICE_REMOVE, name, &ret);
	if (!ret && deferred && !dm_task_deferred_remove(task))
		ret = -EINVAL;
	if (!ret)
		ret = set_cookie(task, 0);
	return finish(task, ret);
}

/* Has udev sent every event? Then the cookie is gone. */
static bool settled(void)
{
	int ready = 0;

	return !dm_udev_wait_immediate(cookie, &ready) || ready;
}

void dm_settle(void)
{
	struct timespec pause = { .tv_nsec = 1000000 };
	time_t end = time(NULL) + SETTLE_SECONDS;
	int missing;

	while (cookie && !settled()) {
		if (time(NULL) < end) {
			nanosleep(&pause, NULL);
			if (pause.tv_nsec < 16000000)
				pause.tv_nsec *= 2;
			continue;
		}
		err_warn(NULL, "udev did not answer within %d seconds", SETTLE_SECONDS);
		for (missing = 0; missing < 1000 && !settled(); missing++)
			dm_udev_complete(cookie);
		dm_mknodes(NULL);
		break;
	}
	cookie = 0;
	dm_task_update_nodes();
}
