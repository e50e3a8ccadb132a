/*-------------------------------------------------------------------------
 *
 * datetime.c
 *	  Points in time: YYYY-MM-DD, then a time of day behind a space or T,
 *	  with a fraction, and a zone as Z, +HH, +HHMM or +HH:MM[:SS].
 *
 *-------------------------------------------------------------------------
 */
#include "datetime.h"

#include <string.h>
#include <strings.h>

#define USECS_PER_SEC	INT64_C(1000000)
#define MAX_YEAR		294276	/* the server's last */

typedef struct reader
{
	const char *p;
	const char *end;
} reader;

static bool
accept(reader *r, const char *any)
{
	if (r->p < r->end && *r->p != '\0' && strchr(any, *r->p) != NULL)
	{
		r->p++;
		return true;
	}
	return false;
}

/* So many digits, or up to so many; returns how many there were. */
static int
digits(reader *r, int max, int64_t *n)
{
	int			count = 0;

	for (*n = 0; count < max && r->p < r->end && *r->p >= '0' &&
		 *r->p <= '9'; count++)
		*n = *n * 10 + (*r->p++ - '0');
	return count;
}

static bool
two_digits(reader *r, int64_t max, int64_t *n)
{
	return digits(r, 2, n) == 2 && *n <= max;
}

/* Days since 1970 of the Gregorian calendar. */
static int64_t
days_from_date(int64_t year, int64_t month, int64_t day)
{
	int64_t		y = month > 2 ? year : year - 1;	/* begins in March */
	int64_t		m = month > 2 ? month - 3 : month + 9;

	return 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day -
		1 - 719468;
}

static bool
read_date(reader *r, int64_t *days)
{
	static const int lengths[] = {
		31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31
	};
	int64_t		year;
	int64_t		month;
	int64_t		day;
	bool		leap;

	if (digits(r, 6, &year) < 4 || year == 0 || year > MAX_YEAR ||
		!accept(r, "-") || !two_digits(r, 12, &month) || month == 0 ||
		!accept(r, "-") || !two_digits(r, 31, &day) || day == 0)
		return false;
	leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
	if (day > lengths[month - 1] + (month == 2 && leap))
		return false;
	*days = days_from_date(year, month, day);
	return true;
}

/* HH:MM[:SS[.ffffff]]; digits beyond microseconds are passed over. */
static bool
read_time(reader *r, int64_t *usec)
{
	int64_t		hour;
	int64_t		minute;
	int64_t		second = 0;
	int64_t		fraction = 0;
	int64_t		ignored;

	if (!two_digits(r, 24, &hour) || !accept(r, ":") ||
		!two_digits(r, 59, &minute))
		return false;
	if (accept(r, ":"))
	{
		if (!two_digits(r, 60, &second))
			return false;
		if (accept(r, ".,"))
		{
			int			n = digits(r, 6, &fraction);

			if (n == 0)
				return false;
			for (; n < 6; n++)
				fraction *= 10;
			while (digits(r, 9, &ignored) > 0)
				;
		}
	}
	*usec = ((hour * 60 + minute) * 60 + second) * USECS_PER_SEC + fraction;
	return hour < 24 || *usec == 24 * 3600 * USECS_PER_SEC;
}

/* Seconds east of UTC. */
static bool
read_zone(reader *r, int64_t *seconds)
{
	int64_t		hours;
	int64_t		minutes = 0;
	int64_t		rest = 0;
	bool		west;

	*seconds = 0;
	if (r->p == r->end || accept(r, "Zz"))
		return true;
	west = accept(r, "-");
	if (!west && !accept(r, "+"))
		return false;
	if (!two_digits(r, 15, &hours))
		return false;
	if (accept(r, ":") || r->p < r->end)
	{
		if (!two_digits(r, 59, &minutes) ||
			(accept(r, ":") && !two_digits(r, 59, &rest)))
			return false;
	}
	*seconds = (hours * 60 + minutes) * 60 + rest;
	if (west)
		*seconds = -*seconds;
	return true;
}

static bool
is_word(const char *text, size_t len, const char *word)
{
	return len == strlen(word) && strncasecmp(text, word, len) == 0;
}

bool
datetime_parse(const char *text, size_t len, int64_t *usec)
{
	reader		r = {text, text + len};
	int64_t		days;
	int64_t		time = 0;
	int64_t		zone = 0;

	if (is_word(text, len, "infinity") || is_word(text, len, "-infinity"))
	{
		*usec = *text == '-' ? INT64_MIN : INT64_MAX;
		return true;
	}
	if (!read_date(&r, &days))
		return false;
	if (accept(&r, "Tt "))
	{
		if (!read_time(&r, &time))
			return false;
		accept(&r, " ");
		if (!read_zone(&r, &zone))
			return false;
	}
	*usec = (days * 86400 - zone) * USECS_PER_SEC + time;
	return r.p == r.end;
}
