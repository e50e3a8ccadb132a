/*-------------------------------------------------------------------------
 *
 * epoch.c
 *	  How long places in conversations (seq, version) keep their meaning.
 *
 * A client keeps the last version that it has seen, and asks for what came
 * after.  That goes wrong when the tables are not the continuation of those it
 * was read from: after a restore from a backup, or a failover that lost
 * something, the same version may stand for another change.  The epoch tells:
 * it is made of what differs then, the server's system identifier, its
 * timeline, the database and the table.  It is hashed, as it says more about
 * the server than clients need to know.
 *
 * It errs on the safe side: a promotion ends an epoch even when nothing was
 * lost, and the client reads a conversation anew.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "access/xlogrecovery.h"
#include "catalog/namespace.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "arguments.h"
#include "epoch.h"
#include "openhr_msg.h"

/* No padding, as it is hashed. */
typedef struct Epoch
{
	uint64		system;
	uint32		timeline;
	uint32		database;
	uint32		table;
	uint32		zero;
} Epoch;

static TimeLineID
timeline(void)
{
	TimeLineID	id;

	if (!RecoveryInProgress())
		return GetWALInsertionTimeLine();
	(void) GetXLogReplayRecPtr(&id);
	return id;
}

static char *
present_epoch(void)
{
	Oid			schema = get_namespace_oid(MSG_SCHEMA, false);
	Epoch		epoch = {
		.system = GetSystemIdentifier(),
		.timeline = timeline(),
		.database = MyDatabaseId,
		.table = get_relname_relid("client_messages", schema)
	};

	return psprintf("%016" INT64_MODIFIER "x",
					hash_bytes_extended((unsigned char *) &epoch,
										sizeof(epoch), 0));
}

PG_FUNCTION_INFO_V1(msg_epoch);

Datum
msg_epoch(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(present_epoch()));
}

void
msg_require_epoch(const text *epoch)
{
	if (!msg_text_equals(epoch, present_epoch()))
		ereport(ERROR,
				errcode(ERRCODE_MSG_GONE),
				errmsg("position is from another epoch"),
				errdetail("Versions and places that were read before need not mean the same any more."),
				errhint("Read the conversation anew, by openhr_msg.list_messages(), and go on in the epoch that openhr_msg.epoch() returns."));
}
