// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * The image of an attached device: its device is suspended (guard.h) before the
 * first byte is read that counts, and resumed when the image is closed.
 *
 * The kernel gives byte 300 back with its last commit; whoever writes to the
 * image has it write-locked, and holds QEMU's bytes beside the kernel's, so that
 * nobody else gets in even if the device should be removed meanwhile.
 */
#include <string.h>
#include "check.h"
#include "edit.h"
#include "err.h"
#include "lock.h"
#include "mem.h"

#define READ_BYTE	100
#define MEMORY_LEAST	(8U << 20)
#define MEMORY_MOST	(1ULL << 30)

/* What an edit or a check of this image, or a repair, which is both, has in memory at most, roughly. */
static u64 estimate(const struct image *image, bool edits, bool checks)
{
	const struct qcow2_header *h = &image->header;
	u64 l1 = h->l1_size * (u64)sizeof(__be64);
	u64 clusters = qcow2_to_clu(&image->geo, image->end);
	u64 counts = (clusters << h->refcount_order) / 8;
	u64 tables = (u64)h->l1_size * image->geo.cluster_size;
	u64 bytes = MEMORY_LEAST + 4 * l1;

	if (edits)
		bytes += 4 * (counts + clusters);
	bytes += tables < 2 * PLAN_PENDING ? tables : 2 * PLAN_PENDING;
	if (bytes > MEMORY_MOST)
		bytes = MEMORY_MOST;
	return checks ? bytes + check_memory(image, edits) : bytes;
}

/* Whoever made the image says how long it is. */
static int refuse_counts(const struct target *target, bool repairs)
{
	u64 bytes = check_memory(&target->image, repairs);

	if (bytes <= MEMORY_MOST)
		return 0;
	err_fail(ERR_FAILED, target->device, "the counts of its clusters need %llu MiB while it is suspended",
		 (unsigned long long)(bytes >> 20));
	if (repairs)
		err_hint("detach it before");
	else
		err_hint("check --online does it without a pause");
	return ERR_FAILED;
}

int edit_check_file(const struct image *image)
{
	int held = image->is_block ? 1 : lock_is_held(image->fd, READ_BYTE);

	if (held < 0)
		return edit_refuse_locked(image, held);
	return held ? 0 : err_fail(ERR_FAILED, image->path,
				   "it is not the file that the device uses any more");
}

int edit_share(struct image *image, bool graph)
{
	int ret = image_open_direct(image, false);

	if (ret)
		return ret;
	ret = lock_take_edit(image->fd, graph);
	if (!ret)
		ret = lock_share(image->fd, LOCK_WRITER);
	return ret ? edit_refuse_locked(image, ret) : 0;
}

int edit_hold_device(struct edit *edit)
{
	struct guard_request request = {
		.writes = true,
		.mends = edit->flags & EDIT_UNCLEAN,
		.freeze = !edit->options->nolockfs,
		.exclusive = edit->flags & EDIT_CLOSED,
		.layered = edit->flags & EDIT_LAYERED,
		.seconds = EDIT_SECONDS(edit->options),
		.memory = estimate(edit->image, true, edit->flags & EDIT_UNCLEAN),
		.file = edit->beside,
	};
	bool graph = edit->flags & EDIT_GRAPH;
	int ret = edit_check_file(edit->image);

	if (!ret && edit->flags & EDIT_UNCLEAN)
		ret = refuse_counts(&edit->target, true);
	if (ret)
		return ret;
	if (graph && lock_is_held(edit->image->fd, LOCK_GRAPH) > 0)
		return edit_refuse_locked(edit->image, LOCK_GRAPH);
	if (!(edit->first_size >> QCOW2_SECTOR_BITS))
		return err_fail(ERR_POLICY, edit->target.device, "an attached disk cannot have size 0");
	if (edit->first_size != edit->header.size && !edit->options->dry_run)
		request.sectors = edit->first_size >> QCOW2_SECTOR_BITS;
	ret = guard_suspend(edit->target.device, &request);
	if (ret)
		return ret;
	edit->target.is_held = true;
	return edit_share(edit->image, graph);
}

void edit_fit_device(struct edit *edit)
{
	struct image *image = edit->image;
	u64 old = image->header.size;

	if (!edit->target.is_held || !edit->committed || image_verify_damaged(image))
		return;
	guard_want(image->header.size == old ? 0 : image->header.size >> QCOW2_SECTOR_BITS);
}

int edit_hold_reader(struct target *target, bool damaged, u64 room)
{
	struct guard_request request = { .seconds = GUARD_SECONDS, .layered = true, .text = room };
	struct image *image = &target->image;
	struct device device;
	bool readonly;
	int ret = device_get(target->device, &device);

	if (ret)
		return device_fail(ret, target->device);
	readonly = device.dm.readonly;
	if (device_view(&device))
		ret = err_fail(ERR_UNSUPPORTED, target->device,
			       "it shows snapshot %s alone: give the image, or its own device",
			       device_view(&device));
	device_release(&device);
	if (ret)
		return ret;
	if (readonly) {
		ret = lock_take(image->fd, LOCK_READER);
		if (ret)
			return edit_refuse_locked(image, ret);
	} else {
		request.memory = estimate(image, !damaged, damaged);
		ret = edit_check_file(image);
		if (!ret && damaged)
			ret = refuse_counts(target, false);
		if (!ret)
			ret = guard_suspend(target->device, &request);
		if (ret)
			return ret;
		target->is_held = true;
	}
	return damaged ? image_verify_damaged(image) : image_verify(image);
}
