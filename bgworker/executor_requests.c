/*-------------------------------------------------------------------------
 *
 * executor_requests.c
 *	  HTTP requests: one call of an SQL function each, in the name of who
 *	  sent the request.
 *
 * Whose name
 * ----------
 * The gateway has verified the token.  A request's transaction takes on its
 * identity and its role (anon, authenticated or service_role) by settings that
 * are local to it, so that the server itself takes them back when the
 * transaction ends, in whatever way.
 *
 * The session behind the role is a superuser's, and code that is not ours may
 * run in it: triggers of the database's own, or functions that were granted to
 * clients.  So the call runs as within a SECURITY DEFINER function: the server
 * then refuses to change the role or the session's user.  Other settings that
 * such code makes for the session are reset behind it.  At last it is checked
 * that nobody is left; an executor in which somebody were left would end, and
 * be started anew.
 *
 * Durability
 * ----------
 * While no other request waits, a commit is as durable as the server's
 * settings order.  While others wait, it does not wait for the disk, and the
 * answer says up to where the WAL must be flushed before it is told (see
 * gateway_requests.c); we flush as soon as there is nothing else to do, or
 * after some requests.  A server that wants more than its own disk, a
 * synchronous standby, is obeyed each time.
 *
 * What only reads, or says again what was done before, may rest on a commit of
 * others that is not on the disk yet.  It waits for that in the same way: nobody
 * is told what a crash might take back.
 *
 * Cancelling
 * ----------
 * When nobody waits for a request any more, the gateway writes its ticket into
 * our slot and sends SIGUSR2.  Whichever of the two comes first, it hits this
 * request only: the signal's handler compares the tickets, and so do we before
 * we begin.
 *
 * Errors are the caller's to know, and go back with the reply.  The server's
 * log hears of those that an operator should know of, not of refusals.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/async.h"
#include "commands/prepare.h"
#include "commands/sequence.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "replication/syncrep.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"
#include "utils/typcache.h"

#include "compat.h"
#include "executor.h"
#include "functions.h"
#include "identity.h"
#include "worker.h"

/* So many commits share a flush at most. */
#define FLUSH_AFTER		16

#define NO_SUCH_FUNCTION	"PGRST202"

typedef struct Request
{
	MsgRequest	head;
	const char *claims;
	const char *function;
	const char *args;
	const char *body;			/* NULL: there is none */
	StringInfo	reply;
	MsgRequestResult result;
	bool		unknown_function;
} Request;

/* The request that is worked on, for the handler; 0: none. */
static volatile uint64 running = 0;

static MemoryContext context;	/* of a request, reset behind it */
static XLogRecPtr unflushed = InvalidXLogRecPtr;
static int	nunflushed = 0;

static void on_cancel(SIGNAL_ARGS);
static bool is_cancelled(uint64 ticket);
static void read_request(const void *payload, Request *r);
static void run_request(Request *r);
static void speak_for(const Request *r);
static void choose_durability(const Request *r);
static void note_durability(Request *r);
static void call_function_confined(Request *r);
static void leave_nothing(void);
static void call_function(Request *r);
static void execute(Request *r, const MsgFunction *f, SPIPlanPtr plan,
					Datum *values, const char *nulls);
pg_noreturn static void refuse_function(Request *r);
static void take_rows(Request *r, const MsgFunction *f);
static void take_row(Request *r, const MsgFunction *f, HeapTuple tuple);
static int64 row_version(Datum row);
static void take_error(Request *r);
static bool is_for_log(int sqlstate);
static void check_nobody_is_left(void);

void
msg_request_init(void)
{
	context = AllocSetContextCreate(TopMemoryContext, "openhr_msg request",
									ALLOCSET_DEFAULT_SIZES);
	msg_functions_init();
	pqsignal(SIGUSR2, on_cancel);
}

void
msg_request_forget_plans(void)
{
	msg_functions_forget();
}

static void
on_cancel(SIGNAL_ARGS)
{
	int			save_errno = errno;

	if (running != 0 && is_cancelled(running))
	{
		InterruptPending = true;
		QueryCancelPending = true;
		SetLatch(MyLatch);
	}
	errno = save_errno;
}

static bool
is_cancelled(uint64 ticket)
{
	for (int i = 0; i < MSG_REQUESTS_AHEAD; i++)
		if (pg_atomic_read_u64(&msg_worker->cancelled[i]) == ticket)
			return true;
	return false;
}

void
msg_request_serve(const MsgCall *call, const void *payload, StringInfo reply)
{
	Request		r = {.reply = reply};
	int			start = reply->len;

	if (call->len < sizeof(MsgRequest))
		elog(ERROR, "request of %u bytes from gateway", call->len);
	read_request(payload, &r);
	appendBinaryStringInfo(reply, (char *) &r.result, sizeof(r.result));

	MemoryContextSwitchTo(context);
	running = call->ticket;
	pg_memory_barrier();
	if (is_cancelled(call->ticket))
		r.result.cancelled = true;
	else
		run_request(&r);
	running = 0;
	QueryCancelPending = false;
	if (r.result.code[0] != '\0' && is_cancelled(call->ticket))
		r.result.cancelled = true;
	MemoryContextSwitchTo(TopMemoryContext);
	MemoryContextReset(context);

	memcpy(reply->data + start, &r.result, sizeof(r.result));
	check_nobody_is_left();
	if (r.result.lsn != 0 && ++nunflushed >= FLUSH_AFTER)
		msg_request_flush();
}

void
msg_request_flush(void)
{
	if (XLogRecPtrIsInvalid(unflushed))
		return;
	if (unflushed > GetFlushRecPtr(NULL))
		XLogFlush(unflushed);
	unflushed = InvalidXLogRecPtr;
	nunflushed = 0;
	msg_worker_wake(&msg_shared->slots[MSG_SLOT_GATEWAY(msg_worker->gateway)]);
}

static void
read_request(const void *payload, Request *r)
{
	const char *p = (const char *) payload + sizeof(MsgRequest);

	memcpy(&r->head, payload, sizeof(MsgRequest));
	r->claims = p;
	p += r->head.claims_len + 1;
	r->function = p;
	p += r->head.function_len + 1;
	r->args = p;
	p += r->head.args_len + 1;
	r->body = r->head.body_len > 0 ? p : NULL;
}

/*
 * In a transaction of its own; see run() in executor.c.  Whatever happens, the
 * reply is filled.
 */
static void
run_request(Request *r)
{
	pgstat_report_activity(STATE_RUNNING, "serving an HTTP request");
	pqsignal(SIGINT, StatementCancelHandler);
	XactLastCommitEnd = InvalidXLogRecPtr;
	PG_TRY();
	{
		SetCurrentStatementStartTimestamp();
		StartTransactionCommand();
		enable_timeout_after(STATEMENT_TIMEOUT, MSG_CALL_TIMEOUT);
		choose_durability(r);
		speak_for(r);
		PushActiveSnapshot(GetTransactionSnapshot());
		if (SPI_connect() != SPI_OK_CONNECT)
			elog(ERROR, "SPI_connect failed");

		call_function_confined(r);

		SPI_finish();
		PopActiveSnapshot();
		disable_timeout(STATEMENT_TIMEOUT, false);
		CommitTransactionCommand();
		note_durability(r);
	}
	PG_CATCH();
	{
		HOLD_INTERRUPTS();
		disable_all_timeouts(false);
		MemoryContextSwitchTo(context);
		take_error(r);
		AbortCurrentTransaction();
		FlushErrorState();
		RESUME_INTERRUPTS();
	}
	PG_END_TRY();

	/* A cancel that struck in the last moment is not for what comes next. */
	pqsignal(SIGINT, SIG_IGN);
	SetLatch(MyLatch);
	ResetAllOptions();
	leave_nothing();
	pgstat_report_activity(STATE_IDLE, NULL);
}

/*
 * What functions of others may have left in the session, as DISCARD ALL has it,
 * but for our plans.  An error here ends the process.
 */
static void
leave_nothing(void)
{
	StartTransactionCommand();
	PortalHashTableDeleteAll();
	DropAllPreparedStatements();
	Async_UnlistenAll();
	LockReleaseAll(USER_LOCKMETHOD, true);
	ResetTempTableNamespace();
	ResetSequenceCaches();
	CommitTransactionCommand();
}

static void
set_local(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_SUSET, PGC_S_SESSION,
							 GUC_ACTION_LOCAL, true, 0, false);
}

/*
 * The role comes last: from then on nothing is done that its bearer may not.
 * Its name has been compared with those of the three by the gateway.
 */
static void
speak_for(const Request *r)
{
	msg_lend_identity(&r->head.claims);
	set_local("request.jwt.claims", r->claims);
	if (r->head.reads)
		set_local("transaction_read_only", "on");
	set_local("role", r->head.claims.role);
}

/*
 * When others wait, the disk is not waited for here, unless a standby is to
 * be waited for as well.
 */
static void
choose_durability(const Request *r)
{
	bool		has_standby = SyncRepStandbyNames != NULL &&
		SyncRepStandbyNames[0] != '\0' &&
		synchronous_commit > SYNCHRONOUS_COMMIT_LOCAL_FLUSH;

	if (r->head.others_wait && !has_standby &&
		synchronous_commit != SYNCHRONOUS_COMMIT_OFF)
		set_local("synchronous_commit", "off");
}

/* In microseconds the commit that was seen has noted itself; see wakeup.c. */
static void
note_durability(Request *r)
{
	XLogRecPtr	lsn = XactLastCommitEnd;

	if (XLogRecPtrIsInvalid(lsn))
		lsn = pg_atomic_read_u64(&msg_shared->flush_target);
	if (lsn > GetFlushRecPtr(NULL))
	{
		r->result.lsn = lsn;
		unflushed = Max(unflushed, lsn);
	}
}

/*
 * With the call, its arguments, and what is put off until the commit (triggers,
 * held cursors), the role cannot be changed.  An error's clean-up restores the
 * context, too.
 */
static void
call_function_confined(Request *r)
{
	Oid			user;
	int			security;

	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(user, security | SECURITY_LOCAL_USERID_CHANGE);
	call_function(r);
	do
		AfterTriggerFireDeferred();
	while (PreCommit_Portals(false));
	SetUserIdAndSecContext(user, security);
}

static void
call_function(Request *r)
{
	MsgFunction *f = msg_functions_find(r->function);
	MsgArguments args = {0};
	Datum		values[MSG_FUNCTION_ARGS];
	char		nulls[MSG_FUNCTION_ARGS];
	SPIPlanPtr	plan;

	if (f == NULL ||
		!msg_functions_take(f, r->args, &args) ||
		(r->body != NULL && !msg_functions_take(f, r->body, &args)) ||
		!msg_functions_complete(f, &args))
		refuse_function(r);

	/* What only reads is kept from writing, whatever it calls. */
	if (!f->writes)
		set_local("transaction_read_only", "on");
	plan = msg_functions_plan(f, &args, values, nulls);
	execute(r, f, plan, values, nulls);
}

static void
execute(Request *r, const MsgFunction *f, SPIPlanPtr plan, Datum *values,
		const char *nulls)
{
	int			result = SPI_execute_plan(plan, values, nulls, !f->writes, 0);

	if (result != SPI_OK_SELECT)
		elog(ERROR, "query failed: %s", SPI_result_code_string(result));
	take_rows(r, f);
}

/* In PostgREST's words. */
static void
refuse_function(Request *r)
{
	r->unknown_function = true;
	ereport(ERROR,
			errcode(ERRCODE_UNDEFINED_FUNCTION),
			errmsg("Could not find the function %s.%s with these parameters in the schema cache",
				   MSG_SCHEMA, r->function),
			errdetail("There is no such function for clients, or it has other parameters."));
}

static void
take_rows(Request *r, const MsgFunction *f)
{
	int			start = r->reply->len;

	r->result.is_void = f->is_void;
	r->result.is_set = f->is_set;
	r->result.rows = SPI_processed;
	if (f->is_void)
		return;
	if (f->is_set)
		appendStringInfoChar(r->reply, '[');
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		if (i > 0)
			appendStringInfoChar(r->reply, ',');
		take_row(r, f, SPI_tuptable->vals[i]);
	}
	if (f->is_set)
		appendStringInfoChar(r->reply, ']');
	r->result.json_len = r->reply->len - start;
}

static void
take_row(Request *r, const MsgFunction *f, HeapTuple tuple)
{
	bool		isnull;
	Datum		value = SPI_getbinval(tuple, SPI_tuptable->tupdesc, 1, &isnull);
	text	   *json;

	if (isnull)
	{
		appendStringInfoString(r->reply, "null");
		return;
	}
	if (f->is_row)
	{
		if (!f->is_set)
			r->result.version = row_version(value);
		value = DirectFunctionCall1(row_to_json, value);
	}
	json = DatumGetTextPP(value);
	appendBinaryStringInfo(r->reply, VARDATA_ANY(json),
						   VARSIZE_ANY_EXHDR(json));
}

/* Its column "version", or 0 when it has none. */
static int64
row_version(Datum row)
{
	HeapTupleHeader header = DatumGetHeapTupleHeader(row);
	TupleDesc	desc = lookup_rowtype_tupdesc(HeapTupleHeaderGetTypeId(header),
											  HeapTupleHeaderGetTypMod(header));
	HeapTupleData tuple = {
		.t_len = HeapTupleHeaderGetDatumLength(header),
		.t_data = header
	};
	int64		version = 0;

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		bool		isnull;
		Datum		value;

		if (att->attisdropped || strcmp(NameStr(att->attname), "version") != 0)
			continue;
		value = heap_getattr(&tuple, i + 1, desc, &isnull);
		if (!isnull && att->atttypid == INT8OID)
			version = DatumGetInt64(value);
	}
	ReleaseTupleDesc(desc);
	return version;
}

static uint32
add_text(StringInfo reply, const char *text)
{
	if (text == NULL)
		return MSG_NO_TEXT;
	appendBinaryStringInfo(reply, text, strlen(text) + 1);
	return strlen(text);
}

/* Instead of a result, of which part may be in the reply. */
static void
take_error(Request *r)
{
	ErrorData  *error = CopyErrorData();
	MsgRequestResult *result = &r->result;

	memset(result, 0, sizeof(MsgRequestResult));
	strlcpy(result->code, r->unknown_function ? NO_SUCH_FUNCTION :
			unpack_sql_state(error->sqlerrcode), sizeof(result->code));
	r->reply->len = sizeof(MsgReply) + sizeof(MsgRequestResult);
	result->message_len = add_text(r->reply, error->message);
	result->details_len = add_text(r->reply, error->detail);
	result->hint_len = add_text(r->reply, error->hint);

	if (!r->unknown_function && is_for_log(error->sqlerrcode) &&
		!is_cancelled(running))
		ereport(LOG,
				errcode(error->sqlerrcode),
				errmsg("openhr_msg executor %d.%d could not serve an HTTP request: %s",
					   msg_worker->gateway, msg_worker->number,
					   error->message));
	FreeErrorData(error);
}

/* Not what the caller did wrong, or what the rules do not let him. */
static bool
is_for_log(int sqlstate)
{
	static const char *const callers[] = {
		"22", "23", "25", "28", "40", "42", "P0", "PT"
	};
	const char *code = unpack_sql_state(sqlstate);

	for (size_t i = 0; i < lengthof(callers); i++)
		if (strncmp(code, callers[i], 2) == 0)
			return false;
	return true;
}

/* The transaction's end has taken it all back; if not, so does ours. */
static void
check_nobody_is_left(void)
{
	if (msg_has_identity() || OidIsValid(GetCurrentRoleId()) ||
		GetUserId() != GetSessionUserId() ||
		GetSessionUserId() != GetAuthenticatedUserId())
		ereport(FATAL,
				errcode(ERRCODE_INTERNAL_ERROR),
				errmsg("an identity was left over from an HTTP request"));
}
