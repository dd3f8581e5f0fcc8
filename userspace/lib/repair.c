// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * A repair in rounds of check and edit.
 */
#include <asm/byteorder.h>
#include <string.h>
#include "err.h"
#include "progress.h"
#include "repair.h"
#include "text.h"
#include "mem.h"

#define MAX_ROUNDS	6
#define MARKS		(QCOW2_INCOMPAT_DIRTY | QCOW2_INCOMPAT_CORRUPT)

/* ------------------------------------------------------------------------
 * Everything
 */

/* What the old image refers to must not be written over before the header is. */
static bool is_taken(void *data, u64 hclu)
{
	const struct repair *repair = data;

	return check_is_used(&repair->check, hclu);
}

/* Refcount blocks whose entry is broken count as taken, too: others may read them. */
static void keep_blocks(struct repair *repair)
{
	const struct qcow2_geometry *geo = &repair->edit.image->geo;
	struct check *check = &repair->check;
	u64 i, hclu;

	for (i = 0; i < check->stored.nr_entries; i++) {
		hclu = qcow2_to_clu(geo, check_stored_block(&check->stored, i));
		if (hclu && hclu + 1 < check->beyond.room) {
			check_counts_add(&check->beyond, hclu, 1);
			check_counts_add(&check->beyond, hclu + 1, 1);
		}
	}
}

static int mend(struct repair *repair)
{
	struct edit *edit = &repair->edit;
	int ret;

	keep_blocks(repair);
	ret = repair_count(repair);
	if (ret)
		return ret;
	edit->counts.is_taken = is_taken;
	edit->counts.is_taken_data = repair;
	ret = repair_rewrite(repair);
	edit->header.incompatible_features &= ~MARKS;
	edit->flags &= ~EDIT_HEADER;
	return ret ? ret : edit_commit(edit);
}

/* ------------------------------------------------------------------------
 * Leaks only
 */

static int lower(struct repair *repair)
{
	struct refcounts *counts = &repair->edit.counts;
	u64 hclu, found;
	int ret = 0;

	for (hclu = 0; !ret && hclu < repair->check.nr_clusters; hclu++) {
		found = check_counts_get(&repair->check.counts, hclu);
		if (refcounts_get(counts, hclu) > found)
			ret = refcounts_set(counts, hclu, found);
	}
	return ret;
}

static int mend_leaks(struct repair *repair)
{
	struct edit *edit = &repair->edit;
	MEM_FREE char *path = text_shell(edit->image->path);
	int ret;

	if (repair->check.structure) {
		ret = err_fail(ERR_CORRUPT, edit->image->path,
			       "the refcount table or a block of it is broken");
		err_hint("qcow2ctl repair %s", path);
		return ret;
	}
	ret = refcounts_load(&edit->counts, edit->image, false);
	if (!ret)
		ret = mapping_load(&edit->active, edit->header.l1_table_offset,
				   edit->header.l1_size);
	/* A wrong entry stays, and what it leads to is no place for a table. */
	edit->counts.is_taken = is_taken;
	edit->counts.is_taken_data = repair;
	if (!ret)
		ret = lower(repair);
	/* With errors left, nobody knows which tables can be trusted. */
	if (!ret && !repair->check.errors) {
		ret = mapping_refresh(&edit->active);
		edit->header.incompatible_features &= ~MARKS;
	}
	edit->flags &= ~EDIT_HEADER;
	return ret ? ret : edit_commit(edit);
}

/* ------------------------------------------------------------------------
 * Rounds
 */

/* What a round has found. */
static void forget(struct repair *repair)
{
	check_release(&repair->check);
	check_counts_release(&repair->counts);
	check_tables_release(&repair->tables);
	*repair = (struct repair){ .edit = repair->edit };
}

static bool is_marked(const struct repair *repair)
{
	return repair->edit.image->header.incompatible_features & MARKS;
}

/* One round; *@left: is there still something that this repair is for? */
static int do_round(struct repair *repair, bool leaks_only, bool *left)
{
	const struct check *check = &repair->check;
	int ret = check_run(&repair->check, repair->edit.image, false);

	if (ret)
		return ret;
	*left = check->leaks || (leaks_only ? is_marked(repair) && !check->errors :
					      check->errors || is_marked(repair));
	if (!*left)
		return 0;
	return leaks_only ? mend_leaks(repair) : mend(repair);
}

static int fail_errors(const struct repair *repair, bool leaks_only)
{
	MEM_FREE char *path = text_shell(repair->edit.image->path);
	int ret = err_fail(ERR_CORRUPT, repair->edit.image->path, "%llu errors are left",
			   (unsigned long long)repair->check.errors);

	if (leaks_only)
		err_hint("qcow2ctl repair %s", path);
	return ret;
}

int repair_image(const char *target, const struct edit_options *options, bool leaks_only,
		 struct repair_result *result)
{
	struct repair repair = { 0 };
	bool left = true;
	int ret, i;

	memset(result, 0, sizeof(*result));
	ret = edit_begin(&repair.edit, target, options,
			 EDIT_GRAPH | EDIT_UNCLEAN | EDIT_HEADER | EDIT_ONLINE);
	/* Nobody writes to what is half repaired. */
	for (i = 0; !ret && left && i < MAX_ROUNDS; i++) {
		if (i) {
			forget(&repair);
			repair.edit.flags |= EDIT_HEADER;
			ret = edit_again(&repair.edit);
		}
		if (!ret)
			ret = do_round(&repair, leaks_only, &left);
		if (!i) {
			result->errors = repair.check.errors;
			result->leaks = repair.check.leaks;
			result->marks = is_marked(&repair);
		}
		if (!ret && (left ? i == MAX_ROUNDS - 1 : repair.check.errors))
			ret = fail_errors(&repair, leaks_only);
		if (options->dry_run)
			break;
	}
	if (repair.edit.target.is_held && !ret && !left)
		guard_renew();
	ret = edit_end(&repair.edit, ret);
	forget(&repair);
	return ret;
}

int repair_marked(const char *path)
{
	const struct edit_options options = { .timeout = ~0ULL };
	MEM_FREE char *target = mem_printf("%s%s", strchr(path, '/') ? "" : "./", path);
	struct repair_result result;
	struct image image;
	bool marked;
	int ret = image_open(&image, path);

	if (!ret)
		ret = image_verify_damaged(&image);
	marked = !ret && image.header.incompatible_features & MARKS;
	image_close(&image);
	return marked ? repair_image(target, &options, false, &result) : ret;
}
