/*-------------------------------------------------------------------------
 *
 * scan.c
 *	  Walking over the items of a JSON object or array.
 *
 *-------------------------------------------------------------------------
 */
#include "scan.h"

#include <string.h>

static void
scan_space(scan *s)
{
	while (s->p < s->end && (*s->p == ' ' || *s->p == '\t' ||
							 *s->p == '\n' || *s->p == '\r'))
		s->p++;
}

/* Past a string; its opening quote is at p. */
static bool
scan_string(scan *s)
{
	for (s->p++; s->p < s->end; s->p++)
	{
		if (*s->p == '\\')
		{
			if (++s->p >= s->end)
				return false;
		}
		else if (*s->p == '"')
		{
			s->p++;
			return true;
		}
	}
	return false;
}

static inline bool
scan_is_border(char c)
{
	return c == ',' || c == '}' || c == ']' || c == ':' ||
		c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

/* Past a number or a word, or past a string, object or array. */
static bool
scan_value(scan *s, span *value)
{
	int			depth = 0;

	value->data = s->p;
	if (s->p < s->end && *s->p != '"' && *s->p != '{' && *s->p != '[')
	{
		while (s->p < s->end && !scan_is_border(*s->p))
			s->p++;
		value->len = (size_t) (s->p - value->data);
		return value->len > 0;
	}
	while (s->p < s->end)
	{
		char		c = *s->p;

		if (c == '"')
		{
			if (!scan_string(s))
				return false;
		}
		else
		{
			if (c == '{' || c == '[')
				depth++;
			else if (c == '}' || c == ']')
				depth--;
			s->p++;
		}
		if (depth == 0)
		{
			value->len = (size_t) (s->p - value->data);
			return true;
		}
	}
	return false;
}

bool
scan_open(scan *s, const char *text, size_t len)
{
	s->p = text;
	s->end = text + len;
	scan_space(s);
	if (s->p >= s->end || (*s->p != '{' && *s->p != '['))
		return false;
	s->object = *s->p++ == '{';
	return true;
}

bool
scan_next(scan *s, span *key, span *value)
{
	scan_space(s);
	if (s->p < s->end && *s->p == ',')
	{
		s->p++;
		scan_space(s);
	}
	key->data = s->p;
	key->len = 0;
	if (s->object)
	{
		if (s->p >= s->end || *s->p != '"' || !scan_string(s))
			return false;
		key->len = (size_t) (s->p - key->data);
		scan_space(s);
		if (s->p >= s->end || *s->p++ != ':')
			return false;
		scan_space(s);
	}
	return scan_value(s, value);
}

bool
span_equal(span a, span b)
{
	return a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
}
