/*-------------------------------------------------------------------------
 *
 * functions.c
 *	  The SQL functions that clients may call over HTTP.
 *
 * These are the functions of schema openhr_msg that were granted to one of the
 * roles of clients by its name.  (What is granted to PUBLIC is not meant for
 * them: authenticate() would be, for one.)  Whether a caller's role may call
 * one is for the server to say, when it is called.
 *
 * What the catalog tells of a function is kept, with plans for the sets of
 * arguments that it was called with, until anything about functions changes.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/catcache.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "compat.h"
#include "functions.h"
#include "openhr_msg.h"

/* Sets of arguments of one function whose plans are kept. */
#define MAX_PLANS	32

static MemoryContext context;	/* of all that is kept */
static List *functions = NIL;
static List *names = NIL;		/* of all functions of the schema */
static bool stale = false;

static void on_change(Datum arg, int cacheid, uint32 hashvalue);
static bool is_known(const char *name);
static void list_names(void);
static MsgFunction *look_up(const char *name);
static bool is_for_clients(HeapTuple tuple);
static MsgFunction *describe(HeapTuple tuple);
static void take_member(const MsgFunction *f, int arg, const JsonbValue *value,
						MsgArguments *args);
static Datum convert(const JsonbValue *value, Oid type);
static Datum convert_array(const JsonbValue *value, Oid element_type);
static char *value_text(const JsonbValue *value);
static char *plan_query(const MsgFunction *f, uint32 given);

void
msg_functions_init(void)
{
	context = AllocSetContextCreate(TopMemoryContext, "openhr_msg functions",
									ALLOCSET_SMALL_SIZES);
	CacheRegisterSyscacheCallback(PROCOID, on_change, (Datum) 0);
}

static void
on_change(Datum arg, int cacheid, uint32 hashvalue)
{
	stale = true;
}

void
msg_functions_forget(void)
{
	ListCell   *lc;

	foreach(lc, functions)
	{
		MsgFunction *f = lfirst(lc);
		ListCell   *plan;

		foreach(plan, f->plans)
			SPI_freeplan(((MsgFunctionPlan *) lfirst(plan))->plan);
	}
	functions = NIL;
	names = NIL;
	MemoryContextReset(context);
	stale = false;
}

MsgFunction *
msg_functions_find(const char *name)
{
	ListCell   *lc;

	if (stale)
		msg_functions_forget();
	foreach(lc, functions)
	{
		MsgFunction *f = lfirst(lc);

		if (strcmp(f->name, name) == 0)
			return f;
	}
	return is_known(name) ? look_up(name) : NULL;
}

/*
 * Is there a function of this name?  The server's caches remember names that
 * are not there, too, and clients could make up any number of those.
 */
static bool
is_known(const char *name)
{
	ListCell   *lc;

	if (names == NIL)
		list_names();
	foreach(lc, names)
		if (strcmp(lfirst(lc), name) == 0)
			return true;
	return false;
}

static void
list_names(void)
{
	Relation	rel = table_open(ProcedureRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, Anum_pg_proc_pronamespace, BTEqualStrategyNumber,
				F_OIDEQ, ObjectIdGetDatum(get_namespace_oid(MSG_SCHEMA, true)));
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		MemoryContext old = MemoryContextSwitchTo(context);
		Form_pg_proc proc = (Form_pg_proc) GETSTRUCT(tuple);

		names = lappend(names, pstrdup(NameStr(proc->proname)));
		MemoryContextSwitchTo(old);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

/* Of several functions of a name, which we do not have, the first one. */
static MsgFunction *
look_up(const char *name)
{
	Oid			schema = get_namespace_oid(MSG_SCHEMA, true);
	CatCList   *list = SearchSysCacheList1(PROCNAMEARGSNSP,
										   CStringGetDatum(name));
	MsgFunction *f = NULL;

	for (int i = 0; i < list->n_members && f == NULL; i++)
	{
		HeapTuple	tuple = &list->members[i]->tuple;
		Form_pg_proc proc = (Form_pg_proc) GETSTRUCT(tuple);

		if (proc->pronamespace == schema &&
			proc->prokind == PROKIND_FUNCTION && is_for_clients(tuple))
			f = describe(tuple);
	}
	ReleaseSysCacheList(list);
	return f;
}

static bool
is_for_clients(HeapTuple tuple)
{
	static const char *const roles[] = {
		"authenticated", "service_role", "anon"
	};
	bool		isnull;
	Datum		datum = SysCacheGetAttr(PROCOID, tuple,
										Anum_pg_proc_proacl, &isnull);
	Acl		   *acl;

	if (isnull)
		return false;
	acl = DatumGetAclP(datum);
	for (int i = 0; i < ACL_NUM(acl); i++)
	{
		const AclItem *item = &ACL_DAT(acl)[i];

		for (size_t role = 0; role < lengthof(roles); role++)
			if ((ACLITEM_GET_PRIVS(*item) & ACL_EXECUTE) != 0 &&
				OidIsValid(item->ai_grantee) &&
				item->ai_grantee == get_role_oid(roles[role], true))
				return true;
	}
	return false;
}

/* NULL when it has arguments that cannot be given by name. */
static MsgFunction *
describe(HeapTuple tuple)
{
	Form_pg_proc proc = (Form_pg_proc) GETSTRUCT(tuple);
	Oid		   *types;
	char	  **names;
	char	   *modes;
	int			nargs = get_func_arg_info(tuple, &types, &names, &modes);
	MemoryContext old;
	MsgFunction *f;

	if (nargs > MSG_FUNCTION_ARGS || (nargs > 0 && names == NULL) ||
		modes != NULL)
		return NULL;

	old = MemoryContextSwitchTo(context);
	f = palloc0(sizeof(MsgFunction));
	strlcpy(f->name, NameStr(proc->proname), NAMEDATALEN);
	f->nargs = nargs;
	f->nrequired = nargs - proc->pronargdefaults;
	for (int i = 0; i < nargs; i++)
	{
		f->names[i] = pstrdup(names[i]);
		f->types[i] = types[i];
	}
	f->is_set = proc->proretset;
	f->is_void = proc->prorettype == VOIDOID;
	f->is_row = type_is_rowtype(proc->prorettype);
	f->writes = proc->provolatile == PROVOLATILE_VOLATILE;
	functions = lappend(functions, f);
	MemoryContextSwitchTo(old);
	return f;
}

static int
find_argument(const MsgFunction *f, const char *name, int len)
{
	for (int i = 0; i < f->nargs; i++)
		if ((int) strlen(f->names[i]) == len &&
			memcmp(f->names[i], name, len) == 0)
			return i;
	return -1;
}

bool
msg_functions_take(const MsgFunction *f, const char *json, MsgArguments *args)
{
	Jsonb	   *object;
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	value;
	int			arg = -1;

	pg_verifymbstr(json, strlen(json), false);
	object = DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
												CStringGetDatum(json)));
	if (!JB_ROOT_IS_OBJECT(object))
		ereport(ERROR,
				errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("arguments must be a JSON object"));

	it = JsonbIteratorInit(&object->root);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
		{
			arg = find_argument(f, value.val.string.val,
								value.val.string.len);
			if (arg < 0)
				return false;
		}
		else if (token == WJB_VALUE && (args->given & (1u << arg)) == 0)
			take_member(f, arg, &value, args);
	}
	return true;
}

static void
take_member(const MsgFunction *f, int arg, const JsonbValue *value,
			MsgArguments *args)
{
	args->given |= 1u << arg;
	args->nulls[arg] = value->type == jbvNull ? 'n' : ' ';
	args->values[arg] = value->type == jbvNull ? (Datum) 0 :
		convert(value, f->types[arg]);
}

/* As json_to_record() would. */
static Datum
convert(const JsonbValue *value, Oid type)
{
	Oid			element_type = get_element_type(type);
	Oid			input;
	Oid			param;

	if (type == JSONBOID)
		return JsonbPGetDatum(JsonbValueToJsonb((JsonbValue *) value));
	if (OidIsValid(element_type) && value->type == jbvBinary)
		return convert_array(value, element_type);
	getTypeInputInfo(type, &input, &param);
	return OidInputFunctionCall(input, value_text(value), param, -1);
}

static Datum
convert_array(const JsonbValue *value, Oid element_type)
{
	JsonbIterator *it = JsonbIteratorInit(value->val.binary.data);
	JsonbIteratorToken token;
	JsonbValue	element;
	int			size = JsonContainerSize(value->val.binary.data);
	Datum	   *values = palloc(sizeof(Datum) * (size + 1));
	bool	   *nulls = palloc(sizeof(bool) * (size + 1));
	int			n = 0;
	int			lower = 1;
	int16		len;
	bool		byval;
	char		align;

	if (!JsonContainerIsArray(value->val.binary.data))
		ereport(ERROR,
				errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				errmsg("expected JSON array"));
	while ((token = JsonbIteratorNext(&it, &element, true)) != WJB_DONE)
	{
		if (token != WJB_ELEM)
			continue;
		nulls[n] = element.type == jbvNull;
		values[n] = nulls[n] ? (Datum) 0 : convert(&element, element_type);
		n++;
	}
	if (n == 0)
		return PointerGetDatum(construct_empty_array(element_type));
	get_typlenbyvalalign(element_type, &len, &byval, &align);
	return PointerGetDatum(construct_md_array(values, nulls, 1, &n, &lower,
											  element_type, len, byval,
											  align));
}

static char *
value_text(const JsonbValue *value)
{
	switch (value->type)
	{
		case jbvString:
			return pnstrdup(value->val.string.val, value->val.string.len);
		case jbvNumeric:
			return DatumGetCString(DirectFunctionCall1(numeric_out,
													   NumericGetDatum(value->val.numeric)));
		case jbvBool:
			return pstrdup(value->val.boolean ? "true" : "false");
		default:
			return JsonbToCString(NULL, value->val.binary.data,
								  value->val.binary.len);
	}
}

bool
msg_functions_complete(const MsgFunction *f, const MsgArguments *args)
{
	uint32		required = (uint32) ((UINT64CONST(1) << f->nrequired) - 1);

	return (args->given & required) == required;
}

SPIPlanPtr
msg_functions_plan(MsgFunction *f, const MsgArguments *args, Datum *values,
				   char *nulls)
{
	Oid			types[MSG_FUNCTION_ARGS];
	int			n = 0;
	ListCell   *lc;
	SPIPlanPtr	plan;
	MemoryContext old;
	MsgFunctionPlan *kept;

	for (int i = 0; i < f->nargs; i++)
	{
		if ((args->given & (1u << i)) == 0)
			continue;
		types[n] = f->types[i];
		values[n] = args->values[i];
		nulls[n++] = args->nulls[i];
	}
	foreach(lc, f->plans)
	{
		kept = lfirst(lc);
		if (kept->given == args->given)
			return kept->plan;
	}

	plan = SPI_prepare(plan_query(f, args->given), n, types);
	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s",
			 SPI_result_code_string(SPI_result));
	if (list_length(f->plans) >= MAX_PLANS)
		return plan;			/* goes with the connection to SPI */
	if (SPI_keepplan(plan) != 0)
		elog(ERROR, "SPI_keepplan failed");
	old = MemoryContextSwitchTo(context);
	kept = palloc(sizeof(MsgFunctionPlan));
	kept->given = args->given;
	kept->plan = plan;
	f->plans = lappend(f->plans, kept);
	MemoryContextSwitchTo(old);
	return plan;
}

/* A row is made JSON by the caller, who can look into it then. */
static char *
plan_query(const MsgFunction *f, uint32 given)
{
	StringInfoData call;
	int			n = 0;

	initStringInfo(&call);
	appendStringInfo(&call, "%s.%s(", MSG_SCHEMA, quote_identifier(f->name));
	for (int i = 0; i < f->nargs; i++)
	{
		if ((given & (1u << i)) == 0)
			continue;
		appendStringInfo(&call, "%s%s => $%d", n > 0 ? ", " : "",
						 quote_identifier(f->names[i]), n + 1);
		n++;
	}
	appendStringInfoChar(&call, ')');

	if (f->is_set)
		return psprintf(f->is_row ? "SELECT r FROM %s AS r" :
						"SELECT pg_catalog.to_json(r) FROM %s AS r",
						call.data);
	return psprintf(f->is_row || f->is_void ? "SELECT %s" :
					"SELECT pg_catalog.to_json(%s)", call.data);
}
