/*-------------------------------------------------------------------------
 *
 * signals.c
 *	  Signals on their way out, and what is done when they come in.
 *
 * What the hub's clients do becomes a signal in the outbox, which the shell
 * empties: into hub_signal() at once when there is one gateway, or to the
 * streamer.  The outbox is bounded.  Broadcasts are refused when it is half
 * full.  A change of presence is never refused: when there is no room for it,
 * all that can be is thrown away, and everything that is ours is sent anew
 * when the shell has taken the rest.  The same mends whatever else may have
 * been lost, so lists of what is present never differ for long.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include "rooms.h"

#define MAX_OUTBOX		(4 * 1024 * 1024)

bool
signal_valid(const void *data, size_t len)
{
	const signal_header *s = data;
	const char *payload;

	if ((uintptr_t) data % _Alignof(signal_header) != 0 ||
		!signal_is(data, len) || s->size != len ||
		len - sizeof(*s) != (uint64_t) s->topic_len + s->name_len +
		s->payload_len)
		return false;
	payload = signal_payload(s);
	switch (s->kind)
	{
		case SIGNAL_BROADCAST:
			return s->topic_len > 0;
		case SIGNAL_TRACK:
			return s->topic_len > 0 && s->name_len > 0 &&
				s->payload_len >= 2 && payload[0] == '{' &&
				payload[s->payload_len - 1] == '}';
		case SIGNAL_UNTRACK:
		case SIGNAL_RESET:
		case SIGNAL_SYNCED:
		case SIGNAL_ASK:
			return len == sizeof(*s);
		default:
			return false;
	}
}

/* ----------
 * Out
 * ----------
 */

static void
header_init(signal_header *s, hub *h, signal_kind kind, uint8_t flags)
{
	memset(s, 0, sizeof(*s));
	s->magic = SIGNAL_MAGIC;
	s->size = sizeof(*s);
	s->kind = (uint8_t) kind;
	s->flags = flags;
	s->gateway = (uint16_t) h->config.gateway;
}

/* NULL: no memory. */
parcel *
parcel_of(hub *h, signal_kind kind, uint8_t flags, span topic, span name,
		  span payload)
{
	size_t		size = sizeof(signal_header) + topic.len + name.len +
		payload.len;
	const span	parts[] = {topic, name, payload};
	parcel	   *p;
	char	   *text;

	if (payload.len > MAX_OUTBOX)
		return NULL;
	p = malloc(offsetof(parcel, signal) + size);
	if (p == NULL)
		return NULL;
	list_init(&p->link);
	header_init(&p->signal, h, kind, flags);
	p->signal.size = (uint32_t) size;
	p->signal.topic_len = (uint16_t) topic.len;
	p->signal.name_len = (uint16_t) name.len;
	p->signal.payload_len = (uint32_t) payload.len;
	text = (char *) (&p->signal + 1);
	for (int i = 0; i < 3; i++)
	{
		if (parts[i].len > 0)
			memcpy(text, parts[i].data, parts[i].len);
		text += parts[i].len;
	}
	return p;
}

/* A signal of a channel's (or, NULL, of the hub's); NULL: no memory. */
parcel *
parcel_new(hub *h, signal_kind kind, uint8_t flags, const channel *ch,
		   span name, span payload)
{
	bool		has_topic = kind == SIGNAL_BROADCAST || kind == SIGNAL_TRACK;
	span		topic = {NULL, 0};
	parcel	   *p;

	if (has_topic)
		topic = (span) {ch->topic, ch->topic_len};
	p = parcel_of(h, kind, flags, topic, name, payload);
	if (p != NULL && ch != NULL)
	{
		p->signal.flags |= ch->private ? SIGNAL_PRIVATE : 0;
		p->signal.channel = ch->number;
		memcpy(p->signal.profile_id, ch->identity.profile_id, UUID_SIZE);
	}
	return p;
}

parcel *
parcel_copy(const parcel *p)
{
	size_t		size = offsetof(parcel, signal) + p->signal.size;
	parcel	   *copy = malloc(size);

	if (copy == NULL)
		return NULL;
	memcpy(copy, p, size);
	list_init(&copy->link);
	return copy;
}

/* The first one stays when it may be on its way. */
static void
outbox_clear(hub *h)
{
	list_node  *keep = h->outbox_started ? h->outbox.next : &h->outbox;

	while (keep->next != &h->outbox)
	{
		parcel	   *p = list_entry(parcel, link, keep->next);

		list_remove(&p->link);
		h->outbox_bytes -= p->signal.size;
		free(p);
	}
}

static void
outbox_push(hub *h, parcel *p)
{
	list_push(&h->outbox, &p->link);
	h->outbox_bytes += p->signal.size;
}

/* Would a broadcast, or several, of that size be taken? */
bool
signal_has_room(const hub *h, size_t bytes)
{
	return h->outbox_bytes + bytes <= MAX_OUTBOX / 2;
}

/*
 * Put a signal into the outbox; NULL stands for a change of presence that
 * there was no memory for.  False: a broadcast that there is no room for.
 */
bool
signal_publish(hub *h, parcel *p)
{
	bool		broadcast = p != NULL && p->signal.kind == SIGNAL_BROADCAST;
	size_t		most = broadcast ? MAX_OUTBOX / 2 : MAX_OUTBOX;

	if (p != NULL && h->outbox_bytes + p->signal.size <= most)
	{
		outbox_push(h, p);
		return true;
	}
	free(p);
	if (broadcast)
		return false;
	outbox_clear(h);
	h->resend_due = true;
	return true;
}

/* Put all that is ours there; when that fails, it is tried again. */
static void
outbox_resend(hub *h)
{
	const span	none = {NULL, 0};
	list	   *lists[] = {&h->tracked, &h->lingering};
	parcel	   *p = parcel_new(h, SIGNAL_RESET, 0, NULL, none, none);

	if (p == NULL)
		return;
	outbox_push(h, p);
	for (int i = 0; i < 2; i++)
	{
		list_foreach(node, lists[i])
		{
			p = parcel_copy(list_entry(tracked, link, node)->track);
			if (p == NULL)
				return;
			outbox_push(h, p);
		}
	}
	p = parcel_new(h, SIGNAL_SYNCED, 0, NULL, none, none);
	if (p == NULL)
		return;
	outbox_push(h, p);
	h->resend_due = false;
}

const void *
hub_outgoing(hub *h, size_t *size)
{
	parcel	   *p;

	if (list_is_empty(&h->outbox) && h->resend_due)
		outbox_resend(h);
	if (!list_is_empty(&h->outbox))
	{
		h->outbox_started = true;
		p = list_entry(parcel, link, h->outbox.next);
		*size = p->signal.size;
		return &p->signal;
	}
	if (!h->ask_due)
		return NULL;
	header_init(&h->ask, h, SIGNAL_ASK, 0);
	*size = h->ask.size;
	return &h->ask;
}

void
hub_sent(hub *h)
{
	list_node  *node = list_shift(&h->outbox);

	h->outbox_started = false;
	if (node == NULL)
		h->ask_due = false;
	else
	{
		parcel	   *p = list_entry(parcel, link, node);

		h->outbox_bytes -= p->signal.size;
		free(p);
	}
}

void
hub_relink(hub *h)
{
	h->outbox_started = false;
	outbox_clear(h);
	h->resend_due = true;
}

void
signal_free(hub *h)
{
	h->outbox_started = false;
	outbox_clear(h);
}

/* ----------
 * In
 * ----------
 */

void
hub_signal(hub *h, const void *data, size_t len, int64_t now)
{
	const signal_header *s = data;

	(void) len;
	hub_set_time(h, now);
	switch (s->kind)
	{
		case SIGNAL_BROADCAST:
			broadcast_deliver(h, s);
			break;
		case SIGNAL_ASK:
			h->resend_due = true;
			break;
		default:
			attendance_apply(h, s);
	}
	h->stats.signals++;
	hub_reap(h);
}
