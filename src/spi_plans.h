/*-------------------------------------------------------------------------
 *
 * spi_plans.h
 *	  SQL statements that are prepared once in a session.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OPENHR_MSG_SPI_PLANS_H
#define OPENHR_MSG_SPI_PLANS_H

#include "executor/spi.h"

#define MSG_PLAN_ARGS	10

typedef struct MsgPlan
{
	const char *sql;
	int			nargs;
	Oid			types[MSG_PLAN_ARGS];
	bool		custom;			/* planned each time: for an UPDATE of messages
								 * that shall open no month in vain */
	SPIPlanPtr	plan;			/* NULL until the first run */
} MsgPlan;

/* A plan's statement and the types of its arguments. */
#define MSG_PLAN(statement, ...) \
	{.sql = statement, .types = {__VA_ARGS__}, \
	 .nargs = lengthof(((Oid []) {__VA_ARGS__}))}

#define MSG_CUSTOM_PLAN(statement, ...) \
	{.sql = statement, .types = {__VA_ARGS__}, .custom = true, \
	 .nargs = lengthof(((Oid []) {__VA_ARGS__}))}

/*
 * Run between SPI_connect() and SPI_finish().  A statement that only reads
 * uses the snapshot of the calling query, any other one a new snapshot.
 * Returns the number of rows; what they hold is in SPI_tuptable.
 */
extern uint64 msg_plan_read(MsgPlan *plan, Datum *values, const char *nulls);
extern uint64 msg_plan_write(MsgPlan *plan, Datum *values, const char *nulls);

/*
 * A statement that only reads, but sees what is committed by now, also in a
 * transaction whose snapshot is older.  For what holds under a lock.
 */
extern uint64 msg_plan_read_latest(MsgPlan *plan, Datum *values,
								   const char *nulls);

/* The same, but the rows go to a function's result. */
extern uint64 msg_plan_return(MsgPlan *plan, Datum *values, const char *nulls,
							FunctionCallInfo fcinfo);

/* A column of the first row, as long as SPI is connected. */
extern Datum msg_plan_column(int column, bool *isnull);
extern bool msg_plan_bool(int column);	/* false when it is null */

/*
 * The first row's first column, a whole row of a table, as a function's
 * result.  Ends the connection to SPI.
 */
extern Datum msg_plan_finish(void);

#endif							/* OPENHR_MSG_SPI_PLANS_H */
