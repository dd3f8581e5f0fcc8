// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Attach an image.
 *
 * 1. Look: name, images, policy, locks. Nothing is changed, so every refusal
 *    is free, and it is a sentence of ours.
 * 2. Load: the kernel checks all of it once more, on the very files that were
 *    looked at: the table names them /proc/self/fd/N.
 * 3. Resume: the device lives.
 *
 * A failure takes back what was made before. Signals wait meanwhile; what a
 * KILL leaves behind is a device without a table, and the next attach of the
 * same name clears it away.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "attach.h"
#include "cli.h"
#include "err.h"
#include "guard.h"
#include "holder.h"
#include "kmsg.h"
#include "lock.h"
#include "mem.h"
#include "module.h"
#include "move.h"
#include "partition.h"
#include "run.h"
#include "snapshot_table.h"
#include "text.h"

#define REMOVE_TRIES	50
#define REMOVE_PAUSE_NS	100000000

/* ------------------------------------------------------------------------
 * Look
 */

/* Left behind by an attach that was killed? */
static bool is_remains(const struct dm_device *dm)
{
	return !dm->live && !dm->open_count &&
	       !strncmp(dm->uuid, DEVICE_UUID_PREFIX, strlen(DEVICE_UUID_PREFIX));
}

static int refuse_taken(const char *name)
{
	err_fail(ERR_BUSY, name, "a device of this name exists");
	err_hint("choose another NAME, or first qcow2ctl detach %s", name);
	return ERR_BUSY;
}

int attach_check_name(const char *name)
{
	struct dm_device dm;
	int ret = device_check_name(name);

	if (ret)
		return ret;
	/* That device mapper does not answer is found again, and said, at the load. */
	if (!dm_query(name, &dm) && !is_remains(&dm))
		ret = refuse_taken(name);
	dm_release(&dm);
	return ret;
}

static int refuse_unrepaired(const struct image *image, const char *state)
{
	MEM_FREE char *path = text_shell(image->path);
	int ret = err_fail(ERR_CORRUPT, image->path,
			   "image is %s and can only be attached read-only", state);

	err_hint("qcow2ctl repair %s", path);
	return ret;
}

static int refuse_moved(const struct attach_request *request, const struct image *image)
{
	MEM_FREE char *path = image_real_path(image);
	MEM_FREE char *left = move_catch_up(request->name, path);
	MEM_FREE char *dest = left ? mem_strdup(left) : move_mark_of(image);
	MEM_FREE char *half = dest ? NULL : move_left_half(request->name, path);
	MEM_FREE char *shown = dest || half ? text_printable(dest ? dest : half) : NULL;

	if (!shown)
		return 0;
	if (half) {
		err_fail(ERR_POLICY, image->path,
			 "part of its disk is where dm-clone was moving it, as %s knows", shown);
		err_hint("qcow2ctl recover says more; this alone can be attached with --read-only");
		return ERR_POLICY;
	}
	err_fail(ERR_POLICY, image->path, "image is stale, its disk has moved to %s", shown);
	err_hint("attach that, or this one with --read-only");
	return ERR_POLICY;
}

/* What the top layer's header forbids. */
static int check_top(const struct attach_request *request, const struct image *top)
{
	const struct qcow2_header *h = &top->header;
	int ret;

	if (request->readonly)
		return 0;
	if (h->incompatible_features & QCOW2_INCOMPAT_CORRUPT)
		return refuse_unrepaired(top, "marked corrupt");
	if (h->incompatible_features & QCOW2_INCOMPAT_DIRTY)
		return refuse_unrepaired(top, "dirty (it was not closed cleanly)");
	ret = refuse_moved(request, top);
	if (ret)
		return ret;
	if (h->has_bitmaps && !request->drop_bitmaps) {
		err_fail(ERR_POLICY, top->path,
			 "image has persistent bitmaps, which writing would make invalid");
		err_hint("add --drop-bitmaps to give them up, or attach with --read-only");
		return ERR_POLICY;
	}
	return 0;
}

/* How large is the disk that is going to be shown? */
static int find_size(const struct attach_request *request, const struct image *top, u64 *size)
{
	const char *what = request->snapshot ? "snapshot" : "image";
	struct snapshot_table table = { 0 };
	int ret = 0;
	u32 index;

	*size = top->header.size;
	if (request->snapshot && top->geo.data_file)
		return err_fail(ERR_UNSUPPORTED, top->path,
				"snapshots of an image with a data file cannot be attached");
	if (request->snapshot) {
		ret = snapshot_table_read(top, &table);
		if (!ret && !snapshot_table_find(&table, request->snapshot, &index))
			ret = err_fail(ERR_NOT_FOUND, top->path, "there is no snapshot '%s'",
				       request->snapshot);
		if (!ret && table.entries[index].disk_size != QCOW2_SNAPSHOT_NONE)
			*size = table.entries[index].disk_size;
	}
	snapshot_table_release(&table);
	if (!ret && !(*size >> QCOW2_SECTOR_BITS))
		ret = err_fail(ERR_FAILED, top->path, "%s has size 0", what);
	return ret;
}

static int check_features(const struct chain *chain)
{
	static const char *const names[] = {
		[QCOW2_CRYPT_AES] = "AES", [QCOW2_CRYPT_LUKS] = "LUKS",
	};
	size_t i;

	for (i = 0; i < chain->nr_layers; i++) {
		const struct image *image = &chain->layers[i];

		if (!image->raw && image->header.crypt_method)
			return err_fail(ERR_UNSUPPORTED, image->path,
					"encrypted images (%s) are not supported",
					names[image->header.crypt_method]);
	}
	return 0;
}

/* Would two users of one image, each a writer or not, collide? Ours wants @role. */
static bool collides(const struct device *device, int layer, enum lock_role role)
{
	bool they_write = !layer && !device->dm.readonly;

	return (they_write || role == LOCK_WRITER) && (layer || !device_view(device));
}

/*
 * A view goes together with everybody else in the kernel, whose bytes tell us nothing about
 * others then: the kernel has to judge.
 */
static bool is_beside_view(const struct image *image, bool is_view, const struct device *devices,
			   size_t count)
{
	size_t i;
	int layer;

	for (i = 0; i < count; i++) {
		layer = device_layer_of(&devices[i], image);
		if (layer >= 0 && (is_view || (!layer && device_view(&devices[i]))))
			return true;
	}
	return false;
}

static int check_devices(const struct image *image, enum lock_role role,
			 const struct device *devices, size_t count)
{
	size_t i;
	int layer;

	for (i = 0; i < count; i++) {
		layer = device_has_data_file(&devices[i], image) ?
			0 : device_layer_of(&devices[i], image);
		if (layer >= 0 && collides(&devices[i], layer, role))
			return err_fail(ERR_BUSY, image->path, "image is in use by device %s (%s)",
					devices[i].dm.name, devices[i].number);
	}
	return 0;
}

static int refuse_locked(const struct image *image, int byte)
{
	MEM_FREE char *holder = holder_of_byte(&image->st, byte);
	MEM_FREE char *shown = holder ? text_printable(holder) : NULL;

	err_fail(ERR_LOCKED, image->path, "image is locked by another process (byte %d)%s%s",
		 byte, shown ? ": " : "", shown ? shown : "");
	err_hint("end the virtual machine or the program that has it; info and list need no lock");
	return ERR_LOCKED;
}

static int check_locks(const struct image *image, enum lock_role role)
{
	int byte = lock_probe(image->fd, role);

	if (byte < 0)
		err_debug("%s: cannot probe locks: %s", image->path, strerror(-byte));
	return byte > 0 ? refuse_locked(image, byte) : 0;
}

static int check_layer(const struct attach_request *request, const struct chain *chain,
		       size_t layer, const struct device *devices, size_t count)
{
	const struct image *image = &chain->layers[layer];
	enum lock_role role = layer || request->readonly ? LOCK_READER : LOCK_WRITER;
	bool is_view = !layer && request->snapshot;
	int ret = is_view ? 0 : check_devices(image, role, devices, count);

	if (!ret && !is_beside_view(image, is_view, devices, count))
		ret = check_locks(image, role);
	return ret;
}

/* Nobody has what we need, neither a device of ours nor another process. */
static int check_users(const struct attach_request *request, const struct chain *chain)
{
	enum lock_role role = request->readonly ? LOCK_READER : LOCK_WRITER;
	struct device *devices;
	size_t count, i;
	int ret = 0;

	device_list(&devices, &count);
	for (i = 0; !ret && i < chain->nr_layers; i++)
		ret = check_layer(request, chain, i, devices, count);
	if (!ret && chain->data_file.fd >= 0)
		ret = check_devices(&chain->data_file, role, devices, count);
	device_release_list(devices, count);
	if (!ret && chain->data_file.fd >= 0)
		ret = check_locks(&chain->data_file, role);
	return ret;
}

/* ------------------------------------------------------------------------
 * The table
 */

static void add_number(struct table *table, const char *word, u64 value)
{
	MEM_FREE char *text = mem_printf("%llu", (unsigned long long)value);

	if (value == CLI_UNSET)
		return;
	table_add_word(table, word);
	table_add_word(table, text);
}

static void add_word(struct table *table, const char *word, const char *value)
{
	if (!value)
		return;
	table_add_word(table, word);
	table_add_word(table, value);
}

static u64 divide(u64 value, unsigned int by)
{
	return value == CLI_UNSET ? value : value / by;
}

static char *build_table(const struct attach_request *request, const struct chain *chain)
{
	struct table table = { 0 };
	char *line;
	size_t i;

	for (i = 0; i < chain->nr_layers; i++) {
		MEM_FREE char *path = mem_printf("/proc/self/fd/%d", chain->layers[i].fd);

		table_add_layer(&table, chain->layers[i].raw, path);
	}
	add_word(&table, "snapshot", request->snapshot);
	if (chain->data_file.fd >= 0) {
		MEM_FREE char *path = mem_printf("/proc/self/fd/%d", chain->data_file.fd);

		add_word(&table, "data_file", path);
	}
	if (chain->no_backing)
		table_add_word(&table, "no_backing");
	add_word(&table, "bitmaps", request->drop_bitmaps ? "drop" : NULL);
	add_number(&table, "cache_kib", divide(request->cache, 1024));
	add_number(&table, "low_water", divide(request->low_water, 512));
	add_word(&table, "when_full", request->when_full);
	add_number(&table, "full_timeout", request->full_timeout);
	add_word(&table, "discard", request->discard);
	add_number(&table, "commit_ms", request->commit_ms);
	line = table_format(&table);
	table_release(&table);
	return line;
}

/* ------------------------------------------------------------------------
 * Load and resume
 */

static int need_target(const char *subject)
{
	unsigned int version[3];
	int ret = dm_target_version(DEVICE_TARGET, version);

	if (ret == -ENOENT || ret == -ENODEV) {
		module_load("dm-" DEVICE_TARGET);
		ret = dm_target_version(DEVICE_TARGET, version);
	}
	if (!ret)
		return 0;
	if (ret == -ENODEV)
		return err_fail(ERR_FAILED, subject, "the kernel has no device mapper");
	if (ret != -ENOENT)
		return device_fail(ret, subject);
	ret = err_fail(ERR_FAILED, subject, "the kernel has no target " DEVICE_TARGET);
	err_hint("modprobe dm-" DEVICE_TARGET " says why; on Debian it is in dm-" DEVICE_TARGET
		 "-dkms, which needs the kernel's headers");
	return ret;
}

/* Remove @name; udev may have it open for a moment. */
static int remove_surely(const char *name)
{
	const struct timespec pause = { .tv_nsec = REMOVE_PAUSE_NS };
	int i, ret;

	for (i = 0; (ret = dm_remove(name, false)) == -EBUSY && i < REMOVE_TRIES; i++)
		nanosleep(&pause, NULL);
	dm_settle();
	return ret;
}

static int take_back(const char *name, int code)
{
	int ret = remove_surely(name);

	if (ret && ret != -ENXIO)
		err_warn(name, "the device could not be removed: %s", strerror(-ret));
	return code;
}

int attach_clear_remains(const char *name)
{
	struct dm_device dm;
	int ret = 0;

	if (!dm_query(name, &dm) && is_remains(&dm)) {
		ret = remove_surely(name);
		if (!ret)
			err_note("%s: removed what an attach that was killed had left", name);
	}
	dm_release(&dm);
	return ret && ret != -ENXIO ? device_fail(ret, name) : 0;
}

/* Say why the kernel refused; @log is closed. */
static int refuse(const struct image *top, const struct dm_device *dm, int error, int log)
{
	MEM_FREE char *sentence = kmsg_sentence(log, dm->major, dm->minor);
	MEM_FREE char *shown = sentence ? text_printable(sentence) : NULL;
	MEM_FREE char *path = image_real_path(top);
	size_t len = strlen(path);

	if (!shown)
		return err_errno_what(error, top->path, "the kernel refuses the table");
	/* It names the layer; the top one is named by us. */
	if (strncmp(shown, path, len) || strncmp(shown + len, ": ", 2))
		len = 0;
	return err_fail(err_code(error), top->path, "%s", len ? shown + len + 2 : shown);
}

/* The device as it is made, for its number. Removes remains of the same name. */
static int create(const struct attach_request *request, const struct image *top,
		  struct dm_device *dm)
{
	MEM_FREE char *id = image_id(top);
	MEM_FREE char *uuid = mem_printf(DEVICE_UUID_PREFIX "%s-%s", id, request->name);
	int ret;

	if (!dm_query(request->name, dm) && is_remains(dm))
		remove_surely(request->name);
	dm_release(dm);
	ret = dm_create(request->name, uuid);
	if (ret == -EBUSY)
		return refuse_taken(request->name);
	if (ret)
		return device_fail(ret, request->name);
	ret = dm_query(request->name, dm);
	return ret ? take_back(request->name, device_fail(ret, request->name)) : 0;
}

static int load(const struct attach_request *request, const struct chain *chain, u64 size,
		const struct dm_device *dm)
{
	const struct image *top = &chain->layers[0];
	MEM_FREE char *table = build_table(request, chain);
	int log = kmsg_open();
	int ret;

	ret = dm_load(request->name, DEVICE_TARGET, size >> QCOW2_SECTOR_BITS, table,
		      request->readonly);
	if (!ret)
		ret = dm_resume(request->name);
	dm_settle();
	if (ret)
		return refuse(top, dm, -ret, log);
	if (log >= 0)
		close(log);
	return 0;
}

static int make(const struct attach_request *request, const struct chain *chain, u64 size,
		struct device *device)
{
	struct dm_device dm;
	int ret;

	ret = create(request, &chain->layers[0], &dm);
	if (ret)
		return ret;
	ret = load(request, chain, size, &dm);
	dm_release(&dm);
	if (ret)
		return take_back(request->name, ret);
	ret = device_get(request->name, device);
	if (ret)
		return take_back(request->name, device_fail(ret, request->name));
	if (!request->partscan)
		return 0;
	ret = partition_add(device);
	device_release(device);
	if (ret)
		return take_back(request->name, ret);
	ret = device_get(request->name, device);
	return ret ? device_fail(ret, request->name) : 0;
}

/* One qcow2ctl at a time, and no signal in between. */
static int make_alone(const struct attach_request *request, const struct chain *chain, u64 size,
		      struct device *device)
{
	sigset_t signals, old;
	int lock, ret;

	ret = run_lock(request->name, 0, &lock);
	if (ret)
		return ret;
	sigemptyset(&signals);
	sigaddset(&signals, SIGHUP);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigprocmask(SIG_BLOCK, &signals, &old);
	guard_bury(request->name);
	run_forget_mount(request->name, run_lost_mount(request->name));
	ret = make(request, chain, size, device);
	sigprocmask(SIG_SETMASK, &old, NULL);
	run_unlock(request->name, lock);
	return ret;
}

int attach_image(const struct attach_request *request, struct device *device)
{
	struct chain chain;
	u64 size = 0;
	int ret;

	memset(device, 0, sizeof(*device));
	ret = attach_check_name(request->name);
	if (ret)
		return ret;
	ret = chain_open(&chain, &request->chain);
	if (!ret)
		ret = check_features(&chain);
	if (!ret)
		ret = check_top(request, &chain.layers[0]);
	if (!ret)
		ret = find_size(request, &chain.layers[0], &size);
	if (!ret)
		ret = check_users(request, &chain);
	if (!ret)
		ret = need_target(request->chain.image);
	if (!ret)
		ret = make_alone(request, &chain, size, device);
	chain_close(&chain);
	return ret;
}
