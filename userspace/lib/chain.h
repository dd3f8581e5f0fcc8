/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Which files a device is made of. The names inside an image are whatever its
 * author wrote; by default none of them is opened, the caller says each layer.
 */
#ifndef QCOW2CTL_CHAIN_H
#define QCOW2CTL_CHAIN_H

#include <stdbool.h>
#include <stddef.h>
#include "image.h"

/* What happens to a name that no option gives a file for. */
enum chain_policy {
	CHAIN_EXPLICIT,		/* refused */
	CHAIN_FOLLOW,		/* opened, if it lies beneath an allowed folder */
	CHAIN_NONE,		/* ignored, reads as zeros */
};

struct chain_request {
	const char *image;
	char **backing;			/* "PATH,format=F", top down; NULL = none */
	const char *data_file;
	enum chain_policy policy;
	char **allow_under;
};

struct chain {
	struct image *layers;		/* top first */
	size_t nr_layers;
	bool no_backing;		/* the last layer names a file that is ignored */
	struct image data_file;		/* fd -1 if there is none */
};

/*
 * Open and verify all of them. Prints and returns an exit code; chain_close()
 * also after an error.
 */
int chain_open(struct chain *chain, const struct chain_request *request);
void chain_close(struct chain *chain);

/*
 * Open what @image calls its @what, only if that is a file in the image's own folder or below, and
 * no symbolic link. Prints and returns an exit code; image_close() also after an error.
 */
int chain_open_beside(const struct image *image, const char *what, const char *name, struct image *next);
/* Could it? 0 or a negative errno, -EPERM if it lies elsewhere; prints nothing. */
int chain_find_beside(const struct image *image, const char *name);

/* A layer under a raw one: prints that and returns ERR_USAGE. */
int chain_refuse_under_raw(const char *text);

/* "PATH,format=F", split at the last ",format=". *@path is for the caller to free. */
int chain_split(const char *text, char **path, bool *raw);

#endif
