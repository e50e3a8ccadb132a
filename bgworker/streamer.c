/*-------------------------------------------------------------------------
 *
 * streamer.c
 *	  WAL in, events out: decodes in-process with our own output plugin and
 *	  gives every event to every gateway.
 *
 * The streamer never runs SQL while it decodes and never has a transaction id:
 * a process that decodes is left out of other sessions' snapshots, so what it
 * wrote would be lost.
 *
 * It keeps nothing behind a commit.  The plugin calls deliver() for each event,
 * and deliver() returns when the event is in every gateway's queue; a gateway
 * that does not take it makes us wait, and the slot holds the rest.  So
 * whenever decoding has come to the end of the WAL, everything before that
 * place is delivered, and is confirmed.  Only what a large transaction has
 * behind its first events waits, in a file, until all its memberships were sent
 * ahead (see event.h).
 *
 * Three promises are made to a gateway that serves clients:
 * - It gets every transaction.  Before a transaction's first event we wait
 *	 until every running gateway has a link; a restart of ours therefore
 *	 leaves no gap in what its clients see.
 * - It gets it when others can see it.  A commit is in the WAL before it is
 *	 visible (much before, with synchronous replication), so we wait until the
 *	 transaction is no longer in progress.
 * - It gets it soon.  Backends set our latch when they commit (wakeup.c).  A
 *	 commit with synchronous_commit = off is not flushed at that time; we
 *	 flush it ourselves, a few milliseconds later, so that many share a flush.
 *
 * Between and during all this it passes on what the gateways have for one
 * another (relay.c).
 *
 * Waits within deliver(), or of the server's own within decoding, may take
 * wake-ups that were meant for the main loop.  So it sleeps only after a turn
 * in which there was nothing to decode.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "replication/decode.h"
#include "replication/slot.h"
#include "storage/procarray.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "attempts.h"
#include "event.h"
#include "link.h"
#include "relay.h"
#include "slot.h"
#include "spool.h"
#include "wal.h"
#include "worker.h"

/* In milliseconds: for commits that no callback of ours sees. */
#define IDLE_TIMEOUT		3000

/* While the extension is missing; CREATE EXTENSION wakes us. */
#define EXTENSION_RECHECK	60000

/* How long an asynchronous commit may wait for others to share its flush. */
#define FLUSH_DELAY			5

/* Turns of the main loop are not longer than this, even in a backlog. */
#define MAX_TURN			1000

/* Waits of deliver(), which are ended by the latch as a rule. */
#define MAX_VISIBLE_WAIT	100
#define LINK_RECHECK		1000

/* How long one gateway may keep the others waiting. */
#define PATIENCE			10000

/* A gateway as seen from here. */
typedef struct Reader
{
	MsgWorkerSlot *slot;
	MsgLink    *link;			/* or NULL */
	bool		left_behind;	/* do not wait for it until it has a link */
} Reader;

static Reader *readers;			/* one for each gateway */
static uint32 extension_seen;	/* of msg_shared->extension_changes */
static TimestampTz flush_due = 0;	/* 0: nothing to flush */

/* The gateway that an event may have been sent to in part. */
static int	sending_to = MSG_RELAY_NOBODY;

/* Of the transaction under way, what was sent as it came. */
static int	head_events;
static Size head_bytes;

/* And how many messages are among it. */
static int	messages;

static void allow_output_plugin(void);
static bool extension_has_changed(void);
static bool ready_to_stream(void);
static void stream(LogicalDecodingContext *ctx);
static bool decode_available(LogicalDecodingContext *ctx);
static long flush_async_commits(void);
static void prepare(LogicalDecodingContext *ctx, XLogRecPtr lsn,
					TransactionId xid, bool last_write);
static void deliver(LogicalDecodingContext *ctx, XLogRecPtr lsn,
					TransactionId xid, bool last_write);
static void count_event(const event_header *event);
static bool belongs_to_head(const event_header *event);
static bool changes_sight(const event_header *event);
static void await_visible(TransactionId xid);
static void await_links(void);
static bool patience_lasts(TimestampTz since);
static bool is_missing(Reader *reader);
static uint32 link_number(const Reader *reader);
static bool attach_links(void);
static void lose_link(Reader *reader);
static void leave_behind(Reader *reader);
static void wait_in_delivery(long timeout);
static void send_to_all(const event_header *event);
static void send_to(Reader *reader, const event_header *event);
static void send_patiently(Reader *reader, const event_header *event);
static MsgLinkResult try_to_send(Reader *reader, const event_header *event);

void
msg_streamer_main(Datum arg)
{
	msg_worker_start(DatumGetInt32(arg));
	allow_output_plugin();

	/* It is for queries, not for what keeps us from being stuck. */
	SetConfigOption("temp_file_limit", "-1", PGC_SUSET, PGC_S_OVERRIDE);
	MemoryContextSwitchTo(TopMemoryContext);
	readers = palloc0(msg_gateways * sizeof(Reader));
	for (int g = 0; g < msg_gateways; g++)
		readers[g].slot = &msg_shared->slots[MSG_SLOT_GATEWAY(g)];
	msg_relay_init();

	/* Slot creation waits for transactions by their locks. */
	CurrentResourceOwner = ResourceOwnerCreate(NULL, "openhr_msg streamer");

	for (;;)
	{
		LogicalDecodingContext *ctx;

		msg_worker_interrupts();
		if (!ready_to_stream())
		{
			msg_worker_set_state(MSG_WORKER_WAITING);
			if (!extension_has_changed())
				msg_worker_wait(EXTENSION_RECHECK);
			continue;
		}

		msg_worker_set_state(MSG_WORKER_STARTING);
		ctx = msg_slot_open(extension_seen, prepare, deliver);
		if (ctx == NULL)
			continue;
		stream(ctx);
		msg_slot_close(ctx);
	}
}

/*
 * Newer minor releases decode only with plugins that are listed, and ours is
 * not by default.  The list guards against a plugin that a user of the
 * REPLICATION kind picks; this library was chosen by who wrote
 * shared_preload_libraries, and no user picks anything here.  So we extend
 * the list for this process.  (For anybody else's use of the plugin the list
 * stands as it is.)
 */
static void
allow_output_plugin(void)
{
	const char *name = "output_plugin_libraries";
	const char *list = GetConfigOption(name, true, false);

	if (list == NULL)
		return;					/* a release without the list */
	SetConfigOption(name,
					list[0] == '\0' ? MSG_EXTENSION :
					psprintf("%s, %s", list, MSG_EXTENSION),
					PGC_SUSET, PGC_S_OVERRIDE);
}

static bool
extension_has_changed(void)
{
	return pg_atomic_read_u32(&msg_shared->extension_changes) !=
		extension_seen;
}

/* Is there something to stream?  A slot that is not needed is dropped. */
static bool
ready_to_stream(void)
{
	ResourceOwner owner = CurrentResourceOwner;
	bool		exists;

	extension_seen = pg_atomic_read_u32(&msg_shared->extension_changes);
	if (wal_level < WAL_LEVEL_LOGICAL)
		return false;			/* said at server start, see openhr_msg.c */

	exists = msg_worker_extension_exists();
	CurrentResourceOwner = owner;
	if (!exists)
		msg_slot_drop();
	return exists;
}

/* Until the extension changed, or the slot lags too far. */
static void
stream(LogicalDecodingContext *ctx)
{
	XLogRecPtr	backlog = GetFlushRecPtr(NULL);
	bool		running = false;

	while (!extension_has_changed() && !msg_slot_lags())
	{
		bool		decoded;
		long		timeout;

		msg_worker_interrupts();
		attach_links();
		msg_relay(sending_to);
		timeout = flush_async_commits();
		decoded = decode_available(ctx);
		msg_slot_confirm(ctx->reader->EndRecPtr);
		msg_slot_help();

		/* On a busy server there may always be something to decode. */
		if (!running && (!decoded || ctx->reader->EndRecPtr >= backlog))
		{
			msg_attempt_succeeds();
			msg_worker_set_state(MSG_WORKER_RUNNING);
			running = true;
		}
		if (decoded)
			continue;

		pgstat_report_stat(false);
		msg_worker_wait(timeout);
	}
}

/*
 * Decode what is flushed, for a turn; false when there was nothing.  An error
 * ends the process, as there is no way to go on with the context.
 */
static bool
decode_available(LogicalDecodingContext *ctx)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
													MAX_TURN);
	volatile int n = 0;

	PG_TRY();
	{
		while (msg_wal_next(ctx->reader))
		{
			LogicalDecodingProcessRecord(ctx, ctx->reader);

			/* The transaction in which it looked up catalogs took these. */
			MemoryContextSwitchTo(context);
			CurrentResourceOwner = owner;

			CHECK_FOR_INTERRUPTS();
			if (++n % 256 != 0)
				continue;
			msg_relay(sending_to);
			if (GetCurrentTimestamp() >= until)
				break;
		}
	}
	PG_CATCH();
	{
		msg_slot_failed(ctx->reader->ReadRecPtr);
		PG_RE_THROW();
	}
	PG_END_TRY();

	return n > 0;
}

/* Flush what is due; returns how long the main loop may sleep. */
static long
flush_async_commits(void)
{
	XLogRecPtr	target = pg_atomic_read_u64(&msg_shared->flush_target);
	TimestampTz now;

	if (target <= GetFlushRecPtr(NULL))
	{
		flush_due = 0;
		return IDLE_TIMEOUT;
	}

	now = GetCurrentTimestamp();
	if (flush_due == 0)
		flush_due = TimestampTzPlusMilliseconds(now, FLUSH_DELAY);
	if (now < flush_due)
		return Min(TimestampDifferenceMilliseconds(now, flush_due),
				   FLUSH_DELAY);	/* the clock may be set back */

	XLogFlush(target);
	flush_due = 0;
	return IDLE_TIMEOUT;
}

static void
prepare(LogicalDecodingContext *ctx, XLogRecPtr lsn, TransactionId xid,
		bool last_write)
{
	resetStringInfo(ctx->out);
}

/* One event: the plugin's write callback. */
static void
deliver(LogicalDecodingContext *ctx, XLogRecPtr lsn, TransactionId xid,
		bool last_write)
{
	event_header *event = (event_header *) ctx->out->data;

	Assert(event->magic == EVENT_MAGIC && event->size == ctx->out->len);

	if (event->ordinal == 0)
	{
		await_visible(event->xid);
		await_links();
		head_events = 0;
		head_bytes = 0;
		messages = 0;
	}

	if (event->action == EVENT_COMMIT)
	{
		msg_spool_replay(send_to_all);
		send_to_all(event);
	}
	else if (belongs_to_head(event))
		send_to_all(event);
	else
	{
		msg_spool_put(event);
		event->flags |= EVENT_AHEAD;
		if (changes_sight(event))
			send_to_all(event);
	}

	count_event(event);
}

/* A transaction that comes again, from its beginning, has not counted yet. */
static void
count_event(const event_header *event)
{
	MsgMetrics *metrics = &msg_worker->metrics;

	msg_metrics_add(&msg_worker->events, 1);
	msg_metrics_count(metrics, MSG_COUNT_EVENTS, 1);
	if (event->action == EVENT_INSERT && event->table == EVENT_MESSAGES)
		messages++;
	if (event->action != EVENT_COMMIT)
		return;

	pg_atomic_write_u64(&msg_worker->position, event->commit_lsn);
	if (messages == 0)
		return;
	msg_metrics_count(metrics, MSG_COUNT_SENT, messages);
	msg_metrics_time(metrics, MSG_LATENCY_DECODED,
					 latency_clock() - event->commit_time, messages);
}

/* One that does not fit is the end of the head, whatever follows. */
static bool
belongs_to_head(const event_header *event)
{
	if (head_events < EVENT_HEAD_EVENTS &&
		head_bytes + event->size <= EVENT_HEAD_BYTES)
	{
		head_events++;
		head_bytes += MAXALIGN(event->size);
		return true;
	}
	head_events = EVENT_HEAD_EVENTS;
	return false;
}

static bool
changes_sight(const event_header *event)
{
	return event->action == EVENT_TRUNCATE ||
		event->table == EVENT_REVOCATIONS ||
		(event->table == EVENT_PARTICIPANTS &&
		 event->action != EVENT_UPDATE);
}

/*
 * The committer sets our latch once it is through, so the timeout, which
 * grows, matters only for commits that no callback of ours sees.
 *
 * The server believes that nothing before RecentXmin is in progress, which is
 * as old as our last snapshot: so old that it might look like the future.
 */
static void
await_visible(TransactionId xid)
{
	long		timeout = 1;

	if (TransactionIdFollows(RecentXmin, xid))
		RecentXmin = xid;

	while (TransactionIdIsInProgress(xid))
	{
		wait_in_delivery(timeout);
		timeout = Min(timeout * 2, MAX_VISIBLE_WAIT);
	}
}

/* A gateway publishes its link, or leaves its slot: both set our latch. */
static void
await_links(void)
{
	TimestampTz since = GetCurrentTimestamp();

	while (!attach_links())
	{
		if (patience_lasts(since))
		{
			wait_in_delivery(LINK_RECHECK);
			continue;
		}
		for (int g = 0; g < msg_gateways; g++)
			if (is_missing(&readers[g]))
				leave_behind(&readers[g]);
	}
}

static bool
patience_lasts(TimestampTz since)
{
	return !TimestampDifferenceExceeds(since, GetCurrentTimestamp(), PATIENCE);
}

/* Must we wait for this one's link? */
static bool
is_missing(Reader *reader)
{
	return reader->link == NULL && !reader->left_behind &&
		msg_worker_state(reader->slot) == MSG_WORKER_RUNNING;
}

/* 0: it has none */
static uint32
link_number(const Reader *reader)
{
	return reader->link ? msg_link_number(reader->link) : 0;
}

/* Does every gateway that serves clients have a link now? */
static bool
attach_links(void)
{
	bool		complete = true;

	for (int g = 0; g < msg_gateways; g++)
	{
		Reader	   *reader = &readers[g];
		uint32		before = link_number(reader);

		reader->link = msg_link_attach(reader->slot, reader->link);
		if (link_number(reader) != before)
			msg_relay_set_link(g, reader->link);
		if (reader->link)
			reader->left_behind = false;
		if (is_missing(reader))
			complete = false;
	}
	return complete;
}

static void
lose_link(Reader *reader)
{
	msg_relay_set_link(reader->slot->gateway, NULL);
	if (reader->link)
		msg_link_close(reader->link);
	reader->link = NULL;
}

/*
 * Go on without a gateway that does not move.  It is told before its link
 * breaks, so that it knows of the gap before it has another one, and reads what
 * its clients have missed.
 */
static void
leave_behind(Reader *reader)
{
	pg_atomic_fetch_add_u32(&reader->slot->left_behind, 1);
	reader->left_behind = true;
	lose_link(reader);
	msg_relay_tell_gone(reader->slot->gateway);
	ereport(WARNING,
			errmsg("openhr_msg gateway %d takes no events, the others go on without it",
				   reader->slot->gateway),
			errdetail("It has not moved for %d seconds.", PATIENCE / 1000));
}

static void
send_to_all(const event_header *event)
{
	for (int g = 0; g < msg_gateways; g++)
		send_to(&readers[g], event);
}

static void
send_to(Reader *reader, const event_header *event)
{
	if (reader->link == NULL)
		return;
	sending_to = reader->slot->gateway;
	send_patiently(reader, event);
	sending_to = MSG_RELAY_NOBODY;
}

static void
send_patiently(Reader *reader, const event_header *event)
{
	TimestampTz since = 0;

	for (;;)
	{
		switch (try_to_send(reader, event))
		{
			case MSG_LINK_OK:
				return;
			case MSG_LINK_BROKEN:
				lose_link(reader);
				return;
			case MSG_LINK_WOULD_BLOCK:
				break;
		}
		if (since == 0)
			since = GetCurrentTimestamp();
		else if (!patience_lasts(since))
		{
			leave_behind(reader);
			return;
		}
		wait_in_delivery(LINK_RECHECK);
	}
}

/* What was sent in part must be finished first.  The gateway is woken once a
 * transaction. */
static MsgLinkResult
try_to_send(Reader *reader, const event_header *event)
{
	MsgLinkResult result = msg_relay_finish(reader->slot->gateway);

	if (result != MSG_LINK_OK)
		return result;
	if (event->action == EVENT_COMMIT)
		return msg_link_send(reader->link, event->size, event);
	return msg_link_put(reader->link, event->size, event);
}

/*
 * FATAL, because the slot can be dropped only when it is no longer ours, and
 * there is no way back from here but to end the process.
 */
static void
wait_in_delivery(long timeout)
{
	msg_relay(sending_to);
	msg_worker_wait(timeout);

	if (msg_slot_lags())
		ereport(FATAL,
				errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				errmsg("a gateway or a commit holds up more WAL than \"openhr_msg.max_slot_lag\""),
				errhint("The slot will be made anew. Look for a commit that waits for a synchronous standby, or a gateway that does not respond."));
}
