// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Resolve the layers of an image by the policy that the caller chose.
 *
 * "follow" opens a name only beneath a folder that the caller allowed, and lets
 * the kernel decide what is beneath (RESOLVE_BENEATH): no symbolic link, no
 * magic link, no ".." leads out. A format is never guessed.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "chain.h"
#include "err.h"
#include "mem.h"
#include "probe.h"
#include "text.h"

#define MAX_LAYERS	256	/* of the target */

int chain_split(const char *text, char **path, bool *raw)
{
	static const char key[] = ",format=";
	const char *found = NULL, *next = text;
	const char *format;

	*path = NULL;
	while ((next = strstr(next, key)))
		found = next++;
	if (!found || found == text)
		return err_usage("--backing: '%s' is not PATH,format=qcow2 or PATH,format=raw",
				 text);
	format = found + strlen(key);
	*raw = !strcmp(format, "raw");
	if (!*raw && strcmp(format, "qcow2"))
		return err_usage("--backing: format '%s' is neither qcow2 nor raw", format);
	*path = mem_strndup(text, found - text);
	return 0;
}

int chain_refuse_under_raw(const char *text)
{
	return err_usage("--backing: '%s' is under a raw layer, which has nothing below", text);
}

/* ------------------------------------------------------------------------
 * Names inside images
 */

/* The folder, absolute, in which the image that has the name lies. */
static char *folder_of(const struct image *image)
{
	MEM_FREE char *copy = mem_strdup(image->path);
	char *slash = strrchr(copy, '/');
	char folder[PATH_MAX];

	if (slash)
		slash[slash == copy ? 1 : 0] = '\0';
	return realpath(slash ? copy : ".", folder) ? mem_strdup(folder) : NULL;
}

/* The part of absolute @path behind folder @allowed, or NULL. */
static const char *beneath(const char *path, const char *allowed)
{
	size_t len = strlen(allowed);

	while (len && allowed[len - 1] == '/')
		len--;
	if (strncmp(path, allowed, len) || path[len] != '/')
		return NULL;
	path += len;
	while (*path == '/')
		path++;
	return *path ? path : NULL;
}

static int open_beneath(const char *folder, const char *path)
{
	struct open_how how = {
		.flags = O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS,
	};
	int base = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int fd, error;

	if (base < 0)
		return -errno;
	fd = syscall(SYS_openat2, base, path, &how, sizeof(how));
	error = errno;
	close(base);
	return fd < 0 ? -error : fd;
}

/*
 * Open @path, which an image names, beneath one of the allowed folders, each as
 * it was given and as it really is. -EPERM if it is beneath none.
 */
static int open_allowed(char **allowed, const char *path)
{
	char real[PATH_MAX];
	const char *rest;
	int ret = -EPERM;

	for (; allowed && *allowed; allowed++) {
		rest = beneath(path, *allowed);
		if (!rest && realpath(*allowed, real))
			rest = beneath(path, real);
		if (!rest)
			continue;
		ret = open_beneath(*allowed, rest);
		if (ret >= 0)
			return ret;
	}
	return ret;
}

/* Open what @image calls @name. Prints and returns an exit code. */
static int follow(const struct image *image, const char *name, char **allowed, struct image *next)
{
	MEM_FREE char *shown = text_printable(name);
	MEM_FREE char *folder = NULL, *path = NULL;
	char real[PATH_MAX];
	struct stat st;
	int fd;

	if (image_name_is_url(name))
		return err_fail(ERR_POLICY, image->path, "image names \"%s\", which is not a file",
				shown);
	folder = folder_of(image);
	if (!folder)
		return err_errno_what(errno, image->path, "cannot resolve its folder");
	path = *name == '/' ? mem_strdup(name) : mem_printf("%s/%s", folder, name);
	fd = open_allowed(allowed, path);
	/* udev's name of a device is a link, and what it leads to may have been named as well. */
	if (fd == -ELOOP && !stat(path, &st) && S_ISBLK(st.st_mode) && realpath(path, real))
		fd = open_allowed(allowed, real);
	if (fd == -EPERM || fd == -ELOOP || fd == -EXDEV)
		return err_fail(ERR_POLICY, image->path,
				"image names \"%s\", which lies beneath no --allow-under", shown);
	if (fd < 0)
		return err_errno_what(-fd, image->path, "image names \"%s\"", shown);
	return image_adopt(next, fd, path);
}

/* Open @path, as @image means it, in the image's own folder or below: a descriptor or a negative errno. */
static int open_beside(const struct image *image, const char *path)
{
	const struct image named = { .path = (char *)path };
	MEM_FREE char *folder = folder_of(image), *place = folder_of(&named), *base = NULL;
	const char *rest;

	if (!folder || !place)
		return -EPERM;
	base = mem_printf("%s/%s", place, strrchr(path, '/') ? strrchr(path, '/') + 1 : path);
	rest = beneath(base, folder);
	return rest ? open_beneath(folder, rest) : -EPERM;
}

int chain_find_beside(const struct image *image, const char *name)
{
	MEM_FREE char *path = image_resolve(image, name);
	struct stat st;
	int fd = image_name_is_url(name) ? -EPERM : open_beside(image, path), ret = 0;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st))
		ret = -errno;
	else if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		ret = -EPERM;
	close(fd);
	return ret;
}

int chain_open_beside(const struct image *image, const char *what, const char *name, struct image *next)
{
	MEM_FREE char *shown = text_printable(name);
	MEM_FREE char *path = image_resolve(image, name);
	int fd;

	if (image_name_is_url(name))
		return err_fail(ERR_POLICY, image->path, "image names \"%s\", which is not a file",
				shown);
	fd = open_beside(image, path);
	if (fd >= 0)
		return image_adopt(next, fd, path);
	if (fd != -EPERM && fd != -ELOOP && fd != -EXDEV)
		return err_errno_what(-fd, image->path, "image names the %s \"%s\"", what, shown);
	return err_fail(ERR_POLICY, image->path,
			"image names the %s \"%s\", which is no file of its own folder", what, shown);
}

/* Refuse a name that nothing is given for, and print what to add. */
static int refuse_unnamed(const struct image *image, const char *what, const char *name,
			  const char *option, const char *format)
{
	MEM_FREE char *shown = text_printable(name);
	MEM_FREE char *path = image_resolve(image, name);
	MEM_FREE char *word =
		mem_printf("%s%s%s", path, format ? ",format=" : "", format ? format : "");
	MEM_FREE char *quoted = text_shell(word);
	int ret;

	ret = err_fail(ERR_POLICY, image->path, "image names a %s \"%s\" that is not given", what,
		       shown);
	if (image_name_is_url(name))
		err_hint("add %s with a local file in its place", option);
	else
		err_hint("add %s %s if you trust the image", option, quoted);
	return ret;
}

/* ------------------------------------------------------------------------
 * Layers
 */

static struct image *add_layer(struct chain *chain)
{
	struct image closed = IMAGE_CLOSED;

	chain->layers = mem_grow(chain->layers, chain->nr_layers, sizeof(*chain->layers));
	chain->layers[chain->nr_layers] = closed;
	return &chain->layers[chain->nr_layers++];
}

/*
 * A device that something else lives on is not ours, even if a qcow2 header is
 * left on it: a RAID member, say, made over an old image.
 */
static int refuse_signature(const struct image *image)
{
	MEM_FREE char *what = NULL;
	int ret = probe_signature(image->fd, &what);

	if (ret)
		return err_errno_what(-ret, image->path,
				      "cannot look for signatures on the device");
	return what ? err_fail(ERR_POLICY, image->path, "the device holds something: %s", what) : 0;
}

/* Nobody could load a table again that shows it. */
static int refuse_control(const struct image *image)
{
	MEM_FREE char *path = image_real_path(image);

	return text_has_control(path) ?
	       err_fail(ERR_FAILED, image->path, "its path has control characters") : 0;
}

static int check_layer(struct chain *chain)
{
	struct image *image = &chain->layers[chain->nr_layers - 1];
	int ret = refuse_control(image);
	size_t i;

	if (ret)
		return ret;
	for (i = 0; i + 1 < chain->nr_layers; i++) {
		if (image_is_same(image, &chain->layers[i].st))
			return err_fail(ERR_FAILED, image->path, "it is in the chain twice");
	}
	if (chain->nr_layers > MAX_LAYERS)
		return err_fail(ERR_FAILED, image->path, "the chain has more than %d layers",
				MAX_LAYERS);
	if (image->raw)
		return 0;
	ret = image->is_block ? refuse_signature(image) : 0;
	if (!ret)
		ret = image_verify(image);
	if (!ret && image->geo.data_file && chain->nr_layers > 1)
		ret = err_fail(ERR_UNSUPPORTED, image->path,
			       "an image with an external data file can be on top only");
	return ret;
}

/* The next layer as an option gives it. */
static int open_given(struct chain *chain, const char *text)
{
	const struct image *above = &chain->layers[chain->nr_layers - 1];
	MEM_FREE char *path = NULL;
	bool raw;
	int ret;

	ret = chain_split(text, &path, &raw);
	if (ret)
		return ret;
	if (above->raw)
		return chain_refuse_under_raw(text);
	if (!above->header.backing_file.length)
		return err_fail(ERR_POLICY, above->path,
				"image names no backing file, but --backing gives one");
	MEM_FREE char *stated = image_string(above, &above->header.backing_format);

	if (stated && strcmp(stated, raw ? "raw" : "qcow2")) {
		MEM_FREE char *shown = text_printable(stated);

		err_warn(above->path, "image says that the format of its backing file is %s",
			 shown);
	}
	ret = image_open(add_layer(chain), path);
	chain->layers[chain->nr_layers - 1].raw = raw;
	return ret ? ret : check_layer(chain);
}

static int refuse_unstated(const struct image *image, const char *name)
{
	MEM_FREE char *path = image_resolve(image, name);
	MEM_FREE char *quoted = text_shell(path);

	err_fail(ERR_POLICY, image->path, "image does not say the format of its backing file");
	err_hint("add --backing %s,format=FORMAT with the format that it has", quoted);
	return ERR_POLICY;
}

/* The next layer as the image names it. */
static int open_followed(struct chain *chain, const char *name, const char *format, char **allowed)
{
	struct image next = IMAGE_CLOSED;
	struct image *above = &chain->layers[chain->nr_layers - 1];
	bool raw = format && !strcmp(format, "raw");
	int ret;

	if (!format)
		return refuse_unstated(above, name);
	if (!raw && strcmp(format, "qcow2")) {
		MEM_FREE char *shown = text_printable(format);

		return err_fail(ERR_UNSUPPORTED, above->path,
				"backing format \"%s\" is neither qcow2 nor raw", shown);
	}
	ret = follow(above, name, allowed, &next);
	*add_layer(chain) = next;
	chain->layers[chain->nr_layers - 1].raw = raw;
	return ret ? ret : check_layer(chain);
}

static char *string_of(const struct image *image, const struct qcow2_string *string)
{
	return image->raw ? NULL : image_string(image, string);
}

/* Go down to a layer that names nothing, or whose name is ignored. */
static int open_rest(struct chain *chain, const struct chain_request *request)
{
	int ret;

	for (;;) {
		const struct image *last = &chain->layers[chain->nr_layers - 1];
		MEM_FREE char *name = string_of(last, &last->header.backing_file);
		MEM_FREE char *format = string_of(last, &last->header.backing_format);

		if (!name)
			return 0;
		switch (request->policy) {
		case CHAIN_NONE:
			chain->no_backing = true;
			return 0;
		case CHAIN_FOLLOW:
			ret = open_followed(chain, name, format, request->allow_under);
			if (ret)
				return ret;
			break;
		default:
			return refuse_unnamed(last, "backing file", name, "--backing",
					      format ? format : "FORMAT");
		}
	}
}

static int open_data_file(struct chain *chain, const struct chain_request *request)
{
	const struct image *top = &chain->layers[0];
	bool wanted = top->header.incompatible_features & QCOW2_INCOMPAT_DATA_FILE;
	MEM_FREE char *name = wanted ? image_string(top, &top->header.data_file) : NULL;
	int ret;

	if (!wanted && request->data_file)
		return err_fail(ERR_POLICY, top->path,
				"image has no external data file, but --data-file gives one");
	if (!wanted)
		return 0;
	if (request->data_file)
		ret = image_open(&chain->data_file, request->data_file);
	else if (request->policy == CHAIN_FOLLOW && name)
		ret = follow(top, name, request->allow_under, &chain->data_file);
	else
		return refuse_unnamed(top, "data file", name ? name : "?", "--data-file", NULL);
	chain->data_file.raw = true;
	if (!ret)
		ret = refuse_control(&chain->data_file);
	if (!ret && image_is_same(&chain->data_file, &top->st))
		ret = err_fail(ERR_FAILED, top->path, "image and data file are the same");
	if (!ret && chain->data_file.end < top->header.size)
		ret = err_fail(ERR_CORRUPT, chain->data_file.path,
			       "data file has %llu bytes, but the disk has %llu",
			       (unsigned long long)chain->data_file.end,
			       (unsigned long long)top->header.size);
	return ret;
}

int chain_open(struct chain *chain, const struct chain_request *request)
{
	struct image closed = IMAGE_CLOSED;
	char **text;
	int ret;

	memset(chain, 0, sizeof(*chain));
	chain->data_file = closed;
	ret = image_open(add_layer(chain), request->image);
	if (!ret)
		ret = check_layer(chain);
	for (text = request->backing; !ret && text && *text; text++)
		ret = open_given(chain, *text);
	if (!ret)
		ret = open_rest(chain, request);
	if (!ret)
		ret = open_data_file(chain, request);
	return ret;
}

void chain_close(struct chain *chain)
{
	size_t i;

	for (i = 0; i < chain->nr_layers; i++)
		image_close(&chain->layers[i]);
	free(chain->layers);
	image_close(&chain->data_file);
	memset(chain, 0, sizeof(*chain));
	chain->data_file.fd = -1;
}
