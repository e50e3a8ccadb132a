/*-------------------------------------------------------------------------
 *
 * receipts.c
 *	  That messages have arrived, and were read.
 *
 * Two markers of a participant say it for all of a conversation at once:
 * last_delivered_seq and last_read_seq.  In a conversation of two the messages
 * themselves say it, too: delivered_at and read_at, the ticks that the sender
 * looks at.  A tick changes its message: it gets the next version, so that who
 * was away learns of it; but neither the message nor the conversation is any
 * younger for it (updated_at).  Ticks of one call are one change of the
 * conversation, with as many versions, in the order of seq.  A tombstone gets
 * no ticks.
 *
 * Reading is said by the reader, in the transaction that moves his marker.
 * Arriving is found out by a gateway, and comes in batches from an executor
 * (apply_receipts).  That one must not be in anybody's way, nor wait for
 * anybody: of what others have locked it lets go and says so, and the gateway
 * tells it again.
 *
 * Who changes a message has locked it when he asks for the conversation's
 * lock.  Ticks are made under that lock, so they must not wait for such a
 * message; it is passed over, and the change, once it has the lock, sees the
 * markers and makes the ticks (catch_up_ticks() in rules_messages.c).
 *
 * In a conversation with many participants each receipt would be a write, and
 * an event for everybody, for each message and participant.  Where there are
 * more than MAX_PARTICIPANTS nothing is written.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "pages.h"
#include "receipts.h"
#include "rules.h"
#include "spi_plans.h"

#define MAX_PARTICIPANTS	"50"	/* as in the gateway, realtime/acks.c */

/* Messages of one conversation that somebody has, or has read. */
typedef struct Receipt
{
	Datum		conversation_id;
	Datum		profile_id;
	Datum		first;
	Datum		last;
	int32		place;			/* in its batch */
} Receipt;

static bool lock_conversation(MsgPlan *plan, const Receipt *receipt,
							  pg_uuid_t *low, pg_uuid_t *high);
static void tick(MsgPlan *plan, const Receipt *receipt,
				 const pg_uuid_t *low, const pg_uuid_t *high);
static void move_markers(Datum *batch);
static int	find_ticks(Datum *batch, Receipt **receipts);
static void put_place(FunctionCallInfo fcinfo, int32 place);
static void put_unmoved(FunctionCallInfo fcinfo, Datum *batch);

#define LOCK \
	"SELECT" MSG_MONTHS_OF("$2", "$3") \
	" FROM conversations c WHERE c.id = $1 FOR NO KEY UPDATE OF c"

/*
 * The bounds of the id keep the months closed that have nothing of it; they
 * are those of pages.c.
 */
#define TICK(condition, assignments) \
	"WITH due AS MATERIALIZED (SELECT m.id, m.seq FROM messages m" \
	" WHERE m.conversation_id = $1 AND m.id >= $2 AND m.id < $3" \
	" AND m.seq >= $4 AND m.seq <= $5 AND m.sender_profile_id <> $6" \
	" AND NOT m.is_deleted AND m." condition " IS NULL" \
	" ORDER BY m.seq FOR NO KEY UPDATE SKIP LOCKED)," \
	" counted AS (UPDATE conversations SET last_version = last_version" \
	" + (SELECT count(*) FROM due)" \
	" WHERE id = $1 AND EXISTS (SELECT FROM due) RETURNING last_version)," \
	" numbered AS (SELECT id, last_version + 1" \
	" - row_number() OVER (ORDER BY seq DESC) AS version FROM due, counted)" \
	" UPDATE messages m SET version = n.version, " assignments \
	" FROM (SELECT * FROM numbered ORDER BY version) n WHERE m.id = n.id" \
	" AND m.conversation_id = $1 AND m.id >= $2 AND m.id < $3"

#define TICK_TYPES \
	UUIDOID, UUIDOID, UUIDOID, INT8OID, INT8OID, UUIDOID, TIMESTAMPTZOID

/* What was read has arrived. */
void
msg_tick_read(const pg_uuid_t *conversation_id, const pg_uuid_t *profile_id,
			  int64 first, int64 last)
{
	static MsgPlan lock_plan = MSG_PLAN(
		LOCK,
		UUIDOID, INT8OID, INT8OID);
	static MsgPlan tick_plan = MSG_CUSTOM_PLAN(
		TICK("read_at", "read_at = $7, delivered_at = coalesce(delivered_at, $7)"),
		TICK_TYPES);
	Receipt		receipt = {
		.conversation_id = UUIDPGetDatum(conversation_id),
		.profile_id = UUIDPGetDatum(profile_id),
		.first = Int64GetDatum(first),
		.last = Int64GetDatum(last)
	};
	pg_uuid_t	low;
	pg_uuid_t	high;

	if (lock_conversation(&lock_plan, &receipt, &low, &high))
		tick(&tick_plan, &receipt, &low, &high);
}

/* False: it is not there, or somebody else has the lock. */
static bool
lock_conversation(MsgPlan *plan, const Receipt *receipt,
				  pg_uuid_t *low, pg_uuid_t *high)
{
	Datum		values[] = {
		receipt->conversation_id, receipt->first, receipt->last
	};
	bool		isnull;
	Datum		month;

	if (msg_plan_write(plan, values, NULL) == 0)
		return false;
	msg_first_id(DatumGetTimestampTz(msg_plan_column(1, &isnull)), low);
	month = msg_plan_column(2, &isnull);
	if (isnull)
		msg_next_month_id(DatumGetTimestampTz(msg_plan_column(3, &isnull)),
						  high);
	else
		msg_first_id(DatumGetTimestampTz(month), high);
	return true;
}

/* Under the conversation's lock. */
static void
tick(MsgPlan *plan, const Receipt *receipt,
	 const pg_uuid_t *low, const pg_uuid_t *high)
{
	Datum		values[] = {
		receipt->conversation_id, UUIDPGetDatum(low), UUIDPGetDatum(high),
		receipt->first, receipt->last, receipt->profile_id,
		TimestampTzGetDatum(GetCurrentTimestamp())
	};

	rule_write_internal(plan, values, NULL);
}

/*
 * apply_receipts(conversation_ids uuid[], profile_ids uuid[],
 *				  first_seqs bigint[], last_seqs bigint[]): setof integer
 *
 * Returns the places in the arrays, from 0, of what could not be done without
 * waiting.  Doing again what was done does nothing.
 */
PG_FUNCTION_INFO_V1(msg_apply_receipts);

Datum
msg_apply_receipts(PG_FUNCTION_ARGS)
{
	static MsgPlan lock_plan = MSG_PLAN(
		LOCK " SKIP LOCKED",
		UUIDOID, INT8OID, INT8OID);
	static MsgPlan tick_plan = MSG_CUSTOM_PLAN(
		TICK("delivered_at", "delivered_at = $7"),
		TICK_TYPES);
	Datum		batch[] = {
		PG_GETARG_DATUM(0), PG_GETARG_DATUM(1),
		PG_GETARG_DATUM(2), PG_GETARG_DATUM(3)
	};
	Receipt    *receipts;
	int			n;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	SPI_connect();
	move_markers(batch);
	n = find_ticks(batch, &receipts);
	for (int i = 0; i < n; i++)
	{
		pg_uuid_t	low;
		pg_uuid_t	high;

		if (lock_conversation(&lock_plan, &receipts[i], &low, &high))
			tick(&tick_plan, &receipts[i], &low, &high);
		else
			put_place(fcinfo, receipts[i].place);
	}
	put_unmoved(fcinfo, batch);
	SPI_finish();
	return (Datum) 0;
}

#define BATCH_TYPES	UUIDARRAYOID, UUIDARRAYOID, INT8ARRAYOID, INT8ARRAYOID

#define BATCH \
	" FROM unnest($1, $2, $3, $4) WITH ORDINALITY" \
	" AS r(conversation_id, profile_id, first, last, place)"
#define FEW \
	" NOT EXISTS (SELECT FROM conversation_participants q" \
	" WHERE q.conversation_id = p.conversation_id OFFSET " MAX_PARTICIPANTS ")"

static void
move_markers(Datum *batch)
{
	static MsgPlan plan = MSG_PLAN(
		"WITH due AS MATERIALIZED (SELECT p.id, r.last"
		" FROM (SELECT conversation_id, profile_id, max(last) AS last"
		BATCH " GROUP BY 1, 2) r JOIN conversation_participants p"
		" ON p.conversation_id = r.conversation_id"
		" AND p.profile_id = r.profile_id"
		" WHERE p.last_delivered_seq < r.last AND" FEW
		" ORDER BY p.conversation_id, p.profile_id"
		" FOR NO KEY UPDATE OF p SKIP LOCKED)"
		" UPDATE conversation_participants p"
		" SET last_delivered_seq = greatest(p.last_delivered_seq, due.last)"
		" FROM due WHERE p.id = due.id",
		BATCH_TYPES);

	rule_write_internal(&plan, batch, NULL);
}

/* The receipts of participants in conversations of two. */
static int
find_ticks(Datum *batch, Receipt **receipts)
{
	static MsgPlan plan = MSG_PLAN(
		"SELECT r.conversation_id, r.profile_id, r.first, r.last,"
		" r.place::integer" BATCH
		" JOIN conversations c ON c.id = r.conversation_id"
		" AND c.type = 'one_to_one'"
		" JOIN conversation_participants p"
		" ON p.conversation_id = r.conversation_id"
		" AND p.profile_id = r.profile_id ORDER BY r.conversation_id, r.first",
		BATCH_TYPES);
	int			n = msg_plan_write(&plan, batch, NULL);
	Receipt    *found = palloc(n * sizeof(Receipt));

	/* Other statements are going to run, but the rows stay. */
	for (int i = 0; i < n; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		bool		isnull;

		found[i] = (Receipt)
		{
			.conversation_id = SPI_getbinval(row, desc, 1, &isnull),
			.profile_id = SPI_getbinval(row, desc, 2, &isnull),
			.first = SPI_getbinval(row, desc, 3, &isnull),
			.last = SPI_getbinval(row, desc, 4, &isnull),
			.place = DatumGetInt32(SPI_getbinval(row, desc, 5, &isnull)) - 1
		};
	}
	*receipts = found;
	return n;
}

static void
put_place(FunctionCallInfo fcinfo, int32 place)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Datum		value = Int32GetDatum(place);
	bool		isnull = false;

	tuplestore_putvalues(result->setResult, result->setDesc, &value, &isnull);
}

/* Those whose marker was locked, and has not got there in another way. */
static void
put_unmoved(FunctionCallInfo fcinfo, Datum *batch)
{
	static MsgPlan plan = MSG_PLAN(
		"SELECT r.place::integer - 1" BATCH
		" JOIN conversation_participants p"
		" ON p.conversation_id = r.conversation_id"
		" AND p.profile_id = r.profile_id"
		" WHERE p.last_delivered_seq < r.last AND" FEW,
		BATCH_TYPES);
	uint64		n = msg_plan_write(&plan, batch, NULL);

	for (uint64 i = 0; i < n; i++)
	{
		bool		isnull;

		put_place(fcinfo,
				  DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[i],
											  SPI_tuptable->tupdesc, 1,
											  &isnull)));
	}
}
