/*-------------------------------------------------------------------------
 *
 * log.c
 *	  Keeping the text of messages, and tokens, out of the server's log.
 *
 * Errors of ours never quote what they are about, but the server quotes: the
 * statement that failed (STATEMENT), the row that broke a constraint
 * (DETAIL), the statements around it and their parameters (CONTEXT, QUERY).
 * It does so by default, in whatever statement somebody reaches our tables,
 * and after our own code has returned.
 *
 * So our functions and triggers mark the statement in which they run, once
 * and until it ends, and what is logged within a marked statement loses those
 * parts.  The client still gets them, as they are its own.  An explicit
 * errdetail_log() stays: it is meant for the log, and the one that quotes
 * statements (that of a deadlock) takes them from where pg_stat_activity does.
 *
 * That is the other place that shows statements, also after a crash ("Failed
 * process was running"), so a marked statement gets another text there.
 *
 * A statement in which there is no string holds none that matters, and stays
 * visible: whoever sends text as parameters can still read in the log which
 * of the statements failed.
 *
 * What the server writes before it calls us, or writes because it was told to
 * log every statement, is out of reach; check_log_settings() tells of that.
 *
 * The secret that verifies tokens is a setting, and the server logs the new
 * value of a setting that a reload has changed.  Not of this one.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <ctype.h>

#include "access/xact.h"
#include "tcop/tcopprot.h"
#include "utils/backend_status.h"

#include "log.h"

#define SECRET_SETTING	"openhr_msg.jwt_secret"
#define HIDDEN_ACTIVITY	"<hidden by openhr_msg>"
#define HIDDEN_DETAIL	"Not logged by openhr_msg."

static emit_log_hook_type prev_emit_log_hook = NULL;

/* When the statement started that was marked last, and is there a string? */
static TimestampTz marked = 0;
static bool marked_holds_string = false;

static void on_emit_log(ErrorData *edata);
static bool holds_string(const char *query);
static void hide_secret(ErrorData *edata);

void
msg_log_init(void)
{
	prev_emit_log_hook = emit_log_hook;
	emit_log_hook = on_emit_log;
}

void
msg_hide_statement(void)
{
	int64		query_id;

	if (marked == GetCurrentStatementStartTimestamp())
		return;

	marked = GetCurrentStatementStartTimestamp();
	marked_holds_string = debug_query_string != NULL &&
		holds_string(debug_query_string);
	if (!marked_holds_string)
		return;

	/* The new text would take the query's id away. */
	query_id = pgstat_get_my_query_id();
	pgstat_report_activity(STATE_RUNNING, HIDDEN_ACTIVITY);
	pgstat_report_query_id(query_id, true);
}

/* It is called in the memory context to which the error's texts belong. */
static void
on_emit_log(ErrorData *edata)
{
	if (marked != 0 && marked == GetCurrentStatementStartTimestamp())
	{
		if (marked_holds_string)
			edata->hide_stmt = true;
		edata->hide_ctx = true;
		edata->internalquery = NULL;
		edata->internalpos = 0;
		if (edata->detail != NULL && edata->detail_log == NULL)
			edata->detail_log = pstrdup(HIDDEN_DETAIL);
	}
	hide_secret(edata);

	if (prev_emit_log_hook)
		prev_emit_log_hook(edata);
}

/*
 * Is there a string in an SQL text, in quotes or dollar quotes?  Rather too
 * often than once too little: quotes in comments and names count, too.
 */
static bool
holds_string(const char *query)
{
	for (const char *c = query; *c != '\0'; c++)
	{
		if (*c == '\'')
			return true;
		if (*c == '$' && !isdigit((unsigned char) c[1]))
			return true;
	}
	return false;
}

static void
hide_secret(ErrorData *edata)
{
	if (edata->elevel != LOG || edata->message_id == NULL ||
		strcmp(edata->message_id, "parameter \"%s\" changed to \"%s\"") != 0 ||
		strstr(edata->message, "\"" SECRET_SETTING "\"") == NULL)
		return;

	pfree(edata->message);
	edata->message = pstrdup("parameter \"" SECRET_SETTING "\" changed");
}
