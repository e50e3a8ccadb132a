/*-------------------------------------------------------------------------
 *
 * replay.c
 *	  Broadcasts out of the database, told again to who joins.
 *
 * A private channel may ask, when it joins, for the latest broadcasts since a
 * time (broadcast.replay): rows of openhr_msg.broadcasts.  They come right
 * behind the join's reply, the oldest first, before any that is new.
 *
 * An executor reads them while the channel waits with its reply in hand.  From
 * then on what is broadcast from the database (notice.c) is held back for the
 * channel, so that nothing falls between what is read and what comes.  It may
 * have been read already: then it comes again, and is known by its id.  As
 * commits come in order, nothing of that can follow behind the place in the
 * WAL at which was read.
 *
 * Who is no member any more while this goes on is told nothing of it, and when
 * he is one again it begins anew.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include "rooms.h"

#define REPLAY_MAX		25		/* broadcasts */
#define HELD_MAX		100		/* .. that come while they are read */
#define TRIES_MAX		3

/* The last time that an id of a broadcast can have, in milliseconds. */
#define LAST_TIME		INT64_C(253402300799999)

#define NOT_VALID \
	"UnableToReplayMessages: Replay params are not valid"
#define NOT_PRIVATE \
	"UnableToReplayMessages: Replay is not allowed for public channels"

/* An id as JSON has it. */
typedef struct notice_id
{
	char		text[38];
} notice_id;

typedef struct held_notice
{
	notice_id	id;
	frame	   *frame;
} held_notice;

typedef enum replay_state
{
	REPLAY_WANTED,
	REPLAY_ASKED,				/* in hub.replays */
	REPLAY_ANSWERED,
	REPLAY_TOLD					/* what was read may still come again */
} replay_state;

typedef struct replay
{
	map_entry	entry;			/* hub.replays, while asked */
	uint64_t	ticket;
	channel    *channel;
	replay_state state;
	int64_t		since;			/* milliseconds since 1970 */
	int			limit;
	int			tries;
	bool		refused;		/* the question could not be taken */
	bool		overrun;		/* too much had to be held back */
	char	   *events;			/* the answer */
	size_t		len;
	uint64_t	fence;			/* where it was read; 0: nothing was */
	int			nids;
	notice_id	ids[REPLAY_MAX];
	int			nheld;
	held_notice *held;			/* HELD_MAX of them, once needed */
} replay;

/* ----------
 * What a join asks for
 * ----------
 */

/* NULL: it is all right, or nothing is asked for. */
const char *
replay_problem(const json_t *wanted, bool private)
{
	const json_t *limit = json_object_get(wanted, "limit");
	const json_t *since = json_object_get(wanted, "since");

	if (wanted == NULL || json_is_null(wanted) || json_is_false(wanted))
		return NULL;
	if (!private)
		return NOT_PRIVATE;
	if (!json_is_integer(since) || json_integer_value(since) < 0 ||
		json_integer_value(since) > LAST_TIME ||
		(limit != NULL && !json_is_null(limit) && !json_is_integer(limit)))
		return NOT_VALID;
	return NULL;
}

/* Of a join without a problem.  False: no memory. */
bool
replay_want(channel *ch, const json_t *wanted)
{
	const json_t *limit = json_object_get(wanted, "limit");
	replay	   *r;

	if (!json_is_object(wanted))
		return true;
	r = calloc(1, sizeof(replay));
	if (r == NULL)
		return false;
	r->channel = ch;
	r->since = json_integer_value(json_object_get(wanted, "since"));
	r->limit = REPLAY_MAX;
	if (json_is_integer(limit) && json_integer_value(limit) < REPLAY_MAX)
		r->limit = json_integer_value(limit) < 1 ? 1 :
			(int) json_integer_value(limit);
	ch->replay = r;
	return true;
}

/* ----------
 * Beginning and end
 * ----------
 */

static void
forget_held(replay *r)
{
	for (int i = 0; i < r->nheld; i++)
		frame_unref(r->held[i].frame);
	free(r->held);
	r->held = NULL;
	r->nheld = 0;
	r->overrun = false;
}

static void
forget_answer(replay *r)
{
	free(r->events);
	r->events = NULL;
	r->len = 0;
}

static void
stop_asking(replay *r)
{
	if (r->state == REPLAY_ASKED)
		map_remove(&r->channel->conn->hub->replays, &r->entry);
}

void
replay_end(channel *ch)
{
	replay	   *r = ch->replay;

	if (r == NULL)
		return;
	stop_asking(r);
	forget_held(r);
	forget_answer(r);
	free(r);
	ch->replay = NULL;
}

/* The channel begins anew, or its user has lost sight of the topic. */
void
replay_restart(channel *ch)
{
	replay	   *r = ch->replay;

	if (r == NULL)
		return;
	if (r->state == REPLAY_TOLD)
	{
		replay_end(ch);
		return;
	}
	stop_asking(r);
	forget_held(r);
	forget_answer(r);
	r->state = REPLAY_WANTED;
}

/* ----------
 * Asking
 * ----------
 */

static bool
ask(replay *r)
{
	channel    *ch = r->channel;
	hub		   *h = ch->conn->hub;

	r->ticket = h->next_ticket + 1;
	if (!h->ops.replay(h->arg, r->ticket, ch->topic + MESSAGE_PREFIX_LEN,
					   ch->topic_len - MESSAGE_PREFIX_LEN, r->since, r->limit))
		return false;
	h->next_ticket++;
	r->state = REPLAY_ASKED;
	map_put(&h->replays, &r->entry);
	return true;
}

/*
 * Is all there that is to come behind the channel's reply?  If not the channel
 * waits; in vain, when the question could not be taken.
 */
bool
replay_ready(channel *ch)
{
	replay	   *r = ch->replay;
	hub		   *h = ch->conn->hub;

	if (r == NULL || r->state == REPLAY_ANSWERED || r->state == REPLAY_TOLD)
		return true;
	r->refused = r->state == REPLAY_WANTED && !ask(r);
	if (r->refused)
		timer_start(&h->wheel, &ch->timer, h->now + 1);
	list_push(&h->replaying, &ch->in_waiting);
	return false;
}

/* Is it what the channel waits for? */
bool
replay_waits(const channel *ch)
{
	return ch->replay != NULL &&
		(ch->replay->state == REPLAY_ASKED || ch->replay->refused);
}

static bool
is_valid(const char *events, size_t len, int limit)
{
	size_t		at = 0;

	while (at < len)
	{
		const event_header *e = (const void *) (events + at);

		if (limit-- == 0 || len - at < sizeof(*e) || e->size > len - at ||
			!hub_event_valid(e, e->size) || e->table != EVENT_BROADCASTS)
			return false;
		at += e->size + -(size_t) e->size % 8;
	}
	return at == len;
}

static bool
keep_answer(replay *r, const void *data, size_t len)
{
	if (data == NULL)
		return false;
	r->events = malloc(len + 1);
	if (r->events == NULL)
		return false;
	memcpy(r->events, data, len);
	r->len = len;
	return is_valid(r->events, len, r->limit);
}

void
hub_replayed(hub *h, uint64_t ticket, const void *data, size_t len)
{
	replay	   *r = map_get(&h->replays, &ticket);
	channel    *ch;

	if (r == NULL)
		return;					/* nobody waits for it any more */
	ch = r->channel;
	stop_asking(r);
	list_remove(&ch->in_waiting);
	r->state = REPLAY_ANSWERED;
	if (r->overrun && ++r->tries < TRIES_MAX)
		replay_restart(ch);
	else if (r->overrun || !keep_answer(r, data, len))
	{
		channel_refuse(ch, REPLAY_FAILED);
		hub_reap(h);
		return;
	}
	channel_settle(ch);
	hub_reap(h);
}

/* ----------
 * Telling
 * ----------
 */

static bool
id_set(notice_id *id, span text)
{
	if (text.len != sizeof(id->text))
		return false;
	memcpy(id->text, text.data, sizeof(id->text));
	return true;
}

static bool
was_read(const replay *r, const notice_id *id)
{
	for (int i = 0; i < r->nids; i++)
	{
		if (memcmp(&r->ids[i], id, sizeof(*id)) == 0)
			return true;
	}
	return false;
}

/* The channel has its reply. */
void
replay_tell(channel *ch)
{
	replay	   *r = ch->replay;
	size_t		at = 0;

	if (r == NULL || r->state != REPLAY_ANSWERED)
		return;
	while (at < r->len && !ch->conn->cut)
	{
		const event_header *e = (const void *) (r->events + at);
		span		id;
		frame	   *f = notice_replayed(ch, e, &id);

		if (id_set(&r->ids[r->nids], id))
			r->nids++;
		r->fence = e->commit_lsn;
		conn_push(ch->conn, f, ch);
		frame_unref(f);
		at += e->size + -(size_t) e->size % 8;
	}
	for (int i = 0; i < r->nheld; i++)
	{
		if (!was_read(r, &r->held[i].id))
			conn_push(ch->conn, r->held[i].frame, ch);
	}
	forget_held(r);
	forget_answer(r);
	r->state = REPLAY_TOLD;
	if (r->nids == 0)
		replay_end(ch);
}

/*
 * A broadcast comes that the channel may hear.  Is it kept back, or has it been
 * told?
 */
bool
replay_takes(channel *ch, const event_header *e, span id, frame *f)
{
	replay	   *r = ch->replay;
	notice_id	key;

	if (r == NULL || !id_set(&key, id))
		return false;
	if (r->state == REPLAY_TOLD)
	{
		if (e->commit_lsn <= r->fence)
			return was_read(r, &key);
		replay_end(ch);
		return false;
	}
	if (r->state == REPLAY_WANTED)
		return true;			/* will be read */
	if (r->held == NULL)
		r->held = malloc(HELD_MAX * sizeof(held_notice));
	if (r->held == NULL || r->nheld == HELD_MAX || f == NULL)
		r->overrun = true;
	else
	{
		r->held[r->nheld].id = key;
		r->held[r->nheld++].frame = frame_ref(f);
	}
	return true;
}
