/*-------------------------------------------------------------------------
 *
 * partitions.c
 *	  The months of messages: making them ahead of time, and on demand.
 *
 * openhr_msg.create_partitions() makes the present month and the next ones,
 * and every month that rows in the default partition wait for.  A worker
 * calls it now and then, so a sender finds its month nearly always.  When it
 * does not (the first message of all, or no worker serves this database), the
 * sender has a background process make it, in a transaction of its own:
 * attaching a partition locks the default partition against everybody until
 * the end of the transaction, and a sender's may stay open for long.  Only
 * when that failed does the sender try by itself; and when that fails as
 * well, since somebody reads the default partition right now, the message
 * goes there.  A send never fails for a missing month.
 *
 * Locks.  A table for the month is built on the side, then attached: that
 * needs ShareUpdateExclusiveLock on messages, which senders and readers do
 * not notice and of which there is one at a time, so two makers take turns;
 * and AccessExclusiveLock on the default partition, for which the function's
 * lock_timeout waits a moment only, since everybody else queues behind.  For
 * its turn it waits longer, but not for as long as an ANALYZE may take.
 *
 * Rows that wait in the default partition are moved before the month is
 * attached.  That changes nothing that anybody can see, so the move fires no
 * triggers (session_replication_role of the function), and its WAL records
 * carry the origin that is never replicated, which our output plugin skips.
 *
 * A month is an ordinary table and no member of the extension: pg_dump dumps
 * it, and attaches it to the messages that CREATE EXTENSION made.  Hence two
 * precautions.  No table becomes a member of an extension whose script
 * happens to send a message.  And the worker makes nothing while there are no
 * messages, as it could otherwise make a month between the CREATE EXTENSION
 * of a restore and the same month's CREATE TABLE.
 *
 * A month that was detached keeps its name, and is not made again.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "parser/parse_func.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "replication/origin.h"
#include "storage/lmgr.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "openhr_msg.h"
#include "partitions.h"
#include "uuid7.h"

#define DEFAULT_PARTITION	"messages_default"
#define MONTHS_AHEAD		2
#define MAX_MONTHS_AHEAD	120

/* How long a maker waits for its turn. */
#define TURN_TIMEOUT		"2s"

/* After a month could not be made, how long a session does without. */
#define RETRY_SECONDS		30

/*
 * A month's table: 1 its name, 2 the parent.  What the parent has is copied;
 * what the partitions have of their own is the same in sql/30-tables.sql.
 */
static const char build_month[] =
"CREATE TABLE " MSG_SCHEMA ".%1$s (LIKE %2$s INCLUDING COMMENTS"
" INCLUDING COMPRESSION INCLUDING CONSTRAINTS INCLUDING DEFAULTS"
" INCLUDING GENERATED INCLUDING STORAGE);"
"ALTER TABLE " MSG_SCHEMA ".%1$s"
" ADD CONSTRAINT %1$s_pkey PRIMARY KEY (id);"
"CREATE UNIQUE INDEX %1$s_seq_key"
" ON " MSG_SCHEMA ".%1$s (conversation_id, seq, id);"
"CREATE INDEX %1$s_version_idx"
" ON " MSG_SCHEMA ".%1$s (conversation_id, version);"
"CREATE INDEX %1$s_created_at_idx"
" ON " MSG_SCHEMA ".%1$s (conversation_id, created_at DESC);"
"ALTER TABLE " MSG_SCHEMA ".%1$s"
" REPLICA IDENTITY USING INDEX %1$s_seq_key;"
"ALTER TABLE " MSG_SCHEMA ".%1$s ENABLE ROW LEVEL SECURITY;"
"ALTER TABLE " MSG_SCHEMA ".%1$s FORCE ROW LEVEL SECURITY;"
"SELECT " MSG_SCHEMA ".revoke_grants('" MSG_SCHEMA ".%1$s');"
"COMMENT ON TABLE " MSG_SCHEMA ".%1$s IS"
" 'messages of one month (UTC), by the time in their ids';";

/* 1 the month's table, 2 its first id, 3 the next month's, 4 the columns. */
static const char move_rows[] =
"WITH moved AS (DELETE FROM " MSG_SCHEMA "." DEFAULT_PARTITION
" WHERE id >= '%2$s' AND id < '%3$s' RETURNING %4$s)"
" INSERT INTO " MSG_SCHEMA ".%1$s (%4$s) SELECT %4$s FROM moved";

/* 1 the month's table, 2 the parent, 3 first id, 4 next month's first id. */
static const char attach_month[] =
"ALTER TABLE %2$s ATTACH PARTITION " MSG_SCHEMA ".%1$s"
" FOR VALUES FROM ('%3$s') TO ('%4$s')";

/* Ids of other versions carry no time; $1 is where to go on. */
static const char next_waiting[] =
"SELECT id FROM " MSG_SCHEMA "." DEFAULT_PARTITION
" WHERE id >= $1 AND id < $2 AND substr(id::text, 15, 1) = '7'"
" ORDER BY id LIMIT 1";

/* See msg_month_of(). */
typedef int Month;

extern PGDLLEXPORT void msg_partition_main(Datum arg);

static int	create_partitions(int months_ahead, bool even_if_empty);
static int	make_waiting_months(Oid parent, Month end);
static bool make_month(Oid parent, Month month);
static void wait_for_turn(Oid parent);
static char *column_names(Oid relation);
static void move_waiting_rows(const char *sql);
static bool any_message(Oid parent);
static bool month_exists(Month month);
static void month_name(Month month, char *name);
static char *month_first_id(Month month);
static char *qualified_name(Oid relation);
static bool present_exists(void);
static void make_in_background(void);
static void make_here(void);
static void call_create_partitions(void);
static void execute(const char *sql, int expected);

PG_FUNCTION_INFO_V1(msg_create_partitions);

Datum
msg_create_partitions(PG_FUNCTION_ARGS)
{
	int			months_ahead = PG_GETARG_INT32(0);
	bool		even_if_empty = PG_GETARG_BOOL(1);
	bool		in_extension_script = creating_extension;
	int			made;

	if (months_ahead < 0 || months_ahead > MAX_MONTHS_AHEAD)
		ereport(ERROR,
				errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("\"months_ahead\" must be between 0 and %d",
					   MAX_MONTHS_AHEAD));

	creating_extension = false;
	PG_TRY();
	{
		SPI_connect();
		made = create_partitions(months_ahead, even_if_empty);
		SPI_finish();
	}
	PG_FINALLY();
	{
		creating_extension = in_extension_script;
	}
	PG_END_TRY();

	PG_RETURN_INT32(made);
}

/* Returns how many were made. */
static int
create_partitions(int months_ahead, bool even_if_empty)
{
	Oid			schema = get_namespace_oid(MSG_SCHEMA, false);
	Oid			parent;
	Month		present = msg_month_of(GetCurrentTimestamp());
	Month		end = present + months_ahead + 1;
	int			made = 0;

	parent = get_partition_parent(get_relname_relid(DEFAULT_PARTITION, schema),
								  false);
	if (!even_if_empty && !any_message(parent))
		return 0;

	for (Month month = present; month < end; month++)
		made += make_month(parent, month);

	return made + make_waiting_months(parent, end);
}

/* The months before "end" of rows in the default partition. */
static int
make_waiting_months(Oid parent, Month end)
{
	Oid			types[] = {UUIDOID, UUIDOID};
	pg_uuid_t	low = {0};
	pg_uuid_t	high;
	Datum		values[] = {UUIDPGetDatum(&low), UUIDPGetDatum(&high)};
	int			made = 0;

	msg_uuid_v7_floor(msg_month_start(end), &high);
	for (;;)
	{
		Month		month;
		bool		isnull;
		Datum		id;

		if (SPI_execute_with_args(next_waiting, 2, types, values, NULL,
								  false, 1) != SPI_OK_SELECT)
			elog(ERROR, "could not read the default partition");
		if (SPI_processed == 0)
			return made;

		id = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1,
						   &isnull);
		month = msg_month_of(msg_uuid_v7_time(DatumGetUUIDP(id)));
		made += make_month(parent, month);
		msg_uuid_v7_floor(msg_month_start(month + 1), &low);
	}
}

/* False when it is there already, or was detached. */
static bool
make_month(Oid parent, Month month)
{
	char		name[NAMEDATALEN];
	char	   *parent_name = qualified_name(parent);
	char	   *first = month_first_id(month);
	char	   *next = month_first_id(month + 1);
	Oid			schema = get_namespace_oid(MSG_SCHEMA, false);

	if (month_exists(month))
		return false;

	/* Somebody else may have made it while we waited for our turn. */
	wait_for_turn(parent);
	if (month_exists(month))
		return false;

	month_name(month, name);
	execute(psprintf(build_month, name, parent_name), SPI_OK_UTILITY);

	LockRelationOid(get_relname_relid(DEFAULT_PARTITION, schema),
					AccessExclusiveLock);
	move_waiting_rows(psprintf(move_rows, name, first, next,
							   column_names(parent)));
	execute(psprintf(attach_month, name, parent_name, first, next),
			SPI_OK_UTILITY);
	return true;
}

static void
wait_for_turn(Oid parent)
{
	int			level = NewGUCNestLevel();

	(void) set_config_option("lock_timeout", TURN_TIMEOUT,
							 PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	LockRelationOid(parent, ShareUpdateExclusiveLock);
	AtEOXact_GUC(true, level);
}

/* Of those that can be written: others are generated from them. */
static char *
column_names(Oid relation)
{
	Relation	rel = table_open(relation, NoLock);
	TupleDesc	desc = RelationGetDescr(rel);
	StringInfoData names;

	initStringInfo(&names);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(desc, i);

		if (!column->attisdropped && column->attgenerated == '\0')
			appendStringInfo(&names, "%s%s", names.len > 0 ? ", " : "",
							 quote_identifier(NameStr(column->attname)));
	}
	table_close(rel, NoLock);
	return names.data;
}

/* Under the origin that is never replicated. */
static void
move_waiting_rows(const char *sql)
{
	RepOriginId origin = replorigin_session_origin;

	replorigin_session_origin = DoNotReplicateId;
	PG_TRY();
	{
		execute(sql, SPI_OK_INSERT);
	}
	PG_FINALLY();
	{
		replorigin_session_origin = origin;
	}
	PG_END_TRY();
}

static bool
any_message(Oid parent)
{
	execute(psprintf("SELECT FROM %s LIMIT 1", qualified_name(parent)),
			SPI_OK_SELECT);
	return SPI_processed > 0;
}

static bool
month_exists(Month month)
{
	char		name[NAMEDATALEN];
	Oid			schema = get_namespace_oid(MSG_SCHEMA, true);

	month_name(month, name);
	return OidIsValid(schema) && OidIsValid(get_relname_relid(name, schema));
}

int
msg_month_of(TimestampTz time)
{
	struct pg_tm tm;
	fsec_t		fsec;

	if (timestamp2tm(time, NULL, &tm, &fsec, NULL, NULL) != 0)
		ereport(ERROR,
				errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				errmsg("timestamp out of range"));
	return tm.tm_year * MONTHS_PER_YEAR + tm.tm_mon - 1;
}

TimestampTz
msg_month_start(int month)
{
	int			day = date2j(month / MONTHS_PER_YEAR,
							 month % MONTHS_PER_YEAR + 1, 1);

	return (day - POSTGRES_EPOCH_JDATE) * USECS_PER_DAY;
}

static void
month_name(Month month, char *name)
{
	snprintf(name, NAMEDATALEN, "messages_%04d_%02d",
			 month / MONTHS_PER_YEAR, month % MONTHS_PER_YEAR + 1);
}

static char *
month_first_id(Month month)
{
	pg_uuid_t	id;

	msg_uuid_v7_floor(msg_month_start(month), &id);
	return DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(&id)));
}

static char *
qualified_name(Oid relation)
{
	char	   *schema = get_namespace_name(get_rel_namespace(relation));

	return quote_qualified_identifier(schema, get_rel_name(relation));
}

void
msg_partition_ensure_current(void)
{
	static TimestampTz retry_at = DT_NOBEGIN;

	/* The INSERT itself will say that it is not possible. */
	if (XactReadOnly || IsInParallelMode())
		return;

	if (present_exists() || GetCurrentTimestamp() < retry_at)
		return;

	make_in_background();
	if (!present_exists())
		make_here();
	if (!present_exists())
		retry_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
											   RETRY_SECONDS * 1000);
}

/*
 * The month of now, and of an id that is made a little later or by a session
 * whose clock is ahead.
 */
static bool
present_exists(void)
{
	TimestampTz now = GetCurrentTimestamp();
	Month		present = msg_month_of(now);
	Month		tomorrow = msg_month_of(now + USECS_PER_DAY);

	return month_exists(present) &&
		(tomorrow == present || month_exists(tomorrow));
}

/*
 * Waits for the end of the background process, which may be a failure: then
 * its error is in the server's log, and the month is still missing.
 */
static void
make_in_background(void)
{
	BackgroundWorkerHandle *handle;
	BackgroundWorker worker = {
		.bgw_name = "openhr_msg partition maker",
		.bgw_type = "openhr_msg partition maker",
		.bgw_flags = BGWORKER_SHMEM_ACCESS |
			BGWORKER_BACKEND_DATABASE_CONNECTION,
		.bgw_start_time = BgWorkerStart_RecoveryFinished,
		.bgw_restart_time = BGW_NEVER_RESTART,
		.bgw_library_name = MSG_EXTENSION,
		.bgw_function_name = "msg_partition_main",
		.bgw_main_arg = ObjectIdGetDatum(MyDatabaseId),
		.bgw_notify_pid = MyProcPid,
	};

	if (RegisterDynamicBackgroundWorker(&worker, &handle))
		(void) WaitForBackgroundWorkerShutdown(handle);
	AcceptInvalidationMessages();
}

void
msg_partition_main(Datum arg)
{
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(arg),
											  InvalidOid, 0);
	msg_settle_session();
	pgstat_report_activity(STATE_RUNNING, "making a month of messages");

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	call_create_partitions();
	PopActiveSnapshot();
	CommitTransactionCommand();
}

/*
 * In the sender's transaction: the extension was made in it, or it holds the
 * lock that the background process waited for, or there was no process to be
 * had.  An error is logged, and the default partition takes the message: it
 * is locked, so that no other process makes the month from now until the
 * message is in, which would fail it.
 */
static void
make_here(void)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		call_create_partitions();
		ReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
	}
	PG_CATCH();
	{
		ErrorData  *error;
		Oid			schema;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;

		if (error->sqlerrcode == ERRCODE_QUERY_CANCELED ||
			error->sqlerrcode == ERRCODE_ADMIN_SHUTDOWN)
			ReThrowError(error);
		error->elevel = LOG;
		ThrowErrorData(error);
		FreeErrorData(error);

		schema = get_namespace_oid(MSG_SCHEMA, false);
		LockRelationOid(get_relname_relid(DEFAULT_PARTITION, schema),
						RowExclusiveLock);
	}
	PG_END_TRY();
}

/* As its owner and under its settings; nothing when it is not there (yet). */
static void
call_create_partitions(void)
{
	Oid			types[] = {INT4OID, BOOLOID};
	List	   *name = list_make2(makeString(MSG_SCHEMA),
								  makeString("create_partitions"));
	Oid			function = LookupFuncName(name, 2, types, true);

	if (OidIsValid(function))
		OidFunctionCall2(function, Int32GetDatum(MONTHS_AHEAD),
						 BoolGetDatum(true));
}

static void
execute(const char *sql, int expected)
{
	int			result = SPI_execute(sql, false, 0);

	if (result != expected)
		elog(ERROR, "unexpected result %s of a statement on the months",
			 SPI_result_code_string(result));
}
