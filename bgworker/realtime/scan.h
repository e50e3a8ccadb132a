/*-------------------------------------------------------------------------
 *
 * scan.h
 *	  Walking over the items of a JSON object or array without building
 *	  anything.
 *
 * For the texts of events, which our own plugin wrote: their parts are copied
 * to clients as they are (a number keeps all of its digits), so only the
 * borders of items are looked for.  A text that is no JSON gives wrong items
 * or none, and never a byte outside of it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef REALTIME_SCAN_H
#define REALTIME_SCAN_H

#include <stdbool.h>
#include <stddef.h>

/* A piece of the text; a string's includes its quotes. */
typedef struct span
{
	const char *data;
	size_t		len;
} span;

typedef struct scan
{
	const char *p;
	const char *end;
	bool		object;
} scan;

/* False: neither an object nor an array. */
extern bool scan_open(scan *s, const char *text, size_t len);

/* The next item; key is empty in an array.  False: no more. */
extern bool scan_next(scan *s, span *key, span *value);

extern bool span_equal(span a, span b);

#endif							/* REALTIME_SCAN_H */
