/*-------------------------------------------------------------------------
 *
 * callers.c
 *	  Who calls one of our functions, and what they may do.
 *
 * The functions run as the owner of the extension (SECURITY DEFINER) and
 * check by themselves, with one look-up by key.  Under the caller's own role
 * every row would be judged by the policies, once a row, and the settings
 * that keep bodies out of the log could not be set.
 *
 * To who is no participant, a conversation that does not exist and one that
 * does are the same: both give 42501.  Only a service, which sees all of
 * them, is told that there is none (PT404).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "arguments.h"
#include "callers.h"
#include "compat.h"
#include "identity.h"
#include "spi_plans.h"

static MsgPlan conversation_plan = MSG_PLAN(
	"SELECT 1 FROM conversations WHERE id = $1",
	UUIDOID);

static MsgPlan participant_plan = MSG_PLAN(
	"SELECT 1 FROM conversation_participants"
	" WHERE conversation_id = $1 AND profile_id = $2",
	UUIDOID, UUIDOID);

#define LOCK_PARTICIPANT \
	"SELECT role = 'admin' FROM conversation_participants" \
	" WHERE conversation_id = $1 AND profile_id = $2"

static MsgPlan keep_plan = MSG_PLAN(
	LOCK_PARTICIPANT " FOR KEY SHARE",
	UUIDOID, UUIDOID);

static MsgPlan lock_plan = MSG_PLAN(
	LOCK_PARTICIPANT " FOR NO KEY UPDATE",
	UUIDOID, UUIDOID);

MsgCaller
msg_caller(void)
{
	MsgCaller	caller = {.is_service = msg_is_service()};

	if (!caller.is_service)
		caller.profile_id = msg_require_profile();
	return caller;
}

bool
msg_may_see(const MsgCaller *caller, const pg_uuid_t *conversation_id)
{
	Datum		values[] = {
		UUIDPGetDatum(conversation_id), UUIDPGetDatum(&caller->profile_id)
	};

	return msg_plan_read(caller->is_service ? &conversation_plan :
						 &participant_plan, values, NULL) > 0;
}

void
msg_require_sight(const MsgCaller *caller, const pg_uuid_t *conversation_id)
{
	if (!msg_may_see(caller, conversation_id))
		msg_refuse_sight(caller);
}

bool
msg_require_participant(const MsgCaller *caller,
						const pg_uuid_t *conversation_id,
						bool locks_conversation)
{
	Datum		values[] = {
		UUIDPGetDatum(conversation_id), UUIDPGetDatum(&caller->profile_id)
	};

	if (caller->is_service)
	{
		msg_require_sight(caller, conversation_id);
		return true;
	}

	if (msg_plan_write(locks_conversation ? &lock_plan : &keep_plan,
					   values, NULL) == 0)
		msg_refuse_sight(caller);
	return msg_plan_bool(1);
}

void
msg_refuse_sight(const MsgCaller *caller)
{
	if (caller->is_service)
		ereport(ERROR,
				errcode(ERRCODE_MSG_NOT_FOUND),
				errmsg("conversation does not exist"));
	else
		ereport(ERROR,
				errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				errmsg("not a participant of the conversation"));
}
