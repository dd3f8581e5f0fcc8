// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Is a device in a state in which it may be suspended for an edit?
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>
#include "err.h"
#include "guard.h"
#include "mem.h"
#include "text.h"

#define FROZEN_MS	2000	/* nobody who only begins a write has to wait so long */

#define STALL_LOOKS	60	/* 50 ms apart: longer than the kernel's second between two tries */

bool guard_has_wrong_mode(const struct device *device)
{
	const char *mode = device->status.mode;

	return mode && !strcmp(mode, "ro") && !device->dm.readonly;
}

static bool is_full(const struct device *device)
{
	return device->status.space && !strcmp(device->status.space, "full");
}

/*
 * Its suspend would have to write what is staged, and if that has no space, the device is lost. A
 * full device whose commits have space, because only data has none, soon has nothing staged.
 */
static int refuse_stalled(const struct device *device)
{
	const struct timespec pause = { .tv_nsec = 50 * 1000 * 1000 };
	const char *name = device->dm.name;
	bool stalled = is_full(device) && device->status.staged;
	struct device now;
	unsigned int i;
	int ret;

	for (i = 0; stalled && i < STALL_LOOKS; i++) {
		nanosleep(&pause, NULL);
		ret = device_get(name, &now);
		if (ret)
			return device_fail(ret, name);
		stalled = is_full(&now) && now.status.staged;
		device_release(&now);
	}
	if (!stalled)
		return 0;
	err_fail(ERR_NO_SPACE, name, "its metadata waits for space");
	err_hint("make space, then dmsetup message %s 0 retry", name);
	return ERR_NO_SPACE;
}

static int check_mode(const struct device *device, const struct guard_request *request)
{
	const struct status *status = &device->status;
	const char *name = device->dm.name;

	if (status->mode && (!strcmp(status->mode, "fail") || !strcmp(status->mode, "lost")))
		return err_fail(ERR_FAILED, name,
				"device is in mode %s, its image is not what its users see",
				status->mode);
	if (request->writes && device->dm.readonly)
		return err_fail(ERR_POLICY, name, "device is read-only");
	/* A new table would end that; what moves gets another image. */
	if (!request->writes || request->mends || request->moved || !guard_has_wrong_mode(device))
		return refuse_stalled(device);
	err_fail(ERR_CORRUPT, name, "device is read-only since its image was found to be corrupt");
	err_hint("qcow2ctl repair %s", name);
	return ERR_CORRUPT;
}

int guard_check_state(const struct device *device, const struct guard_request *request)
{
	const char *name = device->dm.name;

	if (device->layer && !request->layered) {
		err_fail(ERR_BUSY, name, "layer %s stands over its image", device->layer);
		err_hint("qcow2ctl interpose %s --remove", name);
		return ERR_BUSY;
	}
	/* Its image is not the disk any more. Who ends that says where it goes. */
	if (device->layer && !strcmp(device->layer, "clone") && !request->moved) {
		err_fail(ERR_BUSY, name, "layer clone moves its disk away from its image");
		err_hint("qcow2ctl interpose %s --remove goes there when all is copied", name);
		return ERR_BUSY;
	}
	if (device->layer && is_full(device))
		return err_fail(ERR_BUSY, name, "writes wait for space under layer %s", device->layer);
	if (!device->image)
		return err_fail(ERR_FAILED, name, "device has no image");
	if (device->dm.suspended) {
		err_fail(ERR_BUSY, name, "device is suspended, by somebody else");
		err_hint("qcow2ctl recover %s resumes what an edit has left behind", name);
		return ERR_BUSY;
	}
	if (device->dm.inactive)
		return err_fail(ERR_BUSY, name, "a new table is loaded and waits for a resume");
	if (device->dm.deferred)
		return err_fail(ERR_BUSY, name, "device is about to be removed");
	return check_mode(device, request);
}

/*
 * Writers wait for a frozen file system in a state in which no signal reaches them, so that is for a child. It
 * holds nothing but the file and its end of the pipe, and changes nothing: no name begins so.
 */
static void touch(int fd, int end)
{
	dup2(fd, 0);
	dup2(end, 1);
	close_range(2, ~0U, 0);
	(void)!fremovexattr(0, "none.none");
	_exit(0);
}

static int check_frozen(const struct device *device, const char *path)
{
	struct pollfd poller = { .events = POLLIN };
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY), ends[2], ret;
	struct stat st;
	pid_t pid;

	if (fd < 0)
		return 0;
	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || pipe2(ends, O_CLOEXEC)) {
		close(fd);
		return 0;
	}
	pid = fork();
	if (!pid)
		touch(fd, ends[1]);
	close(fd);
	close(ends[1]);
	if (pid < 0) {
		close(ends[0]);
		return err_errno_what(errno, device->dm.name, "no process that looks at its image");
	}
	poller.fd = ends[0];
	do
		ret = poll(&poller, 1, FROZEN_MS);
	while (ret < 0);
	close(ends[0]);
	if (ret) {
		waitpid(pid, NULL, 0);
		return 0;
	}
	MEM_FREE char *shown = text_printable(path);

	return err_fail(ERR_BUSY, device->dm.name, "%s lies on a frozen file system", shown);
}

int guard_check_frozen(const struct device *device)
{
	const char *data = device_data_file(device);
	int ret;

	if (device->dm.readonly)
		return 0;
	ret = check_frozen(device, device->image);
	return ret || !data ? ret : check_frozen(device, data);
}
