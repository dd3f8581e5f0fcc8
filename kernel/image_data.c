// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * An external data file: which one, opened, claimed, and large enough.
 *
 * The name that the image holds is not looked at: the table names the file, as
 * it does each layer. With such a file the L2 tables say only whether a cluster
 * is there. Where it lies is no question, so nothing is allocated, counted or
 * freed for it, and nothing can be shared: no snapshots, no compression.
 *
 * What is given up needs no quarantine for the same reason. The next write to a
 * guest cluster goes to the place where the last one was, so who still is on
 * the way there from the mapping of before reads or writes the same guest bytes
 * as who comes after: it has not ended, and no order was promised to it.
 */
#include <linux/slab.h>
#include "image.h"
#include "image_data.h"

static int refuse(const char **error, const char *sentence, int ret)
{
	*error = sentence;
	return ret;
}

static bool is_same(const struct qcow2_backend *a, const struct qcow2_backend *b)
{
	if (a->bdev || b->bdev)
		return a->bdev && b->bdev && a->bdev->bd_dev == b->bdev->bd_dev;
	return file_inode(a->file) == file_inode(b->file);
}

/* What the header and the table say of each other. */
static int check_table(const struct qcow2_image *image, const struct qcow2_layer *layer,
		       const char **error)
{
	const struct qcow2_header *h = &image->header;

	if (!image->geo.data_file)
		return layer->data_file ?
			refuse(error, "image has no external data file but the table gives one",
			       -EINVAL) : 0;
	if (!layer->top)
		return refuse(error, "image with an external data file can be the top layer only",
			      -EOPNOTSUPP);
	if (!layer->data_file)
		return refuse(error, "image has an external data file and the table gives none",
			      -ENOKEY);
	if (layer->writable && h->nb_snapshots)
		return refuse(error, "image with an external data file has internal snapshots",
			      -EUCLEAN);
	if (layer->writable && h->backing_file.length &&
	    (h->autoclear_features & QCOW2_AUTOCLEAR_DATA_FILE_RAW))
		return refuse(error, "image with a raw data file has a backing file", -EUCLEAN);
	return 0;
}

int qcow2_image_data_check(const struct qcow2_image *image, const char **error)
{
	const struct qcow2_backend *backend = image->data;

	if (!image->data_file)
		return 0;
	if (qcow2_backend_size(backend) < image->header.size)
		return refuse(error, "data file is shorter than the disk", -EUCLEAN);
	if (image->writable && qcow2_subcluster_size(&image->geo) < backend->granule)
		return refuse(error, "clusters are smaller than a block of the data file's storage",
			      -EOPNOTSUPP);
	return 0;
}

int qcow2_image_data_open(struct qcow2_image *image, struct dm_target *ti,
			  const struct qcow2_layer *layer, const char **error)
{
	struct qcow2_data_file *data;
	int ret;

	ret = check_table(image, layer, error);
	if (ret || !layer->data_file)
		return ret;
	data = kzalloc(sizeof(*data), GFP_NOIO);
	if (!data)
		return refuse(error, "out of memory", -ENOMEM);
	ret = qcow2_backend_open(&data->backend, ti, layer->data_file, image->writable, error);
	if (ret) {
		kfree(data);
		DMERR("data file %s: %s", layer->data_file, *error);
		return ret;
	}
	image->data_file = data;
	image->data = &data->backend;
	if (is_same(image->data, &image->backend))
		return refuse(error, "data file is the image itself", -EINVAL);
	ret = qcow2_image_join(image->data, &data->use, ti, layer, error);
	return ret ?: qcow2_image_data_check(image, error);
}

void qcow2_image_data_close(struct qcow2_image *image)
{
	struct qcow2_data_file *data = image->data_file;

	if (!data)
		return;
	qcow2_claim_leave(&data->use);
	qcow2_backend_close(&data->backend);
	kfree(data);
	image->data_file = NULL;
	image->data = &image->backend;
}
