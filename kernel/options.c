// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * The words of a table line. One table of options drives reading and
 * printing, so that a printed line can always be loaded again.
 */
#include <linux/ctype.h>
#include <linux/slab.h>
#include "options.h"

#define MAX_LAYERS	256
#define MAX_CACHE_KIB	32768

enum option_kind {
	OPTION_FLAG, OPTION_U32, OPTION_U64, OPTION_CHOICE, OPTION_WORD, OPTION_STRING
};

/*
 * In the order in which they are printed. A CHOICE has two words, the first
 * is the default; WORD is a flag that wants its one word; STRING is any word,
 * quoted as a path is, and NULL if it is not given.
 */
static const struct option {
	const char *name;
	enum option_kind kind;
	size_t offset;
	const char *choice[2];
	u64 preset;
	u64 min;
	u64 max;
} option_table[] = {
	{ "snapshot", OPTION_STRING, offsetof(struct qcow2_options, snapshot) },
	{ "data_file", OPTION_STRING, offsetof(struct qcow2_options, data_file) },
	{ "no_backing", OPTION_FLAG, offsetof(struct qcow2_options, no_backing) },
	{ "bitmaps", OPTION_WORD, offsetof(struct qcow2_options, drop_bitmaps), { "drop" } },
	{ "cache_kib", OPTION_U32, offsetof(struct qcow2_options, cache_kib),
	  .min = 1, .max = MAX_CACHE_KIB },
	{ "low_water", OPTION_U64, offsetof(struct qcow2_options, low_water),
	  .max = U64_MAX >> SECTOR_SHIFT },
	{ "when_full", OPTION_CHOICE, offsetof(struct qcow2_options, error_when_full),
	  { "queue", "error" } },
	{ "full_timeout", OPTION_U32, offsetof(struct qcow2_options, full_timeout),
	  .preset = QCOW2_DEFAULT_FULL_TIMEOUT, .max = 86400 * 365 },
	{ "discard", OPTION_CHOICE, offsetof(struct qcow2_options, discard_keep),
	  { "pass", "keep" } },
	{ "hop", OPTION_CHOICE, offsetof(struct qcow2_options, hop_always), { "auto", "always" } },
	{ "commit_ms", OPTION_U32, offsetof(struct qcow2_options, commit_ms),
	  .preset = QCOW2_DEFAULT_COMMIT_MS, .min = 1, .max = 3600 * 1000 },
};

static void *field(const struct option *option, const struct qcow2_options *options)
{
	return (char *)options + option->offset;
}

static u64 get(const struct option *option, const struct qcow2_options *options)
{
	switch (option->kind) {
	case OPTION_U32:
		return *(u32 *)field(option, options);
	case OPTION_U64:
		return *(u64 *)field(option, options);
	case OPTION_STRING:
		return !!*(char **)field(option, options);
	default:
		return *(bool *)field(option, options);
	}
}

static void set(const struct option *option, struct qcow2_options *options, u64 value)
{
	switch (option->kind) {
	case OPTION_U32:
		*(u32 *)field(option, options) = value;
		break;
	case OPTION_U64:
		*(u64 *)field(option, options) = value;
		break;
	case OPTION_STRING:	/* only ever to the preset */
		*(char **)field(option, options) = NULL;
		break;
	default:
		*(bool *)field(option, options) = value;
	}
}

/* The word of an option that has one. */
static int parse_value(const struct option *option, const char *word, u64 *value)
{
	int i;

	switch (option->kind) {
	case OPTION_U32:
	case OPTION_U64:
		if (kstrtou64(word, 10, value) || *value < option->min || *value > option->max)
			return -EINVAL;
		return 0;
	case OPTION_WORD:
		*value = 1;
		return strcmp(word, option->choice[0]) ? -EINVAL : 0;
	default:
		for (i = 0; i < 2; i++) {
			if (!strcmp(word, option->choice[i])) {
				*value = i;
				return 0;
			}
		}
		return -EINVAL;
	}
}

static const struct option *find_option(const char *name)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(option_table); i++) {
		if (!strcmp(option_table[i].name, name))
			return &option_table[i];
	}
	return NULL;
}

static bool is_printable(const char *word)
{
	for (; *word; word++) {
		if (iscntrl(*word))
			return false;
	}
	return true;
}

/*
 * The blank that ended @word and still stands in the buffer: dm core made the
 * word shorter in place, and each of its backslashes was two. Only if a word
 * follows: behind the last one the buffer may end.
 */
static const char *blank_behind(const char *word)
{
	const char *at = word;

	for (; *word; word++)
		at += *word == '\\' ? 2 : 1;
	return at;
}

/* Does [@start, @end) stop inside a character of UTF-8? For isspace() 0xa0 is a blank. */
static bool is_cut(const char *start, const char *end)
{
	unsigned int n;
	u8 c;

	for (n = 1; n <= 3 && end > start; n++) {
		c = *--end;
		if (c < 0x80)
			return false;
		if (c >= 0xc0)
			return n < (c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2);
	}
	return false;
}

/*
 * One quoted word. libdevmapper doubles every backslash of a table line and
 * the kernel halves them again, so that the line arrives here as it was typed,
 * but split at every blank: a word that ends with a quoting backslash goes on
 * with the next one, if that follows at once. Works in place: the words lie one
 * behind the other in one buffer, and the result is never longer than what was
 * read.
 */
static char *shift_quoted(struct dm_arg_set *as)
{
	char *word = (char *)dm_shift_arg(as), *start = word, *out = word;
	const char *blank = word && as->argc ? blank_behind(word) : NULL;

	while (word && *word) {
		if (*word != '\\') {
			*out++ = *word++;
			continue;
		}
		if (word[1]) {
			*out++ = word[1];
			word += 2;
			continue;
		}
		*out = blank ? *blank : is_cut(start, out) ? '\xa0' : ' ';
		out++;
		if (!blank || isspace(blank[1]))
			break;
		word = (char *)dm_shift_arg(as);
		blank = as->argc ? blank_behind(word) : NULL;
	}
	if (out)
		*out = '\0';
	return start;
}

/* The word of @option, which is the next one. */
static int parse_option(const struct option *option, struct qcow2_options *options,
			struct dm_arg_set *as)
{
	u64 value = 1;
	char *string;
	int ret = 0;

	if (option->kind == OPTION_STRING) {
		string = shift_quoted(as);
		if (!string || !*string || !is_printable(string))
			return -EINVAL;
		*(char **)field(option, options) = string;
		return 0;
	}
	if (option->kind != OPTION_FLAG)
		ret = parse_value(option, dm_shift_arg(as), &value);
	if (!ret)
		set(option, options, value);
	return ret;
}

static int parse_words(struct qcow2_options *options, struct dm_arg_set *as, unsigned int words,
		       const char **error)
{
	const struct option *option;
	unsigned long seen = 0;
	const char *name;

	while (words--) {
		/* A quoted word is one word, but came as several. */
		*error = "fewer words than their number says";
		name = dm_shift_arg(as);
		if (!name)
			return -EINVAL;
		option = find_option(name);
		*error = "unknown option";
		if (!option)
			return -EINVAL;
		*error = "option given twice";
		if (__test_and_set_bit(option - option_table, &seen))
			return -EINVAL;
		*error = "option without a value";
		if (option->kind != OPTION_FLAG && (!words-- || !as->argc))
			return -EINVAL;
		*error = "option with a value that it does not take";
		if (parse_option(option, options, as))
			return -EINVAL;
	}
	return 0;
}

static int parse_layers(struct qcow2_layer *layers, unsigned int nr, struct dm_arg_set *as,
			const char **error)
{
	const char *format;
	unsigned int i;

	for (i = 0; i < nr; i++) {
		*error = "fewer layers than their number says";
		if (as->argc < 2)
			return -EINVAL;
		format = dm_shift_arg(as);
		layers[i].path = shift_quoted(as);
		layers[i].raw = !strcmp(format, "raw");
		layers[i].lowest = i == nr - 1;
		*error = "a layer's format is qcow2 or raw";
		if (!layers[i].raw && strcmp(format, "qcow2"))
			return -EINVAL;
		*error = "the top layer is qcow2, and only the last one may be raw";
		if (layers[i].raw && (!i || !layers[i].lowest))
			return -EINVAL;
		*error = "path with control characters";
		if (!is_printable(layers[i].path))
			return -EINVAL;
	}
	return 0;
}

int qcow2_options_parse(struct qcow2_options *options, struct qcow2_layer **layers,
			unsigned int *nr_layers, unsigned int argc, char **argv,
			const char **error)
{
	static const struct dm_arg layer_arg = {
		1, MAX_LAYERS, "number of layers is not 1 to 256"
	};
	static const struct dm_arg word_arg = { 0, 64, "wrong number of option words" };
	struct dm_arg_set as = { .argc = argc, .argv = argv };
	unsigned int words = 0;
	int i, ret;

	for (i = 0; i < ARRAY_SIZE(option_table); i++)
		set(&option_table[i], options, option_table[i].preset);
	ret = dm_read_arg(&layer_arg, &as, nr_layers, (char **)error);
	if (ret)
		return ret;
	*layers = kcalloc(*nr_layers, sizeof(**layers), GFP_KERNEL);
	*error = "out of memory";
	if (!*layers)
		return -ENOMEM;
	ret = parse_layers(*layers, *nr_layers, &as, error);
	if (!ret && as.argc)
		ret = dm_read_arg_group(&word_arg, &as, &words, (char **)error);
	if (!ret)
		ret = parse_words(options, &as, words, error);
	if (!ret && as.argc) {
		*error = "more words than their number says";
		ret = -EINVAL;
	}
	if (ret) {
		kfree(*layers);
		*layers = NULL;
	}
	return ret;
}

unsigned int qcow2_options_print_word(const char *word, char *result, unsigned int maxlen)
{
	unsigned int sz = 0;

	for (; *word; word++) {
		if (*word == '\\' || isspace(*word))
			DMEMIT("\\");
		DMEMIT("%c", *word);
	}
	return sz;
}

static unsigned int print_string(const char *string, char *result, unsigned int maxlen)
{
	unsigned int sz = 0;

	DMEMIT(" ");
	return sz + qcow2_options_print_word(string, result + sz, maxlen - sz);
}

unsigned int qcow2_options_print(const struct qcow2_options *options, char *result,
				 unsigned int maxlen)
{
	const struct option *option;
	unsigned int sz = 0, words = 0;
	u64 value;
	int i;

	for (i = 0; i < ARRAY_SIZE(option_table); i++) {
		option = &option_table[i];
		if (get(option, options) != option->preset)
			words += option->kind == OPTION_FLAG ? 1 : 2;
	}
	if (!words)
		return 0;
	DMEMIT(" %u", words);
	for (i = 0; i < ARRAY_SIZE(option_table); i++) {
		option = &option_table[i];
		value = get(option, options);
		if (value == option->preset)
			continue;
		DMEMIT(" %s", option->name);
		if (option->kind == OPTION_WORD)
			DMEMIT(" %s", option->choice[0]);
		else if (option->kind == OPTION_CHOICE)
			DMEMIT(" %s", option->choice[value]);
		else if (option->kind == OPTION_STRING)
			sz += print_string(*(char **)field(option, options), result + sz,
					   maxlen - sz);
		else if (option->kind != OPTION_FLAG)
			DMEMIT(" %llu", value);
	}
	return sz;
}
