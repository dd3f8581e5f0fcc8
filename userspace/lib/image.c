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

int image_adopt(struct image *image, int fd, const char *path)
{
	memset(image, 0, sizeof(*image));
	image->path = mem_strdup(path);
	image->fd = fd;
	if (fstat(fd, &image->st))
		return err_errno(errno, path);
	image->is_block = S_ISBLK(image->st.st_mode);
	if (!image->is_block && !S_ISREG(image->st.st_mode))
		return err_fail(ERR_FAILED, path, "it is %s, not a file or block device",
				kind_name(image->st.st_mode));
	image->end = image->st.st_size;
	if (image->is_block && ioctl(fd, BLKGETSIZE64, &image->end))
		return err_errno_what(errno, path, "cannot get the size of the device");
	return 0;
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

int image_read(const struct image *image, u64 hoff, void *buf, size_t len)
{
	char *to = buf;
	ssize_t n;

	memset(buf, 0, len);
	if (hoff > INT64_MAX - len)
		return -EFBIG;
	while (len) {
		n = pread(image->fd, to, len, hoff);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			break;
		to += n;
		hoff += n;
		len -= n;
	}
	return 0;
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
	image->cluster = mem_zalloc(image->cluster_len);
	ret = image_read(image, 0, image->cluster, image->cluster_len);
	return ret ? err_errno_what(-ret, image->path, "cannot read the header") : 0;
}

int image_verify(struct image *image)
{
	struct qcow2_header_disk disk;
	enum qcow2_verdict verdict, extensions;
	int ret;

	/* The kernel writes an attached device past the page cache: do not see old pages of it. */
	if (image->is_block)
		posix_fadvise(image->fd, 0, 0, POSIX_FADV_DONTNEED);
	ret = image_read(image, 0, &disk, sizeof(disk));
	if (ret)
		return err_errno_what(-ret, image->path, "cannot read the header");
	verdict = qcow2_header_decode(&disk, available(image, sizeof(disk)), &image->header);
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

/* ------------------------------------------------------------------------
 * Names
 */

bool image_is_same(const struct image *image, const struct stat *st)
{
	if (image->is_block || S_ISBLK(st->st_mode))
		return image->is_block && S_ISBLK(st->st_mode) && image->st.st_rdev == st->st_rdev;
	return image->st.st_dev == st->st_dev && image->st.st_ino == st->st_ino;
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
