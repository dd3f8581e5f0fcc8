// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Open an image file or block device and read its header with the kernel's
 * own decoder.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "err.h"
#include "image.h"
#include "mem.h"
#include "text.h"

#define BOUNCE_BYTES	65536

static const char *kind_name(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFDIR:
		return "a directory";
	case S_IFIFO:
		return "a FIFO";
	case S_IFSOCK:
		return "a socket";
	case S_IFCHR:
		return "a character device";
	default:
		return "something else";
	}
}

/* How long it is now: a device that uses it may have made it longer since. */
static int find_end(struct image *image)
{
	if (fstat(image->fd, &image->st))
		return err_errno(errno, image->path);
	image->end = image->st.st_size;
	if (S_ISBLK(image->st.st_mode) && ioctl(image->fd, BLKGETSIZE64, &image->end))
		return err_errno_what(errno, image->path, "cannot get the size of the device");
	return 0;
}

int image_adopt(struct image *image, int fd, const char *path)
{
	int ret;

	memset(image, 0, sizeof(*image));
	image->path = mem_strdup(path);
	image->fd = fd;
	ret = find_end(image);
	image->is_block = S_ISBLK(image->st.st_mode);
	if (!ret && !image->is_block && !S_ISREG(image->st.st_mode))
		ret = err_fail(ERR_FAILED, path, "it is %s, not a file or block device",
			       kind_name(image->st.st_mode));
	return ret;
}

int image_open(struct image *image, const char *path)
{
	/* O_NONBLOCK: nobody may make us wait at the other end of a FIFO. */
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	struct stat st;

	memset(image, 0, sizeof(*image));
	image->fd = -1;
	if (fd >= 0)
		return image_adopt(image, fd, path);
	/* A socket cannot be opened at all: say what it is all the same. */
	if (errno == ENXIO && !stat(path, &st) && !S_ISBLK(st.st_mode))
		return err_fail(ERR_FAILED, path, "it is %s, not a file or block device",
				kind_name(st.st_mode));
	return err_errno(errno, path);
}

void image_close(struct image *image)
{
	if (image->fd >= 0)
		close(image->fd);
	free(image->path);
	free(image->cluster);
	memset(image, 0, sizeof(*image));
	image->fd = -1;
}

/* ------------------------------------------------------------------------
 * Bytes
 */

/* The unit of direct I/O of an open descriptor; 0: it cannot do that. */
static u32 find_granule(const struct image *image)
{
	struct statx stx = { 0 };
	int size;

	if (image->is_block)
		return ioctl(image->fd, BLKSSZGET, &size) ? 4096 : size;
#ifdef STATX_DIOALIGN
	if (!statx(image->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) &&
	    (stx.stx_mask & STATX_DIOALIGN))
		return stx.stx_dio_offset_align;
#endif
	(void)stx;
	return 4096;
}

int image_open_direct(struct image *image, bool exclusive)
{
	MEM_FREE char *link = mem_printf("/proc/self/fd/%d", image->fd);
	int flags = O_RDWR | O_CLOEXEC | (exclusive && image->is_block ? O_EXCL : 0);
	int fd = open(link, flags | O_DIRECT);
	bool direct = fd >= 0;
	int ret;

	if (fd < 0 && errno == EINVAL)
		fd = open(link, flags);
	if (fd < 0)
		return err_errno(errno, image->path);
	close(image->fd);
	image->fd = fd;
	ret = find_end(image);
	if (ret)
		return ret;
	image->granule = direct ? find_granule(image) : 0;
	if (direct && (!image->granule || image->granule > BOUNCE_BYTES)) {
		image->granule = 0;
		fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_DIRECT);
	}
	return 0;
}

static u64 bytes_read;

u64 image_bytes_read(void)
{
	return bytes_read;
}

/* All of it, or up to the end of the file; bytes read, or negative errno. */
static ssize_t read_all(const struct image *image, u64 hoff, char *to, size_t len)
{
	size_t done = 0;
	ssize_t n;

	while (done < len) {
		n = pread(image->fd, to + done, len - done, hoff + done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		done += n;
		bytes_read += n;
		/* After a short count of direct I/O there is the end of the file, or no unit. */
		if (!n || (image->granule && (size_t)n % image->granule))
			break;
	}
	return done;
}

static bool is_aligned(const struct image *image, u64 hoff, const void *buf, size_t len)
{
	return !image->granule ||
	       !((hoff | len | (uintptr_t)buf) & (image->granule - 1));
}

/* Piece by piece through an aligned buffer. */
static int read_unaligned(const struct image *image, u64 hoff, char *to, size_t len)
{
	MEM_FREE char *bounce = mem_aligned(BOUNCE_BYTES);
	u64 start;
	size_t skip, part;
	ssize_t n = 0;

	for (; len && n >= 0; to += part, hoff += part, len -= part) {
		start = hoff & ~(u64)(image->granule - 1);
		skip = hoff - start;
		part = len < BOUNCE_BYTES - skip ? len : BOUNCE_BYTES - skip;
		n = read_all(image, start, bounce, BOUNCE_BYTES);
		if (n > (ssize_t)skip)
			memcpy(to, bounce + skip, (size_t)n - skip < part ? (size_t)n - skip : part);
	}
	return n < 0 ? n : 0;
}

int image_read(const struct image *image, u64 hoff, void *buf, size_t len)
{
	ssize_t n;

	memset(buf, 0, len);
	if (hoff > INT64_MAX - len)
		return -EFBIG;
	if (hoff >= image->end)
		return 0;
	if (!is_aligned(image, hoff, buf, len))
		return read_unaligned(image, hoff, buf, len);
	n = read_all(image, hoff, buf, len);
	return n < 0 ? n : 0;
}

static int write_all(struct image *image, u64 hoff, const char *from, size_t len)
{
	ssize_t n;

	while (len) {
		n = pwrite(image->fd, from, len, hoff);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		from += n;
		hoff += n;
		len -= n;
	}
	return 0;
}

/* What shares the first and last unit with the new bytes is written as it is. */
static int write_unaligned(struct image *image, u64 hoff, const char *from, size_t len)
{
	u64 start = hoff & ~(u64)(image->granule - 1);
	size_t bytes = (hoff + len - start + image->granule - 1) & ~(size_t)(image->granule - 1);
	MEM_FREE char *bounce = mem_aligned(bytes);
	int ret = image_read(image, start, bounce, bytes);

	if (ret)
		return ret;
	memcpy(bounce + (hoff - start), from, len);
	return write_all(image, start, bounce, bytes);
}

int image_write(struct image *image, u64 hoff, const void *buf, size_t len)
{
	int ret = is_aligned(image, hoff, buf, len) ? write_all(image, hoff, buf, len) :
						      write_unaligned(image, hoff, buf, len);

	if (!ret && !image->is_block && image->end < hoff + len)
		image->end = hoff + len;
	return ret;
}

/* ------------------------------------------------------------------------
 * Header
 */

static int refuse(const struct image *image, enum qcow2_verdict verdict)
{
	int ret = err_fail(err_code(qcow2_verdict_errno(verdict)), image->path, "%s",
			   qcow2_verdict_text(verdict));

	if (verdict == QCOW2_REFTABLE_EMPTY) {
		MEM_FREE char *path = text_shell(image->path);

		err_hint("qcow2ctl repair %s", path);
	}
	if (verdict == QCOW2_NOT_QCOW2)
		err_hint("a raw image is attached by losetup, and as a layer below by format=raw");
	return ret;
}

/* Which of the unknown features keeps us out: the image may have names for them. */
static int refuse_unknown(const struct image *image)
{
	u64 bits = image->header.incompatible_features & ~QCOW2_INCOMPAT_KNOWN;
	char *list = mem_strdup(""), *longer;
	char name[64];
	unsigned int bit;
	int ret;

	for (bit = 0; bit < 64; bit++) {
		if (!(bits & BIT_ULL(bit)))
			continue;
		qcow2_feature_name(image->cluster, image->cluster_len, &image->header, 0, bit, name,
				   sizeof(name));
		longer = mem_printf("%s%s%u (\"%s\")", list, *list ? ", " : "", bit, name);
		free(list);
		list = longer;
	}
	ret = err_fail(ERR_UNSUPPORTED, image->path, "unknown incompatible feature bit %s", list);
	free(list);
	return ret;
}

static size_t available(const struct image *image, u64 len)
{
	return image->end < len ? image->end : len;
}

static int read_cluster(struct image *image)
{
	int ret;

	image->cluster_len = available(image, 1ULL << image->header.cluster_bits);
	free(image->cluster);
	image->cluster = mem_zalloc(image->cluster_len);
	ret = image_read(image, 0, image->cluster, image->cluster_len);
	return ret ? err_errno_what(-ret, image->path, "cannot read the header") : 0;
}

/* Tables that share clusters, no counts at all, a list that is too long: a repair sees to that. */
static bool is_repairable(enum qcow2_verdict verdict)
{
	return verdict == QCOW2_REFTABLE_EMPTY || verdict == QCOW2_TABLES_OVERLAP ||
	       verdict == QCOW2_SNAPSHOTS_TOO_MANY;
}

static int verify(struct image *image, bool damaged)
{
	struct qcow2_header_disk disk;
	enum qcow2_verdict verdict, extensions;
	int ret;

	/* The kernel writes an attached device past the page cache: do not see old pages of it. */
	if (image->is_block)
		posix_fadvise(image->fd, 0, 0, POSIX_FADV_DONTNEED);
	ret = find_end(image);
	if (ret)
		return ret;
	ret = image_read(image, 0, &disk, sizeof(disk));
	if (ret)
		return err_errno_what(-ret, image->path, "cannot read the header");
	verdict = qcow2_header_decode(&disk, available(image, sizeof(disk)), &image->header);
	if (damaged && is_repairable(verdict))
		verdict = QCOW2_OK;
	if (verdict && verdict != QCOW2_UNKNOWN_INCOMPATIBLE && verdict != QCOW2_REFTABLE_EMPTY)
		return refuse(image, verdict);
	ret = read_cluster(image);
	if (ret)
		return ret;
	extensions = qcow2_header_extensions(image->cluster, image->cluster_len, &image->header);
	if (verdict == QCOW2_UNKNOWN_INCOMPATIBLE)
		return refuse_unknown(image);
	if (extensions)
		return refuse(image, extensions);
	if (verdict)
		return refuse(image, verdict);
	qcow2_header_geometry(&image->header, &image->geo);
	return 0;
}

int image_verify(struct image *image)
{
	return verify(image, false);
}

int image_verify_damaged(struct image *image)
{
	return verify(image, true);
}

/* ------------------------------------------------------------------------
 * Names
 */

bool image_same_file(const struct stat *a, const struct stat *b)
{
	if (S_ISBLK(a->st_mode) || S_ISBLK(b->st_mode))
		return S_ISBLK(a->st_mode) && S_ISBLK(b->st_mode) && a->st_rdev == b->st_rdev;
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

bool image_is_same(const struct image *image, const struct stat *st)
{
	return image_same_file(&image->st, st);
}

char *image_string(const struct image *image, const struct qcow2_string *string)
{
	if (!string->length || string->offset > image->cluster_len ||
	    string->length > image->cluster_len - string->offset)
		return NULL;
	return mem_strndup(image->cluster + string->offset, string->length);
}

char *image_real_path(const struct image *image)
{
	MEM_FREE char *link = mem_printf("/proc/self/fd/%d", image->fd);
	char path[PATH_MAX];
	ssize_t len = readlink(link, path, sizeof(path) - 1);

	return len < 0 ? mem_strdup(image->path) : mem_strndup(path, len);
}

char *image_resolve(const struct image *image, const char *name)
{
	const char *slash = strrchr(image->path, '/');

	if (*name == '/' || !slash)
		return mem_strdup(name);
	return mem_printf("%.*s%s", (int)(slash - image->path + 1), image->path, name);
}

bool image_name_is_url(const char *name)
{
	return name[strcspn(name, ":/")] == ':';
}

char *image_id(const struct image *image)
{
	if (image->is_block)
		return mem_printf("%u:%u", major(image->st.st_rdev), minor(image->st.st_rdev));
	return mem_printf("%llu", (unsigned long long)image->st.st_ino);
}
