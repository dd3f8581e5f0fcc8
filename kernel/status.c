// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * What status and table print.
 */
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include "options.h"
#include "target.h"

/* The refcount side of a writable active image. */
struct space_figures {
	u64 alloc;
	u64 highest;
	u64 end;
};

static struct space_figures space_figures(struct qcow2_target *t)
{
	struct qcow2_image *top = qcow2_chain_top(&t->chain);
	u64 clusters = READ_ONCE(top->rc.allocated);
	struct space_figures figures = {
		.alloc = clusters << top->geo.cluster_bits,
		.highest = clusters ? (READ_ONCE(top->rc.highest) + 1) << top->geo.cluster_bits : 0,
		.end = qcow2_backend_size(&top->backend),
	};

	return figures;
}

static const char *space_name(struct qcow2_target *t)
{
	if (READ_ONCE(t->io.full) ||
	    (t->chain.writable && READ_ONCE(t->chain.commit.stalled)))
		return "full";
	return READ_ONCE(t->low) ? "low" : "ok";
}

static const char *clean_name(const struct qcow2_target *t)
{
	/* How the suspend ended was stored before. */
	if (!smp_load_acquire(&t->suspended_once))
		return "-";
	return READ_ONCE(t->clean) ? "yes" : "no";
}

static unsigned int print_check(const struct qcow2_check *check, char *result, unsigned int maxlen)
{
	unsigned int sz = 0;

	/* The numbers were there before. */
	switch (smp_load_acquire(&check->state)) {
	case QCOW2_CHECK_RUNNING:
		DMEMIT(" check=running:%u", READ_ONCE(check->percent));
		break;
	case QCOW2_CHECK_DONE:
		DMEMIT(" check=done:%llu:%llu", READ_ONCE(check->errors), READ_ONCE(check->leaks));
		break;
	default:
		DMEMIT(" check=none");
	}
	return sz;
}

static unsigned int print_info(struct qcow2_target *t, char *result, unsigned int maxlen)
{
	struct qcow2_chain *chain = &t->chain;
	struct qcow2_image *top = qcow2_chain_top(chain);
	struct space_figures space = space_figures(t);
	struct qcow2_stats __percpu *stats = chain->stats;
	enum qcow2_fault fault = READ_ONCE(chain->commit.fault);
	unsigned int sz = 0;

	DMEMIT("1 %s %s claim=%s clean=%s", qcow2_mode_name(qcow2_commit_mode(&chain->commit)),
	       space_name(t), qcow2_claim_state_name(qcow2_claim_state(&top->use)), clean_name(t));
	DMEMIT(" layers=%u cluster=%u virtual=%llu", chain->nr_layers, top->geo.cluster_size,
	       READ_ONCE(top->size));
	DMEMIT(" alloc=%llu highest=%llu end=%llu", space.alloc, space.highest, space.end);
	DMEMIT(" cache=%llu/%llu hits=%llu misses=%llu",
	       (u64)atomic64_read(&chain->cache.used) >> 10, chain->cache.limit >> 10,
	       qcow2_stat_sum(stats, QCOW2_STAT_HITS), qcow2_stat_sum(stats, QCOW2_STAT_MISSES));
	DMEMIT(" commits=%llu barriers=%llu staged=%u parked=%u",
	       qcow2_stat_sum(stats, QCOW2_STAT_COMMITS),
	       qcow2_stat_sum(stats, QCOW2_STAT_BARRIERS),
	       READ_ONCE(top->meta.nr_dirty), READ_ONCE(t->io.nr_parked));
	DMEMIT(" reads=%llu writes=%llu allocs=%llu cows=%llu discards=%llu",
	       qcow2_stat_sum(stats, QCOW2_STAT_READS), qcow2_stat_sum(stats, QCOW2_STAT_WRITES),
	       qcow2_stat_sum(stats, QCOW2_STAT_ALLOCS), qcow2_stat_sum(stats, QCOW2_STAT_COWS),
	       qcow2_stat_sum(stats, QCOW2_STAT_DISCARDS));
	DMEMIT(" ioerrs=%llu corruptions=%llu", qcow2_stat_sum(stats, QCOW2_STAT_IOERRS),
	       qcow2_stat_sum(stats, QCOW2_STAT_CORRUPTIONS));
	if (fault == QCOW2_FAULT_NONE)
		DMEMIT(" last=none");
	else
		DMEMIT(" last=%s@%llu", qcow2_fault_name(fault),
		       READ_ONCE(chain->commit.fault_offset));
	sz += print_check(&t->check, result + sz, maxlen - sz);
	DMEMIT(" view=");
	if (qcow2_chain_is_stale(chain))
		DMEMIT("stale");
	else
		sz += qcow2_options_print_word(qcow2_chain_view(chain) ?: "-", result + sz,
					       maxlen - sz);
	return sz;
}

static const char *real_path(const struct qcow2_backend *backend, char *buf)
{
	const char *path = qcow2_backend_path(backend, buf, PATH_MAX);

	return IS_ERR(path) ? "?" : path;
}

/* One layer: format and real path, quoted. */
static unsigned int print_layer(const struct qcow2_image *image, char *buf, char *result,
				unsigned int maxlen)
{
	unsigned int sz = 0;

	DMEMIT(" %s ", image->raw ? "raw" : "qcow2");
	sz += qcow2_options_print_word(real_path(&image->backend, buf), result + sz, maxlen - sz);
	return sz;
}

static unsigned int print_table(struct qcow2_target *t, char *result, unsigned int maxlen)
{
	const struct qcow2_image *top = qcow2_chain_top(&t->chain);
	struct qcow2_options options = t->options;
	unsigned int sz = 0, i;
	char *buf;

	buf = kmalloc(PATH_MAX, GFP_NOIO);
	if (!buf)
		return 0;
	DMEMIT("%u", t->chain.nr_layers);
	for (i = 0; i < t->chain.nr_layers && sz < maxlen; i++)
		sz += print_layer(&t->chain.layers[i], buf, result + sz, maxlen - sz);
	if (top->data_file)
		options.data_file = real_path(top->data, buf);
	if (sz < maxlen)
		sz += qcow2_options_print(&options, result + sz, maxlen - sz);
	kfree(buf);
	return sz;
}

/* IMA measures the name, the version and every layer's real path. */
static unsigned int print_ima(struct qcow2_target *t, char *result, unsigned int maxlen)
{
	unsigned int sz = 0, i;
	char *buf;

	DMEMIT_TARGET_NAME_VERSION(t->ti->type);
	buf = kmalloc(PATH_MAX, GFP_NOIO);
	for (i = 0; buf && i < t->chain.nr_layers && sz < maxlen; i++) {
		DMEMIT(",layer_%u=", i);
		sz += print_layer(&t->chain.layers[i], buf, result + sz, maxlen - sz);
	}
	if (buf && sz < maxlen && qcow2_chain_top(&t->chain)->data_file) {
		DMEMIT(",data_file=");
		sz += qcow2_options_print_word(real_path(qcow2_chain_top(&t->chain)->data, buf),
					       result + sz, maxlen - sz);
	}
	DMEMIT(";");
	kfree(buf);
	return sz;
}

void qcow2_target_status(struct dm_target *ti, status_type_t type, unsigned int flags,
			 char *result, unsigned int maxlen)
{
	struct qcow2_target *t = ti->private;
	unsigned int noio = memalloc_noio_save();

	*result = '\0';
	switch (type) {
	case STATUSTYPE_INFO:
		print_info(t, result, maxlen);
		break;
	case STATUSTYPE_TABLE:
		print_table(t, result, maxlen);
		break;
	case STATUSTYPE_IMA:
		print_ima(t, result, maxlen);
		break;
	}
	memalloc_noio_restore(noio);
}
