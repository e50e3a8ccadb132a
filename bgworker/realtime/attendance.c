/*-------------------------------------------------------------------------
 *
 * attendance.c
 *	  Who is present where, on all gateways, and telling it to clients.
 *
 * An attendee is a key at a venue; it has a meta for each channel, anywhere,
 * that tracks under it (several tabs of a person).  Signals change the metas;
 * clients are told of the difference between what they were told last and
 * what is, all at once, a few hundredths of a second after the first change.
 * So what comes and goes in between is never seen, and a mass of arrivals is
 * one frame.
 *
 * A meta keeps both: what is now (or NULL, it is gone), and what was told (or
 * NULL, nothing yet).  A client that comes gets what was told, and then the
 * differences like everybody else.
 *
 * A reader too slow for these frames misses them, is left out from then on,
 * and gets the whole state again when it has caught up.
 *
 *-------------------------------------------------------------------------
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "rooms.h"

/* From the first change to the frame that tells of it. */
#define FLUSH_DELAY		50000	/* microseconds */

typedef struct attendee
{
	map_entry	entry;
	uint64_t	digest[2];		/* of the venue's digest and the key */
	venue	   *venue;
	list		metas;
	list_node	in_venue;
	list_node	in_changed;		/* venue.changed */
	size_t		key_len;
	char		key[];
} attendee;

/* What a client has tracked: the inside of a JSON object. */
typedef struct meta_text
{
	uint64_t	ref;
	size_t		len;
	char		fields[];
} meta_text;

typedef struct meta_id
{
	uint64_t	gateway;
	uint64_t	channel;
} meta_id;

typedef struct meta
{
	map_entry	entry;
	meta_id		id;
	attendee   *attendee;
	list_node	in_attendee;
	list_node	in_hub;			/* hub.all_metas */
	meta_text  *now;
	meta_text  *told;			/* the same, unless there is a change */
	uint8_t		profile_id[UUID_SIZE];
	bool		lingers;		/* its connection is lost */
	bool		stale;			/* since its gateway's SIGNAL_RESET */
} meta;

/* ----------
 * Attendees and metas
 * ----------
 */

static void
attendee_digest(hub *h, const venue *v, span key, uint64_t digest[2])
{
	hash_seed	first = {h->seed.k0 ^ v->digest[0], h->seed.k1};
	hash_seed	second = {h->seed.k1 ^ v->digest[1], h->seed.k0};

	digest[0] = seeded_hash(&first, key.data, key.len);
	digest[1] = seeded_hash(&second, key.data, key.len);
}

/* NULL: no memory (or another key of the same digest). */
static attendee *
attendee_get(venue *v, span key)
{
	hub		   *h = v->hub;
	uint64_t	digest[2];
	attendee   *a;

	attendee_digest(h, v, key, digest);
	a = map_get(&h->attendees, digest);
	if (a != NULL)
	{
		bool		same = a->venue == v && a->key_len == key.len &&
			memcmp(a->key, key.data, key.len) == 0;

		return same ? a : NULL;
	}
	a = calloc(1, sizeof(attendee) + key.len);
	if (a == NULL)
		return NULL;
	memcpy(a->digest, digest, sizeof(digest));
	a->venue = v;
	list_init(&a->metas);
	list_init(&a->in_changed);
	a->key_len = key.len;
	memcpy(a->key, key.data, key.len);
	list_push(&v->attendees, &a->in_venue);
	map_put(&h->attendees, &a->entry);
	return a;
}

/* The venue may be idle then. */
static void
attendee_free_if_idle(attendee *a)
{
	if (!list_is_empty(&a->metas))
		return;
	list_remove(&a->in_venue);
	list_remove(&a->in_changed);
	map_remove(&a->venue->hub->attendees, &a->entry);
	free(a);
}

/* There is something to tell about somebody. */
static void
attendee_changed(attendee *a)
{
	venue	   *v = a->venue;
	hub		   *h = v->hub;

	if (list_is_empty(&a->in_changed))
		list_push(&v->changed, &a->in_changed);
	if (list_is_empty(&v->in_changed))
		list_push(&h->changed, &v->in_changed);
	if (h->flush_due == 0)
		h->flush_due = h->now_us + FLUSH_DELAY;
}

/* Give a meta another text, or none. */
static void
meta_set(meta *m, meta_text *text)
{
	venue	   *v = m->attendee->venue;

	if (m->now != NULL)
	{
		v->nmetas--;
		v->meta_bytes -= m->now->len;
	}
	if (m->now != m->told)
		free(m->now);
	m->now = text;
	if (text != NULL)
	{
		v->nmetas++;
		v->meta_bytes += text->len;
	}
	attendee_changed(m->attendee);
}

/* The attendee may be idle then. */
static void
meta_free(meta *m)
{
	if (m->told != m->now)
		free(m->told);
	free(m->now);
	list_remove(&m->in_attendee);
	list_remove(&m->in_hub);
	map_remove(&m->attendee->venue->hub->metas, &m->entry);
	free(m);
}

static meta *
meta_new(hub *h, const signal_header *s, attendee *a)
{
	meta	   *m = calloc(1, sizeof(meta));

	if (m == NULL)
		return NULL;
	m->id = (meta_id) {s->gateway, s->channel};
	m->attendee = a;
	list_push(&a->metas, &m->in_attendee);
	list_push(&h->all_metas, &m->in_hub);
	map_put(&h->metas, &m->entry);
	return m;
}

static meta *
meta_find(hub *h, const signal_header *s)
{
	meta_id		id = {s->gateway, s->channel};

	return map_get(&h->metas, &id);
}

/* ----------
 * Signals
 * ----------
 */

static meta_text *
text_new(const signal_header *s)
{
	size_t		len = s->payload_len - 2;	/* without its braces */
	meta_text  *text = malloc(sizeof(meta_text) + len);

	if (text == NULL)
		return NULL;
	text->ref = s->ref;
	text->len = len;
	memcpy(text->fields, signal_payload(s) + 1, len);
	return text;
}

/*
 * A new entry takes the place of one of the same person and key whose
 * connection is lost.  Every hub does this at the same place in the order.
 */
static void
replace_lingering(hub *h, attendee *a, const signal_header *s)
{
	list_foreach(node, &a->metas)
	{
		meta	   *m = list_entry(meta, in_attendee, node);

		if (m->now == NULL || !m->lingers ||
			memcmp(m->profile_id, s->profile_id, UUID_SIZE) != 0)
			continue;
		meta_set(m, NULL);
		if (m->id.gateway == (uint64_t) h->config.gateway)
			presence_replaced(h, m->id.channel);
		return;
	}
}

/* A meta for a signal that speaks of none; NULL: no memory. */
static meta *
meta_for(hub *h, const signal_header *s)
{
	venue	   *v = venue_get(h, (s->flags & SIGNAL_PRIVATE) != 0,
							  signal_topic(s), s->topic_len);
	attendee   *a = NULL;
	meta	   *m = NULL;

	if (v == NULL)
		return NULL;
	a = attendee_get(v, (span) {signal_name(s), s->name_len});
	if (a != NULL)
		m = meta_new(h, s, a);
	if (m == NULL)
	{
		if (a != NULL)
			attendee_free_if_idle(a);
		venue_free_if_idle(v);
	}
	return m;
}

/* False: no memory. */
static bool
apply_track(hub *h, const signal_header *s)
{
	meta	   *m = meta_find(h, s);
	meta_text  *text;

	if (m == NULL || m->now == NULL || m->now->ref != s->ref)
	{
		text = text_new(s);
		if (text != NULL && m == NULL)
			m = meta_for(h, s);
		if (text == NULL || m == NULL)
		{
			free(text);
			return false;
		}
		if (m->now == NULL && (s->flags & SIGNAL_LINGERS) == 0)
			replace_lingering(h, m->attendee, s);
		meta_set(m, text);
		memcpy(m->profile_id, s->profile_id, UUID_SIZE);
	}
	m->lingers = (s->flags & SIGNAL_LINGERS) != 0;
	m->stale = false;
	return true;
}

/* Mark the entries of a gateway, or take those out that still are. */
static void
sweep(hub *h, uint16_t gateway, bool synced)
{
	list_foreach_safe(node, &h->all_metas)
	{
		meta	   *m = list_entry(meta, in_hub, node);

		if (m->id.gateway != gateway || m->now == NULL)
			continue;
		if (!synced)
			m->stale = true;
		else if (m->stale)
			meta_set(m, NULL);
	}
}

void
attendance_apply(hub *h, const signal_header *s)
{
	meta	   *m;

	switch (s->kind)
	{
		case SIGNAL_TRACK:
			if (!apply_track(h, s))
				h->ask_due = true;
			break;
		case SIGNAL_UNTRACK:
			m = meta_find(h, s);
			if (m != NULL && m->now != NULL)
				meta_set(m, NULL);
			break;
		case SIGNAL_RESET:
		case SIGNAL_SYNCED:
			sweep(h, s->gateway, s->kind == SIGNAL_SYNCED);
			break;
		default:
			break;
	}
}

/* ----------
 * Text
 * ----------
 */

static void
put_meta(buf *b, const meta_text *text, const meta_text *before)
{
	buf_printf(b, "{\"phx_ref\":\"%016" PRIx64 "\"", text->ref);
	if (before != NULL)
		buf_printf(b, ",\"phx_ref_prev\":\"%016" PRIx64 "\"", before->ref);
	if (text->len > 0)
	{
		buf_text(b, ",");
		buf_bytes(b, text->fields, text->len);
	}
	buf_text(b, "}");
}

typedef enum part
{
	PART_STATE,					/* what was told */
	PART_JOINS,
	PART_LEAVES
} part;

static const meta_text *
meta_part(const meta *m, part which)
{
	if (which == PART_STATE)
		return m->told;
	if (m->now == m->told)
		return NULL;
	return which == PART_JOINS ? m->now : m->told;
}

/* "key":{"metas":[..]} when there is something; *first for the comma. */
static void
put_attendee(buf *b, const attendee *a, part which, bool *first)
{
	bool		empty = true;

	list_foreach(node, &a->metas)
	{
		const meta *m = list_entry(meta, in_attendee, node);
		const meta_text *text = meta_part(m, which);

		if (text == NULL)
			continue;
		if (empty)
		{
			buf_text(b, *first ? "" : ",");
			buf_json(b, a->key, a->key_len);
			buf_text(b, ":{\"metas\":[");
			*first = false;
		}
		buf_text(b, empty ? "" : ",");
		put_meta(b, text, which == PART_JOINS ? m->told : NULL);
		empty = false;
	}
	buf_text(b, empty ? "" : "]}");
}

/* What was told of a venue; empty: no memory. */
static const buf *
venue_state(venue *v)
{
	bool		first = true;

	if (v->state.len > 0)
		return &v->state;
	buf_text(&v->state, "{");
	list_foreach(node, &v->attendees)
		put_attendee(&v->state, list_entry(attendee, in_venue, node),
					 PART_STATE, &first);
	buf_text(&v->state, "}");
	if (!buf_ok(&v->state))
		buf_free(&v->state);
	return &v->state;
}

/* The payload of a presence_diff; empty: there is none.  False: no memory. */
static bool
venue_diff(venue *v, buf *b)
{
	bool		no_joins = true;
	bool		no_leaves = true;

	buf_text(b, "{\"joins\":{");
	list_foreach(node, &v->changed)
		put_attendee(b, list_entry(attendee, in_changed, node), PART_JOINS,
					 &no_joins);
	buf_text(b, "},\"leaves\":{");
	list_foreach(node, &v->changed)
		put_attendee(b, list_entry(attendee, in_changed, node), PART_LEAVES,
					 &no_leaves);
	buf_text(b, "}}");
	if (!buf_ok(b))
		return false;
	if (no_joins && no_leaves)
		buf_reset(b);
	return true;
}

/* ----------
 * Telling
 * ----------
 */

static bool
wants_to_know(const channel *ch)
{
	return ch->presence && venue_hears(ch);
}

/* The channel missed something: it gets the whole state later. */
void
attendance_missed(channel *ch)
{
	if (!ch->informed)
		return;
	ch->informed = false;
	list_push(&ch->conn->hub->behind, &ch->in_behind);
}

static frame *
state_frame(const channel *ch, const char *state, size_t len)
{
	return message_frame(ch->conn->vsn, ch->join_ref, "null", ch->topic,
						 ch->topic_len, "presence_state", state, len);
}

/* False: it could not be sent. */
static bool
send_state(channel *ch, const buf *state)
{
	frame	   *f = state_frame(ch, state->data, state->len);
	bool		sent;

	if (f == NULL)
		return false;
	venue_mark(ch->venue, f);
	sent = conn_push(ch->conn, f, ch);
	frame_unref(f);
	return sent;
}

/* Tell a channel who is present, from nothing. */
void
attendance_inform(channel *ch)
{
	const buf  *state;

	if (!wants_to_know(ch))
		return;
	list_remove(&ch->in_behind);
	state = venue_state(ch->venue);
	ch->informed = true;
	if (state->len == 0 || !send_state(ch, state))
		attendance_missed(ch);
}

/* The channel's user has lost sight of it all, and sees nobody from now on;
 * that is not taken back. */
void
attendance_withdraw(channel *ch)
{
	list_remove(&ch->in_behind);
	if (ch->informed)
		conn_send(ch->conn, state_frame(ch, "{}", 2));
	ch->informed = false;
}

/* Who has missed something, and has read what was there, is told now. */
void
attendance_catch_up(hub *h)
{
	list		behind;
	list_node  *node;

	list_init(&behind);
	list_move(&behind, &h->behind);
	while ((node = list_shift(&behind)) != NULL)
	{
		channel    *ch = list_entry(channel, in_behind, node);

		if (queue_bytes(&ch->conn->queue) <= h->config.max_queue_bytes / 4)
			attendance_inform(ch);
		else
			list_push(&h->behind, &ch->in_behind);
	}
}

static void
tell(venue *v, const buf *diff)
{
	frame	   *frames[2];

	for (int i = 0; i < 2; i++)
	{
		frames[i] = message_frame(i + 1, "null", "null", v->topic,
								  v->topic_len, "presence_diff",
								  diff->data, diff->len);
		if (frames[i] != NULL)
			venue_mark(v, frames[i]);
	}
	list_foreach(node, &v->channels)
	{
		channel    *ch = list_entry(channel, in_venue, node);
		frame	   *f = frames[ch->conn->vsn == 2];

		if (ch->informed && wants_to_know(ch) &&
			(f == NULL || !conn_push(ch->conn, f, ch)))
			attendance_missed(ch);
	}
	frame_unref(frames[0]);
	frame_unref(frames[1]);
}

/* From now on, what is counts as told; what is gone goes. */
static void
settle(venue *v)
{
	list_node  *changed;

	list_remove(&v->in_changed);
	buf_free(&v->state);
	while ((changed = list_shift(&v->changed)) != NULL)
	{
		attendee   *a = list_entry(attendee, in_changed, changed);

		list_foreach_safe(node, &a->metas)
		{
			meta	   *m = list_entry(meta, in_attendee, node);

			if (m->told != m->now)
				free(m->told);
			m->told = m->now;
			if (m->now == NULL)
				meta_free(m);
		}
		attendee_free_if_idle(a);
	}
	venue_free_if_idle(v);
}

void
attendance_flush(hub *h)
{
	buf			diff;

	buf_init(&diff);
	h->flush_due = 0;
	while (!list_is_empty(&h->changed))
	{
		venue	   *v = list_entry(venue, in_changed, h->changed.next);

		buf_reset(&diff);
		if (!venue_diff(v, &diff))
		{
			list_foreach(node, &v->channels)
				attendance_missed(list_entry(channel, in_venue, node));
			buf_free(&diff);
		}
		else if (diff.len > 0)
			tell(v, &diff);
		settle(v);
	}
	buf_free(&diff);
}

void
attendance_free(hub *h)
{
	while (!list_is_empty(&h->all_metas))
	{
		meta	   *m = list_entry(meta, in_hub, h->all_metas.next);
		attendee   *a = m->attendee;
		venue	   *v = a->venue;

		meta_free(m);
		attendee_free_if_idle(a);
		venue_free_if_idle(v);
	}
}
