/*-------------------------------------------------------------------------
 *
 * post.c
 *	  Broadcasts over HTTP: by somebody who has no channel, and perhaps no
 *	  connection.
 *
 * They go the way of those that channels send.  Who may say something is
 * decided by the memberships, and if the user's are not in memory, the post
 * waits until they have been read; the user stays in memory as long as that.
 * Whoever serves the client limits how long it waits, and what waits of all
 * posts is bounded here.
 *
 * Nobody is bound to a connection here, so the share of what may be said is a
 * profile's.  It is kept in a table that never grows, and clients cannot know
 * with whom they would share a place in it.  Services, which speak for many,
 * have no limit; all who have no profile have one together.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include "rooms.h"

#define MAX_WAITING		(16 * 1024 * 1024)	/* bytes */

struct hub_post
{
	list_node	in_user;		/* user.posts, or those that were settled */
	list_node	in_hub;			/* hub.posts, while it waits */
	hub		   *hub;
	user	   *user;			/* while it waits */
	void	   *arg;
	identity	identity;
	hub_post_result result;
	int			count;
	size_t		bytes;
	list		parcels;
};

hub_post *
hub_post_new(hub *h, const token_claims *claims, void *arg)
{
	hub_post   *p = calloc(1, sizeof(hub_post));

	if (p == NULL)
		return NULL;
	p->hub = h;
	p->arg = arg;
	identity_set(h, &p->identity, claims, "", 0);
	list_init(&p->in_user);
	list_init(&p->in_hub);
	list_init(&p->parcels);
	return p;
}

static void
stop_waiting(hub_post *p)
{
	p->user = NULL;
	p->hub->posts_bytes -= p->bytes;
	list_remove(&p->in_hub);
}

void
hub_post_free(hub_post *p)
{
	user	   *u = p->user;
	list_node  *node;

	while ((node = list_shift(&p->parcels)) != NULL)
		free(list_entry(parcel, link, node));
	list_remove(&p->in_user);
	if (u != NULL)
	{
		stop_waiting(p);
		user_free_if_idle(u);
	}
	free(p);
}

/* ----------
 * Messages
 * ----------
 */

static parcel *
make_parcel(hub *h, const hub_said *said, span topic)
{
	uint8_t		flags = said->private ? SIGNAL_PRIVATE : 0;
	span		name = {said->event, said->event_len};
	span		payload = {said->payload, said->payload_len};
	parcel	   *p = NULL;
	buf			whole;

	if (said->raw)
		return parcel_of(h, SIGNAL_BROADCAST, flags | SIGNAL_RAW, topic, name,
						 payload);
	buf_init(&whole);
	buf_text(&whole, "{\"type\":\"broadcast\",\"event\":");
	buf_json(&whole, said->event, said->event_len);
	buf_text(&whole, ",\"payload\":");
	buf_bytes(&whole, said->payload, said->payload_len);
	if (said->id != NULL)
	{
		buf_text(&whole, ",\"meta\":{\"id\":");
		buf_json(&whole, said->id, strlen(said->id));
		buf_text(&whole, "}");
	}
	buf_text(&whole, "}");
	if (buf_ok(&whole))
		p = parcel_of(h, SIGNAL_BROADCAST, flags | SIGNAL_WHOLE, topic,
					  (span) {NULL, 0}, (span) {whole.data, whole.len});
	buf_free(&whole);
	return p;
}

/* False: no memory. */
bool
hub_post_add(hub_post *p, const hub_said *said)
{
	parcel	   *made = NULL;
	buf			topic;

	buf_init(&topic);
	buf_text(&topic, MESSAGE_PREFIX);
	buf_bytes(&topic, said->topic, said->topic_len);
	if (buf_ok(&topic))
		made = make_parcel(p->hub, said, (span) {topic.data, topic.len});
	buf_free(&topic);
	if (made == NULL)
		return false;
	memcpy(made->signal.profile_id, p->identity.profile_id, UUID_SIZE);
	list_push(&p->parcels, &made->link);
	p->count++;
	p->bytes += made->signal.size;
	return true;
}

/* ----------
 * Saying them
 * ----------
 */

int64_t
hub_post_wait(hub_post *p, int64_t now)
{
	hub		   *h = p->hub;
	uint64_t	hash = seeded_hash(&h->seed, p->identity.profile_id,
								   UUID_SIZE);

	hub_set_time(h, now);
	if (p->identity.kind == IDENTITY_SERVICE)
		return 0;
	return conn_wait(h, &h->posts_until[hash % POST_SHARES], p->count,
					 BROADCAST_BURST, BROADCAST_INTERVAL_MS);
}

/* As venue_admits() has it for a channel. */
static bool
may_say(const hub_post *p, const signal_header *s)
{
	uint8_t		room_id[UUID_SIZE];
	const seat *where;

	if (p->identity.kind == IDENTITY_SERVICE)
		return true;
	if (!topic_room(signal_topic(s), s->topic_len, room_id))
		return (s->flags & SIGNAL_PRIVATE) == 0 &&
			p->hub->config.public_channels;
	where = p->user != NULL ? seat_find(p->user, room_id) : NULL;
	return where != NULL && where->member;
}

/* Say what is allowed: all of it or, when there is no room, nothing. */
static hub_post_result
say(hub_post *p)
{
	size_t		bytes = 0;

	if (identity_revoked(p->hub, &p->identity))
		return HUB_POST_FORBIDDEN;
	list_foreach_safe(node, &p->parcels)
	{
		parcel	   *said = list_entry(parcel, link, node);

		if (may_say(p, &said->signal))
			bytes += said->signal.size;
		else
		{
			list_remove(&said->link);
			free(said);
		}
	}
	if (list_is_empty(&p->parcels))
		return HUB_POST_FORBIDDEN;
	if (!signal_has_room(p->hub, bytes))
		return HUB_POST_BUSY;
	list_foreach_safe(node, &p->parcels)
	{
		list_remove(node);
		signal_publish(p->hub, list_entry(parcel, link, node));
	}
	return HUB_POST_SAID;
}

/* Is it for somebody's memberships to decide? */
static bool
needs_user(const hub_post *p)
{
	uint8_t		room_id[UUID_SIZE];

	if (p->identity.kind != IDENTITY_USER)
		return false;
	list_foreach(node, &p->parcels)
	{
		const signal_header *s = &list_entry(parcel, link, node)->signal;

		if (topic_room(signal_topic(s), s->topic_len, room_id))
			return true;
	}
	return false;
}

void
hub_post_send(hub_post *p, int64_t now)
{
	hub		   *h = p->hub;
	user	   *u;

	hub_set_time(h, now);
	if (!needs_user(p))
	{
		h->ops.posted(h->arg, p->arg, say(p));
		return;
	}
	u = h->posts_bytes + p->bytes <= MAX_WAITING ?
		user_get(h, p->identity.profile_id) : NULL;
	if (u == NULL)
	{
		h->ops.posted(h->arg, p->arg, HUB_POST_BUSY);
		return;
	}
	p->user = u;
	h->posts_bytes += p->bytes;
	list_push(&h->posts, &p->in_hub);
	list_push(&u->posts, &p->in_user);
	if (u->state == USER_LOADED)
		post_settle(u, true);
	else
		user_load(u);
}

/* What posts have waited for is there, or will not come; u may go by it. */
void
post_settle(user *u, bool loaded)
{
	hub		   *h = u->hub;
	list		settled;
	list_node  *node;

	list_init(&settled);
	list_move(&settled, &u->posts);
	list_foreach(in_user, &settled)
	{
		hub_post   *p = list_entry(hub_post, in_user, in_user);

		p->result = loaded ? say(p) : HUB_POST_FAILED;
		stop_waiting(p);
	}
	user_free_if_idle(u);
	while ((node = list_shift(&settled)) != NULL)
	{
		hub_post   *p = list_entry(hub_post, in_user, node);

		h->ops.posted(h->arg, p->arg, p->result);
	}
}

/* Whatever is being read of memberships does not count any more. */
void
post_give_up(hub *h)
{
	while (!list_is_empty(&h->posts))
		post_settle(list_entry(hub_post, in_hub, h->posts.next)->user, false);
}
