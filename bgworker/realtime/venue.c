/*-------------------------------------------------------------------------
 *
 * venue.c
 *	  Where channels meet: which topics belong to whom, and who takes part.
 *
 * A topic "<word>:<uuid>" belongs to the conversation of that id, and is for
 * its members only, as of the last commit that the hub has seen.  All other
 * topics are open to every token when the setting says so, and else closed.  A
 * private channel on such a topic is for the service role, because nothing says
 * who else may be there.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include "../../src/topic.h"
#include "rooms.h"

/* The conversation that a topic belongs to.  False: none. */
bool
topic_room(const char *topic, size_t len, uint8_t *room_id)
{
	return topic_conversation(topic + MESSAGE_PREFIX_LEN,
							  len - MESSAGE_PREFIX_LEN, room_id);
}

/* ----------
 * Finding
 * ----------
 */

static void
venue_digest(hub *h, bool private, const char *topic, size_t len,
			 uint64_t digest[2])
{
	hash_seed	swapped = {h->seed.k1, h->seed.k0};

	digest[0] = seeded_hash(&h->seed, topic, len) ^ private;
	digest[1] = seeded_hash(&swapped, topic, len);
}

static bool
venue_is(const venue *v, bool private, const char *topic, size_t len)
{
	return v->private == private && v->topic_len == len &&
		memcmp(v->topic, topic, len) == 0;
}

/* NULL: there is nobody. */
venue *
venue_find(hub *h, bool private, const char *topic, size_t len)
{
	uint64_t	digest[2];
	venue	   *v;

	venue_digest(h, private, topic, len, digest);
	v = map_get(&h->venues, digest);
	return v != NULL && venue_is(v, private, topic, len) ? v : NULL;
}

/* NULL: no memory.  (Or another topic of the same digest; nobody can aim at
 * that, and two topics must never be taken for one.) */
venue *
venue_get(hub *h, bool private, const char *topic, size_t len)
{
	uint64_t	digest[2];
	venue	   *v;

	venue_digest(h, private, topic, len, digest);
	v = map_get(&h->venues, digest);
	if (v != NULL)
		return venue_is(v, private, topic, len) ? v : NULL;
	v = calloc(1, sizeof(venue) + len + 1);
	if (v == NULL)
		return NULL;
	memcpy(v->digest, digest, sizeof(digest));
	v->hub = h;
	list_init(&v->channels);
	list_init(&v->attendees);
	list_init(&v->changed);
	list_init(&v->in_changed);
	buf_init(&v->state);
	v->private = private;
	v->of_room = topic_room(topic, len, v->room_id);
	v->topic_len = len;
	memcpy(v->topic, topic, len);
	map_put(&h->venues, &v->entry);
	return v;
}

void
venue_free_if_idle(venue *v)
{
	if (!list_is_empty(&v->channels) || !list_is_empty(&v->attendees))
		return;
	list_remove(&v->in_changed);
	map_remove(&v->hub->venues, &v->entry);
	buf_free(&v->state);
	free(v);
}

/* A frame for who may be there: it is dropped first, and taken back. */
void
venue_mark(const venue *v, frame *f)
{
	f->ephemeral = true;
	if (v->of_room)
		memcpy(f->room, v->room_id, UUID_SIZE);
}

/* ----------
 * Taking part
 * ----------
 */

/* Bring a channel to its venue, and to its user's seat.  False: no memory. */
bool
venue_enter(channel *ch)
{
	venue	   *v = ch->venue;

	if (v == NULL)
	{
		v = venue_get(ch->conn->hub, ch->private, ch->topic, ch->topic_len);
		if (v == NULL)
			return false;
		ch->venue = v;
		list_push(&v->channels, &ch->in_venue);
	}
	if (v->of_room && ch->user != NULL && ch->seat == NULL)
	{
		ch->seat = seat_get(ch->user, v->room_id);
		if (ch->seat == NULL)
			return false;
		list_push(&ch->seat->channels, &ch->in_seat);
	}
	return true;
}

/* It takes part without its user from now on. */
void
venue_leave_seat(channel *ch)
{
	seat	   *s = ch->seat;

	ch->seat = NULL;
	list_remove(&ch->in_seat);
	if (s != NULL)
		seat_free_if_idle(s);
}

void
venue_leave(channel *ch)
{
	venue	   *v = ch->venue;

	ch->joined = false;
	ch->informed = false;
	list_remove(&ch->in_behind);
	venue_leave_seat(ch);
	ch->venue = NULL;
	list_remove(&ch->in_venue);
	if (v != NULL)
		venue_free_if_idle(v);
}

/* May a channel speak and hear at its venue, as things stand? */
bool
venue_admits(const channel *ch)
{
	const venue *v = ch->venue;

	if (ch->identity.kind == IDENTITY_SERVICE)
		return true;
	if (v->of_room)
		return ch->seat != NULL && ch->seat->member;
	return !v->private && ch->conn->hub->config.public_channels;
}

bool
venue_hears(const channel *ch)
{
	return ch->joined && venue_admits(ch);
}

/* Does it get what is said now?  While memberships are read again: no. */
bool
venue_reaches(const channel *ch)
{
	return venue_hears(ch) &&
		(ch->user == NULL || ch->user->state == USER_LOADED);
}

/* Is a topic closed to somebody, whatever becomes of memberships? */
bool
venue_is_closed(const hub *h, const identity *identity, bool private,
				const char *topic, size_t len)
{
	uint8_t		room_id[UUID_SIZE];

	if (identity->kind == IDENTITY_SERVICE)
		return false;
	if (topic_room(topic, len, room_id))
		return identity->kind != IDENTITY_USER;
	return private || !h->config.public_channels;
}

/* The reason that clients know; the topic is without MESSAGE_PREFIX. */
void
venue_reason(buf *reason, const char *topic, size_t len)
{
	buf_text(reason, MEMBERS_ONLY);
	buf_bytes(reason, topic + MESSAGE_PREFIX_LEN, len - MESSAGE_PREFIX_LEN);
}
