// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Lists of ranges.
 */
#include <stdlib.h>
#include <string.h>
#include "backup_ranges.h"
#include "mem.h"

static struct backup_range *last_of(struct backup_ranges *ranges)
{
	if (backup_ranges_is_short(ranges))
		return &ranges->last;
	return ranges->count ? &ranges->list[ranges->count - 1] : NULL;
}

void backup_ranges_add(struct backup_ranges *ranges, u64 start, u64 length, bool data)
{
	const struct backup_range range = { start, length, data };
	struct backup_range *last = last_of(ranges);

	if (!length)
		return;
	if (last && last->start + last->length == start && last->data == data) {
		last->length += length;
		return;
	}
	if (!ranges->room)
		ranges->list = mem_grow(ranges->list, ranges->count, sizeof(*ranges->list));
	ranges->count++;
	*last_of(ranges) = range;
}

void backup_ranges_end(struct backup_ranges *ranges, u64 end)
{
	/* Those that are only counted are too many by some then. */
	if (backup_ranges_is_short(ranges))
		return;
	while (ranges->count && last_of(ranges)->start >= end)
		ranges->count--;
	if (ranges->count && last_of(ranges)->start + last_of(ranges)->length > end)
		last_of(ranges)->length = end - last_of(ranges)->start;
}

void backup_ranges_reserve(struct backup_ranges *ranges, size_t room)
{
	backup_ranges_release(ranges);
	ranges->list = mem_zalloc(room * sizeof(*ranges->list));
	ranges->room = room;
}

bool backup_ranges_is_short(const struct backup_ranges *ranges)
{
	return ranges->room && ranges->count > ranges->room;
}

void backup_ranges_release(struct backup_ranges *ranges)
{
	free(ranges->list);
	memset(ranges, 0, sizeof(*ranges));
}

/* @ranges becomes @with. */
static void replace(struct backup_ranges *ranges, struct backup_ranges *with)
{
	backup_ranges_release(ranges);
	*ranges = *with;
}

void backup_ranges_cut(struct backup_ranges *ranges, const struct backup_ranges *wanted)
{
	struct backup_ranges both = { 0 };
	size_t i = 0, j = 0;

	while (i < ranges->count && j < wanted->count) {
		const struct backup_range *a = &ranges->list[i], *b = &wanted->list[j];
		u64 a_end = a->start + a->length, b_end = b->start + b->length;
		u64 start = a->start > b->start ? a->start : b->start;
		u64 end = a_end < b_end ? a_end : b_end;

		if (start < end)
			backup_ranges_add(&both, start, end - start, a->data);
		if (a_end <= b_end)
			i++;
		if (b_end <= a_end)
			j++;
	}
	replace(ranges, &both);
}

/* Units from @start to @end; the first may be there already, as data of the range before. */
static void add_units(struct backup_ranges *ranges, u64 start, u64 end, bool data)
{
	const struct backup_range *last = ranges->count ? &ranges->list[ranges->count - 1] : NULL;

	if (last && last->start + last->length > start)
		start = last->start + last->length;
	if (start < end)
		backup_ranges_add(ranges, start, end - start, data);
}

void backup_ranges_follow(struct backup_ranges *ranges, const struct backup_ranges *map, u64 unit, u64 reach)
{
	struct backup_ranges all = { 0 };
	size_t i, at = 0;

	for (i = 0; i < ranges->count; i++) {
		const struct backup_range *range = &ranges->list[i], *here;
		u64 end = (range->start + range->length + unit - 1) & ~(unit - 1), zeros;

		while (at < map->count && map->list[at].start + map->list[at].length <= end)
			at++;
		here = at < map->count ? &map->list[at] : NULL;
		zeros = here && here->start <= end && !here->data ? here->start + here->length : end;
		add_units(&all, range->start & ~(unit - 1), zeros < end + reach ? zeros : end + reach, true);
	}
	replace(ranges, &all);
}

void backup_ranges_align(struct backup_ranges *ranges, u64 unit)
{
	struct backup_ranges aligned = { 0 };
	size_t i;

	for (i = 0; i < ranges->count; i++) {
		const struct backup_range *range = &ranges->list[i];
		u64 end = range->start + range->length;
		u64 first = range->start & ~(unit - 1), last = (end + unit - 1) & ~(unit - 1);
		u64 inner = (range->start + unit - 1) & ~(unit - 1), inner_end = end & ~(unit - 1);

		if (range->data || inner >= inner_end) {
			add_units(&aligned, first, last, true);
			continue;
		}
		/* Zeros that begin or end within a unit. */
		if (first < inner)
			add_units(&aligned, first, inner, true);
		add_units(&aligned, inner, inner_end, false);
		if (inner_end < last)
			add_units(&aligned, inner_end, last, true);
	}
	replace(ranges, &aligned);
}

void backup_ranges_keep_data(struct backup_ranges *ranges)
{
	struct backup_ranges data = { 0 };
	size_t i;

	for (i = 0; i < ranges->count; i++) {
		if (ranges->list[i].data)
			backup_ranges_add(&data, ranges->list[i].start, ranges->list[i].length, true);
	}
	replace(ranges, &data);
}

u64 backup_ranges_data(const struct backup_ranges *ranges)
{
	u64 bytes = 0;
	size_t i;

	for (i = 0; i < ranges->count; i++)
		bytes += ranges->list[i].data ? ranges->list[i].length : 0;
	return bytes;
}
