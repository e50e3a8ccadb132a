/*-------------------------------------------------------------------------
 *
 * revocations.c
 *	  Tokens that are not accepted any more, though they have not expired.
 *
 * A profile has one row in openhr_msg.token_revocations, once its tokens were
 * revoked: when that was.  A token tells when it was issued ("iat"), in whole
 * seconds, and is revoked when that is at or before the revocation; one that
 * does not tell is revoked by any.  So one row is enough, however many tokens
 * there are, and nobody has to know them.  A token that is issued in the very
 * second of a revocation is revoked, too: nothing tells which came first.
 *
 * The row's change in the WAL is what ends the channels that bear such a token,
 * at the commit's place among all others.  Sessions look at the table.
 *
 * They look at it here, below the executor: who speaks is asked in the name
 * of roles that may not read it, and often.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "arguments.h"
#include "callers.h"
#include "openhr_msg.h"
#include "revocations.h"
#include "spi_plans.h"

#define TABLE		"token_revocations"
#define TABLE_KEY	"token_revocations_pkey"

/* Columns. */
#define PROFILE_ID	1
#define REVOKED_AT	2

/*
 * revoke_tokens(profile_id uuid): timestamptz
 */
PG_FUNCTION_INFO_V1(msg_revoke_tokens);

Datum
msg_revoke_tokens(PG_FUNCTION_ARGS)
{
	/* Not now(): the transaction may have begun long before. */
	static MsgPlan plan = MSG_PLAN(
		"INSERT INTO openhr_msg.token_revocations AS r (profile_id, revoked_at)"
		" VALUES ($1, clock_timestamp())"
		" ON CONFLICT (profile_id) DO UPDATE"
		" SET revoked_at = greatest(r.revoked_at, excluded.revoked_at)"
		" RETURNING revoked_at",
		UUIDOID);

	MsgCaller	caller = msg_caller();
	pg_uuid_t  *profile_id = msg_uuid_argument(fcinfo, 0, "profile_id");
	Datum		values[] = {UUIDPGetDatum(profile_id)};
	Datum		revoked_at;
	bool		isnull;

	if (!caller.is_service &&
		memcmp(&caller.profile_id, profile_id, UUID_LEN) != 0)
		ereport(ERROR,
				errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				errmsg("only services may revoke the tokens of another profile"));

	SPI_connect();
	msg_plan_write(&plan, values, NULL);
	revoked_at = msg_plan_column(1, &isnull);
	SPI_finish();

	msg_wakeup_at_commit();
	PG_RETURN_DATUM(revoked_at);
}

/* Down to whole seconds since 1970; 'infinity' is later than any token. */
int64
msg_revocation_seconds(TimestampTz revoked_at)
{
	int64		usecs;

	if (TIMESTAMP_IS_NOEND(revoked_at))
		return PG_INT64_MAX;
	if (TIMESTAMP_IS_NOBEGIN(revoked_at))
		return 0;
	usecs = revoked_at + (int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) *
		USECS_PER_DAY;
	return Max(usecs / USECS_PER_SEC, 0);
}

/*
 * What is committed by now counts, whatever the transaction's snapshot, and
 * what the transaction itself has done does not: it has not committed.
 */
int64
msg_revoked_at(const pg_uuid_t *profile_id)
{
	Oid			schema = get_namespace_oid(MSG_SCHEMA, false);
	Oid			table_oid = get_relname_relid(TABLE, schema);
	Relation	table = table_open(table_oid, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	int64		revoked_at = 0;

	ScanKeyInit(&key, PROFILE_ID, BTEqualStrategyNumber, F_UUID_EQ,
				UUIDPGetDatum(profile_id));
	scan = systable_beginscan(table, get_relname_relid(TABLE_KEY, schema),
							  true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple) &&
		!TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetXmin(tuple->t_data)))
	{
		bool		isnull;
		Datum		value = heap_getattr(tuple, REVOKED_AT,
										 RelationGetDescr(table), &isnull);

		revoked_at = msg_revocation_seconds(DatumGetTimestampTz(value));
	}
	systable_endscan(scan);
	table_close(table, AccessShareLock);
	return revoked_at;
}

bool
msg_token_is_revoked(const pg_uuid_t *profile_id, int64 iat)
{
	int64		revoked_at = msg_revoked_at(profile_id);

	return revoked_at != 0 && iat <= revoked_at;
}
