// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Events of our devices.
 *
 * libdevmapper waits for one device at a time; waiting for all of them is one
 * ioctl on a descriptor of our own, and poll().
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "event.h"
#include "mem.h"

#define BIT_OF(event)	(1U << (event))

const char *const event_names[EVENT_COUNT] = {
	[EVENT_LOW_WATER] = "low-water",
	[EVENT_FULL] = "full",
	[EVENT_OK] = "ok",
	[EVENT_FAIL] = "fail",
	[EVENT_CORRUPT] = "corrupt",
};

/* What was seen of one device. */
struct seen {
	char *uuid_and_number;	/* a device that was made anew is another one */
	u64 event_number;
	unsigned int states;
};

struct event_watch {
	struct seen *devices;
	size_t count;
};

enum event event_find(const char *name, size_t length)
{
	enum event event;

	for (event = 0; event < EVENT_COUNT; event++) {
		if (strlen(event_names[event]) == length &&
		    !strncmp(event_names[event], name, length))
			break;
	}
	return event;
}

int event_open(void)
{
	int fd = open("/dev/mapper/control", O_RDWR | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int event_arm(int fd)
{
	struct dm_ioctl header = {
		.version = { DM_VERSION_MAJOR },
		.data_size = sizeof(header),
		.data_start = sizeof(header),
	};

	return ioctl(fd, DM_DEV_ARM_POLL, &header) ? -errno : 0;
}

struct event_watch *event_watch_new(void)
{
	return mem_zalloc(sizeof(struct event_watch));
}

void event_watch_free(struct event_watch *watch)
{
	size_t i;

	for (i = 0; i < watch->count; i++)
		free(watch->devices[i].uuid_and_number);
	free(watch->devices);
	free(watch);
}

static bool is(const char *value, const char *word)
{
	return value && !strcmp(value, word);
}

static unsigned int states_of(const struct status *status)
{
	unsigned int states = 0;

	if (is(status->space, "low"))
		states |= BIT_OF(EVENT_LOW_WATER);
	if (is(status->space, "full"))
		states |= BIT_OF(EVENT_FULL);
	if (is(status->space, "ok"))
		states |= BIT_OF(EVENT_OK);
	if (is(status->mode, "fail") || is(status->mode, "lost"))
		states |= BIT_OF(EVENT_FAIL);
	if (status->corruptions && status->corruptions != OUT_ABSENT)
		states |= BIT_OF(EVENT_CORRUPT);
	return states;
}

/* What we know of @device; a device that we never saw has space, and nothing happened to it. */
static struct seen *find(struct event_watch *watch, const struct device *device)
{
	char *key = mem_printf("%s %s", device->dm.uuid, device->number);
	struct seen *seen;
	size_t i;

	for (i = 0; i < watch->count; i++) {
		if (!strcmp(watch->devices[i].uuid_and_number, key)) {
			free(key);
			return &watch->devices[i];
		}
	}
	watch->devices = mem_grow(watch->devices, watch->count, sizeof(*watch->devices));
	seen = &watch->devices[watch->count++];
	*seen = (struct seen){
		.uuid_and_number = key,
		.event_number = device->dm.event_number,
		.states = BIT_OF(EVENT_OK),
	};
	return seen;
}

unsigned int event_look(struct event_watch *watch, const struct device *device)
{
	struct seen *seen = find(watch, device);
	unsigned int states = states_of(&device->status);
	unsigned int begun = states & ~seen->states;

	/* Sent again, and nothing new to tell: the states that hold were meant. */
	if (!begun && seen->event_number != device->dm.event_number &&
	    !(seen->states & ~states))
		begun = states & ~BIT_OF(EVENT_OK);
	seen->states = states;
	seen->event_number = device->dm.event_number;
	return begun;
}
