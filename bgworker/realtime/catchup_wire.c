/*-------------------------------------------------------------------------
 *
 * catchup_wire.c
 *	  What is asked for who catches up, and what comes back: the two messages
 *	  of ../calls.h.
 *
 * A reply is looked at as if anybody could have written it: nothing in it is
 * believed that was not measured.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include "catchup.h"

/* ----------
 * Asking
 * ----------
 */

/* Which tables, and which conversation, do the bindings ask for? */
static void
request_scope(const channel *ch, MsgCatchUp *head)
{
	bool		pinned = true;

	for (int i = 0; i < ch->nbindings; i++)
	{
		const binding *b = &ch->bindings[i];

		head->tables |= b->tables;
		pinned = pinned && b->pinned &&
			memcmp(b->room_id, ch->bindings[0].room_id, UUID_SIZE) == 0;
	}
	head->pinned = pinned;
	if (pinned)
		memcpy(head->conversation_id, ch->bindings[0].room_id, UUID_SIZE);
}

static void
put_mark(buf *b, const mark *m)
{
	buf_part(b, &m->fence, sizeof(m->fence));
	buf_part(b, m->position, event_position_size(m->position));
}

void
catchup_put_request(buf *b, const catchup *c)
{
	const channel *ch = c->channel;
	const stay *s = ch->conn->stay;
	bool		resume = c->resume && c->from == NULL;
	MsgCatchUp	head = {
		.resume = resume,
		.client_id_len = resume ? s->client_id_len : 0,
		.topic_len = resume ? (uint32_t) ch->topic_len : 0,
		.cursor_len = c->cursor_len,
	};

	request_scope(ch, &head);
	if (c->from != NULL)
		head.from_len = (uint32_t) event_position_size(c->from->position);
	if (c->until != NULL)
		head.until_len = (uint32_t) (sizeof(c->until->fence) +
									 event_position_size(c->until->position));
	buf_part(b, &head, sizeof(head));
	if (resume)
	{
		buf_part(b, s->client_id, s->client_id_len);
		buf_part(b, ch->topic, ch->topic_len);
	}
	if (c->from != NULL)
		buf_part(b, c->from->position, head.from_len);
	if (c->until != NULL)
		put_mark(b, c->until);
	buf_part(b, c->cursor, c->cursor_len);
}

/* ----------
 * Replies
 * ----------
 */

/* Where the round ends, and where its next piece begins. */
void
catchup_forget_round(catchup *c)
{
	mark_unref(c->until);
	c->until = NULL;
	free(c->cursor);
	c->cursor = NULL;
	c->cursor_len = 0;
}

/* The reply's parts, each at a multiple of 8. */
static const void *
take_part(catchup *c, size_t len)
{
	const char *part = c->reply + c->told;

	if (len > c->reply_len - c->told)
		return NULL;
	c->told += len + -len % 8;
	if (c->told > c->reply_len)
		c->told = c->reply_len;
	return part;
}

static mark *
read_mark(const event_mark *m, size_t len)
{
	size_t		head = offsetof(event_mark, position);

	if (m == NULL || len < sizeof(*m) ||
		!position_valid(&m->position, len - head))
		return NULL;
	return mark_new(0, m->fence, &m->position, NULL, 0);
}

/* False: the reply is malformed, or there is no memory. */
bool
catchup_read_reply(catchup *c)
{
	const MsgCaughtUp *head;
	const void *until;
	const event_position *from;
	const void *cursor;

	c->told = 0;
	head = take_part(c, sizeof(*head));
	if (head == NULL)
		return false;
	until = take_part(c, head->until_len);
	from = take_part(c, head->from_len);
	cursor = take_part(c, head->cursor_len);
	if (until == NULL || from == NULL || cursor == NULL)
		return false;

	catchup_forget_round(c);
	c->until = read_mark(until, head->until_len);
	if (c->until == NULL)
		return false;
	if (c->from == NULL && head->from_len > 0)
	{
		if (!position_valid(from, head->from_len))
			return false;
		c->from = mark_new(0, 0, from, NULL, 0);
	}
	c->cursor = malloc(head->cursor_len + 1);
	if (c->cursor == NULL || (c->from == NULL && head->more))
		return false;
	memcpy(c->cursor, cursor, head->cursor_len);
	c->cursor_len = head->cursor_len;
	if (head->session != 0)
		c->channel->session = head->session;
	c->nevents = head->nevents;
	c->more = head->more;
	return true;
}

/* The next event, or NULL when it is none. */
const event_header *
catchup_next_event(catchup *c)
{
	const event_header *e = (const void *) (c->reply + c->told);

	if (c->reply_len - c->told < sizeof(*e) ||
		e->size > c->reply_len - c->told || !hub_event_valid(e, e->size) ||
		e->table >= EVENT_TABLES)
		return NULL;
	take_part(c, e->size);
	c->nevents--;
	return e;
}

/* A message that has been deleted meanwhile is nobody's in what is not told
 * yet. */
void
catchup_strike_message(catchup *c, const uint8_t *room_id, int64_t seq)
{
	size_t		told = c->told;
	uint32_t	nevents = c->nevents;
	event_header *e;

	while (c->nevents > 0 &&
		   (e = (event_header *) catchup_next_event(c)) != NULL)
	{
		if (e->table == EVENT_MESSAGES && e->seq == seq &&
			memcmp(e->conversation_id, room_id, UUID_SIZE) == 0)
			memset(e->conversation_id, 0, UUID_SIZE);
	}
	c->told = told;
	c->nevents = nevents;
}
