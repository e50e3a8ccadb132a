/*-------------------------------------------------------------------------
 *
 * catchup.c
 *	  Catching up: what a channel has missed comes out of the tables, before
 *	  anything that happens from now on.
 *
 * A channel has missed something when its client was away and names itself
 * (stay.c), or when the stream of events was broken for all.  It knows from
 * where: a position.  An executor reads what is missing up to a mark that it
 * takes when it is asked, as events like those of the stream, and in pieces.
 *
 * - Until the executor is asked, events of the stream pass the channel by:
 *	 whatever was routed by then will be part of what it reads.
 * - From then on they are held back.  When all has come, those that the mark
 *	 sees are dropped, since they have come already, and the others follow.
 * - When too much had to be held back it is dropped, too, and a further round
 *	 begins at the mark.
 * - Then the channel follows the stream; for a while, events may still come
 *	 in there that the mark has seen: they pass it by (channel.apart).
 *
 * So each change comes once, and within a conversation in order.  A reader
 * that is slow is not sent more than his queue takes; the rest waits here.  As
 * that needs memory, and the executors have others to serve, only a few
 * channels catch up at a time, the others wait in line.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include "catchup.h"

#define CATCHUPS_MAX	16		/* at a time */
#define ROUNDS_MAX		20		/* then there is no end to it */
#define TRIES_MAX		3
#define PATIENCE		60		/* seconds for a reader who takes nothing */

static void catchup_go_on(catchup *c);

/* ----------
 * Beginning and end
 * ----------
 */

static bool
in_progress(const catchup *c)
{
	return c->state == CATCHUP_ASKED || c->state == CATCHUP_TELLING;
}

static void
drop_held(catchup *c)
{
	for (uint32_t i = 0; i < c->nheld; i++)
		frame_unref(c->held[i].frame);
	free(c->held);
	c->held = NULL;
	c->nheld = c->held_size = 0;
	c->held_bytes = 0;
}

static void
drop_reply(catchup *c)
{
	free(c->reply);
	c->reply = NULL;
}

/* Out of the list of its state, into another. */
static void
set_state(catchup *c, catchup_state state)
{
	hub		   *h = c->channel->conn->hub;

	if (c->state == CATCHUP_ASKED)
		map_remove(&h->catchups, &c->entry);
	h->ncatchups += (state == CATCHUP_ASKED || state == CATCHUP_TELLING) -
		in_progress(c);
	list_remove(&c->link);
	c->state = state;
	switch (state)
	{
		case CATCHUP_UNREADY:
			break;
		case CATCHUP_IN_LINE:
			list_push(&h->in_line, &c->link);
			break;
		case CATCHUP_ASKED:
			map_put(&h->catchups, &c->entry);
			list_push(&h->asked, &c->link);
			break;
		case CATCHUP_TELLING:
			list_push(&h->telling, &c->link);
			break;
	}
}

static void
catchup_free(catchup *c)
{
	channel    *ch = c->channel;

	set_state(c, CATCHUP_UNREADY);
	drop_held(c);
	drop_reply(c);
	catchup_forget_round(c);
	mark_unref(c->from);
	free(c);
	ch->catchup = NULL;
}

/* The channel follows nothing any more. */
void
catchup_end(channel *ch)
{
	hub		   *h = ch->conn->hub;

	if (ch->catchup != NULL)
		catchup_free(ch->catchup);
	mark_unref(ch->origin);
	ch->origin = NULL;
	ch->apart = false;
	ch->session = 0;
	catchup_ask(h);
}

/*
 * The channel has missed what came behind "from", or (NULL) what came behind
 * the position that was saved for its client.  False: no memory.
 */
bool
catchup_begin(channel *ch, mark *from)
{
	hub		   *h = ch->conn->hub;
	catchup    *c = calloc(1, sizeof(catchup));

	if (c == NULL)
		return false;
	c->channel = ch;
	c->from = mark_ref(from);
	c->resume = from == NULL;
	c->needs = h->partings_made;
	list_init(&c->link);
	ch->catchup = c;
	ch->apart = true;
	if (ch->user->state == USER_LOADED)
		set_state(c, CATCHUP_IN_LINE);
	catchup_ask(h);
	return true;
}

/*
 * The stream was broken while the channel was catching up.  When nothing of
 * the round has been told, it begins again; else another one must follow.
 */
static void
catchup_restart(catchup *c)
{
	drop_held(c);
	c->overrun = c->until != NULL;
	if (c->until == NULL)
		set_state(c, CATCHUP_UNREADY);
}

/* The memberships of the user are known (again). */
void
catchup_user_loaded(user *u)
{
	list_foreach(node, &u->channels)
	{
		catchup    *c = list_entry(channel, in_user, node)->catchup;

		if (c != NULL && c->state == CATCHUP_UNREADY)
			set_state(c, CATCHUP_IN_LINE);
	}
	catchup_ask(u->hub);
}

static void
give_up(catchup *c, const char *reason)
{
	conn_cut(c->channel->conn, HUB_CLOSE_TRY_LATER, reason);
	drop_reply(c);
	set_state(c, CATCHUP_UNREADY);
}

/* ----------
 * Asking
 * ----------
 */

/* False: not now.  A question that can never be asked ends the connection. */
static bool
ask(catchup *c)
{
	hub		   *h = c->channel->conn->hub;
	bool		possible;
	bool		asked;
	buf			request;

	buf_init(&request);
	catchup_put_request(&request, c);
	possible = buf_ok(&request) && request.len <= MSG_CALL_PAYLOAD;
	asked = possible &&
		h->ops.catch_up(h->arg, h->next_ticket + 1, c->channel->user->id,
						request.data, request.len);
	buf_free(&request);
	if (!possible)
	{
		give_up(c, "changes could not be read");
		return true;
	}
	if (!asked)
		return false;
	c->ticket = ++h->next_ticket;
	set_state(c, CATCHUP_ASKED);
	return true;
}

/* As many as may be. */
void
catchup_ask(hub *h)
{
	list_foreach_safe(node, &h->in_line)
	{
		catchup    *c = list_entry(catchup, link, node);

		if (!h->live || h->ncatchups >= CATCHUPS_MAX)
			break;
		if (c->not_before > h->now ||
			(c->resume && c->needs > h->partings_saved))
			continue;
		if (!ask(c))
			break;
	}
}

/* ----------
 * Following the stream meanwhile
 * ----------
 */

/* Does the channel take an event of the stream? */
bool
catchup_admits(channel *ch, const event_header *e)
{
	if (ch->catchup != NULL)
		return in_progress(ch->catchup);
	if (e->commit_lsn <= ch->origin->fence)
		return !position_sees(ch->origin->position, e->xid);

	/* Commits come in order: nothing that the mark sees will follow. */
	ch->apart = false;
	if (ch->conn->stay == NULL && ch->conn->hub->mark != NULL)
	{
		mark_unref(ch->origin);
		ch->origin = NULL;
	}
	return true;
}

/* Room for one more; false: there is too much. */
static bool
held_make_room(catchup *c, const frame *f)
{
	uint32_t	size = c->held_size ? c->held_size * 2 : 8;
	held	   *all;

	c->held_bytes += sizeof(held) + f->len;
	if (c->held_bytes > c->channel->conn->hub->config.max_queue_bytes)
		return false;
	if (c->nheld < c->held_size)
		return true;
	all = realloc(c->held, size * sizeof(held));
	if (all == NULL)
		return false;
	c->held = all;
	c->held_size = size;
	return true;
}

/* Hold a frame back (NULL: there was no memory for it). */
void
catchup_hold(channel *ch, frame *f, const event_header *e)
{
	catchup    *c = ch->catchup;

	if (c->overrun)
		return;
	if (f == NULL || !held_make_room(c, f))
	{
		drop_held(c);
		c->overrun = true;
		return;
	}
	c->held[c->nheld].event = *e;
	c->held[c->nheld++].frame = frame_ref(f);
}

/* The channel lost sight of a room, or (seq) of a message. */
void
catchup_take_back(channel *ch, const uint8_t *room_id, int64_t seq)
{
	catchup    *c = ch->catchup;
	uint32_t	kept = 0;

	if (c == NULL)
		return;
	if (seq != 0 && c->reply != NULL)
		catchup_strike_message(c, room_id, seq);
	for (uint32_t i = 0; i < c->nheld; i++)
	{
		held	   *item = &c->held[i];

		if (memcmp(item->event.conversation_id, room_id, UUID_SIZE) == 0 &&
			(seq == 0 || item->event.seq == seq))
			frame_unref(item->frame);
		else
			c->held[kept++] = *item;
	}
	c->nheld = kept;
}

/* ----------
 * Telling
 * ----------
 */

/* Does the reader take more now? */
static bool
has_room(hub_conn *conn)
{
	hub		   *h = conn->hub;
	size_t		most = h->config.max_queue_bytes / 2;

	if (queue_bytes(&conn->queue) > most)
		h->ops.drain(h->arg, conn);
	return queue_bytes(&conn->queue) <= most;
}

/*
 * Is the user still one who may see it?  Of what is gone he is told in any
 * case, as it is gone for him.
 */
static bool
may_tell(const channel *ch, const event_header *e)
{
	const seat *s = seat_find(ch->user, e->conversation_id);

	return (s != NULL && s->member) ||
		(e->action == EVENT_DELETE && e->table != EVENT_MESSAGES);
}

/* The events of the piece, as far as the reader takes them.  True: all. */
static bool
tell(catchup *c)
{
	channel    *ch = c->channel;
	hub		   *h = ch->conn->hub;

	while (c->nevents > 0 && !ch->conn->cut)
	{
		const event_header *e;

		if (!has_room(ch->conn))
			return false;
		c->moved = h->now;
		e = catchup_next_event(c);
		if (e == NULL)
		{
			give_up(c, "malformed answer");
			return false;
		}
		h->stats.caught_up++;
		if (may_tell(ch, e) && !route_to_channel(h, ch, e))
			conn_cut(ch->conn, HUB_CLOSE_TRY_LATER, "out of memory");
	}
	return !ch->conn->cut;
}

/* What the mark has not seen follows. */
static void
release(catchup *c, const mark *origin)
{
	for (uint32_t i = 0; i < c->nheld; i++)
	{
		held	   *item = &c->held[i];

		if (item->event.commit_lsn > origin->fence ||
			!position_sees(origin->position, item->event.xid))
			route_held(c->channel, item->frame, &item->event);
	}
}

/* The channel has everything up to the mark, and follows the stream. */
static void
finish(catchup *c)
{
	channel    *ch = c->channel;

	mark_unref(ch->origin);
	ch->origin = mark_ref(c->until);
	release(c, ch->origin);
	catchup_free(c);
	stay_begin(ch);
	channel_caught_up(ch);
}

static void
another_round(catchup *c)
{
	if (++c->rounds == ROUNDS_MAX)
	{
		give_up(c, "reader too slow");
		return;
	}
	mark_unref(c->from);
	c->from = c->until;
	c->until = NULL;
	catchup_forget_round(c);
	c->overrun = false;
	set_state(c, c->channel->user->state == USER_LOADED ?
			  CATCHUP_IN_LINE : CATCHUP_UNREADY);
}

/*
 * A piece is there, in whole or in part.  While the user is being read it is
 * not known what may be told of it.
 */
static void
catchup_go_on(catchup *c)
{
	if (c->channel->user->state != USER_LOADED || !tell(c))
		return;
	drop_reply(c);
	if (c->more)
	{
		/* Events are held back meanwhile, so it may not wait in line. */
		if (!ask(c))
			give_up(c, "too many requests");
	}
	else if (c->overrun)
		another_round(c);
	else
		finish(c);
}

/* False: the answer is malformed. */
bool
hub_caught_up(hub *h, uint64_t ticket, const void *data, size_t len)
{
	catchup    *c = map_get(&h->catchups, &ticket);
	bool		valid = true;

	if (c == NULL)
		return true;			/* nobody waits for it any more */
	c->tries = 0;
	c->moved = h->now;
	c->reply = malloc(len + 1);
	c->reply_len = len;
	if (c->reply == NULL)
		give_up(c, "out of memory");
	else
	{
		memcpy(c->reply, data, len);
		valid = catchup_read_reply(c);
		set_state(c, CATCHUP_TELLING);
		if (valid && !c->channel->joined)
			channel_resumed(c->channel);
		if (valid)
			catchup_go_on(c);
		else
			give_up(c, "malformed answer");
	}
	catchup_ask(h);
	hub_reap(h);
	return valid;
}

void
hub_catch_up_failed(hub *h, uint64_t ticket, const char *reason)
{
	catchup    *c = map_get(&h->catchups, &ticket);

	if (c == NULL)
		return;
	h->ops.log(h->arg, reason);
	if (++c->tries == TRIES_MAX || c->until != NULL)
		give_up(c, "changes could not be read");
	else
	{
		drop_held(c);
		c->overrun = false;
		c->not_before = h->now + c->tries;
		set_state(c, CATCHUP_IN_LINE);
	}
	catchup_ask(h);
	hub_reap(h);
}

/* Once a second: readers who had no room. */
void
catchup_tick(hub *h)
{
	list_foreach_safe(node, &h->telling)
	{
		catchup    *c = list_entry(catchup, link, node);

		catchup_go_on(c);
	}
	list_foreach_safe(node, &h->telling)
	{
		catchup    *c = list_entry(catchup, link, node);

		if (c->moved + PATIENCE < h->now)
			give_up(c, "reader too slow");
	}
	catchup_ask(h);
}

/* ----------
 * When the stream was broken
 * ----------
 */

/* False: it cannot, and has to come back. */
static bool
channel_recover(channel *ch)
{
	mark	   *here;
	bool		begun;

	if (ch->nbindings == 0 || !ch->live)
		return true;
	if (ch->user == NULL)
		return ch->identity.kind != IDENTITY_SERVICE;
	if (ch->catchup != NULL)
	{
		catchup_restart(ch->catchup);
		return true;
	}
	here = marks_here(ch->conn->hub, ch);
	begun = here != NULL && catchup_begin(ch, here);
	mark_unref(here);
	return begun;
}

void
hub_recover(hub *h)
{
	membership_reload(h);
	list_foreach_safe(node, &h->conns)
	{
		hub_conn   *conn = list_entry(hub_conn, link, node);
		bool		possible = true;

		list_foreach(in_conn, &conn->channels)
			possible = channel_recover(list_entry(channel, in_conn, in_conn)) &&
				possible;
		if (!possible)
			conn_cut(conn, HUB_CLOSE_RESTART, "messages may have been missed");
	}
	marks_forget(h);
	hub_reap(h);
}
