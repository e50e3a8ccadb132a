/*-------------------------------------------------------------------------
 *
 * membership.c
 *	  Who is a member of what: users, rooms, and the seats between them.
 *
 * The memberships of a profile are read once, when its first channel wants
 * changes, and from then on follow the events.  Reading takes a while, and
 * the reader's snapshot lies somewhere in the stream, so
 *	 - a participant event that comes while a user is being read is kept, and
 *	   looked at when the snapshot is known;
 *	 - an event that the snapshot has seen already changes nothing for this
 *	   user, and is not delivered either: the subscription starts behind it.
 *
 * A user who lost a seat by the transaction being applied stays within reach
 * (room.lost) until the transaction's events are routed, because the event
 * that tells of it comes afterwards.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include "rooms.h"

#define LOAD_MAX_KEPT	1024	/* then it is read anew */
#define LOAD_FIRST_KEPT	16

typedef struct kept_change
{
	uint64_t	commit_lsn;
	uint32_t	xid;
	bool		joined;
	uint8_t		room_id[UUID_SIZE];
} kept_change;

typedef struct seat_key
{
	uint8_t		room_id[UUID_SIZE];
	uint8_t		user_id[UUID_SIZE];
} seat_key;

/* ----------
 * Seats
 * ----------
 */

/* Find the seat, or make one, not a member's yet; NULL: no memory. */
seat *
seat_get(user *u, const uint8_t *room_id)
{
	hub		   *h = u->hub;
	seat_key	key;
	seat	   *s;

	memcpy(key.room_id, room_id, UUID_SIZE);
	memcpy(key.user_id, u->id, UUID_SIZE);
	s = map_get(&h->seats, &key);
	if (s != NULL)
		return s;
	s = calloc(1, sizeof(seat));
	if (s == NULL)
		return NULL;
	memcpy(s->room_id, key.room_id, UUID_SIZE);
	memcpy(s->user_id, key.user_id, UUID_SIZE);
	s->user = u;
	list_init(&s->in_room);
	list_init(&s->bindings);
	list_init(&s->channels);
	list_push(&u->seats, &s->in_user);
	map_put(&h->seats, &s->entry);
	return s;
}

static room *
room_get(hub *h, const uint8_t *room_id)
{
	room	   *r = map_get(&h->rooms, room_id);

	if (r != NULL)
		return r;
	r = calloc(1, sizeof(room));
	if (r == NULL)
		return NULL;
	memcpy(r->id, room_id, UUID_SIZE);
	list_init(&r->members);
	list_init(&r->lost);
	list_init(&r->in_lost);
	map_put(&h->rooms, &r->entry);
	return r;
}

/* Out of the room's lists; the room goes with its last seat. */
static void
seat_leave_room(seat *s)
{
	room	   *r = s->room;

	if (r == NULL)
		return;
	s->room = NULL;
	if (s->member)
		r->nmembers--;
	s->member = false;
	list_remove(&s->in_room);
	if (list_is_empty(&r->lost))
		list_remove(&r->in_lost);
	if (list_is_empty(&r->members) && list_is_empty(&r->lost))
	{
		map_remove(&s->user->hub->rooms, &r->entry);
		free(r);
	}
}

void
seat_free_if_idle(seat *s)
{
	if (s->room != NULL || !list_is_empty(&s->bindings) ||
		!list_is_empty(&s->channels))
		return;
	list_remove(&s->in_user);
	map_remove(&s->user->hub->seats, &s->entry);
	free(s);
}

/* False: no memory. */
static bool
seat_join(user *u, const uint8_t *room_id, uint64_t commit_lsn)
{
	seat	   *s = seat_get(u, room_id);
	room	   *r;

	if (s == NULL)
		return false;
	s->stale = false;
	if (s->member)
		return true;
	r = room_get(u->hub, room_id);
	if (r == NULL)
	{
		seat_free_if_idle(s);
		return false;
	}
	if (s->room == NULL)
	{
		s->room = r;
		s->since = commit_lsn;
	}
	s->member = true;
	r->nmembers++;
	list_remove(&s->in_room);
	list_push(&r->members, &s->in_room);
	if (list_is_empty(&r->lost))
		list_remove(&r->in_lost);
	list_foreach(node, &s->channels)
		channel_seated(list_entry(channel, in_seat, node));
	return true;
}

/* NULL: there is none. */
seat *
seat_find(user *u, const uint8_t *room_id)
{
	seat_key	key;

	memcpy(key.room_id, room_id, UUID_SIZE);
	memcpy(key.user_id, u->id, UUID_SIZE);
	return map_get(&u->hub->seats, &key);
}

static void
seat_leave(seat *s)
{
	seat_leave_room(s);
	seat_free_if_idle(s);
}

/*
 * The user is no member any more.  The seat waits among the lost, unless the
 * same transaction had made it: then there was no sight to lose.
 */
static void
seat_lose(user *u, const uint8_t *room_id, uint64_t commit_lsn)
{
	seat	   *s = seat_find(u, room_id);

	if (s == NULL || !s->member)
		return;
	list_foreach(node, &s->channels)
		channel_unseated(list_entry(channel, in_seat, node));
	if (s->since == commit_lsn)
	{
		seat_leave(s);
		return;
	}
	s->member = false;
	s->room->nmembers--;
	list_remove(&s->in_room);
	list_push(&s->room->lost, &s->in_room);
	list_remove(&s->room->in_lost);
	list_push(&u->hub->lost, &s->room->in_lost);
}

/* What waits to be written to those who lost sight of it. */
void
membership_take_back(hub *h)
{
	list_foreach(in_lost, &h->lost)
	{
		room	   *r = list_entry(room, in_lost, in_lost);

		list_foreach(in_room, &r->lost)
		{
			user	   *u = list_entry(seat, in_room, in_room)->user;

			list_foreach(in_user, &u->channels)
				channel_take_back(list_entry(channel, in_user, in_user),
								  r->id);
		}
	}
}

void
membership_forget_lost(hub *h)
{
	/* A room is in the hub's list as long as it has lost seats. */
	while (!list_is_empty(&h->lost))
	{
		room	   *r = list_entry(room, in_lost, h->lost.next);

		seat_leave(list_entry(seat, in_room, r->lost.next));
	}
}

/* ----------
 * Users
 * ----------
 */

/* Find the user, or make one; NULL: no memory. */
user *
user_get(hub *h, const uint8_t *profile_id)
{
	user	   *u = map_get(&h->users, profile_id);

	if (u != NULL)
		return u;
	u = calloc(1, sizeof(user));
	if (u == NULL)
		return NULL;
	memcpy(u->id, profile_id, UUID_SIZE);
	u->hub = h;
	list_init(&u->conns);
	list_init(&u->bearers);
	list_init(&u->channels);
	list_init(&u->waiting);
	list_init(&u->bindings);
	list_init(&u->seats);
	list_init(&u->posts);
	list_init(&u->in_unasked);
	list_init(&u->in_known);
	map_put(&h->users, &u->entry);
	return u;
}

/* Have it read, unless it is or will be. */
void
user_load(user *u)
{
	if (u->state == USER_IDLE)
	{
		u->state = USER_QUEUED;
		u->hub->stats.users++;
		list_push(&u->hub->known, &u->in_known);
		list_push(&u->hub->unasked, &u->in_unasked);
	}
	membership_ask(u->hub);
}

static void
user_drop_load(user *u)
{
	load	   *l = u->load;

	if (l == NULL)
		return;
	u->load = NULL;
	map_remove(&u->hub->loads, &l->entry);
	free(l->kept);
	free(l);
}

static void
user_forget_snapshot(user *u)
{
	u->fence = 0;
	u->nxip = 0;
	free(u->xip);
	u->xip = NULL;
}

/* Nobody needs its memberships any more. */
static void
user_unload(user *u)
{
	user_drop_load(u);
	user_forget_snapshot(u);
	list_foreach_safe(node, &u->seats)
		seat_leave(list_entry(seat, in_user, node));
	list_remove(&u->in_unasked);
	list_remove(&u->in_known);
	u->state = USER_IDLE;
	u->hub->stats.users--;
}

void
user_free_if_idle(user *u)
{
	if (u->pins > 0)
		return;
	if (u->state != USER_IDLE && list_is_empty(&u->channels) &&
		list_is_empty(&u->waiting) && list_is_empty(&u->posts))
		user_unload(u);
	if (list_is_empty(&u->conns) && list_is_empty(&u->bearers) &&
		list_is_empty(&u->posts))
	{
		map_remove(&u->hub->users, &u->entry);
		free(u);
	}
}

void
user_pin(user *u)
{
	u->pins++;
}

void
user_unpin(user *u)
{
	u->pins--;
	user_free_if_idle(u);
}

/* Memberships are not what they should be: all connections start anew. */
void
user_cut(user *u)
{
	list_foreach(node, &u->bearers)
	{
		conn_cut(list_entry(channel, in_bearers, node)->conn,
				 HUB_CLOSE_TRY_LATER, "out of memory");
	}
}

/* Transaction ids are a ring; see TransactionIdPrecedes(). */
static bool
xid_precedes(uint32_t a, uint32_t b)
{
	return (int32_t) (a - b) < 0;
}

static bool
snapshot_sees(const user *u, uint32_t xid)
{
	if (xid_precedes(xid, u->xmin))
		return true;
	if (!xid_precedes(xid, u->xmax))
		return false;
	for (uint32_t i = 0; i < u->nxip; i++)
	{
		if (u->xip[i] == xid)
			return false;
	}
	return true;
}

/* Is a commit part of what was read? */
static bool
user_has_seen(user *u, uint64_t commit_lsn, uint32_t xid)
{
	if (u->fence == 0)
		return false;
	if (commit_lsn > u->fence)
	{
		/* Commits come in order: nothing older will follow. */
		user_forget_snapshot(u);
		return false;
	}
	return snapshot_sees(u, xid);
}

bool
user_knows(user *u, const event_header *e)
{
	return user_has_seen(u, e->commit_lsn, e->xid);
}

/* ----------
 * Reading
 * ----------
 */

/* Ask for as many users as the shell takes. */
void
membership_ask(hub *h)
{
	while (h->live && !list_is_empty(&h->unasked))
	{
		user	   *u = list_entry(user, in_unasked, h->unasked.next);
		load	   *l = calloc(1, sizeof(load));

		if (l == NULL)
			return;
		l->ticket = ++h->next_ticket;
		l->user = u;
		if (!h->ops.load_user(h->arg, l->ticket, u->id))
		{
			free(l);
			return;
		}
		u->load = l;
		u->state = USER_ASKED;
		list_remove(&u->in_unasked);
		map_put(&h->loads, &l->entry);
	}
}

/* The answer under way cannot be used, or the last one no more: ask again. */
static void
user_read_again(user *u)
{
	user_drop_load(u);
	u->state = USER_QUEUED;
	list_remove(&u->in_unasked);
	list_push(&u->hub->unasked, &u->in_unasked);
}

/*
 * Events were lost: nobody's memberships are known for certain.  What is known
 * stands until it is read again, but what happens in between reaches only who
 * catches up afterwards.
 */
void
membership_reload(hub *h)
{
	membership_forget_lost(h);
	list_foreach(node, &h->known)
	{
		user	   *u = list_entry(user, in_known, node);

		user_forget_snapshot(u);
		u->judged = false;
		user_read_again(u);
	}
}

static void
load_keep(load *l, const event_header *e)
{
	uint32_t	n = l->nkept;
	kept_change *kept = l->kept;

	if (n == LOAD_MAX_KEPT)
	{
		user_read_again(l->user);
		return;
	}
	/* Full at a power of two. */
	if (n == 0 || (n >= LOAD_FIRST_KEPT && (n & (n - 1)) == 0))
	{
		size_t		size = n == 0 ? LOAD_FIRST_KEPT : n * 2;

		kept = realloc(kept, size * sizeof(kept_change));
		if (kept == NULL)
		{
			user_read_again(l->user);
			return;
		}
		l->kept = kept;
	}
	kept[n].commit_lsn = e->commit_lsn;
	kept[n].xid = e->xid;
	kept[n].joined = e->action == EVENT_INSERT;
	memcpy(kept[n].room_id, e->conversation_id, UUID_SIZE);
	l->nkept++;
}

static bool
user_set_snapshot(user *u, const event_snapshot *snapshot)
{
	const uint32_t *xip = (const uint32_t *) (snapshot + 1);

	u->fence = snapshot->fence;
	u->xmin = snapshot->xmin;
	u->xmax = snapshot->xmax;
	if (snapshot->nxip == 0)
		return true;
	u->xip = malloc(sizeof(uint32_t) * snapshot->nxip);
	if (u->xip == NULL)
		return false;
	memcpy(u->xip, xip, sizeof(uint32_t) * snapshot->nxip);
	u->nxip = snapshot->nxip;
	return true;
}

/* The user is no member, as the tables have it: nobody heard of it. */
static void
seat_withdraw(seat *s)
{
	list_foreach(node, &s->channels)
		channel_unseated(list_entry(channel, in_seat, node));
	list_foreach(node, &s->user->channels)
		channel_take_back(list_entry(channel, in_user, node), s->room_id);
	seat_leave(s);
}

/* Seats of before that were not found again. */
static void
user_withdraw_stale(user *u)
{
	list_foreach_safe(node, &u->seats)
	{
		seat	   *s = list_entry(seat, in_user, node);

		if (s->member && s->stale)
			seat_withdraw(s);
	}
}

/* Snapshot first, then what came behind it.  False: no memory. */
static bool
user_fill(user *u, const event_snapshot *snapshot)
{
	const uint8_t *ids = (const uint8_t *) (snapshot + 1) +
		sizeof(uint32_t) * snapshot->nxip;
	load	   *l = u->load;

	if (!user_set_snapshot(u, snapshot))
		return false;
	list_foreach(node, &u->seats)
		list_entry(seat, in_user, node)->stale = true;
	for (uint32_t i = 0; i < snapshot->nids; i++)
	{
		if (!seat_join(u, ids + (size_t) i * UUID_SIZE, 0))
			return false;
	}
	for (uint32_t i = 0; i < l->nkept; i++)
	{
		const kept_change *k = &l->kept[i];
		seat	   *s;

		if (user_has_seen(u, k->commit_lsn, k->xid))
			continue;
		if (k->joined)
		{
			if (!seat_join(u, k->room_id, k->commit_lsn))
				return false;
		}
		else if ((s = seat_find(u, k->room_id)) != NULL)
			seat_withdraw(s);
	}
	user_withdraw_stale(u);
	return true;
}

static bool
snapshot_is_valid(const event_snapshot *snapshot, size_t len)
{
	return len >= sizeof(*snapshot) &&
		len - sizeof(*snapshot) ==
		(uint64_t) snapshot->nxip * sizeof(uint32_t) +
		(uint64_t) snapshot->nids * UUID_SIZE;
}

bool
hub_user_loaded(hub *h, uint64_t ticket, const event_snapshot *snapshot,
				size_t len)
{
	load	   *l = map_get(&h->loads, &ticket);
	list_node  *node;
	user	   *u;

	if (!snapshot_is_valid(snapshot, len))
	{
		hub_user_failed(h, ticket, "malformed answer");
		return false;
	}
	if (l == NULL)
		return true;			/* nobody waits for it any more */
	u = l->user;
	user_pin(u);
	if (user_fill(u, snapshot))
	{
		u->state = USER_LOADED;
		user_drop_load(u);
		u->judged = true;
		user_revoke(u, snapshot->revoked_at);
		while ((node = list_shift(&u->waiting)) != NULL)
			channel_settle(list_entry(channel, in_waiting, node));
		post_settle(u, true);
		catchup_user_loaded(u);
	}
	else
	{
		user_cut(u);
		post_settle(u, false);
	}
	user_unpin(u);
	membership_ask(h);
	hub_reap(h);
	return true;
}

void
hub_user_failed(hub *h, uint64_t ticket, const char *reason)
{
	load	   *l = map_get(&h->loads, &ticket);
	list		waiting;
	list_node  *node;
	user	   *u;

	if (l == NULL)
		return;
	h->ops.log(h->arg, reason);

	u = l->user;
	user_pin(u);
	list_init(&waiting);
	list_move(&waiting, &u->waiting);
	user_read_again(u);
	post_settle(u, false);
	while ((node = list_shift(&waiting)) != NULL)
		channel_refuse(list_entry(channel, in_waiting, node),
					   "UnableToConnectToProject: Realtime was unable to "
					   "connect to the project database");
	user_unpin(u);
	membership_ask(h);
	hub_reap(h);
}

/* ----------
 * Following the events
 * ----------
 */

void
membership_apply(hub *h, const event_header *e)
{
	user	   *u;

	if (e->table != EVENT_PARTICIPANTS ||
		(e->action != EVENT_INSERT && e->action != EVENT_DELETE))
		return;
	if (e->action == EVENT_DELETE)
		presence_removed(h, e->conversation_id, e->profile_id);
	u = map_get(&h->users, e->profile_id);
	if (u == NULL)
		return;
	if (u->state == USER_ASKED)
		load_keep(u->load, e);
	else if (u->state == USER_LOADED && !user_knows(u, e))
	{
		if (e->action == EVENT_DELETE)
			seat_lose(u, e->conversation_id, e->commit_lsn);
		else if (!seat_join(u, e->conversation_id, e->commit_lsn))
			user_cut(u);
	}
}
