/*-------------------------------------------------------------------------
 *
 * functions.h
 *	  The SQL functions that clients may call: what the catalog says of them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OPENHR_MSG_FUNCTIONS_H
#define OPENHR_MSG_FUNCTIONS_H

#include "executor/spi.h"
#include "utils/jsonb.h"

#define MSG_FUNCTION_ARGS	32

typedef struct MsgFunctionPlan
{
	uint32		given;			/* which arguments, a bit each */
	SPIPlanPtr	plan;
} MsgFunctionPlan;

typedef struct MsgFunction
{
	char		name[NAMEDATALEN];
	int			nargs;
	int			nrequired;		/* the others have defaults */
	char	   *names[MSG_FUNCTION_ARGS];
	Oid			types[MSG_FUNCTION_ARGS];
	bool		is_set;
	bool		is_void;
	bool		is_row;
	bool		writes;			/* it is volatile */
	List	   *plans;			/* of MsgFunctionPlan */
} MsgFunction;

/* The arguments of a call. */
typedef struct MsgArguments
{
	uint32		given;
	Datum		values[MSG_FUNCTION_ARGS];
	char		nulls[MSG_FUNCTION_ARGS];
} MsgArguments;

extern void msg_functions_init(void);
extern void msg_functions_forget(void);

/*
 * In a transaction.  NULL: there is no such function for clients.  What is
 * returned lasts until the next msg_functions_find().
 */
extern MsgFunction *msg_functions_find(const char *name);

/*
 * Take the members of a JSON object as arguments, unless they are given
 * already.  False: the function has no argument of a member's name.
 */
extern bool msg_functions_take(const MsgFunction *f, const char *json,
							   MsgArguments *args);

/* Is nothing missing? */
extern bool msg_functions_complete(const MsgFunction *f,
								   const MsgArguments *args);

/*
 * With SPI connected: a plan that calls it with these arguments, which go in
 * without gaps to values and nulls.
 */
extern SPIPlanPtr msg_functions_plan(MsgFunction *f, const MsgArguments *args,
									 Datum *values, char *nulls);

#endif							/* OPENHR_MSG_FUNCTIONS_H */
