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
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include "rooms.h"

/* A join is refused when it has waited so long; clients wait 10 seconds. */
#define JOIN_LIMIT			7	/* seconds */

/* Who is no member may become one within this time; a second more or less. */
#define DENIED_LIMIT		2

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
channel_take_back(const channel *ch, const uint8_t *room_id)
{
	queue_drop(&ch->conn->queue,
			   &(queue_choice) {.owner = ch, .room = room_id});
}

/*
 * Out of all lists, and away from the user.  What waits for the channel goes,
 * too: nobody would take it back when the user loses sight of it.
 */
static void
channel_unsubscribe(channel *ch)
{
	user	   *u = ch->user;

	ch->live = false;
	channel_take_back(ch, NULL);
	list_remove(&ch->in_waiting);
	presence_leave(ch);
	venue_leave(ch);
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

/* From now on the channel's timer is for the end of its token. */
static void
channel_watch_token(channel *ch)
{
	timer_start(&ch->conn->hub->wheel, &ch->timer,
				ch->identity.exp + TOKEN_LEEWAY);
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
	channel_watch_token(ch);
}

/* Is the user of the channel in memory?  If not, the channel waits. */
static bool
channel_has_user(channel *ch)
{
	hub		   *h = ch->conn->hub;

	if (ch->user == NULL)
	{
		ch->user = user_get(h, ch->identity.profile_id);
		if (ch->user == NULL)
		{
			conn_cut(ch->conn, HUB_CLOSE_TRY_LATER, "out of memory");
			return false;
		}
		list_push(&ch->user->channels, &ch->in_user);
	}
	if (ch->user->state == USER_LOADED)
		return true;
	list_push(&ch->user->waiting, &ch->in_waiting);
	membership_ask(h);
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

/* Go on with a channel as far as it can go now; it stays, in any case. */
void
channel_settle(channel *ch)
{
	hub		   *h = ch->conn->hub;
	uint8_t		room_id[UUID_SIZE];
	bool		for_changes = ch->nbindings > 0;
	bool		for_user = ch->identity.kind == IDENTITY_USER &&
		(for_changes || topic_room(ch->topic, ch->topic_len, room_id));

	if (!h->live && (for_changes || for_user))
	{
		list_push(&h->waiting, &ch->in_waiting);
		return;
	}
	if (for_user && !channel_has_user(ch))
		return;
	if (!venue_enter(ch))
	{
		conn_cut(ch->conn, HUB_CLOSE_TRY_LATER, "out of memory");
		return;
	}
	if (!channel_is_admitted(ch))
		return;
	if (for_changes && !channel_subscribe(ch))
	{
		conn_cut(ch->conn, HUB_CLOSE_TRY_LATER, "out of memory");
		return;
	}
	channel_answer(ch);
	ch->joined = true;
	attendance_inform(ch);
	if (for_changes)
		channel_system(ch, "postgres_changes", "ok",
					   "Subscribed to PostgreSQL");
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

/* The time limit of a channel that waits. */
static void
channel_give_up(channel *ch)
{
	buf			reason;

	if (ch->venue == NULL)
	{
		channel_refuse(ch, NOT_READY);
		return;
	}
	buf_init(&reason);
	venue_reason(&reason, ch->topic, ch->topic_len);
	channel_refuse(ch, buf_string(&reason));
	buf_free(&reason);
}

/* .. or its token's end. */
static void
channel_fire(timer *t, int64_t now_s)
{
	channel    *ch = list_entry(channel, timer, t);

	if (!list_is_empty(&ch->in_waiting))
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
	channel_clear_bindings(ch);
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

static void
channel_set_token(channel *ch, const json_t *payload)
{
	hub		   *h = ch->conn->hub;
	bool		waiting = !list_is_empty(&ch->in_waiting);
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
	{
		ch->identity = identity;
		if (waiting)
			return;
		channel_watch_token(ch);
		if (ch->live)
			channel_system(ch, "postgres_changes", "ok",
						   "Subscribed to PostgreSQL");
		return;
	}
	channel_unsubscribe(ch);
	ch->identity = identity;
	if (!waiting)
		timer_start(&h->wheel, &ch->timer, h->now + JOIN_LIMIT);
	channel_settle(ch);
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
