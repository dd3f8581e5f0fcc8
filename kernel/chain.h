/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * The ordered layers under a device, top first, and all that its requests
 * share: cache, epochs, cells, commit, lanes.
 *
 * Layer 5, above image.
 */
#ifndef QCOW2_CHAIN_H
#define QCOW2_CHAIN_H

#include <linux/mempool.h>
#include "cell.h"
#include "commit.h"
#include "dm-qcow2.h"
#include "epoch.h"
#include "image.h"
#include "quarantine.h"
#include "unzip.h"

struct qcow2_chain {
	struct qcow2_image *layers;	/* I */
	unsigned int nr_layers;		/* I */
	bool writable;			/* I: the table is read-write */
	struct qcow2_stats __percpu *stats; /* I */
	struct qcow2_cache cache;
	struct qcow2_epoch epoch;
	/*
	 * writable only: requests from where they begin to change the mapping to
	 * where all is done, so that a check can wait for those that had begun. In it
	 * they may wait for each other and for a commit, but not for space.
	 */
	struct qcow2_epoch changes;
	struct qcow2_cells cells;
	struct qcow2_quarantine quarantine; /* writable only */
	struct qcow2_commit commit;	/* its mode is the device's, read-only too */
	/*
	 * Readers and metadata reads; writers, which may have to wait for a
	 * frozen file system; freed clusters, and writers that only have to stage
	 * what is written, so that nobody who waits for them is before them. The
	 * commit has its own. Constant from started on, see chain_start.c.
	 */
	struct workqueue_struct *read_lane;
	struct workqueue_struct *write_lane;
	struct workqueue_struct *free_lane;
	struct qcow2_unzip unzip;	/* nothing in it without a qcow2 layer */
	mempool_t fills;		/* writable only: cow.c's reserve */
	struct work_struct census;	/* counts used clusters for status */
	bool census_stop;
	void (*allocated)(struct qcow2_chain *chain); /* I: a batch was taken; must not sleep */
	void (*released)(struct qcow2_chain *chain); /* I: clusters are free again; may sleep */
	struct mapped_device *md;	/* I */
	const char *name;		/* I: of md */
	struct mutex start_lock;
	bool started;			/* start_lock; read anywhere: all is there */
	struct delayed_work start_work;
	int (*start)(struct qcow2_chain *chain); /* I: what lies above; again after -ENOMEM */
	void (*start_ended)(struct qcow2_chain *chain); /* I: of start_work */
};

/* What the constructor passes on. */
struct qcow2_chain_options {
	u64 cache_bytes;		/* 0: what maps the whole disk, bounded */
	unsigned int commit_ms;
	bool punch;			/* discard pass */
	void (*event)(struct qcow2_commit *commit, enum qcow2_event event);
	void (*allocated)(struct qcow2_chain *chain);
	void (*released)(struct qcow2_chain *chain);
	int (*start)(struct qcow2_chain *chain);
	void (*start_ended)(struct qcow2_chain *chain);
};

int qcow2_chain_module_init(void);
void qcow2_chain_module_exit(void);

/* Constructor and destructor; errors as qcow2_image_open(). close: also after a failed open. */
int qcow2_chain_open(struct qcow2_chain *chain, struct dm_target *ti,
		     const struct qcow2_layer *layers, unsigned int nr_layers,
		     const struct qcow2_chain_options *options, const char **error);
void qcow2_chain_close(struct qcow2_chain *chain);

/*
 * preresume: all layers, or none, and then every claim is what it was before.
 * @size bytes have to be there. The mode is set: rw, ro, lost.
 */
int qcow2_chain_activate(struct qcow2_chain *chain, u64 size);
/*
 * postsuspend: commit everything, give back what is reserved, put the layers
 * away. All requests of this device have ended or are waited for by the
 * caller. Gives whether the image is clean.
 */
bool qcow2_chain_deactivate(struct qcow2_chain *chain);

/* Has the device what requests need? Any context. */
static inline bool qcow2_chain_is_started(const struct qcow2_chain *chain)
{
	return smp_load_acquire(&chain->started);	/* the lanes that it stands for */
}

/* Begin with it; start_ended() is called when all is there. Any context. */
void qcow2_chain_start(struct qcow2_chain *chain);
/* Do it and wait. -ENOMEM: what was made stays. Sleeps; constructor and preresume. */
int qcow2_chain_start_now(struct qcow2_chain *chain);
/* Has somebody the device open, or another device its image? */
bool qcow2_chain_has_users(const struct qcow2_chain *chain);
/* chain.c only. */
void qcow2_chain_start_init(struct qcow2_chain *chain, struct dm_target *ti);
void qcow2_chain_close_lanes(struct qcow2_chain *chain);

static inline struct qcow2_image *qcow2_chain_top(const struct qcow2_chain *chain)
{
	return &chain->layers[0];
}

/* The id of the snapshot that the top layer is a view of, or NULL. */
const char *qcow2_chain_view(const struct qcow2_chain *chain);
/* Is it gone? Then nothing may be read. Any context. */
bool qcow2_chain_view_is_stale(const struct qcow2_chain *chain);
static inline bool qcow2_chain_is_stale(const struct qcow2_chain *chain)
{
	return unlikely(qcow2_chain_top(chain)->view) && qcow2_chain_view_is_stale(chain);
}

/*
 * Where guest range [@goff, @goff + @len) lies, down the layers. Caller is
 * inside the epoch. Never sleeps. BELOW never comes back: it is ZERO then.
 * *@layer is the layer of the extent (MISS: whose map has to be loaded).
 * @len and the result are multiples of 512; the last sector of a raw layer of
 * odd length is an extent of its own.
 */
void qcow2_chain_lookup(const struct qcow2_chain *chain, u64 goff, u64 len,
			struct qcow2_extent *extent, unsigned int *layer);
/*
 * The same, waiting for metadata: never MISS. Outside the epoch; sleeps. On 0
 * the caller is inside the epoch *@epoch, and leaves it.
 */
int qcow2_chain_lookup_wait(struct qcow2_chain *chain, u64 goff, u64 len,
			    struct qcow2_extent *extent, unsigned int *layer,
			    unsigned int *epoch);
/* Does the range read as zeros without a look at data? Outside the epoch; sleeps. */
int qcow2_chain_is_zero(struct qcow2_chain *chain, u64 goff, u64 len, bool *zero);
/* Read what the guest sees. Outside the epoch; sleeps. */
int qcow2_chain_read(struct qcow2_chain *chain, u64 goff, void *buf, u32 len);
/*
 * The compressed cluster @extent of @layer at @goff, as lookup_wait() found it, inflated; the
 * caller gives it to qcow2_unzip_put(). Leaves the epoch @epoch; sleeps. -EAGAIN: look up again.
 * -EUCLEAN: it is damaged, which was told; other errors: of the reading.
 */
int qcow2_chain_inflate(struct qcow2_chain *chain, unsigned int layer, u64 goff,
			const struct qcow2_extent *extent, unsigned int epoch,
			struct qcow2_inflated **inflated);
/*
 * The same if it is in the cache, else NULL. Inside the epoch, which stays; never sleeps; process
 * context.
 */
struct qcow2_inflated *qcow2_chain_find_inflated(struct qcow2_chain *chain, unsigned int layer,
						 const struct qcow2_extent *extent);
/* Where @goff is in a cluster of @layer. */
static inline u32 qcow2_chain_in_cluster(const struct qcow2_chain *chain, unsigned int layer,
					 u64 goff)
{
	return qcow2_in_cluster(&chain->layers[layer].geo, goff);
}

/*
 * @freed gets the host clusters that lose a reference with @entry of the top layer at @goff: all
 * that compressed data touches. Before the mapping changes. -EUCLEAN: they are not its own, or not
 * counted, which was told. Either way it goes to qcow2_quarantine_add() or unused().
 */
int qcow2_chain_given_up(struct qcow2_chain *chain, u64 goff,
			 const struct qcow2_l2_entry *entry, struct qcow2_freed *freed);
/* The same for the clusters that @freed has; the disk keeps @more references to them. */
int qcow2_chain_claim(struct qcow2_chain *chain, struct qcow2_freed *freed, u64 more);
/* What decompression has to do with here; constructor. */
void qcow2_chain_unzip_init(struct qcow2_chain *chain);
/* A broken extent was met: count, log, and stop writing if it is the top's. */
void qcow2_chain_corrupt(struct qcow2_chain *chain, unsigned int layer, u64 goff,
			 enum qcow2_verdict why);

#endif
