/*-------------------------------------------------------------------------
 *
 * executor.c
 *	  The SQL that a gateway needs, so that the gateway itself never waits
 *	  for a lock, a disk or a plan.
 *
 * An executor takes calls from its gateway's link, one after the other, runs
 * each in a transaction of its own under a statement and a lock timeout, and
 * sends one reply a call.  An error ends that transaction and becomes a
 * reply that says what could not be done and nothing about the data; the
 * error itself goes to the server's log.
 *
 * What it runs here are the server's own questions and notes, about profiles
 * but not in their names.  What clients ask over HTTP is run in their names, and
 * with their rights only: executor_requests.c.
 *
 * The first executor also does the upkeep, one short step a turn, so that
 * calls do not wait for it: months of messages made ahead, old idempotency
 * keys, broadcasts, positions and departures removed, a look at what the server
 * may log.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "tcop/tcopprot.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "calls.h"
#include "catchup_calls.h"
#include "executor.h"
#include "link.h"
#include "revocations.h"
#include "worker.h"

#define LOCK_TIMEOUT_TEXT	"2s"
#define STEP_TIMEOUT		60000	/* milliseconds */

#define UPKEEP_EVERY		3600000 /* milliseconds */
#define UPKEEP_RETRY		300000

/* A profile in more conversations than this cannot subscribe. */
#define MAX_MEMBERSHIPS		100000

/* The reply's buffer is given back when a reply made it larger than this. */
#define KEEP_REPLY_BYTES	(256 * 1024)

static const char *const describe_query =
	"SELECT n.nspname::text,"
	" (SELECT concat('[', string_agg(format('{\"name\":%s,\"type\":%s}',"
	"   to_json(a.attname::text), to_json(t.typname::text)), ','"
	"   ORDER BY a.attnum), ']')"
	"  FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid"
	"  WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)"
	" FROM pg_extension e"
	" JOIN pg_namespace n ON n.oid = e.extnamespace"
	" CROSS JOIN unnest(ARRAY['conversations', 'conversation_participants',"
	"  'messages']) WITH ORDINALITY AS want(name, place)"
	" JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = want.name"
	" WHERE e.extname = '" MSG_EXTENSION "' ORDER BY want.place";

static const char *const load_user_query =
	"SELECT conversation_id FROM %s.conversation_participants"
	" WHERE profile_id = $1";

static const char *const receipts_query =
	"SELECT place FROM " MSG_SCHEMA ".apply_receipts($1, $2, $3, $4) AS place";

static const char *const make_ahead_query =
	"SELECT " MSG_SCHEMA ".create_partitions()";

/* What pg_upgrade lost; see adopt.c.  Does nothing when nothing is missing. */
static const char *const adopt_tables_query =
	"SELECT " MSG_SCHEMA ".adopt_tables()";

static const char *const check_log_query =
	"SELECT string_agg(DISTINCT setting, ', ' ORDER BY setting)"
	" FROM " MSG_SCHEMA ".check_log_settings() WHERE level = 'warning'";

static const char *const remove_old_queries[] = {
	"DELETE FROM " MSG_SCHEMA ".client_messages WHERE ctid = ANY (ARRAY("
	"SELECT ctid FROM " MSG_SCHEMA ".client_messages"
	" WHERE created_at < now() - interval '7 days' LIMIT 1000))",

	"DELETE FROM " MSG_SCHEMA ".broadcasts WHERE ctid = ANY (ARRAY("
	"SELECT ctid FROM " MSG_SCHEMA ".broadcasts"
	" WHERE id < " MSG_SCHEMA ".uuid_v7_floor(now() - interval '72 hours')"
	" LIMIT 1000))",

	"DELETE FROM " MSG_SCHEMA ".client_positions WHERE ctid = ANY (ARRAY("
	"SELECT ctid FROM " MSG_SCHEMA ".client_positions"
	" WHERE seen_at < now() - interval '30 days' LIMIT 10000"
	" FOR UPDATE SKIP LOCKED))",

	/* A day longer than any position that could need them. */
	"DELETE FROM " MSG_SCHEMA ".departures WHERE ctid = ANY (ARRAY("
	"SELECT ctid FROM " MSG_SCHEMA ".departures"
	" WHERE id < " MSG_SCHEMA ".uuid_v7_floor(now() - interval '31 days')"
	" LIMIT 1000))"
};

/* Saved plans; they name the extension's schema, so they go with it. */
static SPIPlanPtr describe_plan = NULL;
static SPIPlanPtr load_user_plan = NULL;
static SPIPlanPtr receipts_plan = NULL;

static uint32 extension_seen;	/* of msg_shared->extension_changes */
static bool extension_there;

static StringInfoData reply;	/* MsgReply and its payload */

/* Upkeep: what is next, and when. */
static enum
{
	MAKE_AHEAD,
	REMOVE_OLD,
	ADOPT_TABLES,
	CHECK_LOG,
	STEPS
}			next_step;
static TimestampTz next_time;

typedef void (*Work) (void *arg);

typedef struct Receipts
{
	const MsgReceipt *items;
	int			n;
} Receipts;

static void look_for_extension(void);
static MsgLink *serve(MsgLink *link);
static bool send_reply(MsgLink *link);
static void answer(const MsgCall *call, const void *payload);
static void count_call(const MsgCall *call, TimestampTz since);
static void describe(void *arg);
static void load_user(void *arg);
static void apply_receipts(void *arg);
static long upkeep(void);
static void make_ahead(void *arg);
static void adopt_tables(void *arg);
static void remove_old(void *arg);
static void check_log(void *arg);
static bool run(Work work, void *arg, const char *activity, int timeout);

void
msg_executor_main(Datum arg)
{
	MsgLink    *link = NULL;

	msg_worker_start(DatumGetInt32(arg));
	SetConfigOption("lock_timeout", LOCK_TIMEOUT_TEXT,
					PGC_SUSET, PGC_S_OVERRIDE);
	MemoryContextSwitchTo(TopMemoryContext);
	initStringInfo(&reply);
	msg_request_init();

	extension_seen = pg_atomic_read_u32(&msg_shared->extension_changes) - 1;
	for (;;)
	{
		long		timeout;

		msg_worker_interrupts();
		look_for_extension();
		link = serve(msg_link_attach(msg_worker, link));
		timeout = upkeep();
		pgstat_report_stat(true);
		msg_worker_wait(timeout);
	}
}

static void
drop_plan(SPIPlanPtr *plan)
{
	if (*plan)
		SPI_freeplan(*plan);
	*plan = NULL;
}

static void
look_for_extension(void)
{
	uint32		changes = pg_atomic_read_u32(&msg_shared->extension_changes);

	if (changes == extension_seen)
		return;

	extension_seen = changes;
	extension_there = msg_worker_extension_exists();
	SetLatch(MyLatch);			/* look again before sleeping */
	drop_plan(&describe_plan);
	drop_plan(&load_user_plan);
	drop_plan(&receipts_plan);
	msg_request_forget_plans();
	next_step = MAKE_AHEAD;
	next_time = GetCurrentTimestamp();
	msg_worker_set_state(extension_there ?
						 MSG_WORKER_RUNNING : MSG_WORKER_WAITING);
}

/* Answer every call that waits; returns the link, or NULL when it broke. */
static MsgLink *
serve(MsgLink *link)
{
	MsgLinkResult result = MSG_LINK_OK;

	while (link)
	{
		TimestampTz since;
		MsgCall		call;
		Size		len;
		void	   *data;

		result = msg_link_receive(link, &len, &data);
		if (result != MSG_LINK_OK)
			break;

		if (len < sizeof(call))
			elog(ERROR, "call of %zu bytes from gateway", len);
		memcpy(&call, data, sizeof(call));
		if (len != sizeof(call) + call.len)
			elog(ERROR, "call of %zu bytes from gateway", len);

		since = GetCurrentTimestamp();
		answer(&call, (char *) data + sizeof(call));
		count_call(&call, since);
		if (!send_reply(link))
		{
			result = MSG_LINK_BROKEN;
			break;
		}
		msg_worker_interrupts();
	}

	msg_request_flush();
	if (result != MSG_LINK_BROKEN)
		return link;
	msg_link_close(link);
	return NULL;
}

static bool
send_reply(MsgLink *link)
{
	MsgLinkResult result;

	for (;;)
	{
		result = msg_link_send(link, reply.len, reply.data);
		if (result != MSG_LINK_WOULD_BLOCK)
			break;
		msg_worker_wait(-1);
	}

	/* The wait may have taken a wake-up that was meant for the main loop. */
	SetLatch(MyLatch);

	if (reply.maxlen > KEEP_REPLY_BYTES)
	{
		pfree(reply.data);
		initStringInfo(&reply);
	}
	return result == MSG_LINK_OK;
}

/* Fill reply. */
static void
answer(const MsgCall *call, const void *payload)
{
	const char *failed = NULL;
	MsgReply	header = {
		.ticket = call->ticket,
		.kind = call->kind,
	};

	resetStringInfo(&reply);
	appendBinaryStringInfo(&reply, (char *) &header, sizeof(header));

	if (!extension_there)
		failed = "the extension does not exist";
	else if (call->kind == MSG_CALL_LOAD_USER)
	{
		if (!run(load_user, (void *) call->profile_id,
				 "loading memberships", MSG_CALL_TIMEOUT))
			failed = "could not read the memberships";
	}
	else if (call->kind == MSG_CALL_DESCRIBE)
	{
		if (!run(describe, NULL, "describing tables", MSG_CALL_TIMEOUT))
			failed = "could not read the definition of the tables";
	}
	else if (call->kind == MSG_CALL_RECEIPTS)
	{
		Receipts	receipts = {payload, call->len / sizeof(MsgReceipt)};

		if (!run(apply_receipts, &receipts, "writing receipts",
				 MSG_CALL_TIMEOUT))
			failed = "could not write receipts";
	}
	else if (msg_is_catchup_call(call->kind))
	{
		MsgCatchUpCall catchup = {call, payload, &reply};

		if (!run(msg_answer_catchup, &catchup, "catching up",
				 MSG_CALL_TIMEOUT))
			failed = "could not catch up";
	}
	else if (call->kind == MSG_CALL_REQUEST)
		msg_request_serve(call, payload, &reply);
	else
		failed = "unknown call";

	header.status = MSG_REPLY_OK;
	if (failed)
	{
		header.status = MSG_REPLY_ERROR;
		reply.len = sizeof(header);
		appendStringInfoString(&reply, failed);
	}
	header.len = reply.len - sizeof(header);
	memcpy(reply.data, &header, sizeof(header));
}

/* It is answered, in reply. */
static void
count_call(const MsgCall *call, TimestampTz since)
{
	MsgMetrics *metrics = &msg_worker->metrics;
	int			kind = call->kind < MSG_CALL_KINDS ? call->kind : 0;

	msg_metrics_add(&msg_worker->events, 1);
	msg_metrics_count(metrics, MSG_COUNT_CALLS + kind, 1);
	msg_metrics_time(metrics, MSG_LATENCY_CALL,
					 GetCurrentTimestamp() - since, 1);
	if (((MsgReply *) reply.data)->status != MSG_REPLY_OK)
		msg_metrics_count(metrics, MSG_COUNT_CALLS_FAILED, 1);
}

static SPIPlanPtr
save_plan(const char *query, int nargs, Oid *types)
{
	SPIPlanPtr	plan = SPI_prepare(query, nargs, types);

	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s",
			 SPI_result_code_string(SPI_result));
	if (SPI_keepplan(plan) != 0)
		elog(ERROR, "SPI_keepplan failed");
	return plan;
}

static void
expect_select(int result)
{
	if (result != SPI_OK_SELECT)
		elog(ERROR, "query failed: %s", SPI_result_code_string(result));
}

/* One row for each of our tables: schema, columns. */
static void
run_describe(void)
{
	if (describe_plan == NULL)
		describe_plan = save_plan(describe_query, 0, NULL);
	expect_select(SPI_execute_plan(describe_plan, NULL, NULL, true, 0));
	if (SPI_processed != EVENT_TABLES)
		ereport(ERROR,
				errcode(ERRCODE_UNDEFINED_OBJECT),
				errmsg("extension \"%s\" does not exist", MSG_EXTENSION));
}

static void
describe(void *arg)
{
	TupleDesc	desc;
	char	   *schema;

	run_describe();
	desc = SPI_tuptable->tupdesc;
	schema = SPI_getvalue(SPI_tuptable->vals[0], desc, 1);
	appendBinaryStringInfo(&reply, schema, strlen(schema) + 1);

	for (int i = 0; i < EVENT_TABLES; i++)
	{
		char	   *columns = SPI_getvalue(SPI_tuptable->vals[i], desc, 2);
		uint32		len = strlen(columns);

		appendBinaryStringInfo(&reply, (char *) &len, sizeof(len));
		appendBinaryStringInfo(&reply, columns, len);
	}
}

static SPIPlanPtr
plan_load_user(void)
{
	Oid			types[] = {UUIDOID};
	char	   *schema;

	run_describe();
	schema = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	return save_plan(psprintf(load_user_query, quote_identifier(schema)),
					 lengthof(types), types);
}

/*
 * The query sees exactly the active snapshot.  The fence is read after it was
 * taken: a commit that the snapshot sees has its record before the fence.  (A
 * revocation may also be a later one, as it does no harm to hear of it twice.)
 */
static void
load_user(void *arg)
{
	Datum		values[] = {UUIDPGetDatum((pg_uuid_t *) arg)};
	Snapshot	snapshot = GetActiveSnapshot();
	event_snapshot head = {
		.fence = GetXLogInsertRecPtr(),
		.revoked_at = msg_revoked_at(arg),
		.xmin = snapshot->xmin,
		.xmax = snapshot->xmax,
		.nxip = snapshot->xcnt,
	};

	if (load_user_plan == NULL)
		load_user_plan = plan_load_user();
	expect_select(SPI_execute_plan(load_user_plan, values, NULL, true,
								   MAX_MEMBERSHIPS + 1));
	if (SPI_processed > MAX_MEMBERSHIPS)
		ereport(ERROR,
				errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				errmsg("a profile is in more than %d conversations",
					   MAX_MEMBERSHIPS));

	head.nids = SPI_processed;
	appendBinaryStringInfo(&reply, (char *) &head, sizeof(head));
	appendBinaryStringInfo(&reply, (char *) snapshot->xip,
						   snapshot->xcnt * sizeof(TransactionId));
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;
		Datum		id = SPI_getbinval(SPI_tuptable->vals[i],
									   SPI_tuptable->tupdesc, 1, &isnull);

		appendBinaryStringInfo(&reply, (char *) DatumGetUUIDP(id), UUID_LEN);
	}
}

static void
receipts_arrays(const Receipts *receipts, Datum arrays[4])
{
	Datum	   *columns[4];

	for (int i = 0; i < 4; i++)
		columns[i] = palloc(receipts->n * sizeof(Datum));
	for (int i = 0; i < receipts->n; i++)
	{
		const MsgReceipt *r = &receipts->items[i];

		columns[0][i] = UUIDPGetDatum((pg_uuid_t *) r->conversation_id);
		columns[1][i] = UUIDPGetDatum((pg_uuid_t *) r->profile_id);
		columns[2][i] = Int64GetDatum(r->first);
		columns[3][i] = Int64GetDatum(r->last);
	}
	for (int i = 0; i < 4; i++)
		arrays[i] = PointerGetDatum(i < 2 ?
									construct_array(columns[i], receipts->n,
													UUIDOID, UUID_LEN, false,
													TYPALIGN_CHAR) :
									construct_array(columns[i], receipts->n,
													INT8OID, sizeof(int64),
													FLOAT8PASSBYVAL,
													TYPALIGN_DOUBLE));
}

/*
 * A receipt that a crash takes back is no harm: the next one, or the reader,
 * says the same.  So nobody waits for the disk.
 */
static void
apply_receipts(void *arg)
{
	Oid			types[] = {
		UUIDARRAYOID, UUIDARRAYOID, INT8ARRAYOID, INT8ARRAYOID
	};
	Datum		arrays[4];

	(void) set_config_option("synchronous_commit", "off", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
	if (receipts_plan == NULL)
		receipts_plan = save_plan(receipts_query, lengthof(types), types);
	receipts_arrays(arg, arrays);
	expect_select(SPI_execute_plan(receipts_plan, arrays, NULL, false, 0));
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;
		uint32		place = DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[i],
														SPI_tuptable->tupdesc,
														1, &isnull));

		appendBinaryStringInfo(&reply, (char *) &place, sizeof(place));
	}
}

/*
 * Do what is due; returns for how many milliseconds there is nothing to do
 * (-1: upkeep is not ours).
 */
static long
upkeep(void)
{
	bool		more = false;
	bool		done;

	if (msg_worker->gateway != 0 || msg_worker->number != 0 ||
		!extension_there)
		return -1;

	if (GetCurrentTimestamp() >= next_time)
	{
		if (next_step == MAKE_AHEAD)
			done = run(make_ahead, NULL, "making months ahead", STEP_TIMEOUT);
		else if (next_step == REMOVE_OLD)
			done = run(remove_old, &more, "removing what is old", STEP_TIMEOUT);
		else if (next_step == ADOPT_TABLES)
			done = run(adopt_tables, NULL, "looking at profiles and matches",
					   STEP_TIMEOUT);
		else
			done = run(check_log, NULL, "looking at settings of the log",
					   STEP_TIMEOUT);

		if (done && !more)
			next_step++;
		if (!done || next_step == STEPS)
		{
			next_step = MAKE_AHEAD;
			next_time = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
													done ? UPKEEP_EVERY :
													UPKEEP_RETRY);
		}
	}

	return TimestampDifferenceMilliseconds(GetCurrentTimestamp(), next_time);
}

static void
make_ahead(void *arg)
{
	expect_select(SPI_execute(make_ahead_query, false, 0));
}

static void
adopt_tables(void *arg)
{
	expect_select(SPI_execute(adopt_tables_query, false, 0));
}

/* Say once, and again when it is something else. */
static void
check_log(void *arg)
{
	static char *said = NULL;
	char	   *found;

	expect_select(SPI_execute(check_log_query, true, 0));
	found = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	if (found != NULL && (said == NULL || strcmp(found, said) != 0))
		ereport(WARNING,
				errmsg("the text of messages may get into the server's log, because of %s",
					   found),
				errhint("openhr_msg.check_log_settings() tells more."));
	if (said != NULL)
		pfree(said);
	said = found ? MemoryContextStrdup(TopMemoryContext, found) : NULL;
}

/* *arg tells whether there may be more to remove. */
static void
remove_old(void *arg)
{
	uint64		removed = 0;

	for (size_t i = 0; i < lengthof(remove_old_queries); i++)
	{
		int			result = SPI_execute(remove_old_queries[i], false, 0);

		if (result != SPI_OK_DELETE)
			elog(ERROR, "query failed: %s", SPI_result_code_string(result));
		removed += SPI_processed;
	}
	*(bool *) arg = removed > 0;
}

/*
 * Run work in a transaction of its own, with a snapshot and SPI; false when
 * it failed, which is logged here.  Waits within it may take wake-ups that
 * were meant for the main loop, so leave the latch set.
 *
 * Only work can be cancelled, by its timeout or by pg_cancel_backend(): at any
 * other time there is nobody who would catch the error.
 */
static bool
run(Work work, void *arg, const char *activity, int timeout)
{
	volatile bool done = false;

	pgstat_report_activity(STATE_RUNNING, activity);
	pqsignal(SIGINT, StatementCancelHandler);
	PG_TRY();
	{
		SetCurrentStatementStartTimestamp();
		StartTransactionCommand();
		enable_timeout_after(STATEMENT_TIMEOUT, timeout);
		PushActiveSnapshot(GetTransactionSnapshot());
		if (SPI_connect() != SPI_OK_CONNECT)
			elog(ERROR, "SPI_connect failed");

		work(arg);

		SPI_finish();
		PopActiveSnapshot();
		disable_timeout(STATEMENT_TIMEOUT, false);
		CommitTransactionCommand();
		done = true;
	}
	PG_CATCH();
	{
		HOLD_INTERRUPTS();
		disable_all_timeouts(false);
		MemoryContextSwitchTo(TopMemoryContext);
		EmitErrorReport();
		AbortCurrentTransaction();
		FlushErrorState();
		RESUME_INTERRUPTS();
	}
	PG_END_TRY();

	/* A cancel that struck in the last moment is not for what comes next. */
	pqsignal(SIGINT, SIG_IGN);
	QueryCancelPending = false;
	SetLatch(MyLatch);
	MemoryContextSwitchTo(TopMemoryContext);
	pgstat_report_activity(STATE_IDLE, NULL);
	return done;
}
