/*-------------------------------------------------------------------------
 *
 * route.c
 *	  From an event to the queues of those who see it.
 *
 * First the bindings that the event hits are gathered, channel by channel;
 * then each channel gets one frame for each set of columns asked for.  The
 * "data" object is built once for each such set, and the frame once for each
 * topic and list of ids: most readers of a conversation use the same topic
 * and the same parameters, hence the same ids, and share one frame.
 *
 * A filter may cost more than the rest of all this, and clients write it.  So
 * each user has a fixed effort to spend on filters for an event.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include "rooms.h"

#define SHARED_BUCKETS	1024
#define ROUTE_EFFORT	100000	/* a few milliseconds at the very worst */

/* A frame made for the event being routed, and what it was made for. */
typedef struct shared
{
	struct shared *next;		/* in its bucket */
	struct shared *next_made;
	uint64_t	hash;
	frame	   *frame;
	const channel *first;
	const projection *select;
	int			nids;
	uint32_t	ids[];
} shared;

typedef struct route
{
	uint64_t	event;			/* number of the event being routed */
	bool		wants_receipt;
	bool		late;			/* it is told to one who had missed it */
	change		change;
	channel    *hits;
	channel   **hits_end;
	buf			head;			/* of the frame being built */
	rendering	whole;			/* the data with all columns */
	rendering  *renderings;		/* in use for this event */
	shared	   *made;
	shared	   *buckets[SHARED_BUCKETS];
} route;

route *
route_new(void)
{
	route	   *r = calloc(1, sizeof(route));

	if (r != NULL)
		change_init(&r->change);
	return r;
}

void
route_free(route *r)
{
	if (r == NULL)
		return;
	change_free(&r->change);
	buf_free(&r->head);
	buf_free(&r->whole.data);
	free(r);
}

/* ----------
 * Gathering
 * ----------
 */

static void
hit(route *r, binding *b)
{
	channel    *ch = b->channel;

	if (ch->apart && !catchup_admits(ch, r->change.event))
		return;
	if (ch->hits == NULL)
	{
		ch->hits_end = &ch->hits;
		ch->next_hit = NULL;
		*r->hits_end = ch;
		r->hits_end = &ch->next_hit;
	}
	b->next_hit = NULL;
	*ch->hits_end = b;
	ch->hits_end = &b->next_hit;
}

static uint8_t
action_bit(uint8_t action)
{
	return action == EVENT_INSERT ? BINDING_INSERT :
		action == EVENT_UPDATE ? BINDING_UPDATE : BINDING_DELETE;
}

/* Does the event hit a binding? */
static void
consider(route *r, binding *b, uint32_t *effort)
{
	const event_header *e = r->change.event;

	if ((b->tables & (1 << e->table)) == 0 ||
		(b->actions & action_bit(e->action)) == 0)
		return;
	if (b->pinned && memcmp(b->room_id, e->conversation_id, UUID_SIZE) != 0)
		return;
	if (b->filter == NULL || filter_matches(b->filter, &r->change, effort))
		hit(r, b);
	else if (change_failed(&r->change))
		conn_cut(b->channel->conn, HUB_CLOSE_TRY_LATER, "out of memory");
}

/* The bindings of a list that the event hits. */
static void
gather(route *r, list *bindings, uint32_t *effort)
{
	list_foreach(node, bindings)
		consider(r, list_entry(binding, link, node), effort);
}

static void
gather_seats(route *r, list *seats)
{
	list_foreach(node, seats)
	{
		seat	   *s = list_entry(seat, in_room, node);
		user	   *u = s->user;

		if (user_knows(u, r->change.event))
			continue;
		if (u->effort_event != r->event)
		{
			u->effort_event = r->event;
			u->effort = ROUTE_EFFORT;
		}
		gather(r, &s->bindings, &u->effort);
		gather(r, &u->bindings, &u->effort);
	}
}

/* ----------
 * Building
 * ----------
 */

/* The "data" object for a set of columns; NULL: no memory. */
static const buf *
rendered(route *r, projection *select)
{
	rendering  *data = select != NULL ? &select->rendering : &r->whole;

	if (data->event != r->event)
	{
		data->event = r->event;
		data->next = r->renderings;
		r->renderings = data;
		change_render(&r->change, select, &data->data);
	}
	return buf_ok(&data->data) ? &data->data : NULL;
}

/* When the message was sent that is told; 0: something else is, or late. */
static int64_t
sent_at(const route *r, const event_header *e)
{
	return !r->late && e->table == EVENT_MESSAGES &&
		e->action == EVENT_INSERT ? e->commit_time : 0;
}

static frame *
build_frame(route *r, const channel *ch, projection *select,
			const uint32_t *ids, int nids)
{
	const buf  *data = rendered(r, select);
	buf		   *head = &r->head;
	bool		v2 = ch->conn->vsn == 2;
	const char *tail = v2 ? "}]" : "},\"ref\":null}";
	frame	   *f;

	buf_reset(head);
	buf_text(head, v2 ? "[null,null," : "{\"topic\":");
	buf_json(head, ch->topic, ch->topic_len);
	buf_text(head, v2 ? ",\"postgres_changes\",{\"ids\":[" :
			 ",\"event\":\"postgres_changes\",\"payload\":{\"ids\":[");
	for (int i = 0; i < nids; i++)
	{
		buf_text(head, i > 0 ? "," : "");
		buf_number(head, ids[i]);
	}
	buf_text(head, "],\"data\":");
	if (!buf_ok(head) || data == NULL)
		return NULL;
	f = frame_parts((frame_part[]) {
		{head->data, head->len},
		{data->data, data->len},
		{tail, strlen(tail)}
	}, 3);
	if (f != NULL)
	{
		memcpy(f->room, r->change.event->conversation_id, UUID_SIZE);
		f->seq = r->change.event->seq;
		f->committed_at = sent_at(r, r->change.event);
	}
	return f;
}

static bool
is_made_for(const shared *s, uint64_t hash, const channel *ch,
			const projection *select, const uint32_t *ids, int nids)
{
	return s->hash == hash && s->select == select && s->nids == nids &&
		s->first->conn->vsn == ch->conn->vsn &&
		s->first->topic_len == ch->topic_len &&
		memcmp(s->first->topic, ch->topic, ch->topic_len) == 0 &&
		memcmp(s->ids, ids, sizeof(uint32_t) * (size_t) nids) == 0;
}

/* The frame for these ids of a channel: made before, or made now. */
static frame *
shared_frame(hub *h, const channel *ch, projection *select,
			 const uint32_t *ids, int nids)
{
	route	   *r = h->route;
	size_t		ids_size = sizeof(uint32_t) * (size_t) nids;
	uint64_t	hash = ch->topic_hash ^ seeded_hash(&h->seed, ids, ids_size);
	shared	  **bucket = &r->buckets[hash % SHARED_BUCKETS];
	shared	   *s;

	for (s = *bucket; s != NULL; s = s->next)
	{
		if (is_made_for(s, hash, ch, select, ids, nids))
			return s->frame;
	}
	s = malloc(sizeof(shared) + ids_size);
	if (s == NULL)
		return NULL;
	s->frame = build_frame(r, ch, select, ids, nids);
	s->hash = hash;
	s->first = ch;
	s->select = select;
	s->nids = nids;
	memcpy(s->ids, ids, ids_size);
	s->next = *bucket;
	*bucket = s;
	s->next_made = r->made;
	r->made = s;
	return s->frame;
}

/* ----------
 * Delivering
 * ----------
 */

/* Take the hits with the columns of the first one out of the channel's list;
 * returns how many. */
static int
take_hits(channel *ch, const projection *select, uint32_t *ids, int max)
{
	binding   **link = &ch->hits;
	int			n = 0;

	while (*link != NULL)
	{
		binding    *b = *link;

		if (b->select == select && n < max)
		{
			ids[n++] = b->id;
			*link = b->next_hit;
		}
		else
			link = &b->next_hit;
	}
	return n;
}

/* The number is for stay_note(); 0: the channel's mark covers it. */
static void
push(channel *ch, frame *f, const event_header *e, bool wants_receipt,
	 uint64_t number)
{
	if (!conn_push(ch->conn, f, ch))
		return;
	if (wants_receipt && ch->user != NULL)
		acks_note(ch->conn, ch->user, e);
	if (ch->session == 0)
		return;
	if (number > 0)
		stay_note(ch->conn, e->xid, number);
	else
		stay_wait(ch->conn);
}

static void
deliver(hub *h, channel *ch)
{
	route	   *r = h->route;
	const event_header *e = r->change.event;
	uint64_t	number = r->late ? 0 : h->ntransactions + 1;
	uint32_t	ids[HUB_MAX_BINDINGS];

	while (ch->hits != NULL)
	{
		projection *select = ch->hits->select;
		int			nids = take_hits(ch, select, ids, HUB_MAX_BINDINGS);
		frame	   *f = shared_frame(h, ch, select, ids, nids);

		if (ch->catchup != NULL && !r->late)
			catchup_hold(ch, f, e);
		else
			push(ch, f, e, r->wants_receipt, number);
	}
}

static void
clean_up(route *r)
{
	while (r->renderings != NULL)
	{
		buf_reset(&r->renderings->data);
		r->renderings = r->renderings->next;
	}
	while (r->made != NULL)
	{
		shared	   *s = r->made;

		r->made = s->next_made;
		r->buckets[s->hash % SHARED_BUCKETS] = NULL;
		frame_unref(s->frame);
		free(s);
	}
}

/* ----------
 * Tombstones
 * ----------
 */

static void
take_back_message(channel *ch, const event_header *e)
{
	queue_drop(&ch->conn->queue,
			   &(queue_choice) {.room = e->conversation_id, .seq = e->seq});
	catchup_take_back(ch, e->conversation_id, e->seq);
}

/*
 * What a message said before it was deleted is not written any more, to
 * whomever it waits for; the tombstone comes in its stead.
 */
static void
take_back(hub *h, const room *where, const event_header *e)
{
	if (e->seq == 0)
		return;
	list_foreach(node, &h->bindings)
		take_back_message(list_entry(binding, link, node)->channel, e);
	if (where == NULL)
		return;
	list_foreach(in_room, &where->members)
	{
		user	   *u = list_entry(seat, in_room, in_room)->user;

		list_foreach(in_user, &u->channels)
			take_back_message(list_entry(channel, in_user, in_user), e);
	}
}

static void
route_begin(hub *h, const event_header *e, const room *where, bool late)
{
	route	   *r = h->route;

	r->event++;
	r->hits = NULL;
	r->hits_end = &r->hits;
	r->wants_receipt = acks_wanted(h, where, e);
	r->late = late;
	change_set(&r->change, e, h->tables[e->table]);
}

static void
route_end(hub *h)
{
	for (channel *ch = h->route->hits; ch != NULL; ch = ch->next_hit)
		deliver(h, ch);
	clean_up(h->route);
}

void
route_event(hub *h, const event_header *e)
{
	route	   *r = h->route;
	room	   *where = map_get(&h->rooms, e->conversation_id);
	uint32_t	effort = ROUTE_EFFORT;

	route_begin(h, e, where, false);
	if (e->flags & EVENT_TOMBSTONE)
		take_back(h, where, e);

	gather(r, &h->bindings, &effort);
	if (where != NULL)
	{
		gather_seats(r, &where->members);
		if (e->action == EVENT_DELETE && e->table != EVENT_MESSAGES)
			gather_seats(r, &where->lost);
	}
	route_end(h);
	h->stats.events++;
}

/* ----------
 * To a channel that is catching up
 * ----------
 */

/* An event that it had missed.  False: no memory. */
bool
route_to_channel(hub *h, channel *ch, const event_header *e)
{
	uint32_t	effort = ROUTE_EFFORT;

	if (!hub_follow_columns(h, e))
		return false;
	route_begin(h, e, map_get(&h->rooms, e->conversation_id), true);
	for (int i = 0; i < ch->nbindings; i++)
		consider(h->route, &ch->bindings[i], &effort);
	route_end(h);
	return true;
}

/* An event of the stream that was held back. */
void
route_held(channel *ch, frame *f, const event_header *e)
{
	hub		   *h = ch->conn->hub;
	bool		under_way = h->routing && e->commit_lsn == h->routing_lsn;

	push(ch, f, e, acks_wanted(h, map_get(&h->rooms, e->conversation_id), e),
		 h->ntransactions + under_way);
}
