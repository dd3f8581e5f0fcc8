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
 *    groups, so it is not killed together with this one. The edit's descriptor is
 *    open before, because no path is walked later, and closed by the guardian
 *    before it says that it is there: so the lock on byte 300 goes with the last
 *    write of the dead, and until then the kernel answers EBUSY and the guardian
 *    tries again.
 *  - Resuming is always right, since a plan may be cut off everywhere (plan.h).
 *  - What is printed meanwhile is kept until the device runs and the guardian is
 *    gone: the reader may wait for it, or never read.
 *  - Files that lie on the device itself are refused (guard_place.c).
 *  - If both processes are killed, NAME.intent tells `recover` what to resume.
 *
 * A layer may stand over the image (interpose.h): then NAME is suspended, and after it NAME.real; and
 * NAME.real is resumed before NAME.
 *
 * One device at a time, and all of it in one thread. Functions returning int
 * print their error and return an exit code unless they say otherwise.
 */
#ifndef QCOW2CTL_GUARD_H
#define QCOW2CTL_GUARD_H

#include <stdbool.h>
#include <sys/types.h>
#include "device.h"
#include "newfile.h"

#define GUARD_SECONDS		30
/* dm-clone tries again what it could not copy, for ever; after so many seconds without progress nobody waits for it. */
#define GUARD_STALL		30
/* How much of the time mirrors may copy, in percent; 0 is what a move sets that keeps a rate. */
#define GUARD_SHARE		"/sys/module/dm_mirror/parameters/raid1_resync_throttle"
#define GUARD_STATE_FOLDER	"/var/lib/qcow2ctl"

/* The device has left @image for @dest. */
typedef void guard_moved(const char *image, const char *dest);

struct guard_request {
	bool writes;		/* a read-only device is refused */
	bool mends;		/* one that is read-only since corruption was found is welcome */
	bool freeze;		/* the file system on it */
	bool exclusive;		/* nobody else may have the device open */
	bool layered;		/* a layer may stand over the image */
	unsigned int seconds;	/* for the suspend, and again for all that follows */
	u64 memory;		/* bytes that the edit will need at most, roughly */
	u64 text;		/* bytes of the results that it prints meanwhile, at most */
	/* So long it is to be afterwards, and if that is less, before it is suspended; 0: as it is. */
	u64 sectors;
	const char *file, *other_file;	/* that must not lie on the device either, or NULL */
	const char *state;	/* a file that goes when the device has no layer at the end, or NULL */
	/*
	 * The device moves to another image, which is @state: that stays when the device has got there, else
	 * the device gets its old image back. Called in the first case, by whoever is there to do it.
	 */
	guard_moved *moved;
	/* A new image that goes if it is no layer of a device at the end, or NULL (guard_overlay.c). */
	const struct newfile *overlay;
};

/* Suspend, one device at a time. After an error nothing is suspended. */
int guard_suspend(const char *name, const struct guard_request *request);
/* The table that it is to have from guard_resume() on: the same line, so long. 0: as long as before guard_suspend(). */
void guard_want(u64 sectors);
/* Nothing of the image is corrupt any more: a device that is read-only since then gets its table anew. */
void guard_renew(void);
/* Resume. With the wanted table, or the old one if the kernel does not take it: that is an error. */
int guard_resume(void);
/* Of the device that is suspended. */
u64 guard_sectors(void);

/*
 * The parameters of a new table, for the guard to free. It is called when the guardian is there, and
 * the device runs.
 */
typedef int guard_make(const struct device *device, void *data, char **params);

/*
 * Swap the table for that which @make makes, as long as the old one, under a guardian as above. After
 * an error the device has its old table.
 */
int guard_reload(const char *name, const struct guard_request *request, guard_make *make,
		 void *data);

/* A change of the tables of NAME and NAME.real. */
struct guard_change {
	/* All that can fail. NAME runs, and has the same table afterwards. */
	int (*prepare)(const struct device *device, void *data);
	/*
	 * From guard_halt() of NAME to its resume; opens, reads and allocates nothing that is not there
	 * already. What is not done when it returns an error is undone by the guard.
	 */
	int (*apply)(const struct device *device, void *data);
	void *data;
};

/*
 * Change the stack under a guardian as above. At the end NAME runs, with the old tables or with the
 * new ones, and parts of it that are of no use any more are gone.
 */
int guard_change(const char *name, const struct guard_request *request,
		 const struct guard_change *change);
/* For apply(): suspend NAME, or a part of it, in time. */
int guard_halt(const char *name, bool freeze, bool flush);
/*
 * For apply(): NAME runs for a while that has no limit, and what it prints is seen; from guard_wake() on, and
 * the next guard_halt(), it is as before.
 */
void guard_rest(void);
void guard_wake(void);
/*
 * For apply(), when the image that the device moves to is complete on disk, and nothing writes to either: from
 * now on that one counts, also after a loss of power. It lasts until the guard has brought back the old one.
 * Negative errno.
 */
int guard_turn(void);
/* For prepare(): what stands where the new state was to be is not ours. */
void guard_spare_state(void);
/* For prepare(): from the resume of layer clone on there is only the way to this table. */
int guard_only_way(const char *target, const char *params);

/* What the parts know of each other. */

/* Nanoseconds of a clock that nobody sets. */
u64 guard_now(void);

/* The image's table, to go back to, as NAME.intent has it. */
struct guard_line {
	u64 sectors;
	u64 other;		/* sectors that it would have after the edit; 0: as many */
	bool readonly;
	char *params;
	char *copy;		/* path of the copy of NAME.intent, or NULL or "" */
	char *state;		/* of struct guard_request, or NULL */
	char *moves;		/* path of the image that the device is about to leave, or NULL */
	char *next;		/* "TARGET PARAMS" that it gets then, where there is no way back; or NULL */
	bool turned;		/* in the copy alone: the new image counts, see guard_turn() */
	guard_moved *moved;	/* not in NAME.intent */
	char *overlay;		/* its inode's number and its path, or NULL */
};

/* After corruption was found a device is read-only until it gets a new table. */
bool guard_has_wrong_mode(const struct device *device);
/* May it be suspended for @request? Prints why not. */
int guard_check_state(const struct device *device, const struct guard_request *request);
/* Nor if a file that it writes to lies on a frozen file system. */
int guard_check_frozen(const struct device *device);
/* Load an image's table and say why not, if so. */
int guard_load(const struct dm_device *dm, u64 sectors, const char *params);
/* Does a file that must be there meanwhile, or @file, lie on @device? */
int guard_check_places(const struct device *device, const char *file);
/* One attempt of that which follows. -EINPROGRESS: dm-clone has to copy on, and has so many regions. */
int guard_settle(const char *name, const struct guard_line *line, bool impatient, u64 *copied);
/* Is NAME where it was to be moved to? */
bool guard_has_moved(const char *name, const struct guard_line *line);
/* Where dm-clone keeps what it has copied; for the caller to free. */
char *guard_clone_path(const char *name, const struct guard_line *line);
/*
 * Make it run, with the table that it has or with @line. 0, or negative errno; prints nothing. -ENODATA: it runs by
 * dm-clone, which cannot copy the rest; what tells how it goes on must stay.
 */
int guard_rescue(const char *name, const struct guard_line *line);
/* Say that guard_rescue() has failed, and what to do then. Returns an exit code. */
int guard_fail_rescue(const char *name, int error);
/*
 * A device that runs, after an edit that was cut off: of the two lengths of @line it gets the longer
 * one if its disk has that, as the kernel knows, and if it is the device of @line still. 0, or
 * negative errno; prints nothing.
 */
int guard_fit(const char *name, const struct guard_line *line);
/*
 * Under its lock: there is no such device any more, and what an edit of it that was killed together with
 * its guardian has left goes before another one gets the name. Prints what it was.
 */
void guard_bury(const char *name);
/*
 * Fork the guardian. *@fd is the socket to it; @keep are descriptors that it
 * keeps, -1 at the end.
 */
int guard_fork(const char *name, const struct guard_line *line, unsigned int seconds,
	       const int *keep, int *fd, pid_t *pid);
/* Words to the guardian. */
#define GUARD_SUSPENDED	's'	/* from now on the seconds are counted again */
#define GUARD_DONE	'd'	/* it runs */
#define GUARD_RESTS	'w'	/* it runs, and the seconds are not counted until the next suspend */

/* Negative errno. The copy is made if it can be. */
int guard_write_intent(const char *name, const struct guard_line *line);
/* @line is for guard_release_line() also after an error. */
int guard_read_intent(const char *name, struct guard_line *line);
void guard_release_line(struct guard_line *line);
void guard_forget_intent(const char *name, const struct guard_line *line);
/* Where the copy lies, for the caller to free; NULL if there is no such image. */
char *guard_copy_path(const char *name, const char *image);
/*
 * Was this copy left by a machine that went down? One that others could have written counts for nothing.
 * @line is for guard_release_line() in any case.
 */
bool guard_is_stale(const char *copy, struct guard_line *line);
/* Is it about this image, or one that is not where it was then? */
bool guard_is_about(const struct guard_line *line, const char *image);
/* The place in the copy where guard_turn() writes; -1: there is none. Opened for writing. */
int guard_open_turn(const struct guard_line *line);
/* 0 or negative errno; prints nothing. */
int guard_write_turn(int fd);
/* The old image counts again. */
void guard_turn_back(const struct guard_line *line);
/* What @line says of @file, for the caller to free; NULL: nothing that could be taken away. */
char *guard_overlay(const struct newfile *file);
/* Is it a layer of any device, whichever state that is in? When in doubt it is. */
bool guard_is_layer(const struct image *image);
/* The device runs: take the overlay away that did not become a layer of it. */
void guard_drop_overlay(const char *name, const struct guard_line *line);

#endif
