/*-------------------------------------------------------------------------
 *
 * hub_tables.h
 *	  What executors answer to a hub that asks for what was missed.
 *
 *-------------------------------------------------------------------------
 */
#ifndef HUB_TABLES_H
#define HUB_TABLES_H

#include "hub_world.h"

/* ----------
 * Answers
 * ----------
 */

typedef struct reply
{
	uint8_t		bytes[256 * 1024];
	size_t		len;
	MsgCaughtUp *head;
} reply;

static inline void
reply_put(reply *r, const void *data, size_t len)
{
	memcpy(r->bytes + r->len, data, len);
	r->len += len + -len % 8;
}

/* Up to a mark that sees transactions below xmax; from is for a client that
 * comes back, or 0. */
static inline reply *
reply_new(uint64_t fence, uint64_t xmax, uint64_t from, int64_t session)
{
	reply	   *r = calloc(1, sizeof(reply));
	event_mark	until = {
		.fence = fence, .position = {.xmin = xmax, .xmax = xmax}
	};
	event_position begin = {.xmin = from, .xmax = from};

	r->head = (MsgCaughtUp *) r->bytes;
	r->len = sizeof(MsgCaughtUp);
	r->head->found = from != 0;
	r->head->session = session;
	r->head->until_len = sizeof(until);
	reply_put(r, &until, sizeof(until));
	if (from != 0)
	{
		r->head->from_len = sizeof(begin);
		reply_put(r, &begin, sizeof(begin));
	}
	return r;
}

static inline void
reply_more(reply *r, const char *cursor)
{
	r->head->more = 1;
	r->head->cursor_len = (uint32_t) strlen(cursor);
	reply_put(r, cursor, strlen(cursor));
}

static inline void
reply_event(reply *r, event_header *e, uint32_t xid)
{
	e->xid = xid;
	r->head->nevents++;
	reply_put(r, e, e->size);
	free(e);
}

static inline bool
reply_to(world *w, const missed *asked, reply *r)
{
	bool		good = hub_caught_up(w->h, asked->ticket, r->bytes, r->len);

	free(r);
	return good;
}

/* ----------
 * Questions
 * ----------
 */

static inline const MsgCatchUp *
request_head(const missed *asked)
{
	return (const MsgCatchUp *) asked->request;
}

/* Its parts in turn. */
enum
{
	REQUEST_CLIENT,
	REQUEST_TOPIC,
	REQUEST_FROM,
	REQUEST_UNTIL,
	REQUEST_CURSOR
};

static inline const void *
request_part(const missed *asked, int n)
{
	const MsgCatchUp *m = request_head(asked);
	const uint32_t lens[] = {
		m->client_id_len, m->topic_len, m->from_len, m->until_len, m->cursor_len
	};
	const uint8_t *part = (const uint8_t *) (m + 1);

	for (int i = 0; i < n; i++)
		part += lens[i] + -lens[i] % 8;
	return part;
}

#endif							/* HUB_TABLES_H */
