/*-------------------------------------------------------------------------
 *
 * rules.c
 *	  What the rules of the three tables share.
 *
 * The rules of writing live in BEFORE ROW triggers, so that a client's own
 * INSERT, UPDATE or DELETE obeys the same ones as our functions, which just
 * write to the tables.  Three kinds of writers are told apart, and by their
 * identity only, never by the current role: our functions run as their owner
 * for whoever called them.
 *
 *	- A profile (msg_current_profile) is held to the rules.
 *	- A service (msg_is_service: superuser, BYPASSRLS) is taken at its word.
 *	  Values that a profile could not set, such as seq, are kept when given
 *	  and assigned when not; so a restore gets back the rows it dumped.
 *	- Everybody else is refused.
 *
 * The rules run SQL that their writer may not, so they run as the owner, under
 * a search_path of ours: what SECURITY DEFINER and SET do, but only when it is
 * not so already.  A message that is sent by our function fires three of them,
 * and switching back and forth would be a good part of its cost.
 *
 * Locks are taken in one order: the client's key, the row of the rate limit,
 * rows of participants, and last the conversation.  Most writers lock one row
 * of a participant: their own, or the one that they change.  Who removes
 * another or changes another's role locks both, that one first; of two admins
 * who remove each other at once one is refused, or at worst gets a deadlock.
 *
 * Under the conversation's lock two more are changed: the sender's own marker,
 * and who becomes admin.  So both are locked as strongly as that needs before
 * the conversation is; the own row also by who only edits or adds somebody, as
 * the same transaction may send later.  What remains is who gives a title by an
 * UPDATE of his own and then sends, while he sends on another device.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_proc.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/guc.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "compat.h"
#include "identity.h"
#include "log.h"
#include "rules.h"

static int	internal = 0;

static Oid	function_owner(Oid function);
static const char *search_path_with(const char *schema);
static int	column_number(const RuleRow *row, const char *name);
static void refuse_nulls(const RuleRow *row, HeapTuple tuple);
pg_noreturn static void refuse_null(const char *column);

void
rule_start(RuleRow *row, FunctionCallInfo fcinfo)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) ||
		!TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
		ereport(ERROR,
				errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				errmsg("function can only be called as a row trigger"));

	row->desc = RelationGetDescr(trigger->tg_relation);
	row->old = NULL;
	row->new = NULL;
	row->context = CurrentMemoryContext;
	row->nchanges = 0;

	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		row->new = trigger->tg_trigtuple;
	else
		row->old = trigger->tg_trigtuple;
	if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
		row->new = trigger->tg_newtuple;
}

Datum
rule_run(FunctionCallInfo fcinfo, Rule rule)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	RuleRow		row;
	Oid			owner;
	Oid			user;
	int			sec_context;
	const char *path;
	int			nest_level = 0;
	Datum		result;

	rule_start(&row, fcinfo);
	msg_hide_statement();
	if (trigger->tg_trigger->tgnargs != 1)
		elog(ERROR, "trigger \"%s\" has no argument",
			 trigger->tg_trigger->tgname);

	/* An error undoes both. */
	owner = function_owner(fcinfo->flinfo->fn_oid);
	path = search_path_with(trigger->tg_trigger->tgargs[0]);
	GetUserIdAndSecContext(&user, &sec_context);
	if (user != owner || strcmp(namespace_search_path, path) != 0)
	{
		SetUserIdAndSecContext(owner,
							   sec_context | SECURITY_LOCAL_USERID_CHANGE);
		nest_level = NewGUCNestLevel();
		(void) set_config_option("search_path", path, PGC_USERSET,
								 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
								 false);
	}

	SPI_connect();
	result = rule(&row);
	SPI_finish();

	if (nest_level > 0)
	{
		AtEOXact_GUC(true, nest_level);
		SetUserIdAndSecContext(user, sec_context);
	}
	return result;
}

static Oid
function_owner(Oid function)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", function);
	owner = ((Form_pg_proc) GETSTRUCT(tuple))->proowner;
	ReleaseSysCache(tuple);
	return owner;
}

/* The same text as in the SET clauses of our functions, quotes and all. */
static const char *
search_path_with(const char *schema)
{
	static char path[2 * NAMEDATALEN + sizeof("pg_catalog, , pg_temp")];

	snprintf(path, sizeof(path), "pg_catalog, %s, pg_temp", schema);
	return path;
}

static int
column_number(const RuleRow *row, const char *name)
{
	int			number = SPI_fnumber(row->desc, name);

	if (number <= 0)
		ereport(ERROR,
				errcode(ERRCODE_UNDEFINED_COLUMN),
				errmsg("column \"%s\" does not exist", name));
	return number;
}

Datum *
rule_get(const RuleRow *row, HeapTuple tuple, const char *name)
{
	bool		isnull;
	Datum		value = heap_getattr(tuple, column_number(row, name),
									 row->desc, &isnull);
	Datum	   *copy;

	if (isnull)
		return NULL;
	copy = palloc(sizeof(Datum));
	*copy = value;
	return copy;
}

text *
rule_get_text(const RuleRow *row, HeapTuple tuple, const char *name)
{
	Datum	   *value = rule_get(row, tuple, name);

	return value == NULL ? NULL : DatumGetTextPP(*value);
}

bool
rule_get_bool(const RuleRow *row, HeapTuple tuple, const char *name)
{
	Datum	   *value = rule_get(row, tuple, name);

	return value != NULL && DatumGetBool(*value);
}

pg_uuid_t *
rule_get_uuid(const RuleRow *row, HeapTuple tuple, const char *name)
{
	Datum	   *value = rule_get(row, tuple, name);

	return value == NULL ? NULL : DatumGetUUIDP(*value);
}

bool
rule_differs(const RuleRow *row, const char *name)
{
	Form_pg_attribute column = TupleDescAttr(row->desc,
											 column_number(row, name) - 1);
	Datum	   *before = rule_get(row, row->old, name);
	Datum	   *after = rule_get(row, row->new, name);

	if (before == NULL || after == NULL)
		return before != after;
	return !datum_image_eq(*before, *after, column->attbyval,
						   column->attlen);
}

void
rule_set(RuleRow *row, const char *name, Datum value)
{
	Assert(row->nchanges < RULE_MAX_CHANGES);
	row->columns[row->nchanges] = column_number(row, name);
	row->values[row->nchanges] = value;
	row->nulls[row->nchanges] = false;
	row->nchanges++;
}

void
rule_set_null(RuleRow *row, const char *name)
{
	rule_set(row, name, (Datum) 0);
	row->nulls[row->nchanges - 1] = true;
}

Datum
rule_result(RuleRow *row, HeapTuple base)
{
	MemoryContext caller = MemoryContextSwitchTo(row->context);

	if (row->nchanges > 0)
		base = heap_modify_tuple_by_cols(base, row->desc, row->nchanges,
										 row->columns, row->values,
										 row->nulls);
	MemoryContextSwitchTo(caller);
	refuse_nulls(row, base);
	return PointerGetDatum(base);
}

/* Generated columns are computed after the triggers. */
static void
refuse_nulls(const RuleRow *row, HeapTuple tuple)
{
	for (int i = 0; i < row->desc->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(row->desc, i);

		if (column->attnotnull && !column->attisdropped &&
			column->attgenerated == '\0' &&
			heap_attisnull(tuple, i + 1, row->desc))
			refuse_null(NameStr(column->attname));
	}
}

void
rule_require(const RuleRow *row, HeapTuple tuple, const char *name)
{
	if (heap_attisnull(tuple, column_number(row, name), row->desc))
		refuse_null(name);
}

static void
refuse_null(const char *column)
{
	ereport(ERROR,
			errcode(ERRCODE_NOT_NULL_VIOLATION),
			errmsg("column \"%s\" must not be null", column));
}

void
rule_require_same(const RuleRow *row, const char *name)
{
	if (rule_differs(row, name))
		ereport(ERROR,
				errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				errmsg("column \"%s\" never changes", name));
}

bool
rule_is_internal(void)
{
	return internal > 0;
}

uint64
rule_write_internal(MsgPlan *plan, Datum *values, const char *nulls)
{
	uint64		rows = 0;

	internal++;
	PG_TRY();
	{
		rows = msg_plan_write(plan, values, nulls);
	}
	PG_FINALLY();
	{
		internal--;
	}
	PG_END_TRY();
	return rows;
}

PG_FUNCTION_INFO_V1(msg_refuse_truncate);

Datum
msg_refuse_truncate(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				errmsg("function can only be called as a trigger"));
	if (!msg_is_service())
		rule_refuse("only a service may truncate a table of conversations");
	return PointerGetDatum(NULL);
}

void
rule_refuse(const char *message)
{
	ereport(ERROR,
			errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			errmsg_internal("%s", message));
}
