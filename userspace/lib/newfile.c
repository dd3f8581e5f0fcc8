// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * New files without remains: O_TMPFILE and a link at the end. File systems
 * without it get a file PATH.part, which is unlinked if it is not kept.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "err.h"
#include "../../kernel/format.h"
#include "holder.h"
#include "lock.h"
#include "mem.h"
#include "newfile.h"
#include "probe.h"

#define ZERO_BYTES	(1U << 20)
#define SECTOR		512	/* of a head at least */

static int refuse_existing(const char *path)
{
	err_fail(ERR_POLICY, path, "it exists already");
	err_hint("choose another path; nothing is ever made over a file");
	return ERR_POLICY;
}

int newfile_check_free(const char *path)
{
	struct stat st;

	return lstat(path, &st) ? 0 : refuse_existing(path);
}

/* Nobody but a run that was killed should have left it, but its name does not prove that. */
static int refuse_part(const char *part)
{
	err_fail(ERR_POLICY, part, "it exists already");
	err_hint("a run that was killed may have left it; remove it if none is at work there");
	return ERR_POLICY;
}

/* The folder that @path lies in, for the caller to free. */
static char *folder_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (!slash)
		return mem_strdup(".");
	return mem_strndup(path, slash == path ? 1 : slash - path);
}

static int open_named(struct newfile *file)
{
	MEM_FREE char *part = mem_printf("%s.part", file->path);

	file->fd = open(part, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (file->fd < 0)
		return errno == EEXIST ? refuse_part(part) : err_errno(errno, part);
	file->part = part;
	part = NULL;
	return 0;
}

static int open_file(struct newfile *file)
{
	MEM_FREE char *folder = folder_of(file->path);

	if (newfile_check_free(file->path))
		return ERR_POLICY;
	if (!*file->path || file->path[strlen(file->path) - 1] == '/')
		return err_fail(ERR_NOT_FOUND, file->path, "it is not the name of a file");
	file->fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0666);
	if (file->fd >= 0)
		return 0;
	if (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)
		return open_named(file);
	return err_errno(errno, file->path);
}

static int check_locks(const struct newfile *file)
{
	int byte = lock_take(file->fd, LOCK_WRITER);
	struct stat st;

	if (byte <= 0)
		return 0;
	MEM_FREE char *holder = fstat(file->fd, &st) ? NULL : holder_of_byte(&st, byte);

	return err_fail(ERR_LOCKED, file->path, "device is locked by another process (byte %d)%s%s",
			byte, holder ? ": " : "", holder ? holder : "");
}

/* libblkid does not know qcow2. */
static int check_signature(const struct newfile *file)
{
	MEM_FREE char *what = NULL;
	__be32 magic = 0;
	int ret;

	ret = probe_signature(file->fd, &what);
	if (!ret && pread(file->fd, &magic, sizeof(magic), 0) < 0)
		ret = -errno;
	if (ret)
		return err_errno_what(-ret, file->path, "cannot look for signatures on the device");
	if (!what && be32toh(magic) == QCOW2_MAGIC)
		what = mem_strdup("qcow2 image");
	if (!what)
		return 0;
	err_fail(ERR_POLICY, file->path, "the device holds something: %s", what);
	err_hint("wipe the start of the device first if nobody needs that any more");
	return ERR_POLICY;
}

static int open_device(struct newfile *file, bool adopt)
{
	int ret;

	file->is_block = true;
	file->fd = open(file->path, O_RDWR | O_EXCL | O_CLOEXEC);
	if (file->fd < 0)
		return err_errno(errno, file->path);
	if (ioctl(file->fd, BLKGETSIZE64, &file->end))
		return err_errno_what(errno, file->path, "cannot get the size of the device");
	ret = check_locks(file);
	return ret || adopt ? ret : check_signature(file);
}

int newfile_open(struct newfile *file, const char *path, bool adopt)
{
	struct stat st;

	memset(file, 0, sizeof(*file));
	file->fd = -1;
	file->path = path;
	if (!stat(path, &st) && S_ISBLK(st.st_mode))
		return open_device(file, adopt);
	return open_file(file);
}

int newfile_write(struct newfile *file, u64 offset, const void *data, size_t len)
{
	const char *from = data;
	ssize_t n;

	while (len) {
		n = pwrite(file->fd, from, len, offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return err_errno_what(n ? errno : EIO, file->path, "cannot write");
		from += n;
		offset += n;
		len -= n;
	}
	return 0;
}

static int clear_device(struct newfile *file, u64 len)
{
	MEM_FREE char *zeros = NULL;
	u64 range[2] = { 0, (len + 4095) & ~4095ULL };
	u64 done;
	int ret = 0;

	if (len > file->end)
		return err_fail(ERR_NO_SPACE, file->path,
				"the device has %llu bytes, %llu are needed",
				(unsigned long long)file->end, (unsigned long long)len);
	if (range[1] <= file->end && !ioctl(file->fd, BLKZEROOUT, range))
		return 0;
	zeros = mem_zalloc(ZERO_BYTES);
	for (done = 0; !ret && done < len; done += ZERO_BYTES)
		ret = newfile_write(file, done, zeros,
				    len - done < ZERO_BYTES ? len - done : ZERO_BYTES);
	return ret;
}

int newfile_clear(struct newfile *file, u64 len)
{
	if (file->is_block)
		return clear_device(file, len);
	return ftruncate(file->fd, len) ?
		       err_errno_what(errno, file->path, "cannot make it %llu bytes long",
				      (unsigned long long)len) :
		       0;
}

int newfile_seal(struct newfile *file, const void *data, size_t len)
{
	if (!file->is_block)
		return newfile_write(file, 0, data, len);
	file->head = mem_aligned(len);
	file->head_len = len;
	memcpy(file->head, data, len);
	return 0;
}

int newfile_sync(struct newfile *file)
{
	return fsync(file->fd) ? err_errno_what(errno, file->path, "cannot write") : 0;
}

static bool rename_part(struct newfile *file)
{
	if (!renameat2(AT_FDCWD, file->part, AT_FDCWD, file->path, RENAME_NOREPLACE))
		return true;
	/* Not every file system knows that flag. */
	return errno == EINVAL && !link(file->part, file->path) && !unlink(file->part);
}

static bool link_file(const struct newfile *file)
{
	MEM_FREE char *name = mem_printf("/proc/self/fd/%d", file->fd);

	return !linkat(AT_FDCWD, name, AT_FDCWD, file->path, AT_SYMLINK_FOLLOW);
}

static int give_name(struct newfile *file)
{
	if (file->part ? rename_part(file) : link_file(file))
		return 0;
	return errno == EEXIST ? refuse_existing(file->path) : err_errno(errno, file->path);
}

/* The name is in the folder: make that durable. */
static int sync_folder(const struct newfile *file)
{
	MEM_FREE char *folder = folder_of(file->path);
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int ret = 0;

	/* Some file systems cannot sync a folder; that is no reason to fail. */
	if (fd >= 0 && fsync(fd) && errno != EINVAL && errno != EOPNOTSUPP)
		ret = err_errno_what(errno, folder, "cannot write");
	if (fd >= 0)
		close(fd);
	return ret;
}

/* Its first sector comes last, with all that it refers to behind it. */
static int write_head(struct newfile *file)
{
	const char *head = file->head;
	int ret = newfile_write(file, SECTOR, head + SECTOR, file->head_len - SECTOR);

	if (!ret)
		ret = newfile_sync(file);
	if (!ret)
		ret = newfile_write(file, 0, head, SECTOR);
	return ret ? ret : newfile_sync(file);
}

int newfile_keep(struct newfile *file)
{
	int ret = newfile_sync(file);

	if (!ret && !file->is_block)
		ret = give_name(file);
	if (ret)
		return ret;
	file->is_kept = true;
	if (!file->is_block)
		return sync_folder(file);
	return file->head ? write_head(file) : 0;
}

int newfile_wipe(int fd)
{
	static const char nothing[sizeof(struct qcow2_header_disk)];

	return pwrite(fd, nothing, sizeof(nothing), 0) != sizeof(nothing) || fsync(fd) ? -errno : 0;
}

int newfile_unlock(struct newfile *file)
{
	int fd;

	if (!file->is_block)
		return 0;
	/* Both belong to the open file description. */
	fd = open(file->path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return err_errno(errno, file->path);
	close(file->fd);
	file->fd = fd;
	return 0;
}

void newfile_close(struct newfile *file, bool discard)
{
	if (file->fd < 0)
		return;
	if (!file->is_block && (file->is_kept ? discard : !!file->part))
		unlink(file->is_kept ? file->path : file->part);
	else if (file->is_block && file->is_kept && discard)
		newfile_wipe(file->fd);
	close(file->fd);
	file->fd = -1;
	free(file->part);
	file->part = NULL;
	free(file->head);
	file->head = NULL;
}
