/*-------------------------------------------------------------------------
 *
 * condition.h
 *	  One condition of a filter: a column, an operator, a value.
 *
 *-------------------------------------------------------------------------
 */
#ifndef REALTIME_CONDITION_H
#define REALTIME_CONDITION_H

#include "buf.h"
#include "change.h"
#include "pattern.h"
#include "table.h"
#include "value.h"

typedef enum operator
{
	OP_EQ,
	OP_NEQ,
	OP_LT,
	OP_LTE,
	OP_GT,
	OP_GTE,
	OP_IN,
	OP_LIKE,
	OP_ILIKE,
	OP_IS,
	OP_MATCH,
	OP_IMATCH,
	OP_ISDISTINCT,
	N_OPERATORS
} operator;

typedef enum is_what
{
	IS_NULL,
	IS_TRUE,
	IS_FALSE,
	IS_UNKNOWN,
	N_IS_WORDS
} is_what;

typedef struct condition
{
	char	   *column;
	char	   *text;			/* the value as given, without quotes */
	operator	op;
	bool		negated;
	int			ntexts;			/* of in; else 1 */
	span	   *texts;			/* parts of text */

	/* From condition_bind() on. */
	char	   *key;			/* the column as it stands in records */
	size_t		key_len;
	value_type	type;
	is_what		what;
	int			nvalues;
	value	   *values;
	pattern    *pattern;
} condition;

/* The operator's name in filters and messages. */
extern const char *operator_name(operator op);
extern bool operator_of(span name, operator *op);

/* Give the values the type of their column.  False: problem tells, or is
 * empty for lack of memory. */
extern bool condition_bind(condition *c, const table *t, buf *problem);

/* Free what the condition holds. */
extern void condition_clear(condition *c);

/* Is it true for the change?  The cost is taken off *effort. */
extern bool condition_holds(const condition *c, change *change,
							uint32_t *effort);

#endif							/* REALTIME_CONDITION_H */
