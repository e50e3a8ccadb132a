/*-------------------------------------------------------------------------
 *
 * messages.c
 *	  SQL-callable functions that send and change messages.
 *
 * What may be written is decided by the triggers of the tables, so that a
 * direct INSERT or UPDATE obeys as well.  The functions here check their
 * arguments, find out who calls, and make retries harmless.
 *
 * Retries are made harmless by message_keys.c, and before the rate limit is
 * looked at: a retry of an accepted message is none of its business.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "arguments.h"
#include "callers.h"
#include "compat.h"
#include "identity.h"
#include "log.h"
#include "messages.h"
#include "partitions.h"
#include "spi_plans.h"
#include "uuid7.h"

/* send_message's arguments, in their order. */
enum
{
	SEND_CONVERSATION,
	SEND_CONTENT,
	SEND_TYPE,
	SEND_REPLY,
	SEND_METADATA,
	SEND_KEY,
};

static void check_send_arguments(FunctionCallInfo fcinfo,
								 const MsgCaller *caller);
static bool claim_key(FunctionCallInfo fcinfo, const MsgCaller *caller,
					  pg_uuid_t *message_id);
static void insert_message(FunctionCallInfo fcinfo, const MsgCaller *caller,
						   const pg_uuid_t *message_id);
static void select_message(const pg_uuid_t *message_id);
static void require_message(const MsgCaller *caller,
							const pg_uuid_t *message_id, bool admin_may);
static void require_version(const pg_uuid_t *message_id, int64 version);

/*
 * send_message(conversation_id uuid, content text, content_type text,
 *				reply_to_message_id uuid, metadata jsonb,
 *				client_message_id text): messages
 */
PG_FUNCTION_INFO_V1(msg_send_message);

Datum
msg_send_message(PG_FUNCTION_ARGS)
{
	MsgCaller	caller;
	pg_uuid_t	message_id;

	msg_hide_statement();
	caller = msg_caller();
	check_send_arguments(fcinfo, &caller);
	msg_partition_ensure_current();
	msg_uuid_v7(&message_id);

	SPI_connect();
	if (claim_key(fcinfo, &caller, &message_id))
		insert_message(fcinfo, &caller, &message_id);
	else
	{
		msg_require_sight(&caller, PG_GETARG_UUID_P(SEND_CONVERSATION));
		select_message(&message_id);
	}
	return msg_plan_finish();
}

static void
check_send_arguments(FunctionCallInfo fcinfo, const MsgCaller *caller)
{
	msg_require_argument(fcinfo, SEND_CONVERSATION, "conversation_id");
	msg_require_argument(fcinfo, SEND_CONTENT, "content");
	msg_require_argument(fcinfo, SEND_TYPE, "content_type");

	msg_check_content_type(PG_GETARG_TEXT_PP(SEND_TYPE), caller->is_service);
	msg_check_content(PG_GETARG_TEXT_PP(SEND_CONTENT),
					  PG_GETARG_TEXT_PP(SEND_TYPE));
	if (!PG_ARGISNULL(SEND_METADATA))
		msg_check_object(PG_GETARG_JSONB_P(SEND_METADATA), "metadata");
	if (!PG_ARGISNULL(SEND_KEY))
		msg_check_key(PG_GETARG_TEXT_PP(SEND_KEY));
}

/*
 * Take the client's id for this message.  When it is taken already, tell by
 * which message; without one there is nothing to take.
 */
static bool
claim_key(FunctionCallInfo fcinfo, const MsgCaller *caller,
		  pg_uuid_t *message_id)
{
	MsgKey		key = {
		.conversation_id = PG_GETARG_DATUM(SEND_CONVERSATION),
		.sender = UUIDPGetDatum(&caller->profile_id),
		.client_message_id = PG_GETARG_DATUM(SEND_KEY)
	};

	if (PG_ARGISNULL(SEND_KEY))
		return true;

	return msg_claim_key(&key, message_id,
						 PG_GETARG_TEXT_PP(SEND_CONTENT),
						 PG_GETARG_TEXT_PP(SEND_TYPE),
						 PG_ARGISNULL(SEND_REPLY) ? NULL :
						 PG_GETARG_UUID_P(SEND_REPLY),
						 PG_ARGISNULL(SEND_METADATA) ? NULL :
						 PG_GETARG_JSONB_P(SEND_METADATA));
}

static void
insert_message(FunctionCallInfo fcinfo, const MsgCaller *caller,
			   const pg_uuid_t *message_id)
{
	static MsgPlan plan = MSG_PLAN(
		"INSERT INTO messages AS m (id, conversation_id, sender_profile_id,"
		" content, content_type, reply_to_message_id, metadata,"
		" client_message_id) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"
		" RETURNING m",
		UUIDOID, UUIDOID, UUIDOID, TEXTOID, TEXTOID, UUIDOID, JSONBOID,
		TEXTOID);

	Datum		values[] = {
		UUIDPGetDatum(message_id), PG_GETARG_DATUM(SEND_CONVERSATION),
		UUIDPGetDatum(&caller->profile_id), PG_GETARG_DATUM(SEND_CONTENT),
		PG_GETARG_DATUM(SEND_TYPE), PG_GETARG_DATUM(SEND_REPLY),
		PG_GETARG_DATUM(SEND_METADATA), PG_GETARG_DATUM(SEND_KEY)
	};
	char		nulls[] = {
		' ', ' ', caller->is_service ? 'n' : ' ', ' ', ' ',
		PG_ARGISNULL(SEND_REPLY) ? 'n' : ' ',
		PG_ARGISNULL(SEND_METADATA) ? 'n' : ' ',
		PG_ARGISNULL(SEND_KEY) ? 'n' : ' '
	};

	msg_announce_message(message_id);
	msg_plan_write(&plan, values, nulls);
}

/*
 * edit_message(message_id uuid, content text, expected_version bigint):
 *				messages
 */
PG_FUNCTION_INFO_V1(msg_edit_message);

Datum
msg_edit_message(PG_FUNCTION_ARGS)
{
	static MsgPlan plan = MSG_PLAN(
		"UPDATE messages AS m SET content = $2, is_edited = true"
		" WHERE id = $1 AND content <> $2 AND NOT is_deleted"
		" AND version = coalesce($3, version) RETURNING m",
		UUIDOID, TEXTOID, INT8OID);
	static MsgPlan unchanged_plan = MSG_PLAN(
		"SELECT m FROM messages m WHERE id = $1 AND NOT is_deleted",
		UUIDOID);

	pg_uuid_t  *message_id;
	MsgCaller	caller;
	Datum		values[] = {
		PG_GETARG_DATUM(0), PG_GETARG_DATUM(1), PG_GETARG_DATUM(2)
	};
	char		nulls[] = {' ', ' ', PG_ARGISNULL(2) ? 'n' : ' '};

	msg_hide_statement();
	message_id = msg_uuid_argument(fcinfo, 0, "message_id");
	caller = msg_caller();
	msg_require_argument(fcinfo, 1, "content");
	msg_check_content(PG_GETARG_TEXT_PP(1), NULL);

	SPI_connect();
	require_message(&caller, message_id, false);
	if (msg_plan_write(&plan, values, nulls) == 0)
	{
		if (!PG_ARGISNULL(2))
			require_version(message_id, PG_GETARG_INT64(2));
		if (msg_plan_write(&unchanged_plan, values, NULL) == 0)
			ereport(ERROR,
					errcode(ERRCODE_MSG_CONFLICT),
					errmsg("message has been deleted"));
	}
	return msg_plan_finish();
}

/*
 * delete_message(message_id uuid, expected_version bigint): messages
 *
 * The row stays, without its content.  Deleting again changes nothing.
 */
PG_FUNCTION_INFO_V1(msg_delete_message);

Datum
msg_delete_message(PG_FUNCTION_ARGS)
{
	static MsgPlan plan = MSG_PLAN(
		"UPDATE messages AS m SET is_deleted = true"
		" WHERE id = $1 AND NOT is_deleted"
		" AND version = coalesce($2, version) RETURNING m",
		UUIDOID, INT8OID);

	pg_uuid_t  *message_id = msg_uuid_argument(fcinfo, 0, "message_id");
	MsgCaller	caller = msg_caller();
	Datum		values[] = {UUIDPGetDatum(message_id), PG_GETARG_DATUM(1)};
	char		nulls[] = {' ', PG_ARGISNULL(1) ? 'n' : ' '};

	SPI_connect();
	require_message(&caller, message_id, true);
	if (msg_plan_write(&plan, values, nulls) == 0)
	{
		if (!PG_ARGISNULL(1))
			require_version(message_id, PG_GETARG_INT64(1));
		select_message(message_id);
	}
	return msg_plan_finish();
}

/*
 * The caller wants to change what he has seen.  Somebody else's change since
 * then is told as HTTP does: a precondition has failed.
 */
static void
require_version(const pg_uuid_t *message_id, int64 version)
{
	static MsgPlan plan = MSG_PLAN(
		"SELECT m.version = $2 FROM messages m WHERE id = $1",
		UUIDOID, INT8OID);
	Datum		values[] = {
		UUIDPGetDatum(message_id), Int64GetDatum(version)
	};

	if (msg_plan_write(&plan, values, NULL) > 0 && !msg_plan_bool(1))
		ereport(ERROR,
				errcode(ERRCODE_MSG_CHANGED),
				errmsg("message has another version"),
				errhint("Read it anew, and try again with its version."));
}

/*
 * To who may not see a message it does not exist.  Who sees it may change it
 * when it is his, or when he is a service; an admin may where that is said.
 */
static void
require_message(const MsgCaller *caller, const pg_uuid_t *message_id,
				bool admin_may)
{
	static MsgPlan plan = MSG_PLAN(
		"SELECT p.profile_id IS NOT NULL, p.role = 'admin',"
		" m.sender_profile_id = $2"
		" FROM messages m LEFT JOIN conversation_participants p"
		" ON p.conversation_id = m.conversation_id AND p.profile_id = $2"
		" WHERE m.id = $1",
		UUIDOID, UUIDOID);

	Datum		values[] = {
		UUIDPGetDatum(message_id), UUIDPGetDatum(&caller->profile_id)
	};

	if (msg_plan_write(&plan, values, NULL) == 0 ||
		!(caller->is_service || msg_plan_bool(1)))
		ereport(ERROR,
				errcode(ERRCODE_MSG_NOT_FOUND),
				errmsg("message does not exist"));

	if (!(caller->is_service || msg_plan_bool(3) ||
		  (admin_may && msg_plan_bool(2))))
		ereport(ERROR,
				errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				errmsg("only its sender may change a message"));
}

/*
 * mark_read(conversation_id uuid, up_to_seq bigint): conversation_participants
 *
 * The marker only moves forward, and not past the last message.  When it
 * does not move, nothing is written and nobody hears of it.
 */
PG_FUNCTION_INFO_V1(msg_mark_read);

Datum
msg_mark_read(PG_FUNCTION_ARGS)
{
	static MsgPlan plan = MSG_PLAN(
		"UPDATE conversation_participants AS p"
		" SET last_read_seq = least($3, c.last_seq),"
		" last_read_at = clock_timestamp()"
		" FROM conversations c WHERE c.id = p.conversation_id"
		" AND p.conversation_id = $1 AND p.profile_id = $2"
		" AND p.last_read_seq < least($3, c.last_seq) RETURNING p",
		UUIDOID, UUIDOID, INT8OID);
	static MsgPlan unchanged_plan = MSG_PLAN(
		"SELECT p FROM conversation_participants p"
		" WHERE conversation_id = $1 AND profile_id = $2",
		UUIDOID, UUIDOID);

	pg_uuid_t  *conversation_id = msg_uuid_argument(fcinfo, 0,
													"conversation_id");
	int64		up_to = PG_ARGISNULL(1) ? PG_INT64_MAX :
		msg_position_argument(fcinfo, 1, "up_to_seq");
	MsgCaller	caller = {.profile_id = msg_require_profile()};
	Datum		values[] = {
		UUIDPGetDatum(conversation_id), UUIDPGetDatum(&caller.profile_id),
		Int64GetDatum(up_to)
	};

	SPI_connect();
	if (msg_plan_write(&plan, values, NULL) == 0 &&
		msg_plan_write(&unchanged_plan, values, NULL) == 0)
		msg_refuse_sight(&caller);
	return msg_plan_finish();
}

static void
select_message(const pg_uuid_t *message_id)
{
	static MsgPlan plan = MSG_PLAN(
		"SELECT m FROM messages m WHERE id = $1",
		UUIDOID);
	Datum		values[] = {UUIDPGetDatum(message_id)};

	if (msg_plan_write(&plan, values, NULL) == 0)
		ereport(ERROR,
				errcode(ERRCODE_MSG_NOT_FOUND),
				errmsg("message does not exist"));
}
