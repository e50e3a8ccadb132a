/*-------------------------------------------------------------------------
 *
 * catchup_tell.c
 *	  What was missed, found and told: the stages of catchup.c.
 *
 * Each of them does as much as the batch has room for, and leaves in the cursor
 * where it is.  A row is either told as a whole or is the first one of the next
 * batch.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "catchup_walk.h"
#include "compat.h"
#include "live.h"
#include "positions.h"

static event_header
stamp_of(const Walk *walk, HeapTuple tuple, event_action action,
		 TimestampTz time)
{
	return (event_header)
	{
		.action = action,
		.xid = HeapTupleHeaderGetRawXmin(tuple->t_data),
		.commit_lsn = walk->wanted->until->fence,
		.ordinal = walk->missed->nevents + walk->pending,
		.commit_time = msg_unix_time(time)
	};
}

/* An event was written. */
static void
add_event(Walk *walk)
{
	StringInfo	events = &walk->missed->events;

	while (events->len % MAXIMUM_ALIGNOF != 0)
		appendStringInfoChar(events, '\0');
	walk->pending++;
}

/*
 * Keep what was written behind the first "before" bytes; when there is no room
 * for all of it, take it back.
 */
static bool
keep_events(Walk *walk, int before)
{
	MsgMissed  *missed = walk->missed;
	bool		keep = missed->nevents == 0 ||
		(missed->nevents + walk->pending <= walk->wanted->max_events &&
		 missed->events.len <= walk->wanted->max_bytes);

	if (keep)
		missed->nevents += walk->pending;
	else
		missed->events.len = before;
	walk->pending = 0;
	return keep;
}

static bool
tell_row(Walk *walk, const MsgSource *source, HeapTuple tuple,
		 event_action action, TimestampTz time)
{
	event_header stamp = stamp_of(walk, tuple, action, time);
	int			before = walk->missed->events.len;
	MemoryContext caller = MemoryContextSwitchTo(walk->event_context);

	decode_live_row(&walk->missed->events, source->heap, tuple, &stamp);
	MemoryContextSwitchTo(caller);
	MemoryContextReset(walk->event_context);
	add_event(walk);
	return keep_events(walk, before);
}

/* Somebody has left a conversation. */
static void
add_departure(Walk *walk, const MsgSource *source, HeapTuple tuple)
{
	event_header stamp = stamp_of(walk, tuple, EVENT_DELETE,
								  msg_row_time(source, tuple,
											   DEPARTURE_LEFT_AT));
	pg_uuid_t	conversation_id = msg_row_uuid(source, tuple,
											   DEPARTURE_CONVERSATION);
	pg_uuid_t	profile_id = msg_row_uuid(source, tuple, DEPARTURE_PROFILE);
	bool		isnull;
	text	   *record = DatumGetTextPP(msg_row_value(source, tuple,
													  DEPARTURE_OLD_RECORD,
													  &isnull));

	memcpy(stamp.conversation_id, &conversation_id, UUID_LEN);
	memcpy(stamp.profile_id, &profile_id, UUID_LEN);
	decode_live_removal(&walk->missed->events,
						walk->tables->participants.heap, &stamp,
						VARDATA_ANY(record), VARSIZE_ANY_EXHDR(record));
	add_event(walk);
}

/* A conversation is gone, to who took part in it to the end. */
static void
add_deletion(Walk *walk, const MsgSource *source, HeapTuple tuple)
{
	event_header stamp = stamp_of(walk, tuple, EVENT_DELETE,
								  msg_row_time(source, tuple,
											   DEPARTURE_LEFT_AT));
	pg_uuid_t	id = msg_row_uuid(source, tuple, DEPARTURE_CONVERSATION);
	char	   *text = DatumGetCString(DirectFunctionCall1(uuid_out,
														   UUIDPGetDatum(&id)));
	char	   *record = psprintf("{\"id\":\"%s\"}", text);

	memcpy(stamp.conversation_id, &id, UUID_LEN);
	decode_live_removal(&walk->missed->events,
						walk->tables->conversations.heap, &stamp, record,
						strlen(record));
	add_event(walk);
}

/* The profile has left; with the conversation that went, in one batch. */
static bool
tell_own_departure(Walk *walk, const MsgSource *source, HeapTuple tuple)
{
	int			before = walk->missed->events.len;

	if (walk_is_wanted(walk, EVENT_CONVERSATIONS) &&
		msg_row_flag(source, tuple, DEPARTURE_WAS_DELETED))
		add_deletion(walk, source, tuple);
	if (walk_is_wanted(walk, EVENT_PARTICIPANTS))
		add_departure(walk, source, tuple);
	return keep_events(walk, before);
}

static bool
tell_other_departure(Walk *walk, const MsgSource *source, HeapTuple tuple)
{
	int			before = walk->missed->events.len;

	add_departure(walk, source, tuple);
	return keep_events(walk, before);
}

bool
walk_tell_left(Walk *walk)
{
	const pg_uuid_t *pinned = walk->wanted->conversation_id;
	const MsgSource *source;
	MsgRows    *rows;
	HeapTuple	tuple;
	bool		room = true;

	rows = msg_rows_start(walk->tables, &walk->tables->own_departures,
						  &walk->wanted->profile_id, BTGreaterStrategyNumber,
						  UUIDPGetDatum(&walk->cursor.last));
	while (room && (tuple = msg_rows_next(rows, &source)) != NULL)
	{
		pg_uuid_t	conversation_id = msg_row_uuid(source, tuple,
												   DEPARTURE_CONVERSATION);

		if (walk_is_missed(walk, tuple) && walk_is_due(walk, tuple) &&
			(pinned == NULL || is_same_id(pinned, &conversation_id)) &&
			!tell_own_departure(walk, source, tuple))
			break;
		walk->cursor.last = msg_row_uuid(source, tuple, DEPARTURE_ID);
		room = !walk_is_tired(walk);
	}
	msg_rows_end(rows);
	if (room && tuple == NULL)
		walk_go_to(walk, STAGE_LIST);
	return room && tuple == NULL;
}

/* Who else has left the conversation. */
bool
walk_tell_departures(Walk *walk)
{
	const MsgSource *source;
	MsgRows    *rows;
	HeapTuple	tuple = NULL;

	if (walk_is_wanted(walk, EVENT_PARTICIPANTS))
	{
		rows = msg_rows_start(walk->tables, &walk->tables->departures,
							  &walk->ids[0], BTGreaterStrategyNumber,
							  UUIDPGetDatum(&walk->cursor.last));
		while ((tuple = msg_rows_next(rows, &source)) != NULL)
		{
			pg_uuid_t	profile_id = msg_row_uuid(source, tuple,
												  DEPARTURE_PROFILE);

			if (walk_is_tired(walk))
				break;
			if (walk_is_missed(walk, tuple) && walk_is_due(walk, tuple) &&
				!is_same_id(&profile_id, &walk->wanted->profile_id) &&
				msg_row_time(source, tuple, DEPARTURE_LEFT_AT) >= walk->since &&
				!tell_other_departure(walk, source, tuple))
				break;
			walk->cursor.last = msg_row_uuid(source, tuple, DEPARTURE_ID);
		}
		msg_rows_end(rows);
	}
	if (tuple == NULL)
		walk_go_to(walk, STAGE_CONVERSATION);
	return tuple == NULL;
}

bool
walk_tell_conversation(Walk *walk)
{
	const MsgSource *source;
	MsgRows    *rows = msg_rows_start(walk->tables,
									  &walk->tables->conversations,
									  &walk->ids[0], InvalidStrategy,
									  (Datum) 0);
	HeapTuple	tuple = msg_rows_next(rows, &source);
	bool		missed = tuple != NULL && walk_is_missed(walk, tuple);
	bool		room = true;

	if (missed && walk_is_wanted(walk, EVENT_CONVERSATIONS) &&
		walk_is_due(walk, tuple))
	{
		TimestampTz created_at = msg_row_time(source, tuple,
											  CONVERSATION_CREATED_AT);

		room = tell_row(walk, source, tuple,
						walk_is_new(walk, created_at) ?
						EVENT_INSERT : EVENT_UPDATE,
						msg_row_time(source, tuple, CONVERSATION_UPDATED_AT));
	}
	msg_rows_end(rows);

	/* Where its row is not missed, no message is. */
	if (room)
	{
		walk->cursor.version = missed ? PG_INT64_MAX : 0;
		walk_go_to(walk, STAGE_PARTICIPANTS);
	}
	return room;
}

bool
walk_tell_participants(Walk *walk)
{
	const MsgSource *source;
	MsgRows    *rows;
	HeapTuple	tuple = NULL;

	if (walk_is_wanted(walk, EVENT_PARTICIPANTS))
	{
		rows = msg_rows_start(walk->tables, &walk->tables->participants,
							  &walk->ids[0], BTGreaterStrategyNumber,
							  UUIDPGetDatum(&walk->cursor.last));
		while ((tuple = msg_rows_next(rows, &source)) != NULL)
		{
			TimestampTz joined_at = msg_row_time(source, tuple,
												 PARTICIPANT_JOINED_AT);

			if (walk_is_tired(walk))
				break;
			if (walk_is_missed(walk, tuple) && walk_is_due(walk, tuple) &&
				!tell_row(walk, source, tuple, walk_is_new(walk, joined_at) ?
						  EVENT_INSERT : EVENT_UPDATE, joined_at))
				break;
			walk->cursor.last = msg_row_uuid(source, tuple,
											 PARTICIPANT_PROFILE);
		}
		msg_rows_end(rows);
	}
	if (tuple != NULL)
		return false;

	if (walk->cursor.version == 0 || !walk_is_wanted(walk, EVENT_MESSAGES))
		walk_next_conversation(walk);
	else
	{
		walk->cursor.seen_seq = 0;
		walk->cursor.new_seq = NO_SEQ;
		walk_go_to(walk, STAGE_FIND);
	}
	return true;
}

static bool
is_untouched(const MsgSource *source, HeapTuple tuple)
{
	return !msg_row_flag(source, tuple, MESSAGE_IS_EDITED) &&
		!msg_row_flag(source, tuple, MESSAGE_IS_DELETED) &&
		TIMESTAMP_IS_NOBEGIN(msg_row_time(source, tuple, MESSAGE_UPDATED_AT)) &&
		TIMESTAMP_IS_NOBEGIN(msg_row_time(source, tuple,
										  MESSAGE_DELIVERED_AT)) &&
		TIMESTAMP_IS_NOBEGIN(msg_row_time(source, tuple, MESSAGE_READ_AT));
}

/* Down from the highest version, to the first one that is not missed. */
bool
walk_find_messages(Walk *walk)
{
	Cursor	   *cursor = &walk->cursor;
	const MsgSource *source;
	HeapTuple	tuple;
	MsgRows    *rows = msg_message_rows_start(walk->tables, &walk->ids[0],
											  BTLessStrategyNumber,
											  cursor->version,
											  BackwardScanDirection);

	while ((tuple = msg_rows_next(rows, &source)) != NULL &&
		   !walk_is_tired(walk))
	{
		int64		seq = msg_row_number(source, tuple, MESSAGE_SEQ);

		if (!walk_is_missed(walk, tuple))
		{
			cursor->seen_seq = seq;
			break;
		}
		cursor->version = msg_row_number(source, tuple, MESSAGE_VERSION);
		if (is_untouched(source, tuple))
			cursor->new_seq = Min(cursor->new_seq, seq);
		CHECK_FOR_INTERRUPTS();
	}
	msg_rows_end(rows);
	if (tuple != NULL && cursor->seen_seq == 0)
		return false;

	/* From there on upwards; where none is missed, there is none above. */
	cursor->version--;
	walk_go_to(walk, STAGE_MESSAGES);
	return true;
}

static event_action
message_action(const Walk *walk, const MsgSource *source, HeapTuple tuple)
{
	int64		seq = msg_row_number(source, tuple, MESSAGE_SEQ);

	if (seq <= walk->cursor.seen_seq)
		return EVENT_UPDATE;
	if (seq >= walk->cursor.new_seq ||
		walk_is_new(walk, msg_row_time(source, tuple, MESSAGE_CREATED_AT)))
		return EVENT_INSERT;
	return EVENT_UPDATE;
}

/* When the message last changed, as far as its row tells. */
static TimestampTz
message_time(const MsgSource *source, HeapTuple tuple)
{
	TimestampTz latest = msg_row_time(source, tuple, MESSAGE_CREATED_AT);

	latest = Max(latest, msg_row_time(source, tuple, MESSAGE_UPDATED_AT));
	latest = Max(latest, msg_row_time(source, tuple, MESSAGE_DELIVERED_AT));
	return Max(latest, msg_row_time(source, tuple, MESSAGE_READ_AT));
}

/* Upwards, what is missed and due. */
bool
walk_tell_messages(Walk *walk)
{
	const MsgSource *source;
	HeapTuple	tuple;
	MsgRows    *rows = msg_message_rows_start(walk->tables, &walk->ids[0],
											  BTGreaterStrategyNumber,
											  walk->cursor.version,
											  ForwardScanDirection);

	while ((tuple = msg_rows_next(rows, &source)) != NULL &&
		   !walk_is_tired(walk))
	{
		TimestampTz time = message_time(source, tuple);

		if (walk_is_missed(walk, tuple) && walk_is_due(walk, tuple) &&
			time >= walk->since &&
			!tell_row(walk, source, tuple,
					  message_action(walk, source, tuple), time))
			break;
		walk->cursor.version = msg_row_number(source, tuple, MESSAGE_VERSION);
		CHECK_FOR_INTERRUPTS();
	}
	msg_rows_end(rows);
	if (tuple == NULL)
		walk_next_conversation(walk);
	return tuple == NULL;
}
