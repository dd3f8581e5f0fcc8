// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Compressed clusters on the way down: from a mapping to bytes, and from a
 * mapping that is given up to the host clusters that it used.
 *
 * Nobody waits for a job inside the epoch (rules.md (c)2), so the mapping is
 * looked up again with the job in hand, and the compressed bytes are read
 * before the epoch is left: until then nobody else can use their place.
 */
#include <linux/align.h>
#include "chain.h"

void qcow2_chain_unzip_init(struct qcow2_chain *chain)
{
	const struct qcow2_image *image;
	u32 size = 0, granule = 1;
	bool zstd = false;
	unsigned int i;

	for (i = 0; i < chain->nr_layers; i++) {
		image = &chain->layers[i];
		if (image->raw)
			continue;
		size = max(size, image->geo.cluster_size);
		granule = max(granule, image->backend.granule);
		zstd |= image->header.compression_type == QCOW2_COMPRESSION_ZSTD;
	}
	if (size)
		qcow2_unzip_init(&chain->unzip, size, granule, zstd);
}

/* Told with the start of the cluster, whichever part of it was wanted. */
static int damaged(struct qcow2_chain *chain, unsigned int layer, u64 goff, u64 hoff,
		   const char *what)
{
	goff -= qcow2_chain_in_cluster(chain, layer, goff);
	DMERR_LIMIT("%s: layer %u: guest offset 0x%llx: compressed cluster at 0x%llx %s",
		    chain->name, layer, goff, hoff, what);
	qcow2_commit_fault(&chain->commit, QCOW2_FAULT_INFLATE, goff);
	return -EUCLEAN;
}

static int misplaced(struct qcow2_chain *chain, unsigned int layer, u64 goff, u64 hoff)
{
	return damaged(chain, layer, goff, hoff, "lies beyond the end of the image or in metadata");
}

/* The compressed bytes, to job->in + *@skip; what lies past the end is zeros. */
static int read_zipped(struct qcow2_image *image, const struct qcow2_zipped *zipped,
		       struct qcow2_unzip_job *job, u32 *skip)
{
	struct qcow2_backend *backend = &image->backend;
	u64 start = round_down(zipped->hoff, backend->granule);
	u64 end = round_up(zipped->hoff + zipped->len, backend->granule);
	u64 there = end;

	if (backend->bdev)
		there = min(end, max(start, qcow2_backend_size(backend)));
	*skip = zipped->hoff - start;
	memset(job->in + (there - start), 0, end - there);
	return qcow2_backend_read(backend, start, job->in, there - start);
}

/* Look up again and read, in one epoch. -EAGAIN: it is something else by now. */
static int fill_job(struct qcow2_chain *chain, u64 goff, const struct qcow2_zipped *zipped,
		    struct qcow2_unzip_job *job, u32 *skip)
{
	struct qcow2_extent extent;
	unsigned int layer, epoch;
	int ret;

	ret = qcow2_chain_lookup_wait(chain, goff, 1 << SECTOR_SHIFT, &extent, &layer, &epoch);
	if (ret)
		return ret;
	if (extent.kind == QCOW2_EXTENT_COMPRESSED && &chain->layers[layer] == zipped->image &&
	    extent.hoff == zipped->hoff && extent.compressed_length == zipped->len)
		ret = read_zipped(&chain->layers[layer], zipped, job, skip);
	else
		ret = -EAGAIN;
	qcow2_epoch_leave(&chain->epoch, epoch);
	return ret;
}

static struct qcow2_zipped zipped_of(const struct qcow2_image *image,
				     const struct qcow2_extent *extent)
{
	return (struct qcow2_zipped){
		.image = image,
		.hoff = extent->hoff,
		.len = extent->compressed_length,
		.size = image->geo.cluster_size,
		.type = image->header.compression_type,
	};
}

struct qcow2_inflated *qcow2_chain_find_inflated(struct qcow2_chain *chain, unsigned int layer,
						 const struct qcow2_extent *extent)
{
	struct qcow2_zipped zipped = zipped_of(&chain->layers[layer], extent);

	return zipped.len ? qcow2_unzip_find(&chain->unzip, &zipped) : NULL;
}

int qcow2_chain_inflate(struct qcow2_chain *chain, unsigned int layer, u64 goff,
			const struct qcow2_extent *extent, unsigned int epoch,
			struct qcow2_inflated **inflated)
{
	struct qcow2_zipped zipped = zipped_of(&chain->layers[layer], extent);
	struct qcow2_unzip_job *job;
	u32 skip;
	int ret;

	*inflated = qcow2_chain_find_inflated(chain, layer, extent);
	qcow2_epoch_leave(&chain->epoch, epoch);
	if (*inflated)
		return 0;
	if (!zipped.len)
		return misplaced(chain, layer, goff, zipped.hoff);
	ret = qcow2_unzip_begin(&chain->unzip, &zipped, &job);
	if (ret)
		return ret;
	ret = fill_job(chain, goff, &zipped, job, &skip);
	if (ret) {
		qcow2_unzip_cancel(job);
		return ret;
	}
	*inflated = qcow2_unzip_run(job, skip);
	return *inflated ? 0 : damaged(chain, layer, goff, zipped.hoff, "is damaged");
}

int qcow2_chain_given_up(struct qcow2_chain *chain, u64 goff,
			 const struct qcow2_l2_entry *entry, struct qcow2_freed *freed)
{
	const struct qcow2_image *top = qcow2_chain_top(chain);
	u32 len;

	freed->hclu = qcow2_to_clu(&top->geo, entry->hoff);
	freed->count = 1;
	if (entry->kind != QCOW2_CLUSTER_COMPRESSED)
		return qcow2_chain_claim(chain, freed, 0);
	len = qcow2_map_compressed_length(&top->map, entry);
	if (!len)
		return misplaced(chain, 0, goff, entry->hoff);
	freed->count = qcow2_compressed_last_clu(&top->geo, entry->hoff, len) - freed->hclu + 1;
	return qcow2_chain_claim(chain, freed, 0);
}
