/*-------------------------------------------------------------------------
 *
 * gateway_metrics.c
 *	  What a gateway counts, on its way to shared memory.
 *
 * The hub and the queues count in memory of their own, where it costs next to
 * nothing.  Once a turn, what is new goes to shared memory, where the totals
 * are: they outlive the gateway, and go on when it is restarted.
 *
 *-------------------------------------------------------------------------
 */
/* Before postgres.h, which it must not see. */
#include "gateway_metrics.h"

#include "postgres.h"

#include "gateway_calls.h"
#include "worker.h"

/* What was copied already. */
static hub_stats seen;
static latency seen_written;
static uint64 seen_lost;
static uint64 seen_handshakes;
static uint64 seen_answers[MSG_ANSWERS];

static void
set_gauge(MsgGauge gauge, uint64 value)
{
	pg_atomic_write_u64(&msg_worker->metrics.gauges[gauge], value);
}

static void
count(MsgCounter counter, uint64 n)
{
	if (n > 0)
		msg_metrics_count(&msg_worker->metrics, counter, n);
}

static void
add_latency(MsgLatency which, latency *before, const latency *after)
{
	MsgMetrics *m = &msg_worker->metrics;

	if (memcmp(before, after, sizeof(latency)) == 0)
		return;
	for (int b = 0; b < LATENCY_BUCKETS; b++)
		msg_metrics_add(&m->latencies[which][b],
						after->buckets[b] - before->buckets[b]);
	msg_metrics_add(&m->latency_sums[which], after->sum_us - before->sum_us);
	*before = *after;
}

static void
count_answers(const server *srv)
{
	for (int i = 0; i < MSG_ANSWERS; i++)
	{
		uint64		n = server_answers(srv, i + 2);

		count(MSG_COUNT_ANSWERS + i, n - seen_answers[i]);
		seen_answers[i] = n;
	}
}

void
msg_gateway_measure(const hub_stats *stats, const server *srv)
{
	set_gauge(MSG_GAUGE_CONNECTIONS, stats->connections);
	set_gauge(MSG_GAUGE_SOCKETS, server_connections(srv));
	set_gauge(MSG_GAUGE_CHANNELS, stats->channels);
	set_gauge(MSG_GAUGE_QUEUE_BYTES, queue_memory);
	set_gauge(MSG_GAUGE_CALLS, msg_calls_open());

	count(MSG_COUNT_DELIVERED, stats->delivered - seen.delivered);
	count(MSG_COUNT_FRAMES, stats->frames - seen.frames);
	count(MSG_COUNT_SIGNALS, stats->signals - seen.signals);
	count(MSG_COUNT_DROPPED, stats->dropped - seen.dropped);
	count(MSG_COUNT_SLOW_READERS, stats->slow_readers - seen.slow_readers);
	count(MSG_COUNT_RECEIPTS, stats->receipts - seen.receipts);
	count(MSG_COUNT_RECEIPTS_LOST, stats->receipts_lost - seen.receipts_lost);
	count(MSG_COUNT_CAUGHT_UP, stats->caught_up - seen.caught_up);
	count(MSG_COUNT_POSITIONS_LOST,
		  stats->positions_lost - seen.positions_lost);
	count(MSG_COUNT_FAILED, queue_lost - seen_lost);
	count(MSG_COUNT_HANDSHAKES, server_handshakes(srv) - seen_handshakes);
	count_answers(srv);
	add_latency(MSG_LATENCY_WRITTEN, &seen_written, &queue_written);
	add_latency(MSG_LATENCY_ACKNOWLEDGED, &seen.acknowledged,
				&stats->acknowledged);
	seen = *stats;
	seen_lost = queue_lost;
	seen_handshakes = server_handshakes(srv);
}

/* Of what is shown to those who come from now on; 0: nothing. */
void
msg_gateway_certificate(int64_t expiry)
{
	set_gauge(MSG_GAUGE_CERTIFICATE, expiry > 0 ? expiry : 0);
}

static MsgRefusal
refusal_of(int status)
{
	switch (status)
	{
		case 401:
			return MSG_REFUSED_TOKEN;
		case 403:
			return MSG_REFUSED_FORBIDDEN;
		case 400:
		case 411:
		case 413:
		case 415:
		case 417:
		case 422:
		case 431:
		case 505:
			return MSG_REFUSED_MALFORMED;
		case 408:
			return MSG_REFUSED_TIMEOUT;
		case 429:
			return MSG_REFUSED_RATE;
		case 503:
			return MSG_REFUSED_BUSY;
		case SERVER_NO_TLS:
			return MSG_REFUSED_TLS;
		default:
			return MSG_REFUSED_OTHER;
	}
}

void
msg_gateway_refused(int status)
{
	if (status == SERVER_NO_TLS || status >= 400)
		count(MSG_COUNT_REFUSED + refusal_of(status), 1);
}
