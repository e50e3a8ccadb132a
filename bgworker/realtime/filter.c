/*-------------------------------------------------------------------------
 *
 * filter.c
 *	  The filter of a subscription, taken apart.
 *
 *	filter    := condition (',' condition)*
 *	condition := column '=' ['not.'] operator '.' value
 *
 * A comma within parentheses or double quotes is part of a value.  Reading
 * has two steps: filter_parse() takes the text apart, filter_bind() gives the
 * values the types of their columns.
 *
 *-------------------------------------------------------------------------
 */
#include "filter.h"

#include <stdlib.h>
#include <string.h>

#include "condition.h"

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

void
filter_free(filter *f)
{
	if (f == NULL)
		return;
	for (int i = 0; i < f->nconditions; i++)
		condition_clear(&f->conditions[i]);
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
				   operator_name(c->op));
		if (c->op == OP_IN)
			buf_printf(out, "[%d values]", c->ntexts);
		else
			buf_json(out, c->texts[0].data, c->texts[0].len);
		buf_text(out, "}");
	}
}

/* ----------
 * Using it
 * ----------
 */

bool
filter_bind(filter *f, const table *t, buf *problem)
{
	for (int i = 0; i < f->nconditions; i++)
	{
		if (!condition_bind(&f->conditions[i], t, problem))
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
		condition_clear(c);
		f->nconditions--;
		memmove(c, c + 1,
				sizeof(condition) * (size_t) (f->nconditions - i));
		*empty = f->nconditions == 0;
		return true;
	}
	return false;
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
