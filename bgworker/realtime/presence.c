/*-------------------------------------------------------------------------
 *
 * presence.c
 *	  Presence as a channel's owner sees it: track, untrack, and what becomes
 *	  of it when the connection is lost.
 *
 * What a channel tracks is kept here as it was published, because it may have
 * to be published again.  Whoever is shown it, the owner's client included,
 * sees it when the signal has come back (attendance.c).
 *
 * A lost connection is no leave: the entry lingers for the grace that the
 * setting gives.  When the same person tracks under the same key meanwhile,
 * on whatever gateway, the new entry takes the old one's place.
 *
 * A key that reads as a uuid is a promise about who that is.  So a client may
 * use that of its own token only; any other text is free.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "rooms.h"
#include "value.h"

#define MAX_KEY			255		/* bytes */
#define MAX_PAYLOAD		4096
#define MAX_VENUE_METAS 1000
#define MAX_VENUE_BYTES (256 * 1024)
#define MAX_TRACKED_BYTES	(64 * 1024 * 1024)	/* of the gateway's own */

/* Calls of a channel: this many at once, and then one a second. */
#define BURST			10
#define INTERVAL_MS		1000

/* ----------
 * Keys
 * ----------
 */

/* What is wrong with a key; NULL: nothing. */
const char *
presence_key_problem(const identity *identity, const char *key)
{
	size_t		len = strlen(key);
	value		v;

	if (len > MAX_KEY)
		return "presence key is too long";

	/* To clients, these are no names of people. */
	if (strcmp(key, "ids") == 0 || strcmp(key, "__proto__") == 0)
		return "presence key is a reserved word";
	if (identity->kind == IDENTITY_SERVICE ||
		value_parse(VALUE_UUID, (span) {key, len}, &v) != VALUE_OK ||
		(identity->kind == IDENTITY_USER &&
		 memcmp(v.uuid, identity->profile_id, UUID_SIZE) == 0))
		return NULL;
	return "Unauthorized: a presence key that is a uuid must be your own "
		"profile's id";
}

/* A key for a channel that brought none.  False: no memory. */
static bool
make_key(channel *ch)
{
	uint8_t		id[UUID_SIZE];
	char	   *key = malloc(2 * UUID_SIZE + 5);
	char	   *p = key;

	if (key == NULL || getentropy(id, sizeof(id)) != 0)
	{
		free(key);
		return false;
	}
	id[6] = (id[6] & 0x0f) | 0x40;
	id[8] = (id[8] & 0x3f) | 0x80;
	for (int i = 0; i < UUID_SIZE; i++)
	{
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*p++ = '-';
		*p++ = "0123456789abcdef"[id[i] >> 4];
		*p++ = "0123456789abcdef"[id[i] & 0x0f];
	}
	*p = '\0';
	ch->key = key;
	ch->made_key = true;
	return true;
}

/* ----------
 * What is tracked
 * ----------
 */

static size_t
tracked_size(const parcel *track)
{
	return sizeof(tracked) + sizeof(parcel) + track->signal.size;
}

static void
tracked_free(tracked *t)
{
	hub		   *h = t->hub;

	if (t->channel != NULL)
		t->channel->tracked = NULL;
	h->tracked_bytes -= tracked_size(t->track);
	timer_stop(&t->timer);
	list_remove(&t->link);
	map_remove(&h->own, &t->entry);
	free(t->track);
	free(t);
}

/* It is gone: tell everybody. */
static void
tracked_end(tracked *t)
{
	const span	none = {NULL, 0};
	parcel	   *p = parcel_new(t->hub, SIGNAL_UNTRACK, 0, NULL, none, none);

	if (p != NULL)
		p->signal.channel = t->number;
	signal_publish(t->hub, p);
	tracked_free(t);
}

/* The grace is over. */
static void
tracked_fire(timer *timer, int64_t now_s)
{
	(void) now_s;
	tracked_end(list_entry(tracked, timer, timer));
}

static tracked *
tracked_new(channel *ch, parcel *track)
{
	hub		   *h = ch->conn->hub;
	tracked    *t = calloc(1, sizeof(tracked));

	if (t == NULL)
		return NULL;
	t->number = ch->number;
	t->hub = h;
	t->channel = ch;
	t->track = track;
	timer_init(&t->timer, tracked_fire);
	list_push(&h->tracked, &t->link);
	map_put(&h->own, &t->entry);
	h->tracked_bytes += tracked_size(track);
	ch->tracked = t;
	return t;
}

/* ----------
 * Calls
 * ----------
 */

/*
 * The payload of a track as text, without the keys that only we give; NULL:
 * no memory.
 */
static char *
payload_text(const json_t *payload)
{
	static const char *const ours[] = {"phx_ref", "phx_ref_prev"};
	json_t	   *copy = payload != NULL ? json_copy((json_t *) payload) :
		json_object();
	char	   *text;

	for (int i = 0; i < 2; i++)
		json_object_del(copy, ours[i]);
	text = json_dumps(copy, JSON_COMPACT);
	json_decref(copy);
	return text;
}

static bool
is_same(const tracked *t, const char *text, size_t len)
{
	const signal_header *s = &t->track->signal;

	return s->payload_len == len &&
		memcmp(signal_payload(s), text, len) == 0;
}

/* Is there room for another entry, or a longer one? */
static bool
has_room(const channel *ch, size_t len)
{
	const venue *v = ch->venue;
	const hub  *h = ch->conn->hub;

	return (ch->tracked != NULL || v->nmetas < MAX_VENUE_METAS) &&
		v->meta_bytes + len <= MAX_VENUE_BYTES &&
		h->tracked_bytes + len <= MAX_TRACKED_BYTES;
}

static const char *
publish_track(channel *ch, const char *text, size_t len)
{
	hub		   *h = ch->conn->hub;
	parcel	   *track;

	if (ch->tracked != NULL && is_same(ch->tracked, text, len))
		return NULL;
	if (len > MAX_PAYLOAD)
		return "Track message size exceeded";
	if (!has_room(ch, len))
		return "Too many presences on this topic";
	track = parcel_new(h, SIGNAL_TRACK, 0, ch,
					   (span) {ch->key, strlen(ch->key)}, (span) {text, len});
	if (track == NULL)
		return "out of memory";
	track->signal.ref = ++h->next_ref;
	if (ch->tracked != NULL)
	{
		h->tracked_bytes -= tracked_size(ch->tracked->track);
		free(ch->tracked->track);
		ch->tracked->track = track;
		h->tracked_bytes += tracked_size(track);
	}
	else if (tracked_new(ch, track) == NULL)
	{
		free(track);
		return "out of memory";
	}
	signal_publish(h, parcel_copy(track));
	return NULL;
}

static const char *
track(channel *ch, const json_t *payload)
{
	const char *problem;
	char	   *text;

	if (payload != NULL && !json_is_object(payload))
		return "Presence track payload must be a map";
	if (ch->key == NULL && !make_key(ch))
		return "out of memory";
	problem = ch->made_key ? NULL :
		presence_key_problem(&ch->identity, ch->key);
	if (problem != NULL)
		return problem;
	text = payload_text(payload);
	if (text == NULL)
		return "out of memory";
	problem = publish_track(ch, text, strlen(text));
	free(text);
	return problem;
}

static const char *
call(channel *ch, const json_t *payload)
{
	const json_t *event = json_object_get(payload, "event");
	const char *name = json_string_value(event);

	if (!conn_spend(ch->conn->hub, &ch->presence_until, BURST, INTERVAL_MS))
		return "Client presence rate limit exceeded";
	if (event == NULL)
		return NULL;
	if (name != NULL && strcasecmp(name, "track") == 0)
		return track(ch, json_object_get(payload, "payload"));
	if (name == NULL || strcasecmp(name, "untrack") != 0)
		return "unknown presence event";
	presence_leave(ch);
	return NULL;
}

void
presence_receive(channel *ch, const message *m)
{
	const char *problem;
	buf			reason;

	if (ch->joined && !venue_admits(ch))
	{
		buf_init(&reason);
		venue_reason(&reason, ch->topic, ch->topic_len);
		channel_error(ch, m->ref, buf_string(&reason));
		buf_free(&reason);
		return;
	}
	problem = ch->joined ? call(ch, m->payload) : NOT_READY;
	if (problem != NULL)
	{
		channel_error(ch, m->ref, problem);
		return;
	}
	channel_reply(ch, m->ref, "ok", "{}");

	/* Who tracks wants to see others, too. */
	if (ch->tracked != NULL && !ch->presence)
	{
		ch->presence = true;
		attendance_inform(ch);
	}
}

/* ----------
 * Leaving
 * ----------
 */

/* The channel is not present any more, at once. */
void
presence_leave(channel *ch)
{
	if (ch->tracked != NULL)
		tracked_end(ch->tracked);
}

/* The channel's connection is lost: perhaps its client comes back soon. */
void
presence_linger(channel *ch)
{
	tracked    *t = ch->tracked;
	hub		   *h = ch->conn->hub;

	if (t == NULL)
		return;
	if (h->config.presence_grace == 0)
	{
		tracked_end(t);
		return;
	}
	ch->tracked = NULL;
	t->channel = NULL;
	t->track->signal.flags |= SIGNAL_LINGERS;
	list_remove(&t->link);
	list_push(&h->lingering, &t->link);

	/* The second that has begun does not count. */
	timer_start(&h->wheel, &t->timer, h->now + h->config.presence_grace + 1);
	signal_publish(h, parcel_copy(t->track));
}

/*
 * Another entry took the place of a lingering one of ours.  Everybody knows,
 * except for who was just being told of it anew.
 */
void
presence_replaced(hub *h, uint64_t number)
{
	tracked    *t = map_get(&h->own, &number);

	if (t != NULL && t->channel == NULL)
		tracked_end(t);
}

/* Somebody is no member any more; channels have left by their seat. */
void
presence_removed(hub *h, const uint8_t *room_id, const uint8_t *profile_id)
{
	list_foreach_safe(node, &h->lingering)
	{
		tracked    *t = list_entry(tracked, link, node);
		const signal_header *s = &t->track->signal;
		uint8_t		id[UUID_SIZE];

		if (memcmp(s->profile_id, profile_id, UUID_SIZE) == 0 &&
			topic_room(signal_topic(s), s->topic_len, id) &&
			memcmp(id, room_id, UUID_SIZE) == 0)
			tracked_end(t);
	}
}

void
presence_free(hub *h)
{
	while (!list_is_empty(&h->tracked))
		tracked_free(list_entry(tracked, link, h->tracked.next));
	while (!list_is_empty(&h->lingering))
		tracked_free(list_entry(tracked, link, h->lingering.next));
}
