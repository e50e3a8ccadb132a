/*-------------------------------------------------------------------------
 *
 * spi_plans.c
 *	  SQL statements that are prepared once in a session.
 *
 * A statement is a static MsgPlan next to the function that runs it.  Its
 * names are not qualified: every function that comes here has a fixed
 * search_path with the extension's schema in it, and the plan cache looks
 * names up again when that path is another one, so that a plan stays right
 * when the extension is dropped and made anew in the life of a session.
 * That schema may be one in which others make functions: a function that is
 * not called with exactly its own types is qualified, so that no closer match
 * takes its place.
 *
 * All plans are generic.  The statements are look-ups by key, for which the
 * values make no difference, and with a table of many partitions planning
 * costs more than running: pruning happens when the executor starts.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/tstoreReceiver.h"
#include "funcapi.h"
#include "nodes/params.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "spi_plans.h"

static uint64 run(MsgPlan *plan, Datum *values, const char *nulls,
				  bool read_only, DestReceiver *dest);
static void prepare(MsgPlan *plan);

uint64
msg_plan_read(MsgPlan *plan, Datum *values, const char *nulls)
{
	return run(plan, values, nulls, true, NULL);
}

uint64
msg_plan_write(MsgPlan *plan, Datum *values, const char *nulls)
{
	return run(plan, values, nulls, false, NULL);
}

uint64
msg_plan_read_latest(MsgPlan *plan, Datum *values, const char *nulls)
{
	uint64		rows;

	CommandCounterIncrement();
	PushActiveSnapshot(GetLatestSnapshot());
	rows = run(plan, values, nulls, true, NULL);
	PopActiveSnapshot();
	return rows;
}

uint64
msg_plan_return(MsgPlan *plan, Datum *values, const char *nulls,
				FunctionCallInfo fcinfo)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	DestReceiver *dest = CreateTuplestoreDestReceiver();
	uint64		rows;

	SetTuplestoreDestReceiverParams(dest, rsinfo->setResult,
									rsinfo->econtext->ecxt_per_query_memory,
									false, rsinfo->setDesc,
									"a table of openhr_msg has been altered");
	rows = run(plan, values, nulls, true, dest);
	dest->rDestroy(dest);
	return rows;
}

static uint64
run(MsgPlan *plan, Datum *values, const char *nulls, bool read_only,
	DestReceiver *dest)
{
	SPIExecuteOptions options = {
		.read_only = read_only,
		.dest = dest,
	};
	int			result;

	if (plan->plan == NULL)
		prepare(plan);

	options.params = makeParamList(plan->nargs);
	for (int i = 0; i < plan->nargs; i++)
		options.params->params[i] = (ParamExternData)
		{
			.value = values[i],
			.isnull = nulls != NULL && nulls[i] == 'n',
			.pflags = PARAM_FLAG_CONST,
			.ptype = plan->types[i],
		};

	result = SPI_execute_plan_extended(plan->plan, &options);
	if (result < 0)
		elog(ERROR, "could not run a saved plan: %s",
			 SPI_result_code_string(result));
	return SPI_processed;
}

static void
prepare(MsgPlan *plan)
{
	SPIPlanPtr	prepared = SPI_prepare_cursor(plan->sql, plan->nargs,
											  plan->types,
											  plan->custom ?
											  CURSOR_OPT_CUSTOM_PLAN :
											  CURSOR_OPT_GENERIC_PLAN);

	if (prepared == NULL)
		elog(ERROR, "could not prepare a plan: %s",
			 SPI_result_code_string(SPI_result));
	SPI_keepplan(prepared);
	plan->plan = prepared;
}

Datum
msg_plan_column(int column, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc,
						 column, isnull);
}

bool
msg_plan_bool(int column)
{
	bool		isnull;
	Datum		value = msg_plan_column(column, &isnull);

	return !isnull && DatumGetBool(value);
}

Datum
msg_plan_finish(void)
{
	bool		isnull;
	Datum		row = SPI_datumTransfer(msg_plan_column(1, &isnull), false, -1);

	Assert(!isnull);
	SPI_finish();
	return row;
}
