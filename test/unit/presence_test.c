/*-------------------------------------------------------------------------
 *
 * presence_test.c
 *	  Who is told of whom, when, and what becomes of those who vanish.
 *
 *-------------------------------------------------------------------------
 */
#include "presence_world.h"

static void
golden(void)
{
	world	   *w = new_world();
	hub_conn   *a = talk_join(w, 2, 1, KEYED("a"));
	hub_conn   *b;
	hub_conn   *old;

	expect(w, a, STATE(""), "nobody is there");
	track(w, a, "{\"user_id\":1}");
	expect_nothing(w, a, "nothing is told at once");
	world_tell(w);
	expect_refs(w, a, DIFF("\"a\":{\"metas\":[{\"phx_ref\":\"#1\","
						   "\"user_id\":1}]}", ""),
				"the tracker sees itself");

	b = talk_join(w, 2, 2, KEYED("b"));
	expect_refs(w, b, STATE("\"a\":{\"metas\":[{\"phx_ref\":\"#1\","
							"\"user_id\":1}]}"), "who comes sees the others");
	old = talk_join(w, 1, 3, ENABLED);
	expect_refs(w, old, "{\"topic\":\"" TOPIC "\",\"event\":"
				"\"presence_state\",\"payload\":{\"a\":{\"metas\":["
				"{\"phx_ref\":\"#1\",\"user_id\":1}]}},\"ref\":null}",
				"in version 1, too");
	track(w, b, "{}");
	world_tell(w);
	expect_refs(w, a, DIFF("\"b\":{\"metas\":[{\"phx_ref\":\"#2\"}]}", ""),
				"an empty payload");
	expect_refs(w, old, "{\"topic\":\"" TOPIC "\",\"event\":"
				"\"presence_diff\",\"payload\":{\"joins\":{\"b\":{\"metas\":["
				"{\"phx_ref\":\"#2\"}]}},\"leaves\":{}},\"ref\":null}",
				"the difference in version 1");
	world_skip(w, b);

	track(w, a, "{\"user_id\":1}");
	world_tell(w);
	expect_nothing(w, b, "the same again is no change");
	track(w, a, "{\"user_id\":1,\"typing\":true}");
	world_tell(w);
	expect_refs(w, b, DIFF("\"a\":{\"metas\":[{\"phx_ref\":\"#3\","
						   "\"phx_ref_prev\":\"#1\",\"user_id\":1,"
						   "\"typing\":true}]}",
						   "\"a\":{\"metas\":[{\"phx_ref\":\"#1\","
						   "\"user_id\":1}]}"), "an update");
	untrack(w, b);
	world_tell(w);
	world_read(w, a);
	expect_refs(w, a, DIFF("", "\"b\":{\"metas\":[{\"phx_ref\":\"#2\"}]}"),
				"a leave");
	world_send(w, a, "[\"1\",\"8\",\"" TOPIC "\",\"phx_leave\",{}]");
	world_tell(w);
	world_skip(w, old);
	expect_refs(w, b, DIFF("", "\"b\":{\"metas\":[{\"phx_ref\":\"#2\"}]}"),
				"its own leave");
	expect_refs(w, b, DIFF("", "\"a\":{\"metas\":[{\"phx_ref\":\"#3\","
						   "\"user_id\":1,\"typing\":true}]}"),
				"leaving the channel is leaving");
	world_free(w);
}

/* What comes and goes between two frames is never seen. */
static void
coalesced(void)
{
	world	   *w = new_world();
	hub_conn   *watch = watcher(w);
	hub_conn   *a = talk_join(w, 2, 1, KEYED("a"));
	hub_conn   *b = talk_join(w, 2, 2, KEYED("b"));
	hub_conn   *late;

	track(w, a, "{\"n\":1}");
	world_pump(w);
	untrack(w, a);
	world_tell(w);
	expect_nothing(w, watch, "track and untrack cancel");
	track(w, a, "{\"n\":2}");
	track(w, b, "{\"n\":3}");
	world_pump(w);
	track(w, a, "{\"n\":4}");
	world_pump(w);
	late = talk_join(w, 2, 3, ENABLED);
	expect(w, late, STATE(""), "who comes in between sees what was told");
	world_tell(w);
	expect_refs(w, watch, DIFF("\"a\":{\"metas\":[{\"phx_ref\":\"#1\","
							   "\"n\":4}]},\"b\":{\"metas\":[{\"phx_ref\":"
							   "\"#2\",\"n\":3}]}", ""),
				"two joins, one frame, the last word");
	expect_part(w, late, "\"presence_diff\"", "and then the difference");
	untrack(w, a);
	world_pump(w);
	track(w, a, "{\"n\":4}");
	world_tell(w);
	expect_refs(w, watch, DIFF("\"a\":{\"metas\":[{\"phx_ref\":\"#3\","
							   "\"phx_ref_prev\":\"#1\",\"n\":4}]}",
							   "\"a\":{\"metas\":[{\"phx_ref\":\"#1\","
							   "\"n\":4}]}"),
				"gone and back is an update");
	expect_nothing(w, watch, "that is all");
	world_free(w);
}

static void
tabs(void)
{
	world	   *w = new_world();
	hub_conn   *watch = watcher(w);
	hub_conn   *one = talk_join(w, 2, 1, KEYED("a"));
	hub_conn   *two = talk_join(w, 2, 1, KEYED("a"));
	hub_conn   *c;

	track(w, one, "{\"tab\":1}");
	track(w, two, "{\"tab\":2}");
	world_tell(w);
	expect_refs(w, watch, DIFF("\"a\":{\"metas\":[{\"phx_ref\":\"#1\","
							   "\"tab\":1},{\"phx_ref\":\"#2\",\"tab\":2}]}",
							   ""), "two tabs are two metas of a key");
	untrack(w, one);
	world_tell(w);
	expect_refs(w, watch, DIFF("", "\"a\":{\"metas\":[{\"phx_ref\":\"#1\","
							   "\"tab\":1}]}"), "one of them leaves");
	c = talk_join(w, 2, 4, ENABLED);
	expect_refs(w, c, STATE("\"a\":{\"metas\":[{\"phx_ref\":\"#2\","
							"\"tab\":2}]}"), "the other one is there");
	world_free(w);
}

static void
grace(void)
{
	world	   *w = new_world();
	hub_conn   *watch = watcher(w);
	hub_conn   *a = present(w, 1, KEYED("a"), "{\"at\":1}");

	world_skip(w, watch);
	hub_conn_close(a);
	world_wait(w, 4);
	expect_nothing(w, watch, "a lost connection is no leave");
	a = talk_join(w, 2, 1, KEYED("a"));
	expect_part(w, a, "\"at\":1", "who comes back is still there");
	expect_nothing(w, watch, "coming back is no news");
	track(w, a, "{\"at\":2}");
	world_tell(w);
	known.n = 0;
	expect_refs(w, watch, DIFF("\"a\":{\"metas\":[{\"phx_ref\":\"#1\","
							   "\"at\":2}]}", "\"a\":{\"metas\":[{\"phx_ref\":"
							   "\"#2\",\"at\":1}]}"), "one frame replaces it");
	world_wait(w, 20);
	expect_nothing(w, watch, "and nothing more comes of the old one");

	hub_conn_close(a);
	world_wait(w, 10);
	expect_part(w, watch, "\"joins\":{},\"leaves\":{\"a\"",
				"after the grace it has left");
	check_int((long long) hub_next_tick(w->h) != 0, 1, "watchers tick");

	/* Somebody else under the same key takes nobody's place. */
	a = present(w, 1, KEYED("a"), "{\"at\":3}");
	world_skip(w, watch);
	hub_conn_close(a);
	a = present(w, 2, KEYED("a"), "{\"at\":4}");
	expect_part(w, watch, "\"leaves\":{}", "another person only comes");
	hub_conn_close(a);

	w->config.presence_grace = 0;
	hub_set_config(w->h, &w->config);
	a = present(w, 4, KEYED("d"), "{\"at\":5}");
	hub_conn_close(a);
	world_tell(w);
	expect_part(w, watch, "\"d\"", "without grace: it comes");
	expect_part(w, watch, "\"joins\":{},\"leaves\":{\"d\"", "and goes");
	hub_conn_close(watch);
	world_wait(w, 10);
	check_int((long long) hub_next_tick(w->h), 0,
			  "with nobody there, nothing is to be done");
	world_free(w);
}

/* A second join on the same connection is a quick reload, too. */
static void
rejoin(void)
{
	world	   *w = new_world();
	hub_conn   *watch = watcher(w);
	hub_conn   *a = present(w, 1, KEYED("a"), "{\"at\":1}");

	world_skip(w, watch);
	talk_ask(w, a, 2, "2", TOPIC, KEYED("a"));
	world_tell(w);
	expect_part(w, a, "\"ok\"", "joined again");
	expect_part(w, a, "phx_close", "the old one is closed");
	expect_part(w, a, "[\"2\",null,\"" TOPIC "\",\"presence_state\",{\"a\"",
				"the state comes with the new join's ref");
	expect_nothing(w, watch, "nobody notices");
	world_send(w, a, "[\"2\",\"3\",\"" TOPIC "\",\"presence\",{\"event\":"
			   "\"track\",\"payload\":{\"at\":2}}]");
	world_tell(w);
	expect_part(w, watch, "\"at\":2", "until it tracks anew");
	expect_nothing(w, watch, "once");
	world_free(w);
}

static void
keys(void)
{
	static const struct
	{
		const char *key;
		const char *problem;
	}			cases[] = {
		{PROFILE(1), NULL},
		{"AA000000-0000-0000-0000-000000000001", NULL},
		{PROFILE(2), "must be your own profile's id"},
		{"aa000000000000000000000000000002", "must be your own profile's id"},
		{"{AA000000-0000-0000-0000-000000000002}",
		"must be your own profile's id"},
		{"ids", "presence key is a reserved word"},
		{"__proto__", "presence key is a reserved word"},
		{"anything: \\u00e9 \\\"else\\\"", NULL}
	};
	world	   *w = new_world();
	hub_conn   *c;
	char		config[512];
	const char *state;
	char		long_key[300] = "";

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		const char *problem = cases[i].problem;

		c = world_open(w, 2, 1);
		snprintf(config, sizeof(config), "\"presence\":{\"enabled\":true,"
				 "\"key\":\"%s\"}", cases[i].key);
		talk_ask(w, c, 2, "1", TOPIC, config);
		world_wait(w, 2);
		expect_part(w, c, problem != NULL ? problem : "\"ok\"",
					"join with key %s", cases[i].key);
		if (problem == NULL)
			continue;
		snprintf(config, sizeof(config), "\"presence\":{\"key\":\"%s\"}",
				 cases[i].key);
		c = talk_join(w, 2, 1, config);
		say(w, c, "{\"event\":\"track\",\"payload\":{}}", problem);
	}
	memset(long_key, 'x', 256);
	snprintf(config, sizeof(config), "\"presence\":{\"key\":\"%s\"}",
			 long_key);
	c = talk_join(w, 2, 1, config);
	say(w, c, "{\"event\":\"track\"}", "presence key is too long");

	c = talk_join_as(w, 2, "service_role", 0, TOPIC, KEYED(PROFILE(2)));
	expect_part(w, c, "presence_state", "the service role may use any key");
	c = talk_join(w, 2, 1, "\"presence\":{\"enabled\":true,\"key\":\"\"}");
	expect_part(w, c, "presence_state", "without a key");
	track(w, c, "{}");
	world_tell(w);
	state = world_read(w, c);
	state = state != NULL ? strstr(state, "\"joins\":{\"") : NULL;
	check(state != NULL && strlen(state) > 47 && state[10 + 14] == '4' &&
		  state[10 + 36] == '"', "a key is made, a random uuid");
	world_free(w);
}

static void
calls(void)
{
	static const struct
	{
		const char *payload;
		const char *answer;
	}			cases[] = {
		{"{\"type\":\"presence\"}", "\"status\":\"ok\""},
		{"{\"event\":\"TRACK\"}", "\"status\":\"ok\""},
		{"{\"event\":\"Untrack\"}", "\"status\":\"ok\""},
		{"{\"event\":\"dance\"}", "unknown presence event"},
		{"{\"event\":7}", "unknown presence event"},
		{"{\"event\":\"track\",\"payload\":[1]}",
		"Presence track payload must be a map"},
		{"{\"event\":\"track\",\"payload\":null}",
		"Presence track payload must be a map"},
		{"null", "\"status\":\"ok\""}
	};
	world	   *w = new_world();
	hub_conn   *c = talk_join(w, 2, 1, KEYED("a"));
	char		payload[6000] = "{\"event\":\"track\",\"payload\":{\"x\":\"";

	world_skip(w, c);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		say(w, c, cases[i].payload, cases[i].answer);
	memset(payload + strlen(payload), 'x', 4100);
	strcat(payload, "\"}}");
	say(w, c, payload, "Track message size exceeded");
	say(w, c, "{\"event\":\"track\",\"payload\":{\"phx_ref\":\"mine\","
		"\"phx_ref_prev\":1,\"a\":2}}", "\"ok\"");
	say(w, c, "{\"event\":\"untrack\"}", "Client presence rate limit exceeded");
	world_wait(w, 1);
	world_tell(w);
	expect_refs(w, c, DIFF("\"a\":{\"metas\":[{\"phx_ref\":\"#1\",\"a\":2}]}",
						   ""), "our own keys are not the client's");
	say(w, c, "{\"event\":\"untrack\"}", "\"ok\"");
	check_int(w->nclosed, 0, "no limit closes anything");
	world_free(w);
}

/* Who tracks without having asked for presence wants to see it, too. */
static void
without_enabled(void)
{
	world	   *w = new_world();
	hub_conn   *a = present(w, 1, KEYED("a"), "{}");
	hub_conn   *b = talk_join(w, 2, 2, "\"presence\":{\"key\":\"b\"}");

	world_tell(w);
	expect_nothing(w, b, "who did not ask is told nothing");
	track(w, b, "{}");
	expect_part(w, b, "presence_state\",{\"a\"", "until it tracks");
	world_tell(w);
	expect_part(w, b, "presence_diff", "from then on, the differences");
	expect_part(w, a, "presence_diff", "as everybody");
	track(w, b, "{\"x\":1}");
	world_tell(w);
	expect_part(w, b, "presence_diff", "the state comes once");
	expect_nothing(w, b, "and not again");
	world_free(w);
}

static void
members_only(void)
{
	world	   *w = new_world();
	hub_conn   *watch = watcher(w);
	hub_conn   *a = present(w, 1, KEYED("a"), "{}");
	hub_conn   *c = world_open(w, 2, 10);

	world_skip(w, watch);
	talk_ask(w, c, 2, "1", TOPIC, ENABLED);
	expect_nothing(w, c, "a stranger's join waits");
	world_wait(w, 5);
	expect_part(w, c, "\"error\",\"response\":{\"reason\":\"Unauthorized: You "
				"do not have permissions to read from this Channel topic: "
				"room:" ROOM_1 "\"}", "and is refused");
	check_int((long long) hub_get_stats(w->h)->channels, 2, "it is gone");
	c = talk_join(w, 2, 10, "\"presence\":{\"key\":\"x\"}");
	say(w, c, "{\"event\":\"track\"}", "Unauthorized");
	talk_ask(w, c, 2, "2", TOPIC, KEYED("x"));
	world_commit_one(w, event_participant(EVENT_INSERT, 1, 10));
	expect_part(w, c, "[\"2\",\"2\",\"" TOPIC "\",\"phx_reply\",{\"status\":"
				"\"ok\"", "who becomes a member meanwhile is in");
	expect_part(w, c, "phx_close", "(the one before is closed)");
	expect_part(w, c, "presence_state\",{\"a\"", "and sees the others");

	/* Removed: nothing more is told, in either direction. */
	world_skip(w, watch);
	world_commit_one(w, event_participant(EVENT_DELETE, 1, 1));
	expect(w, a, STATE(""), "who is removed sees nobody any more");
	world_tell(w);
	expect_part(w, watch, "\"joins\":{},\"leaves\":{\"a\"",
				"and is seen to go");
	expect_part(w, c, "\"leaves\":{\"a\"", "by all");
	world_send(w, c, "[\"2\",\"3\",\"" TOPIC "\",\"presence\",{\"event\":"
			   "\"track\",\"payload\":{}}]");
	world_tell(w);
	expect_nothing(w, a, "it is told nothing");
	say(w, a, "{\"event\":\"track\"}", "Unauthorized");
	world_commit_one(w, event_participant(EVENT_INSERT, 1, 1));
	expect_part(w, a, "presence_state\",{\"x\"", "back again, it sees who is");
	track(w, a, "{}");
	world_tell(w);
	expect_part(w, a, "\"joins\":{\"a\"", "and may track");

	/* The same while the connection is lost. */
	hub_conn_close(a);
	world_skip(w, watch);
	world_commit_one(w, event_participant(EVENT_DELETE, 1, 1));
	world_tell(w);
	expect_part(w, watch, "\"joins\":{},\"leaves\":{\"a\"",
				"who lingers goes at once, too");
	world_free(w);
}

static void
other_topics(void)
{
	world	   *w = new_world();
	hub_conn   *c = world_open(w, 2, 1);

	talk_ask(w, c, 2, "1", "realtime:lobby", ENABLED);
	world_wait(w, 2);
	expect_part(w, c, "Unauthorized", "presence on a topic that is closed");
	w->config.public_channels = true;
	hub_set_config(w->h, &w->config);
	c = talk_join_as(w, 2, "anon", 0, "realtime:lobby", KEYED("x"));
	expect_part(w, c, "presence_state", "or open");
	world_send(w, c, "[\"1\",\"2\",\"realtime:lobby\",\"presence\","
			   "{\"event\":\"track\"}]");
	expect_part(w, c, "\"ok\"", "to anon");
	world_tell(w);
	expect_part(w, c, "\"joins\":{\"x\"", "who is seen");
	c = world_open_role(w, 2, "anon", 0);
	talk_ask(w, c, 2, "1", "realtime:lobby", KEYED(PROFILE(1)));
	world_wait(w, 2);
	expect_part(w, c, "must be your own profile's id", "but is no profile");
	world_free(w);
}

/* Somebody else's token: the entry was the other's. */
static void
another_person(void)
{
	char	   *token = token_for("authenticated", 2, NOW + 600);
	world	   *w = new_world();
	hub_conn   *watch = watcher(w);
	hub_conn   *a = present(w, 1, KEYED("a"), "{}");
	char		text[2048];

	world_skip(w, watch);
	snprintf(text, sizeof(text), "[\"1\",\"3\",\"" TOPIC "\","
			 "\"access_token\",{\"access_token\":\"%s\"}]", token);
	world_send(w, a, text);
	talk_answer(w);
	world_tell(w);
	expect_part(w, watch, "\"leaves\":{\"a\"", "the old identity leaves");
	expect_part(w, a, "presence_state", "the new one sees who is there");
	track(w, a, "{}");
	world_tell(w);
	expect_part(w, watch, "\"joins\":{\"a\"", "and comes");
	free(token);
	world_free(w);
}

static void
full(void)
{
	world	   *w = new_world();
	hub_conn   *c = NULL;

	for (int i = 0; i < 1000; i++)
	{
		c = world_open(w, 2, 1);
		talk_ask(w, c, 2, "1", TOPIC, "");
		world_send(w, c, "[\"1\",\"2\",\"" TOPIC "\",\"presence\","
				   "{\"event\":\"track\"}]");
		world_pump(w);
	}
	world_tell(w);
	world_skip(w, c);
	c = talk_join(w, 2, 2, KEYED("z"));
	world_skip(w, c);
	say(w, c, "{\"event\":\"track\"}", "Too many presences on this topic");
	world_free(w);
}

/* A slow reader is left out, and gets everything when it has caught up. */
static void
slow_reader(void)
{
	world	   *w = new_world();
	hub_conn   *a;
	hub_conn   *slow;
	char		payload[4000] = "{\"x\":\"";

	w->config.max_queue_bytes = 64 * 1024;
	hub_set_config(w->h, &w->config);
	world_be_patient(w);
	memset(payload + 6, 'x', 3000);
	strcat(payload, "\"}");
	slow = talk_join(w, 2, 2, ENABLED);
	world_skip(w, slow);
	a = talk_join(w, 2, 1, KEYED("a"));
	for (int i = 0; i < 20; i++)
	{
		payload[10] = (char) ('a' + i);
		world_wait(w, 1);
		track(w, a, payload);
		world_tell(w);
		world_skip(w, a);
	}
	check(hub_get_stats(w->h)->dropped > 0, "frames were dropped");
	world_skip(w, slow);
	world_wait(w, 1);
	expect_part(w, slow, "presence_state\",{\"a\"", "then comes the state");
	check(strstr(w->frame, "xxxxt") != NULL, "as it is now");
	expect_nothing(w, slow, "once");
	track(w, a, "{}");
	world_tell(w);
	expect_part(w, slow, "presence_diff", "and then the differences");
	check_int(w->nclosed, 0, "nobody was cut");
	world_free(w);
}

int
main(void)
{
	golden();
	coalesced();
	tabs();
	grace();
	rejoin();
	keys();
	calls();
	without_enabled();
	members_only();
	other_topics();
	another_person();
	full();
	slow_reader();
	return check_done();
}
