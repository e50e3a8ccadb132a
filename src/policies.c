/*-------------------------------------------------------------------------
 *
 * policies.c
 *	  The questions that policies ask.
 *
 * is_participant() is asked once for each row that a statement reads, and
 * mostly about the same conversation as for the row before.  So the last
 * answer is kept with the call's expression, for as long as the profile and
 * what the snapshot shows are the same: no transaction has ended in between,
 * and neither a command nor a subtransaction of the own one.  (An expression
 * of PL/pgSQL lives as long as its transaction.)
 *
 * The server's own count of ended transactions is lost when a snapshot is
 * copied, as every active one is.  But of the transactions before a snapshot's
 * xmax those that run only become fewer, so their number will do.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/snapmgr.h"

#include "callers.h"
#include "compat.h"
#include "identity.h"
#include "log.h"
#include "spi_plans.h"

typedef struct Question
{
	pg_uuid_t	conversation_id;
	pg_uuid_t	profile_id;
	TransactionId xmax;
	uint32		running;		/* transactions before xmax */
	int32		running_subs;	/* ... or these, on a standby */
	SubTransactionId subtransaction;
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

	msg_hide_statement();
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
	StaticAssertStmt(sizeof(Question) == 2 * UUID_LEN + 5 * sizeof(uint32),
					 "Question is padded");
	return (Question)
	{
		.conversation_id = *conversation_id,
		.profile_id = *profile_id,
		.xmax = snapshot->xmax,
		.running = snapshot->xcnt,
		.running_subs = snapshot->subxcnt,
		.subtransaction = GetCurrentSubTransactionId(),
		.command = snapshot->curcid,
	};
}

PG_FUNCTION_INFO_V1(msg_is_deserted);

/*
 * Until it has participants, who opened a conversation sees it: to read its
 * id from INSERT ... RETURNING, and to become the first of them.
 */
Datum
msg_is_deserted(PG_FUNCTION_ARGS)
{
	static MsgPlan plan = MSG_PLAN(
		"SELECT 1 FROM conversation_participants"
		" WHERE conversation_id = $1 LIMIT 1",
		UUIDOID);
	Datum		values[] = {PG_GETARG_DATUM(0)};
	bool		is_deserted;

	SPI_connect();
	is_deserted = msg_plan_read(&plan, values, NULL) == 0;
	SPI_finish();
	PG_RETURN_BOOL(is_deserted);
}
