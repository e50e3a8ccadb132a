/*-------------------------------------------------------------------------
 *
 * broadcast.c
 *	  What clients say to one another, past the tables.  (What is broadcast
 *	  from the database is in notice.c.)
 *
 * A broadcast is passed on as it came: a client's JSON text is checked, and
 * not built anew; what is no JSON is not looked at.  Each receiver of a
 * version of the protocol gets the same frame.
 *
 * It is the first to be dropped when something is short, and nobody waits for
 * it.  The sender learns of that, if it asked for replies, as far as it is
 * known here; what a slow reader misses is not.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include "rooms.h"

/* Kind of the binary frame, and what it says of the payload. */
#define BINARY_BROADCAST	4
#define BINARY_RAW			0
#define BINARY_JSON			1

/* ----------
 * In
 * ----------
 */

/* Tell the sender what became of it; NULL: all is well. */
static void
answer(channel *ch, const message *m, const char *problem)
{
	if (ch->ack && problem == NULL)
		channel_reply(ch, m->ref, "ok", "{}");
	else if (ch->ack)
		channel_error(ch, m->ref, problem);
	else if (problem != NULL && !ch->warned)
	{
		ch->warned = true;
		channel_system(ch, "system", "error", problem);
	}
}

/* A broadcast in a binary frame. */
static parcel *
from_binary(channel *ch, const message *m, const char **problem)
{
	hub		   *h = ch->conn->hub;
	uint8_t		flags = m->raw ? SIGNAL_RAW : 0;
	json_t	   *parsed;

	if (!m->raw)
	{
		parsed = json_loadb(m->data, m->data_len, JSON_DECODE_ANY, NULL);
		if (parsed == NULL)
		{
			*problem = "broadcast payload is not valid JSON";
			return NULL;
		}
		json_decref(parsed);
	}
	return parcel_new(h, SIGNAL_BROADCAST, flags, ch, m->name,
					  (span) {m->data, m->data_len});
}

/*
 * A broadcast in a text frame.  Its payload goes to others as it is, whatever
 * else it holds; but to clients, "ids" means that this is a change.
 */
static parcel *
from_text(channel *ch, const message *m, const char **problem)
{
	char	   *text;
	parcel	   *p;

	if (!json_is_string(json_object_get(m->payload, "event")))
		*problem = "broadcast has no event";
	else if (json_object_get(m->payload, "ids") != NULL)
		*problem = "broadcast has the reserved key \"ids\"";
	if (*problem != NULL)
		return NULL;
	text = json_dumps(m->payload, JSON_COMPACT);
	if (text == NULL)
		return NULL;
	p = parcel_new(ch->conn->hub, SIGNAL_BROADCAST, SIGNAL_WHOLE, ch,
				   (span) {NULL, 0}, (span) {text, strlen(text)});
	free(text);
	return p;
}

static const char *
publish(channel *ch, const message *m)
{
	hub		   *h = ch->conn->hub;
	const char *problem = NULL;
	parcel	   *p;

	if (!conn_spend(h, &ch->conn->broadcasts_until, BROADCAST_BURST,
					BROADCAST_INTERVAL_MS))
		return "Too many messages per second";
	p = m->binary ? from_binary(ch, m, &problem) :
		from_text(ch, m, &problem);
	if (p == NULL)
		return problem != NULL ? problem : "out of memory";
	return signal_publish(h, p) ? NULL : "Too many messages, try again later";
}

void
broadcast_receive(channel *ch, const message *m)
{
	buf			reason;

	if (!ch->joined)
		answer(ch, m, NOT_READY);
	else if (venue_admits(ch))
		answer(ch, m, publish(ch, m));
	else
	{
		buf_init(&reason);
		venue_reason(&reason, ch->topic, ch->topic_len);
		answer(ch, m, buf_string(&reason));
		buf_free(&reason);
	}
}

/* ----------
 * Out
 * ----------
 */

static frame *
binary_frame(const signal_header *s)
{
	uint8_t		header[] = {
		BINARY_BROADCAST, (uint8_t) s->topic_len, (uint8_t) s->name_len, 0,
		s->flags & SIGNAL_RAW ? BINARY_RAW : BINARY_JSON
	};

	return frame_binary((frame_part[]) {
		{(const char *) header, sizeof(header)},
		{signal_topic(s), s->topic_len},
		{signal_name(s), s->name_len},
		{signal_payload(s), s->payload_len}
	}, 4);
}

static frame *
text_frame(const signal_header *s, int vsn)
{
	frame	   *f = NULL;
	buf			b;

	if (s->flags & SIGNAL_WHOLE)
		return message_frame(vsn, "null", "null", signal_topic(s),
							 s->topic_len, "broadcast", signal_payload(s),
							 s->payload_len);
	buf_init(&b);
	buf_text(&b, "{\"type\":\"broadcast\",\"event\":");
	buf_json(&b, signal_name(s), s->name_len);
	buf_text(&b, ",\"payload\":");
	buf_bytes(&b, signal_payload(s), s->payload_len);
	buf_text(&b, "}");
	if (buf_ok(&b))
		f = message_frame(vsn, "null", "null", signal_topic(s), s->topic_len,
						  "broadcast", b.data, b.len);
	buf_free(&b);
	return f;
}

/* The frame for a version; NULL: there is none, or no memory. */
static frame *
build_frame(const venue *v, const signal_header *s, int vsn)
{
	frame	   *f;

	if (vsn == 2 && (s->flags & SIGNAL_WHOLE) == 0)
		f = binary_frame(s);
	else if (s->flags & SIGNAL_RAW)
		return NULL;
	else
		f = text_frame(s, vsn);
	if (f != NULL)
		venue_mark(v, f);
	return f;
}

void
broadcast_deliver(hub *h, const signal_header *s)
{
	bool		ours = s->gateway == h->config.gateway;
	venue	   *v = venue_find(h, (s->flags & SIGNAL_PRIVATE) != 0,
							   signal_topic(s), s->topic_len);
	frame	   *frames[2];

	if (v == NULL)
		return;
	frames[0] = build_frame(v, s, 1);
	frames[1] = build_frame(v, s, 2);
	list_foreach(node, &v->channels)
	{
		channel    *ch = list_entry(channel, in_venue, node);
		frame	   *f = frames[ch->conn->vsn == 2];
		bool		own = ours && ch->number == s->channel;

		if (f != NULL && (!own || ch->self) && venue_reaches(ch))
			conn_push(ch->conn, f, ch);
	}
	frame_unref(frames[0]);
	frame_unref(frames[1]);
}
