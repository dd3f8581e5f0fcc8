// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Make a device run that somebody left in the middle of a change.
 *
 * With a layer a device is a stack: NAME has the layer's table, NAME.real the image, and NAME.frozen,
 * where there is one, a point in time of it. What is to be done follows from what the kernel says,
 * whichever change it was and wherever it stopped:
 *
 *	table of NAME	what happens
 *	qcow2		NAME.real gives the image back if it has it, NAME is resumed, the parts go
 *	a layer		NAME.real is resumed, then NAME; if that layer cannot run, it is taken away
 *
 * NAME.frozen with a table of qcow2 is no part of a layer but a view of a snapshot, and left alone.
 *
 * A table that waits for a resume never got its turn, and is forgotten before that. Each attempt begins
 * with a look, so it does not matter what the one before it has done.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "err.h"
#include "guard.h"
#include "mem.h"

struct stack {
	const char *name;
	const struct guard_line *line;
	bool impatient;
	char *real, *frozen;
	struct dm_device top, below;	/* empty: not there */
};

static bool is_part(const struct dm_device *dm)
{
	size_t len = dm->uuid ? strlen(dm->uuid) : 0;

	return len && !strncmp(dm->uuid, DEVICE_UUID_PREFIX, strlen(DEVICE_UUID_PREFIX)) &&
	       ((len > 5 && !strcmp(dm->uuid + len - 5, "-real")) ||
		(len > 7 && !strcmp(dm->uuid + len - 7, "-frozen")));
}

static bool has_image(const struct dm_device *dm)
{
	return dm->live && dm->target && !strcmp(dm->target, DEVICE_TARGET);
}

static bool runs(const struct dm_device *dm)
{
	return dm->live && !dm->suspended;
}

/* Whoever has it open must not wait for what never comes: it gets errors, and the part goes with him. */
static int remove_busy(const struct dm_device *dm)
{
	if (dm->live && !dm_load(dm->name, "error", dm->sectors, "", dm->readonly))
		dm_resume_private(dm->name);
	return dm_remove(dm->name, true);
}

static int remove_part(const char *name, bool keep_view)
{
	struct dm_device dm;
	int ret = dm_query(name, &dm);

	if (!ret && is_part(&dm) && !(keep_view && has_image(&dm))) {
		dm_clear(name);
		ret = dm_remove(name, false);
		if (ret == -EBUSY)
			ret = remove_busy(&dm);
	}
	dm_release(&dm);
	return ret == -ENXIO ? 0 : ret;
}

/* NAME has no layer any more, or never had. */
static int remove_parts(const struct stack *s)
{
	int ret = remove_part(s->frozen, true);

	if (!ret)
		ret = remove_part(s->real, false);
	dm_settle();
	if (!ret && s->line->state && unlink(s->line->state) && errno != ENOENT)
		ret = -errno;
	return ret;
}

/* What NAME.real has is NAME's from its next resume on. A device that only reads needs no permission. */
static void hand_back(const struct stack *s)
{
	MEM_FREE char *word = mem_printf("handover %u:%u", s->top.major, s->top.minor);

	if (!has_image(&s->below))
		return;
	if (!s->below.suspended)
		dm_suspend(s->real, false, true);
	if (!s->below.readonly)
		dm_message(s->real, word);
}

/* With the line that it had, if the one that it has now does not work. */
static int resume_image(const struct stack *s, bool reload)
{
	const struct guard_line *line = s->line;
	int ret = reload ? -EIO : dm_resume_only(s->name);

	if (!ret || (ret == -EBUSY && !s->impatient) || ret == -ENXIO || !line->params)
		return ret;
	ret = dm_load(s->name, DEVICE_TARGET, line->sectors, line->params, line->readonly);
	return ret ? ret : dm_resume_only(s->name);
}

static int settle_image(const struct stack *s)
{
	int ret = 0;

	if (s->top.suspended) {
		hand_back(s);
		ret = resume_image(s, false);
	}
	return ret ? ret : remove_parts(s);
}

static int resume_part(const char *name)
{
	struct dm_device dm;
	int ret = dm_query(name, &dm);

	if (!ret && is_part(&dm) && dm.suspended)
		ret = dm_resume_private(name);
	dm_release(&dm);
	return ret == -ENXIO ? 0 : ret;
}

static int settle_layer(const struct stack *s)
{
	int ret = 0;

	if (runs(&s->top) && runs(&s->below))
		return 0;
	ret = resume_part(s->real);
	if (!ret)
		ret = resume_part(s->frozen);
	if (!ret && s->top.suspended)
		ret = dm_resume_only(s->name);
	if (!ret || (ret == -EBUSY && !s->impatient) || !has_image(&s->below))
		return ret;
	err_debug("%s: layer %s does not run: %s", s->name, s->top.target, strerror(-ret));
	hand_back(s);
	ret = resume_image(s, true);
	return ret ? ret : remove_parts(s);
}

int guard_settle(const char *name, const struct guard_line *line, bool impatient)
{
	MEM_FREE char *real = mem_printf("%s.real", name), *frozen = mem_printf("%s.frozen", name);
	struct stack s = { .name = name, .line = line, .impatient = impatient,
			   .real = real, .frozen = frozen };
	int ret = dm_query(name, &s.top), gone = 0;

	if (!ret && s.top.inactive)
		ret = dm_clear(name);
	if (!ret)
		gone = dm_query(real, &s.below);
	if (!gone && !is_part(&s.below))
		dm_release(&s.below);
	if (ret == -ENXIO)
		ret = remove_parts(&s);
	else if (!ret && (!s.top.live || has_image(&s.top)))
		ret = settle_image(&s);
	else if (!ret)
		ret = settle_layer(&s);
	dm_release(&s.top);
	dm_release(&s.below);
	return ret;
}
