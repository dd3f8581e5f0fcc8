/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * The bytes of a qcow2 image: on-disk structures, masks, limits, and the one
 * set of decoders and encoders for them.
 *
 * Layer 0. Compiled unchanged into the module, the tool, the unit tests and
 * the fuzzers: no I/O, no allocation, no locks, callable from any context.
 * Every function works on memory of the caller and never reads beyond the
 * length that it was given. All integers on disk are big-endian.
 *
 * "Specification" below means docs/interop/qcow2.txt of QEMU.
 */
#ifndef QCOW2_FORMAT_H
#define QCOW2_FORMAT_H

#include <linux/types.h>
#include <linux/bits.h>

/* ------------------------------------------------------------------------
 * Header, extensions
 */
#define QCOW2_MAGIC			0x514649fbU	/* "QFI\xfb" */
#define QCOW2_HEADER_V2_LENGTH		72
#define QCOW2_HEADER_V3_LENGTH		104

struct qcow2_header_disk {
	__be32 magic;
	__be32 version;
	__be64 backing_file_offset;
	__be32 backing_file_size;
	__be32 cluster_bits;
	__be64 size;
	__be32 crypt_method;
	__be32 l1_size;
	__be64 l1_table_offset;
	__be64 refcount_table_offset;
	__be32 refcount_table_clusters;
	__be32 nb_snapshots;
	__be64 snapshots_offset;
	/* version 3 only */
	__be64 incompatible_features;
	__be64 compatible_features;
	__be64 autoclear_features;
	__be32 refcount_order;
	__be32 header_length;
	__u8 compression_type;
	__u8 padding[7];
} __packed;

struct qcow2_extension_disk {
	__be32 type;
	__be32 length;
} __packed;

enum qcow2_extension_type {
	QCOW2_EXT_END			= 0,
	QCOW2_EXT_BACKING_FORMAT	= 0xe2792aca,
	QCOW2_EXT_FEATURE_NAMES		= 0x6803f857,
	QCOW2_EXT_BITMAPS		= 0x23852875,
	QCOW2_EXT_CRYPTO		= 0x0537be77,
	QCOW2_EXT_DATA_FILE		= 0x44415441,
};

struct qcow2_feature_name_disk {
	__u8 type;		/* 0 incompatible, 1 compatible, 2 autoclear */
	__u8 bit;
	char name[46];
} __packed;

struct qcow2_bitmaps_disk {
	__be32 nb_bitmaps;
	__be32 reserved;
	__be64 directory_size;
	__be64 directory_offset;
} __packed;

struct qcow2_crypto_disk {
	__be64 offset;
	__be64 length;
} __packed;

struct qcow2_snapshot_disk {
	__be64 l1_table_offset;
	__be32 l1_size;
	__be16 id_str_size;
	__be16 name_size;
	__be32 date_sec;
	__be32 date_nsec;
	__be64 vm_clock_nsec;
	__be32 vm_state_size;
	__be32 extra_data_size;
} __packed;

struct qcow2_snapshot_extra_disk {
	__be64 vm_state_size_large;
	__be64 disk_size;
	__be64 icount;
} __packed;

struct qcow2_bitmap_disk {
	__be64 bitmap_table_offset;
	__be32 bitmap_table_size;
	__be32 flags;
	__u8 type;
	__u8 granularity_bits;
	__be16 name_size;
	__be32 extra_data_size;
} __packed;

#define QCOW2_INCOMPAT_DIRTY		BIT_ULL(0)
#define QCOW2_INCOMPAT_CORRUPT		BIT_ULL(1)
#define QCOW2_INCOMPAT_DATA_FILE	BIT_ULL(2)
#define QCOW2_INCOMPAT_COMPRESSION	BIT_ULL(3)
#define QCOW2_INCOMPAT_EXTENDED_L2	BIT_ULL(4)
#define QCOW2_INCOMPAT_KNOWN		GENMASK_ULL(4, 0)
#define QCOW2_COMPAT_LAZY_REFCOUNTS	BIT_ULL(0)
#define QCOW2_AUTOCLEAR_BITMAPS		BIT_ULL(0)
#define QCOW2_AUTOCLEAR_DATA_FILE_RAW	BIT_ULL(1)
#define QCOW2_AUTOCLEAR_KNOWN		GENMASK_ULL(1, 0)

enum qcow2_crypt_method { QCOW2_CRYPT_NONE, QCOW2_CRYPT_AES, QCOW2_CRYPT_LUKS };
enum qcow2_compression { QCOW2_COMPRESSION_DEFLATE, QCOW2_COMPRESSION_ZSTD };

/* Limits of QEMU, checked before anything is allocated. */
#define QCOW2_MIN_CLUSTER_BITS		9
#define QCOW2_MAX_CLUSTER_BITS		21
#define QCOW2_MIN_EXTENDED_L2_BITS	14	/* 32 subclusters of a sector */
#define QCOW2_MAX_REFCOUNT_ORDER	6
#define QCOW2_MAX_L1_BYTES		(32ULL << 20)
#define QCOW2_MAX_REFTABLE_BYTES	(8ULL << 20)
#define QCOW2_MAX_SNAPSHOTS		65536
#define QCOW2_MAX_SNAPSHOT_TABLE_BYTES	(64ULL << 20)
#define QCOW2_MAX_SNAPSHOT_EXTRA	1024
#define QCOW2_MAX_BITMAPS		65535
#define QCOW2_MAX_BITMAP_DIR_BYTES	(1024ULL * QCOW2_MAX_BITMAPS)
#define QCOW2_MAX_NAME			1023
#define QCOW2_MAX_BACKING_FORMAT	15
#define QCOW2_MAX_DATA_FILE		4095
#define QCOW2_MAX_HOFF			BIT_ULL(56)	/* first offset too high */

/*
 * A string inside the header cluster (or the snapshot table); length 0 =
 * absent. Not terminated, and the bytes are whatever the image holds: never
 * print or open it as it is.
 */
struct qcow2_string {
	u32 offset;
	u32 length;
};

/* The header as the code uses it: host order, every field checked. */
struct qcow2_header {
	u32 version;
	u32 cluster_bits;
	u64 size;			/* bytes, rounded down to 512 as QEMU does */
	u32 crypt_method;
	u32 l1_size;			/* entries */
	u64 l1_table_offset;
	u64 refcount_table_offset;
	u32 refcount_table_clusters;
	u32 nb_snapshots;
	u64 snapshots_offset;
	u64 incompatible_features;
	u64 compatible_features;
	u64 autoclear_features;
	u32 refcount_order;
	u32 header_length;
	u8 compression_type;
	/* from the extensions and the end of cluster 0 */
	struct qcow2_string backing_file;	/* offset counts even if empty */
	struct qcow2_string backing_format;
	struct qcow2_string data_file;
	struct qcow2_string feature_names;
	bool has_bitmaps;		/* and autoclear bit 0 vouches for them */
	u32 nb_bitmaps;
	u64 bitmap_directory_offset;
	u64 bitmap_directory_size;
	u64 crypto_offset;		/* 0 = absent */
	u64 crypto_length;
};

/*
 * What a verifier found. QCOW2_OK is 0; every other value names one broken
 * rule. qcow2_verdict_text() gives the sentence, qcow2_verdict_errno() the
 * positive errno (EINVAL not qcow2, EUCLEAN malformed, EOPNOTSUPP unknown
 * version or feature, EFBIG a limit). format_verdict.c holds the table.
 */
enum qcow2_verdict {
	QCOW2_OK,
	QCOW2_NOT_QCOW2,		/* too short or wrong magic */
	QCOW2_HEADER_TRUNCATED,		/* right magic, but the file ends early */
	QCOW2_BAD_VERSION,
	QCOW2_BAD_CLUSTER_BITS,
	QCOW2_BAD_HEADER_LENGTH,
	QCOW2_BAD_REFCOUNT_ORDER,
	QCOW2_BAD_CRYPT_METHOD,
	QCOW2_BAD_SIZE,			/* needs more L1 entries than possible */
	QCOW2_L1_TOO_SMALL,		/* l1_size does not cover the size */
	QCOW2_L1_TOO_LARGE,
	QCOW2_L1_UNALIGNED,
	QCOW2_L1_RANGE,			/* beyond 2^56 or wraps */
	QCOW2_REFTABLE_EMPTY,		/* reported last, see below */
	QCOW2_REFTABLE_TOO_LARGE,
	QCOW2_REFTABLE_UNALIGNED,
	QCOW2_REFTABLE_RANGE,
	QCOW2_SNAPSHOTS_TOO_MANY,
	QCOW2_SNAPSHOTS_UNALIGNED,
	QCOW2_SNAPSHOTS_RANGE,
	QCOW2_BACKING_OFFSET,
	QCOW2_BACKING_SIZE,
	QCOW2_UNKNOWN_INCOMPATIBLE,
	QCOW2_COMPRESSION_MISMATCH,	/* type and incompatible bit 3 differ */
	QCOW2_COMPRESSION_UNKNOWN,
	QCOW2_SUBCLUSTER_TOO_SMALL,	/* extended L2 below 16 KiB clusters */
	QCOW2_RAW_WITHOUT_DATA_FILE,	/* autoclear bit 1 without bit 2 */
	QCOW2_EXT_RANGE,		/* extension leaves the header area */
	QCOW2_EXT_BACKING_FORMAT_SIZE,
	QCOW2_EXT_BITMAPS_SIZE,
	QCOW2_EXT_BITMAPS_VALUES,
	QCOW2_EXT_CRYPTO_SIZE,
	QCOW2_EXT_CRYPTO_VALUES,
	QCOW2_EXT_CRYPTO_MISMATCH,
	QCOW2_EXT_DATA_FILE_SIZE,
	QCOW2_TABLES_OVERLAP,		/* header and tables share clusters */
	QCOW2_L1_ENTRY_RESERVED,	/* *_RESERVED: only by the *_check() */
	QCOW2_L1_ENTRY_UNALIGNED,
	QCOW2_L1_ENTRY_COPIED_EMPTY,
	QCOW2_L1_ENTRY_RANGE,		/* for callers, who know the end */
	QCOW2_L2_ENTRY_RANGE,		/* likewise */
	QCOW2_L2_ENTRY_METADATA,	/* likewise, who know the tables */
	QCOW2_L2_ENTRY_RESERVED,
	QCOW2_L2_ENTRY_UNALIGNED,
	QCOW2_L2_ENTRY_ZERO_V2,
	QCOW2_L2_ENTRY_SUBCLUSTERS,	/* both bits, or allocated without offset */
	QCOW2_L2_ENTRY_COMPRESSED,	/* range beyond 2^56, or COPIED set */
	QCOW2_L2_ENTRY_DATA_FILE,	/* not at its guest offset, or compressed */
	QCOW2_REFTABLE_ENTRY_RESERVED,
	QCOW2_REFTABLE_ENTRY_UNALIGNED,
	QCOW2_REFTABLE_ENTRY_RANGE,
	QCOW2_SNAPSHOT_RANGE,		/* entry leaves the bytes given */
	QCOW2_SNAPSHOT_EXTRA,
	QCOW2_SNAPSHOT_TABLE_TOO_LARGE,
	QCOW2_SNAPSHOT_L1,
	QCOW2_BITMAP_RANGE,		/* entry leaves the directory */
	QCOW2_BITMAP_VALUES,
	QCOW2_NR_VERDICTS,
};

/*
 * The text is a fragment without a full stop and without values. Verdicts on
 * the header name the field of the specification; verdicts on table entries
 * follow words of the caller such as "l2 entry 0x7ff2 at 0x50000: ".
 */
const char *qcow2_verdict_text(enum qcow2_verdict verdict);
int qcow2_verdict_errno(enum qcow2_verdict verdict);

/*
 * Decode and verify the fixed header. @buf holds the first @len bytes of the
 * image; at least sizeof(struct qcow2_header_disk) are wanted, fewer are
 * accepted for a version 2 image (72). Does not look at the extensions.
 *
 * Two verdicts leave @h usable:
 * QCOW2_UNKNOWN_INCOMPATIBLE: cluster_bits, header_length, backing_file and
 * the feature words are verified, so that the feature names can be looked up.
 * QCOW2_REFTABLE_EMPTY: everything else is verified; a repair may go on.
 */
enum qcow2_verdict qcow2_header_decode(const void *buf, size_t len,
				       struct qcow2_header *h);

/*
 * Decode the extensions and the place of the backing file name. @cluster
 * holds cluster 0 (@len bytes, cluster_size or what the file has of it). @h
 * comes from qcow2_header_decode(), which may have returned
 * QCOW2_UNKNOWN_INCOMPATIBLE or QCOW2_REFTABLE_EMPTY.
 */
enum qcow2_verdict qcow2_header_extensions(const void *cluster, size_t len,
					   struct qcow2_header *h);

/*
 * The name of feature @bit of @type (0 incompatible, 1 compatible,
 * 2 autoclear): from the image's own table if it has one, else a built-in
 * name, else "unknown". Writes at most @size bytes into @name, always
 * terminated, everything but printable ASCII replaced by '?'.
 */
void qcow2_feature_name(const void *cluster, size_t len,
			const struct qcow2_header *h, unsigned int type,
			unsigned int bit, char *name, size_t size);

/*
 * Encode the fixed header into @disk and return how many bytes of it are the
 * header: 72 for version 2, else header_length, at most 112. What follows on
 * disk belongs to unknown fields or extensions and must not be overwritten;
 * in @disk it is zero.
 */
u32 qcow2_header_encode(const struct qcow2_header *h,
			struct qcow2_header_disk *disk);

/*
 * One step over the extension list: on entry *@pos is 0 or what the last call
 * left. Returns true and the extension's type, data offset and length in the
 * cluster, false at the end. Only valid after qcow2_header_extensions() said
 * QCOW2_OK for the same bytes.
 */
bool qcow2_extension_next(const void *cluster, size_t len,
			  const struct qcow2_header *h, u32 *pos, u32 *type,
			  struct qcow2_string *data);

struct qcow2_geometry;

/* The geometry of the image that @h describes (QCOW2_OK or REFTABLE_EMPTY). */
void qcow2_header_geometry(const struct qcow2_header *h,
			   struct qcow2_geometry *geo);

/* ------------------------------------------------------------------------
 * L1, L2
 */
#define QCOW2_OFLAG_COPIED		BIT_ULL(63)
#define QCOW2_OFLAG_COMPRESSED		BIT_ULL(62)
#define QCOW2_OFLAG_ZERO		BIT_ULL(0)
#define QCOW2_L1_HOFF_MASK		GENMASK_ULL(55, 9)
#define QCOW2_L2_HOFF_MASK		GENMASK_ULL(55, 9)
#define QCOW2_REFTABLE_HOFF_MASK	GENMASK_ULL(63, 9)
/* Must be zero, ignored on I/O as QEMU does, reported by the *_check(). */
#define QCOW2_L1_RESERVED_MASK		(GENMASK_ULL(62, 56) | GENMASK_ULL(8, 0))
#define QCOW2_L2_RESERVED_MASK		(GENMASK_ULL(61, 56) | GENMASK_ULL(8, 1))
#define QCOW2_REFTABLE_RESERVED_MASK	GENMASK_ULL(8, 0)

/* What a guest cluster is, by its L2 entry (no extended L2: whole cluster). */
enum qcow2_cluster_kind {
	QCOW2_CLUSTER_UNALLOCATED,	/* read the layer below */
	QCOW2_CLUSTER_ZERO_PLAIN,	/* zeros, no host cluster */
	QCOW2_CLUSTER_ZERO_ALLOC,	/* zeros, host cluster kept */
	QCOW2_CLUSTER_DATA,
	QCOW2_CLUSTER_COMPRESSED,
	QCOW2_CLUSTER_SUBCLUSTERS,	/* extended L2: look at alloc/zero */
};

struct qcow2_l2_entry {
	enum qcow2_cluster_kind kind;
	bool has_host;			/* a whole host cluster at hoff */
	bool copied;			/* only with has_host */
	u64 hoff;			/* bytes; with a data file 0 is an offset too */
	u32 compressed_length;		/* bytes available at hoff */
	u32 alloc;			/* extended L2: subcluster bits */
	u32 zero;
};

/*
 * Decode one L1 entry: *@hoff is the table's host offset (0 = none), *@copied
 * its COPIED flag. Reserved bits are ignored as QEMU does on I/O; a table
 * offset that is not cluster aligned and COPIED without an offset are errors.
 */
enum qcow2_verdict qcow2_l1_decode(const struct qcow2_geometry *geo, u64 raw,
				   u64 *hoff, bool *copied);
u64 qcow2_l1_encode(u64 hoff, bool copied);
/* What qcow2_l1_decode() refuses, and reserved bits: the view of a check. */
enum qcow2_verdict qcow2_l1_check(const struct qcow2_geometry *geo, u64 raw);

/*
 * Decode one L2 entry; @bitmap is its second word with extended L2, else 0.
 * Only with QCOW2_OK may @entry be used.
 * An entry of an extended-L2 image that is not compressed is always
 * SUBCLUSTERS unless all its subclusters are of one kind (then that kind;
 * UNALLOCATED with a host offset stays SUBCLUSTERS).
 */
enum qcow2_verdict qcow2_l2_decode(const struct qcow2_geometry *geo, u64 raw,
				   u64 bitmap, struct qcow2_l2_entry *entry);
/*
 * With an external data file a host cluster lies at its own guest offset:
 * verify that for the entry that maps @goff (cluster aligned).
 */
enum qcow2_verdict qcow2_l2_data_file(const struct qcow2_l2_entry *entry,
				      u64 goff);
/*
 * Encode an entry of kind UNALLOCATED, ZERO_PLAIN, ZERO_ALLOC or DATA; with
 * extended L2 the first word always is kind SUBCLUSTERS (@hoff may be 0) and
 * qcow2_l2_encode_bitmap() makes the second.
 */
u64 qcow2_l2_encode(enum qcow2_cluster_kind kind, u64 hoff, bool copied);
u64 qcow2_l2_encode_bitmap(u32 alloc, u32 zero);
/*
 * What subcluster @index (< 32) of @entry of an image with extended L2 is, and
 * in *@run how many from it on to the end of the cluster are the same.
 */
enum qcow2_cluster_kind qcow2_l2_subcluster(const struct qcow2_l2_entry *entry,
					    u32 index, u32 *run);
/* What qcow2_l2_decode() refuses, and reserved bits: the view of a check. */
enum qcow2_verdict qcow2_l2_check(const struct qcow2_geometry *geo, u64 raw,
				  u64 bitmap);

/* ------------------------------------------------------------------------
 * Refcounts
 */

/*
 * Count number @index of refcount block @block (8-byte aligned); widths 1 to
 * 64 bits. The caller has checked @index against the block's size.
 */
u64 qcow2_refcount_get(const void *block, u32 index, u32 order);
/* The caller has checked @value <= qcow2_refcount_max(@order). */
void qcow2_refcount_set(void *block, u32 index, u32 order, u64 value);
u64 qcow2_refcount_max(u32 order);
/* Entry of the refcount table: *@hoff of the block, 0 = none. */
enum qcow2_verdict qcow2_reftable_decode(const struct qcow2_geometry *geo,
					 u64 raw, u64 *hoff);
/* What qcow2_reftable_decode() refuses, and reserved bits. */
enum qcow2_verdict qcow2_reftable_check(const struct qcow2_geometry *geo,
					u64 raw);

/* ------------------------------------------------------------------------
 * Snapshots
 */
struct qcow2_snapshot {
	u64 l1_table_offset;
	u32 l1_size;
	u32 date_sec;
	u32 date_nsec;
	u64 vm_clock_nsec;
	u64 vm_state_size;
	u64 disk_size;			/* as stored; U64_MAX = not stored */
	u64 icount;			/* U64_MAX = none */
	u32 extra_data_size;
	struct qcow2_string id;		/* offsets from the table's start */
	struct qcow2_string name;
	u32 length;			/* of the whole entry, padded to 8 */
};

#define QCOW2_SNAPSHOT_NONE		(~0ULL)	/* disk_size, icount absent */

/*
 * Decode the entry at @offset (multiple of 8) of a snapshot table of which
 * @len bytes are in @table. QCOW2_SNAPSHOT_RANGE if more bytes are needed
 * than there are: the caller reads on, or the table is broken. The padding of
 * the last entry may be missing. Does not look at the L1 pair: a snapshot with
 * a broken one is listed and can be deleted from the list, but not used.
 */
enum qcow2_verdict qcow2_snapshot_decode(const void *table, u64 len, u64 offset,
					 struct qcow2_snapshot *snap);
/* May the snapshot's L1 table be read? */
enum qcow2_verdict qcow2_snapshot_l1(const struct qcow2_geometry *geo,
				     const struct qcow2_snapshot *snap);
/*
 * Encode the fixed parts; id, name and unknown extra data are the caller's,
 * who writes the first min(24, extra_data_size) bytes of @extra.
 */
void qcow2_snapshot_encode(const struct qcow2_snapshot *snap,
			   struct qcow2_snapshot_disk *disk,
			   struct qcow2_snapshot_extra_disk *extra);

/* ------------------------------------------------------------------------
 * Persistent bitmaps
 */
#define QCOW2_BITMAP_IN_USE		0x1U	/* not stored since it was opened */
#define QCOW2_BITMAP_AUTO		0x2U	/* records without being asked */
#define QCOW2_BITMAP_EXTRA_COMPATIBLE	0x4U
#define QCOW2_BITMAP_TYPE_DIRTY		1
#define QCOW2_MIN_BITMAP_GRANULARITY	9
#define QCOW2_MAX_BITMAP_GRANULARITY	31
#define QCOW2_MAX_BITMAP_TABLE		0x8000000U	/* entries */

struct qcow2_bitmap {
	u64 table_offset;
	u32 table_size;			/* entries */
	u32 flags;
	u32 granularity_bits;
	struct qcow2_string name;	/* offset from the directory's start */
	u32 length;			/* of the whole entry, padded to 8 */
};

/*
 * Decode the entry at @offset (multiple of 8) of the bitmap directory, of
 * which all @len bytes are in @directory. An entry that QEMU would not take is
 * an error, and then the image has no usable bitmaps at all.
 */
enum qcow2_verdict qcow2_bitmap_decode(const void *directory, u64 len, u64 offset,
				       struct qcow2_bitmap *bitmap);

#endif
