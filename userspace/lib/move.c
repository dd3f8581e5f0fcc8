// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Move a device; in which steps: move.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "cli.h"
#include "create.h"
#include "err.h"
#include "guard.h"
#include "interpose.h"
#include "interpose_state.h"
#include "loop.h"
#include "measure.h"
#include "mem.h"
#include "move.h"
#include "progress.h"
#include "text.h"

#define MEMORY		(4U << 20)
#define SECTOR		512
#define CLONE_REGION	(64U << 10)
#define CLONE_BYTES	(4U << 20)
#define CLONE_CLEAR	65536

struct move {
	const struct move_request *request;
	bool raw, clone;
	char *path, *folder;		/* of the new image */
	char *source;			/* path of the old one */
	char *real, *frozen, *copy;	/* names of parts */
	struct newfile file;
	struct image image;		/* the new one, by its name */
	struct interpose_state state;	/* of dm-clone */
	int loop;
	u64 sectors, region;
	char *real_number, *copy_number;
	char *to_real, *to_name;	/* messages */
	const char *target;		/* that NAME gets, with */
	char *params;
};

/* ------------------------------------------------------------------------
 * The new image
 */

static void like_source(const struct image *source, u64 bytes, struct create_request *request)
{
	const struct qcow2_header *h = &source->header;

	request->version = 3;
	request->cluster_bits = h->cluster_bits;
	request->refcount_order = h->version >= 3 ? h->refcount_order : 4;
	request->extended_l2 = h->incompatible_features & QCOW2_INCOMPAT_EXTENDED_L2;
	request->size = bytes;
}

static int create_like(struct move *m, struct create_request *request)
{
	struct image source;
	int ret = image_open(&source, m->source);

	if (!ret)
		ret = image_verify(&source);
	if (!ret)
		like_source(&source, m->sectors * SECTOR, request);
	image_close(&source);
	request->path = m->path;
	return ret;
}

/* All of the disk is going to be written: there must be room for that. */
static int check_room(const struct move *m, const struct create_request *request)
{
	int fd = open(m->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct measure need = { .fully_allocated = m->sectors * SECTOR };
	u64 bytes = 0;
	struct stat st;
	int ret = 0;

	if (fd < 0)
		return 0;
	if (fstat(fd, &st) || !S_ISBLK(st.st_mode) || ioctl(fd, BLKGETSIZE64, &bytes))
		bytes = ~0ULL;
	close(fd);
	if (!m->raw)
		ret = measure_new(request, &need);
	if (ret || bytes >= need.fully_allocated)
		return ret;
	return err_fail(ERR_NO_SPACE, m->path, "the device has %llu bytes, %llu are needed",
			(unsigned long long)bytes, (unsigned long long)need.fully_allocated);
}

/* The part that has the new image, alive. */
static int attach_copy(struct move *m, const struct device *device)
{
	MEM_FREE char *line = mem_printf("1 qcow2 /proc/self/fd/%d 2 when_full error", m->image.fd);
	struct dm_device part = { 0 };
	int ret = interpose_create_part(device, m->copy, "copy", &part);

	if (!ret) {
		m->copy_number = mem_printf("%u:%u", part.major, part.minor);
		ret = interpose_load(&part, DEVICE_TARGET, m->sectors, line, false);
	}
	if (!ret) {
		ret = dm_resume_private(m->copy);
		dm_settle();
		dm_prepare();
		if (ret)
			ret = err_errno_what(-ret, m->path, "cannot attach it");
	}
	dm_release(&part);
	return ret;
}

/* The words of the old table that are about the device and not about its image. */
static char *line_of(const struct device *device, const char *path)
{
	static const char *const of_image[] = { "snapshot", "data_file", "bitmaps" };
	struct table table = { 0 };
	bool skip = false;
	size_t i, j;
	char *line;

	table_add_layer(&table, false, path);
	for (i = 0; i < device->table.nr_words; i++) {
		const char *word = device->table.words[i];

		if (skip || !strcmp(word, "no_backing")) {
			skip = false;
			continue;
		}
		for (j = 0; j < sizeof(of_image) / sizeof(*of_image); j++)
			skip |= !strcmp(word, of_image[j]);
		if (skip)
			continue;
		/* A word and what belongs to it. */
		table_add_word(&table, word);
		if (++i < device->table.nr_words)
			table_add_word(&table, device->table.words[i]);
	}
	line = table_format(&table);
	table_release(&table);
	return line;
}

static int make_qcow2(struct move *m, const struct device *device)
{
	struct create_request request = { 0 };
	int ret = create_like(m, &request);

	if (!ret)
		ret = check_room(m, &request);
	if (!ret)
		ret = create_image(&request, &m->file);
	if (!ret)
		ret = image_open(&m->image, m->path);
	/* On a device the descriptor has locks that the kernel would meet. */
	if (!ret)
		ret = newfile_unlock(&m->file);
	if (!ret)
		ret = attach_copy(m, device);
	if (ret)
		return ret;
	MEM_FREE char *path = image_real_path(&m->image);

	m->target = DEVICE_TARGET;
	m->params = line_of(device, path);
	m->to_name = mem_printf("handover %s", device->number);
	return 0;
}

static int use_file(struct move *m, dev_t *number)
{
	int fd, ret = newfile_clear(&m->file, m->sectors * SECTOR);

	/* What stands on the disk comes to stand in it. */
	if (!ret && fchmod(m->file.fd, 0600))
		ret = err_errno(errno, m->path);
	if (!ret)
		ret = newfile_keep(&m->file);
	if (ret)
		return ret;
	/* By its name: the kernel shows that of the loop device's file. */
	fd = open(m->path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return err_errno(errno, m->path);
	m->loop = loop_attach(fd, false, number);
	close(fd);
	return m->loop < 0 ? err_errno_what(-m->loop, m->path, "no loop device") : 0;
}

static int use_device(struct move *m, dev_t *number)
{
	struct stat st;
	int ret = newfile_unlock(&m->file);

	if (ret)
		return ret;
	if (fstat(m->file.fd, &st))
		return err_errno(errno, m->path);
	*number = st.st_rdev;
	return 0;
}

static int make_raw(struct move *m)
{
	dev_t number = 0;
	int ret = check_room(m, NULL);

	if (!ret)
		ret = newfile_open(&m->file, m->path, false);
	if (!ret)
		ret = m->file.is_block ? use_device(m, &number) : use_file(m, &number);
	if (ret)
		return ret;
	m->copy_number = mem_printf("%u:%u", major(number), minor(number));
	m->target = "linear";
	m->params = mem_printf("%s 0", m->copy_number);
	return 0;
}

/* ------------------------------------------------------------------------
 * All that can fail
 */

static int make_real(struct move *m, const struct device *device)
{
	MEM_FREE char *line = table_format(&device->table);
	struct dm_device part = { 0 };
	int ret = interpose_create_part(device, m->real, "real", &part);

	/* dm-clone wants to know how large it is. */
	if (!ret && m->clone)
		ret = interpose_measure(&part, m->sectors);
	if (!ret) {
		m->real_number = mem_printf("%u:%u", part.major, part.minor);
		m->to_real = mem_printf("handover %s", m->real_number);
		ret = interpose_load(&part, DEVICE_TARGET, m->sectors, line, false);
	}
	dm_release(&part);
	return ret;
}

static int load_mirror(const struct move *m, const struct device *device)
{
	MEM_FREE char *params = mem_printf("core 1 %llu 2 %s 0 %s 0 1 handle_errors",
					   (unsigned long long)(m->region / SECTOR), m->real_number,
					   m->copy_number);

	return interpose_load(&device->dm, "mirror", m->sectors, params, false);
}

/* A bit for each region, and what keeps them consistent. */
static int make_state(struct move *m, const struct device *device)
{
	const struct guard_line line = { .state = m->path };
	u64 bytes = CLONE_BYTES + m->sectors * SECTOR / m->region / 4;

	m->state.path = guard_clone_path(device->dm.name, &line);
	if (!strncmp(m->state.path, GUARD_STATE_FOLDER "/", sizeof(GUARD_STATE_FOLDER)))
		mkdir(GUARD_STATE_FOLDER, 0700);
	return interpose_state_open(&m->state, bytes, bytes, CLONE_CLEAR);
}

static int load_clone(const struct move *m, const struct device *device)
{
	MEM_FREE char *params = mem_printf("%s %s %s %llu 1 no_hydration", m->state.number,
					   m->copy_number, m->real_number,
					   (unsigned long long)(m->region / SECTOR));

	return interpose_load(&device->dm, "clone", m->sectors, params, false);
}

static int prepare_clone(struct move *m, const struct device *device)
{
	int ret = make_state(m, device);

	if (!ret)
		ret = load_clone(m, device);
	return ret ? ret : guard_only_way(m->target, m->params);
}

static int prepare(const struct device *device, void *data)
{
	struct move *m = data;
	int ret = interpose_check_device(device, "a move");

	if (ret)
		return ret;
	dm_prepare();
	m->sectors = device->dm.sectors;
	ret = m->raw ? make_raw(m) : make_qcow2(m, device);
	if (ret && !m->file.is_kept)
		guard_spare_state();
	if (!ret)
		ret = make_real(m, device);
	if (ret)
		return ret;
	return m->clone ? prepare_clone(m, device) : load_mirror(m, device);
}

/* ------------------------------------------------------------------------
 * The change
 */

static int put_layer_in(const struct move *m, const char *name)
{
	int ret = guard_halt(name, false, true);

	if (ret)
		return ret;
	ret = interpose_is_parked(name, true);
	if (!ret)
		ret = dm_message(name, m->to_real);
	if (!ret)
		ret = dm_resume_private(m->real);
	if (!ret)
		ret = interpose_is_live(m->real, DEVICE_TARGET, m->sectors);
	if (!ret)
		ret = dm_resume_only(name);
	return ret ? err_errno_what(-ret, name, "the layer does not come to life") : 0;
}

/* The table that waits, and the names that it needs. */
static int load_new(struct move *m, const struct device *device)
{
	int ret = 0;

	if (!m->raw) {
		ret = dm_rename(m->real, m->frozen);
		if (!ret)
			ret = dm_rename(m->copy, m->real);
		dm_settle();
		dm_prepare();
	}
	if (ret)
		return err_errno_what(-ret, device->dm.name, "cannot rename its parts");
	ret = interpose_load(&device->dm, m->target, m->sectors, m->params, false);
	/* Most of it, while there is time. */
	return ret ? ret : newfile_sync(&m->file);
}

/* Has every write come to both? */
static int verify(const struct move *m)
{
	struct move_mirror mirror;
	int ret = move_mirror_look(m->request->name, &mirror);

	if (ret)
		return ret;
	return mirror.source && mirror.copy && mirror.done == mirror.total ? 0 : -EIO;
}

static int pivot(const struct move *m, const char *name)
{
	/* A write that waits since a copy of it fails waits on. */
	int ret = guard_halt(name, false, false);

	if (ret)
		return ret;
	ret = verify(m);
	if (!ret && m->raw && fsync(m->file.fd))
		ret = -errno;
	if (!ret && !m->raw) {
		ret = guard_halt(m->real, false, true);
		if (ret)
			return ret;
		ret = interpose_is_parked(m->real, true);
		if (!ret)
			ret = dm_message(m->real, m->to_name);
	}
	if (!ret)
		ret = guard_turn();
	if (!ret)
		ret = dm_resume_only(name);
	if (!ret)
		ret = interpose_is_live(name, m->target, m->sectors);
	return ret ? err_errno_what(-ret, name, "the new image does not come to life") : 0;
}

static int apply(const struct device *device, void *data)
{
	struct move *m = data;
	const char *name = device->dm.name;
	int ret = 0;

	if (m->clone) {
		progress_commit();
		ret = progress_step(0, 1);	/* interrupted before: the last look */
	}
	if (!ret)
		ret = put_layer_in(m, name);
	if (ret)
		return ret;
	guard_rest();
	ret = move_copy_wait(m->request, m->region, m->clone);
	/* The guard knows that way, too. */
	if (ret || m->clone)
		return ret;
	ret = load_new(m, device);
	if (ret)
		return ret;
	guard_wake();
	return pivot(m, name);
}

/* ------------------------------------------------------------------------
 * Around it
 */

/* Wherever `recover` is called from. */
static void choose_path(struct move *m)
{
	const char *dest = m->request->dest, *slash = strrchr(dest, '/');
	MEM_FREE char *folder = slash ? mem_strndup(dest, slash == dest ? 1 : slash - dest) :
					mem_strdup(".");
	MEM_FREE char *real = realpath(folder, NULL);
	struct stat st;

	m->path = real ? mem_printf("%s/%s", strcmp(real, "/") ? real : "", slash ? slash + 1 : dest) :
			 mem_strdup(dest);
	m->folder = mem_strdup(stat(m->path, &st) ? (real ? real : folder) : m->path);
}

/* What would be refused later anyway, before there is an intent to take it away. */
static int check_dest(const struct move *m)
{
	struct newfile file;
	struct stat st;
	int ret;

	if (text_has_control(m->path))
		return err_usage("a path with control characters");
	if (lstat(m->path, &st))
		return 0;
	if (stat(m->path, &st) || !S_ISBLK(st.st_mode))
		return err_fail(ERR_POLICY, m->path, "it exists already");
	ret = newfile_open(&file, m->path, false);
	newfile_close(&file, false);
	return ret;
}

/* What its parts are going to be called must be free, not only for a start. */
static int check_names(const struct move *m)
{
	const char *const names[] = { m->real, m->frozen, m->copy };
	struct dm_device dm;
	size_t i;
	int ret;

	for (i = 0; i < sizeof(names) / sizeof(*names); i++) {
		ret = dm_query(names[i], &dm);
		dm_release(&dm);
		if (!ret)
			return err_fail(ERR_BUSY, m->request->name, "a device %s exists", names[i]);
	}
	return 0;
}

static int check(struct move *m, const struct device *device)
{
	const struct move_request *request = m->request;
	int ret = interpose_check_device(device, "a move");

	if (!ret)
		ret = check_names(m);
	if (!ret)
		ret = check_dest(m);
	if (ret)
		return ret;
	return m->clone ? interpose_need_target(request->name, "clone", "dm-clone") :
			  interpose_need_target(request->name, "mirror", "dm-mirror");
}

static int move(struct move *m, const struct device *device)
{
	const struct move_request *request = m->request;
	struct guard_request guard = {
		.writes = true,
		.seconds = request->timeout == CLI_UNSET || !request->timeout ?
				   GUARD_SECONDS : (unsigned int)request->timeout,
		.memory = MEMORY,
		.file = m->folder,
		.state = m->path,
		.moved = move_mark,
	};
	struct guard_change change = { prepare, apply, m };
	int ret = check(m, device);

	if (ret)
		return ret;
	m->source = mem_strdup(device->image);
	progress_start(request->progress, request->name);
	ret = guard_change(request->name, &guard, &change);
	progress_end();
	return ret;
}

int move_device(const struct move_request *request)
{
	struct move m = { .request = request, .file = NEWFILE_CLOSED, .image = IMAGE_CLOSED,
			  .state = INTERPOSE_STATE_NONE, .loop = -1 };
	struct device device;
	int ret = device_get(request->name, &device);

	if (ret)
		return device_fail(ret, request->name);
	m.raw = request->format && !strcmp(request->format, "raw");
	m.clone = request->via && !strcmp(request->via, "clone");
	m.region = m.clone ? CLONE_REGION : move_mirror_region(request->bwlimit);
	m.real = mem_printf("%s.real", request->name);
	m.frozen = mem_printf("%s.frozen", request->name);
	m.copy = mem_printf("%s.copy", request->name);
	choose_path(&m);
	ret = move(&m, &device);
	device_release(&device);
	dm_settle();
	/* If it has to go, that is done already. */
	newfile_close(&m.file, false);
	image_close(&m.image);
	interpose_state_close(&m.state, false);
	if (m.loop >= 0)
		close(m.loop);
	free(m.path);
	free(m.folder);
	free(m.source);
	free(m.real);
	free(m.frozen);
	free(m.copy);
	free(m.real_number);
	free(m.copy_number);
	free(m.to_real);
	free(m.to_name);
	free(m.params);
	return ret;
}
