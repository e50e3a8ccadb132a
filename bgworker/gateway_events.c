/*-------------------------------------------------------------------------
 *
 * gateway_events.c
 *	  A gateway's end of the event stream, and of what gateways say to one
 *	  another.
 *
 * The streamer sends a transaction's events one after the other, and then
 * EVENT_COMMIT.  They are kept until that has come, because who may see an
 * event is decided by the memberships at the commit.  Of a transaction that is
 * too large for that, the memberships come ahead (EVENT_AHEAD), and then the
 * rest is handed on in pieces.
 *
 * A streamer that was restarted goes on where the slot was confirmed, which
 * is somewhat before the place where it ended, and it sends its transaction
 * again from the beginning.  So what has been handed on already is told by
 * its position, commit LSN and ordinal, which only grows.  Memberships may be
 * learned anew as long as nothing was handed on: the last word counts.
 *
 * When events were missed, the link is made anew, too.  No client is served
 * until the streamer has attached that (msg_events_connected()), so what it
 * reads from the tables meets what comes over the link without a gap.
 *
 *-------------------------------------------------------------------------
 */
/* Before postgres.h, which it must not see. */
#include "gateway_events.h"
#include "realtime/signals.h"

#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/memutils.h"

#include "link.h"
#include "worker.h"

#define QUEUE_SIZE		(1024 * 1024)
#define SIGNALS_SIZE	(256 * 1024)

/* A piece of a transaction; the first one holds all that comes as it is. */
#define MAX_EVENTS		EVENT_HEAD_EVENTS
#define MAX_BYTES		EVENT_HEAD_BYTES

/* Memory that is kept for the next transaction. */
#define KEEP_BYTES		(256 * 1024)

/* After so many events, or frames made of them, the sockets are looked at. */
#define EVENTS_A_TURN	1000
#define FRAMES_A_TURN	50000

static hub *receiver;
static MsgLink *stream = NULL;	/* NULL: to be published */

/* The transaction under way: its events, each aligned, and where they are. */
static StringInfoData bytes;
static Size offsets[MAX_EVENTS];
static int	nevents = 0;

/* The last event that was handed on. */
static uint64 seen_lsn = 0;
static uint32 seen_ordinal = 0;

/* The transaction whose kept events the hub has learned from. */
static uint64 learned_lsn = 0;

static void take_signal(const void *signal, Size len, int64_t now);
static bool take_event(const event_header *event, Size len);
static void commit(const event_header *event);
static void keep(const event_header *event);
static void learn(uint64 lsn);
static void hand_on(void);
static void measure(const event_header *const *events);
static const event_header *kept_event(int i);
static void drop_events(void);
static void lose_link(void);

void
msg_events_init(hub *h)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

	receiver = h;
	initStringInfo(&bytes);
	MemoryContextSwitchTo(old);
}

/*
 * With one gateway there is nobody to signal to.  What of ours was on its way
 * over an earlier link may be lost.
 */
static void
publish_link(void)
{
	stream = msg_link_publish(msg_worker, QUEUE_SIZE,
							  msg_gateways > 1 ? SIGNALS_SIZE : 0);
	if (msg_gateways > 1)
		hub_relink(receiver);
}

bool
msg_events_receive(bool one_transaction, int64_t now)
{
	const hub_stats *stats = hub_get_stats(receiver);
	uint64		most_frames = stats->frames + FRAMES_A_TURN;

	if (stream == NULL)
		publish_link();

	for (int n = 0; n < EVENTS_A_TURN && stats->frames < most_frames; n++)
	{
		Size		len;
		void	   *data;

		switch (msg_link_receive(stream, &len, &data))
		{
			case MSG_LINK_OK:
				if (signal_is(data, len))
					take_signal(data, len, now);
				else if (take_event(data, len) && one_transaction)
					return true;
				break;
			case MSG_LINK_WOULD_BLOCK:
				return false;
			case MSG_LINK_BROKEN:

				/* What is incomplete will come again. */
				lose_link();
				return true;
		}
	}
	return true;
}

static void
lose_link(void)
{
	drop_events();
	if (stream)
		msg_link_close(stream);
	stream = NULL;
}

bool
msg_events_connected(void)
{
	return stream != NULL && msg_link_attached(stream);
}

void
msg_events_forget(void)
{
	lose_link();
	hub_abandon(receiver);
	seen_lsn = 0;
	seen_ordinal = 0;
	learned_lsn = 0;
}

void
msg_events_publish(int64_t now)
{
	const void *signal;
	Size		len;

	while ((signal = hub_outgoing(receiver, &len)) != NULL)
	{
		if (msg_gateways == 1)
			hub_signal(receiver, signal, len, now);
		else if (stream == NULL ||
				 msg_link_send(stream, len, signal) != MSG_LINK_OK)
			return;				/* later; receiving tells of a broken link */
		hub_sent(receiver);
	}
}

static void
take_signal(const void *signal, Size len, int64_t now)
{
	if (!signal_valid(signal, len))
		elog(ERROR, "signal of %zu bytes is not valid", len);
	hub_signal(receiver, signal, len, now);
}

/* True: it was a transaction's last. */
static bool
take_event(const event_header *event, Size len)
{
	if (!hub_event_valid(event, len))
		elog(ERROR, "event of %zu bytes is not valid", len);

	if (event->commit_lsn < seen_lsn ||
		(event->commit_lsn == seen_lsn && event->ordinal <= seen_ordinal))
		return false;

	if (event->action == EVENT_COMMIT)
	{
		commit(event);
		return true;
	}
	if ((event->flags & EVENT_AHEAD) == 0)
		keep(event);
	else if (event->commit_lsn > seen_lsn)
	{
		learn(event->commit_lsn);
		hub_learn(receiver, event);
	}
	return false;
}

static void
commit(const event_header *event)
{
	hand_on();
	hub_commit(receiver);
	seen_lsn = event->commit_lsn;
	seen_ordinal = event->ordinal;
	pg_atomic_write_u64(&msg_worker->position, seen_lsn);
}

static void
keep(const event_header *event)
{
	if (nevents == MAX_EVENTS || (Size) bytes.len + event->size > MAX_BYTES)
		hand_on();
	offsets[nevents++] = bytes.len;
	appendBinaryStringInfo(&bytes, (const char *) event, event->size);
	enlargeStringInfo(&bytes, MAXIMUM_ALIGNOF);
	bytes.len = MAXALIGN(bytes.len);
}

static const event_header *
kept_event(int i)
{
	return (const event_header *) (bytes.data + offsets[i]);
}

/* The first events of a transaction, once; what comes behind comes ahead. */
static void
learn(uint64 lsn)
{
	if (learned_lsn == lsn)
		return;
	for (int i = 0; i < nevents; i++)
		hub_learn(receiver, kept_event(i));
	learned_lsn = lsn;
}

static void
hand_on(void)
{
	const event_header *events[MAX_EVENTS];

	if (nevents == 0)
		return;

	for (int i = 0; i < nevents; i++)
		events[i] = kept_event(i);
	learn(kept_event(0)->commit_lsn);
	seen_lsn = kept_event(nevents - 1)->commit_lsn;
	seen_ordinal = kept_event(nevents - 1)->ordinal;
	hub_route(receiver, events, nevents);
	measure(events);
	drop_events();
}

/* How old are the messages that clients' queues have now? */
static void
measure(const event_header *const *events)
{
	int64_t		now = latency_clock();

	for (int i = 0; i < nevents; i++)
		if (events[i]->action == EVENT_INSERT &&
			events[i]->table == EVENT_MESSAGES)
			msg_metrics_time(&msg_worker->metrics, MSG_LATENCY_QUEUED,
							 now - events[i]->commit_time, 1);
}

static void
drop_events(void)
{
	nevents = 0;
	resetStringInfo(&bytes);
	if (bytes.maxlen > KEEP_BYTES)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

		pfree(bytes.data);
		initStringInfo(&bytes);
		MemoryContextSwitchTo(old);
	}
}
