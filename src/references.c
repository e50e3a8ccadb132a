/*-------------------------------------------------------------------------
 *
 * references.c
 *	  What foreign keys would do, in triggers.
 *
 * The document's schema has foreign keys between the tables of the chat, and
 * from them to profiles and matches.  A parallel restore loads the rows of an
 * extension's tables in no order that a foreign key could rely on, and its
 * check cannot be put off until the rows are there.  So the actions are
 * taken by triggers; that a profile and a match exist is one of the rules for
 * a new row (rules_conversations.c), and that a conversation exists is checked
 * here.
 *
 * Like those of a foreign key, the actions are nobody's writing: the rules
 * let them pass, whoever deleted the row that they follow.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "utils/rel.h"

#include "openhr_msg.h"
#include "rules.h"
#include "spi_plans.h"

/*
 * Run each of the statements with the id of the row that was deleted.  The
 * table may be the database's own, whose owner may have changed the column.
 */
static Datum
follow(FunctionCallInfo fcinfo, MsgPlan *plans, int nplans)
{
	RuleRow		row;
	Datum	   *id;

	rule_start(&row, fcinfo);
	if (SPI_gettypeid(row.desc, SPI_fnumber(row.desc, "id")) != UUIDOID)
		ereport(ERROR,
				errcode(ERRCODE_INVALID_TABLE_DEFINITION),
				errmsg("table has no column \"id\" of type uuid"));

	SPI_connect();
	id = rule_get(&row, row.old, "id");
	for (int i = 0; id != NULL && i < nplans; i++)
		rule_write_internal(&plans[i], id, NULL);
	SPI_finish();
	return PointerGetDatum(NULL);
}

PG_FUNCTION_INFO_V1(msg_profile_deleted);

/* It leaves its conversations; what it wrote stays, by nobody. */
Datum
msg_profile_deleted(PG_FUNCTION_ARGS)
{
	static MsgPlan plans[] = {
		MSG_PLAN("DELETE FROM conversation_participants WHERE profile_id = $1",
				 UUIDOID),
		MSG_PLAN("UPDATE conversations SET created_by = NULL"
				 " WHERE created_by = $1",
				 UUIDOID),
		MSG_PLAN("UPDATE messages SET sender_profile_id = NULL"
				 " WHERE sender_profile_id = $1",
				 UUIDOID),
		MSG_PLAN("DELETE FROM openhr_msg.client_messages"
				 " WHERE sender_profile_id = $1",
				 UUIDOID),
		MSG_PLAN("DELETE FROM openhr_msg.send_log WHERE profile_id = $1",
				 UUIDOID),
		MSG_PLAN("DELETE FROM openhr_msg.client_positions"
				 " WHERE profile_id = $1",
				 UUIDOID),
	};

	return follow(fcinfo, plans, lengthof(plans));
}

PG_FUNCTION_INFO_V1(msg_match_deleted);

Datum
msg_match_deleted(PG_FUNCTION_ARGS)
{
	static MsgPlan plans[] = {
		MSG_PLAN("UPDATE conversations SET match_id = NULL"
				 " WHERE match_id = $1",
				 UUIDOID),
	};

	return follow(fcinfo, plans, lengthof(plans));
}

PG_FUNCTION_INFO_V1(msg_conversation_deleted);

Datum
msg_conversation_deleted(PG_FUNCTION_ARGS)
{
	static MsgPlan plans[] = {
		MSG_PLAN("DELETE FROM conversation_participants"
				 " WHERE conversation_id = $1",
				 UUIDOID),
		MSG_PLAN("DELETE FROM messages WHERE conversation_id = $1",
				 UUIDOID),
		MSG_PLAN("DELETE FROM openhr_msg.client_messages"
				 " WHERE conversation_id = $1",
				 UUIDOID),
		MSG_PLAN("DELETE FROM openhr_msg.conversation_months"
				 " WHERE conversation_id = $1",
				 UUIDOID),
		MSG_PLAN("DELETE FROM openhr_msg.broadcasts"
				 " WHERE conversation_id = $1",
				 UUIDOID),
	};

	return follow(fcinfo, plans, lengthof(plans));
}

PG_FUNCTION_INFO_V1(msg_conversations_truncated);

/*
 * Not by TRUNCATE: that is refused for a table which the same command has
 * truncated along with the conversations.
 */
Datum
msg_conversations_truncated(PG_FUNCTION_ARGS)
{
	static const char *const tables[] = {
		"conversation_participants", "messages",
		"openhr_msg.client_messages", "openhr_msg.conversation_months",
		"openhr_msg.broadcasts"
	};

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				errmsg("function can only be called as a trigger"));

	SPI_connect();
	for (size_t i = 0; i < lengthof(tables); i++)
		if (SPI_execute(psprintf("DELETE FROM %s", tables[i]),
						false, 0) != SPI_OK_DELETE)
			elog(ERROR, "could not delete from \"%s\"", tables[i]);
	SPI_finish();
	msg_wakeup_at_commit();
	return PointerGetDatum(NULL);
}

PG_FUNCTION_INFO_V1(msg_participant_added);

/* Its conversation exists, and stays until the transaction ends. */
Datum
msg_participant_added(PG_FUNCTION_ARGS)
{
	static MsgPlan plan = MSG_PLAN(
		"SELECT FROM conversations WHERE id = $1 FOR KEY SHARE",
		UUIDOID);
	RuleRow		row;

	rule_start(&row, fcinfo);
	SPI_connect();
	if (msg_plan_write(&plan, rule_get(&row, row.new, "conversation_id"),
					   NULL) == 0)
		ereport(ERROR,
				errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
				errmsg("conversation does not exist"));
	SPI_finish();
	return PointerGetDatum(NULL);
}
