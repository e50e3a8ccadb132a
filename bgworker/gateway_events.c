/*-------------------------------------------------------------------------
 *
 * gateway_events.c
 *	  A gateway's end of the event stream.
 *
 * The streamer sends a transaction's events one after the other, and then
 * EVENT_COMMIT.  They are kept until that has come, because who may see an
 * event is decided by the memberships at the commit.  A transaction that is
 * too large for that is handed on in pieces.
 *
 * A streamer that was restarted goes on where the slot was confirmed, which
 * is somewhat before the place where it ended, and it sends its transaction
 * again from the beginning.  So what has been handed on already is told by
 * its position, commit LSN and ordinal, which only grows.
 *
 * When events were missed, the link is made anew, too.  No client is served
 * until the streamer has attached that (msg_events_connected()), so what it
 * reads from the tables meets what comes over the link without a gap.
 *
 *-------------------------------------------------------------------------
 */
/* Before postgres.h, which it must not see. */
#include "gateway_events.h"

#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/memutils.h"

#include "link.h"
#include "worker.h"

#define QUEUE_SIZE		(1024 * 1024)

/* A piece of a transaction. */
#define MAX_EVENTS		1000
#define MAX_BYTES		(4 * 1024 * 1024)

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

static void take_event(const event_header *event, Size len);
static void hand_on(void);
static void drop_events(void);

void
msg_events_init(hub *h)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

	receiver = h;
	initStringInfo(&bytes);
	MemoryContextSwitchTo(old);
}

bool
msg_events_receive(void)
{
	const hub_stats *stats = hub_get_stats(receiver);
	uint64		most_frames = stats->frames + FRAMES_A_TURN;

	if (stream == NULL)
		stream = msg_link_publish(msg_worker, QUEUE_SIZE, 0);

	for (int n = 0; n < EVENTS_A_TURN && stats->frames < most_frames; n++)
	{
		Size		len;
		void	   *data;

		switch (msg_link_receive(stream, &len, &data))
		{
			case MSG_LINK_OK:
				take_event(data, len);
				break;
			case MSG_LINK_WOULD_BLOCK:
				return false;
			case MSG_LINK_BROKEN:

				/* What is incomplete will come again. */
				drop_events();
				msg_link_close(stream);
				stream = NULL;
				return true;
		}
	}
	return true;
}

bool
msg_events_connected(void)
{
	return stream != NULL && msg_link_attached(stream);
}

void
msg_events_forget(void)
{
	drop_events();
	if (stream)
		msg_link_close(stream);
	stream = NULL;
	seen_lsn = 0;
	seen_ordinal = 0;
}

static void
take_event(const event_header *event, Size len)
{
	if (!hub_event_valid(event, len))
		elog(ERROR, "event of %zu bytes is not valid", len);

	if (event->commit_lsn < seen_lsn ||
		(event->commit_lsn == seen_lsn && event->ordinal <= seen_ordinal))
		return;

	if (event->action == EVENT_COMMIT)
	{
		hand_on();
		seen_lsn = event->commit_lsn;
		seen_ordinal = event->ordinal;
		pg_atomic_write_u64(&msg_worker->position, seen_lsn);
		return;
	}

	if (nevents == MAX_EVENTS || (Size) bytes.len + len > MAX_BYTES)
		hand_on();
	offsets[nevents++] = bytes.len;
	appendBinaryStringInfo(&bytes, (const char *) event, len);
	enlargeStringInfo(&bytes, MAXIMUM_ALIGNOF);
	bytes.len = MAXALIGN(bytes.len);
}

static void
hand_on(void)
{
	const event_header *events[MAX_EVENTS];

	if (nevents == 0)
		return;

	for (int i = 0; i < nevents; i++)
		events[i] = (const event_header *) (bytes.data + offsets[i]);
	seen_lsn = events[nevents - 1]->commit_lsn;
	seen_ordinal = events[nevents - 1]->ordinal;
	hub_apply(receiver, events, nevents);
	drop_events();
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
