/*-------------------------------------------------------------------------
 *
 * hub.c
 *	  The hub as its owner sees it: settings, tables, events, time.
 *
 *-------------------------------------------------------------------------
 */
#include <stdlib.h>
#include <string.h>

#include "rooms.h"

static bool
hub_init_maps(hub *h)
{
	return map_init(&h->users, UUID_SIZE, &h->seed) &&
		map_init(&h->rooms, UUID_SIZE, &h->seed) &&
		map_init(&h->seats, 2 * UUID_SIZE, &h->seed) &&
		map_init(&h->loads, sizeof(uint64_t), &h->seed) &&
		map_init(&h->catchups, sizeof(uint64_t), &h->seed) &&
		map_init(&h->replays, sizeof(uint64_t), &h->seed) &&
		map_init(&h->projections, PROJECTION_KEY_SIZE, &h->seed) &&
		map_init(&h->venues, 2 * sizeof(uint64_t), &h->seed) &&
		map_init(&h->attendees, 2 * sizeof(uint64_t), &h->seed) &&
		map_init(&h->metas, 2 * sizeof(uint64_t), &h->seed) &&
		map_init(&h->own, sizeof(uint64_t), &h->seed);
}

/*
 * Numbers of channels and of what they track are unlike those of other
 * gateways, and of this one's earlier lives.
 */
static void
hub_init_numbers(hub *h)
{
	hash_seed	start;

	hash_seed_init(&start);
	h->next_channel = start.k0;
	h->next_ref = start.k1;
	h->next_ping = start.k0 ^ start.k1;
}

hub *
hub_new(const hub_config *config, const hub_ops *ops, void *arg)
{
	hub		   *h = calloc(1, sizeof(hub));

	if (h == NULL)
		return NULL;
	h->ops = *ops;
	h->arg = arg;
	hash_seed_init(&h->seed);
	hub_init_numbers(h);
	wheel_init(&h->wheel);
	list_init(&h->conns);
	list_init(&h->cut);
	list_init(&h->closed);
	list_init(&h->waiting);
	list_init(&h->bindings);
	list_init(&h->known);
	list_init(&h->unasked);
	list_init(&h->lost);
	list_init(&h->denied);
	list_init(&h->replaying);
	list_init(&h->behind);
	list_init(&h->posts);
	list_init(&h->outbox);
	list_init(&h->unpinged);
	list_init(&h->in_line);
	list_init(&h->asked);
	list_init(&h->telling);
	list_init(&h->unsaved);
	list_init(&h->partings);
	list_init(&h->tracked);
	list_init(&h->lingering);
	list_init(&h->all_metas);
	list_init(&h->changed);
	hub_set_config(h, config);
	h->route = route_new();
	h->packer = packer_new();
	if (h->route == NULL || h->packer == NULL || !hub_init_maps(h))
	{
		hub_free(h);
		return NULL;
	}
	return h;
}

static void
hub_close_all(list *conns)
{
	while (!list_is_empty(conns))
		hub_conn_close(list_entry(hub_conn, link, conns->next));
}

void
hub_free(hub *h)
{
	h->live = false;			/* nothing is asked any more */
	hub_close_all(&h->conns);
	hub_close_all(&h->cut);
	hub_close_all(&h->closed);
	presence_free(h);
	attendance_free(h);
	signal_free(h);
	marks_free(h);
	stay_forget_partings(h);
	for (int i = 0; i < EVENT_TABLES; i++)
		table_free(h->tables[i]);
	route_free(h->route);
	free(h->receipts);
	packer_free(h->packer);
	map_free(&h->users);
	map_free(&h->rooms);
	map_free(&h->seats);
	map_free(&h->loads);
	map_free(&h->catchups);
	map_free(&h->replays);
	map_free(&h->projections);
	map_free(&h->venues);
	map_free(&h->attendees);
	map_free(&h->metas);
	map_free(&h->own);
	free(h);
}

void
hub_set_config(hub *h, const hub_config *config)
{
	h->config = *config;
	if (h->config.max_bindings > HUB_MAX_BINDINGS)
		h->config.max_bindings = HUB_MAX_BINDINGS;
}

const hub_stats *
hub_get_stats(const hub *h)
{
	return &h->stats;
}

/* ----------
 * Tables
 * ----------
 */

bool
hub_set_table(hub *h, event_table table, const char *schema,
			  const char *columns, size_t columns_len)
{
	struct table *t = table_new(table, schema, columns, columns_len);

	if (t == NULL)
		return false;
	table_free(h->tables[table]);
	h->tables[table] = t;
	return true;
}

bool
hub_knows_tables(const hub *h)
{
	for (int i = 0; i < EVENT_TABLES; i++)
	{
		if (h->tables[i] == NULL)
			return false;
	}
	return true;
}

/* An event tells when a table has got other columns.  False: no memory. */
bool
hub_follow_columns(hub *h, const event_header *e)
{
	table	   *known = h->tables[e->table];

	if (known->text_len == e->columns_len &&
		memcmp(known->text, event_columns(e), e->columns_len) == 0)
		return true;
	return hub_set_table(h, e->table, known->schema, event_columns(e),
						 e->columns_len);
}

/* ----------
 * Events
 * ----------
 */

bool
hub_event_valid(const void *data, size_t len)
{
	const event_header *e = data;

	if ((uintptr_t) data % _Alignof(event_header) != 0 ||
		len < sizeof(event_header) || len > UINT32_MAX ||
		e->magic != EVENT_MAGIC || e->size != len ||
		(uint64_t) e->columns_len + e->record_len + e->old_record_len !=
		len - sizeof(event_header))
		return false;
	switch (e->action)
	{
		case EVENT_COMMIT:
			return true;
		case EVENT_TRUNCATE:
			return e->table < EVENT_TABLES;
		case EVENT_INSERT:
			return e->table < EVENT_SOURCES && e->columns_len > 0 &&
				e->record_len > 0;
		case EVENT_UPDATE:
			return (e->table < EVENT_TABLES || e->table == EVENT_REVOCATIONS) &&
				e->columns_len > 0 && e->record_len > 0;
		case EVENT_DELETE:
			return e->table < EVENT_TABLES && e->columns_len > 0;
		default:
			return false;
	}
}

static bool
is_row(const event_header *e)
{
	return e->table < EVENT_TABLES &&
		(e->action == EVENT_INSERT || e->action == EVENT_UPDATE ||
		 e->action == EVENT_DELETE);
}

void
hub_learn(hub *h, const event_header *event)
{
	if (event->action == EVENT_TRUNCATE && event->table != EVENT_MESSAGES)
		hub_reset(h, HUB_CLOSE_RESTART, "conversations were truncated");
	else
	{
		membership_apply(h, event);
		revocation_apply(h, event);
	}
	hub_reap(h);
}

/* False: no memory. */
static bool
route_one(hub *h, const event_header *e)
{
	if (e->table == EVENT_BROADCASTS && e->action == EVENT_INSERT)
		return notice_route(h, e);

	/* Before the tables are known nobody subscribes to them. */
	if (!is_row(e) || !hub_knows_tables(h))
		return true;
	if (!hub_follow_columns(h, e))
		return false;
	route_event(h, e);
	return true;
}

void
hub_route(hub *h, const event_header *const *events, size_t n)
{
	if (!h->routing)
		membership_take_back(h);
	h->routing = true;
	for (size_t i = 0; i < n; i++)
	{
		h->routing_lsn = events[i]->commit_lsn;
		h->routing_xid = events[i]->xid;
		if (!route_one(h, events[i]))
			hub_reset(h, HUB_CLOSE_TRY_LATER, "out of memory");
	}
	hub_reap(h);
}

void
hub_commit(hub *h)
{
	if (h->routing)
		marks_note(h, h->routing_xid);
	hub_abandon(h);
}

void
hub_abandon(hub *h)
{
	h->routing = false;
	membership_forget_lost(h);
}

void
hub_set_live(hub *h, bool live)
{
	list		waiting;
	list_node  *node;

	h->live = live;
	if (!live)
		return;
	list_init(&waiting);
	list_move(&waiting, &h->waiting);
	while ((node = list_shift(&waiting)) != NULL)
		channel_settle(list_entry(channel, in_waiting, node));
	membership_ask(h);
	catchup_ask(h);
	marks_ask(h);
	hub_reap(h);
}

void
hub_reset(hub *h, int code, const char *reason)
{
	while (!list_is_empty(&h->conns))
		conn_cut(list_entry(hub_conn, link, h->conns.next), code, reason);
	hub_reap(h);
	post_give_up(h);
	marks_forget(h);
}

/* ----------
 * Time
 * ----------
 */

void
hub_set_time(hub *h, int64_t now)
{
	h->now = now / 1000000;
	h->now_us = now;
}

void
hub_tick(hub *h, int64_t now)
{
	hub_set_time(h, now);
	wheel_turn(&h->wheel, h->now);

	/* Or was the clock set back? */
	if (h->flush_due != 0 &&
		(h->flush_due <= now || h->flush_due > now + 1000000))
		attendance_flush(h);
	attendance_catch_up(h);
	acks_ping(h);
	marks_ask(h);
	membership_ask(h);
	catchup_tick(h);
	hub_reap(h);
}

int64_t
hub_next_tick(const hub *h)
{
	int64_t		second = (h->wheel.now + 1) * 1000000;

	if (h->stats.connections == 0 && list_is_empty(&h->lingering) &&
		h->flush_due == 0)
		return 0;
	return h->flush_due != 0 && h->flush_due < second ? h->flush_due : second;
}
