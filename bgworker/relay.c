/*-------------------------------------------------------------------------
 *
 * relay.c
 *	  Signals from every gateway to all gateways, in one order.
 *
 * When there are several gateways, the streamer is where their signals
 * (realtime/signals.h) meet: it takes them from the gateways in turn, and that
 * is the order in which every gateway gets them, the one included that a
 * signal came from.  They go over the same links as the events, between them,
 * and never hold an event up by more than the rest of a signal that has been
 * begun, because a queue demands that.
 *
 * What a gateway does not take waits in its line here, up to a limit.
 * Broadcasts are dropped for a gateway whose line is half full.  Presence is
 * not: when a line is full no more signals are taken from anybody, and the
 * gateways keep theirs.  Only a line that has stood still for long is thrown
 * away; once the gateway moves again, everything is said to it anew.
 *
 * Who is present on a gateway is known to that gateway only, for certain.  So
 * when a gateway gets a new link, which means that it or the streamer is new,
 * all others are asked to say it again; it does so by itself.  When a gateway
 * is down, the others are told that nobody is present there.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/ilist.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "realtime/signals.h"
#include "relay.h"
#include "worker.h"

#define MAX_LINE		(1024 * 1024)

/* How long a full line may stand still, in milliseconds. */
#define PATIENCE		10000

/* From one gateway, before the next one has its turn. */
#define SIGNALS_A_TURN	100

typedef struct Waiting
{
	slist_node	node;
	Size		len;
	char		data[FLEXIBLE_ARRAY_MEMBER];
} Waiting;

/* A gateway, and what is to be sent to it. */
typedef struct Line
{
	MsgLink    *link;			/* or NULL: none, or a broken one */
	slist_head	signals;
	slist_node *last;			/* NULL: it is empty */
	Size		bytes;
	TimestampTz moved_at;		/* something was sent, or it was empty */
	bool		begun;			/* the first one was sent in part */
	bool		overrun;		/* signals were thrown away */
	bool		asks;			/* the others shall tell it all */
	bool		maybe_present;	/* nobody was told that the gateway is down */
} Line;

static Line *lines;				/* one for each gateway */
static MemoryContext context;

static void look_around(void);
static void tell_others(int gateway, signal_kind kind);
static bool receive_from(Line *from);
static void pass_on(const signal_header *signal);
static bool has_room(void);
static bool stands_still(const Line *line);
static void put(Line *line, const signal_header *signal);
static void cut(Line *line);
static void drop_first(Line *line);
static void send_line(Line *line);
static MsgLinkResult send_first(Line *line);

void
msg_relay_init(void)
{
	context = AllocSetContextCreate(TopMemoryContext, "openhr_msg relay",
									ALLOCSET_DEFAULT_SIZES);
	lines = MemoryContextAllocZero(context, msg_gateways * sizeof(Line));
	for (int g = 0; g < msg_gateways; g++)
	{
		slist_init(&lines[g].signals);
		lines[g].maybe_present = true;
	}
}

void
msg_relay_set_link(int gateway, MsgLink *link)
{
	Line	   *line = &lines[gateway];

	line->begun = false;
	cut(line);
	line->link = link;
	line->overrun = false;
	line->asks = link != NULL;

	/* It may not know yet who is down. */
	if (link)
		for (int g = 0; g < msg_gateways; g++)
			lines[g].maybe_present = true;
}

void
msg_relay_tell_gone(int gateway)
{
	tell_others(gateway, SIGNAL_RESET);
	tell_others(gateway, SIGNAL_SYNCED);
	lines[gateway].maybe_present = false;
}

void
msg_relay(int busy)
{
	bool		more = false;

	if (msg_gateways == 1)
		return;					/* it has nobody to talk to */

	look_around();
	for (int g = 0; g < msg_gateways; g++)
		more |= receive_from(&lines[g]);
	for (int g = 0; g < msg_gateways; g++)
		if (g != busy)
			send_line(&lines[g]);

	/* Events have their turn in between. */
	if (more && has_room())
		SetLatch(MyLatch);
}

MsgLinkResult
msg_relay_finish(int gateway)
{
	Line	   *line = &lines[gateway];

	if (!line->begun)
		return MSG_LINK_OK;
	return line->link ? send_first(line) : MSG_LINK_BROKEN;
}

/* Gateways that are down, and those that need to know it all. */
static void
look_around(void)
{
	for (int g = 0; g < msg_gateways; g++)
	{
		Line	   *line = &lines[g];

		if (line->asks)
		{
			line->asks = false;
			tell_others(g, SIGNAL_ASK);
		}
		if (line->link == NULL && line->maybe_present &&
			msg_worker_state(&msg_shared->slots[MSG_SLOT_GATEWAY(g)]) ==
			MSG_WORKER_DOWN)
			msg_relay_tell_gone(g);
	}
}

/* Something about a gateway that only we know, to all others. */
static void
tell_others(int gateway, signal_kind kind)
{
	signal_header signal = {
		.magic = SIGNAL_MAGIC,
		.size = sizeof(signal),
		.kind = kind,
		.gateway = gateway,
	};

	for (int g = 0; g < msg_gateways; g++)
		if (g != gateway)
			put(&lines[g], &signal);
}

/*
 * Taking
 */

/* True: there may be more. */
static bool
receive_from(Line *from)
{
	for (int n = 0; from->link && n < SIGNALS_A_TURN && has_room(); n++)
	{
		Size		len;
		void	   *data;

		switch (msg_link_receive(from->link, &len, &data))
		{
			case MSG_LINK_OK:
				if (!signal_valid(data, len))
					elog(ERROR, "signal of %zu bytes is not valid", len);
				pass_on(data);
				break;
			case MSG_LINK_WOULD_BLOCK:
				return false;
			case MSG_LINK_BROKEN:
				from->link = NULL;
				return false;
		}
	}
	return from->link != NULL;
}

static void
pass_on(const signal_header *signal)
{
	for (int g = 0; g < msg_gateways; g++)
		if (signal->kind != SIGNAL_BROADCAST || lines[g].bytes <= MAX_LINE / 2)
			put(&lines[g], signal);
}

/* Is there room in all lines?  Those that stand still do not count. */
static bool
has_room(void)
{
	for (int g = 0; g < msg_gateways; g++)
	{
		Line	   *line = &lines[g];

		if (line->bytes < MAX_LINE || line->overrun)
			continue;
		if (!stands_still(line))
			return false;
		line->overrun = true;
		cut(line);
	}
	return true;
}

static bool
stands_still(const Line *line)
{
	return TimestampDifferenceExceeds(line->moved_at, GetCurrentTimestamp(),
									  PATIENCE);
}

/*
 * Lines
 */

static void
put(Line *line, const signal_header *signal)
{
	Waiting    *w;

	if (line->link == NULL || line->overrun)
		return;
	w = MemoryContextAlloc(context, offsetof(Waiting, data) + signal->size);
	w->len = signal->size;
	memcpy(w->data, signal, signal->size);
	if (line->last)
		slist_insert_after(line->last, &w->node);
	else
	{
		slist_push_head(&line->signals, &w->node);
		line->moved_at = GetCurrentTimestamp();
	}
	line->last = &w->node;
	line->bytes += w->len;
}

/* Throw away what can be: a signal once begun must be finished. */
static void
cut(Line *line)
{
	Waiting    *begun = NULL;

	if (line->begun)
		begun = slist_container(Waiting, node,
								slist_pop_head_node(&line->signals));
	while (!slist_is_empty(&line->signals))
		pfree(slist_container(Waiting, node,
							  slist_pop_head_node(&line->signals)));
	line->last = NULL;
	line->bytes = 0;
	if (begun)
	{
		slist_push_head(&line->signals, &begun->node);
		line->last = &begun->node;
		line->bytes = begun->len;
	}
}

static void
drop_first(Line *line)
{
	Waiting    *w = slist_container(Waiting, node,
									slist_pop_head_node(&line->signals));

	line->bytes -= w->len;
	if (line->last == &w->node)
		line->last = NULL;
	pfree(w);
}

static void
send_line(Line *line)
{
	while (line->link && line->last)
		if (send_first(line) != MSG_LINK_OK)
			return;

	/* What it missed can be said anew. */
	if (line->overrun)
		line->asks = true;
	line->overrun = false;
}

static MsgLinkResult
send_first(Line *line)
{
	Waiting    *w = slist_head_element(Waiting, node, &line->signals);
	MsgLinkResult result = msg_link_send(line->link, w->len, w->data);

	line->begun = result == MSG_LINK_WOULD_BLOCK;
	if (result == MSG_LINK_OK)
	{
		drop_first(line);
		line->moved_at = GetCurrentTimestamp();
	}
	else if (result == MSG_LINK_BROKEN)
		line->link = NULL;
	return result;
}
