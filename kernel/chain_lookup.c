// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * The way down the layers: where a guest offset lies, and what is there.
 */
#include <linux/math.h>
#include <linux/minmax.h>
#include "chain.h"

/* A raw layer is data to its end; an odd last sector stands alone. */
static void raw_extent(u64 goff, u64 len, struct qcow2_extent *extent)
{
	u64 whole = round_down(len, 1 << SECTOR_SHIFT);

	extent->kind = QCOW2_EXTENT_DATA;
	extent->hoff = goff;
	extent->owned = false;
	extent->number = 0;
	extent->len = whole ?: 1 << SECTOR_SHIFT;
}

static void zero_extent(u64 len, struct qcow2_extent *extent)
{
	extent->kind = QCOW2_EXTENT_ZERO;
	extent->hoff = 0;
	extent->owned = false;
	extent->len = len;
}

/*
 * What a lookup that waits has seen of the layers below the top. They do not change while they
 * are in use: only the top has to be looked at again.
 */
struct seen {
	unsigned int layer;	/* 0: nothing; those between the top and it have nothing at goff */
	u64 len;		/* for so many bytes */
};

static __always_inline void look_down(const struct qcow2_chain *chain, u64 goff, u64 len,
				      struct seen *seen, struct qcow2_extent *extent,
				      unsigned int *layer)
{
	const struct qcow2_image *image;
	unsigned int i;
	u64 left;

	for (i = 0; i < chain->nr_layers; i++) {
		if (seen && i && i < seen->layer) {
			i = seen->layer;
			len = min(len, seen->len);
		}
		*layer = i;
		image = &chain->layers[i];
		left = image->size > goff ? image->size - goff : 0;
		if (!left)
			break;
		if (image->raw) {
			raw_extent(goff, min(len, left), extent);
			return;
		}
		qcow2_map_lookup(&image->map, goff, min(len, left), extent);
		if (extent->kind != QCOW2_EXTENT_BELOW) {
			if (seen && i && extent->kind == QCOW2_EXTENT_MISS)
				*seen = (struct seen){ .layer = i, .len = len };
			return;
		}
		len = extent->len;
	}
	zero_extent(len, extent);
}

void qcow2_chain_lookup(const struct qcow2_chain *chain, u64 goff, u64 len,
			struct qcow2_extent *extent, unsigned int *layer)
{
	look_down(chain, goff, len, NULL, extent, layer);
}

static void put_pin(struct qcow2_slice **pin)
{
	if (*pin)
		qcow2_meta_put(*pin);
	*pin = NULL;
}

/*
 * However small the cache is and however many the layers, this comes to an end: what it has seen
 * of lower layers it does not need again, and the slices of the top and of the layer loaded last
 * stay pinned, so that other readers cannot push them out again and again. Who waits for memory
 * for one has a pin on the top at most, so nobody waits in a circle (meta.h).
 */
int qcow2_chain_lookup_wait(struct qcow2_chain *chain, u64 goff, u64 len,
			    struct qcow2_extent *extent, unsigned int *layer,
			    unsigned int *epoch)
{
	struct qcow2_slice *top = NULL, *below = NULL, **pin;
	struct seen seen = {};
	struct qcow2_map *map;
	int ret = 0;

	for (;;) {
		*epoch = qcow2_epoch_enter(&chain->epoch);
		look_down(chain, goff, len, &seen, extent, layer);
		if (extent->kind != QCOW2_EXTENT_MISS)
			break;
		qcow2_epoch_leave(&chain->epoch, *epoch);
		map = &chain->layers[*layer].map;
		pin = *layer ? &below : &top;
		put_pin(pin);
		ret = qcow2_map_load(map, goff, false, pin);
		if (ret == -ENOMEM) {
			put_pin(&below);
			ret = qcow2_map_load(map, goff, true, pin);
		}
		if (ret == -EUCLEAN)
			qcow2_chain_corrupt(chain, *layer, goff, QCOW2_L1_ENTRY_RANGE);
		if (ret)
			break;
	}
	put_pin(&below);
	put_pin(&top);
	return ret;
}

int qcow2_chain_is_zero(struct qcow2_chain *chain, u64 goff, u64 len, bool *zero)
{
	struct qcow2_extent extent;
	unsigned int layer, epoch;
	int ret;

	*zero = true;
	while (len && *zero) {
		ret = qcow2_chain_lookup_wait(chain, goff, len, &extent, &layer, &epoch);
		if (ret)
			return ret;
		qcow2_epoch_leave(&chain->epoch, epoch);
		*zero = extent.kind == QCOW2_EXTENT_ZERO;
		goff += extent.len;
		len -= min(len, extent.len);
	}
	return 0;
}

/* The first @len bytes of @extent into @buf. Leaves the epoch. */
static int read_extent(struct qcow2_chain *chain, unsigned int layer, u64 goff,
		       const struct qcow2_extent *extent, unsigned int epoch, void *buf, u32 len)
{
	struct qcow2_inflated *inflated;
	int ret = 0;

	switch (extent->kind) {
	case QCOW2_EXTENT_ZERO:
		memset(buf, 0, len);
		break;
	case QCOW2_EXTENT_DATA:
		ret = qcow2_backend_read(chain->layers[layer].data, extent->hoff, buf, len);
		break;
	case QCOW2_EXTENT_COMPRESSED:
		ret = qcow2_chain_inflate(chain, layer, goff, extent, epoch, &inflated);
		if (ret)
			return ret;
		memcpy(buf, inflated->data + qcow2_chain_in_cluster(chain, layer, goff), len);
		qcow2_unzip_put(&chain->unzip, inflated);
		return 0;
	default:
		qcow2_chain_corrupt(chain, layer, goff, extent->why);
		ret = -EUCLEAN;
	}
	qcow2_epoch_leave(&chain->epoch, epoch);
	return ret;
}

int qcow2_chain_read(struct qcow2_chain *chain, u64 goff, void *buf, u32 len)
{
	struct qcow2_extent extent;
	unsigned int layer, epoch;
	u32 n;
	int ret;

	while (len) {
		ret = qcow2_chain_lookup_wait(chain, goff, len, &extent, &layer, &epoch);
		if (ret)
			return ret;
		n = min_t(u64, len, extent.len);
		ret = read_extent(chain, layer, goff, &extent, epoch, buf, n);
		if (ret == -EAGAIN)
			continue;
		if (ret)
			return ret;
		goff += n;
		buf += n;
		len -= n;
	}
	return 0;
}
