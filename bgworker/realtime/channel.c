/*-------------------------------------------------------------------------
 *
 * channel.c
 *	  Channels: join, leave, tokens, and the answers to everything else.
 *
 * A join that asks for changes is answered when nothing committed from then
 * on can be missed: the stream of events runs and the user's memberships are
 * in memory.  Until then the channel waits, with its reply in hand, in the
 * hub's list or in its user's; channel_settle() moves it along.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include "rooms.h"

/* A join is refused when it has waited so long; clients wait 10 seconds. */
#define JOIN_LIMIT			7	/* seconds */

#define MAX_TOPIC			255 /* bytes */
#define MAX_CONN_BINDINGS	1000	/* of all of a connection's channels */

#define TEXT(s)		(s), strlen(s)

#define NOT_READY \
	"InitializingProjectConnection: Realtime is initializing the project " \
	"connection"

/* ----------
 * Messages to a channel
 * ----------
 */

static void
channel_reply(channel *ch, const char *ref, const char *status,
			  const char *response)
{
	conn_send(ch->conn, message_reply(ch->conn->vsn, ch->join_ref, ref,
									  ch->topic, ch->topic_len,
									  status, response));
}

/* phx_close; to have an effect it must carry the join's ref. */
static frame *
channel_close_frame(const channel *ch)
{
	return message_frame(ch->conn->vsn, ch->join_ref, ch->join_ref,
						 ch->topic, ch->topic_len, "phx_close", TEXT("{}"));
}

static void
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

/* Out of all lists, and away from the user. */
static void
channel_unsubscribe(channel *ch)
{
	user	   *u = ch->user;

	ch->live = false;
	list_remove(&ch->in_waiting);
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
				ch->identity.exp + TOKEN_LEEWAY + 1);
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

/* Go on with a channel as far as it can go now. */
void
channel_settle(channel *ch)
{
	hub		   *h = ch->conn->hub;

	if (ch->nbindings == 0)
	{
		channel_answer(ch);
		return;
	}
	if (!h->live)
	{
		list_push(&h->waiting, &ch->in_waiting);
		return;
	}
	if (ch->identity.kind == IDENTITY_USER && !channel_has_user(ch))
		return;
	if (!channel_subscribe(ch))
	{
		conn_cut(ch->conn, HUB_CLOSE_TRY_LATER, "out of memory");
		return;
	}
	channel_answer(ch);
	channel_system(ch, "postgres_changes", "ok", "Subscribed to PostgreSQL");
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

/* The time limit of a channel that waits, or its token's end. */
static void
channel_fire(timer *t, int64_t now_s)
{
	channel    *ch = list_entry(channel, timer, t);

	if (!list_is_empty(&ch->in_waiting))
		channel_refuse(ch, NOT_READY);
	else if (identity_expired(&ch->identity, now_s))
		channel_end_for_token(ch, TOKEN_EXPIRED, now_s - ch->identity.exp);
	else
		channel_watch_token(ch);
}

/* ----------
 * Joining
 * ----------
 */

static channel *
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

/* The ref of a join, by which all of its channel's messages are known. */
static const char *
message_join_ref(const message *m)
{
	return strcmp(m->join_ref, "null") != 0 ? m->join_ref : m->ref;
}

static channel *
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
	list_init(&ch->in_user);
	list_init(&ch->in_waiting);
	timer_init(&ch->timer, channel_fire);
	timer_start(&conn->hub->wheel, &ch->timer, conn->hub->now + JOIN_LIMIT);
	list_push(&conn->channels, &ch->in_conn);
	conn->nchannels++;
	conn->hub->stats.channels++;
	return ch;
}

static void
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
	free(ch);
}

/* A token of the payload; NULL: none that counts. */
static const char *
payload_token(const json_t *payload, const char *key, size_t *len)
{
	const json_t *value = json_object_get(payload, key);
	const char *token = json_string_value(value);

	if (token == NULL)
		return NULL;
	*len = json_string_length(value);
	while (*len > 0 && strchr(" \t\r\n", token[*len - 1]) != NULL)
		(*len)--;
	while (*len > 0 && strchr(" \t\r\n", *token) != NULL)
	{
		token++;
		(*len)--;
	}
	/* Keys of the new style are for a gateway in front of us. */
	if (strncmp(token, "sb_", 3) == 0)
		return NULL;
	return token;
}

/* Whom a join speaks for.  False: problem tells. */
static bool
join_identify(hub_conn *conn, const message *m, identity *identity,
			  buf *problem)
{
	hub		   *h = conn->hub;
	token_status status = TOKEN_OK;
	size_t		len = 0;
	const char *token = payload_token(m->payload, "user_token", &len);

	if (token == NULL)
		token = payload_token(m->payload, "access_token", &len);
	*identity = conn->identity;
	if (token != NULL && !identity_same_token(h, identity, token, len))
		status = identity_verify(h, identity, token, len);
	else if (identity->kind == IDENTITY_NONE)
		status = TOKEN_MALFORMED;
	else if (identity_expired(identity, h->now))
		status = TOKEN_EXPIRED;
	if (status != TOKEN_OK)
		identity_problem(problem, status, h->now - identity->exp, true);
	return status == TOKEN_OK;
}

/* May there be one more channel with so many bindings?  NULL: yes. */
static const char *
join_limit(hub_conn *conn, const message *m, size_t nbindings)
{
	hub		   *h = conn->hub;

	if (strncmp(m->topic, MESSAGE_PREFIX, MESSAGE_PREFIX_LEN) != 0 ||
		m->topic_len > MAX_TOPIC)
		return "unmatched topic";
	if (m->topic_len == MESSAGE_PREFIX_LEN)
		return "TopicNameRequired: You must provide a topic name";
	if (!conn_may_join(conn))
		return "ClientJoinRateLimitReached: Too many joins per second";
	if (conn->nchannels >= h->config.max_channels)
		return "ChannelRateLimitReached: Too many channels";
	if (nbindings > (size_t) h->config.max_bindings ||
		conn->nbindings + nbindings > MAX_CONN_BINDINGS)
		return "ChannelRateLimitReached: Too many postgres_changes bindings";
	if (nbindings > 0 && !hub_knows_tables(h))
		return NOT_READY;
	return NULL;
}

static bool
join_is_allowed(hub_conn *conn, const message *m, size_t nbindings,
				identity *identity, buf *problem)
{
	const char *limit = join_limit(conn, m, nbindings);

	if (limit != NULL)
	{
		buf_text(problem, limit);
		return false;
	}
	return join_identify(conn, m, identity, problem);
}

/* One item of the reply: the client's own, with an id. */
static void
echo_item(buf *reply, const json_t *params, uint32_t id)
{
	char	   *text = json_dumps(params, JSON_COMPACT);

	if (text == NULL)
	{
		reply->failed = true;
		return;
	}
	/* Without its closing brace. */
	buf_bytes(reply, text, strlen(text) - 1);
	buf_printf(reply, "%s\"id\":%u}", json_object_size(params) > 0 ? "," : "",
			   (unsigned) id);
	free(text);
}

/*
 * Read the items into bindings and put the reply together.  One bad item
 * spoils the whole subscription; problem tells then.
 */
static void
join_bind(channel *ch, const json_t *changes, size_t nbindings, buf *reply,
		  buf *problem)
{
	size_t		i;
	json_t	   *params;

	if (nbindings > 0)
	{
		ch->bindings = calloc(nbindings, sizeof(binding));
		if (ch->bindings == NULL)
		{
			problem->failed = true;
			return;
		}
	}
	buf_text(reply, "{\"postgres_changes\":[");
	json_array_foreach((json_t *) changes, i, params)
	{
		binding    *b = &ch->bindings[ch->nbindings];

		if (!json_is_object(params))
			continue;
		list_init(&b->link);
		b->channel = ch;
		b->id = binding_id(params, ch->bindings, ch->nbindings);
		buf_text(reply, ch->nbindings > 0 ? "," : "");
		echo_item(reply, params, b->id);
		ch->nbindings++;
		ch->conn->nbindings++;
		if (buf_ok(problem) && problem->len == 0)
			binding_parse(ch->conn->hub, b, params, problem);
	}
	buf_text(reply, "]}");
}

/* Booleans may also come as text. */
static bool
is_true(const json_t *value)
{
	const char *text = json_string_value(value);

	return json_is_true(value) || (text != NULL && strcmp(text, "true") == 0);
}

/* The subscription cannot be: the channel is there without it. */
static void
join_without_changes(channel *ch, const json_t *config, const char *problem)
{
	const json_t *options = json_object_get(config,
											"postgres_changes_options");
	buf			reason;

	channel_clear_bindings(ch);
	if (!is_true(json_object_get(options, "wait")))
	{
		channel_settle(ch);
		channel_system(ch, "postgres_changes", "error", problem);
		return;
	}
	buf_init(&reason);
	buf_text(&reason, "RealtimeDisabledForConfiguration: ");
	buf_text(&reason, problem);
	channel_refuse(ch, buf_string(&reason));
	buf_free(&reason);
}

static void
join_set_up(channel *ch, const message *m, size_t nbindings)
{
	const json_t *config = json_object_get(m->payload, "config");
	hub_conn   *conn = ch->conn;
	buf			reply;
	buf			problem;

	buf_init(&reply);
	buf_init(&problem);
	join_bind(ch, json_object_get(config, "postgres_changes"), nbindings,
			  &reply, &problem);
	if (buf_ok(&reply) && buf_ok(&problem))
		ch->reply = message_reply(conn->vsn, ch->join_ref, ch->ref, ch->topic,
								  ch->topic_len, "ok", buf_string(&reply));
	if (ch->reply == NULL)
		conn_cut(conn, HUB_CLOSE_TRY_LATER, "out of memory");
	else if (problem.len == 0)
		channel_settle(ch);
	else
		join_without_changes(ch, config, buf_string(&problem));
	buf_free(&reply);
	buf_free(&problem);
}

static size_t
count_bindings(const message *m)
{
	const json_t *config = json_object_get(m->payload, "config");
	const json_t *changes = json_object_get(config, "postgres_changes");
	size_t		n = 0;
	size_t		i;
	json_t	   *item;

	json_array_foreach((json_t *) changes, i, item)
		n += json_is_object(item);
	return n;
}

static void
channel_join(hub_conn *conn, const message *m)
{
	channel    *old = channel_find(conn, m);
	channel    *ch = NULL;
	frame	   *close_old = NULL;
	size_t		nbindings = count_bindings(m);
	identity	identity;
	buf			problem;

	/* A second join of a topic ends the first, after its own reply. */
	if (old != NULL)
	{
		close_old = channel_close_frame(old);
		channel_drop(old);
	}
	buf_init(&problem);
	if (join_is_allowed(conn, m, nbindings, &identity, &problem))
	{
		ch = channel_new(conn, m, &identity);
		if (ch == NULL)
			conn_cut(conn, HUB_CLOSE_TRY_LATER, "out of memory");
	}
	else
		conn_refuse(conn, message_error(conn->vsn, message_join_ref(m),
										m->ref, m->topic, m->topic_len,
										buf_string(&problem)));
	buf_free(&problem);
	if (ch != NULL)
	{
		ch->close_replaced = close_old;
		join_set_up(ch, m, nbindings);
	}
	else if (close_old != NULL)
		conn_refuse(conn, close_old);
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
	const char *token = payload_token(payload, "access_token", &len);
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
	else if (strcmp(m->event, "presence") == 0 ||
			 strcmp(m->event, "broadcast") == 0)
		conn_send(conn, message_error(conn->vsn, ch->join_ref, m->ref,
									  m->topic, m->topic_len,
									  "NotAvailable: this server has neither "
									  "broadcast nor presence"));

	/* Anything else gets no answer. */
}
