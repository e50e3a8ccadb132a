/*-------------------------------------------------------------------------
 *
 * latency.c
 *	  How long something took, how often: a histogram.
 *
 * The bounds are those that dashboards expect of realtime_latency_seconds,
 * and finer ones below them, as most of what is measured here takes a few
 * milliseconds.
 *
 *-------------------------------------------------------------------------
 */
#include "latency.h"

#include <time.h>

const latency_bound latency_bounds[LATENCY_BUCKETS - 1] = {
	{1000, "0.001"},
	{2500, "0.0025"},
	{5000, "0.005"},
	{10000, "0.01"},
	{25000, "0.025"},
	{50000, "0.05"},
	{100000, "0.1"},
	{300000, "0.3"},
	{500000, "0.5"},
	{1000000, "1"},
	{2000000, "2"},
	{5000000, "5"}
};

int
latency_bucket(int64_t us)
{
	int			i = 0;

	while (i < LATENCY_BUCKETS - 1 && us > latency_bounds[i].us)
		i++;
	return i;
}

void
latency_add(latency *l, int64_t us)
{
	l->buckets[latency_bucket(us)]++;
	if (us > 0)
		l->sum_us += (uint64_t) us;
}

int64_t
latency_clock(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t) now.tv_sec * 1000000 + now.tv_nsec / 1000;
}
