/* SPDX-License-Identifier: GPL-2.0-only */
/* Copyright (C) 2026 The dm-qcow2 authors */
/*
 * Tracepoints dm_qcow2:*, one for each decision worth seeing.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM dm_qcow2

#if !defined(QCOW2_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define QCOW2_TRACE_H

#include <linux/tracepoint.h>
#include <linux/bio.h>

/* A guest request arrived. */
TRACE_EVENT(qcow2_map,
	TP_PROTO(dev_t dev, unsigned int op, u64 goff, u32 len),
	TP_ARGS(dev, op, goff, len),
	TP_STRUCT__entry(
		__field(dev_t, dev)
		__field(unsigned int, op)
		__field(u64, goff)
		__field(u32, len)
	),
	TP_fast_assign(
		__entry->dev = dev;
		__entry->op = op;
		__entry->goff = goff;
		__entry->len = len;
	),
	TP_printk("%d:%d op %u goff 0x%llx len %u", MAJOR(__entry->dev), MINOR(__entry->dev),
		  __entry->op, __entry->goff, __entry->len)
);

DECLARE_EVENT_CLASS(qcow2_lower,
	TP_PROTO(u64 goff, u64 hoff, u32 len, bool write),
	TP_ARGS(goff, hoff, len, write),
	TP_STRUCT__entry(
		__field(u64, goff)
		__field(u64, hoff)
		__field(u32, len)
		__field(bool, write)
	),
	TP_fast_assign(
		__entry->goff = goff;
		__entry->hoff = hoff;
		__entry->len = len;
		__entry->write = write;
	),
	TP_printk("goff 0x%llx hoff 0x%llx len %u %s", __entry->goff, __entry->hoff,
		  __entry->len, __entry->write ? "write" : "read")
);

/* Mapped data handed down: as a remapped bio, from .map itself, by a lane. */
DEFINE_EVENT(qcow2_lower, qcow2_remap,
	TP_PROTO(u64 goff, u64 hoff, u32 len, bool write), TP_ARGS(goff, hoff, len, write));
DEFINE_EVENT(qcow2_lower, qcow2_inline,
	TP_PROTO(u64 goff, u64 hoff, u32 len, bool write), TP_ARGS(goff, hoff, len, write));
DEFINE_EVENT(qcow2_lower, qcow2_lane,
	TP_PROTO(u64 goff, u64 hoff, u32 len, bool write), TP_ARGS(goff, hoff, len, write));

/* Guest data is copied, because the memory or the place does not suit direct I/O. */
TRACE_EVENT(qcow2_copy,
	TP_PROTO(u64 hoff, u32 len, bool write),
	TP_ARGS(hoff, len, write),
	TP_STRUCT__entry(
		__field(u64, hoff)
		__field(u32, len)
		__field(bool, write)
	),
	TP_fast_assign(
		__entry->hoff = hoff;
		__entry->len = len;
		__entry->write = write;
	),
	TP_printk("hoff 0x%llx len %u %s", __entry->hoff, __entry->len,
		  __entry->write ? "write" : "read")
);

/* A compressed cluster was inflated, or could not be. */
TRACE_EVENT(qcow2_inflate,
	TP_PROTO(u64 hoff, u32 len, u32 size, bool good),
	TP_ARGS(hoff, len, size, good),
	TP_STRUCT__entry(
		__field(u64, hoff)
		__field(u32, len)
		__field(u32, size)
		__field(bool, good)
	),
	TP_fast_assign(
		__entry->hoff = hoff;
		__entry->len = len;
		__entry->size = size;
		__entry->good = good;
	),
	TP_printk("hoff 0x%llx len %u size %u%s", __entry->hoff, __entry->len, __entry->size,
		  __entry->good ? "" : " damaged")
);

/* A mapping changed in memory. */
TRACE_EVENT(qcow2_stage,
	TP_PROTO(u64 goff, u64 hoff, u64 number),
	TP_ARGS(goff, hoff, number),
	TP_STRUCT__entry(
		__field(u64, goff)
		__field(u64, hoff)
		__field(u64, number)
	),
	TP_fast_assign(
		__entry->goff = goff;
		__entry->hoff = hoff;
		__entry->number = number;
	),
	TP_printk("goff 0x%llx hoff 0x%llx commit %llu", __entry->goff, __entry->hoff,
		  __entry->number)
);

/* An L2 table was made (old 0) or copied. */
TRACE_EVENT(qcow2_table,
	TP_PROTO(u64 goff, u64 old, u64 hoff, u64 number),
	TP_ARGS(goff, old, hoff, number),
	TP_STRUCT__entry(
		__field(u64, goff)
		__field(u64, old)
		__field(u64, hoff)
		__field(u64, number)
	),
	TP_fast_assign(
		__entry->goff = goff;
		__entry->old = old;
		__entry->hoff = hoff;
		__entry->number = number;
	),
	TP_printk("goff 0x%llx old 0x%llx new 0x%llx commit %llu", __entry->goff, __entry->old,
		  __entry->hoff, __entry->number)
);

/* A commit writes: which phases it needs. */
TRACE_EVENT(qcow2_commit_write,
	TP_PROTO(u64 number, bool growth, bool counts, bool mapping),
	TP_ARGS(number, growth, counts, mapping),
	TP_STRUCT__entry(
		__field(u64, number)
		__field(bool, growth)
		__field(bool, counts)
		__field(bool, mapping)
	),
	TP_fast_assign(
		__entry->number = number;
		__entry->growth = growth;
		__entry->counts = counts;
		__entry->mapping = mapping;
	),
	TP_printk("commit %llu%s%s%s", __entry->number, __entry->growth ? " growth" : "",
		  __entry->counts ? " counts" : "", __entry->mapping ? " mapping" : "")
);

#endif

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
