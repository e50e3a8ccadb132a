/*-------------------------------------------------------------------------
 *
 * catchup.c
 *	  What a profile has missed: from a position to a mark, as events.
 *
 * A row is missed when the transaction that wrote it is not one of the
 * position's (positions.c), and belongs to this round when it is one of the
 * mark's.  What was changed behind the mark is left out: it is told by the
 * live stream, or in the next round.  So each row comes in exactly one round,
 * and as it is, not as it was on the way.
 *
 * First comes what the profile has left, then, conversation by conversation, in
 * the order of their latest change: who has left it, the conversation itself,
 * its participants, its messages.  Within a conversation the order of versions
 * is that of the commits, as both are made under its lock.  So the messages
 * that are missed are those above the last version that is not, and where the
 * conversation's own row is not missed, none is: each of those changes has
 * written it, too.
 *
 * INSERT or UPDATE?  A message that was never changed is new.  So is each one
 * with a higher seq than such a one, and none is with a lower seq than one that
 * is not missed, since messages are sent in the order of seq.  In between
 * (all were changed meanwhile), and for the other tables, the time decides,
 * with some seconds in favour of INSERT: a client that knows the row already
 * has seen nothing that contradicts.
 *
 * Who joined a conversation meanwhile gets what happened in it since, not its
 * history, as it would have been live.
 *
 * Batches
 * -------
 * A batch is bounded in events, bytes and rows looked at, whatever is missed.
 * The cursor says where the next one goes on, which may be in any later
 * snapshot: memberships are walked in the order of their ids, conversations
 * with news are listed, up to MAX_LISTED at a time, put into the order of time,
 * and done one after the other; and whatever is done by pieces is done in the
 * order of something that does not change behind the cursor.  (The versions
 * of messages do, but then the row is behind the mark.)
 *
 * What is not told: the row of a message that a service deleted, TRUNCATE of
 * one table alone, and what was written while triggers were off.  A message
 * that is moved to its month (partitions.c) just between mark and reading is
 * told by the next change of its conversation.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "catchup.h"
#include "catchup_tables.h"
#include "compat.h"
#include "live.h"
#include "positions.h"

/* Conversations in a cursor. */
#define MAX_LISTED		1000

/* Rows looked at in a batch. */
#define MAX_LOOKS		25000

/* What is younger than the position less this is taken for new. */
#define NEW_SINCE		(10 * USECS_PER_SEC)

/* What is next. */
typedef enum Stage
{
	STAGE_LEFT,					/* what the profile has left */
	STAGE_LIST,					/* conversations with news */
	STAGE_DEPARTURES,			/* and of each of these: */
	STAGE_CONVERSATION,
	STAGE_PARTICIPANTS,
	STAGE_FIND,					/* the last message that is not missed */
	STAGE_MESSAGES,
	STAGE_DONE
} Stage;

/*
 * Behind the struct, the ids of the conversations that are listed and not done.
 */
typedef struct Cursor
{
	uint32		stage;
	uint32		nids;
	pg_uuid_t	walked;			/* memberships up to here are listed */
	pg_uuid_t	last;			/* departure, or profile, that is done */
	int64		version;		/* FIND: missed from here on; MESSAGES: done */
	int64		seen_seq;		/* not missed: it and all below are known */
	int64		new_seq;		/* it and all above are new */
} Cursor;

/* A conversation that has news. */
typedef struct News
{
	TimestampTz updated_at;
	pg_uuid_t	id;
} News;

typedef struct Walk
{
	const MsgWanted *wanted;
	MsgMissed  *missed;
	MsgTables  *tables;
	MemoryContext event_context;	/* reset after every event */
	FullTransactionId next;
	int64		new_since;		/* rows from then on are new */
	int			looks;
	uint32		pending;		/* events written, and not yet kept */
	Cursor		cursor;
	pg_uuid_t  *ids;			/* cursor.nids of them */

	/* Of the first of the ids. */
	bool		entered;
	TimestampTz since;			/* the profile has joined it meanwhile */
} Walk;

/* By seq, whether messages are new; see above. */
#define NO_SEQ	PG_INT64_MAX

static void start_walk(Walk *walk);
static bool step(Walk *walk);
static bool tell_left(Walk *walk);
static bool list_news(Walk *walk);
static bool tell_departures(Walk *walk);
static bool tell_conversation(Walk *walk);
static bool tell_participants(Walk *walk);
static bool find_messages(Walk *walk);
static bool tell_messages(Walk *walk);

void
msg_catch_up(const MsgWanted *wanted, MsgMissed *missed)
{
	Walk		walk = {.wanted = wanted,.missed = missed};

	missed->nevents = 0;
	initStringInfo(&missed->events);
	initStringInfo(&missed->cursor);
	start_walk(&walk);

	while (walk.cursor.stage != STAGE_DONE && step(&walk))
		CHECK_FOR_INTERRUPTS();

	missed->more = walk.cursor.stage != STAGE_DONE;
	if (missed->more)
	{
		appendBinaryStringInfo(&missed->cursor, (char *) &walk.cursor,
							   sizeof(Cursor));
		appendBinaryStringInfo(&missed->cursor, (char *) walk.ids,
							   walk.cursor.nids * sizeof(pg_uuid_t));
	}
	msg_tables_close(walk.tables);
	MemoryContextDelete(walk.event_context);
}

static void
start_walk(Walk *walk)
{
	const MsgWanted *wanted = walk->wanted;

	walk->tables = msg_tables_open();
	walk->next = ReadNextFullTransactionId();
	walk->new_since = wanted->from->taken_at;
	if (!TIMESTAMP_NOT_FINITE(walk->new_since))
		walk->new_since -= NEW_SINCE;
	walk->event_context = AllocSetContextCreate(CurrentMemoryContext,
												"openhr_msg event",
												ALLOCSET_DEFAULT_SIZES);
	walk->ids = palloc0(MAX_LISTED * sizeof(pg_uuid_t));
	if (wanted->cursor == NULL)
		return;

	if (wanted->cursor_len >= sizeof(Cursor))
		memcpy(&walk->cursor, wanted->cursor, sizeof(Cursor));
	if (wanted->cursor_len < sizeof(Cursor) ||
		walk->cursor.stage >= STAGE_DONE || walk->cursor.nids > MAX_LISTED ||
		(walk->cursor.stage > STAGE_LIST && walk->cursor.nids == 0) ||
		wanted->cursor_len != sizeof(Cursor) +
		walk->cursor.nids * sizeof(pg_uuid_t))
		ereport(ERROR,
				errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("invalid cursor"));
	memcpy(walk->ids, wanted->cursor + sizeof(Cursor),
		   walk->cursor.nids * sizeof(pg_uuid_t));
}

static bool
is_wanted(const Walk *walk, event_table table)
{
	return (walk->wanted->tables & (1 << table)) != 0;
}

static bool
is_same(const pg_uuid_t *a, const pg_uuid_t *b)
{
	return memcmp(a, b, UUID_LEN) == 0;
}

/* To the next stage, whose pieces begin at the beginning. */
static void
go_to(Walk *walk, Stage stage)
{
	walk->cursor.stage = stage;
	memset(&walk->cursor.last, 0, sizeof(pg_uuid_t));
}

static void
next_conversation(Walk *walk)
{
	Cursor	   *cursor = &walk->cursor;

	cursor->nids--;
	memmove(walk->ids, walk->ids + 1, cursor->nids * sizeof(pg_uuid_t));
	walk->entered = false;
	go_to(walk, cursor->nids > 0 ? STAGE_DEPARTURES : STAGE_LIST);
}

static bool
is_missed(Walk *walk, HeapTuple tuple)
{
	walk->looks++;
	return !msg_position_sees(walk->wanted->from,
							  msg_row_xid(tuple, walk->next));
}

/* Is a row that is missed part of this round? */
static bool
is_due(const Walk *walk, HeapTuple tuple)
{
	return msg_position_sees(&walk->wanted->until->position,
							 msg_row_xid(tuple, walk->next));
}

static bool
is_tired(const Walk *walk)
{
	return walk->looks >= MAX_LOOKS;
}

/* Is the time of a row one after that of the position, more or less? */
static bool
is_new(const Walk *walk, TimestampTz time)
{
	return msg_unix_time(time) >= walk->new_since;
}

/* Look at the conversation whose turn it is; false: it is none of ours now. */
static bool
enter(Walk *walk)
{
	const MsgSource *source;
	MsgRows    *rows;
	HeapTuple	own;

	rows = msg_rows_start(walk->tables, &walk->tables->participants,
						  &walk->ids[0], BTEqualStrategyNumber,
						  UUIDPGetDatum(&walk->wanted->profile_id));
	own = msg_rows_next(rows, &source);
	if (own)
	{
		TimestampTz joined_at = msg_row_time(source, own,
											 PARTICIPANT_JOINED_AT);

		walk->since = is_missed(walk, own) && is_new(walk, joined_at) ?
			joined_at : DT_NOBEGIN;
		walk->entered = true;
	}
	msg_rows_end(rows);
	return own != NULL;
}

/* Do some of what is next; false when the batch is full. */
static bool
step(Walk *walk)
{
	Stage		stage = walk->cursor.stage;

	if (stage > STAGE_LIST && !walk->entered && !enter(walk))
	{
		next_conversation(walk);
		return !is_tired(walk);
	}
	switch (stage)
	{
		case STAGE_LEFT:
			return tell_left(walk);
		case STAGE_LIST:
			return list_news(walk);
		case STAGE_DEPARTURES:
			return tell_departures(walk);
		case STAGE_CONVERSATION:
			return tell_conversation(walk);
		case STAGE_PARTICIPANTS:
			return tell_participants(walk);
		case STAGE_FIND:
			return find_messages(walk);
		case STAGE_MESSAGES:
			return tell_messages(walk);
		case STAGE_DONE:
			break;
	}
	return false;
}

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

	if (is_wanted(walk, EVENT_CONVERSATIONS) &&
		msg_row_flag(source, tuple, DEPARTURE_WAS_DELETED))
		add_deletion(walk, source, tuple);
	if (is_wanted(walk, EVENT_PARTICIPANTS))
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

static bool
tell_left(Walk *walk)
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

		if (is_missed(walk, tuple) && is_due(walk, tuple) &&
			(pinned == NULL || is_same(pinned, &conversation_id)) &&
			!tell_own_departure(walk, source, tuple))
			break;
		walk->cursor.last = msg_row_uuid(source, tuple, DEPARTURE_ID);
		room = !is_tired(walk);
	}
	msg_rows_end(rows);
	if (room && tuple == NULL)
		go_to(walk, STAGE_LIST);
	return room && tuple == NULL;
}

/* Is one of these rows missed? */
static bool
any_missed(Walk *walk, const MsgSource *source, const pg_uuid_t *id)
{
	MsgRows    *rows = msg_rows_start(walk->tables, source, id,
									  InvalidStrategy, (Datum) 0);
	HeapTuple	tuple;

	while ((tuple = msg_rows_next(rows, NULL)) != NULL)
	{
		if (is_missed(walk, tuple))
			break;
	}
	msg_rows_end(rows);
	return tuple != NULL;
}

/* Does a conversation have news? */
static bool
has_news(Walk *walk, const pg_uuid_t *id, TimestampTz *updated_at)
{
	const MsgSource *source;
	MsgRows    *rows = msg_rows_start(walk->tables,
									  &walk->tables->conversations, id,
									  InvalidStrategy, (Datum) 0);
	HeapTuple	tuple = msg_rows_next(rows, &source);
	bool		found = tuple != NULL && is_missed(walk, tuple);

	*updated_at = tuple == NULL ? DT_NOBEGIN :
		msg_row_time(source, tuple, CONVERSATION_UPDATED_AT);
	msg_rows_end(rows);

	return found ||
		(is_wanted(walk, EVENT_PARTICIPANTS) &&
		 (any_missed(walk, &walk->tables->participants, id) ||
		  any_missed(walk, &walk->tables->departures, id)));
}

static int
compare_news(const void *a, const void *b)
{
	const News *left = a;
	const News *right = b;

	if (left->updated_at != right->updated_at)
		return left->updated_at < right->updated_at ? -1 : 1;
	return memcmp(&left->id, &right->id, UUID_LEN);
}

/* Walk memberships; true when there are no more of them. */
static bool
collect_news(Walk *walk, News *news, int *n)
{
	const pg_uuid_t *pinned = walk->wanted->conversation_id;
	const MsgSource *source;
	MsgRows    *rows;
	HeapTuple	tuple;
	bool		end = false;

	rows = msg_rows_start(walk->tables, &walk->tables->memberships,
						  &walk->wanted->profile_id,
						  pinned ? BTEqualStrategyNumber :
						  BTGreaterStrategyNumber,
						  UUIDPGetDatum(pinned ? pinned :
										&walk->cursor.walked));
	while (!end && *n < MAX_LISTED && !is_tired(walk))
	{
		News	   *one = &news[*n];

		tuple = msg_rows_next(rows, &source);
		end = tuple == NULL;
		if (end)
			break;
		walk->looks++;
		one->id = msg_row_uuid(source, tuple, PARTICIPANT_CONVERSATION);
		walk->cursor.walked = one->id;
		if (has_news(walk, &one->id, &one->updated_at))
			(*n)++;
	}
	msg_rows_end(rows);
	return end;
}

/*
 * What was walked stays walked, also where the last turn was the last one: a
 * walk from there finds nothing.
 */
static bool
list_news(Walk *walk)
{
	const pg_uuid_t *pinned = walk->wanted->conversation_id;
	News	   *news;
	int			n = 0;
	bool		end;

	if (is_tired(walk))
		return false;
	if (pinned && is_same(pinned, &walk->cursor.walked))
	{
		go_to(walk, STAGE_DONE);
		return true;
	}
	news = palloc(MAX_LISTED * sizeof(News));
	end = collect_news(walk, news, &n);
	if (pinned)
		walk->cursor.walked = *pinned;

	qsort(news, n, sizeof(News), compare_news);
	for (int i = 0; i < n; i++)
		walk->ids[i] = news[i].id;
	pfree(news);
	walk->cursor.nids = n;
	walk->entered = false;
	if (n > 0)
		go_to(walk, STAGE_DEPARTURES);
	else if (end)
		go_to(walk, STAGE_DONE);
	return !is_tired(walk);
}

/* Who else has left the conversation. */
static bool
tell_departures(Walk *walk)
{
	const MsgSource *source;
	MsgRows    *rows;
	HeapTuple	tuple = NULL;

	if (is_wanted(walk, EVENT_PARTICIPANTS))
	{
		rows = msg_rows_start(walk->tables, &walk->tables->departures,
							  &walk->ids[0], BTGreaterStrategyNumber,
							  UUIDPGetDatum(&walk->cursor.last));
		while ((tuple = msg_rows_next(rows, &source)) != NULL)
		{
			pg_uuid_t	profile_id = msg_row_uuid(source, tuple,
												  DEPARTURE_PROFILE);

			if (is_tired(walk))
				break;
			if (is_missed(walk, tuple) && is_due(walk, tuple) &&
				!is_same(&profile_id, &walk->wanted->profile_id) &&
				msg_row_time(source, tuple, DEPARTURE_LEFT_AT) >= walk->since &&
				!tell_other_departure(walk, source, tuple))
				break;
			walk->cursor.last = msg_row_uuid(source, tuple, DEPARTURE_ID);
		}
		msg_rows_end(rows);
	}
	if (tuple == NULL)
		go_to(walk, STAGE_CONVERSATION);
	return tuple == NULL;
}

static bool
tell_conversation(Walk *walk)
{
	const MsgSource *source;
	MsgRows    *rows = msg_rows_start(walk->tables,
									  &walk->tables->conversations,
									  &walk->ids[0], InvalidStrategy,
									  (Datum) 0);
	HeapTuple	tuple = msg_rows_next(rows, &source);
	bool		missed = tuple != NULL && is_missed(walk, tuple);
	bool		room = true;

	if (missed && is_wanted(walk, EVENT_CONVERSATIONS) && is_due(walk, tuple))
	{
		TimestampTz created_at = msg_row_time(source, tuple,
											  CONVERSATION_CREATED_AT);

		room = tell_row(walk, source, tuple,
						is_new(walk, created_at) ? EVENT_INSERT : EVENT_UPDATE,
						msg_row_time(source, tuple, CONVERSATION_UPDATED_AT));
	}
	msg_rows_end(rows);

	/* Where its row is not missed, no message is. */
	if (room)
	{
		walk->cursor.version = missed ? PG_INT64_MAX : 0;
		go_to(walk, STAGE_PARTICIPANTS);
	}
	return room;
}

static bool
tell_participants(Walk *walk)
{
	const MsgSource *source;
	MsgRows    *rows;
	HeapTuple	tuple = NULL;

	if (is_wanted(walk, EVENT_PARTICIPANTS))
	{
		rows = msg_rows_start(walk->tables, &walk->tables->participants,
							  &walk->ids[0], BTGreaterStrategyNumber,
							  UUIDPGetDatum(&walk->cursor.last));
		while ((tuple = msg_rows_next(rows, &source)) != NULL)
		{
			TimestampTz joined_at = msg_row_time(source, tuple,
												 PARTICIPANT_JOINED_AT);

			if (is_tired(walk))
				break;
			if (is_missed(walk, tuple) && is_due(walk, tuple) &&
				!tell_row(walk, source, tuple, is_new(walk, joined_at) ?
						  EVENT_INSERT : EVENT_UPDATE, joined_at))
				break;
			walk->cursor.last = msg_row_uuid(source, tuple,
											 PARTICIPANT_PROFILE);
		}
		msg_rows_end(rows);
	}
	if (tuple != NULL)
		return false;

	if (walk->cursor.version == 0 || !is_wanted(walk, EVENT_MESSAGES))
		next_conversation(walk);
	else
	{
		walk->cursor.seen_seq = 0;
		walk->cursor.new_seq = NO_SEQ;
		go_to(walk, STAGE_FIND);
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
static bool
find_messages(Walk *walk)
{
	Cursor	   *cursor = &walk->cursor;
	const MsgSource *source;
	HeapTuple	tuple;
	MsgRows    *rows = msg_message_rows_start(walk->tables, &walk->ids[0],
											  BTLessStrategyNumber,
											  cursor->version,
											  BackwardScanDirection);

	while ((tuple = msg_rows_next(rows, &source)) != NULL && !is_tired(walk))
	{
		int64		seq = msg_row_number(source, tuple, MESSAGE_SEQ);

		if (!is_missed(walk, tuple))
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
	go_to(walk, STAGE_MESSAGES);
	return true;
}

static event_action
message_action(const Walk *walk, const MsgSource *source, HeapTuple tuple)
{
	int64		seq = msg_row_number(source, tuple, MESSAGE_SEQ);

	if (seq <= walk->cursor.seen_seq)
		return EVENT_UPDATE;
	if (seq >= walk->cursor.new_seq ||
		is_new(walk, msg_row_time(source, tuple, MESSAGE_CREATED_AT)))
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
static bool
tell_messages(Walk *walk)
{
	const MsgSource *source;
	HeapTuple	tuple;
	MsgRows    *rows = msg_message_rows_start(walk->tables, &walk->ids[0],
											  BTGreaterStrategyNumber,
											  walk->cursor.version,
											  ForwardScanDirection);

	while ((tuple = msg_rows_next(rows, &source)) != NULL && !is_tired(walk))
	{
		TimestampTz time = message_time(source, tuple);

		if (is_missed(walk, tuple) && is_due(walk, tuple) &&
			time >= walk->since &&
			!tell_row(walk, source, tuple,
					  message_action(walk, source, tuple), time))
			break;
		walk->cursor.version = msg_row_number(source, tuple, MESSAGE_VERSION);
		CHECK_FOR_INTERRUPTS();
	}
	msg_rows_end(rows);
	if (tuple == NULL)
		next_conversation(walk);
	return tuple == NULL;
}
