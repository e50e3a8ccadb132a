/*-------------------------------------------------------------------------
 *
 * pattern.h
 *	  Patterns on text: LIKE and regular expressions.
 *
 *-------------------------------------------------------------------------
 */
#ifndef REALTIME_PATTERN_H
#define REALTIME_PATTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "scan.h"

#define PATTERN_MAX_LEN		255 /* bytes */

typedef struct pattern pattern;

typedef enum pattern_result
{
	PATTERN_NO,
	PATTERN_YES,
	PATTERN_UNKNOWN				/* too costly to tell */
} pattern_result;

/* NULL: problem tells what is wrong, or is empty for lack of memory. */
extern pattern *pattern_like(span text, bool caseless, buf *problem);
extern pattern *pattern_regex(span text, bool caseless, buf *problem);
extern void pattern_free(pattern *p);

/* The cost is taken off *effort. */
extern pattern_result pattern_match(const pattern *p, span subject,
									uint32_t *effort);

#endif							/* REALTIME_PATTERN_H */
