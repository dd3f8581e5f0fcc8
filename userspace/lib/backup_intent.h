/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * What a backup has made, for whoever comes after a loss: /run/qcow2ctl/NAME.frozen.intent is there
 * before anything else is.
 */
#ifndef QCOW2CTL_BACKUP_INTENT_H
#define QCOW2CTL_BACKUP_INTENT_H

#include "backup_point.h"

struct backup_intent {
	enum backup_kind kind;
	char *part, *store;	/* files, "" for none */
};

/* For the caller to free. */
char *backup_intent_path(const char *name);
/* Prints its error and returns an exit code. */
int backup_intent_write(const struct backup_point *point, enum backup_kind kind);
/* false: there is none. */
bool backup_intent_read(const char *name, struct backup_intent *intent);
void backup_intent_release(struct backup_intent *intent);

#endif
