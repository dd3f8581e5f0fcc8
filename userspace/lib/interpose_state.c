// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * The state of a layer. What the tool has made by itself it marks in the loop
 * device over it (loop.h), and takes away with the layer.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "err.h"
#include "guard.h"
#include "interpose_state.h"
#include "loop.h"
#include "mem.h"
#include "text.h"

static char *folder_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (!slash)
		return mem_strdup(".");
	return mem_strndup(path, slash == path ? 1 : slash - path);
}

char *interpose_default_state(const struct device *device, const char *layer)
{
	struct stat st;

	/* A folder of devices forgets what lies there. */
	if (!stat(device->image, &st) && S_ISBLK(st.st_mode))
		return mem_printf(GUARD_STATE_FOLDER "/%s.layer.%s", device->dm.name, layer);
	return mem_printf("%s.%s.%s", device->image, device->dm.name, layer);
}

int interpose_state_choose(struct interpose_state *state, const struct device *device,
			   const struct interpose_recipe *recipe, const char *given)
{
	struct stat st;

	if (!recipe->state)
		return 0;
	if (!given && !stat(device->image, &st) && S_ISBLK(st.st_mode)) {
		err_fail(ERR_USAGE, device->dm.name, "its image lies on a block device, which has no folder");
		err_hint("say where layer %s keeps its state: %s PATH", recipe->name, recipe->state);
		return ERR_USAGE;
	}
	MEM_FREE char *path = given ? mem_strdup(given) :
				      interpose_default_state(device, recipe->name);

	state->own = !given;
	/* Before it is named as ours anywhere: what is ours goes when there is no layer. */
	if (!given && newfile_check_free(path))
		return ERR_POLICY;
	return interpose_state_name(state, path);
}

int interpose_state_name(struct interpose_state *state, const char *path)
{
	struct stat st;

	state->path = mem_strdup(path);
	if (text_has_control(path))
		return err_usage("a path with control characters");
	state->folder = stat(path, &st) ? folder_of(path) : mem_strdup(path);
	return 0;
}

int interpose_write_note(const char *path, const char *text)
{
	struct newfile file = NEWFILE_CLOSED;
	int ret;

	if (!strncmp(path, GUARD_STATE_FOLDER "/", strlen(GUARD_STATE_FOLDER) + 1))
		mkdir(GUARD_STATE_FOLDER, 0700);
	ret = newfile_open(&file, path, false);
	if (!ret)
		ret = newfile_write(&file, 0, text, strlen(text));
	if (!ret)
		ret = newfile_keep(&file);
	if (ret && !file.is_kept)
		guard_spare_state();
	newfile_close(&file, ret);
	return ret;
}

static int open_loop(struct interpose_state *state, dev_t *device)
{
	/* By its name: the kernel shows that of the loop device's file. */
	int fd = open(state->path, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return err_errno(errno, state->path);
	state->loop = loop_attach(fd, state->own, device);
	close(fd);
	return state->loop < 0 ? err_errno_what(-state->loop, state->path, "no loop device") : 0;
}

static int make_file(struct interpose_state *state, u64 bytes, dev_t *device)
{
	int ret = newfile_clear(&state->file, bytes);

	/* What stands on the disk may come to stand in it. */
	if (!ret && fchmod(state->file.fd, 0600))
		ret = err_errno(errno, state->path);
	if (!ret)
		ret = newfile_keep(&state->file);
	return ret ? ret : open_loop(state, device);
}

static int take_device(struct interpose_state *state, u64 least, u64 clear, dev_t *device)
{
	struct stat st;
	int ret;

	if (state->file.end < least)
		return err_fail(ERR_NO_SPACE, state->path,
				"the device has %llu bytes, %llu are needed",
				(unsigned long long)state->file.end, (unsigned long long)least);
	ret = clear ? newfile_clear(&state->file, clear) : 0;
	if (!ret)
		ret = newfile_sync(&state->file);
	/* The layer is to have it alone. */
	if (!ret)
		ret = newfile_unlock(&state->file);
	if (!ret && fstat(state->file.fd, &st))
		ret = err_errno(errno, state->path);
	if (!ret)
		*device = st.st_rdev;
	return ret;
}

int interpose_state_open(struct interpose_state *state, u64 bytes, u64 least, u64 clear)
{
	dev_t device = 0;
	int ret;

	if (!state->path)
		return 0;
	ret = newfile_open(&state->file, state->path, false);
	if (ret)
		return ret;
	ret = state->file.is_block ? take_device(state, least, clear, &device) :
				     make_file(state, bytes, &device);
	if (!ret)
		state->number = mem_printf("%u:%u", major(device), minor(device));
	return ret;
}

void interpose_state_close(struct interpose_state *state, bool discard)
{
	if (state->loop >= 0)
		close(state->loop);
	state->loop = -1;
	newfile_close(&state->file, discard && !state->file.is_block);
	free(state->path);
	free(state->folder);
	free(state->number);
	state->path = NULL;
	state->folder = NULL;
	state->number = NULL;
}
