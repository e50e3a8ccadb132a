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

#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "catchup_walk.h"
#include "compat.h"
#include "positions.h"

/* What is younger than the position less this is taken for new. */
#define NEW_SINCE		(10 * USECS_PER_SEC)

/* A conversation that has news. */
typedef struct News
{
	TimestampTz updated_at;
	pg_uuid_t	id;
} News;

static void start_walk(Walk *walk);
static bool step(Walk *walk);
static bool list_news(Walk *walk);

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
	walk->cursor.all_due = wanted->all_due;
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

bool
walk_is_wanted(const Walk *walk, event_table table)
{
	return (walk->wanted->tables & (1 << table)) != 0;
}

/* To the next stage, whose pieces begin at the beginning. */
void
walk_go_to(Walk *walk, Stage stage)
{
	walk->cursor.stage = stage;
	memset(&walk->cursor.last, 0, sizeof(pg_uuid_t));
}

void
walk_next_conversation(Walk *walk)
{
	Cursor	   *cursor = &walk->cursor;

	cursor->nids--;
	memmove(walk->ids, walk->ids + 1, cursor->nids * sizeof(pg_uuid_t));
	walk->entered = false;
	walk_go_to(walk, cursor->nids > 0 ? STAGE_DEPARTURES : STAGE_LIST);
}

bool
walk_is_missed(Walk *walk, HeapTuple tuple)
{
	walk->looks++;
	return !msg_position_sees(walk->wanted->from,
							  msg_row_xid(tuple, walk->next));
}

/* Is a row that is missed part of this round? */
bool
walk_is_due(const Walk *walk, HeapTuple tuple)
{
	return walk->cursor.all_due ||
		msg_position_sees(&walk->wanted->until->position,
						  msg_row_xid(tuple, walk->next));
}

bool
walk_is_tired(const Walk *walk)
{
	return walk->looks >= MAX_LOOKS;
}

/* Is the time of a row one after that of the position, more or less? */
bool
walk_is_new(const Walk *walk, TimestampTz time)
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

		walk->since = DT_NOBEGIN;
		if (walk_is_missed(walk, own) && walk_is_new(walk, joined_at))
			walk->since = joined_at;
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
		walk_next_conversation(walk);
		return !walk_is_tired(walk);
	}
	switch (stage)
	{
		case STAGE_LEFT:
			return walk_tell_left(walk);
		case STAGE_LIST:
			return list_news(walk);
		case STAGE_DEPARTURES:
			return walk_tell_departures(walk);
		case STAGE_CONVERSATION:
			return walk_tell_conversation(walk);
		case STAGE_PARTICIPANTS:
			return walk_tell_participants(walk);
		case STAGE_FIND:
			return walk_find_messages(walk);
		case STAGE_MESSAGES:
			return walk_tell_messages(walk);
		case STAGE_DONE:
			break;
	}
	return false;
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
		if (walk_is_missed(walk, tuple))
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
	bool		found = tuple != NULL && walk_is_missed(walk, tuple);

	*updated_at = tuple == NULL ? DT_NOBEGIN :
		msg_row_time(source, tuple, CONVERSATION_UPDATED_AT);
	msg_rows_end(rows);

	return found ||
		(walk_is_wanted(walk, EVENT_PARTICIPANTS) &&
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
	while (!end && *n < MAX_LISTED && !walk_is_tired(walk))
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

	if (walk_is_tired(walk))
		return false;
	if (pinned && is_same_id(pinned, &walk->cursor.walked))
	{
		walk_go_to(walk, STAGE_DONE);
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
		walk_go_to(walk, STAGE_DEPARTURES);
	else if (end)
		walk_go_to(walk, STAGE_DONE);
	return !walk_is_tired(walk);
}
