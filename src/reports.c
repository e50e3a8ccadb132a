/*-------------------------------------------------------------------------
 *
 * reports.c
 *	  Reports of messages that somebody finds abusive.
 *
 * Who may see a message may report it; to all others it does not exist.  A
 * profile has one report of a message: reporting it again changes reason and
 * severity, so a retry is harmless.  The text of the message is not copied.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"

#include "arguments.h"
#include "callers.h"
#include "compat.h"
#include "log.h"
#include "openhr_msg.h"
#include "spi_plans.h"

static void count_report(void);
static Datum find_conversation(const MsgCaller *caller,
							   const pg_uuid_t *message_id);

/*
 * report_message(message_id uuid, reason text, severity text): message_reports
 */
PG_FUNCTION_INFO_V1(msg_report_message);

Datum
msg_report_message(PG_FUNCTION_ARGS)
{
	static MsgPlan plan = MSG_PLAN(
		"INSERT INTO openhr_msg.message_reports AS r (message_id,"
		" conversation_id, reporter_profile_id, reason, severity)"
		" VALUES ($1, $2, $3, $4, $5)"
		" ON CONFLICT (message_id, reporter_profile_id) DO UPDATE"
		" SET reason = excluded.reason, severity = excluded.severity"
		" RETURNING r, r.xmax = 0,"
		" array_position(ARRAY['low', 'medium', 'high'], r.severity) - 1",
		UUIDOID, UUIDOID, UUIDOID, TEXTOID, TEXTOID);

	pg_uuid_t  *message_id;
	MsgCaller	caller;

	msg_hide_statement();
	message_id = msg_uuid_argument(fcinfo, 0, "message_id");
	caller = msg_caller();
	msg_require_argument(fcinfo, 1, "reason");
	msg_check_reason(PG_GETARG_TEXT_PP(1));
	msg_require_argument(fcinfo, 2, "severity");
	msg_check_severity(PG_GETARG_TEXT_PP(2));

	SPI_connect();
	{
		Datum		values[] = {
			UUIDPGetDatum(message_id), find_conversation(&caller, message_id),
			UUIDPGetDatum(&caller.profile_id), PG_GETARG_DATUM(1),
			PG_GETARG_DATUM(2)
		};
		char		nulls[] = {
			' ', ' ', caller.is_service ? 'n' : ' ', ' ', ' '
		};

		msg_plan_write(&plan, values, nulls);
		count_report();
	}
	return msg_plan_finish();
}

/* The one that was just written counts, unless it was there before. */
static void
count_report(void)
{
	bool		isnull;

	if (msg_plan_bool(2))
		msg_metrics_report(DatumGetInt32(msg_plan_column(3, &isnull)));
}

/* The conversation of a message that the caller may see. */
static Datum
find_conversation(const MsgCaller *caller, const pg_uuid_t *message_id)
{
	static MsgPlan plan = MSG_PLAN(
		"SELECT m.conversation_id FROM messages m WHERE m.id = $1"
		" AND ($3 OR EXISTS (SELECT FROM conversation_participants p"
		" WHERE p.conversation_id = m.conversation_id AND p.profile_id = $2))",
		UUIDOID, UUIDOID, BOOLOID);

	Datum		values[] = {
		UUIDPGetDatum(message_id), UUIDPGetDatum(&caller->profile_id),
		BoolGetDatum(caller->is_service)
	};
	bool		isnull;

	if (msg_plan_read(&plan, values, NULL) == 0)
		ereport(ERROR,
				errcode(ERRCODE_MSG_NOT_FOUND),
				errmsg("message does not exist"));
	return msg_plan_column(1, &isnull);
}
