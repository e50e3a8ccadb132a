/*-------------------------------------------------------------------------
 *
 * pages.c
 *	  SQL-callable functions that read messages: pages and changes.
 *
 * The place in a conversation is seq: dense, unique, without a clock.
 * "before" takes a time instead, because that is what the first clients had:
 * strictly older, in full microseconds.  Where several messages share the
 * time of a page's last one, all of them belong to the page, or the next
 * one, which starts strictly before that time, would miss them; such a page
 * is longer than asked for.  That holds for the newest page, too, as nobody
 * knows yet how the reader will go on.
 *
 * Deleted messages are part of every page, without their content, so that
 * pages are dense and a client hears of a deletion.
 *
 * All of these functions are STABLE: who reads is checked in the snapshot in
 * which the messages are read, that of the calling query.
 *
 * Finding the month
 * -----------------
 * Messages are partitioned by the time in their ids, and a query by seq does
 * not say which month it means: it would open all of them, which costs more
 * than the page.  openhr_msg.conversation_months knows with which seq a
 * conversation went into another month, so a page can be read between two
 * bounds of the id, by which the executor prunes.
 *
 * The bounds are a guess that is checked.  Because seq is dense it is known
 * how many rows a page has; when there are fewer (messages were purged, or
 * loaded with ids of their own choice) the page is read again without
 * bounds.  So what that table says can make a page slow but never wrong.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "arguments.h"
#include "callers.h"
#include "compat.h"
#include "epoch.h"
#include "pages.h"
#include "partitions.h"
#include "spi_plans.h"
#include "uuid7.h"

/* The times that an id can hold are within these: 1970 and 10000. */
#define FIRST_ID_TIME	INT64CONST(-946684800000000)
#define LAST_ID_TIME	INT64CONST(252455616000000000)

/* What a page is asked for by. */
typedef enum PageKind
{
	PAGE_NEWEST,				/* newest first */
	PAGE_BEFORE_TIME,			/* newest first */
	PAGE_BEFORE_SEQ,			/* newest first */
	PAGE_AFTER_SEQ				/* oldest first */
} PageKind;

typedef struct MessagePage
{
	PageKind	kind;
	Datum		conversation_id;
	int			rows;

	/* Where its messages are. */
	int64		first_seq;
	int64		last_seq;		/* included */
	TimestampTz after;			/* included, as is the low id */
	TimestampTz before;			/* not included */
	pg_uuid_t	low_id;
	pg_uuid_t	high_id;		/* not included */
} MessagePage;

static void page_arguments(FunctionCallInfo fcinfo, MessagePage *page);
static uint64 find_page(const MsgCaller *caller, MessagePage *page);
static TimestampTz get_time(int column);
static void forget_bounds(MessagePage *page);
static uint64 return_page(FunctionCallInfo fcinfo, const MessagePage *page);

/*
 * list_messages(conversation_id uuid, max integer, before timestamptz,
 *				 before_seq bigint, after_seq bigint): setof messages
 */
PG_FUNCTION_INFO_V1(msg_list_messages);

Datum
msg_list_messages(PG_FUNCTION_ARGS)
{
	MsgCaller	caller;
	MessagePage page;
	uint64		expected;

	page_arguments(fcinfo, &page);
	caller = msg_caller();

	InitMaterializedSRF(fcinfo, 0);
	SPI_connect();
	expected = find_page(&caller, &page);
	if (return_page(fcinfo, &page) < expected)
	{
		tuplestore_clear(((ReturnSetInfo *) fcinfo->resultinfo)->setResult);
		forget_bounds(&page);
		return_page(fcinfo, &page);
	}
	SPI_finish();
	return (Datum) 0;
}

static void
page_arguments(FunctionCallInfo fcinfo, MessagePage *page)
{
	page->conversation_id =
		UUIDPGetDatum(msg_uuid_argument(fcinfo, 0, "conversation_id"));
	page->rows = msg_page_argument(fcinfo, 1);
	page->first_seq = 1;
	page->last_seq = PG_INT64_MAX;
	page->before = DT_NOEND;

	if (!PG_ARGISNULL(2) + !PG_ARGISNULL(3) + !PG_ARGISNULL(4) > 1)
		ereport(ERROR,
				errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("only one of \"before\", \"before_seq\" and \"after_seq\" may be given"));

	page->kind = PAGE_NEWEST;
	if (!PG_ARGISNULL(2))
	{
		page->kind = PAGE_BEFORE_TIME;
		page->before = PG_GETARG_TIMESTAMPTZ(2);
	}
	else if (!PG_ARGISNULL(3))
	{
		page->kind = PAGE_BEFORE_SEQ;
		page->last_seq = msg_position_argument(fcinfo, 3, "before_seq") - 1;
	}
	else if (!PG_ARGISNULL(4))
	{
		page->kind = PAGE_AFTER_SEQ;
		page->first_seq =
			Min(msg_position_argument(fcinfo, 4, "after_seq"),
				PG_INT64_MAX - page->rows) + 1;
		page->last_seq = page->first_seq + page->rows - 1;
	}
}

#define PAGE_OF \
	"SELECT p.profile_id IS NOT NULL, w.first, w.last," \
	MSG_MONTHS_OF("w.first", "w.last") \
	" FROM conversations c LEFT JOIN conversation_participants p" \
	" ON p.conversation_id = c.id AND p.profile_id = $2" \
	" CROSS JOIN LATERAL ("
#define PAGE_IN	") AS w WHERE c.id = $1"

/*
 * Check who reads, and narrow the bounds to where the page should be.
 * Returns how many rows it has when that is right.
 *
 * All messages before the month of a time are older than the time, so a page
 * before it ends at most its number of rows before that month.
 */
static uint64
find_page(const MsgCaller *caller, MessagePage *page)
{
	static MsgPlan seq_plan = MSG_PLAN(
		PAGE_OF
		"SELECT greatest($3, least($4, c.last_seq) - $5 + 1, 1) AS first,"
		" least($4, c.last_seq) AS last"
		PAGE_IN,
		UUIDOID, UUIDOID, INT8OID, INT8OID, INT8OID);
	static MsgPlan time_plan = MSG_PLAN(
		PAGE_OF
		"SELECT greatest(coalesce((SELECT first_seq"
		" FROM openhr_msg.conversation_months"
		" WHERE conversation_id = $1 AND month <= $3"
		" ORDER BY first_seq DESC LIMIT 1), 1) - $4, 1) AS first,"
		" c.last_seq AS last"
		PAGE_IN,
		UUIDOID, UUIDOID, TIMESTAMPTZOID, INT8OID);
	Datum		by_seq[] = {
		page->conversation_id, UUIDPGetDatum(&caller->profile_id),
		Int64GetDatum(page->first_seq), Int64GetDatum(page->last_seq),
		Int64GetDatum(page->rows)
	};
	Datum		by_time[] = {
		page->conversation_id, UUIDPGetDatum(&caller->profile_id),
		TimestampTzGetDatum(page->before), Int64GetDatum(page->rows)
	};
	bool		has_time = page->kind == PAGE_BEFORE_TIME;
	bool		isnull;

	if (!(has_time ? msg_plan_read(&time_plan, by_time, NULL) :
		  msg_plan_read(&seq_plan, by_seq, NULL)) ||
		!(caller->is_service || msg_plan_bool(1)))
		msg_refuse_sight(caller);

	page->after = get_time(4);
	msg_first_id(page->after, &page->low_id);
	if (has_time)
	{
		msg_next_month_id(Min(page->before, get_time(6)), &page->high_id);
		return page->rows;
	}

	if (page->kind == PAGE_NEWEST || get_time(5) == DT_NOEND)
		msg_next_month_id(get_time(6), &page->high_id);
	else
		msg_first_id(get_time(5), &page->high_id);
	page->first_seq = DatumGetInt64(msg_plan_column(2, &isnull));
	page->last_seq = DatumGetInt64(msg_plan_column(3, &isnull));
	return Max(page->last_seq - page->first_seq + 1, 0);
}

/* A column of the row; the end of time when it is null. */
static TimestampTz
get_time(int column)
{
	bool		isnull;
	Datum		time = msg_plan_column(column, &isnull);

	return isnull ? DT_NOEND : DatumGetTimestampTz(time);
}

void
msg_next_month_id(TimestampTz time, pg_uuid_t *id)
{
	TimestampTz within = Max(FIRST_ID_TIME, Min(time, LAST_ID_TIME));

	msg_first_id(msg_month_start(msg_month_of(within) + 1), id);
}

void
msg_first_id(TimestampTz time, pg_uuid_t *id)
{
	if (time < FIRST_ID_TIME)
		memset(id, 0, sizeof(*id));
	else if (time > LAST_ID_TIME)
		memset(id, 0xff, sizeof(*id));
	else
		msg_uuid_v7_floor(time, id);
}

static void
forget_bounds(MessagePage *page)
{
	if (page->kind == PAGE_AFTER_SEQ)
		page->last_seq = PG_INT64_MAX;
	else
		page->first_seq = 1;
	page->after = DT_NOBEGIN;
	memset(&page->low_id, 0, sizeof(page->low_id));
	memset(&page->high_id, 0xff, sizeof(page->high_id));
}

/*
 * The bounds of the id are for pruning.  Those of seq and of the time are
 * given on both sides, too, so that no index on the id looks better than the
 * one that has the page in its order.
 */
#define FROM_MESSAGES \
	" FROM messages m WHERE conversation_id = $1" \
	" AND id >= $2 AND id < $3"

static uint64
return_page(FunctionCallInfo fcinfo, const MessagePage *page)
{
	static MsgPlan time_plan = MSG_PLAN(
		"SELECT (page.m).* FROM (SELECT m" FROM_MESSAGES
		" AND created_at >= $5 AND created_at < $6"
		" ORDER BY created_at DESC FETCH FIRST $4 ROWS WITH TIES) AS page"
		" ORDER BY (page.m).created_at DESC, (page.m).seq DESC",
		UUIDOID, UUIDOID, UUIDOID, INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID);
	static MsgPlan before_plan = MSG_PLAN(
		"SELECT m.*" FROM_MESSAGES " AND seq >= $5 AND seq <= $6"
		" ORDER BY seq DESC LIMIT $4",
		UUIDOID, UUIDOID, UUIDOID, INT8OID, INT8OID, INT8OID);
	static MsgPlan after_plan = MSG_PLAN(
		"SELECT m.*" FROM_MESSAGES " AND seq >= $5 AND seq <= $6"
		" ORDER BY seq LIMIT $4",
		UUIDOID, UUIDOID, UUIDOID, INT8OID, INT8OID, INT8OID);

	Datum		values[] = {
		page->conversation_id,
		UUIDPGetDatum(&page->low_id),
		UUIDPGetDatum(&page->high_id),
		Int64GetDatum(page->rows),
		Int64GetDatum(page->first_seq),
		Int64GetDatum(page->last_seq)
	};

	switch (page->kind)
	{
		case PAGE_NEWEST:
		case PAGE_BEFORE_TIME:
			values[4] = TimestampTzGetDatum(page->after);
			values[5] = TimestampTzGetDatum(page->before);
			return msg_plan_return(&time_plan, values, NULL, fcinfo);
		case PAGE_BEFORE_SEQ:
			return msg_plan_return(&before_plan, values, NULL, fcinfo);
		case PAGE_AFTER_SEQ:
			return msg_plan_return(&after_plan, values, NULL, fcinfo);
	}
	pg_unreachable();
}

/*
 * list_changes(conversation_id uuid, since_version bigint, max integer,
 *				epoch text): setof messages
 *
 * A message that changed more than once comes once, as it is now.  A change
 * may be in any month, so all of them are opened, but not when there is
 * nothing new, which is what a client that comes back mostly hears.
 */
PG_FUNCTION_INFO_V1(msg_list_changes);

Datum
msg_list_changes(PG_FUNCTION_ARGS)
{
	static MsgPlan news_plan = MSG_PLAN(
		"SELECT p.profile_id IS NOT NULL, c.last_version > $3"
		" FROM conversations c LEFT JOIN conversation_participants p"
		" ON p.conversation_id = c.id AND p.profile_id = $2 WHERE c.id = $1",
		UUIDOID, UUIDOID, INT8OID);
	static MsgPlan changes_plan = MSG_PLAN(
		"SELECT m.* FROM messages m WHERE conversation_id = $1 AND version > $2"
		" ORDER BY version LIMIT $3",
		UUIDOID, INT8OID, INT8OID);

	Datum		conversation_id = UUIDPGetDatum(msg_uuid_argument(fcinfo, 0,
																  "conversation_id"));
	Datum		since = Int64GetDatum(msg_position_argument(fcinfo, 1,
															"since_version"));
	Datum		rows = Int64GetDatum(msg_page_argument(fcinfo, 2));
	MsgCaller	caller = msg_caller();
	Datum		asked[] = {
		conversation_id, UUIDPGetDatum(&caller.profile_id), since
	};
	Datum		wanted[] = {conversation_id, since, rows};

	InitMaterializedSRF(fcinfo, 0);
	SPI_connect();
	if (msg_plan_read(&news_plan, asked, NULL) == 0 ||
		!(caller.is_service || msg_plan_bool(1)))
		msg_refuse_sight(&caller);
	if (!PG_ARGISNULL(3))
		msg_require_epoch(PG_GETARG_TEXT_PP(3));
	if (msg_plan_bool(2))
		msg_plan_return(&changes_plan, wanted, NULL, fcinfo);
	SPI_finish();
	return (Datum) 0;
}
