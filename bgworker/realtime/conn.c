/*-------------------------------------------------------------------------
 *
 * conn.c
 *	  Connections: what goes out to them, and how they end.
 *
 * A frame that cannot be queued, for lack of memory or because the reader is
 * too slow, must not be left out silently: the connection is cut with a code
 * that asks the client to come back, and the tables have what it missed.
 * Broadcast and presence are not in the tables: they get half of the queue,
 * and before a reader is cut, what waits of them is dropped.
 *
 * Many readers that are a little behind may take more memory than one that is
 * far behind.  So there is a limit for all of them together, too; those who
 * are furthest behind go first.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include "rooms.h"

/*
 * An error reply to a join is held back: a client that is refused at once
 * asks again at once.
 */
#define REFUSAL_DELAY		1	/* seconds, at least */
#define REFUSAL_MAX			100 /* a connection; further ones get none */

/* All connections together may have as much unsent as so many alone. */
#define TOTAL_QUEUES		256

typedef struct refusal
{
	list_node	in_conn;
	timer		timer;
	hub_conn   *conn;
	frame	   *frame;
} refusal;

/* ----------
 * Sending
 * ----------
 */

/* A single frame may be larger than the limit. */
static bool
overflows(const hub_conn *conn, const frame *f)
{
	size_t		waiting = queue_bytes(&conn->queue);
	size_t		most = conn->hub->config.max_queue_bytes;

	if (f == NULL || waiting == 0)
		return false;
	return waiting + f->len > (f->ephemeral ? most / 2 : most);
}

/* Make room by dropping what nobody needs. */
static void
evict(hub_conn *conn)
{
	uint32_t	n = queue_drop(&conn->queue,
							   &(queue_choice) {.ephemeral = true});

	conn->hub->stats.dropped += n;
	if (n == 0)
		return;
	list_foreach(node, &conn->channels)
		attendance_missed(list_entry(channel, in_conn, node));
}

static void
cut_slow(hub_conn *conn)
{
	conn->hub->stats.slow_readers++;
	conn_cut(conn, HUB_CLOSE_TRY_LATER, "reader too slow");
}

/* Cut whoever has at least half as much unsent as the slowest reader. */
static void
cut_slowest(hub *h)
{
	size_t		most = 0;

	list_foreach(node, &h->conns)
	{
		hub_conn   *conn = list_entry(hub_conn, link, node);

		if (queue_bytes(&conn->queue) > most)
			most = queue_bytes(&conn->queue);
	}
	list_foreach_safe(node, &h->conns)
	{
		hub_conn   *conn = list_entry(hub_conn, link, node);

		if (queue_bytes(&conn->queue) <= most / 2)
			continue;
		h->ops.drain(h->arg, conn);
		if (queue_bytes(&conn->queue) > most / 2)
			cut_slow(conn);
	}
}

/*
 * Keep within the limit of all queues.  When that does not help, since what
 * is cut shares its frames with others, it is tried again when it got worse,
 * and not with every frame.
 */
static void
relieve(hub *h)
{
	size_t		most = TOTAL_QUEUES * h->config.max_queue_bytes;

	if (queue_memory <= most)
	{
		h->relief_at = most;
		return;
	}
	if (queue_memory <= h->relief_at)
		return;
	cut_slowest(h);
	h->relief_at = queue_memory > most ? queue_memory + most / 16 : most;
}

/*
 * Queue a frame; NULL stands for one that there was no memory for.  False:
 * the connection was cut for it, or the frame is ephemeral and was dropped.
 */
bool
conn_push(hub_conn *conn, frame *f, const channel *owner)
{
	hub		   *h = conn->hub;
	bool		was_empty;

	if (conn->cut)
		return false;
	if (f != NULL)
		f = packer_choose(h->packer, f, conn->window);
	if (overflows(conn, f))
		h->ops.drain(h->arg, conn);
	if (overflows(conn, f) && f->ephemeral)
	{
		h->stats.dropped++;
		return false;
	}
	if (overflows(conn, f))
		evict(conn);
	if (overflows(conn, f))
	{
		cut_slow(conn);
		return false;
	}
	relieve(h);
	if (conn->cut)
		return false;
	was_empty = queue_bytes(&conn->queue) == 0;
	if (f == NULL || !queue_push(&conn->queue, f, owner))
	{
		conn_cut(conn, HUB_CLOSE_TRY_LATER, "out of memory");
		return false;
	}
	h->stats.frames++;
	if (was_empty)
		h->ops.dirty(h->arg, conn);
	return true;
}

/* The same for a frame that nobody else gets. */
void
conn_send(hub_conn *conn, frame *f)
{
	conn_push(conn, f, NULL);
	frame_unref(f);
}

static void
refusal_free(refusal *r)
{
	timer_stop(&r->timer);
	list_remove(&r->in_conn);
	r->conn->nrefusals--;
	r->conn->refusal_bytes -= r->frame->len;
	frame_unref(r->frame);
	free(r);
}

static void
refusal_fire(timer *t, int64_t now_s)
{
	refusal    *r = list_entry(refusal, timer, t);

	(void) now_s;
	conn_push(r->conn, r->frame, NULL);
	refusal_free(r);
}

/* What is held back takes its share of what may wait. */
static bool
may_hold_back(const hub_conn *conn, const frame *f)
{
	return conn->nrefusals < REFUSAL_MAX &&
		queue_bytes(&conn->queue) + conn->refusal_bytes + f->len <=
		conn->hub->config.max_queue_bytes;
}

/* Send a frame after a while. */
void
conn_refuse(hub_conn *conn, frame *f)
{
	refusal    *r = NULL;

	if (f != NULL && may_hold_back(conn, f))
		r = malloc(sizeof(refusal));
	if (r == NULL)
	{
		frame_unref(f);
		return;
	}
	r->conn = conn;
	r->frame = f;
	timer_init(&r->timer, refusal_fire);
	timer_start(&conn->hub->wheel, &r->timer,
				conn->hub->now + REFUSAL_DELAY + 1);
	list_push(&conn->refusals, &r->in_conn);
	conn->nrefusals++;
	conn->refusal_bytes += f->len;
}

/*
 * May there be so many more of something that is allowed burst times at once,
 * and then once in an interval?  *until is the time, in milliseconds, until
 * which those so far use up the share.  0: they are spent; else how many
 * milliseconds must pass.
 */
int64_t
conn_wait(const hub *h, int64_t *until, int n, int burst, int interval_ms)
{
	int64_t		now = h->now_us / 1000;
	int64_t		end = now + (int64_t) burst * interval_ms;
	int64_t		spent = (int64_t) n * interval_ms;

	/* Long past, or from before the clock was set back. */
	if (*until < now || *until > end)
		*until = now;
	if (*until + spent > end)
		return *until + spent - end;
	*until += spent;
	return 0;
}

bool
conn_spend(const hub *h, int64_t *until, int burst, int interval_ms)
{
	return conn_wait(h, until, 1, burst, interval_ms) == 0;
}

/* ----------
 * Beginning and end
 * ----------
 */

static void
idle_fire(timer *t, int64_t now_s)
{
	hub_conn   *conn = list_entry(hub_conn, idle, t);
	int64_t		due = conn->last_seen + conn->hub->config.idle_timeout;

	if (conn->revoked && list_is_empty(&conn->channels))
		conn_cut(conn, HUB_CLOSE_POLICY, TOKEN_IS_REVOKED);
	else if (due <= now_s)
		conn_cut(conn, HUB_CLOSE_NORMAL, "idle");
	else
		timer_start(&conn->hub->wheel, &conn->idle, due);
}

hub_conn *
hub_conn_open(hub *h, void *socket, int vsn, const token_claims *claims,
			  const char *token, int64_t now)
{
	hub_conn   *conn = calloc(1, sizeof(hub_conn));

	if (conn == NULL)
		return NULL;
	hub_set_time(h, now);
	conn->hub = h;
	conn->socket = socket;
	conn->vsn = vsn == 2 ? 2 : 1;
	identity_set(h, &conn->identity, claims, token,
				 token != NULL ? strlen(token) : 0);
	list_init(&conn->in_bearers);
	if (!conn_bear(conn))
	{
		free(conn);
		return NULL;
	}
	queue_init(&conn->queue);
	acks_init(conn);
	list_init(&conn->channels);
	list_init(&conn->refusals);
	conn->last_seen = h->now;
	timer_init(&conn->idle, idle_fire);
	timer_start(&h->wheel, &conn->idle, h->now + h->config.idle_timeout);
	list_init(&conn->link);
	list_push(&h->conns, &conn->link);
	h->stats.connections++;
	return conn;
}

/* Mark a connection as ended; what it owns goes in hub_reap(). */
void
conn_cut(hub_conn *conn, int code, const char *reason)
{
	if (conn->cut)
		return;
	conn->cut = true;
	conn->close_code = code;
	conn->close_reason = reason;
	queue_clear(&conn->queue);
	list_remove(&conn->link);
	list_push(&conn->hub->cut, &conn->link);
}

static void
conn_empty(hub_conn *conn)
{
	timer_stop(&conn->idle);
	list_remove(&conn->acks.in_unpinged);
	while (!list_is_empty(&conn->refusals))
		refusal_free(list_entry(refusal, in_conn, conn->refusals.next));
	while (!list_is_empty(&conn->channels))
	{
		channel    *ch = list_entry(channel, in_conn, conn->channels.next);

		presence_linger(ch);
		channel_drop(ch);
	}
}

void
hub_reap(hub *h)
{
	list_node  *node;

	while ((node = list_shift(&h->cut)) != NULL)
	{
		hub_conn   *conn = list_entry(hub_conn, link, node);

		conn_empty(conn);
		list_push(&h->closed, &conn->link);
		h->ops.close(h->arg, conn, conn->close_code, conn->close_reason);
	}
}

void
hub_conn_close(hub_conn *conn)
{
	conn_empty(conn);
	conn_unbear(conn);
	list_remove(&conn->link);
	conn->hub->stats.connections--;
	queue_free(&conn->queue);
	acks_free(conn);
	stay_free(conn);
	free(conn);
}

void
hub_conn_receive(hub_conn *conn, bool binary, const char *data, size_t len,
				 int64_t now)
{
	hub		   *h = conn->hub;
	message		m;

	hub_set_time(h, now);
	if (conn->cut)
		return;
	conn->last_seen = h->now;

	/* What cannot be read is passed over, as the protocol has it. */
	if (binary ? message_parse_binary(&m, conn->vsn, data, len) :
		message_parse(&m, conn->vsn, data, len))
	{
		channel_receive(conn, &m);
		message_free(&m);
	}
	hub_reap(h);
}

void
hub_conn_set_window(hub_conn *conn, int bits)
{
	conn->window = (uint8_t) bits;
}

void *
hub_conn_socket(const hub_conn *conn)
{
	return conn->socket;
}

queue *
hub_conn_queue(hub_conn *conn)
{
	return &conn->queue;
}
