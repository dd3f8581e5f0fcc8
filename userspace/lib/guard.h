/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Suspend a device for an edit of its image, so that it runs again whatever
 * happens to this process.
 *
 * A device that stays suspended hangs all who use it, for ever. Therefore:
 *
 *  - All that can fail comes before the suspend: the lock file, the descriptor
 *    that keeps the device, memory, which is locked, and the guardian.
 *  - The guardian is a process that waits at the other end of a socket. If this
 *    process dies, it resumes the device; if this process is too slow, it kills
 *    it first. It is in a session of its own and at the root of the control
 *    groups, so it is not killed together with this one. It is forked before the
 *    edit descriptor is opened, so the lock on byte 300 goes with the last write
 *    of the dead, and until then the kernel answers EBUSY and the guardian tries
 *    again.
 *  - Resuming is always right, since a plan may be cut off everywhere (plan.h).
 *  - What is printed meanwhile is kept until the device runs: the reader may
 *    wait for it.
 *  - Files that lie on the device itself are refused (guard_place.c).
 *  - If both processes are killed, NAME.intent tells `recover` what to resume.
 *
 * One device at a time, and all of it in one thread. Functions returning int
 * print their error and return an exit code unless they say otherwise.
 */
#ifndef QCOW2CTL_GUARD_H
#define QCOW2CTL_GUARD_H

#include <stdbool.h>
#include <sys/types.h>
#include "device.h"

#define GUARD_SECONDS		30
#define GUARD_STATE_FOLDER	"/var/lib/qcow2ctl"

struct guard_request {
	bool writes;		/* a read-only device is refused */
	bool freeze;		/* the file system on it */
	bool exclusive;		/* nobody else may have the device open */
	unsigned int seconds;	/* for the suspend, and again for all that follows */
	u64 memory;		/* bytes that the edit will need at most, roughly */
	/* So long it is to be afterwards, and if that is less, before it is suspended; 0: as it is. */
	u64 sectors;
	const char *file;	/* one more that must not lie on the device, or NULL */
};

/*
 * Suspend. A second call while the first is in force has no effect but that two
 * guard_resume() are needed. After an error nothing is suspended.
 */
int guard_suspend(const char *name, const struct guard_request *request);
/* It stays suspended for one guard_resume() more. */
void guard_keep(void);
/*
 * The table that it is to have from guard_resume() on: the same line, so long, and loaded anew if the
 * device is not in its right mode any more. 0: as long as before guard_suspend().
 */
void guard_want(u64 sectors);
/* Resume. With the wanted table, or the old one if the kernel does not take it: that is an error. */
int guard_resume(void);
/* Is it suspended here? Then its number of sectors, else 0. */
u64 guard_sectors(void);

/*
 * Swap the table for @params, as long as the old one, under a guardian as above. After an error the
 * device has its old table.
 */
int guard_reload(const char *name, const struct guard_request *request, const char *params);

/* What the parts know of each other. */

/* Nanoseconds of a clock that nobody sets. */
u64 guard_now(void);

/* The table to go back to, as NAME.intent has it. */
struct guard_line {
	u64 sectors;
	u64 other;		/* sectors that it would have after the edit; 0: as many */
	bool readonly;
	char *params;
	char *copy;		/* path of the copy of NAME.intent, or NULL or "" */
};

/* Does a file that must be there meanwhile, or @file, lie on @device? */
int guard_check_places(const struct device *device, const char *file);
/* Make it run, with the table that it has or with @line. 0, or negative errno; prints nothing. */
int guard_rescue(const char *name, const struct guard_line *line);
/*
 * A device that runs, after an edit that was cut off: of the two lengths of @line it gets the longer
 * one if its disk has that, as the kernel knows. 0, or negative errno; prints nothing.
 */
int guard_fit(const char *name, const struct guard_line *line);
/*
 * Fork the guardian. *@fd is the socket to it; @keep are descriptors that it
 * keeps, -1 at the end.
 */
int guard_fork(const char *name, const struct guard_line *line, unsigned int seconds,
	       const int *keep, int *fd, pid_t *pid);
/* Words to the guardian. */
#define GUARD_SUSPENDED	's'	/* from now on the seconds are counted again */
#define GUARD_DONE	'd'	/* it runs */

/* Negative errno. The copy is made if it can be. */
int guard_write_intent(const char *name, const struct guard_line *line);
/* @line is for guard_release_line() also after an error. */
int guard_read_intent(const char *name, struct guard_line *line);
void guard_release_line(struct guard_line *line);
void guard_forget_intent(const char *name, const struct guard_line *line);
/* Where the copy lies, for the caller to free; NULL if there is no such image. */
char *guard_copy_path(const char *name, const char *image);
/* Was this copy left by a machine that went down? */
bool guard_is_stale(const char *copy);

#endif
