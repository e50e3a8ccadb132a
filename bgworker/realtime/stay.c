/*-------------------------------------------------------------------------
 *
 * stay.c
 *	  Clients that come back: how far each has come, for the tables to keep.
 *
 * A client that names itself (client_id, in the address that it opens) gets,
 * when it joins a topic again, what it has missed since it was there.  For
 * that its position must be known when it is gone, so it is found out and
 * saved while it is there.
 *
 * Each transaction of which something was pushed to such a connection is noted
 * until a pong (acks.c) proves that it has arrived.  Then the client is where
 * the gateway's mark was when it was pinged, and it has, beyond that, the
 * transactions that were noted before the ping.  Of those, the next mark
 * covers most.  When there are too many some are not noted: the client
 * may get those again.
 *
 * A channel began at a mark of its own, where its catching up ended
 * (catchup.c).  What the connection has acknowledged counts for the channel
 * only when the ping came behind that.
 *
 * Positions are saved when a channel ends, and every few seconds while things
 * arrive, so that not even a crash of the server makes much come twice.
 * Nothing is saved before something has arrived: until then the client is
 * where it was.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include "rooms.h"

#define PASSED_FIRST	8
#define PASSED_MAX		1024	/* transactions of a connection */
#define SAVE_INTERVAL	5		/* seconds */
#define PARTING_MAX		(16 * 1024 * 1024)	/* bytes that wait to be saved */

/* What a channel that has ended leaves behind to be saved. */
typedef struct parting
{
	list_node	link;			/* hub.partings */
	size_t		size;
	char		record[];
} parting;

/* ----------
 * What has been pushed, and what has arrived
 * ----------
 */

bool
hub_conn_set_client(hub_conn *conn, const char *client_id, size_t len)
{
	stay	   *s;

	if (len == 0 || len > MSG_CLIENT_ID_MAX)
		return len == 0;
	s = calloc(1, sizeof(stay));
	if (s == NULL)
		return false;
	memcpy(s->client_id, client_id, len);
	s->client_id_len = (uint32_t) len;
	s->conn = conn;
	list_init(&s->in_unsaved);
	conn->stay = s;
	return true;
}

void
stay_free(hub_conn *conn)
{
	stay	   *s = conn->stay;

	if (s == NULL)
		return;
	list_remove(&s->in_unsaved);
	mark_unref(s->pinged);
	mark_unref(s->acked);
	free(s->passed);
	free(s);
	conn->stay = NULL;
}

/* Room for one more; false: it is not to be had. */
static bool
stay_make_room(stay *s)
{
	uint32_t	size = s->size ? s->size * 2 : PASSED_FIRST;
	passed	   *p;

	if (s->n < s->size)
		return true;
	if (size > PASSED_MAX)
		return false;
	p = realloc(s->passed, size * sizeof(passed));
	if (p == NULL)
		return false;
	s->passed = p;
	s->size = size;
	return true;
}

/* Something was pushed. */
void
stay_wait(hub_conn *conn)
{
	conn->stay->waits = true;
	acks_want_ping(conn);
}

/*
 * Something of a transaction was pushed, as the stream brought it to all
 * channels.  (What one channel had missed says nothing about the others.)  The
 * number is the transaction's among those routed here, or that of the last one
 * before it was pushed late.
 */
void
stay_note(hub_conn *conn, uint32_t xid, uint64_t number)
{
	stay	   *s = conn->stay;

	stay_wait(conn);
	if (s->n > 0 && s->passed[s->n - 1].xid == xid &&
		s->passed[s->n - 1].number == number)
		return;
	if (stay_make_room(s))
		s->passed[s->n++] = (passed) {number, xid};
}

/* A transaction of which only a part is routed has not been passed. */
void
stay_pinged(hub_conn *conn)
{
	hub		   *h = conn->hub;
	stay	   *s = conn->stay;

	mark_unref(s->pinged);
	s->pinged = mark_ref(h->mark);
	s->npinged = s->n;
	while (s->npinged > 0 &&
		   s->passed[s->npinged - 1].number > h->ntransactions)
		s->npinged--;
	s->waits = s->npinged < s->n;
	s->pings++;
}

/* The client is at the mark; what that covers need not be noted any more. */
static void
stay_reach(stay *s, mark *m)
{
	uint32_t	covered = 0;

	mark_unref(s->acked);
	s->acked = m;
	while (covered < s->nacked && s->passed[covered].number <= m->covers)
		covered++;
	s->n -= covered;
	s->nacked -= covered;
	if (s->n > 0)
		memmove(s->passed, s->passed + covered, s->n * sizeof(passed));
}

void
stay_ponged(hub_conn *conn)
{
	hub		   *h = conn->hub;
	stay	   *s = conn->stay;

	s->acked_pings = s->pings;
	s->nacked = s->npinged;
	if (s->pinged != NULL)
		stay_reach(s, s->pinged);
	s->pinged = NULL;
	if (list_is_empty(&s->in_unsaved))
	{
		s->save_at = h->now + SAVE_INTERVAL;
		list_push(&h->unsaved, &s->in_unsaved);
	}
}

/* ----------
 * What is saved
 * ----------
 */

/* The channel has all changes from here on, and had them until its origin. */
void
stay_begin(channel *ch)
{
	if (ch->conn->stay != NULL)
		ch->whole_since = ch->conn->stay->pings;
}

/* Has the client acknowledged something that counts for the channel? */
static bool
stay_counts(const channel *ch)
{
	return ch->session != 0 && ch->live && ch->catchup == NULL &&
		ch->origin != NULL &&
		ch->conn->stay->acked_pings > ch->whole_since;
}

/* The client's position on the channel's topic; NULL: no memory. */
static mark *
stay_position(const channel *ch)
{
	const stay *s = ch->conn->stay;
	const mark *base = ch->origin;
	uint32_t	xids[PASSED_MAX];

	if (s->acked != NULL && !mark_is_before(s->acked, base))
		base = s->acked;
	for (uint32_t i = 0; i < s->nacked; i++)
		xids[i] = s->passed[i].xid;
	return marks_extend(base, xids, s->nacked);
}

static void
put_record(buf *b, const channel *ch, const event_position *p)
{
	const stay *s = ch->conn->stay;
	MsgSavedPosition head = {
		.session = ch->session,
		.client_id_len = s->client_id_len,
		.topic_len = (uint32_t) ch->topic_len,
		.position_len = (uint32_t) event_position_size(p),
	};

	memcpy(head.profile_id, ch->identity.profile_id, UUID_SIZE);
	buf_part(b, &head, sizeof(head));
	buf_part(b, s->client_id, s->client_id_len);
	buf_part(b, ch->topic, ch->topic_len);
	buf_part(b, p, event_position_size(p));
}

/* False: nothing was left behind. */
static bool
leave_behind(hub *h, const buf *record)
{
	parting    *p;

	if (!buf_ok(record) || h->parting_bytes + record->len > PARTING_MAX)
		return false;
	p = malloc(sizeof(parting) + record->len);
	if (p == NULL)
		return false;
	p->size = record->len;
	memcpy(p->record, record->data, record->len);
	list_push(&h->partings, &p->link);
	h->parting_bytes += p->size;
	h->partings_made++;
	return true;
}

/* Have the channel's position saved; when that fails, the old one stands. */
void
stay_save(channel *ch)
{
	mark	   *m;
	buf			record;

	if (ch->conn->stay == NULL || !stay_counts(ch))
		return;
	m = stay_position(ch);
	if (m == NULL)
		return;
	buf_init(&record);
	put_record(&record, ch, m->position);
	if (!leave_behind(ch->conn->hub, &record))
		ch->conn->hub->stats.positions_lost++;
	buf_free(&record);
	mark_unref(m);
}

static bool
is_same_client(const stay *a, const stay *b)
{
	return a != NULL && a->client_id_len == b->client_id_len &&
		memcmp(a->client_id, b->client_id, a->client_id_len) == 0;
}

/*
 * The client has come back to a topic, perhaps before anybody noticed that
 * its earlier connection is dead: how far it had come there counts.
 */
void
stay_supersede(const channel *ch)
{
	list_foreach(node, &ch->bearer_of->bearers)
	{
		channel    *old = list_entry(channel, in_bearers, node);

		if (old == ch || old->topic_len != ch->topic_len ||
			memcmp(old->topic, ch->topic, ch->topic_len) != 0 ||
			!is_same_client(old->conn->stay, ch->conn->stay))
			continue;
		stay_save(old);
		old->session = 0;
	}
}

/* ----------
 * To the tables
 * ----------
 */

static void
save_due(hub *h)
{
	while (!list_is_empty(&h->unsaved))
	{
		stay	   *s = list_entry(stay, in_unsaved, h->unsaved.next);

		/* Or was the clock set back? */
		if (s->save_at > h->now && s->save_at <= h->now + SAVE_INTERVAL)
			break;
		list_remove(&s->in_unsaved);
		list_foreach(node, &s->conn->channels)
			stay_save(list_entry(channel, in_conn, node));
	}
}

size_t
hub_take_positions(hub *h, void *data, size_t max, int64_t now)
{
	size_t		taken = 0;

	hub_set_time(h, now);
	save_due(h);
	while (!list_is_empty(&h->partings))
	{
		parting    *p = list_entry(parting, link, h->partings.next);

		if (p->size > max - taken && taken > 0)
			break;
		if (p->size <= max)
		{
			memcpy((char *) data + taken, p->record, p->size);
			taken += p->size;
		}
		h->parting_bytes -= p->size;
		h->partings_taken++;
		list_remove(&p->link);
		free(p);
	}
	return taken;
}

void
hub_positions_saved(hub *h)
{
	h->partings_saved = h->partings_taken;
	catchup_ask(h);
	hub_reap(h);
}

int64_t
hub_positions_due(const hub *h)
{
	if (!list_is_empty(&h->partings))
		return h->now_us;
	if (!list_is_empty(&h->unsaved))
		return list_entry(stay, in_unsaved, h->unsaved.next)->save_at * 1000000;
	return 0;
}

void
stay_forget_partings(hub *h)
{
	list_node  *node;

	while ((node = list_shift(&h->partings)) != NULL)
		free(list_entry(parting, link, node));
	h->parting_bytes = 0;
	h->partings_saved = h->partings_taken = h->partings_made;
}
