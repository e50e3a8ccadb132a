/*-------------------------------------------------------------------------
 *
 * protocol_test.c
 *	  The channel protocol, frame by frame, in both versions.
 *
 *-------------------------------------------------------------------------
 */
#include "hub_world.h"

#define TOPIC		"realtime:room:42"
#define FILTER		"conversation_id=eq.00000000-0000-0000-0000-000000000001"
#define INSERTS \
	"{\"event\":\"INSERT\",\"schema\":\"public\",\"table\":\"messages\"," \
	"\"filter\":\"" FILTER "\"}"

static const int one_room[] = {1};

/* A join of version 2 with these postgres_changes items. */
static const char *
join_text(const char *ref, const char *topic, const char *items,
		  const char *more)
{
	static char text[65536];

	snprintf(text, sizeof(text), "[\"%s\",\"%s\",\"%s\",\"phx_join\","
			 "{\"config\":{\"broadcast\":{\"self\":true},"
			 "\"postgres_changes\":[%s],\"private\":false}%s}]",
			 ref, ref, topic, items, more);
	return text;
}

/* The id that a join's reply gives to its last item. */
static unsigned
reply_id(const char *reply)
{
	const char *id = NULL;

	for (const char *p = reply; (p = strstr(p, "\"id\":")) != NULL; p++)
		id = p;
	return id != NULL ? (unsigned) strtoul(id + 5, NULL, 10) : 0;
}

static void
golden_v2(void)
{
	world	   *w = world_new();
	hub_conn   *c = world_open(w, 2, 1);
	const char *reply;
	char		text[4096];
	unsigned	id;

	world_send(w, c, join_text("6", TOPIC, INSERTS, ""));
	expect_nothing(w, c, "no reply before the memberships are there");
	check_int(w->nasked, 1, "memberships are asked for");
	check(world_answer(w, one_room, 1), "answer is taken");

	reply = world_read(w, c);
	id = reply_id(reply);
	check(id >= 1 && id < 1U << 27, "id is in range");
	snprintf(text, sizeof(text), "[\"6\",\"6\",\"" TOPIC "\",\"phx_reply\","
			 "{\"status\":\"ok\",\"response\":{\"postgres_changes\":[{\"event\":"
			 "\"INSERT\",\"schema\":\"public\",\"table\":\"messages\","
			 "\"filter\":\"" FILTER "\",\"id\":%u}]}}]", id);
	check_str(reply, text, "v2 join reply");
	expect(w, c, "[\"6\",null,\"" TOPIC "\",\"system\",{\"extension\":"
		   "\"postgres_changes\",\"status\":\"ok\",\"message\":"
		   "\"Subscribed to PostgreSQL\",\"channel\":\"room:42\"}]",
		   "v2 system message");

	world_commit_one(w, event_message(1, "hello"));
	snprintf(text, sizeof(text), "[null,null,\"" TOPIC "\","
			 "\"postgres_changes\",{\"ids\":[%u],\"data\":{\"schema\":"
			 "\"public\",\"table\":\"messages\",\"type\":\"INSERT\","
			 "\"commit_timestamp\":\"2023-11-14T22:13:20.123Z\",\"columns\":%s,"
			 "\"record\":{\"id\":\"11111111-0000-7000-8000-000000000001\","
			 "\"conversation_id\":\"00000000-0000-0000-0000-000000000001\","
			 "\"content\":\"hello\",\"seq\":7},\"errors\":null}}]",
			 id, MESSAGE_COLUMNS);
	expect(w, c, text, "v2 change");

	world_send(w, c, "[null,\"8\",\"phoenix\",\"heartbeat\",{}]");
	expect(w, c, "[null,\"8\",\"phoenix\",\"phx_reply\","
		   "{\"status\":\"ok\",\"response\":{}}]", "v2 heartbeat");
	world_send(w, c, "[\"6\",\"14\",\"" TOPIC "\",\"phx_leave\",{}]");
	expect(w, c, "[\"6\",\"14\",\"" TOPIC "\",\"phx_reply\","
		   "{\"status\":\"ok\",\"response\":{}}]", "v2 leave");
	expect(w, c, "[\"6\",\"6\",\"" TOPIC "\",\"phx_close\",{}]",
		   "v2 close after leave");
	world_commit_one(w, event_message(1, "gone"));
	expect_nothing(w, c, "no change after leave");
	check_int(hub_get_stats(w->h)->users, 0, "the user is forgotten");
	check_int(hub_get_stats(w->h)->channels, 0, "the channel is, too");
	world_free(w);
}

static void
golden_v1(void)
{
	world	   *w = world_new();
	hub_conn   *c = world_open(w, 1, 1);
	const char *reply;
	char		text[4096];
	unsigned	id;

	world_send(w, c, "{\"topic\":\"" TOPIC "\",\"event\":\"phx_join\","
			   "\"payload\":{\"config\":{\"postgres_changes\":[" INSERTS "]}},"
			   "\"ref\":\"1\",\"join_ref\":\"1\"}");
	world_answer(w, one_room, 1);
	reply = world_read(w, c);
	id = reply_id(reply);
	snprintf(text, sizeof(text), "{\"topic\":\"" TOPIC "\",\"event\":"
			 "\"phx_reply\",\"payload\":{\"status\":\"ok\",\"response\":"
			 "{\"postgres_changes\":[{\"event\":\"INSERT\",\"schema\":"
			 "\"public\",\"table\":\"messages\",\"filter\":\"" FILTER "\","
			 "\"id\":%u}]}},\"ref\":\"1\"}", id);
	check_str(reply, text, "v1 join reply");
	expect(w, c, "{\"topic\":\"" TOPIC "\",\"event\":\"system\",\"payload\":"
		   "{\"extension\":\"postgres_changes\",\"status\":\"ok\",\"message\":"
		   "\"Subscribed to PostgreSQL\",\"channel\":\"room:42\"},"
		   "\"ref\":null}", "v1 system message");
	world_commit_one(w, event_message(1, "hello"));
	snprintf(text, sizeof(text), "{\"topic\":\"" TOPIC "\",\"event\":"
			 "\"postgres_changes\",\"payload\":{\"ids\":[%u],\"data\":"
			 "{\"schema\":\"public\",", id);
	expect_part(w, c, text, "v1 change");
	check_str(w->frame + strlen(w->frame) - 27,
			  "\"errors\":null}},\"ref\":null}", "v1 change's end");
	world_send(w, c, "{\"topic\":\"phoenix\",\"event\":\"heartbeat\","
			   "\"payload\":{},\"ref\":\"2\"}");
	expect(w, c, "{\"topic\":\"phoenix\",\"event\":\"phx_reply\",\"payload\":"
		   "{\"status\":\"ok\",\"response\":{}},\"ref\":\"2\"}",
		   "v1 heartbeat");
	world_send(w, c, "{\"topic\":\"realtime:pub\",\"event\":\"phx_leave\","
			   "\"payload\":{},\"ref\":\"17\"}");
	expect(w, c, "{\"topic\":\"realtime:pub\",\"event\":\"phx_reply\","
		   "\"payload\":{\"status\":\"ok\",\"response\":{}},\"ref\":\"17\"}",
		   "v1 leave of what was never joined");
	world_send(w, c, "{\"topic\":\"" TOPIC "\",\"event\":\"phx_leave\","
			   "\"payload\":{},\"ref\":\"18\"}");
	expect_part(w, c, "\"ref\":\"18\"", "v1 leave");
	expect(w, c, "{\"topic\":\"" TOPIC "\",\"event\":\"phx_close\","
		   "\"payload\":{},\"ref\":\"1\"}", "v1 close bears the join's ref");
	world_free(w);
}

static void
other_messages(void)
{
	world	   *w = world_new();
	hub_conn   *c = world_open(w, 2, 1);

	world_send(w, c, "[null,\"1\",\"realtime:pub\",\"phx_leave\",{}]");
	expect(w, c, "[null,\"1\",\"realtime:pub\",\"phx_reply\","
		   "{\"status\":\"ok\",\"response\":{}}]", "leave, never joined");
	world_send(w, c, "[\"9\",\"2\",\"realtime:pub\",\"anything\",{}]");
	expect(w, c, "[null,\"2\",\"realtime:pub\",\"phx_reply\",{\"status\":"
		   "\"error\",\"response\":{\"reason\":\"unmatched topic\"}}]",
		   "message to a topic that was not joined");

	world_send(w, c, join_text("3", "realtime:pub", "", ""));
	expect(w, c, "[\"3\",\"3\",\"realtime:pub\",\"phx_reply\",{\"status\":"
		   "\"ok\",\"response\":{\"postgres_changes\":[]}}]",
		   "join without changes");
	expect_nothing(w, c, "and no system message");
	world_send(w, c, "[\"3\",\"4\",\"realtime:pub\",\"postgres_changes\",{}]");
	expect_nothing(w, c, "unknown events get no answer");
	world_send(w, c, "[\"2\",\"7\",\"realtime:pub\",\"phx_leave\",{}]");
	expect_part(w, c, "\"ok\"", "leave of an earlier join");
	expect_nothing(w, c, "does not end the later one");
	world_free(w);
}

static void
malformed(void)
{
	static const char *const texts[] = {
		"", "[", "{}", "[]", "null", "7", "\"x\"", "[1,2,3,4]",
		"[null,null,5,\"phx_join\",{}]", "[null,null,\"t\",5,{}]",
		"[{},null,\"t\",\"phx_join\",{}]", "[null,[],\"t\",\"phx_join\",{}]",
		"[null,\"1\",\"realtime:\\u0000\",\"phx_join\",{}]",
		"[null,\"1\",\"realtime:\xff\",\"phx_join\",{}]",
		"{\"topic\":\"phoenix\",\"event\":\"heartbeat\",\"ref\":\"1\"}"
	};
	world	   *w = world_new();
	hub_conn   *c2 = world_open(w, 2, 1);
	hub_conn   *c1 = world_open(w, 1, 1);

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
	{
		world_send(w, c2, texts[i]);
		world_send(w, c1, texts[i]);
		hub_conn_receive(c2, true, texts[i], strlen(texts[i]), w->now);
		expect_nothing(w, c2, "malformed %zu is passed over in v2", i);
		expect_nothing(w, c1, "malformed %zu is passed over in v1", i);
	}
	hub_conn_receive(c2, true, "\3\1\1\7\1\0\1" "39phoeni\xff" "E", 17,
					 w->now);
	hub_conn_receive(c2, true, "\3\xff\xff\xff\xff\xff\1", 7, w->now);
	hub_conn_receive(c2, true, "\3\0\0\0\0\0\1", 7, w->now);
	expect_nothing(w, c2, "malformed binary frames are passed over");
	world_send(w, c2, "[null,8,\"phoenix\",\"heartbeat\",{},\"more\"]");
	expect_part(w, c2, "[null,8,\"phoenix\",\"phx_reply\"",
				"refs are opaque, more elements are tolerated");
	check_int(w->nclosed, 0, "nobody was cut");
	world_free(w);
}

/* The reasons for which a join is refused, and that it takes a while. */
static void
refusals(void)
{
	char	   *expired = token_for("authenticated", 1, NOW - 100);
	char	   *foreign = token_for("authenticated", 1, NOW + 100);
	char		more[5][4096];
	const struct
	{
		const char *topic;
		const char *more;
		const char *reason;
	}			cases[] = {
		{"other:1", "", "unmatched topic"},
		{"realtime:", "", "TopicNameRequired: You must provide a topic name"},
		{"realtime:x", more[0],
		"InvalidJWTToken: Token has expired 104 seconds ago"},
		{"realtime:x", more[1], "JwtSignatureError: Failed to validate JWT "
		"signature"},
		{"realtime:x", ",\"access_token\":\"nonsense\"",
		"MalformedJWT: The token provided is not a valid JWT"},
		{"realtime:x", ",\"access_token\":\"\"",
		"MalformedJWT: The token provided is not a valid JWT"},
		{"realtime:x", ",\"user_token\":\"nonsense\",\"access_token\":null",
		"MalformedJWT: The token provided is not a valid JWT"}
	};
	world	   *w = world_new();
	hub_conn   *c = world_open(w, 2, 1);
	char		text[1024];

	foreign[strlen(foreign) - 4] ^= 1;
	snprintf(more[0], sizeof(more[0]), ",\"access_token\":\"%s\"", expired);
	snprintf(more[1], sizeof(more[1]), ",\"access_token\":\"%s\"", foreign);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		world_send(w, c, join_text("1", cases[i].topic, "", cases[i].more));
		expect_nothing(w, c, "refusal %zu is held back", i);
		world_wait(w, 2);
		snprintf(text, sizeof(text), "[\"1\",\"1\",\"%s\",\"phx_reply\","
				 "{\"status\":\"error\",\"response\":{\"reason\":\"%s\"}}]",
				 cases[i].topic, cases[i].reason);
		expect(w, c, text, "refusal %zu: %s", i, cases[i].reason);
	}
	check_int(hub_get_stats(w->h)->channels, 0, "no channel is left");
	world_send(w, c, join_text("2", "realtime:x", "",
							   ",\"access_token\":\"sb_secret\""));
	expect_part(w, c, "\"ok\"", "a key of the new style is not looked at");
	free(expired);
	free(foreign);
	world_free(w);
}

static void
limits(void)
{
	world	   *w = world_new();
	hub_conn   *c = world_open(w, 2, 1);
	char		topic[300];
	char		items[8192] = "";

	for (int i = 0; i < 100; i++)
	{
		snprintf(topic, sizeof(topic), "realtime:%d", i);
		world_send(w, c, join_text("1", topic, "", ""));
	}
	check_int(hub_get_stats(w->h)->channels, 100, "100 channels");
	world_skip(w, c);
	world_send(w, c, join_text("2", "realtime:100", "", ""));
	world_wait(w, 2);
	expect_part(w, c, "ClientJoinRateLimitReached: Too many joins per second",
				"too many joins at once");
	world_send(w, c, join_text("2", "realtime:100", "", ""));
	world_wait(w, 2);
	expect_part(w, c, "ChannelRateLimitReached: Too many channels",
				"too many channels");
	world_send(w, c, "[null,\"3\",\"realtime:99\",\"phx_leave\",{}]");
	world_skip(w, c);
	world_send(w, c, join_text("4", "realtime:100", "", ""));
	expect_part(w, c, "\"ok\"", "room for one more after a leave");

	for (int i = 0; i < 101; i++)
		strcat(items, i > 0 ? ",{\"table\":\"messages\"}" :
			   "{\"table\":\"messages\"}");
	world_send(w, c, join_text("5", "realtime:100", items, ""));
	world_wait(w, 2);
	expect_part(w, c, "Too many postgres_changes bindings",
				"too many bindings");
	expect(w, c, "[\"4\",\"4\",\"realtime:100\",\"phx_close\",{}]",
		   "the channel that the refused join was to replace is closed");

	memset(topic, 'x', sizeof(topic) - 1);
	memcpy(topic, "realtime:", 9);
	topic[256] = '\0';
	world_send(w, c, join_text("6", topic, "", ""));
	world_wait(w, 2);
	expect_part(w, c, "unmatched topic", "topic too long");

	for (int i = 0; i < 1000; i++)
		world_send(w, c, join_text("6", topic, "", ""));
	world_wait(w, 2);
	for (int i = 0; i < 100; i++)
		world_read(w, c);
	expect_nothing(w, c, "no more than 100 refusals wait");
	world_free(w);
}

static void
clock_set_back(void)
{
	world	   *w = world_new();
	hub_conn   *c = world_open(w, 2, 1);

	world_send(w, c, join_text("1", "realtime:a", "", ""));
	expect_part(w, c, "\"ok\"", "a join");
	w->now -= INT64_C(3600) * 1000000;
	world_send(w, c, join_text("2", "realtime:b", "", ""));
	expect_part(w, c, "\"ok\"", "joins of the future do not count");
	world_free(w);
}

static void
second_join(void)
{
	world	   *w = world_new();
	hub_conn   *c = world_open(w, 2, 1);

	world_send(w, c, join_text("1", TOPIC, INSERTS, ""));
	world_answer(w, one_room, 1);
	world_skip(w, c);
	world_send(w, c, join_text("2", TOPIC, INSERTS, ""));
	world_answer(w, one_room, 1);
	expect_part(w, c, "[\"2\",\"2\",\"" TOPIC "\",\"phx_reply\"",
				"the new join's reply comes first");
	expect(w, c, "[\"1\",\"1\",\"" TOPIC "\",\"phx_close\",{}]",
		   "then the old one's close");
	expect_part(w, c, "[\"2\",null,\"" TOPIC "\",\"system\"", "then system");
	check_int(hub_get_stats(w->h)->channels, 1, "one channel");
	world_commit_one(w, event_message(1, "x"));
	expect_part(w, c, "postgres_changes", "the change comes");
	expect_nothing(w, c, "once");
	world_free(w);
}

/* What is wrong with an item is told in a system message. */
static void
bad_items(void)
{
	static const struct
	{
		const char *item;
		const char *message;
	}			cases[] = {
		{"{\"event\":\"INSERT\",\"schema\":\"public\",\"table\":\"nope\"}",
			"Unable to subscribe to changes with given parameters. Please "
			"check Realtime is enabled for the given connect parameters: "
		"[event: INSERT, schema: public, table: nope, filters: [], select: nil]"},
		{"{\"event\":\"insert\",\"schema\":\"private\"}",
			"Unable to subscribe to changes with given parameters. Please "
			"check Realtime is enabled for the given connect parameters: "
		"[event: INSERT, schema: private, table: *, filters: [], select: nil]"},
		{"{\"event\":\"*\"}",
			"No subscription params provided. Please provide at least a "
			"`schema` or `table` to subscribe to: %{\\\"event\\\" => "
		"\\\"*\\\"}"},
		{"{\"event\":\"*\",\"schema\":\"public\",\"filter\":\"id=eq.1\"}",
		"No subscription params provided."},
		{"{\"schema\":\"public\",\"table\":\"messages\",\"filter\":\"a=foo.hey\"}",
		"Error parsing `filter` params: [\\\"foo\\\", \\\"hey\\\"]"},
		{"{\"schema\":\"public\",\"table\":\"messages\",\"filter\":7}",
		"Error parsing `filter` params: 7"},
		{"{\"schema\":\"public\",\"table\":\"messages\",\"filter\":\"x=eq.1\"}",
			"Unable to subscribe to changes with given parameters. An "
			"exception happened so please check your connect parameters: "
			"[event: *, schema: public, table: messages, filters: "
			"[{\\\"x\\\", \\\"eq\\\", \\\"1\\\"}], select: nil]. Exception: "
		"ERROR P0001 (raise_exception) invalid column for filter x"},
		{"{\"schema\":\"public\",\"table\":\"messages\",\"select\":[\"x\"]}",
		"ERROR P0001 (raise_exception) invalid column for select x"},
		{"{\"schema\":\"public\",\"table\":\"messages\",\"select\":\"x\"}",
			"Error parsing `select` params: expected a list of column name "
		"strings, e.g. select: [\\\"col1\\\", \\\"col2\\\"]"},
		{"{\"schema\":\"public\",\"table\":\"messages\",\"select\":[7]}",
		"Error parsing `select` params"},
		{"{\"schema\":\"public\",\"select\":[\"id\"]}",
			"Column selection is not supported for wildcard subscriptions. "
		"Provide an explicit schema and table name."}
	};
	world	   *w = world_new();
	hub_conn   *c = world_open(w, 2, 1);

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		world_send(w, c, join_text("1", TOPIC, cases[i].item, ""));
		expect_part(w, c, "\"ok\"", "join with bad item %zu is answered", i);
		if (i > 0)
			expect_part(w, c, "phx_close", "the one before is closed");
		expect_part(w, c, cases[i].message, "bad item %zu: %s", i,
					cases[i].message);
		check(strstr(w->frame, "{\"extension\":\"postgres_changes\","
					 "\"status\":\"error\",\"message\":") != NULL,
			  "as a system message");
	}
	world_send(w, c, "[\"2\",\"2\",\"realtime:w\",\"phx_join\",{\"config\":"
			   "{\"postgres_changes\":[{\"schema\":\"none\"}],"
			   "\"postgres_changes_options\":{\"wait\":\"true\"}}}]");
	world_wait(w, 2);
	expect_part(w, c, "{\"status\":\"error\",\"response\":{\"reason\":"
				"\"RealtimeDisabledForConfiguration: Unable to subscribe",
				"with wait, the join is refused");
	world_free(w);
}

static void
ids(void)
{
	world	   *w = world_new();
	hub_conn   *c = world_open_role(w, 2, "anon", 0);
	hub_conn   *d = world_open_role(w, 1, "service_role", 0);
	unsigned	first;

	world_send(w, c, join_text("1", "realtime:a", INSERTS, ""));
	first = reply_id(world_read(w, c));
	world_send(w, d, "{\"topic\":\"realtime:b\",\"event\":\"phx_join\","
			   "\"payload\":{\"config\":{\"postgres_changes\":[null,5,"
			   "{\"filter\":\"" FILTER "\",\"table\":\"messages\","
			   "\"event\":\"INSERT\",\"schema\":\"public\"}]}},\"ref\":\"1\"}");
	check_int(reply_id(world_read(w, d)), first,
			  "the same parameters have the same id anywhere");
	world_send(w, c, join_text("2", "realtime:c", INSERTS "," INSERTS, ""));
	expect_part(w, c, "Subscribed", "first channel's system message");
	check_int(reply_id(world_read(w, c)), first + 1,
			  "ids in a channel differ, whatever was asked for");
	world_free(w);
}

static void
not_ready(void)
{
	world	   *w = world_new_bare();
	hub_conn   *c = world_open(w, 2, 1);

	world_send(w, c, join_text("1", TOPIC, INSERTS, ""));
	world_wait(w, 2);
	expect_part(w, c, "InitializingProjectConnection: Realtime is "
				"initializing the project connection", "no tables yet");
	world_describe(w);
	world_send(w, c, join_text("2", TOPIC, INSERTS, ""));
	expect_nothing(w, c, "not live: the join waits");
	check_int(w->nasked, 0, "and nothing is asked");
	hub_set_live(w->h, true);
	check_int(w->nasked, 1, "asked once live");
	hub_set_live(w->h, false);
	world_answer(w, one_room, 1);
	expect_nothing(w, c, "not live again: the join still waits");
	hub_set_live(w->h, true);
	expect_part(w, c, "\"ok\"", "live: the join is answered");
	world_skip(w, c);

	hub_set_live(w->h, false);
	world_send(w, c, join_text("3", "realtime:late", INSERTS, ""));
	world_wait(w, 10);
	expect_part(w, c, "[\"3\",\"3\",\"realtime:late\",\"phx_reply\","
				"{\"status\":\"error\"", "a join does not wait for ever");
	world_free(w);
}

static void
idle_and_slow(void)
{
	world	   *w = world_new();
	hub_conn   *c = world_open(w, 2, 1);
	hub_conn   *d = world_open(w, 2, 2);

	world_wait(w, 60);
	world_send(w, d, "[null,\"1\",\"phoenix\",\"heartbeat\",{}]");
	world_wait(w, 31);
	check_int(w->nclosed, 1, "one is closed for being idle");
	check(w->closed[0].conn == c, "the one that sent nothing");
	check_int(w->closed[0].code, HUB_CLOSE_NORMAL, "with code 1000");
	hub_conn_close(c);

	w->nclosed = 0;
	w->drains = true;
	for (int i = 0; i < 100000 && w->nclosed == 0; i++)
		world_send(w, d, "[null,\"1\",\"phoenix\",\"heartbeat\",{}]");
	check_int(w->nclosed, 0, "one that reads may get any amount at once");
	w->drains = false;
	for (int i = 0; i < 100000 && w->nclosed == 0; i++)
		world_send(w, d, "[null,\"1\",\"phoenix\",\"heartbeat\",{}]");
	check_int(w->nclosed, 1, "one that never reads is cut");
	check_int(w->closed[0].code, HUB_CLOSE_TRY_LATER, "with code 1013");
	check_int((long long) queue_bytes(hub_conn_queue(d)), 0,
			  "its queue is empty");
	check_int(hub_get_stats(w->h)->slow_readers, 1, "and counted");
	world_send(w, d, "[null,\"1\",\"phoenix\",\"heartbeat\",{}]");
	expect_nothing(w, d, "it is not listened to any more");
	world_free(w);
}

/* Refusals that are held back count among the bytes that may wait. */
static void
refusals_are_bounded(void)
{
	world	   *w = world_new();
	hub_conn   *c = world_open(w, 2, 1);
	char		text[4096];
	size_t		bytes = 0;
	const char *got;

	w->config.max_queue_bytes = 10000;
	hub_set_config(w->h, &w->config);
	snprintf(text, sizeof(text), "[\"1\",\"1\",\"%01000d\",\"phx_join\",{}]",
			 0);
	for (int i = 0; i < 50; i++)
		world_send(w, c, text);
	world_wait(w, 3);
	while ((got = world_read(w, c)) != NULL)
		bytes += strlen(got);
	check(bytes > 1000, "refusals come");
	check(bytes <= 10000, "but no more than may wait");
	check_int(w->nclosed, 0, "and nobody is cut");

	/* What came is not held back any more. */
	world_send(w, c, text);
	world_wait(w, 3);
	expect_part(w, c, "unmatched topic", "the next one comes again");
	world_free(w);
}

int
main(void)
{
	golden_v2();
	golden_v1();
	other_messages();
	malformed();
	refusals();
	refusals_are_bounded();
	limits();
	clock_set_back();
	second_join();
	bad_items();
	ids();
	not_ready();
	idle_and_slow();
	return check_done();
}
