/*-------------------------------------------------------------------------
 *
 * decimal.c
 *	  Comparing numbers of any precision by their decimal text.
 *
 * A number is taken apart into its sign, the place of its first digit that
 * is not zero, and the digits from there on.
 *
 *-------------------------------------------------------------------------
 */
#include "decimal.h"

#include <stdint.h>
#include <string.h>
#include <strings.h>

#define MAX_EXPONENT	1000000

typedef struct decimal
{
	int			rank;			/* -1 -Infinity, 0 finite, 1 Infinity, 2 NaN */
	int			sign;			/* -1, 0, 1 */
	int64_t		place;			/* of the first digit: 0 for units */
	const char *p;				/* first digit */
	const char *end;			/* behind the last; a point may be between */
} decimal;

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
is_word(const char *p, const char *end, const char *word)
{
	return (size_t) (end - p) == strlen(word) &&
		strncasecmp(p, word, strlen(word)) == 0;
}

static bool
read_special(decimal *d, const char *p, const char *end)
{
	if (is_word(p, end, "nan"))
		d->rank = 2;
	else if (is_word(p, end, "infinity") || is_word(p, end, "inf"))
		d->rank = d->sign;
	else
		return false;
	return true;
}

/* An exponent up to the end of the text, or nothing. */
static bool
read_exponent(const char *p, const char *end, int64_t *exponent)
{
	bool		negative;

	*exponent = 0;
	if (p == end)
		return true;
	if (*p != 'e' && *p != 'E')
		return false;
	p++;
	negative = p < end && *p == '-';
	if (p < end && (*p == '-' || *p == '+'))
		p++;
	if (p == end)
		return false;
	for (; p < end; p++)
	{
		if (!is_digit(*p))
			return false;
		*exponent = *exponent * 10 + (*p - '0');
		if (*exponent > MAX_EXPONENT)
			return false;
	}
	if (negative)
		*exponent = -*exponent;
	return true;
}

static bool
decimal_read(decimal *d, span text)
{
	const char *p = text.data;
	const char *end = p + text.len;
	const char *point = NULL;
	int64_t		before = 0;		/* digits in front of the point */
	int64_t		after = 0;		/* and behind it, up to the first non-zero */
	int			digits = 0;
	int64_t		exponent;

	memset(d, 0, sizeof(*d));
	d->sign = p < end && *p == '-' ? -1 : 1;
	if (p < end && (*p == '-' || *p == '+'))
		p++;
	if (read_special(d, p, end))
		return true;
	for (; p < end && (is_digit(*p) || (*p == '.' && point == NULL)); p++)
	{
		if (*p == '.')
		{
			point = p;
			continue;
		}
		digits = 1;
		if (d->p == NULL && *p != '0')
			d->p = p;
		if (point == NULL && d->p != NULL)
			before++;
		if (point != NULL && (d->p == NULL || d->p == p))
			after++;
	}
	d->end = p;
	if (digits == 0 || !read_exponent(p, end, &exponent))
		return false;
	if (d->p == NULL)
		d->sign = 0;
	d->place = (before > 0 ? before - 1 : -after) + exponent;
	return true;
}

bool
decimal_is_valid(span text)
{
	decimal		d;

	return decimal_read(&d, text);
}

/* The next digit; beyond the last there are only zeros. */
static char
next_digit(const char **p, const char *end)
{
	if (*p < end && **p == '.')
		(*p)++;
	return *p < end ? *(*p)++ : '0';
}

static int
compare_digits(const decimal *a, const decimal *b)
{
	const char *p = a->p;
	const char *q = b->p;

	if (a->place != b->place)
		return a->place < b->place ? -1 : 1;
	while (p < a->end || q < b->end)
	{
		int			difference = next_digit(&p, a->end) -
			next_digit(&q, b->end);

		if (difference != 0)
			return difference;
	}
	return 0;
}

int
decimal_compare(span a, span b)
{
	decimal		x;
	decimal		y;

	decimal_read(&x, a);
	decimal_read(&y, b);
	if (x.rank != y.rank || x.rank != 0)
		return x.rank - y.rank;
	if (x.sign != y.sign || x.sign == 0)
		return x.sign - y.sign;
	return x.sign * compare_digits(&x, &y);
}
