/*-------------------------------------------------------------------------
 *
 * histogram.h
 *	  Durations in nanoseconds, counted in logarithmic buckets.
 *
 * Each power of two is divided into 64 buckets, so that a percentile is right
 * to 1.6 percent, whatever its size, and recording costs next to nothing.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BENCH_HISTOGRAM_H
#define BENCH_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_BITS		6	/* 64 buckets */
#define HISTOGRAM_PART		(1 << HISTOGRAM_BITS)
#define HISTOGRAM_SIZE		(HISTOGRAM_PART * 48)

typedef struct histogram
{
	uint64_t	count;
	int64_t		max;
	uint64_t	buckets[HISTOGRAM_SIZE];
} histogram;

static inline void
histogram_add(histogram *h, int64_t ns)
{
	uint64_t	v = ns > 0 ? (uint64_t) ns : 0;
	int			shift = 0;
	uint64_t	bucket;

	if (v >= HISTOGRAM_PART)
		shift = 63 - __builtin_clzll(v) - HISTOGRAM_BITS;
	bucket = (uint64_t) shift * HISTOGRAM_PART + (v >> shift);
	h->buckets[bucket < HISTOGRAM_SIZE ? bucket : HISTOGRAM_SIZE - 1]++;
	h->count++;
	if (ns > h->max)
		h->max = ns;
}

static inline void
histogram_merge(histogram *into, const histogram *from)
{
	for (int i = 0; i < HISTOGRAM_SIZE; i++)
		into->buckets[i] += from->buckets[i];
	into->count += from->count;
	if (from->max > into->max)
		into->max = from->max;
}

/* The value that a share (0.99) of all do not exceed. */
static inline int64_t
histogram_quantile(const histogram *h, double share)
{
	uint64_t	wanted = (uint64_t) (share * (double) h->count);
	uint64_t	seen = 0;

	for (uint64_t i = 0; i < HISTOGRAM_SIZE; i++)
	{
		int			shift = i < 2 * HISTOGRAM_PART ? 0 :
			(int) (i / HISTOGRAM_PART) - 1;
		uint64_t	low = i < 2 * HISTOGRAM_PART ? i :
			i % HISTOGRAM_PART + HISTOGRAM_PART;

		seen += h->buckets[i];
		if (seen > wanted)
			return (int64_t) (low << shift);
	}
	return h->max;
}

#endif							/* BENCH_HISTOGRAM_H */
