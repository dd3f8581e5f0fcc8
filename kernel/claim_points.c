// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * A set of inodes that hold the same byte locks.
 */
#include <linux/slab.h>
#include "claim_points.h"

void qcow2_claim_points_init(struct qcow2_claim_points *points)
{
	INIT_LIST_HEAD(&points->list);
	points->held = 0;
}

static void drop_all(struct qcow2_claim_points *points, unsigned int mask)
{
	struct qcow2_claim_point *point;

	list_for_each_entry(point, &points->list, list)
		qcow2_claim_bytes_drop(&point->bytes, mask);
}

static int take_all(struct qcow2_claim_points *points, unsigned int mask, unsigned int *conflict)
{
	struct qcow2_claim_point *point;
	int ret;

	list_for_each_entry(point, &points->list, list) {
		ret = qcow2_claim_bytes_take(&point->bytes, mask, conflict);
		if (ret) {
			drop_all(points, mask);
			return ret;
		}
	}
	return 0;
}

int qcow2_claim_points_set(struct qcow2_claim_points *points, unsigned int mask,
			   unsigned int *conflict)
{
	unsigned int add = mask & ~points->held;
	unsigned int sub = points->held & ~mask;
	int ret = 0;

	if (add)
		ret = take_all(points, add, conflict);
	if (ret)
		return ret;
	if (sub)
		drop_all(points, sub);
	points->held = mask;
	return 0;
}

static struct qcow2_claim_point *find(struct qcow2_claim_points *points, const struct inode *inode)
{
	struct qcow2_claim_point *point;

	list_for_each_entry(point, &points->list, list) {
		if (file_inode(point->bytes.file) == inode)
			return point;
	}
	return NULL;
}

static void point_free(struct qcow2_claim_point *point)
{
	qcow2_claim_bytes_exit(&point->bytes);
	kfree(point);
}

int qcow2_claim_points_add(struct qcow2_claim_points *points, struct file *file,
			   struct qcow2_claim_point **pointp, unsigned int *conflict)
{
	struct qcow2_claim_point *point = find(points, file_inode(file));
	int ret;

	if (!point) {
		point = kzalloc(sizeof(*point), GFP_KERNEL);
		if (!point)
			return -ENOMEM;
		qcow2_claim_bytes_init(&point->bytes, file);
		ret = qcow2_claim_bytes_take(&point->bytes, points->held, conflict);
		if (ret) {
			point_free(point);
			return ret;
		}
		list_add(&point->list, &points->list);
	}
	point->uses++;
	*pointp = point;
	return 0;
}

void qcow2_claim_points_put(struct qcow2_claim_point *point)
{
	if (!point || --point->uses)
		return;
	list_del(&point->list);
	point_free(point);
}
