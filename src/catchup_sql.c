/*-------------------------------------------------------------------------
 *
 * catchup_sql.c
 *	  Catching up, called from SQL.
 *
 * Nobody but the extension's owner may: that is who looks into a client that
 * says it has missed something, and the tests.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "arguments.h"
#include "catchup.h"
#include "client_positions.h"
#include "compat.h"
#include "positions.h"

static const char *const table_names[] = {
	[EVENT_CONVERSATIONS] = "conversations",
	[EVENT_PARTICIPANTS] = "conversation_participants",
	[EVENT_MESSAGES] = "messages"
};

PG_FUNCTION_INFO_V1(msg_mark);

Datum
msg_mark(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(msg_position_seen(&msg_take_mark()->position));
}

static Datum
json_text(const char *text, uint32 len)
{
	return PointerGetDatum(cstring_to_text_with_len(text, len));
}

static void
put_events(FunctionCallInfo fcinfo, const MsgMissed *missed, bool with_cursor)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	int			place = 0;

	for (uint32 i = 0; i < missed->nevents; i++)
	{
		const event_header *event =
			(const event_header *) (missed->events.data + place);
		Datum		values[] = {
			CStringGetTextDatum(table_names[event->table]),
			CStringGetTextDatum(event->action == EVENT_INSERT ? "INSERT" :
								event->action == EVENT_UPDATE ? "UPDATE" :
								"DELETE"),
			json_text(event_record(event), event->record_len),
			json_text(event_old_record(event), event->old_record_len),
			json_text(missed->cursor.data, missed->cursor.len)
		};
		bool		nulls[] = {
			false, false, event->record_len == 0, event->old_record_len == 0,
			!with_cursor || !missed->more
		};

		tuplestore_putvalues(result->setResult, result->setDesc, values,
							 nulls);
		place += MAXALIGN(event->size);
	}
}

/* Without one that is given: what the present snapshot sees, and all of it. */
static event_mark *
until_argument(FunctionCallInfo fcinfo, int argument)
{
	event_mark *mark = msg_take_mark();

	if (PG_ARGISNULL(argument))
	{
		mark->position.xmax = mark->position.xmin = PG_UINT64_MAX;
		mark->position.nxip = 0;
	}
	else
	{
		Datum		none = PointerGetDatum(construct_empty_array(XID8OID));
		event_position *position =
			msg_make_position(PG_GETARG_DATUM(argument), none,
							  GetCurrentTimestamp());
		event_mark *given = palloc(offsetof(event_mark, position) +
								   event_position_size(position));

		given->fence = mark->fence;
		memcpy(&given->position, position, event_position_size(position));
		mark = given;
	}
	return mark;
}

/*
 * missed_changes(profile_id uuid, seen pg_snapshot, more xid8[],
 *				  taken_at timestamptz, until pg_snapshot,
 *				  conversation_id uuid, max integer, after bytea): setof record
 */
PG_FUNCTION_INFO_V1(msg_missed_changes);

Datum
msg_missed_changes(PG_FUNCTION_ARGS)
{
	bool		in_batches = !PG_ARGISNULL(6);
	MsgWanted	wanted = {
		.tables = (1 << EVENT_TABLES) - 1,
		.max_events = in_batches ? PG_GETARG_INT32(6) : MSG_MISSED_EVENTS,
		.max_bytes = MSG_MISSED_BYTES,
	};
	MsgMissed	missed;

	wanted.profile_id = *msg_uuid_argument(fcinfo, 0, "profile_id");
	msg_require_argument(fcinfo, 1, "seen");
	msg_require_argument(fcinfo, 2, "more");
	msg_require_argument(fcinfo, 3, "taken_at");
	wanted.from = msg_make_position(PG_GETARG_DATUM(1), PG_GETARG_DATUM(2),
									PG_GETARG_TIMESTAMPTZ(3));
	wanted.until = until_argument(fcinfo, 4);
	if (!PG_ARGISNULL(5))
		wanted.conversation_id = PG_GETARG_UUID_P(5);
	if (!PG_ARGISNULL(7))
	{
		bytea	   *cursor = PG_GETARG_BYTEA_PP(7);

		wanted.cursor = VARDATA_ANY(cursor);
		wanted.cursor_len = VARSIZE_ANY_EXHDR(cursor);
	}

	InitMaterializedSRF(fcinfo, 0);
	do
	{
		msg_catch_up(&wanted, &missed);
		put_events(fcinfo, &missed, in_batches);
		wanted.cursor = missed.cursor.data;
		wanted.cursor_len = missed.cursor.len;
	} while (missed.more && (!in_batches || missed.nevents == 0));
	return (Datum) 0;
}

static MsgPositionKey
key_arguments(FunctionCallInfo fcinfo)
{
	text	   *client_id = PG_GETARG_TEXT_PP(1);
	text	   *topic = PG_GETARG_TEXT_PP(2);

	return (MsgPositionKey)
	{
		.profile_id = *PG_GETARG_UUID_P(0),
		.client_id = VARDATA_ANY(client_id),
		.client_id_len = VARSIZE_ANY_EXHDR(client_id),
		.topic = VARDATA_ANY(topic),
		.topic_len = VARSIZE_ANY_EXHDR(topic)
	};
}

/*
 * resume_position(profile_id uuid, client_id text, topic text): record
 */
PG_FUNCTION_INFO_V1(msg_resume_position_sql);

Datum
msg_resume_position_sql(PG_FUNCTION_ARGS)
{
	MsgPositionKey key = key_arguments(fcinfo);
	MemoryContext caller = CurrentMemoryContext;
	const event_position *position;
	bool		known = true;
	int64		session;
	TupleDesc	desc;
	Datum		values[5];
	bool		nulls[5] = {false};

	SPI_connect();
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	position = msg_resume_position(&key, &session);
	if (position == NULL)
	{
		known = false;
		position = &msg_take_mark()->position;
		if (!msg_first_position(&key, position, &session))
			elog(ERROR, "position was made by another session");
	}

	MemoryContextSwitchTo(caller);
	values[0] = BoolGetDatum(known);
	values[1] = msg_position_seen(position);
	values[2] = msg_position_more(position);
	values[3] = TimestampTzGetDatum(msg_time_of_unix(position->taken_at));
	values[4] = Int64GetDatum(session);
	desc = CreateTupleDescCopy(desc);
	SPI_finish();
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(desc, values, nulls)));
}

/*
 * save_position(profile_id uuid, client_id text, topic text, session bigint,
 *				 seen pg_snapshot, more xid8[], taken_at timestamptz): void
 */
PG_FUNCTION_INFO_V1(msg_save_position_sql);

Datum
msg_save_position_sql(PG_FUNCTION_ARGS)
{
	MsgPositionUpdate update = {
		.key = key_arguments(fcinfo),
		.session = PG_GETARG_INT64(3),
		.position = msg_make_position(PG_GETARG_DATUM(4), PG_GETARG_DATUM(5),
									  PG_GETARG_TIMESTAMPTZ(6))
	};

	SPI_connect();
	msg_save_positions(&update, 1);
	SPI_finish();
	PG_RETURN_VOID();
}
