/*-------------------------------------------------------------------------
 *
 * value.c
 *	  Values of columns: reading them from filters and records, comparing.
 *
 * Filters give values in the server's text form, records in JSON; both come
 * down to the same texts but for quotes and escapes.  Comparison follows the
 * server, except that text is ordered by its bytes, whatever the database's
 * collation.
 *
 *-------------------------------------------------------------------------
 */
#include "value.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "datetime.h"
#include "decimal.h"

#define MAX_NUMBER_TEXT		63

static const struct
{
	const char *typname;
	value_type	type;
	const char *name;
}			value_types[] = {
	{"bool", VALUE_BOOL, "boolean"},
	{"bpchar", VALUE_TEXT, "character"},
	{"citext", VALUE_TEXT, "citext"},
	{"date", VALUE_TIMESTAMP, "date"},
	{"float4", VALUE_FLOAT, "real"},
	{"float8", VALUE_FLOAT, "double precision"},
	{"int2", VALUE_INT2, "smallint"},
	{"int4", VALUE_INT4, "integer"},
	{"int8", VALUE_INT8, "bigint"},
	{"jsonb", VALUE_JSONB, "jsonb"},
	{"name", VALUE_TEXT, "name"},
	{"numeric", VALUE_NUMERIC, "numeric"},
	{"text", VALUE_TEXT, "text"},
	{"timestamp", VALUE_TIMESTAMP, "timestamp without time zone"},
	{"timestamptz", VALUE_TIMESTAMP, "timestamp with time zone"},
	{"uuid", VALUE_UUID, "uuid"},
	{"varchar", VALUE_TEXT, "character varying"}
};

#define N_VALUE_TYPES	(sizeof(value_types) / sizeof(value_types[0]))

value_type
value_type_of(const char *typname)
{
	for (size_t i = 0; i < N_VALUE_TYPES; i++)
	{
		if (strcmp(value_types[i].typname, typname) == 0)
			return value_types[i].type;
	}
	return VALUE_OTHER;
}

const char *
value_type_name(const char *typname)
{
	for (size_t i = 0; i < N_VALUE_TYPES; i++)
	{
		if (strcmp(value_types[i].typname, typname) == 0)
			return value_types[i].name;
	}
	return typname;
}

bool
value_type_is_ordered(value_type type)
{
	return type != VALUE_OTHER && type != VALUE_JSONB;
}

/* ----------
 * Reading
 * ----------
 */

static value_status
parse_bool(span text, value *v)
{
	static const char *const words[] = {
		"false", "f", "no", "n", "off", "0",
		"true", "t", "yes", "y", "on", "1"
	};

	for (int i = 0; i < 12; i++)
	{
		if (strlen(words[i]) == text.len &&
			strncasecmp(words[i], text.data, text.len) == 0)
		{
			v->integer = i >= 6;
			return VALUE_OK;
		}
	}
	return VALUE_BAD_SYNTAX;
}

static value_status
parse_int(span text, int64_t min, int64_t max, value *v)
{
	const char *p = text.data;
	const char *end = p + text.len;
	bool		negative = p < end && *p == '-';
	int64_t		n = 0;

	if (p < end && (*p == '-' || *p == '+'))
		p++;
	if (p == end)
		return VALUE_BAD_SYNTAX;
	for (const char *digit = p; digit < end; digit++)
	{
		if (*digit < '0' || *digit > '9')
			return VALUE_BAD_SYNTAX;
	}
	/* On the negative side, where there is one number more. */
	for (; p < end; p++)
	{
		if (__builtin_mul_overflow(n, 10, &n) ||
			__builtin_sub_overflow(n, *p - '0', &n))
			return VALUE_OUT_OF_RANGE;
	}
	if (!negative && n == INT64_MIN)
		return VALUE_OUT_OF_RANGE;
	v->integer = negative ? n : -n;
	return v->integer < min || v->integer > max ? VALUE_OUT_OF_RANGE :
		VALUE_OK;
}

static value_status
parse_float(span text, value *v)
{
	char		copy[MAX_NUMBER_TEXT + 1];
	char	   *end;

	if (text.len == 0 || text.len > MAX_NUMBER_TEXT ||
		memchr("+-.0123456789iInN", text.data[0], 17) == NULL)
		return VALUE_BAD_SYNTAX;
	memcpy(copy, text.data, text.len);
	copy[text.len] = '\0';
	v->number = strtod(copy, &end);
	return *end == '\0' ? VALUE_OK : VALUE_BAD_SYNTAX;
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Hyphens may stand behind each four digits, as the server has it. */
static value_status
parse_uuid(span text, value *v)
{
	const char *p = text.data;
	const char *end = p + text.len;

	if (text.len >= 2 && *p == '{' && end[-1] == '}')
	{
		p++;
		end--;
	}
	for (int i = 0; i < 16; i++)
	{
		int			high;
		int			low;

		if (i > 0 && i % 2 == 0 && p < end && *p == '-')
			p++;
		if (end - p < 2)
			return VALUE_BAD_SYNTAX;
		high = hex_digit(p[0]);
		low = hex_digit(p[1]);
		if (high < 0 || low < 0)
			return VALUE_BAD_SYNTAX;
		v->uuid[i] = (uint8_t) (high << 4 | low);
		p += 2;
	}
	return p == end ? VALUE_OK : VALUE_BAD_SYNTAX;
}

static value_status
parse_json(span text, value *v)
{
	v->json = json_loadb(text.data, text.len, JSON_DECODE_ANY, NULL);
	return v->json != NULL ? VALUE_OK : VALUE_BAD_SYNTAX;
}

value_status
value_parse(value_type type, span text, value *v)
{
	switch (type)
	{
		case VALUE_BOOL:
			return parse_bool(text, v);
		case VALUE_INT2:
			return parse_int(text, INT16_MIN, INT16_MAX, v);
		case VALUE_INT4:
			return parse_int(text, INT32_MIN, INT32_MAX, v);
		case VALUE_INT8:
			return parse_int(text, INT64_MIN, INT64_MAX, v);
		case VALUE_FLOAT:
			return parse_float(text, v);
		case VALUE_TIMESTAMP:
			return datetime_parse(text.data, text.len, &v->integer) ?
				VALUE_OK : VALUE_BAD_SYNTAX;
		case VALUE_UUID:
			return parse_uuid(text, v);
		case VALUE_JSONB:
			return parse_json(text, v);
		case VALUE_NUMERIC:
			v->text = text;
			return decimal_is_valid(text) ? VALUE_OK : VALUE_BAD_SYNTAX;
		case VALUE_TEXT:
		case VALUE_OTHER:
			v->text = text;
			return VALUE_OK;
	}
	return VALUE_BAD_SYNTAX;
}

void
value_free(value_type type, value *v)
{
	if (type == VALUE_JSONB)
		json_decref((json_t *) v->json);
}

/* The text behind a JSON string, without a copy when it has no escapes. */
static bool
field_text(field *f, span *text)
{
	const json_t *parsed;

	if (memchr(f->value.data, '\\', f->value.len) == NULL)
	{
		*text = (span) {f->value.data + 1, f->value.len - 2};
		return true;
	}
	parsed = field_parsed(f);
	if (parsed == NULL)
		return false;
	*text = (span) {json_string_value(parsed), json_string_length(parsed)};
	return text->data != NULL;
}

value_status
value_of_field(value_type type, field *f, value *v)
{
	static const span null = {"null", 4};
	span		text = f->value;

	if (span_equal(text, null))
		return VALUE_NULL;
	if (type == VALUE_JSONB)
	{
		v->json = field_parsed(f);
		return v->json != NULL ? VALUE_OK : VALUE_BAD_SYNTAX;
	}
	if (text.data[0] == '"' && !field_text(f, &text))
		return VALUE_BAD_SYNTAX;
	return value_parse(type, text, v);
}

/* ----------
 * Comparing
 * ----------
 */

static int
compare_text(span a, span b)
{
	size_t		len = a.len < b.len ? a.len : b.len;
	int			result = memcmp(a.data, b.data, len);

	return result != 0 ? result : (a.len > b.len) - (a.len < b.len);
}

/* As the server orders them: NaN equals itself and is above all. */
static int
compare_float(double a, double b)
{
	if (isnan(a) || isnan(b))
		return isnan(a) - isnan(b);
	return (a > b) - (a < b);
}

int
value_compare(value_type type, const value *a, const value *b)
{
	switch (type)
	{
		case VALUE_BOOL:
		case VALUE_INT2:
		case VALUE_INT4:
		case VALUE_INT8:
		case VALUE_TIMESTAMP:
			return (a->integer > b->integer) - (a->integer < b->integer);
		case VALUE_FLOAT:
			return compare_float(a->number, b->number);
		case VALUE_UUID:
			return memcmp(a->uuid, b->uuid, sizeof(a->uuid));
		case VALUE_NUMERIC:
			return decimal_compare(a->text, b->text);
		case VALUE_JSONB:
			return !json_equal(a->json, b->json);
		case VALUE_TEXT:
		case VALUE_OTHER:
			break;
	}
	return compare_text(a->text, b->text);
}
