/*-------------------------------------------------------------------------
 *
 * condition.c
 *	  One condition of a filter: its type, and whether it holds.
 *
 * Conditions follow SQL's logic of three values: what is unknown lets nothing
 * pass, negated or not.
 *
 *-------------------------------------------------------------------------
 */
#include "condition.h"

#include <stdlib.h>
#include <string.h>

#include "filter.h"

static const char *const operator_names[N_OPERATORS] = {
	"eq", "neq", "lt", "lte", "gt", "gte", "in", "like", "ilike", "is",
	"match", "imatch", "isdistinct"
};

/* The words that is takes, in the order of their codes. */
static const char *const is_words[] = {"null", "true", "false", "unknown"};

typedef enum verdict
{
	VERDICT_FALSE,
	VERDICT_TRUE,
	VERDICT_NULL
} verdict;

const char *
operator_name(operator op)
{
	return operator_names[op];
}

bool
operator_of(span name, operator *op)
{
	for (int i = 0; i < N_OPERATORS; i++)
	{
		if (strlen(operator_names[i]) == name.len &&
			memcmp(operator_names[i], name.data, name.len) == 0)
		{
			*op = i;
			return true;
		}
	}
	return false;
}

void
condition_clear(condition *c)
{
	for (int i = 0; i < c->nvalues; i++)
		value_free(c->type, &c->values[i]);
	free(c->values);
	pattern_free(c->pattern);
	free(c->key);
	free(c->texts);
	free(c->text);
	free(c->column);
}

/* ----------
 * Types
 * ----------
 */

#define EXCEPTION	"P0001 (raise_exception) "

static void
say_bad_value(value_type type, const char *typname, span text,
			  value_status status, buf *problem)
{
	if (status == VALUE_OUT_OF_RANGE)
		buf_printf(problem, "22003 (numeric_value_out_of_range) value \"%.*s\" "
				   "is out of range for type %s", (int) text.len, text.data,
				   value_type_name(typname));
	else
		buf_printf(problem, "%s invalid input syntax for type %s: \"%.*s\"",
				   type == VALUE_TIMESTAMP ?
				   "22007 (invalid_datetime_format)" :
				   "22P02 (invalid_text_representation)",
				   value_type_name(typname), (int) text.len, text.data);
}

static bool
bind_values(condition *c, const char *typname, buf *problem)
{
	if (c->ntexts > FILTER_MAX_VALUES)
	{
		buf_printf(problem, EXCEPTION
				   "too many values for `in` filter. Maximum %d",
				   FILTER_MAX_VALUES);
		return false;
	}
	c->values = calloc(c->ntexts > 0 ? (size_t) c->ntexts : 1, sizeof(value));
	if (c->values == NULL)
		return false;
	for (int i = 0; i < c->ntexts; i++)
	{
		value_status status = value_parse(c->type, c->texts[i], &c->values[i]);

		if (status != VALUE_OK)
		{
			say_bad_value(c->type, typname, c->texts[i], status, problem);
			return false;
		}
		c->nvalues++;
	}
	return true;
}

static bool
bind_is(condition *c, const char *typname, buf *problem)
{
	for (c->what = 0; c->what < N_IS_WORDS; c->what++)
	{
		span		word = {is_words[c->what], strlen(is_words[c->what])};

		if (span_equal(word, c->texts[0]))
			break;
	}
	if (c->what == N_IS_WORDS)
	{
		buf_text(problem, EXCEPTION "invalid value for is filter: must be "
				 "null, true, false, or unknown");
		return false;
	}
	if (c->what != IS_NULL && c->type != VALUE_BOOL)
	{
		buf_printf(problem, EXCEPTION "is %s filter requires a boolean "
				   "column, got %s", is_words[c->what],
				   value_type_name(typname));
		return false;
	}
	return true;
}

static bool
bind_pattern(condition *c, const char *typname, buf *problem)
{
	bool		like = c->op == OP_LIKE || c->op == OP_ILIKE;
	bool		caseless = c->op == OP_ILIKE || c->op == OP_IMATCH;
	buf			inner;

	if (c->type != VALUE_TEXT)
	{
		buf_printf(problem, EXCEPTION "operator %s requires a text-compatible "
				   "column type, got %s", operator_names[c->op],
				   value_type_name(typname));
		return false;
	}
	buf_init(&inner);
	c->pattern = like ? pattern_like(c->texts[0], caseless, &inner) :
		pattern_regex(c->texts[0], caseless, &inner);
	if (c->pattern == NULL && like)
		buf_printf(problem, "22025 (invalid_escape_sequence) %s",
				   buf_string(&inner));
	else if (c->pattern == NULL)
		buf_printf(problem, EXCEPTION "invalid regular expression for %s "
				   "filter: %s", operator_names[c->op], buf_string(&inner));
	buf_free(&inner);
	return c->pattern != NULL;
}

static bool
is_order(operator op)
{
	return op == OP_LT || op == OP_LTE || op == OP_GT || op == OP_GTE;
}

bool
condition_bind(condition *c, const table *t, buf *problem)
{
	const column *column = table_column(t, c->column);

	if (column == NULL)
	{
		buf_text(problem, EXCEPTION "invalid column for filter ");
		buf_text(problem, c->column);
		return false;
	}
	c->type = value_type_of(column->type);
	c->key = strndup(column->key.data, column->key.len);
	c->key_len = column->key.len;
	if (c->key == NULL)
		return false;
	if (is_order(c->op) && !value_type_is_ordered(c->type))
	{
		buf_printf(problem, "42883 (undefined_function) operator %s is not "
				   "available for type %s", operator_names[c->op],
				   value_type_name(column->type));
		return false;
	}
	switch (c->op)
	{
		case OP_IS:
			return bind_is(c, column->type, problem);
		case OP_LIKE:
		case OP_ILIKE:
		case OP_MATCH:
		case OP_IMATCH:
			return bind_pattern(c, column->type, problem);
		default:
			return bind_values(c, column->type, problem);
	}
}

/* ----------
 * Judging
 * ----------
 */

static verdict
verdict_of(bool holds)
{
	return holds ? VERDICT_TRUE : VERDICT_FALSE;
}

static verdict
judge_is(const condition *c, value_status status, const value *v)
{
	if (c->what == IS_NULL || c->what == IS_UNKNOWN)
		return verdict_of(status == VALUE_NULL);
	return verdict_of(status == VALUE_OK &&
					  v->integer == (c->what == IS_TRUE));
}

static verdict
judge_in(const condition *c, const value *v)
{
	for (int i = 0; i < c->nvalues; i++)
	{
		if (value_compare(c->type, v, &c->values[i]) == 0)
			return VERDICT_TRUE;
	}
	return VERDICT_FALSE;
}

static verdict
judge_order(const condition *c, const value *v)
{
	int			order = value_compare(c->type, v, &c->values[0]);

	switch (c->op)
	{
		case OP_EQ:
			return verdict_of(order == 0);
		case OP_LT:
			return verdict_of(order < 0);
		case OP_LTE:
			return verdict_of(order <= 0);
		case OP_GT:
			return verdict_of(order > 0);
		case OP_GTE:
			return verdict_of(order >= 0);
		default:
			return verdict_of(order != 0);	/* neq, isdistinct */
	}
}

static verdict
judge_pattern(const condition *c, const value *v, uint32_t *effort)
{
	switch (pattern_match(c->pattern, v->text, effort))
	{
		case PATTERN_YES:
			return VERDICT_TRUE;
		case PATTERN_NO:
			return VERDICT_FALSE;
		case PATTERN_UNKNOWN:
			break;
	}
	return VERDICT_NULL;
}

static verdict
judge_value(const condition *c, value_status status, const value *v,
			uint32_t *effort)
{
	if (c->op == OP_IS)
		return judge_is(c, status, v);
	if (status == VALUE_NULL)
		return c->op == OP_ISDISTINCT ? VERDICT_TRUE : VERDICT_NULL;
	if (c->pattern != NULL)
		return judge_pattern(c, v, effort);
	return c->op == OP_IN ? judge_in(c, v) : judge_order(c, v);
}

/* Comparisons cost, and what has to be read: JSON more than text. */
static bool
spend_on(const condition *c, const field *f, uint32_t *effort)
{
	size_t		cost = 1 + (size_t) c->nvalues +
		f->value.len / (c->type == VALUE_JSONB ? 8 : 256);

	if (cost > *effort)
	{
		*effort = 0;
		return false;
	}
	*effort -= (uint32_t) cost;
	return true;
}

/* Does a condition hold?  A column that is not there lets nothing pass. */
bool
condition_holds(const condition *c, change *change, uint32_t *effort)
{
	field	   *f = change_field(change, (span) {c->key, c->key_len});
	value_status status;
	value		v;

	if (f == NULL || !spend_on(c, f, effort))
		return false;
	status = value_of_field(c->type, f, &v);
	if (status != VALUE_OK && status != VALUE_NULL)
		return false;
	return judge_value(c, status, &v, effort) ==
		(c->negated ? VERDICT_FALSE : VERDICT_TRUE);
}
