/*-------------------------------------------------------------------------
 *
 * latency.h
 *	  How long something took, how often: a histogram.
 *
 * Plain numbers that one thread writes; whoever shows them to others copies
 * them.  This file is shared with code that knows nothing of PostgreSQL: no
 * type of the server's may appear in it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OPENHR_MSG_LATENCY_H
#define OPENHR_MSG_LATENCY_H

#include <stdint.h>

#define LATENCY_BUCKETS		13	/* the last one for all that took longer */

typedef struct latency_bound
{
	int64_t		us;				/* up to this, in microseconds */
	const char *text;			/* the same in seconds */
} latency_bound;

typedef struct latency
{
	uint64_t	buckets[LATENCY_BUCKETS];
	uint64_t	sum_us;
} latency;

/* The upper end of every bucket but the last. */
extern const latency_bound latency_bounds[LATENCY_BUCKETS - 1];

/* The bucket for this; less than nothing, by a clock set back, is nothing. */
extern int	latency_bucket(int64_t us);
extern void latency_add(latency *l, int64_t us);

/* Microseconds since 1970, as PostgreSQL counts them. */
extern int64_t latency_clock(void);

#endif							/* OPENHR_MSG_LATENCY_H */
