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
 * What a gateway does not take waits here, up to a limit.  Broadcasts are
 * dropped for a gateway whose line is half full.  Presence is not: when a line
 * is full no more signals are taken from anybody, and the gateways have to keep
 * theirs.
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

#include "realtime/signals.h"
#include "relay.h"
#include "worker.h"

#define MAX_LINE		(1024 * 1024)

/* From one gateway, before the next one has its turn. */
#define SIGNALS_A_TURN	100

typedef struct Waiting
{
	slist_node	node;
	Size		len;
	char		data[FLEXIBLE_ARRAY_MEMBER];
} Waiting;

/* What is to be sent to a gateway. */
typedef struct Line
{
	slist_head	signals;
	slist_node *last;			/* NULL: it is empty */
	Size		bytes;
	bool		begun;			/* the first one was sent in part */
	bool		asks;			/* its link is new: others shall tell it all */
	bool		maybe_present;	/* nobody was told that the gateway is down */
} Line;

static Line *lines;				/* one for each gateway */
static MemoryContext context;

static void look_around(MsgLink **links);
static bool receive_from(MsgLink **links, int gateway);
static void pass_on(MsgLink **links, const signal_header *signal);
static void tell_others(MsgLink **links, int gateway, signal_kind kind);
static void put(Line *line, const void *data, Size len);
static void drop_first(Line *line);
static MsgLinkResult send_first(Line *line, MsgLink *link);
static void send_line(MsgLink **links, int gateway);
static void lose_link(MsgLink **links, int gateway);
static bool has_room(void);

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
msg_relay(MsgLink **links, int busy)
{
	bool		more = false;

	if (msg_gateways == 1)
		return;					/* it has nobody to talk to */

	look_around(links);
	for (int g = 0; g < msg_gateways; g++)
		more |= receive_from(links, g);
	for (int g = 0; g < msg_gateways; g++)
		if (g != busy)
			send_line(links, g);

	/* Events have their turn in between. */
	if (more && has_room())
		SetLatch(MyLatch);
}

void
msg_relay_new_link(int gateway)
{
	Line	   *line = &lines[gateway];

	while (line->last)
		drop_first(line);
	line->begun = false;
	line->asks = true;

	/* It may not know yet who is down. */
	for (int g = 0; g < msg_gateways; g++)
		lines[g].maybe_present = true;
}

MsgLinkResult
msg_relay_finish(int gateway, MsgLink *link)
{
	Line	   *line = &lines[gateway];

	return line->begun ? send_first(line, link) : MSG_LINK_OK;
}

/* Gateways that are down, and those that have just come. */
static void
look_around(MsgLink **links)
{
	for (int g = 0; g < msg_gateways; g++)
	{
		MsgWorkerSlot *slot = &msg_shared->slots[MSG_SLOT_GATEWAY(g)];

		if (links[g] && lines[g].asks)
		{
			lines[g].asks = false;
			tell_others(links, g, SIGNAL_ASK);
		}
		if (links[g] == NULL && lines[g].maybe_present &&
			msg_worker_state(slot) == MSG_WORKER_DOWN)
		{
			lines[g].maybe_present = false;
			tell_others(links, g, SIGNAL_RESET);
			tell_others(links, g, SIGNAL_SYNCED);
		}
	}
}

/* True: there may be more. */
static bool
receive_from(MsgLink **links, int gateway)
{
	for (int n = 0; links[gateway] && n < SIGNALS_A_TURN && has_room(); n++)
	{
		Size		len;
		void	   *data;

		switch (msg_link_receive(links[gateway], &len, &data))
		{
			case MSG_LINK_OK:
				if (!signal_valid(data, len))
					elog(ERROR, "signal of %zu bytes is not valid", len);
				pass_on(links, data);
				break;
			case MSG_LINK_WOULD_BLOCK:
				return false;
			case MSG_LINK_BROKEN:
				lose_link(links, gateway);
				return false;
		}
	}
	return links[gateway] != NULL;
}

static void
pass_on(MsgLink **links, const signal_header *signal)
{
	bool		broadcast = signal->kind == SIGNAL_BROADCAST;

	for (int g = 0; g < msg_gateways; g++)
		if (links[g] && !(broadcast && lines[g].bytes > MAX_LINE / 2))
			put(&lines[g], signal, signal->size);
}

/* Something about a gateway that only we know, to all others. */
static void
tell_others(MsgLink **links, int gateway, signal_kind kind)
{
	signal_header signal = {
		.magic = SIGNAL_MAGIC,
		.size = sizeof(signal),
		.kind = kind,
		.gateway = gateway,
	};

	for (int g = 0; g < msg_gateways; g++)
		if (g != gateway && links[g])
			put(&lines[g], &signal, sizeof(signal));
}

static void
put(Line *line, const void *data, Size len)
{
	Waiting    *w = MemoryContextAlloc(context, offsetof(Waiting, data) + len);

	w->len = len;
	memcpy(w->data, data, len);
	if (line->last)
		slist_insert_after(line->last, &w->node);
	else
		slist_push_head(&line->signals, &w->node);
	line->last = &w->node;
	line->bytes += len;
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

static MsgLinkResult
send_first(Line *line, MsgLink *link)
{
	Waiting    *w = slist_head_element(Waiting, node, &line->signals);
	MsgLinkResult result = msg_link_send(link, w->len, w->data);

	line->begun = result == MSG_LINK_WOULD_BLOCK;
	if (result == MSG_LINK_OK)
		drop_first(line);
	return result;
}

static void
send_line(MsgLink **links, int gateway)
{
	Line	   *line = &lines[gateway];

	while (links[gateway] && line->last)
	{
		switch (send_first(line, links[gateway]))
		{
			case MSG_LINK_OK:
				break;
			case MSG_LINK_WOULD_BLOCK:
				return;
			case MSG_LINK_BROKEN:
				lose_link(links, gateway);
				return;
		}
	}
}

static void
lose_link(MsgLink **links, int gateway)
{
	msg_link_close(links[gateway]);
	links[gateway] = NULL;
	msg_relay_new_link(gateway);
}

static bool
has_room(void)
{
	for (int g = 0; g < msg_gateways; g++)
		if (lines[g].bytes >= MAX_LINE)
			return false;
	return true;
}
