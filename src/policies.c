/*-------------------------------------------------------------------------
 *
 * policies.c
 *	  The question that every policy asks.
 *
 * It is asked once for each row that a statement reads, and mostly about the
 * same conversation as for the row before.  So the last answer is kept with
 * the call's expression, for as long as the snapshot and the profile are the
 * same.  Two snapshots of a session are when the newest transaction and the
 * number of running ones are: between them only running ones can have ended.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/snapmgr.h"

#include "callers.h"
#include "compat.h"
#include "identity.h"
#include "spi_plans.h"

typedef struct Question
{
	pg_uuid_t	conversation_id;
	pg_uuid_t	profile_id;
	TransactionId xmax;
	uint32		running;
	CommandId	command;
} Question;

typedef struct LastAnswer
{
	bool		is_there;
	Question	question;
	bool		is_participant;
} LastAnswer;

static Question make_question(const pg_uuid_t *conversation_id,
							  const pg_uuid_t *profile_id);

PG_FUNCTION_INFO_V1(msg_is_participant);

Datum
msg_is_participant(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *conversation_id = PG_GETARG_UUID_P(0);
	LastAnswer *last = fcinfo->flinfo->fn_extra;
	MsgCaller	caller = {.is_service = false};
	Question	question;

	if (!msg_current_profile(&caller.profile_id))
		PG_RETURN_BOOL(false);

	if (last == NULL)
	{
		last = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt,
									  sizeof(LastAnswer));
		fcinfo->flinfo->fn_extra = last;
	}

	question = make_question(conversation_id, &caller.profile_id);
	if (!last->is_there ||
		memcmp(&last->question, &question, sizeof(Question)) != 0)
	{
		last->is_there = false;
		SPI_connect();
		last->is_participant = msg_may_see(&caller, conversation_id);
		SPI_finish();
		last->question = question;
		last->is_there = true;
	}
	PG_RETURN_BOOL(last->is_participant);
}

static Question
make_question(const pg_uuid_t *conversation_id, const pg_uuid_t *profile_id)
{
	Snapshot	snapshot = GetActiveSnapshot();

	/* It has no padding, so it can be compared as bytes. */
	StaticAssertStmt(sizeof(Question) == 2 * UUID_LEN + 3 * sizeof(uint32),
					 "Question is padded");
	return (Question)
	{
		.conversation_id = *conversation_id,
		.profile_id = *profile_id,
		.xmax = snapshot->xmax,
		.running = snapshot->xcnt,
		.command = snapshot->curcid,
	};
}
