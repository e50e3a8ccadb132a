/*-------------------------------------------------------------------------
 *
 * notice_test.c
 *	  Broadcasts out of the database: who hears them, and when.
 *
 *-------------------------------------------------------------------------
 */
#include "talk.h"

#define NAME		"room:" ROOM_1
#define META		"\"meta\":{\"id\":\"22222222-0000-7000-8000-000000000001\"}"
#define CHANGES		"\"postgres_changes\":[{\"event\":\"*\"," \
	"\"schema\":\"public\"}]"

static void
notify(world *w, const char *event)
{
	world_commit_one(w, event_broadcast(1, NAME, event, "{}"));
}

static void
forms(void)
{
	world	   *w = world_new();
	hub_conn   *a = talk_join(w, 2, 1, "");
	hub_conn   *old = talk_join(w, 1, 2, "");
	hub_conn   *priv = talk_join(w, 2, 3, "\"private\":true");

	world_commit_one(w, event_broadcast(1, NAME, "a \\\"b\\\"",
										"{\"x\":[1,\"\xc3\xa9\"]}"));
	expect(w, a, "[null,null,\"" TOPIC "\",\"broadcast\",{\"type\":"
		   "\"broadcast\",\"event\":\"a \\\"b\\\"\",\"payload\":"
		   "{\"x\":[1,\"\xc3\xa9\"]}," META "}]", "version 2");
	expect(w, old, "{\"topic\":\"" TOPIC "\",\"event\":\"broadcast\","
		   "\"payload\":{\"type\":\"broadcast\",\"event\":\"a \\\"b\\\"\","
		   "\"payload\":{\"x\":[1,\"\xc3\xa9\"]}," META "},\"ref\":null}",
		   "version 1");
	expect_part(w, priv, "\"event\":\"a \\\"b\\\"\"",
				"private channels hear it, too");
	expect_nothing(w, a, "once");
	world_free(w);
}

/* A topic is told by its bytes, however JSON writes them. */
static void
topics(void)
{
	world	   *w = world_new();
	hub_conn   *a;
	hub_conn   *other;

	w->config.public_channels = true;
	hub_set_config(w->h, &w->config);
	a = talk_join_as(w, 2, "anon", 0, "realtime:a \\\"b\\\" \\u00e9", "");
	other = talk_join_as(w, 2, "anon", 0, "realtime:a", "");
	world_commit_one(w, event_broadcast(0, "a \\\"b\\\" \xc3\xa9", "e", "{}"));
	expect_part(w, a, "\"broadcast\"", "with escapes");
	world_commit_one(w, event_broadcast(0, "nobody is there", "e", "{}"));
	expect_nothing(w, other, "another topic hears nothing");
	world_free(w);
}

static void
other_topics(void)
{
	world	   *w = world_new();
	hub_conn   *a = talk_join_as(w, 2, "authenticated", 1, "realtime:lobby",
								 "");
	hub_conn   *service = talk_join_as(w, 2, "service_role", 0,
									   "realtime:lobby", "");
	hub_conn   *priv = talk_join_as(w, 2, "service_role", 0,
									"realtime:lobby", "\"private\":true");

	world_commit_one(w, event_broadcast(0, "lobby", "e", "{}"));
	expect_nothing(w, a, "a topic of no conversation is closed");
	expect_part(w, service, "\"broadcast\"", "but not to services");
	expect_part(w, priv, "\"broadcast\"", "wherever they are");
	w->config.public_channels = true;
	hub_set_config(w->h, &w->config);
	world_commit_one(w, event_broadcast(0, "lobby", "f", "{}"));
	expect_part(w, a, "\"event\":\"f\"", "until the setting opens it");
	world_free(w);
}

static void
members_only(void)
{
	world	   *w = world_new();
	hub_conn   *a = talk_join(w, 2, 1, "");
	hub_conn   *b = talk_join(w, 2, 2, "");
	hub_conn   *stranger = talk_join(w, 2, 10, "");
	hub_conn   *anon = talk_join_as(w, 2, "anon", 0, TOPIC, "");
	event_header *join[2] = {
		event_broadcast(1, NAME, "welcome", "{}"),
		event_participant(EVENT_INSERT, 1, 10)
	};
	event_header *leave[2] = {
		event_broadcast(1, NAME, "farewell", "{}"),
		event_participant(EVENT_DELETE, 1, 2)
	};

	notify(w, "e");
	expect_part(w, a, "\"event\":\"e\"", "members hear");
	expect_part(w, b, "\"event\":\"e\"", "all of them");
	expect_nothing(w, stranger, "strangers do not");
	expect_nothing(w, anon, "nor does anon");

	world_commit(w, join, 2);
	expect_part(w, stranger, "welcome", "who is a member at the commit does");
	notify(w, "waits");
	world_read(w, b);
	world_commit(w, leave, 2);
	expect_nothing(w, b, "who is removed by it neither hears it, nor what "
				   "waits");
	expect_part(w, a, "welcome", "the others hear the first");
	expect_part(w, a, "waits", "the second");
	expect_part(w, a, "farewell", "and the last");
	world_free(w);
}

/* Events in one order, of one transaction and of several. */
static void
in_order(void)
{
	world	   *w = world_new();
	hub_conn   *a = talk_join(w, 2, 1, CHANGES);
	event_header *events[5] = {
		event_broadcast(1, NAME, "first", "{}"),
		event_message(1, "second"),
		event_broadcast(1, NAME, "third", "{}"),
		event_broadcast(1, NAME, "fourth", "{}"),
		event_message(1, "fifth")
	};

	world_skip(w, a);
	world_commit(w, events, 5);
	expect_part(w, a, "first", "a broadcast before a message");
	expect_part(w, a, "second", "the message");
	expect_part(w, a, "third", "a broadcast behind it");
	expect_part(w, a, "fourth", "another");
	expect_part(w, a, "fifth", "and another message");
	expect_nothing(w, a, "that is all");
	world_free(w);
}

/* What the memberships' snapshot has seen comes before the subscription. */
static void
before_the_subscription(void)
{
	world	   *w = world_new();
	hub_conn   *c = world_open(w, 2, 1);
	event_header *e;

	world_send(w, c, "[\"1\",\"1\",\"" TOPIC "\",\"phx_join\",{}]");
	world_answer_at(w, 0, (const int[]) {1}, 1, 2000, 150, 150, NULL, 0);
	expect_part(w, c, "\"ok\"", "joined");
	e = event_broadcast(1, NAME, "early", "{}");
	world_commit_as(w, 1900, 149, &e, 1);
	expect_nothing(w, c, "seen by the snapshot");
	e = event_broadcast(1, NAME, "late", "{}");
	world_commit_as(w, 1950, 150, &e, 1);
	expect_part(w, c, "late", "not seen by it");
	world_free(w);
}

/* A commit is not left out: the reader is cut, or gets it. */
static void
pressure(void)
{
	world	   *w = world_new();
	hub_conn   *slow;
	char		payload[4096];
	int			heard = 0;
	int			n = 0;

	snprintf(payload, sizeof(payload), "{\"x\":\"%03000d\"}", 0);
	w->config.max_queue_bytes = 64 * 1024;
	hub_set_config(w->h, &w->config);
	slow = talk_join(w, 2, 1, "");
	for (; n < 18; n++)
		world_commit_one(w, event_broadcast(1, NAME, "e", payload));
	check_int((long long) hub_get_stats(w->h)->dropped, 0, "none is dropped");
	while (world_read(w, slow) != NULL)
		heard++;
	check_int(heard, n, "all arrive");
	for (; n < 60 && w->nclosed == 0; n++)
		world_commit_one(w, event_broadcast(1, NAME, "e", payload));
	check_int(w->nclosed, 1, "who reads nothing is cut");
	check_int(w->closed[0].code, HUB_CLOSE_TRY_LATER, "and may come back");
	world_free(w);
}

/* Rows that broadcast() did not write. */
static void
incomplete(void)
{
	static const char *const records[] = {
		"{}", "[]", "x", "{\"topic\":\"" NAME "\"}",
		"{\"id\":\"1\",\"topic\":\"" NAME "\",\"event\":\"e\"}",
		"{\"id\":\"1\",\"topic\":\"" NAME "\",\"payload\":{}}",
		"{\"id\":\"1\",\"event\":\"e\",\"payload\":{}}",
		"{\"topic\":\"" NAME "\",\"event\":\"e\",\"payload\":{}}"
	};
	world	   *w = world_new();
	hub_conn   *a = talk_join(w, 2, 1, "");

	for (size_t i = 0; i < sizeof(records) / sizeof(records[0]); i++)
	{
		world_commit_one(w, event_new(EVENT_BROADCASTS, EVENT_INSERT, 1, 0,
									  records[i], NULL));
		expect_nothing(w, a, "%s is nothing to tell", records[i]);
	}
	check_int(w->nclosed, 0, "nobody is cut");
	notify(w, "e");
	expect_part(w, a, "\"event\":\"e\"", "and others are told");
	world_free(w);
}

int
main(void)
{
	forms();
	topics();
	other_topics();
	members_only();
	in_order();
	before_the_subscription();
	pressure();
	incomplete();
	return check_done();
}
