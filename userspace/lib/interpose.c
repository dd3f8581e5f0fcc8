// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Put a layer in.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "cli.h"
#include "err.h"
#include "guard.h"
#include "interpose.h"
#include "interpose_state.h"
#include "kmsg.h"
#include "mem.h"
#include "module.h"
#include "partition.h"
#include "text.h"

#define MEMORY		(4U << 20)
#define SECTOR		512

struct insert {
	const struct interpose_request *request;
	const struct interpose_recipe *recipe;
	struct interpose_state state, to;
	char *note;			/* path: of what the disk is made, NULL: its own state tells */
	char *target;
	char *real, *frozen;		/* names */
	char *real_number;		/* "253:4" */
	char *handover;			/* message, NULL: nothing to hand over */
	u64 sectors;
};

/* ------------------------------------------------------------------------
 * May it be?
 */

static char *find_target(const struct insert *in)
{
	const char *table = in->request->table;

	if (in->recipe->target)
		return mem_strdup(in->recipe->target);
	table += strspn(table, " ");
	return mem_strndup(table, strcspn(table, " "));
}

static int check(const struct insert *in, const struct device *device)
{
	MEM_FREE char *writer = in->recipe->writes ? mem_printf("layer %s", in->recipe->name) : NULL;

	return interpose_check_device(device, writer);
}

/* ------------------------------------------------------------------------
 * All that can fail
 */

static int make_real(struct insert *in, const struct device *device)
{
	MEM_FREE char *line = table_format(&device->table);
	struct dm_device part = { 0 };
	int ret = interpose_create_part(device, in->real, "real", &part);

	if (!ret && in->recipe->measures)
		ret = interpose_measure(&part, in->sectors);
	if (!ret) {
		in->real_number = mem_printf("%u:%u", part.major, part.minor);
		if (!device->dm.readonly)
			in->handover = mem_printf("handover %s", in->real_number);
		ret = interpose_load(&part, DEVICE_TARGET, in->sectors, line, device->dm.readonly);
	}
	dm_release(&part);
	return ret;
}

static int make_frozen(const struct insert *in, const struct device *device)
{
	MEM_FREE char *params = mem_printf("%s %s N %u", in->real_number, in->state.number,
					   INTERPOSE_CHUNK_SECTORS);
	struct dm_device part = { 0 };
	int ret;

	if (!in->recipe->has_frozen)
		return 0;
	ret = interpose_create_part(device, in->frozen, "frozen", &part);
	if (!ret)
		ret = interpose_load(&part, "snapshot", in->sectors, params, true);
	dm_release(&part);
	return ret;
}

static int load_layer(const struct insert *in, const struct device *device)
{
	const struct interpose_place place = { in->sectors, in->real_number, in->state.number,
					       in->to.number };
	MEM_FREE char *params = in->recipe->params(in->request, &place);

	return interpose_load(&device->dm, in->target, in->sectors, params, device->dm.readonly);
}

/* Which files make the disk up until all of it is copied. */
static int write_note(const struct insert *in, const struct device *device)
{
	MEM_FREE char *state = realpath(in->state.path, NULL), *to = realpath(in->to.path, NULL);
	MEM_FREE char *text = mem_printf("dm-clone moves the disk of %s from %s to %s;\n"
					 "what is where, %s says\n", device->dm.name, device->image,
					 to ? to : in->to.path, state ? state : in->state.path);

	return interpose_write_note(in->note, text);
}

static int prepare(const struct device *device, void *data)
{
	struct insert *in = data;
	const struct interpose_recipe *recipe = in->recipe;
	int ret = check(in, device);

	if (ret)
		return ret;
	if (recipe->freezes && !in->request->nolockfs)
		partition_warn(device->dm.name);
	dm_prepare();
	in->sectors = device->dm.sectors;
	if (recipe->state)
		ret = interpose_state_open(&in->state, recipe->bytes(in->request, in->sectors),
					   recipe->least(in->request, in->sectors), recipe->clear);
	if (ret && in->state.own && !in->state.file.is_kept)
		guard_spare_state();
	if (!ret && recipe->goes)
		ret = interpose_state_open(&in->to, in->sectors * SECTOR, in->sectors * SECTOR, 0);
	if (!ret && in->note)
		ret = write_note(in, device);
	if (!ret)
		ret = make_real(in, device);
	if (!ret)
		ret = make_frozen(in, device);
	if (!ret)
		ret = load_layer(in, device);
	return ret;
}

/* ------------------------------------------------------------------------
 * The change
 */

static int resume_below(const struct insert *in)
{
	int ret = dm_resume_private(in->real);

	if (!ret)
		ret = interpose_is_live(in->real, DEVICE_TARGET, in->sectors);
	if (!ret && in->recipe->has_frozen)
		ret = dm_resume_private(in->frozen);
	return ret;
}

static int apply(const struct device *device, void *data)
{
	const struct insert *in = data;
	const char *name = device->dm.name;
	int ret = guard_halt(name, in->recipe->freezes && !in->request->nolockfs, true);

	if (ret)
		return ret;
	ret = interpose_is_parked(name, !device->dm.readonly);
	if (!ret && in->handover)
		ret = dm_message(name, in->handover);
	if (!ret)
		ret = resume_below(in);
	if (!ret)
		ret = dm_resume_only(name);
	return ret ? err_errno_what(-ret, name, "the layer does not come to life") : 0;
}

/* ------------------------------------------------------------------------
 * Around it
 */

/* The disk cannot be put together without its state, and that is where nobody looks. */
static int choose_note(struct insert *in, const struct device *device)
{
	MEM_FREE char *path = interpose_default_state(device, in->recipe->name);
	int ret = newfile_check_free(path);

	if (ret)
		return ret;
	in->note = path;
	path = NULL;
	return 0;
}

static int insert(struct insert *in, const struct device *device)
{
	const struct interpose_request *request = in->request;
	struct guard_request guard = {
		.seconds = interpose_seconds(request),
		.memory = MEMORY,
	};
	struct guard_change change = { prepare, apply, in };
	int ret = check(in, device);

	if (!ret)
		ret = interpose_need_target(request->name, in->target, in->recipe->module);
	if (!ret)
		ret = interpose_state_choose(&in->state, device, in->recipe,
					     interpose_state_path(in->recipe, request));
	if (!ret && in->recipe->goes)
		ret = interpose_state_name(&in->to, request->to);
	if (!ret && in->recipe->goes && !in->state.own)
		ret = choose_note(in, device);
	guard.file = in->state.folder;
	guard.other_file = in->to.folder;
	guard.state = in->state.own ? in->state.path : in->note;
	return ret ? ret : guard_change(request->name, &guard, &change);
}

int interpose_insert(const struct interpose_request *request)
{
	struct insert in = { .request = request, .state = INTERPOSE_STATE_NONE,
			     .to = INTERPOSE_STATE_NONE };
	struct device device;
	int ret = interpose_find(request, &in.recipe);

	if (ret)
		return ret;
	ret = device_get(request->name, &device);
	if (ret)
		return device_fail(ret, request->name);
	in.target = find_target(&in);
	in.real = mem_printf("%s.real", request->name);
	in.frozen = mem_printf("%s.frozen", request->name);
	ret = insert(&in, &device);
	device_release(&device);
	interpose_state_close(&in.state, ret);
	interpose_state_close(&in.to, ret);
	if (!ret && in.recipe->has_frozen)
		dm_make_node(in.frozen);
	dm_settle();
	free(in.target);
	free(in.note);
	free(in.real);
	free(in.frozen);
	free(in.real_number);
	free(in.handover);
	return ret;
}
