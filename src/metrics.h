/*-------------------------------------------------------------------------
 *
 * metrics.h
 *	  What is counted and measured, in shared memory; and its readers.
 *
 * Every worker has its own numbers in its slot and is the only one to write
 * them, so that costs no lock and no atomic operation worth the name.  A
 * reader adds up those of all slots.  They stay when a worker is restarted,
 * and begin at 0 when the server is.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OPENHR_MSG_METRICS_H
#define OPENHR_MSG_METRICS_H

#include "port/atomics.h"

#include "latency.h"

/* Why somebody was turned away; no more than these, as each is a label. */
typedef enum MsgRefusal
{
	MSG_REFUSED_TOKEN,
	MSG_REFUSED_FORBIDDEN,
	MSG_REFUSED_MALFORMED,
	MSG_REFUSED_TIMEOUT,
	MSG_REFUSED_RATE,
	MSG_REFUSED_BUSY,
	MSG_REFUSED_TLS,
	MSG_REFUSED_OTHER
} MsgRefusal;

#define MSG_REFUSALS	8

/* Classes of answers to HTTP requests that are told apart, from 2xx on. */
#define MSG_ANSWERS		4

/* Kinds of calls that are told apart: MsgCallKind, and 0 for all others. */
#define MSG_CALL_KINDS	9

typedef enum MsgCounter
{
	MSG_COUNT_SENT,				/* streamer: messages committed */
	MSG_COUNT_DELIVERED,		/* gateway: that have arrived at a reader */
	MSG_COUNT_FAILED,			/* gateway: that a reader was to get, but not
								 * in time */
	MSG_COUNT_EVENTS,			/* streamer: changes decoded */
	MSG_COUNT_FRAMES,			/* gateway */
	MSG_COUNT_SIGNALS,
	MSG_COUNT_DROPPED,
	MSG_COUNT_SLOW_READERS,
	MSG_COUNT_RECEIPTS,
	MSG_COUNT_RECEIPTS_LOST,
	MSG_COUNT_CAUGHT_UP,
	MSG_COUNT_POSITIONS_LOST,
	MSG_COUNT_HANDSHAKES,		/* TLS, that succeeded */
	MSG_COUNT_WAKEUPS,			/* everybody */
	MSG_COUNT_ANSWERS,			/* gateway: to HTTP requests, 2xx to 5xx */
	MSG_COUNT_CALLS_FAILED = MSG_COUNT_ANSWERS + MSG_ANSWERS,	/* executor */
	MSG_COUNT_CALLS,			/* executor: a number for each kind */
	/* gateway: a number for each reason */
	MSG_COUNT_REFUSED = MSG_COUNT_CALLS + MSG_CALL_KINDS,
	MSG_COUNTERS = MSG_COUNT_REFUSED + MSG_REFUSALS
} MsgCounter;

typedef enum MsgGauge
{
	MSG_GAUGE_CONNECTIONS,		/* gateway: WebSockets */
	MSG_GAUGE_SOCKETS,			/* these, and who has asked for nothing yet */
	MSG_GAUGE_CHANNELS,
	MSG_GAUGE_QUEUE_BYTES,
	MSG_GAUGE_CALLS,			/* not answered yet */
	MSG_GAUGE_CERTIFICATE,		/* valid until, seconds since 1970; 0: none */
	MSG_GAUGES
} MsgGauge;

typedef enum MsgLatency
{
	MSG_LATENCY_DECODED,		/* streamer; all of these since the commit */
	MSG_LATENCY_QUEUED,			/* gateway */
	MSG_LATENCY_WRITTEN,
	MSG_LATENCY_ACKNOWLEDGED,
	MSG_LATENCY_ANSWER,			/* gateway: a call until it was answered */
	MSG_LATENCY_CALL,			/* executor: the same, at work */
	MSG_LATENCIES
} MsgLatency;

/* Of one worker. */
typedef struct MsgMetrics
{
	pg_atomic_uint64 counters[MSG_COUNTERS];
	pg_atomic_uint64 gauges[MSG_GAUGES];
	pg_atomic_uint64 latencies[MSG_LATENCIES][LATENCY_BUCKETS];
	pg_atomic_uint64 latency_sums[MSG_LATENCIES];	/* microseconds */
} MsgMetrics;

/* Of reports about messages. */
#define MSG_SEVERITIES	3		/* low, medium, high */

/* Only the worker whose they are writes them, so this need not be atomic. */
static inline void
msg_metrics_add(pg_atomic_uint64 *value, uint64 n)
{
	pg_atomic_write_u64(value, pg_atomic_read_u64(value) + n);
}

static inline void
msg_metrics_count(MsgMetrics *m, MsgCounter counter, uint64 n)
{
	msg_metrics_add(&m->counters[counter], n);
}

/* So many took so long each. */
static inline void
msg_metrics_time(MsgMetrics *m, MsgLatency which, int64 us, uint64 n)
{
	msg_metrics_add(&m->latencies[which][latency_bucket(us)], n);
	if (us > 0)
		msg_metrics_add(&m->latency_sums[which], (uint64) us * n);
}

extern void msg_metrics_init(MsgMetrics *m);

/* What is so now is not so any more when the worker is gone. */
extern PGDLLEXPORT void msg_metrics_clear_gauges(MsgMetrics *m);

/*
 * A message was reported; severity is 0 (low) to MSG_SEVERITIES - 1.  It
 * counts when the transaction commits.
 */
extern void msg_metrics_report(int severity);

/* One number, as Prometheus has it. */
typedef struct MsgLabel
{
	const char *name;
	const char *value;
} MsgLabel;

#define MSG_MAX_LABELS	3

typedef struct MsgSample
{
	const char *family;			/* the metric's name .. */
	const char *suffix;			/* .. and what is behind it, of a histogram */
	const char *type;
	const char *help;
	MsgLabel	labels[MSG_MAX_LABELS];
	int			nlabels;
	double		value;
} MsgSample;

typedef void (*MsgSampleTaker) (void *arg, const MsgSample *sample);

/*
 * All numbers, those of a family one after the other.  Takes no lock and
 * raises no error.
 */
extern PGDLLEXPORT void msg_metrics_collect(MsgSampleTaker take, void *arg);

/* WAL that the slot holds back; false: there is no slot. */
extern PGDLLEXPORT bool msg_slot_lag(uint64 *bytes);

#endif							/* OPENHR_MSG_METRICS_H */
