/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Events of our devices, from one wait for all of them.
 *
 * The kernel only says that something happened to some device; what it was is
 * in the status, which keeps it for as long as it is so. So an event is a
 * state: it is reported when it begins, when we begin to look while it holds,
 * and when the target sends it again (on every resume).
 */
#ifndef QCOW2CTL_EVENT_H
#define QCOW2CTL_EVENT_H

#include <stdbool.h>
#include "device.h"

enum event {
	EVENT_LOW_WATER,	/* little space is left */
	EVENT_FULL,		/* writes wait for space */
	EVENT_OK,		/* there is space again */
	EVENT_FAIL,		/* a commit or barrier failed, or the device is lost */
	EVENT_CORRUPT,		/* corruption was found, the device is read-only */
	EVENT_COUNT
};

extern const char *const event_names[EVENT_COUNT];
/* The event called @name of @length bytes, or EVENT_COUNT. */
enum event event_find(const char *name, size_t length);

struct event_watch;

/* A descriptor that is readable when something happened since event_arm(), or -errno. */
int event_open(void);
/* Before looking at the devices, so that nothing in between is missed. 0 or -errno. */
int event_arm(int fd);

struct event_watch *event_watch_new(void);
void event_watch_free(struct event_watch *watch);
/* The events that @device has to report, as bits 1 << enum event. */
unsigned int event_look(struct event_watch *watch, const struct device *device);

#endif
