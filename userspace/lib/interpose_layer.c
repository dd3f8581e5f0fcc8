// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * The layers that there are, as recipes.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include "cli.h"
#include "err.h"
#include "interpose.h"
#include "mem.h"

#define MIB		(1ULL << 20)
#define SECTOR		512

#define BLOCK_BYTES	65536	/* of era */
#define REGION_SECTORS	1024	/* of mirror */
#define CLONE_SECTORS	128	/* of clone */

enum options {
	OPTION_MS = 1, OPTION_UP = 2, OPTION_DOWN = 4, OPTION_BLOCK = 8, OPTION_COW_SIZE = 16,
	OPTION_STATE = 32, OPTION_COW = 64, OPTION_TO = 128, OPTION_TABLE = 256,
};

static u64 or_else(u64 value, u64 other)
{
	return value == CLI_UNSET ? other : value;
}

static u64 round_up_mib(u64 bytes)
{
	return (bytes + MIB - 1) & ~(MIB - 1);
}

/* ------------------------------------------------------------------------
 * linear, delay, flakey, raw
 */

static char *linear_params(const struct interpose_request *request,
			   const struct interpose_place *place)
{
	(void)request;
	return mem_printf("%s 0", place->real);
}

static char *delay_params(const struct interpose_request *request,
			  const struct interpose_place *place)
{
	return mem_printf("%s 0 %llu", place->real, (unsigned long long)or_else(request->ms, 5));
}

static char *flakey_params(const struct interpose_request *request,
			   const struct interpose_place *place)
{
	return mem_printf("%s 0 %llu %llu", place->real,
			  (unsigned long long)or_else(request->up, 3600),
			  (unsigned long long)or_else(request->down, 0));
}

/* A copy of @text with {@word} replaced everywhere. */
static char *replace(const char *text, const char *word, const char *by)
{
	char *copy = mem_strdup(""), *longer;
	const char *at;

	while ((at = strstr(text, word))) {
		longer = mem_printf("%s%.*s%s", copy, (int)(at - text), text, by);
		free(copy);
		copy = longer;
		text = at + strlen(word);
	}
	longer = mem_printf("%s%s", copy, text);
	free(copy);
	return longer;
}

/* What follows the target's name. */
static char *raw_params(const struct interpose_request *request, const struct interpose_place *place)
{
	const char *args = request->table + strspn(request->table, " ");
	MEM_FREE char *sectors = mem_printf("%llu", (unsigned long long)place->sectors);
	MEM_FREE char *with_device = NULL;

	args += strcspn(args, " ");
	with_device = replace(args + strspn(args, " "), "{DEV}", place->real);
	return replace(with_device, "{SECTORS}", sectors);
}

/* ------------------------------------------------------------------------
 * era: which blocks were written since when
 */

static u64 era_block(const struct interpose_request *request)
{
	return or_else(request->block, BLOCK_BYTES);
}

/* An array with the era of each block, written anew at times, and a bitmap for each era not yet in it. */
static u64 era_bytes(const struct interpose_request *request, u64 sectors)
{
	u64 blocks = sectors / (era_block(request) / SECTOR) + 1;

	return round_up_mib(2 * 4 * blocks + 16 * (blocks / 8) + 4 * MIB);
}

static char *era_params(const struct interpose_request *request, const struct interpose_place *place)
{
	return mem_printf("%s %s %llu", place->state, place->real,
			  (unsigned long long)era_block(request) / SECTOR);
}

/* ------------------------------------------------------------------------
 * snapshot: NAME.frozen keeps what is overwritten
 */

/*
 * Enough for all of the disk to be overwritten. What is where is in memory only: the layer does not
 * outlive the machine, and its store needs no flushes.
 */
static u64 cow_bytes(const struct interpose_request *request, u64 sectors)
{
	u64 chunks = sectors / INTERPOSE_CHUNK_SECTORS + 1;

	return or_else(request->cow_size,
		       round_up_mib(chunks * INTERPOSE_CHUNK_SECTORS * SECTOR + MIB));
}

static u64 cow_least(const struct interpose_request *request, u64 sectors)
{
	(void)request;
	(void)sectors;
	return MIB;
}

static char *origin_params(const struct interpose_request *request,
			   const struct interpose_place *place)
{
	(void)request;
	return mem_strdup(place->real);
}

/* ------------------------------------------------------------------------
 * mirror: a second copy elsewhere
 */

static u64 mirror_bytes(const struct interpose_request *request, u64 sectors)
{
	(void)request;
	return sectors * SECTOR;
}

/* A leg that fails holds writes back instead of losing them. */
static char *mirror_params(const struct interpose_request *request,
			   const struct interpose_place *place)
{
	(void)request;
	return mem_printf("core 1 %u 2 %s 0 %s 0 1 handle_errors", REGION_SECTORS, place->real,
			  place->state);
}

/* ------------------------------------------------------------------------
 * clone: all of it goes elsewhere
 */

/* A bit for each region, and what keeps them consistent. */
static u64 clone_bytes(const struct interpose_request *request, u64 sectors)
{
	(void)request;
	return round_up_mib(4 * MIB + sectors / CLONE_SECTORS / 4);
}

static char *clone_params(const struct interpose_request *request, const struct interpose_place *place)
{
	(void)request;
	return mem_printf("%s %s %s %u", place->state, place->to, place->real, CLONE_SECTORS);
}

/* ------------------------------------------------------------------------
 * All of them
 */

static const struct interpose_recipe recipes[] = {
	{ .name = "linear", .target = "linear", .module = "dm-mod", .params = linear_params },
	{ .name = "delay", .target = "delay", .module = "dm-delay", .options = OPTION_MS,
	  .params = delay_params },
	{ .name = "flakey", .target = "flakey", .module = "dm-flakey",
	  .options = OPTION_UP | OPTION_DOWN, .params = flakey_params },
	{ .name = "era", .target = "era", .module = "dm-era", .state = "--state", .writes = true,
	  .options = OPTION_STATE | OPTION_BLOCK, .bytes = era_bytes, .least = era_bytes,
	  .clear = 65536, .params = era_params },
	{ .name = "snapshot", .target = "snapshot-origin", .module = "dm-snapshot",
	  .state = "--cow", .freezes = true, .measures = true, .writes = true, .has_frozen = true,
	  .options = OPTION_COW | OPTION_COW_SIZE, .bytes = cow_bytes, .least = cow_least,
	  .clear = 65536, .params = origin_params },
	{ .name = "mirror", .target = "mirror", .module = "dm-mirror", .state = "--to",
	  .writes = true, .options = OPTION_TO, .bytes = mirror_bytes, .least = mirror_bytes,
	  .params = mirror_params },
	{ .name = "clone", .target = "clone", .module = "dm-clone", .state = "--state",
	  .measures = true, .writes = true, .goes = true, .options = OPTION_STATE | OPTION_TO,
	  .bytes = clone_bytes, .least = clone_bytes, .clear = 65536, .params = clone_params },
	{ .name = "raw", .options = OPTION_TABLE, .params = raw_params },
};

static const struct {
	unsigned int option;
	const char *name;
	size_t offset;
	bool is_number;
} options[] = {
#define NUMBER(option, name, member) \
	{ option, name, offsetof(struct interpose_request, member), true }
#define WORD(option, name, member) \
	{ option, name, offsetof(struct interpose_request, member), false }
	NUMBER(OPTION_MS, "--ms", ms),
	NUMBER(OPTION_UP, "--up", up),
	NUMBER(OPTION_DOWN, "--down", down),
	NUMBER(OPTION_BLOCK, "--block", block),
	NUMBER(OPTION_COW_SIZE, "--cow-size", cow_size),
	WORD(OPTION_STATE, "--state", state),
	WORD(OPTION_COW, "--cow", cow),
	WORD(OPTION_TO, "--to", to),
	WORD(OPTION_TABLE, "--table", table),
};

static bool is_given(const struct interpose_request *request, size_t i)
{
	const char *at = (const char *)request + options[i].offset;

	if (options[i].is_number)
		return *(const u64 *)at != CLI_UNSET;
	return *(const char *const *)at;
}

static int check_options(const struct interpose_recipe *recipe,
			 const struct interpose_request *request)
{
	u64 block = era_block(request);
	size_t i;

	for (i = 0; i < sizeof(options) / sizeof(*options); i++) {
		if (is_given(request, i) && !(recipe->options & options[i].option))
			return err_usage("layer %s has no option %s", recipe->name, options[i].name);
	}
	if (!recipe->target && !request->table)
		return err_usage("layer %s needs --table", recipe->name);
	if (recipe->goes && !request->to)
		return err_usage("layer %s needs --to", recipe->name);
	if (request->table && !request->table[strspn(request->table, " ")])
		return err_usage("--table: it names no target");
	if (block < 4096 || block > 1ULL << 30 || block & (block - 1))
		return err_usage("--block: a power of two from 4K to 1G");
	if (request->cow_size < MIB)
		return err_usage("--cow-size: at least 1M");
	if (request->up != CLI_UNSET && !request->up && or_else(request->down, 0) == 0)
		return err_usage("--up and --down: one of them is more than 0");
	return 0;
}

int interpose_find(const struct interpose_request *request, const struct interpose_recipe **recipe)
{
	size_t i;

	for (i = 0; i < sizeof(recipes) / sizeof(*recipes); i++) {
		*recipe = &recipes[i];
		if (!strcmp(recipes[i].name, request->layer))
			return check_options(*recipe, request);
	}
	return err_usage("there is no layer '%s'", request->layer);
}

const char *interpose_name(const char *target)
{
	size_t i;

	for (i = 0; i < sizeof(recipes) / sizeof(*recipes); i++) {
		if (recipes[i].target && !strcmp(recipes[i].target, target))
			return recipes[i].name;
	}
	return "raw";
}

const char *interpose_with_state(size_t i)
{
	size_t at;

	for (at = 0; at < sizeof(recipes) / sizeof(*recipes); at++) {
		if (recipes[at].state && !i--)
			return recipes[at].name;
	}
	return NULL;
}

const char *interpose_state_path(const struct interpose_recipe *recipe,
				 const struct interpose_request *request)
{
	if (!recipe->state)
		return NULL;
	return recipe->options & OPTION_STATE ? request->state :
	       recipe->options & OPTION_COW ? request->cow : request->to;
}
