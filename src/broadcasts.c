/*-------------------------------------------------------------------------
 *
 * broadcasts.c
 *	  Broadcasts from SQL: words to all who listen to a topic, which belong
 *	  to no conversation's history.
 *
 * A broadcast is a row of openhr_msg.broadcasts, and its INSERT in the WAL is
 * what the gateways push.  So it is pushed when its transaction has committed
 * and never when that was rolled back, in one order with the messages of the
 * transaction, and who joins later can be told of it for a while (replay).
 * A logical message (pg_logical_emit_message) would leave no row behind, but
 * anybody who can run SQL may write one, with any content: the decoder could
 * not tell who is speaking.
 *
 * A topic "<word>:<uuid>" belongs to the conversation of that id, and only
 * its participants speak there.  Their participation is locked, as it is for
 * a message, so that nobody's words come after their removal.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/uuid.h"

#include "arguments.h"
#include "broadcasts.h"
#include "callers.h"
#include "compat.h"
#include "live.h"
#include "log.h"
#include "openhr_msg.h"
#include "positions.h"
#include "spi_plans.h"
#include "topic.h"

/* A binary frame has one byte for the length of each (realtime:topic). */
#define MAX_TOPIC_BYTES		(255 - strlen("realtime:"))
#define MAX_EVENT_BYTES		((Size) 255)

/* So much is told again at most, unless the latest alone is more. */
#define MAX_REPLAY_BYTES	(1024 * 1024)

static text *word_argument(FunctionCallInfo fcinfo, int argument,
						   const char *name, Size max_bytes);
static bool may_speak(const MsgCaller *caller, const text *topic,
					  pg_uuid_t *conversation_id);

/*
 * broadcast(topic text, event text, payload jsonb): uuid
 */
PG_FUNCTION_INFO_V1(msg_broadcast);

Datum
msg_broadcast(PG_FUNCTION_ARGS)
{
	static MsgPlan plan = MSG_PLAN(
		"INSERT INTO openhr_msg.broadcasts"
		" (conversation_id, topic, event, payload)"
		" VALUES ($1, $2, $3, $4) RETURNING id",
		UUIDOID, TEXTOID, TEXTOID, JSONBOID);

	MsgCaller	caller;
	text	   *topic;
	text	   *event;
	Jsonb	   *payload;
	pg_uuid_t	conversation_id;
	pg_uuid_t  *id = palloc(sizeof(pg_uuid_t));
	bool		isnull;

	msg_hide_statement();
	caller = msg_caller();
	topic = word_argument(fcinfo, 0, "topic", MAX_TOPIC_BYTES);
	event = word_argument(fcinfo, 1, "event", MAX_EVENT_BYTES);
	msg_require_argument(fcinfo, 2, "payload");
	payload = PG_GETARG_JSONB_P(2);
	msg_check_object(payload, "payload");

	SPI_connect();
	{
		bool		in_conversation = may_speak(&caller, topic,
												&conversation_id);
		Datum		values[] = {
			UUIDPGetDatum(&conversation_id), PointerGetDatum(topic),
			PointerGetDatum(event), JsonbPGetDatum(payload)
		};
		char		nulls[] = {in_conversation ? ' ' : 'n', ' ', ' ', ' '};

		msg_plan_write(&plan, values, nulls);
	}
	*id = *DatumGetUUIDP(msg_plan_column(1, &isnull));
	SPI_finish();

	msg_wakeup_at_commit();
	PG_RETURN_UUID_P(id);
}

static text *
word_argument(FunctionCallInfo fcinfo, int argument, const char *name,
			  Size max_bytes)
{
	text	   *word;

	msg_require_argument(fcinfo, argument, name);
	word = PG_GETARG_TEXT_PP(argument);
	if (VARSIZE_ANY_EXHDR(word) < 1 || VARSIZE_ANY_EXHDR(word) > max_bytes)
		ereport(ERROR,
				errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("invalid %s of a broadcast", name),
				errdetail("It has between 1 and %zu bytes.", max_bytes));
	return word;
}

/*
 * Does the topic belong to a conversation?  It is an error when the caller
 * may not speak there.
 */
static bool
may_speak(const MsgCaller *caller, const text *topic,
		  pg_uuid_t *conversation_id)
{
	if (topic_conversation(VARDATA_ANY(topic), VARSIZE_ANY_EXHDR(topic),
						   conversation_id->data))
	{
		msg_require_participant(caller, conversation_id, false);
		return true;
	}
	if (!caller->is_service && !msg_public_channels)
		ereport(ERROR,
				errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				errmsg("topic belongs to no conversation"),
				errdetail("Others than services may broadcast there only when \"openhr_msg.public_channels\" is on."),
				errhint("Topics of a conversation are a word, a colon and its id."));
	return false;
}

/* Whose xid and time are in columns 2 and 3 of the row. */
static event_header
replay_stamp(HeapTuple row, TupleDesc desc, XLogRecPtr fence)
{
	bool		isnull;

	return (event_header)
	{
		.action = EVENT_INSERT,
		.xid = DatumGetTransactionId(SPI_getbinval(row, desc, 2, &isnull)),
		.commit_lsn = fence,
		.commit_time = msg_unix_time(DatumGetTimestampTz(SPI_getbinval(row,
																	   desc, 3,
																	   &isnull)))
	};
}

static void
append_broadcast(StringInfo out, Relation table, HeapTuple row, TupleDesc desc,
				 XLogRecPtr fence)
{
	bool		isnull;
	HeapTupleHeader broadcast =
		DatumGetHeapTupleHeader(SPI_getbinval(row, desc, 1, &isnull));
	HeapTupleData tuple = {
		.t_data = broadcast,
		.t_len = HeapTupleHeaderGetDatumLength(broadcast)
	};
	event_header stamp = replay_stamp(row, desc, fence);

	decode_live_row(out, table, &tuple, &stamp);
	while (out->len % MAXIMUM_ALIGNOF != 0)
		appendStringInfoChar(out, '\0');
}

/*
 * They come from the index newest first.  What is told is what the gateways
 * push anyway, so who may hear it is their affair.
 */
void
msg_replay_broadcasts(StringInfo out, const char *topic, Size len,
					  TimestampTz since, int limit)
{
	static MsgPlan plan = MSG_PLAN(
		"SELECT b, b.xmin, b.created_at FROM openhr_msg.broadcasts b"
		" WHERE b.topic = $1 AND b.id >= openhr_msg.uuid_v7_floor($2)"
		" ORDER BY b.id DESC LIMIT $3",
		TEXTOID, TIMESTAMPTZOID, INT8OID);
	Datum		values[] = {
		PointerGetDatum(cstring_to_text_with_len(topic, len)),
		TimestampTzGetDatum(since),
		Int64GetDatum(limit)
	};
	XLogRecPtr	fence = GetXLogInsertRecPtr();
	Oid			schema = get_namespace_oid(MSG_SCHEMA, false);
	Relation	table = table_open(get_relname_relid("broadcasts", schema),
								   AccessShareLock);
	int			n = msg_plan_read(&plan, values, NULL);
	StringInfoData *events = palloc(n * sizeof(StringInfoData));
	int			size = 0;
	int			told = 0;

	while (told < n && (told == 0 || size <= MAX_REPLAY_BYTES))
	{
		initStringInfo(&events[told]);
		append_broadcast(&events[told], table, SPI_tuptable->vals[told],
						 SPI_tuptable->tupdesc, fence);
		size += events[told++].len;
	}
	if (told > 1 && size > MAX_REPLAY_BYTES)
		told--;
	while (told-- > 0)
		appendBinaryStringInfo(out, events[told].data, events[told].len);
	table_close(table, AccessShareLock);
}
