// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Take a layer out, and list those that there are.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "cli.h"
#include "err.h"
#include "guard.h"
#include "holder.h"
#include "interpose.h"
#include "kmsg.h"
#include "loop.h"
#include "mem.h"
#include "out.h"
#include "text.h"

#define MEMORY	(4U << 20)

struct remove {
	const struct interpose_request *request;
	char *real, *frozen;	/* names */
	char *handover;
	bool holds;		/* it may hold writes back for a leg that failed */
};

unsigned int interpose_seconds(const struct interpose_request *request)
{
	return request->timeout == CLI_UNSET || !request->timeout ? GUARD_SECONDS :
								    (unsigned int)request->timeout;
}

/* ------------------------------------------------------------------------
 * The state of a layer, found again
 */

/* The file under a loop device that @table names; *@own: and it is ours. */
static char *find_in_table(const char *table, bool *own)
{
	MEM_FREE char *words = mem_strdup(table ? table : "");
	unsigned int major, minor;
	char *rest = words, *word, *path;
	int end;

	while ((word = strsep(&rest, " "))) {
		end = 0;
		if (sscanf(word, "%u:%u%n", &major, &minor, &end) != 2 || word[end])
			continue;
		path = loop_file(makedev(major, minor), own);
		if (path)
			return path;
	}
	*own = false;
	return NULL;
}

char *interpose_find_state(const struct dm_device *dm, bool *own)
{
	MEM_FREE char *name = mem_printf("%s.frozen", dm->name);
	char *path = find_in_table(dm->table, own);
	struct dm_device frozen;

	if (path)
		return path;
	if (!dm_query(name, &frozen))
		path = find_in_table(frozen.table, own);
	dm_release(&frozen);
	return path;
}

/* ------------------------------------------------------------------------
 * All that can fail
 */

static int refuse_frozen(const struct dm_device *frozen)
{
	dev_t number = makedev(frozen->major, frozen->minor);
	char **holders = NULL;
	int ret;

	holder_mounts(&number, 1, &holders);
	holder_devices(number, &holders);
	holder_processes(&number, 1, &holders);
	ret = err_fail(ERR_BUSY, frozen->name, "the point in time is in use: %s",
		       holders ? holders[0] : "it is open");
	mem_free_strings(holders);
	return ret;
}

/* Without the layer it would show what is written from then on. */
static int remove_frozen(const struct remove *re)
{
	struct dm_device frozen;
	int ret = dm_query(re->frozen, &frozen);

	/* A view of a snapshot is no part of the layer. */
	if (ret == -ENXIO || (!ret && frozen.target && !strcmp(frozen.target, DEVICE_TARGET))) {
		dm_release(&frozen);
		return 0;
	}
	if (!ret && frozen.open_count)
		ret = refuse_frozen(&frozen);
	else if (!ret)
		ret = dm_remove(re->frozen, false);
	dm_settle();
	if (ret == -EBUSY)
		ret = refuse_frozen(&frozen);
	else if (ret < 0)
		ret = device_fail(ret, re->frozen);
	dm_release(&frozen);
	return ret;
}

static int load(const struct device *device)
{
	const struct dm_device *dm = &device->dm;
	MEM_FREE char *line = table_format(&device->table);
	int log = kmsg_open();
	int ret = dm_load(dm->name, DEVICE_TARGET, dm->sectors, line, dm->readonly);
	MEM_FREE char *sentence = kmsg_sentence(log, dm->major, dm->minor);
	MEM_FREE char *shown = sentence ? text_printable(sentence) : NULL;

	if (!ret)
		return 0;
	return err_fail(err_code(-ret), dm->name, "the kernel refuses the table: %s",
			shown ? shown : strerror(-ret));
}

static int prepare(const struct device *device, void *data)
{
	struct remove *re = data;
	int ret;

	if (!device->layer)
		return err_fail(ERR_NOT_FOUND, device->dm.name, "it has no layer");
	dm_prepare();
	/* At any time: a leg may fail just now. What is held back goes to the image then. */
	re->holds = !strcmp(device->dm.target, "mirror");
	if (!device->dm.readonly)
		re->handover = mem_printf("handover %s", device->number);
	ret = load(device);
	if (!ret)
		ret = remove_frozen(re);
	return ret;
}

/* ------------------------------------------------------------------------
 * The change
 */

static int apply(const struct device *device, void *data)
{
	const struct remove *re = data;
	const char *name = device->dm.name;
	int ret = guard_halt(name, false, !re->holds);

	if (!ret)
		ret = guard_halt(re->real, false, true);
	if (ret)
		return ret;
	ret = interpose_is_parked(re->real, !device->dm.readonly);
	if (!ret && re->handover)
		ret = dm_message(re->real, re->handover);
	if (!ret)
		ret = dm_resume_only(name);
	return ret ? err_errno_what(-ret, name, "the image does not come to life") : 0;
}

int interpose_remove(const struct interpose_request *request)
{
	struct remove re = { .request = request };
	struct guard_request guard = {
		.layered = true,
		.seconds = interpose_seconds(request),
		.memory = MEMORY,
	};
	struct guard_change change = { prepare, apply, &re };
	MEM_FREE char *state = NULL;
	struct device device;
	bool own;
	int ret = device_get(request->name, &device);

	if (ret)
		return device_fail(ret, request->name);
	re.real = mem_printf("%s.real", request->name);
	re.frozen = mem_printf("%s.frozen", request->name);
	state = device.layer ? interpose_find_state(&device.dm, &own) : NULL;
	guard.state = state && own ? state : NULL;
	ret = device.layer ? guard_change(request->name, &guard, &change) :
			     err_fail(ERR_NOT_FOUND, request->name, "it has no layer");
	device_release(&device);
	dm_settle();
	free(re.real);
	free(re.frozen);
	free(re.handover);
	return ret;
}

/* ------------------------------------------------------------------------
 * List
 */

struct row {
	const char *name, *layer, *target, *status;
	char *state;
};

#define FIELD(key, title, member) { key, title, OUT_STRING, offsetof(struct row, member), NULL }

static const struct out_field fields[] = {
	FIELD("name", "NAME", name),
	FIELD("layer", "LAYER", layer),
	FIELD("target", NULL, target),
	FIELD("state", "STATE", state),
	FIELD("status", "STATUS", status),
	{ }
};

int interpose_list(bool json)
{
	struct out_rows rows = { .fields = fields, .size = sizeof(struct row) };
	MEM_FREE struct row *row = NULL;
	struct device *devices;
	size_t count, i;
	bool own;
	int ret = device_list(&devices, &count);

	if (ret && ret != -ENODEV)
		return device_fail(ret, NULL);
	for (i = 0; i < count; i++) {
		if (!devices[i].layer)
			continue;
		row = mem_grow(row, rows.count, sizeof(*row));
		row[rows.count++] = (struct row) {
			.name = devices[i].dm.name, .target = devices[i].layer,
			.layer = interpose_name(devices[i].layer), .status = devices[i].dm.status,
			.state = interpose_find_state(&devices[i].dm, &own),
		};
	}
	rows.rows = row;
	out_table("layers", &rows, json, false);
	for (i = 0; i < rows.count; i++)
		free(row[i].state);
	device_release_list(devices, count);
	return 0;
}
