/*-------------------------------------------------------------------------
 *
 * notice.c
 *	  Broadcasts out of the database: rows of openhr_msg.broadcasts.
 *
 * To clients it is a broadcast like any other.  But it is a commit's, so it
 * goes the way of the changes: among those of its transaction, in their order,
 * to those who are members once that has committed, and not to a subscription
 * that begins behind it.  Nor is it left out under pressure: a reader for whom
 * there is no room is cut, as for a message.
 *
 * A channel that asked for those before it gets them by replay.c, and then what
 * came meanwhile.
 *
 * Nobody sent it over a channel, so it is for the public and the private
 * channels of its topic alike.
 *
 *-------------------------------------------------------------------------
 */
#include <string.h>

#include "rooms.h"

typedef struct notice
{
	const event_header *event;
	buf			topic;			/* with MESSAGE_PREFIX */
	buf			payload;		/* of the message */
	frame	   *frames[2];		/* of versions 1 and 2, once made */
} notice;

/* Columns of the record; all are there, unless it was too large. */
typedef struct columns
{
	span		id;
	span		topic;
	span		event;
	span		payload;
} columns;

#define KEY(name)	((span) {"\"" name "\"", sizeof(name) + 1})

static bool
columns_read(columns *c, const event_header *e)
{
	const struct
	{
		span		key;
		span	   *value;
	}			wanted[] = {
		{KEY("id"), &c->id},
		{KEY("topic"), &c->topic},
		{KEY("event"), &c->event},
		{KEY("payload"), &c->payload}
	};
	scan		s;
	span		key;
	span		value;

	memset(c, 0, sizeof(*c));
	if (!scan_open(&s, event_record(e), e->record_len) || !s.object)
		return false;
	while (scan_next(&s, &key, &value))
	{
		for (int i = 0; i < 4; i++)
		{
			if (span_equal(key, wanted[i].key))
				*wanted[i].value = value;
		}
	}
	return c->id.len > 0 && c->topic.len > 0 && c->event.len > 0 &&
		c->payload.len > 0;
}

static void
put_topic(buf *b, span topic)
{
	json_t	   *text = json_loadb(topic.data, topic.len, JSON_DECODE_ANY,
								  NULL);

	buf_text(b, MESSAGE_PREFIX);
	if (json_is_string(text))
		buf_bytes(b, json_string_value(text), json_string_length(text));
	else
		b->failed = true;
	json_decref(text);
}

/* False: no memory. */
static bool
notice_init(notice *n, const event_header *e, const columns *c, bool replayed)
{
	memset(n, 0, sizeof(*n));
	n->event = e;
	buf_init(&n->topic);
	buf_init(&n->payload);
	put_topic(&n->topic, c->topic);
	buf_text(&n->payload, "{\"type\":\"broadcast\",\"event\":");
	buf_bytes(&n->payload, c->event.data, c->event.len);
	buf_text(&n->payload, ",\"payload\":");
	buf_bytes(&n->payload, c->payload.data, c->payload.len);
	buf_text(&n->payload, ",\"meta\":{\"id\":");
	buf_bytes(&n->payload, c->id.data, c->id.len);
	buf_text(&n->payload, replayed ? ",\"replayed\":true}}" : "}}");
	return buf_ok(&n->topic) && buf_ok(&n->payload);
}

static void
notice_free(notice *n)
{
	frame_unref(n->frames[0]);
	frame_unref(n->frames[1]);
	buf_free(&n->topic);
	buf_free(&n->payload);
}

/* The frame for a version; NULL: no memory. */
static frame *
notice_frame(notice *n, const venue *v, int vsn)
{
	frame	  **f = &n->frames[vsn == 2];

	if (*f != NULL)
		return *f;
	*f = message_frame(vsn, "null", "null", n->topic.data, n->topic.len,
					   "broadcast", n->payload.data, n->payload.len);
	if (*f != NULL && v->of_room)
		memcpy((*f)->room, v->room_id, UUID_SIZE);
	return *f;
}

static void
notice_tell(notice *n, const venue *v, span id)
{
	list_foreach(node, &v->channels)
	{
		channel    *ch = list_entry(channel, in_venue, node);
		frame	   *f;

		if ((ch->replay == NULL && !venue_reaches(ch)) || !venue_admits(ch) ||
			(ch->user != NULL && user_knows(ch->user, n->event)))
			continue;
		f = notice_frame(n, v, ch->conn->vsn);
		if (!replay_takes(ch, n->event, id, f) && venue_reaches(ch))
			conn_push(ch->conn, f, ch);
	}
}

/* One that was before the channel, for it alone.  NULL: no memory. */
frame *
notice_replayed(const channel *ch, const event_header *e, span *id)
{
	frame	   *f = NULL;
	columns		c;
	notice		n;

	memset(id, 0, sizeof(*id));
	if (!columns_read(&c, e))
		return NULL;
	*id = c.id;
	if (notice_init(&n, e, &c, true))
		f = message_frame(ch->conn->vsn, ch->join_ref, "null", ch->topic,
						  ch->topic_len, "broadcast", n.payload.data,
						  n.payload.len);
	if (f != NULL && ch->venue->of_room)
		memcpy(f->room, ch->venue->room_id, UUID_SIZE);
	notice_free(&n);
	return f;
}

/* False: no memory. */
bool
notice_route(hub *h, const event_header *e)
{
	columns		c;
	notice		n;
	bool		good;

	/* Nobody speaks as much as would be too large; see broadcasts.c. */
	if (!columns_read(&c, e))
		return true;
	good = notice_init(&n, e, &c, false);
	for (int private = 0; good && private <= 1; private++)
	{
		const venue *v = venue_find(h, private != 0, n.topic.data,
									n.topic.len);

		if (v != NULL)
			notice_tell(&n, v, c.id);
	}
	notice_free(&n);
	h->stats.events++;
	return good;
}
