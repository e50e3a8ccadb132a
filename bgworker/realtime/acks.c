/*-------------------------------------------------------------------------
 *
 * acks.c
 *	  What has arrived: pings behind what was sent, and the receipts that
 *	  come out of their pongs.
 *
 * A WebSocket ping is answered by every client, the browser does it by itself,
 * and bytes keep their order: the pong to a ping proves that all that was
 * queued before the ping is on the client's machine.  So, once a second, each
 * connection that was sent messages gets a ping with a number; there is never
 * more than one under way, and who is sent nothing is not pinged.  The pong
 * also says up to which position in the stream of events the client has all
 * that was meant for it.
 *
 * What was sent is noted for each connection as ranges of seq, one for each
 * conversation and profile.  Most of the time that is one, which has its place
 * in the connection.  A range has no gaps: a filter of the client's may keep
 * messages back, and those have not arrived.  When frames are dropped that
 * wait to be written, nobody remembers which range they belong to, and all
 * that the connection has not acknowledged is forgotten: a receipt may be
 * missing, but none is false.
 *
 * The own messages of a profile are no news to it.  In a conversation with
 * many members nobody looks who of them has got what; every receipt would be
 * an event for all others.
 *
 * A receipt is for a profile: the first of its clients counts, and what is
 * known already is not told again.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include "rooms.h"

#define ACKS_MAX		256		/* ranges of a connection */
#define ACKS_KEEP		8		/* room for as many is kept */
#define ACKS_LOOK_BACK	8		/* is it the continuation of one of those? */
#define MAX_MEMBERS		50		/* connected here; see src/receipts.c */

#define RECEIPTS_FIRST	64
#define RECEIPTS_MAX	65536	/* that wait */
#define RECEIPTS_DELAY	50000	/* microseconds: for others to come along */
#define AGAIN_DELAY		1000000
#define TRIES_MAX		10

/* ----------
 * What was sent
 * ----------
 */

void
acks_init(hub_conn *conn)
{
	acks	   *a = &conn->acks;

	list_init(&a->in_unpinged);
	a->items = a->own;
	a->size = 1;
}

void
acks_free(hub_conn *conn)
{
	acks	   *a = &conn->acks;

	if (a->items != a->own)
		free(a->items);
	a->items = a->own;
	a->size = 1;
	a->n = a->npinged = 0;
}

/* Is it of interest who gets this event? */
bool
acks_wanted(const hub *h, const room *where, const event_header *e)
{
	return h->config.receipts && e->table == EVENT_MESSAGES &&
		e->action == EVENT_INSERT && e->seq > 0 &&
		where != NULL && where->nmembers <= MAX_MEMBERS;
}

/* False: no memory, or too many. */
static bool
acks_grow(acks *a)
{
	uint32_t	size = a->size * 4;
	hub_receipt *items;

	if (a->size >= ACKS_MAX)
		return false;
	items = malloc(size * sizeof(hub_receipt));
	if (items == NULL)
		return false;
	memcpy(items, a->items, a->n * sizeof(hub_receipt));
	if (a->items != a->own)
		free(a->items);
	a->items = items;
	a->size = size;
	return true;
}

/* Is it in a range, or made to be? */
static bool
acks_extend(acks *a, const user *u, const event_header *e)
{
	uint32_t	stop = a->npinged;

	if (a->n > stop + ACKS_LOOK_BACK)
		stop = a->n - ACKS_LOOK_BACK;
	for (uint32_t i = a->n; i > stop; i--)
	{
		hub_receipt *item = &a->items[i - 1];

		if (memcmp(item->conversation_id, e->conversation_id, UUID_SIZE) != 0 ||
			memcmp(item->profile_id, u->id, UUID_SIZE) != 0)
			continue;
		if (e->seq == item->last + 1)
			item->last = e->seq;
		return e->seq == item->last;
	}
	return false;
}

/* A message was queued for a connection, on behalf of this user. */
void
acks_note(hub_conn *conn, const user *u, const event_header *e)
{
	acks	   *a = &conn->acks;
	hub_receipt *item;

	if (memcmp(e->profile_id, u->id, UUID_SIZE) == 0)
		return;
	if (a->oldest == 0 && conn->hub->routing)
		a->oldest = e->commit_time;
	if (acks_extend(a, u, e))
		return;
	if (a->n == a->size && !acks_grow(a))
	{
		conn->hub->stats.receipts_lost++;
		return;
	}
	item = &a->items[a->n++];
	memcpy(item->conversation_id, e->conversation_id, UUID_SIZE);
	memcpy(item->profile_id, u->id, UUID_SIZE);
	item->first = item->last = e->seq;
	item->tries = 0;
	acks_want_ping(conn);
}

/* Some of what was noted will never be written. */
void
acks_forget(hub_conn *conn)
{
	acks	   *a = &conn->acks;

	conn->hub->stats.receipts_lost += a->n;
	a->n = a->npinged = 0;
	a->oldest = a->ping_oldest = 0;
}

/* ----------
 * Pings and pongs
 * ----------
 */

void
acks_want_ping(hub_conn *conn)
{
	acks	   *a = &conn->acks;

	if (a->ping == 0 && list_is_empty(&a->in_unpinged))
		list_push(&conn->hub->unpinged, &a->in_unpinged);
}

/* Is there something to be acknowledged? */
static bool
acks_wait(const hub_conn *conn)
{
	return conn->acks.n > 0 || (conn->stay != NULL && conn->stay->waits);
}

/*
 * A ping is no reason to cut a connection whose queue is full, nor because
 * there is no memory.  False: later.
 */
static bool
acks_send_ping(hub *h, hub_conn *conn)
{
	acks	   *a = &conn->acks;
	frame	   *f;

	if (queue_bytes(&conn->queue) > h->config.max_queue_bytes / 2)
		return false;
	if (++h->next_ping == 0)
		h->next_ping = 1;
	f = frame_ping(&h->next_ping, sizeof(h->next_ping));
	if (f == NULL)
		return false;
	a->ping = h->next_ping;
	a->npinged = a->n;
	a->ping_oldest = a->oldest;
	a->oldest = 0;
	if (conn->stay != NULL)
		stay_pinged(conn);
	conn_send(conn, f);
	return true;
}

/* Once a second. */
void
acks_ping(hub *h)
{
	list		due;
	list_node  *node;

	if (h->last_ping == h->now)
		return;
	h->last_ping = h->now;
	list_init(&due);
	list_move(&due, &h->unpinged);
	while ((node = list_shift(&due)) != NULL)
	{
		hub_conn   *conn = list_entry(hub_conn, acks.in_unpinged, node);

		if (!conn->cut && acks_wait(conn) && !acks_send_ping(h, conn))
			list_push(&h->unpinged, node);
	}
}

static bool
seat_has_seen(const seat *s, const hub_receipt *r)
{
	return s->first_seq <= r->first && s->last_seq >= r->last;
}

/* How many of these have not been seen? */
static uint64_t
seat_news(const seat *s, const hub_receipt *r)
{
	int64_t		first = r->first > s->first_seq ? r->first : s->first_seq;
	int64_t		last = r->last < s->last_seq ? r->last : s->last_seq;
	int64_t		seen = s->last_seq > 0 && last >= first ? last - first + 1 : 0;

	return (uint64_t) (r->last - r->first + 1 - seen);
}

/* The latest range without gaps is remembered. */
static void
seat_sees(seat *s, const hub_receipt *r)
{
	if (s->last_seq == 0 || r->first > s->last_seq + 1 ||
		r->last + 1 < s->first_seq)
	{
		s->first_seq = r->first;
		s->last_seq = r->last;
		return;
	}
	if (r->first < s->first_seq)
		s->first_seq = r->first;
	if (r->last > s->last_seq)
		s->last_seq = r->last;
}

/* Room for one more receipt; false: there are too many, or no memory. */
static bool
receipts_make_room(hub *h)
{
	size_t		size = h->receipts_size ? h->receipts_size * 2 : RECEIPTS_FIRST;
	hub_receipt *receipts;

	if (h->first_receipt + h->nreceipts < h->receipts_size)
		return true;
	if (h->first_receipt > 0)
	{
		memmove(h->receipts, h->receipts + h->first_receipt,
				h->nreceipts * sizeof(hub_receipt));
		h->first_receipt = 0;
		return true;
	}
	if (size > RECEIPTS_MAX)
		return false;
	receipts = realloc(h->receipts, size * sizeof(hub_receipt));
	if (receipts == NULL)
		return false;
	h->receipts = receipts;
	h->receipts_size = size;
	return true;
}

static void
receipts_add(hub *h, const hub_receipt *r, int delay)
{
	if (!receipts_make_room(h))
	{
		h->stats.receipts_lost++;
		return;
	}
	h->receipts[h->first_receipt + h->nreceipts++] = *r;
	if (h->receipts_due == 0)
		h->receipts_due = h->now_us + delay;
}

/* It has arrived, if the profile is still a member. */
static void
acks_confirm(hub *h, const hub_receipt *r)
{
	/* The key of a seat is that of a receipt. */
	seat	   *s = map_get(&h->seats, r->conversation_id);

	if (s == NULL || !s->member || seat_has_seen(s, r))
		return;
	h->stats.delivered += seat_news(s, r);
	seat_sees(s, r);
	h->stats.receipts++;
	receipts_add(h, r, RECEIPTS_DELAY);
}

void
hub_conn_pong(hub_conn *conn, const char *data, size_t len, int64_t now)
{
	hub		   *h = conn->hub;
	acks	   *a = &conn->acks;
	uint32_t	npinged = a->npinged;

	hub_set_time(h, now);
	if (conn->cut || a->ping == 0 || len != sizeof(a->ping) ||
		memcmp(data, &a->ping, len) != 0)
		return;
	a->ping = 0;
	if (a->ping_oldest != 0)
		latency_add(&h->stats.acknowledged, now - a->ping_oldest);
	if (conn->stay != NULL)
		stay_ponged(conn);
	for (uint32_t i = 0; i < npinged; i++)
		acks_confirm(h, &a->items[i]);
	a->n -= npinged;
	a->npinged = 0;
	memmove(a->items, a->items + npinged, a->n * sizeof(hub_receipt));
	if (a->n == 0 && a->size > ACKS_KEEP)
		acks_free(conn);
	if (acks_wait(conn))
		acks_want_ping(conn);
}

/* ----------
 * Receipts
 * ----------
 */

size_t
hub_take_receipts(hub *h, hub_receipt *receipts, size_t max)
{
	size_t		n = h->nreceipts < max ? h->nreceipts : max;

	if (n > 0)
		memcpy(receipts, h->receipts + h->first_receipt,
			   n * sizeof(hub_receipt));
	h->first_receipt += n;
	h->nreceipts -= n;
	if (h->nreceipts == 0)
	{
		h->first_receipt = 0;
		h->receipts_due = 0;
	}
	return n;
}

void
hub_receipts_again(hub *h, const hub_receipt *receipts, size_t n, int64_t now)
{
	hub_set_time(h, now);
	for (size_t i = 0; i < n; i++)
	{
		hub_receipt r = receipts[i];

		if (++r.tries < TRIES_MAX)
			receipts_add(h, &r, AGAIN_DELAY);
		else
			h->stats.receipts_lost++;
	}
}

int64_t
hub_receipts_due(const hub *h)
{
	return h->receipts_due;
}
