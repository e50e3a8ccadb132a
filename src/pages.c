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
 * is longer than asked for.
 *
 * Deleted messages are part of every page, without their content, so that
 * pages are dense and a client hears of a deletion.
 *
 * All of these functions are STABLE: the check of who reads and the reading
 * see the same snapshot, the one of the calling query.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"

#include "arguments.h"
#include "callers.h"
#include "compat.h"
#include "spi_plans.h"

static MsgPlan *choose_page(FunctionCallInfo fcinfo, Datum *position);

/*
 * list_messages(conversation_id uuid, max integer, before timestamptz,
 *				 before_seq bigint, after_seq bigint): setof messages
 */
PG_FUNCTION_INFO_V1(msg_list_messages);

Datum
msg_list_messages(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *conversation_id = msg_uuid_argument(fcinfo, 0,
													"conversation_id");
	int			rows = msg_page_argument(fcinfo, 1);
	Datum		position;
	MsgPlan    *plan = choose_page(fcinfo, &position);
	MsgCaller	caller = msg_caller();
	Datum		values[] = {
		UUIDPGetDatum(conversation_id), position, Int64GetDatum(rows)
	};

	InitMaterializedSRF(fcinfo, 0);
	SPI_connect();
	msg_require_sight(&caller, conversation_id);
	msg_plan_return(plan, values, NULL, fcinfo);
	SPI_finish();
	return (Datum) 0;
}

static MsgPlan *
choose_page(FunctionCallInfo fcinfo, Datum *position)
{
	static MsgPlan before_plan = MSG_PLAN(
		"SELECT (page.m).* FROM (SELECT m FROM messages m"
		" WHERE conversation_id = $1 AND created_at < $2"
		" ORDER BY created_at DESC FETCH FIRST $3 ROWS WITH TIES) AS page"
		" ORDER BY (page.m).created_at DESC, (page.m).seq DESC",
		UUIDOID, TIMESTAMPTZOID, INT8OID);
	static MsgPlan before_seq_plan = MSG_PLAN(
		"SELECT m.* FROM messages m WHERE conversation_id = $1 AND seq < $2"
		" ORDER BY seq DESC LIMIT $3",
		UUIDOID, INT8OID, INT8OID);
	static MsgPlan after_seq_plan = MSG_PLAN(
		"SELECT m.* FROM messages m WHERE conversation_id = $1 AND seq > $2"
		" ORDER BY seq LIMIT $3",
		UUIDOID, INT8OID, INT8OID);

	if (!PG_ARGISNULL(2) + !PG_ARGISNULL(3) + !PG_ARGISNULL(4) > 1)
		ereport(ERROR,
				errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("only one of \"before\", \"before_seq\" and \"after_seq\" may be given"));

	if (!PG_ARGISNULL(2))
	{
		*position = PG_GETARG_DATUM(2);
		return &before_plan;
	}

	if (!PG_ARGISNULL(4))
	{
		*position = Int64GetDatum(msg_position_argument(fcinfo, 4,
														"after_seq"));
		return &after_seq_plan;
	}

	/* Without a position it is the newest page. */
	*position = Int64GetDatum(PG_ARGISNULL(3) ? PG_INT64_MAX :
							  msg_position_argument(fcinfo, 3, "before_seq"));
	return &before_seq_plan;
}

/*
 * list_changes(conversation_id uuid, since_version bigint, max integer):
 *				setof messages
 *
 * A message that changed more than once comes once, as it is now.
 */
PG_FUNCTION_INFO_V1(msg_list_changes);

Datum
msg_list_changes(PG_FUNCTION_ARGS)
{
	static MsgPlan plan = MSG_PLAN(
		"SELECT m.* FROM messages m WHERE conversation_id = $1 AND version > $2"
		" ORDER BY version LIMIT $3",
		UUIDOID, INT8OID, INT8OID);

	pg_uuid_t  *conversation_id = msg_uuid_argument(fcinfo, 0,
													"conversation_id");
	int64		since = msg_position_argument(fcinfo, 1, "since_version");
	int			rows = msg_page_argument(fcinfo, 2);
	MsgCaller	caller = msg_caller();
	Datum		values[] = {
		UUIDPGetDatum(conversation_id), Int64GetDatum(since),
		Int64GetDatum(rows)
	};

	InitMaterializedSRF(fcinfo, 0);
	SPI_connect();
	msg_require_sight(&caller, conversation_id);
	msg_plan_return(&plan, values, NULL, fcinfo);
	SPI_finish();
	return (Datum) 0;
}
