/*-------------------------------------------------------------------------
 *
 * decode_sink.c
 *	  Decodes a slot in this backend and throws the output away.
 *
 * For the benchmark of output plugins: the SQL functions put all output into
 * a tuplestore first, which costs more than any plugin, and a walsender adds
 * a socket.  A worker that decodes in-process pays neither.  Nothing is
 * confirmed, so a slot can be decoded again and again.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/resource.h>

#include "access/xlog.h"
#include "access/xlogutils.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "replication/decode.h"
#include "replication/logical.h"
#include "replication/slot.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

#include "compat.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(decode_sink);

/* What a run adds up; the contexts' output_writer_private. */
typedef struct Sink
{
	int64		messages;
	int64		bytes;
} Sink;

static void
sink_prepare(LogicalDecodingContext *ctx, XLogRecPtr lsn, TransactionId xid,
			 bool last_write)
{
	resetStringInfo(ctx->out);
}

static void
sink_write(LogicalDecodingContext *ctx, XLogRecPtr lsn, TransactionId xid,
		   bool last_write)
{
	Sink	   *sink = ctx->output_writer_private;

	sink->messages++;
	sink->bytes += ctx->out->len;
}

/* {name, value, name, value, ...} */
static List *
make_options(ArrayType *array)
{
	List	   *options = NIL;
	Datum	   *texts;
	int			count;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT,
					  &texts, NULL, &count);
	for (int i = 0; i + 1 < count; i += 2)
	{
		char	   *name = TextDatumGetCString(texts[i]);
		char	   *value = TextDatumGetCString(texts[i + 1]);

		options = lappend(options,
						  makeDefElem(name, (Node *) makeString(value), -1));
	}
	return options;
}

static void
decode_until(LogicalDecodingContext *ctx, XLogRecPtr end)
{
	ResourceOwner owner = CurrentResourceOwner;

	XLogBeginRead(ctx->reader, MyReplicationSlot->data.restart_lsn);
	InvalidateSystemCaches();
	while (ctx->reader->EndRecPtr < end)
	{
		char	   *error = NULL;
		XLogRecord *record = XLogReadRecord(ctx->reader, &error);

		if (error)
			elog(ERROR, "could not read WAL: %s", error);
		if (record)
			LogicalDecodingProcessRecord(ctx, ctx->reader);
		CHECK_FOR_INTERRUPTS();
	}
	CurrentResourceOwner = owner;
}

static double
wall_seconds(void)
{
	return GetCurrentTimestamp() / 1e6;
}

/* What this process has used so far: other processes do not count. */
static double
cpu_seconds(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_utime.tv_sec + usage.ru_stime.tv_sec +
		(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* decode_sink(slot name, options text[]) -> messages, bytes, cpu, wall */
Datum
decode_sink(PG_FUNCTION_ARGS)
{
	List	   *options = make_options(PG_GETARG_ARRAYTYPE_P(1));
	MemoryContext caller = CurrentMemoryContext;
	LogicalDecodingContext *ctx;
	Sink		sink = {0};
	TupleDesc	desc;
	double		cpu = cpu_seconds();
	double		wall = wall_seconds();
	Datum		values[4];
	bool		nulls[4] = {false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");

	slot_acquire(NameStr(*PG_GETARG_NAME(0)));
	ctx = CreateDecodingContext(InvalidXLogRecPtr, options, false,
								XL_ROUTINE(.page_read = read_local_xlog_page,
										   .segment_open = wal_segment_open,
										   .segment_close = wal_segment_close),
								sink_prepare, sink_write, NULL);
	ctx->output_writer_private = &sink;
	decode_until(ctx, GetFlushRecPtr(NULL));
	FreeDecodingContext(ctx);
	ReplicationSlotRelease();
	InvalidateSystemCaches();

	MemoryContextSwitchTo(caller);
	values[0] = Int64GetDatum(sink.messages);
	values[1] = Int64GetDatum(sink.bytes);
	values[2] = Float8GetDatum(cpu_seconds() - cpu);
	values[3] = Float8GetDatum(wall_seconds() - wall);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(desc, values, nulls)));
}
