// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Messages to the target.
 */
#include <linux/sched/mm.h>
#include "target.h"

/* handover <major:minor>: that device may take the parked image over. */
static int message_handover(struct qcow2_target *t, char **argv)
{
	unsigned int major, minor;
	char dummy;

	if (sscanf(argv[1], "%u:%u%c", &major, &minor, &dummy) != 2)
		return -EINVAL;
	return qcow2_image_handover(qcow2_chain_top(&t->chain), MKDEV(major, minor));
}

/* retry: there is space now. */
static int message_retry(struct qcow2_target *t, char **argv)
{
	/* Beside suspend and resume; a retry too many does nothing. */
	if (!READ_ONCE(qcow2_chain_top(&t->chain)->active))
		return -EBUSY;
	qcow2_io_retry(&t->io);
	schedule_work(&t->space);
	return 0;
}

/* check, check_stop: go through the metadata while the device is in use. */
static int message_check(struct qcow2_target *t, char **argv)
{
	return qcow2_check_start(&t->check);
}

static int message_check_stop(struct qcow2_target *t, char **argv)
{
	qcow2_check_stop(&t->check);
	return 0;
}

static const struct {
	const char *name;
	unsigned int argc;
	int (*run)(struct qcow2_target *t, char **argv);
} messages[] = {
	{ "handover", 2, message_handover },
	{ "retry", 1, message_retry },
	{ "check", 1, message_check },
	{ "check_stop", 1, message_check_stop },
};

int qcow2_target_message(struct dm_target *ti, unsigned int argc, char **argv, char *result,
			 unsigned int maxlen)
{
	unsigned int noio = memalloc_noio_save();
	int i, ret = -EINVAL;

	for (i = 0; i < ARRAY_SIZE(messages); i++) {
		if (!strcmp(argv[0], messages[i].name) && argc == messages[i].argc) {
			ret = messages[i].run(ti->private, argv);
			break;
		}
	}
	memalloc_noio_restore(noio);
	return ret;
}
