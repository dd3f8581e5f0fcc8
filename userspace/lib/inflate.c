// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Decompression of one cluster. What QEMU takes is taken: a deflate stream that
 * has more than a cluster in it, zstd in several frames.
 */
#include <string.h>
#include <zlib.h>
#include <zstd.h>
#include "../../kernel/format.h"
#include "inflate.h"

static bool by_zlib(const void *from, u32 len, void *to, u32 size)
{
	z_stream stream = {
		.next_in = (Bytef *)from, .avail_in = len, .next_out = to, .avail_out = size,
	};
	int ret;

	if (inflateInit2(&stream, -MAX_WBITS) != Z_OK)
		return false;
	ret = inflate(&stream, Z_FINISH);
	inflateEnd(&stream);
	return !stream.avail_out && (ret == Z_STREAM_END || ret == Z_BUF_ERROR || ret == Z_OK);
}

static bool by_zstd(const void *from, u32 len, void *to, u32 size)
{
	ZSTD_inBuffer in = { .src = from, .size = len };
	ZSTD_outBuffer out = { .dst = to, .size = size };
	ZSTD_DStream *stream = ZSTD_createDStream();
	size_t ret = 1, before;

	if (!stream)
		return false;
	/* 0 is the end of a frame. */
	do {
		before = in.pos + out.pos;
		ret = ZSTD_decompressStream(stream, &out, &in);
	} while (!ZSTD_isError(ret) && (ret || out.pos < size) && in.pos + out.pos > before);
	ZSTD_freeDStream(stream);
	return !ret && out.pos == size;
}

bool inflate_cluster(u8 type, const void *from, u32 len, void *to, u32 size)
{
	return type == QCOW2_COMPRESSION_ZSTD ? by_zstd(from, len, to, size) :
						by_zlib(from, len, to, size);
}
