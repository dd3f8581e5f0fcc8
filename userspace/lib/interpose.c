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
#include "text.h"

#define MEMORY		(4U << 20)

struct insert {
	const struct interpose_request *request;
	const struct interpose_recipe *recipe;
	struct interpose_state state;
	char *target;
	char *real, *frozen;		/* names */
	char *real_number;		/* "253:4" */
	char *handover;			/* message, NULL: nothing to hand over */
	u64 sectors;
};

/* ------------------------------------------------------------------------
 * May it be?
 */

static int need_target(const struct insert *in, const char *target, const char *known)
{
	MEM_FREE char *module = known ? mem_strdup(known) : mem_printf("dm-%s", target);
	unsigned int version[3];
	int ret;

	if (text_has_control(target))
		return err_usage("--table: its target has control characters");
	if (!dm_target_version(target, version))
		return 0;
	module_load(module);
	ret = dm_target_version(target, version);
	if (!ret)
		return 0;
	if (ret != -ENOENT)
		return device_fail(ret, in->request->name);
	ret = err_fail(ERR_UNSUPPORTED, in->request->name, "the kernel has no target %s", target);
	err_hint("load module %s, if there is one", module);
	return ret;
}

static char *find_target(const struct insert *in)
{
	const char *table = in->request->table;

	if (in->recipe->target)
		return mem_strdup(in->recipe->target);
	table += strspn(table, " ");
	return mem_strndup(table, strcspn(table, " "));
}

static int check_device(const struct insert *in, const struct device *device)
{
	const char *name = device->dm.name, *mode = device->status.mode;
	const char *space = device->status.space;

	if (device->layer) {
		err_fail(ERR_BUSY, name, "layer %s stands over its image", device->layer);
		err_hint("qcow2ctl interpose %s --remove", name);
		return ERR_BUSY;
	}
	if (!device->image)
		return err_fail(ERR_FAILED, name, "device has no image");
	if (device->dm.readonly && in->recipe->writes)
		return err_fail(ERR_POLICY, name, "device is read-only, layer %s is for writers",
				in->recipe->name);
	if (mode && strcmp(mode, device->dm.readonly ? "ro" : "rw"))
		return err_fail(ERR_FAILED, name, "device is in mode %s", mode);
	if (space && !strcmp(space, "full"))
		return err_fail(ERR_BUSY, name, "writes wait for space");
	return device_check_name(name);
}

/* ------------------------------------------------------------------------
 * All that can fail
 */

static int refuse_load(const struct dm_device *dm, int error, int log)
{
	MEM_FREE char *sentence = kmsg_sentence(log, dm->major, dm->minor);
	MEM_FREE char *shown = sentence ? text_printable(sentence) : NULL;

	if (shown)
		return err_fail(err_code(error), dm->name, "the kernel refuses the table: %s", shown);
	return err_errno_what(error, dm->name, "the kernel refuses the table");
}

int interpose_load(const struct dm_device *dm, const char *target, u64 sectors,
		   const char *params, bool readonly)
{
	int log = kmsg_open();
	int ret = dm_load(dm->name, target, sectors, params, readonly);

	if (ret)
		return refuse_load(dm, -ret, log);
	if (log >= 0)
		close(log);
	return 0;
}

int interpose_create_part(const struct device *device, const char *name, const char *end,
			  struct dm_device *part)
{
	MEM_FREE char *uuid = NULL;
	int ret = 0;

	if (!strncmp(device->dm.uuid, DEVICE_UUID_PREFIX, strlen(DEVICE_UUID_PREFIX))) {
		uuid = mem_printf("%s-%s", device->dm.uuid, end);
	} else {
		struct image image = IMAGE_CLOSED;

		ret = image_open(&image, device->image);
		MEM_FREE char *id = ret ? NULL : image_id(&image);

		uuid = mem_printf(DEVICE_UUID_PREFIX "%s-%s-%s", id ? id : "", device->dm.name, end);
		image_close(&image);
	}
	if (ret)
		return ret;
	ret = dm_create(name, uuid);
	if (ret == -EBUSY)
		return err_fail(ERR_BUSY, device->dm.name, "a device %s exists", name);
	if (!ret)
		ret = dm_query(name, part);
	return ret ? device_fail(ret, name) : 0;
}

/* A target that cannot do anything wrong, until the image gets there. */
static int measure(const struct insert *in, const struct dm_device *part)
{
	int ret = need_target(in, "zero", NULL);

	if (!ret)
		ret = interpose_load(part, "zero", in->sectors, "", part->readonly);
	if (ret)
		return ret;
	ret = dm_resume_private(in->real);
	dm_settle();
	dm_prepare();
	return ret ? err_errno_what(-ret, in->real, "cannot resume it") : 0;
}

static int make_real(struct insert *in, const struct device *device)
{
	MEM_FREE char *line = table_format(&device->table);
	struct dm_device part = { 0 };
	int ret = interpose_create_part(device, in->real, "real", &part);

	if (!ret && in->recipe->measures)
		ret = measure(in, &part);
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
	const struct interpose_place place = { in->sectors, in->real_number, in->state.number };
	MEM_FREE char *params = in->recipe->params(in->request, &place);

	return interpose_load(&device->dm, in->target, in->sectors, params, device->dm.readonly);
}

static int prepare(const struct device *device, void *data)
{
	struct insert *in = data;
	const struct interpose_recipe *recipe = in->recipe;
	int ret = check_device(in, device);

	if (ret)
		return ret;
	dm_prepare();
	in->sectors = device->dm.sectors;
	if (recipe->state)
		ret = interpose_state_open(&in->state, recipe->bytes(in->request, in->sectors),
					   recipe->least(in->request, in->sectors), recipe->clear);
	if (!ret && guard_point("state"))
		ret = err_errno(EIO, "state");
	if (!ret)
		ret = make_real(in, device);
	if (!ret && guard_point("real"))
		ret = err_errno(EIO, "real");
	if (!ret)
		ret = make_frozen(in, device);
	if (!ret)
		ret = load_layer(in, device);
	if (!ret && guard_point("loaded"))
		ret = err_errno(EIO, "loaded");
	return ret;
}

/* ------------------------------------------------------------------------
 * The change
 */

/* @name is live, not suspended, of the right size, and has @target. Negative errno. */
static int is_live(const char *name, const char *target, u64 sectors)
{
	struct dm_device dm;
	int ret = dm_query(name, &dm);

	if (!ret && (!dm.live || dm.suspended || dm.sectors != sectors || strcmp(dm.target, target)))
		ret = -EIO;
	dm_release(&dm);
	return ret;
}

static int resume_below(const struct insert *in)
{
	int ret = dm_resume_private(in->real);

	if (!ret)
		ret = guard_point("below");
	if (!ret)
		ret = is_live(in->real, DEVICE_TARGET, in->sectors);
	if (!ret && in->recipe->has_frozen)
		ret = dm_resume_private(in->frozen);
	if (!ret)
		ret = guard_point("frozen");
	return ret;
}

static int apply(const struct device *device, void *data)
{
	const struct insert *in = data;
	const char *name = device->dm.name;
	int ret = guard_halt(name, in->recipe->freezes && !in->request->nolockfs, true);

	if (ret)
		return ret;
	ret = guard_point("suspended");
	if (!ret)
		ret = interpose_is_parked(name, !device->dm.readonly);
	if (!ret && in->handover)
		ret = dm_message(name, in->handover);
	if (!ret)
		ret = guard_point("handed");
	if (!ret)
		ret = resume_below(in);
	if (!ret)
		ret = dm_resume_only(name);
	if (!ret)
		ret = guard_point("resumed");
	return ret ? err_errno_what(-ret, name, "the layer does not come to life") : 0;
}

int interpose_is_parked(const char *name, bool writable)
{
	struct status status;
	struct dm_device dm;
	int ret = dm_query(name, &dm);

	if (ret)
		return ret;
	status_parse(dm.status, &status);
	if (!dm.suspended)
		ret = -EBUSY;
	else if (writable && (!status.clean || strcmp(status.clean, "yes") || !status.claim ||
			      strcmp(status.claim, "parked")))
		ret = -EIO;
	status_release(&status);
	dm_release(&dm);
	return ret;
}

/* ------------------------------------------------------------------------
 * Around it
 */

static int insert(struct insert *in, const struct device *device)
{
	const struct interpose_request *request = in->request;
	struct guard_request guard = {
		.seconds = interpose_seconds(request),
		.memory = MEMORY,
	};
	struct guard_change change = { prepare, apply, in };
	int ret = check_device(in, device);

	if (!ret)
		ret = need_target(in, in->target, in->recipe->module);
	if (!ret)
		ret = interpose_state_choose(&in->state, device, in->recipe,
					     interpose_state_path(in->recipe, request));
	guard.file = in->state.folder;
	guard.state = in->state.own ? in->state.path : NULL;
	return ret ? ret : guard_change(request->name, &guard, &change);
}

int interpose_insert(const struct interpose_request *request)
{
	struct insert in = { .request = request, .state = INTERPOSE_STATE_NONE };
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
	if (!ret && in.recipe->has_frozen)
		dm_make_node(in.frozen);
	dm_settle();
	free(in.target);
	free(in.real);
	free(in.frozen);
	free(in.real_number);
	free(in.handover);
	return ret;
}
