/*-------------------------------------------------------------------------
 *
 * join.c
 *	  Joining a channel: may it be, for whom, and with which bindings.
 *
 * What is wrong with the join itself (its topic, its token, too many of them)
 * refuses it.  What is wrong with one of its postgres_changes items does not:
 * the channel is there without changes, and a system message tells why.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include "rooms.h"

#define MAX_TOPIC			255 /* bytes */
#define MAX_CONN_BINDINGS	1000	/* of all of a connection's channels */

/* This many at once, and then one more each tenth of a second. */
#define JOIN_BURST			100
#define JOIN_INTERVAL_MS	100

/* What a join asks for beside changes. */
typedef struct join_options
{
	bool		private;
	bool		self;
	bool		ack;
	bool		presence;
	const char *key;			/* of the message, or NULL */
	const json_t *replay;		/* .. too */
} join_options;

/* Whom a join speaks for.  False: problem tells. */
static bool
join_identify(hub_conn *conn, const message *m, identity *identity,
			  buf *problem)
{
	hub		   *h = conn->hub;
	token_status status = TOKEN_OK;
	size_t		len = 0;
	const char *token = identity_token(m->payload, "user_token", &len);

	if (token == NULL)
		token = identity_token(m->payload, "access_token", &len);
	*identity = conn->identity;
	if (token != NULL && !identity_same_token(h, identity, token, len))
		status = identity_verify(h, identity, token, len);
	else if (identity->kind == IDENTITY_NONE)
		status = TOKEN_MALFORMED;
	else if (identity_expired(identity, h->now))
		status = TOKEN_EXPIRED;
	else if (identity_revoked(h, identity))
		status = TOKEN_REVOKED;
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
	if (!conn_spend(h, &conn->joins_until, JOIN_BURST, JOIN_INTERVAL_MS))
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

/* Booleans may also come as text. */
static bool
is_true(const json_t *value)
{
	const char *text = json_string_value(value);

	return json_is_true(value) || (text != NULL && strcmp(text, "true") == 0);
}

/* What a join asks for beside changes. */
static void
join_read(const message *m, join_options *options)
{
	const json_t *config = json_object_get(m->payload, "config");
	const json_t *broadcast = json_object_get(config, "broadcast");
	const json_t *presence = json_object_get(config, "presence");
	const char *key = json_string_value(json_object_get(presence, "key"));

	options->private = is_true(json_object_get(config, "private"));
	options->self = is_true(json_object_get(broadcast, "self"));
	options->ack = is_true(json_object_get(broadcast, "ack"));
	options->presence = is_true(json_object_get(presence, "enabled"));
	options->replay = json_object_get(broadcast, "replay");
	options->key = key != NULL && key[0] != '\0' ? key : NULL;
}

/*
 * May somebody be there in the way that was asked for?  (Whether a member's
 * conversation lets her is seen later.)
 */
static bool
join_is_open(hub_conn *conn, const message *m, const identity *identity,
			 const join_options *options, buf *problem)
{
	const char *bad_key = NULL;
	const char *bad_replay = replay_problem(options->replay,
											options->private);

	if (bad_replay != NULL)
	{
		buf_text(problem, bad_replay);
		return false;
	}
	if ((options->private || options->presence) &&
		venue_is_closed(conn->hub, identity, options->private, m->topic,
						m->topic_len))
	{
		venue_reason(problem, m->topic, m->topic_len);
		return false;
	}
	if (options->presence && options->key != NULL)
		bad_key = presence_key_problem(identity, options->key);
	if (bad_key != NULL)
		buf_text(problem, bad_key);
	return bad_key == NULL;
}

static bool
join_is_allowed(hub_conn *conn, const message *m, size_t nbindings,
				const join_options *options, identity *identity, buf *problem)
{
	const char *limit = join_limit(conn, m, nbindings);

	if (limit != NULL)
	{
		buf_text(problem, limit);
		return false;
	}
	return join_identify(conn, m, identity, problem) &&
		join_is_open(conn, m, identity, options, problem);
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
		ch->problem = strdup(problem);
		channel_settle(ch);
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

/* The channel, as it was asked for; NULL: no memory. */
static channel *
join_make(hub_conn *conn, const message *m, const identity *identity,
		  const join_options *options)
{
	channel    *ch = channel_new(conn, m, identity);

	if (ch == NULL)
		return NULL;
	ch->private = options->private;
	ch->self = options->self;
	ch->ack = options->ack;
	ch->presence = options->presence;
	if (options->key != NULL)
		ch->key = strdup(options->key);
	if (replay_want(ch, options->replay) &&
		(options->key == NULL || ch->key != NULL))
		return ch;
	channel_drop(ch);
	return NULL;
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

void
channel_join(hub_conn *conn, const message *m)
{
	channel    *old = channel_find(conn, m);
	channel    *ch = NULL;
	frame	   *close_old = NULL;
	size_t		nbindings = count_bindings(m);
	join_options options;
	identity	identity;
	buf			problem;

	/* A second join of a topic ends the first, after its own reply. */
	if (old != NULL)
	{
		close_old = channel_close_frame(old);
		presence_linger(old);
		channel_drop(old);
	}
	join_read(m, &options);
	buf_init(&problem);
	if (join_is_allowed(conn, m, nbindings, &options, &identity, &problem))
	{
		ch = join_make(conn, m, &identity, &options);
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
