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
 *	a layer		NAME.real is resumed, then NAME; if that layer cannot run, or is about a point in
 *			time that is gone, it is taken away
 *
 * A device that moves (move.h) has a second part, NAME.copy, and its layer is always taken away; if that is
 * dm-clone, which has the only copy of what was written, by going on to the new image. When it
 * has got there, its table is neither its old one nor that of a layer, and the parts go. For a moment
 * the parts have other names, since an image goes from NAME.real to NAME only: so they get these back first.
 *
 * NAME.frozen with a table of qcow2 is no part of a layer but a view of a snapshot, and left alone.
 *
 * A table that waits for a resume never got its turn, and is forgotten before that. Each attempt begins
 * with a look, so it does not matter what the one before it has done.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "err.h"
#include "guard.h"
#include "kmsg.h"
#include "mem.h"
#include "text.h"

#define SECTOR	512

int guard_load(const struct dm_device *dm, u64 sectors, const char *params)
{
	int log = kmsg_open();
	int ret = dm_load(dm->name, DEVICE_TARGET, sectors, params, dm->readonly);
	MEM_FREE char *sentence = NULL, *shown = NULL;

	if (!ret) {
		if (log >= 0)
			close(log);
		return 0;
	}
	sentence = kmsg_sentence(log, dm->major, dm->minor);
	shown = sentence ? text_printable(sentence) : NULL;
	return err_fail(err_code(-ret), dm->name, "the kernel refuses the table: %s",
			shown ? shown : strerror(-ret));
}

struct stack {
	const char *name;
	const struct guard_line *line;
	bool impatient;
	char *real, *frozen, *copy;
	struct dm_device top, below;	/* empty: not there */
	bool gone;			/* NAME itself */
};

static bool ends_with(const char *text, const char *end)
{
	size_t text_len = strlen(text), end_len = strlen(end);

	return text_len > end_len && !strcmp(text + text_len - end_len, end);
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

	if (!ret && device_is_private(&dm) && !(keep_view && device_shows_point(&dm))) {
		dm_clear(name);
		ret = dm_remove(name, false);
		if (ret == -EBUSY)
			ret = remove_busy(&dm);
	}
	dm_release(&dm);
	return ret == -ENXIO ? 0 : ret;
}

/* An image on a device is none any more when its first bytes are gone. The device may not work, so it is tried. */
static void wipe(const char *path)
{
	static const char magic[4] = "QFI\xfb", nothing[SECTOR];
	int fd = open(path, O_RDWR | O_CLOEXEC);
	char found[sizeof(magic)];

	if (fd < 0)
		return;
	if (pread(fd, found, sizeof(found), 0) == sizeof(found) &&
	    !memcmp(found, magic, sizeof(magic)) &&
	    (pwrite(fd, nothing, sizeof(nothing), 0) != sizeof(nothing) || fsync(fd)))
		err_debug("%s: cannot write: %s", path, strerror(errno));
	close(fd);
}

static int remove_state(const char *path)
{
	struct stat st;

	if (!stat(path, &st) && S_ISBLK(st.st_mode)) {
		wipe(path);
		return 0;
	}
	return unlink(path) && errno != ENOENT ? -errno : 0;
}

/* NAME has no layer any more, or never had. */
static int remove_parts(const struct stack *s, bool state)
{
	int ret = remove_part(s->frozen, true);

	if (!ret)
		ret = remove_part(s->copy, false);
	if (!ret)
		ret = remove_part(s->real, false);
	dm_settle();
	/* What dm-clone has copied of a device that was removed nobody else knows. */
	if (!ret && s->line->moves && !(s->gone && s->line->next)) {
		MEM_FREE char *path = guard_clone_path(s->name, s->line);

		unlink(path);
	}
	return !ret && state && s->line->state ? remove_state(s->line->state) : ret;
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
	return ret ? ret : remove_parts(s, true);
}

static int resume_part(const char *name)
{
	struct dm_device dm;
	int ret = dm_query(name, &dm);

	if (!ret && device_is_private(&dm) && dm.suspended)
		ret = dm_resume_private(name);
	dm_release(&dm);
	return ret == -ENXIO ? 0 : ret;
}

/* A layer that runs, or may: NAME gets its image's own table. */
static int take_away(const struct stack *s, bool flush)
{
	const struct guard_line *line = s->line;
	int ret = dm_load(s->name, DEVICE_TARGET, line->sectors, line->params, line->readonly);

	if (!ret && !s->top.suspended)
		ret = dm_suspend(s->name, false, flush);
	if (ret)
		return ret;
	hand_back(s);
	return dm_resume_only(s->name);
}

/* When layer snapshot is taken out its point goes first. */
static bool has_lost_point(const struct stack *s)
{
	struct dm_device frozen;
	bool lost;

	if (strcmp(s->top.target, "snapshot-origin"))
		return false;
	lost = dm_query(s->frozen, &frozen) == -ENXIO;
	dm_release(&frozen);
	return lost;
}

static int settle_layer(const struct stack *s)
{
	int ret = 0;

	if (has_lost_point(s) && has_image(&s->below)) {
		ret = take_away(s, true);
		return ret ? ret : remove_parts(s, true);
	}
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
	return ret ? ret : remove_parts(s, true);
}

/* ------------------------------------------------------------------------
 * A device that moves
 */

/* Its own part has the old image under NAME.real, the new one's is NAME.copy. */
static int restore_names(const struct stack *s)
{
	struct dm_device old, new;
	int ret = dm_query(s->frozen, &old);

	if (!ret && ends_with(old.uuid, "-real")) {
		if (!dm_query(s->real, &new) && ends_with(new.uuid, "-copy"))
			ret = dm_rename(s->real, s->copy);
		dm_release(&new);
		if (!ret)
			ret = dm_rename(s->frozen, s->real);
	}
	dm_release(&old);
	return ret == -ENXIO ? 0 : ret;
}

static bool is_there(const struct dm_device *top, const struct guard_line *line)
{
	if (!line->moves || !top->live)
		return false;
	return has_image(top) ? strcmp(top->table, line->params) != 0 :
				!strcmp(top->target, "linear");
}

/* The tool that had set it may not be there any more. */
static void reset_share(void)
{
	int fd = open(GUARD_SHARE, O_RDWR | O_CLOEXEC);
	char text[2];

	if (fd < 0)
		return;
	if (read(fd, text, sizeof(text)) == sizeof(text) && !memcmp(text, "0\n", sizeof(text)))
		(void)!pwrite(fd, "100", 3, 0);
	close(fd);
}

bool guard_has_moved(const char *name, const struct guard_line *line)
{
	struct dm_device top;
	bool there = !dm_query(name, &top) && is_there(&top, line);

	dm_release(&top);
	return there;
}

/* Back to the old image. What the layer holds back, since a copy of it fails, is not to get lost. */
static int settle_back(const struct stack *s)
{
	int ret;

	guard_turn_back(s->line);
	ret = take_away(s, false);
	reset_share();
	return ret ? ret : remove_parts(s, true);
}

char *guard_clone_path(const char *name, const struct guard_line *line)
{
	struct stat st;

	if (!line->state || (!stat(line->state, &st) && S_ISBLK(st.st_mode)))
		return mem_printf(GUARD_STATE_FOLDER "/%s.clone", name);
	return mem_printf("%s.clone", line->state);
}

/* The last resort for what dm-clone has copied: the new image's table instead of it. */
static int leave_clone(const struct stack *s)
{
	MEM_FREE char *word = mem_printf("handover %u:%u", s->top.major, s->top.minor);
	MEM_FREE char *target = mem_strndup(s->line->next, strcspn(s->line->next, " "));
	bool is_image = !strcmp(target, DEVICE_TARGET);
	int ret = is_image ? dm_rename(s->real, s->frozen) : 0;

	if (!ret && is_image)
		ret = dm_rename(s->copy, s->real);
	if (!ret)
		ret = dm_load(s->name, target, s->line->sectors, s->line->next + strlen(target) + 1,
			      s->line->readonly);
	if (!ret)
		ret = dm_suspend(s->name, false, true);
	if (!ret && is_image)
		ret = dm_suspend(s->real, false, true);
	if (!ret && is_image)
		ret = dm_message(s->real, word);
	if (!ret)
		ret = dm_resume_only(s->name);
	return ret ? ret : remove_parts(s, false);
}

/* "8 14/1024 128 5/128 1 ...": regions that are copied, of all, and those at it. */
static bool read_clone(const struct dm_device *top, unsigned long long *done, bool *complete)
{
	unsigned long long total, running;

	if (!top->status || sscanf(top->status, "%*u %*u/%*u %*u %llu/%llu %llu", done, &total,
				   &running) != 3)
		return false;
	*complete = *done == total && !running;
	return true;
}

static int settle_clone(const struct stack *s, u64 *copied)
{
	int ret = resume_part(s->real);
	unsigned long long done = 1;
	bool complete = false;

	read_clone(&s->top, &done, &complete);
	*copied = done;
	if (!ret)
		ret = resume_part(s->copy);
	if (!ret && s->top.suspended)
		ret = dm_resume_only(s->name);
	/* Where something is written it is copied: it never ran. */
	if (ret && s->top.suspended && !done)
		return settle_back(s);
	if (!ret)
		ret = dm_message(s->name, "enable_hydration");
	if (!ret && !complete)
		return -EINPROGRESS;
	return ret ? ret : leave_clone(s);
}

/* The new image: NAME.copy gives it to NAME. After dm-clone there is no other: what was written is nowhere else. */
static int settle_there(const struct stack *s)
{
	MEM_FREE char *word = mem_printf("handover %u:%u", s->top.major, s->top.minor);
	int ret = 0;

	if (s->top.suspended) {
		dm_suspend(s->copy, false, true);
		dm_message(s->copy, word);
		ret = dm_resume_only(s->name);
	}
	if (ret && !s->line->next && (ret != -EBUSY || s->impatient) && has_image(&s->below))
		return settle_back(s);
	return ret ? ret : remove_parts(s, false);
}

static int settle_on_the_way(const struct stack *s, u64 *copied)
{
	bool clone = !strcmp(s->top.target, "clone");

	if (s->line->moves && !clone)
		return settle_back(s);
	/* Without a way to go it is as before. */
	return s->line->next && clone ? settle_clone(s, copied) : settle_layer(s);
}

int guard_settle(const char *name, const struct guard_line *line, bool impatient, u64 *copied)
{
	MEM_FREE char *real = mem_printf("%s.real", name), *frozen = mem_printf("%s.frozen", name);
	MEM_FREE char *copy = mem_printf("%s.copy", name);
	struct stack s = { .name = name, .line = line, .impatient = impatient,
			   .real = real, .frozen = frozen, .copy = copy };
	int ret = dm_query(name, &s.top), gone = 0;

	if (!ret && s.top.inactive)
		ret = dm_clear(name);
	if ((!ret || ret == -ENXIO) && line->moves)
		gone = restore_names(&s);
	if (gone)
		ret = gone;
	if (!ret)
		gone = dm_query(real, &s.below);
	if (!gone && !device_is_private(&s.below))
		dm_release(&s.below);
	s.gone = ret == -ENXIO;
	if (s.gone)
		ret = remove_parts(&s, !line->moves);
	else if (!ret && is_there(&s.top, line))
		ret = settle_there(&s);
	else if (!ret && (!s.top.live || has_image(&s.top)))
		ret = settle_image(&s);
	else if (!ret)
		ret = settle_on_the_way(&s, copied);
	dm_release(&s.top);
	dm_release(&s.below);
	return ret;
}
