/*-------------------------------------------------------------------------
 *
 * filter.c
 *	  The filter of a subscription.
 *
 *	filter    := condition (',' condition)*
 *	condition := column '=' ['not.'] operator '.' value
 *
 * A comma within parentheses or double quotes is part of a value.  Reading
 * has two steps: filter_parse() takes the text apart, filter_bind() gives the
 * values the types of their columns.  Conditions follow SQL's logic of three
 * values, and only a filter that is true lets a change pass.
 *
 *-------------------------------------------------------------------------
 */
#include "filter.h"

#include <stdlib.h>
#include <string.h>

#include "pattern.h"
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

static const char *const operator_names[N_OPERATORS] = {
	"eq", "neq", "lt", "lte", "gt", "gte", "in", "like", "ilike", "is",
	"match", "imatch", "isdistinct"
};

/* The words that is takes, in the order of their codes. */
static const char *const is_words[] = {"null", "true", "false", "unknown"};

typedef enum is_what
{
	IS_NULL,
	IS_TRUE,
	IS_FALSE,
	IS_UNKNOWN,
	N_IS_WORDS
} is_what;

typedef enum verdict
{
	VERDICT_FALSE,
	VERDICT_TRUE,
	VERDICT_NULL
} verdict;

typedef struct condition
{
	char	   *column;
	char	   *text;			/* the value as given, without quotes */
	operator	op;
	bool		negated;
	int			ntexts;			/* of in; else 1 */
	span	   *texts;			/* parts of text */

	/* From filter_bind() on. */
	char	   *key;			/* the column as it stands in records */
	size_t		key_len;
	value_type	type;
	is_what		what;
	int			nvalues;
	value	   *values;
	pattern    *pattern;
} condition;

struct filter
{
	int			nconditions;
	condition	conditions[];
};

/* ----------
 * Texts
 * ----------
 */

static span
trim(span s)
{
	while (s.len > 0 && strchr(" \t\r\n", s.data[s.len - 1]) != NULL)
		s.len--;
	while (s.len > 0 && strchr(" \t\r\n", *s.data) != NULL)
	{
		s.data++;
		s.len--;
	}
	return s;
}

/*
 * The part of a list up to a comma that separates, and what is behind it.
 * A quote opens only where a value may begin.
 */
static bool
next_part(span *rest, span *part)
{
	int			depth = 0;
	bool		quoted = false;
	char		before = ',';
	size_t		i;

	if (rest->data == NULL)
		return false;
	for (i = 0; i < rest->len; i++)
	{
		char		c = rest->data[i];

		if (quoted && c == '\\')
			i++;
		else if (quoted)
			quoted = c != '"';
		else if (c == '"' && strchr(".(,", before) != NULL)
			quoted = true;
		else if (c == '(')
			depth++;
		else if (c == ')' && depth > 0)
			depth--;
		else if (c == ',' && depth == 0)
			break;
		before = c;
	}
	if (i > rest->len)
		i = rest->len;			/* ends in a backslash */
	*part = trim((span) {rest->data, i});
	if (i < rest->len)
		*rest = (span) {rest->data + i + 1, rest->len - i - 1};
	else
		*rest = (span) {NULL, 0};
	return true;
}

/* Up to a character; false: it is not there. */
static bool
cut_at(span *rest, char c, span *part)
{
	const char *at = memchr(rest->data, c, rest->len);

	if (at == NULL)
		return false;
	*part = (span) {rest->data, (size_t) (at - rest->data)};
	*rest = (span) {at + 1, rest->len - part->len - 1};
	return true;
}

/* Without the quotes around it and the backslashes within, in place. */
static span
unquote(char *text, size_t len)
{
	size_t		n = 0;

	if (len < 2 || text[0] != '"' || text[len - 1] != '"')
		return (span) {text, len};
	for (size_t i = 1; i < len - 1; i++)
	{
		if (text[i] == '\\' && i + 1 < len - 1)
			i++;
		text[n++] = text[i];
	}
	return (span) {text, n};
}

static bool
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

/* ----------
 * Taking it apart
 * ----------
 */

/* What could not be read, as a list of its parts. */
static void
say_parts(buf *problem, span first, span second)
{
	buf_text(problem, "[");
	buf_json(problem, first.data, first.len);
	if (second.data != NULL)
	{
		buf_text(problem, ", ");
		buf_json(problem, second.data, second.len);
	}
	buf_text(problem, "]");
}

/* The values of in, which were counted before. */
static void
split_values(condition *c, span inside)
{
	span		part;

	c->ntexts = 0;
	while (next_part(&inside, &part))
		c->texts[c->ntexts++] = unquote((char *) part.data, part.len);
}

static int
count_parts(span rest)
{
	span		part;
	int			n = 0;

	while (next_part(&rest, &part))
		n++;
	return n;
}

static bool
parse_value(condition *c, span value, buf *problem)
{
	span		inside = {NULL, 0};
	bool		list = c->op == OP_IN;

	if (list && (value.len < 2 || value.data[0] != '(' ||
				 value.data[value.len - 1] != ')'))
	{
		buf_text(problem,
				 "`in` filter value must be wrapped by parentheses");
		return false;
	}
	c->text = strndup(value.data, value.len);
	if (c->text == NULL)
	{
		problem->failed = true;
		return false;
	}
	if (list && value.len > 2)
		inside = (span) {c->text + 1, value.len - 2};
	c->ntexts = list ? count_parts(inside) : 1;
	c->texts = calloc(c->ntexts > 0 ? (size_t) c->ntexts : 1, sizeof(span));
	if (c->texts == NULL)
	{
		problem->failed = true;
		return false;
	}
	if (list)
		split_values(c, inside);
	else
		c->texts[0] = unquote(c->text, value.len);
	return true;
}

static bool
parse_condition(condition *c, span text, buf *problem)
{
	static const span none = {NULL, 0};
	span		rest = text;
	span		column;
	span		name;

	if (!cut_at(&rest, '=', &column))
	{
		say_parts(problem, text, none);
		return false;
	}
	if (rest.len > 4 && memcmp(rest.data, "not.", 4) == 0)
	{
		c->negated = true;
		rest = (span) {rest.data + 4, rest.len - 4};
	}
	text = rest;
	if (!cut_at(&rest, '.', &name))
	{
		say_parts(problem, text, none);
		return false;
	}
	if (!operator_of(name, &c->op))
	{
		say_parts(problem, name, rest);
		return false;
	}
	column = trim(column);
	c->column = strndup(column.data, column.len);
	if (c->column == NULL)
	{
		problem->failed = true;
		return false;
	}
	return parse_value(c, rest, problem);
}

static bool
parse_conditions(filter *f, span rest, buf *problem)
{
	span		part;

	while (next_part(&rest, &part))
	{
		if (part.len == 0)
		{
			buf_text(problem, "filter must not contain empty segments "
					 "(check for extra commas)");
			return false;
		}
		if (!parse_condition(&f->conditions[f->nconditions++], part, problem))
			return false;
	}
	return true;
}

filter *
filter_parse(const char *text, size_t len, buf *problem)
{
	span		all = trim((span) {text, len});
	int			n = count_parts(all);
	filter	   *f;

	if (all.len == 0)
		return NULL;
	if (n > FILTER_MAX_CONDITIONS)
	{
		buf_printf(problem, "too many conditions. Maximum %d",
				   FILTER_MAX_CONDITIONS);
		return NULL;
	}
	f = calloc(1, sizeof(filter) + sizeof(condition) * (size_t) n);
	if (f == NULL)
		problem->failed = true;
	else if (!parse_conditions(f, all, problem))
	{
		filter_free(f);
		f = NULL;
	}
	return f;
}

static void
condition_free(condition *c)
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

void
filter_free(filter *f)
{
	if (f == NULL)
		return;
	for (int i = 0; i < f->nconditions; i++)
		condition_free(&f->conditions[i]);
	free(f);
}

void
filter_describe(const filter *f, buf *out)
{
	for (int i = 0; i < f->nconditions; i++)
	{
		const condition *c = &f->conditions[i];

		buf_text(out, i > 0 ? ", {" : "{");
		buf_json(out, c->column, strlen(c->column));
		buf_printf(out, ", \"%s%s\", ", c->negated ? "not." : "",
				   operator_names[c->op]);
		if (c->op == OP_IN)
			buf_printf(out, "[%d values]", c->ntexts);
		else
			buf_json(out, c->texts[0].data, c->texts[0].len);
		buf_text(out, "}");
	}
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

static bool
bind_condition(condition *c, const table *t, buf *problem)
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

bool
filter_bind(filter *f, const table *t, buf *problem)
{
	for (int i = 0; i < f->nconditions; i++)
	{
		if (!bind_condition(&f->conditions[i], t, problem))
			return false;
	}
	return true;
}

bool
filter_take_uuid(filter *f, const char *column, uint8_t uuid[16], bool *empty)
{
	for (int i = 0; i < f->nconditions; i++)
	{
		condition  *c = &f->conditions[i];

		if (c->op != OP_EQ || c->negated || c->type != VALUE_UUID ||
			strcmp(c->column, column) != 0)
			continue;
		memcpy(uuid, c->values[0].uuid, 16);
		condition_free(c);
		f->nconditions--;
		memmove(c, c + 1,
				sizeof(condition) * (size_t) (f->nconditions - i));
		*empty = f->nconditions == 0;
		return true;
	}
	return false;
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
static bool
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

bool
filter_matches(const filter *f, change *c, uint32_t *effort)
{
	for (int i = 0; i < f->nconditions; i++)
	{
		if (!condition_holds(&f->conditions[i], c, effort))
			return false;
	}
	return true;
}
