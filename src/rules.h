/*-------------------------------------------------------------------------
 *
 * rules.h
 *	  The rows of a trigger, read and changed by the names of their columns,
 *	  and what the rules of the three tables share.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OPENHR_MSG_RULES_H
#define OPENHR_MSG_RULES_H

#include "commands/trigger.h"
#include "utils/uuid.h"

#include "compat.h"
#include "spi_plans.h"

#define RULE_MAX_CHANGES	16

/*
 * Partitions may lay out their columns in an order of their own, so columns
 * go by name.  Changes are collected and made at once by rule_result().
 */
typedef struct RuleRow
{
	TupleDesc	desc;
	HeapTuple	old;			/* NULL for INSERT */
	HeapTuple	new;			/* NULL for DELETE */
	MemoryContext context;		/* of the result, which outlives SPI */
	int			nchanges;
	int			columns[RULE_MAX_CHANGES];
	Datum		values[RULE_MAX_CHANGES];
	bool		nulls[RULE_MAX_CHANGES];
} RuleRow;

/* Checks that it is called as a row trigger. */
extern void rule_start(RuleRow *row, FunctionCallInfo fcinfo);

/*
 * Run a rule of a row trigger, as the owner of the trigger's function, under
 * our search_path, and with SPI connected.  The trigger's argument is the
 * extension's schema.
 */
typedef Datum (*Rule) (RuleRow *row);
extern Datum rule_run(FunctionCallInfo fcinfo, Rule rule);

/* The trigger's function, which runs the rule. */
#define RULE(function, rule) \
PG_FUNCTION_INFO_V1(function); \
Datum \
function(PG_FUNCTION_ARGS) \
{ \
	return rule_run(fcinfo, rule); \
}

/* A column of a tuple; NULL when it is null. */
extern Datum *rule_get(const RuleRow *row, HeapTuple tuple, const char *name);
extern text *rule_get_text(const RuleRow *row, HeapTuple tuple,
						   const char *name);
extern bool rule_get_bool(const RuleRow *row, HeapTuple tuple,
						  const char *name);
extern pg_uuid_t *rule_get_uuid(const RuleRow *row, HeapTuple tuple,
								const char *name);

/* Do the new and the old row differ in this column? */
extern bool rule_differs(const RuleRow *row, const char *name);

extern void rule_set(RuleRow *row, const char *name, Datum value);
extern void rule_set_null(RuleRow *row, const char *name);

/* Refuse the row when a column is null, by its name only. */
extern void rule_require(const RuleRow *row, HeapTuple tuple,
						 const char *name);

/* Refuse an UPDATE, by whoever it is, that changes a column. */
extern void rule_require_same(const RuleRow *row, const char *name);

/*
 * The row base, which is the new or the old one, with the changes made.  To
 * be called while SPI is still connected when a change came out of it.
 *
 * A row that the server would refuse because of a null is refused here: the
 * server's refusal shows the whole row.
 */
extern Datum rule_result(RuleRow *row, HeapTuple base);

/*
 * Run a statement on behalf of a rule that has checked everything: the rules
 * that it fires ask rule_is_internal() and let it pass.
 */
extern bool rule_is_internal(void);
extern uint64 rule_write_internal(MsgPlan *plan, Datum *values,
								  const char *nulls);

pg_noreturn extern void rule_refuse(const char *message);

#endif							/* OPENHR_MSG_RULES_H */
