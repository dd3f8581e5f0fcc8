// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Suspend and resume around an edit; why so carefully: guard.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "err.h"
#include "guard.h"
#include "holder.h"
#include "mem.h"
#include "out.h"
#include "run.h"

static struct {
	struct device device;
	struct guard_line line;
	char *real;			/* name of the part that has the image, NULL: @device itself */
	unsigned int seconds;
	int lock, node, socket;		/* -1: not there */
	int turn;			/* likewise: of guard_turn() */
	pid_t guardian;
	bool intent, locked, suspended;
	bool loaded;			/* a new table waits for the resume */
	bool made;			/* it is another line */
	u64 sectors;			/* of the live table */
	u64 want;			/* 0: of guard.line */
	bool renew;			/* the image is whole again */
	bool rested;			/* it has run in between */
	bool unfinished;		/* it runs, and `recover` needs the intent */
	bool opened;			/* by somebody else, when it was suspended already */
	u64 begin;			/* ns */
} guard;

u64 guard_now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000ULL + time.tv_nsec;
}

static const char *name_of(void)
{
	return guard.device.dm.name;
}

/* ------------------------------------------------------------------------
 * May it be?
 */

/* Who has it open besides us? Prints it. */
static int refuse_open(const struct device *device)
{
	dev_t number = makedev(device->dm.major, device->dm.minor);
	char **holders = NULL;
	int ret;

	holder_mounts(&number, 1, &holders);
	holder_devices(number, &holders);
	holder_processes(&number, 1, &holders);
	ret = err_fail(ERR_BUSY, device->dm.name, "device is in use: %s",
		       holders ? holders[0] : "it is open");
	mem_free_strings(holders);
	return ret;
}

/* The descriptor that keeps the device from being removed, and counts as one opener. */
static int open_node(bool exclusive)
{
	const struct device *device = &guard.device;
	int flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | (exclusive ? O_EXCL : 0);
	struct stat st;

	if (exclusive && device->dm.open_count)
		return refuse_open(device);
	guard.node = open(device->path, flags);
	if (guard.node < 0)
		return errno == EBUSY ? refuse_open(device) : err_errno(errno, device->path);
	if (fstat(guard.node, &st) || !S_ISBLK(st.st_mode) ||
	    st.st_rdev != makedev(device->dm.major, device->dm.minor))
		return err_fail(ERR_FAILED, device->path, "it is not the node of device %s",
				device->dm.name);
	return 0;
}

/* ------------------------------------------------------------------------
 * Before
 */

static int lock_memory(u64 bytes)
{
	int ret = mem_lock(bytes);

	guard.locked = true;
	return ret ? err_errno_what(-ret, name_of(), "cannot lock %llu MiB of memory",
				    (unsigned long long)(bytes >> 20)) : 0;
}

static int look(const char *name, const struct guard_request *request)
{
	int ret = device_get(name, &guard.device);

	if (ret)
		return device_fail(ret, name);
	guard.real = guard.device.layer ? mem_printf("%s.real", name) : NULL;
	guard.line.params = guard.real ? table_format(&guard.device.table) :
					 mem_strdup(guard.device.dm.table);
	guard.line.state = request->state ? mem_strdup(request->state) : NULL;
	guard.line.moves = request->moved && guard.device.image ?
				   device_lasting_path(guard.device.image) : NULL;
	guard.line.moved = request->moved;
	guard.line.overlay = request->overlay ? guard_overlay(request->overlay) : NULL;
	guard.line.sectors = guard.device.dm.sectors;
	guard.line.readonly = guard.device.dm.readonly;
	guard.sectors = guard.line.sectors;
	return guard_check_state(&guard.device, request);
}

/*
 * What an edit that was killed together with its guardian has left goes before nobody knows of it any more. Of a move
 * by dm-clone that is not at its end only the intent knows where it goes.
 */
static int settle_old_intent(const char *name)
{
	struct guard_line old;
	int ret = 0;

	if (!guard_read_intent(name, &old)) {
		if (old.moves && old.next)
			ret = err_fail(ERR_BUSY, name, "its move by dm-clone is not at its end");
		else
			guard_drop_overlay(name, &old);
	}
	if (ret)
		err_hint("qcow2ctl recover %s", name);
	guard_release_line(&old);
	return ret;
}

static int prepare(const char *name, const struct guard_request *request)
{
	int keep[3], ret;

	memset(&guard, 0, sizeof(guard));
	guard.lock = -1;
	guard.node = -1;
	guard.socket = -1;
	guard.turn = -1;
	guard.seconds = request->seconds;
	ret = run_lock(name, 0, &guard.lock);
	if (ret) {
		guard.lock = -1;
		return ret;
	}
	ret = look(name, request);
	if (!ret)
		ret = guard_check_frozen(&guard.device);
	if (!ret)
		ret = guard_check_places(&guard.device, request->file);
	if (!ret && request->other_file)
		ret = guard_check_places(&guard.device, request->other_file);
	if (!ret)
		ret = open_node(request->exclusive);
	if (ret)
		return ret;
	ret = settle_old_intent(name);
	if (ret)
		return ret;
	guard.line.other = request->sectors;
	if (request->writes)
		guard.line.copy = guard_copy_path(name, guard.device.image);
	keep[0] = guard.lock;
	keep[1] = guard.node;
	keep[2] = -1;
	ret = guard_fork(name, &guard.line, request->seconds, keep, &guard.socket,
			 &guard.guardian);
	/* What both share since the fork becomes ours with that, and he gets no copy of what only we need. */
	if (!ret)
		ret = lock_memory(request->memory + request->text);
	if (ret)
		return ret;
	/* Now there is somebody who takes it away. */
	guard.intent = true;
	ret = guard_write_intent(name, &guard.line);
	return ret ? err_errno_what(-ret, name, "cannot write down what is about to happen") : 0;
}

static void tell_guardian(char word)
{
	/* If he was killed, we go on alone. */
	(void)!send(guard.socket, &word, 1, MSG_NOSIGNAL);
}

/* ------------------------------------------------------------------------
 * Suspend
 */

static void ring(int signal)
{
	(void)signal;
}

/* With an alarm clock. A file system that is being frozen does not hear it: then it is too late at the end. */
int guard_halt(const char *name, bool freeze, bool flush)
{
	struct sigaction action = { .sa_handler = ring }, old;
	bool late;
	int ret;

	sigaction(SIGALRM, &action, &old);
	alarm(guard.seconds);
	ret = dm_suspend(name, freeze, flush);
	late = !alarm(0);
	sigaction(SIGALRM, &old, NULL);
	if (!ret) {
		guard.suspended = true;
		tell_guardian(GUARD_SUSPENDED);
	}
	if (late && (!ret || ret == -EINTR))
		return err_fail(ERR_BUSY, name, "it could not be suspended within %u seconds",
				guard.seconds);
	if (ret == -EINTR)
		return err_fail(ERR_FAILED, name, "interrupted");
	/* Of older kernels; newer ones count how often it is frozen. */
	if (ret == -EBUSY && freeze) {
		err_fail(ERR_BUSY, name, "a file system on it is frozen by somebody else");
		err_hint("thaw it, or say --nolockfs: what is frozen is whole as it is");
		return ERR_BUSY;
	}
	return ret ? err_errno_what(-ret, name, "cannot suspend the device") : 0;
}

/* From top to bottom. */
static int suspend_all(const struct guard_request *request)
{
	/* What waits for space does not get done before the suspend. */
	bool full = guard.device.status.space && !strcmp(guard.device.status.space, "full");
	int ret = guard_halt(name_of(), request->freeze && !full, !full);

	if (!ret && guard.real)
		ret = guard_halt(guard.real, false, true);
	return ret;
}

static int verify(const struct guard_request *request)
{
	struct device device;
	int ret = device_get(name_of(), &device);

	if (ret)
		return device_fail(ret, name_of());
	if (!device.dm.suspended || !device.status.claim || strcmp(device.status.claim, "parked"))
		ret = err_fail(ERR_BUSY, name_of(), "somebody else resumed it meanwhile");
	else if (!device.status.clean || strcmp(device.status.clean, "yes"))
		ret = err_fail(ERR_FAILED, name_of(), "its last data could not be written");
	else if (request->exclusive && device.dm.open_count > 1)
		guard.opened = true;
	device_release(&device);
	if (guard.opened)
		ret = ERR_BUSY;
	return ret;
}

/* If it is to be shorter: before it is suspended, and nobody has it open. */
static int shorten(const struct guard_request *request)
{
	int ret;

	if (!request->sectors || request->sectors >= guard.sectors)
		return 0;
	ret = guard_load(&guard.device.dm, request->sectors, guard.line.params);
	if (ret)
		return ret;
	ret = dm_swap(name_of(), false);
	if (ret) {
		guard_rescue(name_of(), &guard.line);
		return err_errno_what(-ret, name_of(), "cannot change the table");
	}
	guard.sectors = request->sectors;
	return 0;
}

static int begin(const char *name, const struct guard_request *request, guard_make *make,
		 void *data)
{
	MEM_FREE char *params = NULL;
	int ret = prepare(name, request);

	if (!ret)
		ret = shorten(request);
	if (!ret && make)
		ret = make(&guard.device, data, &params);
	if (!ret && params)
		ret = guard_load(&guard.device.dm, guard.sectors, params);
	if (ret)
		return ret;
	guard.loaded = params;
	guard.made = params;
	out_hold(request->text);
	guard.begin = guard_now();
	ret = suspend_all(request);
	if (!ret)
		return verify(request);
	if (!guard.suspended)
		out_let_go();
	return ret;
}

/* ------------------------------------------------------------------------
 * Resume
 */

/* Has it the table that was loaded, so long? What the kernel refused once it may have taken when it was asked again. */
static bool has_new_table(u64 sectors)
{
	struct device device;
	bool has = !device_get(name_of(), &device) && device.dm.sectors == sectors &&
		   (strcmp(device.dm.table, guard.line.params) != 0) == guard.made &&
		   !guard_has_wrong_mode(&device);

	device_release(&device);
	return has;
}

/* With the wanted table, if that is another one. It is not suspended any more, or else an error. */
static int resume(void)
{
	u64 want = guard.want ? guard.want : guard.line.sectors;
	int ret = 0, error, refused;

	if (!guard.real && (want != guard.sectors || (guard.renew && guard_has_wrong_mode(&guard.device)))) {
		ret = guard_load(&guard.device.dm, want, guard.line.params);
		guard.loaded = !ret;
	}
	error = guard.real ? dm_resume_only(guard.real) : 0;
	if (!error)
		error = dm_resume(name_of());
	refused = guard.loaded ? error : 0;
	if (error)
		error = guard_rescue(name_of(), &guard.line);
	guard.suspended = error;
	if (refused && !error && has_new_table(want))
		err_warn(name_of(), "the kernel resumed the new table only when it was asked again: %s",
			 strerror(-refused));
	else if (refused)
		ret = err_errno_what(-refused, name_of(), "the kernel does not resume the new table");
	if (!error)
		return ret;
	return guard_fail_rescue(name_of(), error);
}

static void note_pause(u64 pause)
{
	err_note("paused %s for %.1f ms", name_of(), pause / 1e6);
}

/* It runs: whoever we wait for now, nobody has to wait for us. */
static void dismiss(void)
{
	if (guard.suspended || guard.socket < 0)
		return;
	/* While the guardian is still there to do it, if we do not get so far. */
	if (guard.intent && !guard.unfinished)
		guard_forget_intent(name_of(), &guard.line);
	tell_guardian(GUARD_DONE);
	close(guard.socket);
	guard.socket = -1;
	waitpid(guard.guardian, NULL, 0);
}

static void give_back(void)
{
	bool runs = !guard.suspended;

	dismiss();
	if (guard.socket >= 0)
		close(guard.socket);
	if (guard.node >= 0)
		close(guard.node);
	if (guard.turn >= 0)
		close(guard.turn);
	/* Else it is the guardian's, who goes on. */
	if (guard.lock >= 0 && runs)
		run_unlock(name_of(), guard.lock);
	if (guard.locked)
		mem_unlock();
	device_release(&guard.device);
	guard_release_line(&guard.line);
	free(guard.real);
}

static int end(void)
{
	bool suspended = guard.suspended;
	u64 paused = 0;
	int ret = 0;

	if (suspended) {
		ret = resume();
		paused = guard_now() - guard.begin;
		dismiss();
	} else if (guard.guardian > 0) {
		/* A table that was loaded in vain, or made shorter. */
		dm_clear(name_of());
		if (guard.sectors != guard.line.sectors &&
		    !guard_load(&guard.device.dm, guard.line.sectors, guard.line.params))
			dm_swap(name_of(), false);
	}
	dm_settle();
	if (suspended && !guard.suspended)
		note_pause(paused);
	/* Paths are walked, which may lead to the device: not before it runs. */
	if (guard.opened)
		refuse_open(&guard.device);
	give_back();
	out_let_go();
	return ret;
}

int guard_suspend(const char *name, const struct guard_request *request)
{
	int ret = begin(name, request, NULL, NULL);

	if (ret)
		end();
	return ret;
}

void guard_want(u64 sectors)
{
	guard.want = sectors;
}

void guard_renew(void)
{
	guard.renew = true;
}

u64 guard_sectors(void)
{
	return guard.sectors;
}

int guard_resume(void)
{
	return end();
}

int guard_reload(const char *name, const struct guard_request *request, guard_make *make,
		 void *data)
{
	int ret = begin(name, request, make, data), error;

	if (ret && guard.suspended) {
		dm_clear(name);
		guard.loaded = false;
	}
	error = end();
	return ret ? ret : error;
}

/* ------------------------------------------------------------------------
 * Changes of the stack
 */

void guard_rest(void)
{
	u64 pause = guard_now() - guard.begin;
	bool paused = guard.suspended;

	guard.suspended = false;
	guard.rested = true;
	tell_guardian(GUARD_RESTS);
	out_let_go();
	if (paused)
		note_pause(pause);
}

void guard_wake(void)
{
	if (guard.turn < 0)
		guard.turn = guard_open_turn(&guard.line);
	out_hold(0);
	guard.begin = guard_now();
}

int guard_turn(void)
{
	return guard.turn < 0 ? 0 : guard_write_turn(guard.turn);
}

void guard_spare_state(void)
{
	free(guard.line.state);
	guard.line.state = NULL;
	guard_write_intent(name_of(), &guard.line);
}

int guard_only_way(const char *target, const char *params)
{
	int ret;

	guard.line.next = mem_printf("%s %s", target, params);
	ret = guard_write_intent(name_of(), &guard.line);
	return ret ? err_errno_what(-ret, RUN_FOLDER, "cannot write") : 0;
}

/* The one end of it, after success too. */
static int settle(int ret)
{
	int error = guard_rescue(name_of(), &guard.line);

	guard.unfinished = error == -ENODATA;
	guard.suspended = error && !guard.unfinished;
	return error ? guard_fail_rescue(name_of(), error) : ret;
}

int guard_change(const char *name, const struct guard_request *request,
		 const struct guard_change *change)
{
	bool paused = false, late, has_ahead;
	int ret = prepare(name, request);
	long ahead = 0;
	u64 pause = 0;

	/* The block layer makes it larger for a layer that wants so, and never smaller again. */
	has_ahead = guard.node >= 0 && !ioctl(guard.node, BLKRAGET, &ahead);
	if (!ret)
		ret = change->prepare(&guard.device, change->data);
	if (!ret) {
		guard_wake();
		ret = change->apply(&guard.device, change->data);
		paused = guard.suspended;
		pause = guard_now() - guard.begin;
	}
	/* What it had got is taken away. */
	late = guard.rested && !paused;
	if (late)
		guard.begin = guard_now();
	if (guard.intent)
		ret = settle(ret);
	if (has_ahead && !guard.suspended)
		ioctl(guard.node, BLKRASET, ahead);
	if (late || (paused && ret))
		pause = guard_now() - guard.begin;
	/* While the intent still tells it. */
	if (request->moved && guard.intent && guard_has_moved(name, &guard.line))
		request->moved(guard.line.moves, guard.line.state);
	if ((late || paused) && !guard.suspended)
		note_pause(pause);
	give_back();
	out_let_go();
	return ret;
}
