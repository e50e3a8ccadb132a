/*-------------------------------------------------------------------------
 *
 * channel.c
 *	  Channels: their life between join and leave, and what they are told.
 *
 * A join that asks for changes is answered when nothing committed from then
 * on can be missed: the stream of events runs and the user's memberships are
 * in memory.  Until then the channel waits, with its reply in hand, in the
 * hub's list or in its user's; channel_settle() moves it along.  The same
 * holds for a topic that belongs to a conversation, because broadcast and
 * presence are for its members.
 *
 * A join that insists on being a member (a private channel, or presence) and
 * is not waits once more: a client may join a moment after the commit that let
 * it in, and before that has come here.
 *
 * A join may also ask for broadcasts that were before it (replay.c); it is
 * answered when they are there.
 *
 * A client that names itself has been here before, perhaps, and missed
 * something: right behind its answer it gets that first (catchup.c).  The
 * answer waits until it is known, and kept, from where that is: whoever has
 * one can rely on missing nothing.
 *
 * A token may be replaced at any time.  One of the same person changes nothing
 * else, and neither does one that gives the same person more power: what the
 * channel has and what it was told stay.  Any other one is a new subscription.
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rooms.h"

/* A join is refused when it has waited so long; clients wait 10 seconds. */
#define JOIN_LIMIT			7	/* seconds */

/* Who is no member may become one within this time; a second more or less. */
#define DENIED_LIMIT		2

/* So long before its token's end a client is told of it. */
#define EXPIRY_NOTICE		60	/* seconds */

#define TEXT(s)		(s), strlen(s)

/* ----------
 * Messages to a channel
 * ----------
 */

void
channel_reply(channel *ch, const char *ref, const char *status,
			  const char *response)
{
	conn_send(ch->conn, message_reply(ch->conn->vsn, ch->join_ref, ref,
									  ch->topic, ch->topic_len,
									  status, response));
}

void
channel_error(channel *ch, const char *ref, const char *reason)
{
	conn_send(ch->conn, message_error(ch->conn->vsn, ch->join_ref, ref,
									  ch->topic, ch->topic_len, reason));
}

/* phx_close; to have an effect it must carry the join's ref. */
frame *
channel_close_frame(const channel *ch)
{
	return message_frame(ch->conn->vsn, ch->join_ref, ch->join_ref,
						 ch->topic, ch->topic_len, "phx_close", TEXT("{}"));
}

void
channel_system(channel *ch, const char *extension, const char *status,
			   const char *text)
{
	frame	   *f = NULL;
	buf			b;

	buf_init(&b);
	buf_printf(&b, "{\"extension\":\"%s\",\"status\":\"%s\",\"message\":",
			   extension, status);
	buf_json(&b, TEXT(text));
	buf_text(&b, ",\"channel\":");
	buf_json(&b, ch->topic + MESSAGE_PREFIX_LEN,
			 ch->topic_len - MESSAGE_PREFIX_LEN);
	buf_text(&b, "}");
	if (buf_ok(&b))
		f = message_frame(ch->conn->vsn, ch->join_ref, "null", ch->topic,
						  ch->topic_len, "system", b.data, b.len);
	buf_free(&b);
	conn_send(ch->conn, f);
}

/* Say why, and end the channel. */
static void
channel_end(channel *ch, const char *text)
{
	channel_system(ch, "system", "error", text);
	conn_send(ch->conn, channel_close_frame(ch));
	channel_drop(ch);
}

static void
channel_end_for_token(channel *ch, token_status status, int64_t expired_s)
{
	buf			b;

	buf_init(&b);
	identity_problem(&b, status, expired_s, false);
	channel_end(ch, buf_string(&b));
	buf_free(&b);
}

/* ----------
 * Subscribing
 * ----------
 */

/* Put the bindings where events find them.  False: no memory. */
static bool
channel_subscribe(channel *ch)
{
	for (int i = 0; i < ch->nbindings; i++)
	{
		binding    *b = &ch->bindings[i];
		list	   *bindings;

		if (ch->identity.kind == IDENTITY_SERVICE)
			bindings = &ch->conn->hub->bindings;
		else if (ch->user == NULL)
			continue;			/* sees nothing */
		else if (!b->pinned)
			bindings = &ch->user->bindings;
		else
		{
			b->seat = seat_get(ch->user, b->room_id);
			if (b->seat == NULL)
				return false;
			bindings = &b->seat->bindings;
		}
		list_push(bindings, &b->link);
	}
	ch->live = true;
	return true;
}

/* What waits to be written for the channel, of a room or (NULL) of all. */
void
channel_take_back(channel *ch, const uint8_t *room_id)
{
	if (queue_drop(&ch->conn->queue,
				   &(queue_choice) {.owner = ch, .room = room_id}) > 0)
		acks_forget(ch->conn);
	if (room_id != NULL)
		catchup_take_back(ch, room_id, 0);
}

/* Away from the user, and out of the lists by which events find bindings. */
static void
channel_leave_user(channel *ch)
{
	user	   *u = ch->user;

	ch->live = false;
	for (int i = 0; i < ch->nbindings; i++)
	{
		binding    *b = &ch->bindings[i];

		list_remove(&b->link);
		if (b->seat != NULL)
			seat_free_if_idle(b->seat);
		b->seat = NULL;
	}
	if (u != NULL)
	{
		ch->user = NULL;
		list_remove(&ch->in_user);
		user_free_if_idle(u);
	}
}

/*
 * Out of all lists.  What waits for the channel goes, too: nobody would take
 * it back when the user loses sight of it.
 */
static void
channel_unsubscribe(channel *ch)
{
	stay_save(ch);
	catchup_end(ch);
	channel_take_back(ch, NULL);
	list_remove(&ch->in_waiting);
	presence_leave(ch);
	replay_restart(ch);
	venue_leave(ch);
	channel_leave_user(ch);
}

static void
channel_tell_expiry(channel *ch)
{
	int64_t		left = ch->identity.exp - ch->conn->hub->now;
	char		text[64];

	snprintf(text, sizeof(text), "Token expires in %lld seconds",
			 (long long) (left > 0 ? left : 0));
	channel_system(ch, "system", "ok", text);
	ch->expiry_told = true;
}

/* From now on the channel's timer is for the end of its token. */
static void
channel_watch_token(channel *ch)
{
	hub		   *h = ch->conn->hub;
	int64_t		due = ch->identity.exp - EXPIRY_NOTICE;

	if (!ch->expiry_told && due <= h->now)
		channel_tell_expiry(ch);
	if (ch->expiry_told)
		due = ch->identity.exp + TOKEN_LEEWAY;
	timer_start(&h->wheel, &ch->timer, due);
}

static void
channel_answer(channel *ch)
{
	if (ch->reply != NULL)
	{
		conn_send(ch->conn, ch->reply);
		ch->reply = NULL;
	}
	if (ch->close_replaced != NULL)
	{
		conn_send(ch->conn, ch->close_replaced);
		ch->close_replaced = NULL;
	}
	if (ch->problem != NULL)
		channel_system(ch, "postgres_changes", "error", ch->problem);
	free(ch->problem);
	ch->problem = NULL;
}

/* Is the user of the channel in memory?  If not, the channel waits. */
static bool
channel_has_user(channel *ch)
{
	user	   *u = ch->bearer_of;

	if (ch->user == NULL)
	{
		ch->user = u;
		list_push(&u->channels, &ch->in_user);
	}
	if (u->state == USER_LOADED)
		return true;
	list_push(&u->waiting, &ch->in_waiting);
	user_load(u);
	return false;
}

/*
 * Does it matter whether the channel's token was revoked?  On topics that are
 * closed to it there is nothing to hear or to say.
 */
static bool
channel_needs_verdict(const channel *ch)
{
	return ch->bearer_of != NULL &&
		(ch->identity.kind == IDENTITY_SERVICE ||
		 ch->conn->hub->config.public_channels);
}

/* Is it known?  If not, the channel waits. */
static bool
channel_is_judged(channel *ch)
{
	user	   *u = ch->bearer_of;

	if (u->judged)
		return true;
	list_push(&u->waiting, &ch->in_waiting);
	user_load(u);
	return false;
}

/* Is the channel what it asked to be, as far as memberships go? */
static bool
channel_is_admitted(channel *ch)
{
	if ((!ch->private && !ch->presence) || venue_admits(ch))
		return true;
	list_push(&ch->conn->hub->denied, &ch->in_waiting);
	timer_start(&ch->conn->hub->wheel, &ch->timer,
				ch->conn->hub->now + DENIED_LIMIT);
	return false;
}

/* It has what it missed, and gets what comes. */
void
channel_caught_up(channel *ch)
{
	channel_system(ch, "postgres_changes", "ok", "Subscribed to PostgreSQL");
}

static void
channel_enter(channel *ch)
{
	channel_answer(ch);
	replay_tell(ch);
	ch->joined = true;
	attendance_inform(ch);
}

/* The client has been here before, perhaps, and goes on from there. */
static bool
channel_resumes(const channel *ch)
{
	return ch->nbindings > 0 && ch->conn->stay != NULL &&
		ch->identity.kind == IDENTITY_USER;
}

static void
channel_resume(channel *ch)
{
	stay_supersede(ch);
	if (!catchup_begin(ch, NULL))
		conn_cut(ch->conn, HUB_CLOSE_TRY_LATER, "out of memory");
}

/* It is known from where, and from now on nothing will be missed. */
void
channel_resumed(channel *ch)
{
	channel_enter(ch);
	channel_watch_token(ch);
}

/* Go on with a channel as far as it can go now; it stays, in any case. */
void
channel_settle(channel *ch)
{
	hub		   *h = ch->conn->hub;
	uint8_t		room_id[UUID_SIZE];
	bool		for_changes = ch->nbindings > 0;
	bool		for_user = ch->identity.kind == IDENTITY_USER &&
		(for_changes || topic_room(ch->topic, ch->topic_len, room_id));
	bool		for_verdict = channel_needs_verdict(ch);

	if (!h->live && (for_changes || for_user || for_verdict))
	{
		list_push(&h->waiting, &ch->in_waiting);
		return;
	}
	if (for_user && !channel_has_user(ch))
		return;
	if (for_verdict && !channel_is_judged(ch))
		return;
	if (!venue_enter(ch))
	{
		conn_cut(ch->conn, HUB_CLOSE_TRY_LATER, "out of memory");
		return;
	}
	if (!channel_is_admitted(ch) || !replay_ready(ch))
		return;
	if (for_changes && !channel_subscribe(ch))
	{
		conn_cut(ch->conn, HUB_CLOSE_TRY_LATER, "out of memory");
		return;
	}
	if (channel_resumes(ch))
	{
		channel_resume(ch);
		return;
	}
	channel_enter(ch);
	if (for_changes)
		channel_caught_up(ch);
	channel_watch_token(ch);
}

/* The channel's user has become a member of its conversation. */
void
channel_seated(channel *ch)
{
	if (ch->joined)
		attendance_inform(ch);
	else if (!list_is_empty(&ch->in_waiting))
	{
		list_remove(&ch->in_waiting);
		channel_settle(ch);
	}
}

/* .. or is none any more.  The channel stays, and may be seated again. */
void
channel_unseated(channel *ch)
{
	presence_leave(ch);
	replay_restart(ch);
	attendance_withdraw(ch);
}

/* What the channel waits for does not come. */
void
channel_refuse(channel *ch, const char *reason)
{
	hub_conn   *conn = ch->conn;

	if (ch->reply == NULL)
	{
		channel_end(ch, reason);
		return;
	}
	conn_refuse(conn, message_error(conn->vsn, ch->join_ref, ch->ref,
									ch->topic, ch->topic_len, reason));
	if (ch->close_replaced != NULL)
	{
		conn_refuse(conn, ch->close_replaced);
		ch->close_replaced = NULL;
	}
	channel_drop(ch);
}

/* Its token was revoked. */
void
channel_revoke(channel *ch)
{
	buf			b;

	if (ch->reply == NULL)
	{
		channel_take_back(ch, NULL);
		channel_end_for_token(ch, TOKEN_REVOKED, 0);
		return;
	}
	buf_init(&b);
	identity_problem(&b, TOKEN_REVOKED, 0, true);
	channel_refuse(ch, buf_string(&b));
	buf_free(&b);
}

/* The time limit of a channel that waits. */
static void
channel_give_up(channel *ch)
{
	buf			reason;

	if (ch->venue == NULL || ch->catchup != NULL || replay_waits(ch))
	{
		channel_refuse(ch, replay_waits(ch) ? REPLAY_FAILED : NOT_READY);
		return;
	}
	buf_init(&reason);
	venue_reason(&reason, ch->topic, ch->topic_len);
	channel_refuse(ch, buf_string(&reason));
	buf_free(&reason);
}

/* .. or its token's end, or the time to tell of that. */
static void
channel_fire(timer *t, int64_t now_s)
{
	channel    *ch = list_entry(channel, timer, t);

	if (!ch->joined)
		channel_give_up(ch);
	else if (identity_expired(&ch->identity, now_s))
		channel_end_for_token(ch, TOKEN_EXPIRED, now_s - ch->identity.exp);
	else
		channel_watch_token(ch);
}

/* ----------
 * Coming and going
 * ----------
 */

channel *
channel_find(hub_conn *conn, const message *m)
{
	list_foreach(node, &conn->channels)
	{
		channel    *ch = list_entry(channel, in_conn, node);

		if (ch->topic_len == m->topic_len &&
			memcmp(ch->topic, m->topic, m->topic_len) == 0)
			return ch;
	}
	return NULL;
}

channel *
channel_new(hub_conn *conn, const message *m, const identity *identity)
{
	const char *join_ref = message_join_ref(m);
	size_t		topic_size = m->topic_len + 1;
	size_t		join_ref_size = strlen(join_ref) + 1;
	size_t		ref_size = strlen(m->ref) + 1;
	channel    *ch = calloc(1, sizeof(channel) + topic_size + join_ref_size +
							ref_size);
	char	   *text;

	if (ch == NULL)
		return NULL;
	text = ch->text;
	ch->topic = memcpy(text, m->topic, topic_size);
	ch->join_ref = memcpy(text + topic_size, join_ref, join_ref_size);
	ch->ref = memcpy(text + topic_size + join_ref_size, m->ref, ref_size);
	ch->topic_len = m->topic_len;
	ch->topic_hash = seeded_hash(&conn->hub->seed, ch->topic, ch->topic_len);
	ch->conn = conn;
	ch->identity = *identity;
	list_init(&ch->in_bearers);
	if (!channel_bear(ch))
	{
		free(ch);
		return NULL;
	}
	ch->number = ++conn->hub->next_channel;
	list_init(&ch->in_user);
	list_init(&ch->in_waiting);
	list_init(&ch->in_venue);
	list_init(&ch->in_seat);
	list_init(&ch->in_behind);
	timer_init(&ch->timer, channel_fire);
	timer_start(&conn->hub->wheel, &ch->timer, conn->hub->now + JOIN_LIMIT);
	list_push(&conn->channels, &ch->in_conn);
	conn->nchannels++;
	conn->hub->stats.channels++;
	return ch;
}

void
channel_clear_bindings(channel *ch)
{
	for (int i = 0; i < ch->nbindings; i++)
		binding_clear(ch->conn->hub, &ch->bindings[i]);
	ch->conn->nbindings -= ch->nbindings;
	ch->nbindings = 0;
	free(ch->bindings);
	ch->bindings = NULL;
}

void
channel_drop(channel *ch)
{
	channel_unsubscribe(ch);
	replay_end(ch);
	channel_clear_bindings(ch);
	channel_unbear(ch);
	timer_stop(&ch->timer);
	list_remove(&ch->in_conn);
	ch->conn->nchannels--;
	ch->conn->hub->stats.channels--;
	frame_unref(ch->reply);
	frame_unref(ch->close_replaced);
	free(ch->problem);
	free(ch->key);
	free(ch);
}

/* ----------
 * The other messages
 * ----------
 */

static void
channel_leave(hub_conn *conn, channel *ch, const message *m)
{
	/* A leave speaks of its own join, not of a later one. */
	if (ch != NULL && strcmp(m->join_ref, "null") != 0 &&
		strcmp(m->join_ref, ch->join_ref) != 0)
		ch = NULL;
	if (ch == NULL)
	{
		conn_send(conn, message_reply(conn->vsn, m->join_ref, m->ref,
									  m->topic, m->topic_len, "ok", "{}"));
		return;
	}
	channel_reply(ch, m->ref, "ok", "{}");
	conn_send(conn, channel_close_frame(ch));
	channel_drop(ch);
}

static bool
same_person(const identity *a, const identity *b)
{
	return a->kind == b->kind &&
		memcmp(a->profile_id, b->profile_id, UUID_SIZE) == 0;
}

/* The same person's token again, with another end. */
static void
channel_renew(channel *ch, const identity *identity)
{
	ch->identity = *identity;
	ch->expiry_told = false;
	if (!ch->joined)
		return;
	if (ch->live && ch->catchup == NULL)
		channel_caught_up(ch);
	channel_watch_token(ch);
}

/* It gives a user the power to see everything, and takes nothing away. */
static bool
is_promotion(const channel *ch, const identity *identity)
{
	return ch->joined && ch->catchup == NULL &&
		ch->identity.kind == IDENTITY_USER &&
		identity->kind == IDENTITY_SERVICE && identity->has_profile &&
		memcmp(ch->identity.profile_id, identity->profile_id,
			   UUID_SIZE) == 0;
}

static void
channel_promote(channel *ch, const identity *identity)
{
	bool		live = ch->live;

	stay_save(ch);
	catchup_end(ch);
	venue_leave_seat(ch);
	channel_leave_user(ch);
	ch->identity = *identity;

	/* It needs no memory: no seat is taken. */
	if (live)
		channel_subscribe(ch);
	if (!ch->informed)
		attendance_inform(ch);
	channel_renew(ch, identity);
}

/* Somebody else's token, or with other powers. */
static void
channel_replace(channel *ch, const identity *identity)
{
	hub		   *h = ch->conn->hub;
	bool		waiting = !list_is_empty(&ch->in_waiting);

	channel_unsubscribe(ch);
	channel_unbear(ch);
	ch->identity = *identity;
	ch->expiry_told = false;
	if (!channel_bear(ch))
	{
		conn_cut(ch->conn, HUB_CLOSE_TRY_LATER, "out of memory");
		return;
	}
	if (!waiting)
		timer_start(&h->wheel, &ch->timer, h->now + JOIN_LIMIT);
	channel_settle(ch);
}

static void
channel_set_token(channel *ch, const json_t *payload)
{
	hub		   *h = ch->conn->hub;
	size_t		len = 0;
	const char *token = identity_token(payload, "access_token", &len);
	token_status status;
	identity	identity;

	if (token == NULL || identity_same_token(h, &ch->identity, token, len))
		return;
	status = identity_verify(h, &identity, token, len);
	if (status != TOKEN_OK)
	{
		channel_end_for_token(ch, status, h->now - identity.exp);
		return;
	}
	if (same_person(&ch->identity, &identity))
		channel_renew(ch, &identity);
	else if (is_promotion(ch, &identity))
		channel_promote(ch, &identity);
	else
		channel_replace(ch, &identity);
}

void
channel_receive(hub_conn *conn, const message *m)
{
	channel    *ch;

	if (strcmp(m->event, "phx_join") == 0)
	{
		channel_join(conn, m);
		return;
	}
	if (strcmp(m->event, "heartbeat") == 0 && strcmp(m->topic, "phoenix") == 0)
	{
		conn_send(conn, message_reply(conn->vsn, "null", m->ref, m->topic,
									  m->topic_len, "ok", "{}"));
		return;
	}
	ch = channel_find(conn, m);
	if (strcmp(m->event, "phx_leave") == 0)
		channel_leave(conn, ch, m);
	else if (ch == NULL)
		conn_send(conn, message_error(conn->vsn, "null", m->ref, m->topic,
									  m->topic_len, "unmatched topic"));
	else if (strcmp(m->event, "access_token") == 0)
		channel_set_token(ch, m->payload);
	else if (strcmp(m->event, "presence") == 0)
		presence_receive(ch, m);
	else if (strcmp(m->event, "broadcast") == 0)
		broadcast_receive(ch, m);

	/* Anything else gets no answer. */
}
