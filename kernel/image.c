// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Open, verify, activate and put away one layer of a device.
 */
#include <linux/mm.h>
#include <linux/slab.h>
#include "image.h"
#include "image_data.h"
#include "image_metadata.h"
#include "image_snapshot.h"

#define HEADER_SECTOR	4096

static void log_image(const struct qcow2_image *image, const char *what)
{
	char *buf = kmalloc(PATH_MAX, GFP_NOIO);
	char *path = buf ? qcow2_backend_path(&image->backend, buf, PATH_MAX) : NULL;

	DMERR("%s: %s: %s", qcow2_backend_device(&image->backend),
	      IS_ERR_OR_NULL(path) ? "image" : path, what);
	kfree(buf);
}

/* Names of the incompatible features that nobody here knows. */
static void log_unknown_features(const void *cluster, size_t len, const struct qcow2_header *h)
{
	u64 bits = h->incompatible_features & ~QCOW2_INCOMPAT_KNOWN;
	char name[64];
	unsigned int bit;

	for (bit = 0; bit < 64; bit++) {
		if (!(bits & BIT_ULL(bit)))
			continue;
		qcow2_feature_name(cluster, len, h, 0, bit, name, sizeof(name));
		DMERR("unknown incompatible feature bit %u (\"%s\")", bit, name);
	}
}

/* Features that this version does not read, by name. */
static const char *unsupported_feature(const struct qcow2_header *h)
{
	if (h->crypt_method == QCOW2_CRYPT_AES)
		return "encrypted images (AES) are not supported";
	if (h->crypt_method == QCOW2_CRYPT_LUKS)
		return "encrypted images (LUKS) are not supported";
	return NULL;
}

static int refuse(const char **error, const char *sentence, int ret)
{
	*error = sentence;
	return ret;
}

/* What the header forbids for this use of the image. */
static int check_use(const struct qcow2_image *image, const struct qcow2_layer *layer,
		     const char **error)
{
	const struct qcow2_header *h = &image->header;
	const char *feature = unsupported_feature(h);

	if (feature)
		return refuse(error, feature, -EOPNOTSUPP);
	if (layer->writable && !image->marked &&
	    (h->incompatible_features & QCOW2_INCOMPAT_CORRUPT))
		return refuse(error, "image is marked corrupt and must be repaired first",
			      -EUCLEAN);
	if (layer->writable && (h->incompatible_features & QCOW2_INCOMPAT_DIRTY))
		return refuse(error, "image is dirty and must be repaired first", -EUCLEAN);
	if (layer->writable && (h->autoclear_features & QCOW2_AUTOCLEAR_BITMAPS) &&
	    h->nb_bitmaps && !layer->drop_bitmaps)
		return refuse(error, "image has bitmaps, writing needs \"bitmaps drop\"", -EPERM);
	if (layer->writable && image->geo.cluster_size < image->backend.granule)
		return refuse(error, "clusters are smaller than a block of the image's storage",
			      -EOPNOTSUPP);
	if (layer->writable && qcow2_subcluster_size(&image->geo) < image->backend.granule)
		return refuse(error, "subclusters are smaller than a block of the image's storage",
			      -EOPNOTSUPP);
	return 0;
}

/* Does the header name a backing file exactly where the table has a layer? */
static int check_backing(const struct qcow2_image *image, const struct qcow2_layer *layer,
			 const char **error)
{
	if (image->header.backing_file.length && layer->lowest && !layer->no_backing)
		return refuse(error, "image names a backing file and the table has no layer for it",
			      -ENOKEY);
	if (!image->header.backing_file.length && !layer->lowest)
		return refuse(error, "image names no backing file but the table has a layer below",
			      -EINVAL);
	return 0;
}

/* Read and verify the header cluster into image->header. Logs what is wrong. */
static int read_header(struct qcow2_image *image, const char **error)
{
	struct qcow2_header *h = &image->header;
	enum qcow2_verdict verdict;
	size_t len = HEADER_SECTOR;
	void *buf;
	int ret;

	buf = kvmalloc(HEADER_SECTOR, GFP_NOIO);
	if (!buf)
		return refuse(error, "out of memory", -ENOMEM);
	len = min_t(u64, len, qcow2_backend_size(&image->backend));
	ret = qcow2_backend_read(&image->backend, 0, buf, len);
	if (ret)
		goto out_read;
	verdict = qcow2_header_decode(buf, len, h);
	if (verdict && verdict != QCOW2_UNKNOWN_INCOMPATIBLE)
		goto out_verdict;
	kvfree(buf);
	len = min_t(u64, 1ULL << h->cluster_bits, qcow2_backend_size(&image->backend));
	buf = kvmalloc(len, GFP_NOIO);
	if (!buf)
		return refuse(error, "out of memory", -ENOMEM);
	ret = qcow2_backend_read(&image->backend, 0, buf, len);
	if (ret)
		goto out_read;
	if (verdict) {
		qcow2_header_extensions(buf, len, h);
		log_unknown_features(buf, len, h);
	} else {
		verdict = qcow2_header_extensions(buf, len, h);
	}
out_verdict:
	kvfree(buf);
	if (!verdict)
		return 0;
	log_image(image, qcow2_verdict_text(verdict));
	return refuse(error, qcow2_verdict_text(verdict), -qcow2_verdict_errno(verdict));
out_read:
	kvfree(buf);
	return refuse(error, "cannot read the header", ret);
}

static void set_geometry(struct qcow2_geometry *geo, const struct qcow2_header *h)
{
	qcow2_geometry_init(geo, h->version, h->cluster_bits, h->refcount_order,
			    h->incompatible_features & QCOW2_INCOMPAT_EXTENDED_L2,
			    h->incompatible_features & QCOW2_INCOMPAT_DATA_FILE, h->size);
}

/* The tables that the header names begin inside the image. */
static int check_tables(const struct qcow2_image *image, const char **error)
{
	const struct qcow2_header *h = &image->header;
	u64 end = qcow2_round_up(&image->geo, qcow2_backend_size(&image->backend));

	if (h->l1_size && h->l1_table_offset >= end)
		return refuse(error, "l1_table_offset lies beyond the end of the image", -EUCLEAN);
	if (h->refcount_table_offset >= end)
		return refuse(error, "refcount_table_offset lies beyond the end of the image",
			      -EUCLEAN);
	if (h->nb_snapshots && h->snapshots_offset >= end)
		return refuse(error, "snapshots_offset lies beyond the end of the image", -EUCLEAN);
	return 0;
}

int qcow2_image_join(struct qcow2_backend *backend, struct qcow2_use *use, struct dm_target *ti,
		     const struct qcow2_layer *layer, const char **error)
{
	struct qcow2_claim_args args = {
		.file = backend->file ?: backend->node,
		.dev = backend->bdev ? backend->bdev->bd_dev : 0,
		.same_file = backend->same_file,
		.role = layer->writable ? QCOW2_ROLE_WRITER : QCOW2_ROLE_READER,
		.table = ti->table,
	};
	int ret;

	if (layer->snapshot) {
		args.role = QCOW2_ROLE_VIEW;
		args.recheck = qcow2_view_recheck;
	}
	ret = qcow2_claim_join(use, &args, error);
	if (!ret && backend->same_file && layer->writable)
		qcow2_backend_use_file(backend, qcow2_claim_file(use));
	return ret;
}

static int open_qcow2(struct qcow2_image *image, struct dm_target *ti,
		      const struct qcow2_layer *layer, struct qcow2_cache *cache,
		      struct qcow2_epoch *epoch, void (*changed)(struct qcow2_meta *meta, bool now),
		      const char **error)
{
	int ret;

	ret = read_header(image, error);
	if (ret)
		return ret;
	set_geometry(&image->geo, &image->header);
	ret = check_use(image, layer, error);
	if (!ret)
		ret = check_backing(image, layer, error);
	if (!ret)
		ret = qcow2_image_data_open(image, ti, layer, error);
	if (!ret)
		ret = check_tables(image, error);
	image->size = image->header.size;
	if (!ret && layer->snapshot)
		ret = qcow2_view_open(image, layer->snapshot, error);
	if (ret) {
		log_image(image, *error);
		return ret;
	}
	ret = qcow2_meta_init(&image->meta, &image->geo, &image->backend, cache, changed);
	if (ret)
		return refuse(error, "out of memory", ret);
	qcow2_metaset_init(&image->metaset);
	qcow2_unwritten_init(&image->unwritten, image->geo.subcluster_bits);
	image->map.geo = &image->geo;
	image->map.meta = &image->meta;
	image->map.metaset = &image->metaset;
	image->map.epoch = epoch;
	mutex_init(&image->map.table_lock);
	image->rc.geo = &image->geo;
	image->rc.meta = &image->meta;
	image->rc.metaset = &image->metaset;
	image->rc.end = &image->map.end;
	mutex_init(&image->rc.lock);
	return 0;
}

int qcow2_image_open(struct qcow2_image *image, struct dm_target *ti,
		     const struct qcow2_layer *layer, struct qcow2_cache *cache,
		     struct qcow2_epoch *epoch,
		     void (*changed)(struct qcow2_meta *meta, bool now), const char **error)
{
	int ret;

	image->raw = layer->raw;
	image->writable = layer->writable;
	image->drop_bitmaps = layer->drop_bitmaps;
	image->data = &image->backend;
	ret = qcow2_backend_open(&image->backend, ti, layer->path, layer->writable, error);
	if (ret)
		return ret;
	ret = qcow2_image_join(&image->backend, &image->use, ti, layer, error);
	if (ret)
		goto out_close;
	if (image->raw)
		image->size = qcow2_backend_size(&image->backend);
	else
		ret = open_qcow2(image, ti, layer, cache, epoch, changed, error);
	if (ret)
		goto out_leave;
	return 0;

out_leave:
	qcow2_image_data_close(image);
	qcow2_claim_leave(&image->use);
	qcow2_view_close(image);
out_close:
	qcow2_backend_close(&image->backend);
	memset(image, 0, sizeof(*image));
	return ret;
}

int qcow2_image_reserve(struct qcow2_image *image)
{
	int ret = qcow2_backend_reserve(&image->backend);

	if (!ret && image->data_file)
		ret = qcow2_backend_reserve(&image->data_file->backend);
	if (!ret && !image->raw)
		ret = qcow2_meta_reserve(&image->meta, image->writable);
	return ret;
}

void qcow2_image_close(struct qcow2_image *image)
{
	if (!image->backend.file && !image->backend.dev)
		return;
	if (!image->raw) {
		qcow2_image_metadata_forget(image);
		qcow2_meta_exit(&image->meta);
	}
	qcow2_image_data_close(image);
	qcow2_claim_leave(&image->use);
	qcow2_view_close(image);
	qcow2_backend_close(&image->backend);
}

/* The header of now against the one that the constructor verified. */
static int reread_header(struct qcow2_image *image)
{
	struct qcow2_layer layer = {
		.writable = image->writable, .drop_bitmaps = image->drop_bitmaps,
	};
	struct qcow2_header old = image->header;
	const struct qcow2_header *h = &image->header;
	const char *error = NULL;
	int ret;

	ret = read_header(image, &error);
	if (!ret && (h->cluster_bits != old.cluster_bits || h->version != old.version ||
		     h->refcount_order != old.refcount_order ||
		     h->compression_type != old.compression_type ||
		     (h->incompatible_features ^ old.incompatible_features) &
			     QCOW2_INCOMPAT_EXTENDED_L2 ||
		     !(h->incompatible_features & QCOW2_INCOMPAT_DATA_FILE) != !image->data_file ||
		     !h->backing_file.length != !old.backing_file.length))
		ret = refuse(&error, "image changed since the table was loaded", -ESTALE);
	if (!ret)
		ret = check_use(image, &layer, &error);
	if (!ret)
		ret = check_tables(image, &error);
	if (!ret)
		ret = qcow2_image_data_check(image, &error);
	if (ret) {
		/* Its image may come back. */
		image->header = old;
		log_image(image, error);
		return ret;
	}
	image->data_raw = h->autoclear_features & QCOW2_AUTOCLEAR_DATA_FILE_RAW;
	image->geo.virtual_size = h->size;
	WRITE_ONCE(image->size, h->size);	/* status looks at it */
	return 0;
}

/*
 * Was the image cut behind our back, while it was in use or parked? An edit that makes it shorter
 * lowers the counts before.
 */
static int check_cut(struct qcow2_image *image)
{
	u64 used = image->damaged ? U64_MAX : 0;
	int ret = 0;

	if (image->map.end >= image->parked_end)
		return 0;
	if (!used && image->writable)
		ret = qcow2_refcount_used_end(&image->rc, image->map.end, image->parked_end, &used);
	if (ret && ret != -EUCLEAN)
		return ret;
	if (!ret && used <= image->map.end)
		return 0;
	log_image(image, "image was cut: clusters in use lie beyond its end");
	return -ESTALE;
}

static int activate_qcow2(struct qcow2_image *image)
{
	int ret;

	ret = reread_header(image);
	if (ret == -EUCLEAN && qcow2_backend_size(&image->backend) < image->parked_end)
		ret = -ESTALE;
	if (!ret && image->view)
		ret = qcow2_view_activate(image);
	if (ret)
		return ret;
	image->map.end = qcow2_round_up(&image->geo, qcow2_backend_size(&image->backend));
	image->map.old_end = image->map.end;
	image->damaged = false;
	image->meta.staged = 1;
	image->meta.written = 0;
	image->meta.durable = 0;
	ret = qcow2_image_metadata_read(image);
	if (ret)
		return ret;
	ret = check_cut(image);
	if (ret)
		qcow2_image_metadata_forget(image);
	else if (image->writable)
		qcow2_claim_recheck(&image->use);
	return ret;
}

static int invalidate(struct qcow2_image *image)
{
	int ret = qcow2_backend_invalidate(&image->backend);

	if (!ret && image->data_file)
		ret = qcow2_backend_invalidate(&image->data_file->backend);
	return ret;
}

/* The claim of the image, and of its data file: both or none. */
static int activate_claims(struct qcow2_image *image)
{
	int ret = qcow2_claim_activate(&image->use);

	if (ret || !image->data_file)
		return ret;
	ret = qcow2_claim_activate(&image->data_file->use);
	if (ret)
		qcow2_claim_deactivate(&image->use);
	return ret;
}

static void deactivate_claims(struct qcow2_image *image)
{
	if (image->data_file)
		qcow2_claim_deactivate(&image->data_file->use);
	qcow2_claim_deactivate(&image->use);
}

static void park_claims(struct qcow2_image *image, bool clean)
{
	if (image->data_file)
		qcow2_claim_park(&image->data_file->use, clean);
	qcow2_claim_park(&image->use, clean);
}

int qcow2_image_activate(struct qcow2_image *image)
{
	int ret;

	ret = activate_claims(image);
	if (ret)
		return ret;
	ret = invalidate(image);
	if (!ret && image->raw)
		WRITE_ONCE(image->size, qcow2_backend_size(&image->backend));
	else if (!ret)
		ret = activate_qcow2(image);
	if (ret) {
		deactivate_claims(image);
		return ret < 0 ? ret : -EIO;
	}
	WRITE_ONCE(image->active, true);
	return 0;
}

static void put_away(struct qcow2_image *image)
{
	if (!image->raw)
		qcow2_image_metadata_forget(image);
	invalidate(image);
	WRITE_ONCE(image->active, false);
}

void qcow2_image_deactivate(struct qcow2_image *image, bool clean)
{
	if (!image->active)
		return;
	image->parked_end = image->map.end;
	put_away(image);
	park_claims(image, clean);
}

void qcow2_image_lose(struct qcow2_image *image)
{
	park_claims(image, false);
}

int qcow2_image_handover(struct qcow2_image *image, dev_t heir)
{
	int ret = 0;

	if (image->data_file)
		ret = qcow2_claim_handover(&image->data_file->use, heir);
	return ret ?: qcow2_claim_handover(&image->use, heir);
}

void qcow2_image_abort(struct qcow2_image *image)
{
	if (!image->active)
		return;
	put_away(image);
	deactivate_claims(image);
}

int qcow2_image_clear_autoclear(struct qcow2_image *image, struct qcow2_commit *commit)
{
	u64 keep = 0;
	__be64 word;
	int ret;

	if (image->raw || !image->writable || image->header.version < 3)
		return 0;
	if (image->header.incompatible_features & QCOW2_INCOMPAT_DATA_FILE)
		keep = QCOW2_AUTOCLEAR_DATA_FILE_RAW;
	if (!(image->header.autoclear_features & ~keep))
		return 0;
	word = cpu_to_be64(image->header.autoclear_features & keep);
	ret = qcow2_commit_header(commit, offsetof(struct qcow2_header_disk, autoclear_features),
				  &word, sizeof(word));
	return ret ?: qcow2_commit_barrier(commit);
}

int qcow2_image_mark_corrupt(struct qcow2_image *image, struct qcow2_commit *commit)
{
	struct qcow2_header *h = &image->header;
	__be64 word;
	int ret;

	if (h->version < 3)
		return 0;
	image->marked = true;
	h->incompatible_features |= QCOW2_INCOMPAT_CORRUPT;
	word = cpu_to_be64(h->incompatible_features);
	ret = qcow2_commit_header(commit,
				  offsetof(struct qcow2_header_disk, incompatible_features),
				  &word, sizeof(word));
	return ret ?: qcow2_commit_barrier(commit);
}
