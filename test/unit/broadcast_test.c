/*-------------------------------------------------------------------------
 *
 * broadcast_test.c
 *	  Who hears a broadcast, in which form, and what is done about too many.
 *
 *-------------------------------------------------------------------------
 */
#include "talk.h"

#define SELF	"\"broadcast\":{\"self\":true}"
#define ACK		"\"broadcast\":{\"ack\":true}"
#define PLAIN	"\"broadcast\":{}"

/* The binary frame of a client: encoding 0 is raw, 1 is JSON. */
static void
say_binary(world *w, hub_conn *c, const char *topic, const char *event,
		   int encoding, const char *payload, size_t len)
{
	char		frame[4096];
	size_t		topic_len = strlen(topic);
	size_t		event_len = strlen(event);
	char	   *p = frame + 7;

	frame[0] = 3;
	frame[1] = 1;
	frame[2] = 1;
	frame[3] = (char) topic_len;
	frame[4] = (char) event_len;
	frame[5] = 2;
	frame[6] = (char) encoding;
	*p++ = '1';
	*p++ = '9';
	memcpy(p, topic, topic_len);
	memcpy(p += topic_len, event, event_len);
	memcpy(p += event_len, "{}", 2);
	memcpy(p += 2, payload, len);
	hub_conn_receive(c, true, frame, (size_t) (p - frame) + len, w->now);
	world_pump(w);
}

static void
say_json(world *w, hub_conn *c, const char *event, const char *payload)
{
	say_binary(w, c, TOPIC, event, 1, payload, strlen(payload));
}

static void
say_text(world *w, hub_conn *c, const char *topic, const char *payload)
{
	char		text[4096];

	snprintf(text, sizeof(text), "[\"1\",\"9\",\"%s\",\"broadcast\",%s]",
			 topic, payload);
	world_send(w, c, text);
	world_pump(w);
}

/* The next frame must be the binary one of a broadcast. */
static void
expect_binary(world *w, hub_conn *c, const char *topic, const char *event,
			  int encoding, const char *payload, size_t len,
			  const char *what)
{
	char		wanted[4096];
	int			head = snprintf(wanted, sizeof(wanted), "%c%c%c%c%c%s%s", 4,
								(int) strlen(topic), (int) strlen(event), 1,
								encoding + 1, topic, event);

	/* snprintf has no zeros. */
	wanted[3] = 0;
	wanted[4] = (char) encoding;
	memcpy(wanted + head, payload, len);
	check(world_read(w, c) != NULL && w->frame_is_binary &&
		  w->frame_len == (size_t) head + len &&
		  memcmp(w->frame, wanted, w->frame_len) == 0, "%s", what);
}

static void
forms(void)
{
	world	   *w = world_new();
	hub_conn   *a = talk_join(w, 2, 1, PLAIN);
	hub_conn   *b = talk_join(w, 2, 2, PLAIN);
	hub_conn   *old = talk_join(w, 1, 3, PLAIN);

	say_json(w, a, "cursor", "{\"x\":1,\"y\":\"\xc3\xa9\"}");
	expect_nothing(w, a, "the sender does not hear itself");
	expect_binary(w, b, TOPIC, "cursor", 1, "{\"x\":1,\"y\":\"\xc3\xa9\"}", 16,
				  "JSON stays as it is for version 2");
	expect(w, old, "{\"topic\":\"" TOPIC "\",\"event\":\"broadcast\","
		   "\"payload\":{\"type\":\"broadcast\",\"event\":\"cursor\","
		   "\"payload\":{\"x\":1,\"y\":\"\xc3\xa9\"}},\"ref\":null}",
		   "and becomes text for version 1");

	say_binary(w, a, TOPIC, "raw", 0, "\0\1\xff", 3);
	expect_binary(w, b, TOPIC, "raw", 0, "\0\1\xff", 3, "raw bytes");
	expect_nothing(w, old, "version 1 has no raw bytes");
	say_binary(w, a, TOPIC, "", 0, "", 0);
	expect_binary(w, b, TOPIC, "", 0, "", 0, "nothing at all");

	say_text(w, a, TOPIC, "{\"type\":\"broadcast\",\"event\":\"E\","
			 "\"payload\":{\"a\":[1,2]},\"more\":true}");
	expect(w, b, "[null,null,\"" TOPIC "\",\"broadcast\",{\"type\":"
		   "\"broadcast\",\"event\":\"E\",\"payload\":{\"a\":[1,2]},"
		   "\"more\":true}]", "text stays text");
	expect_part(w, old, "\"payload\":{\"type\":\"broadcast\",\"event\":\"E\","
				"\"payload\":{\"a\":[1,2]},\"more\":true},\"ref\":null}",
				"in both versions");

	world_send(w, old, "{\"topic\":\"" TOPIC "\",\"event\":\"broadcast\","
			   "\"payload\":{\"type\":\"broadcast\",\"event\":\"F\"},"
			   "\"ref\":\"5\",\"join_ref\":\"1\"}");
	world_pump(w);
	expect(w, a, "[null,null,\"" TOPIC "\",\"broadcast\",{\"type\":"
		   "\"broadcast\",\"event\":\"F\"}]", "from version 1 to version 2");
	expect_nothing(w, old, "no reply was asked for");
	world_free(w);
}

static void
self_and_ack(void)
{
	world	   *w = world_new();
	hub_conn   *a = talk_join(w, 2, 1, SELF);
	hub_conn   *same = talk_join(w, 2, 1, ACK);

	say_json(w, a, "e", "{}");
	expect_binary(w, a, TOPIC, "e", 1, "{}", 2, "with self, the sender, too");
	expect_binary(w, same, TOPIC, "e", 1, "{}", 2,
				  "and another window of the same person");
	say_json(w, same, "f", "7");
	expect(w, same, "[\"1\",\"9\",\"" TOPIC "\",\"phx_reply\",{\"status\":"
		   "\"ok\",\"response\":{}}]", "with ack, there is a reply");
	expect_nothing(w, same, "and nothing else");
	expect_binary(w, a, TOPIC, "f", 1, "7", 1, "any JSON will do");
	world_free(w);
}

/* What is wrong is told in a reply, or once. */
static void
malformed(void)
{
	static const struct
	{
		const char *text;
		const char *reason;
	}			cases[] = {
		{"{\"type\":\"broadcast\",\"payload\":{}}", "broadcast has no event"},
		{"[]", "broadcast has no event"},
		{"null", "broadcast has no event"},
		{"{\"event\":\"e\",\"ids\":[1],\"payload\":{}}",
		"broadcast has the reserved key \\\"ids\\\""},
		{"{\"event\":\"e\",\"i\\u0064s\":[1]}",
		"broadcast has the reserved key \\\"ids\\\""}
	};
	world	   *w = world_new();
	hub_conn   *a = talk_join(w, 2, 1, ACK);
	hub_conn   *b = talk_join(w, 2, 2, PLAIN);

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		say_text(w, a, TOPIC, cases[i].text);
		expect_part(w, a, cases[i].reason, "text %zu: %s", i, cases[i].reason);
		check(strstr(w->frame, "\"status\":\"error\"") != NULL,
			  "as an error reply");
	}
	say_json(w, a, "e", "{\"x\":}");
	expect_part(w, a, "broadcast payload is not valid JSON", "bad JSON");
	say_json(w, b, "e", "\"\xff\"");
	expect_part(w, b, "{\"extension\":\"system\",\"status\":\"error\","
				"\"message\":\"broadcast payload is not valid JSON\"",
				"without ack, a system message");
	say_json(w, b, "e", "");
	expect_nothing(w, b, "but only once");
	expect_nothing(w, a, "nobody heard any of it");
	check_int(w->nclosed, 0, "nobody was cut");
	world_free(w);
}

static void
members_only(void)
{
	world	   *w = world_new();
	hub_conn   *a = talk_join(w, 2, 1, PLAIN);
	hub_conn   *b = talk_join(w, 2, 2, PLAIN);
	hub_conn   *stranger = talk_join(w, 2, 10, ACK);
	hub_conn   *anon = talk_join_as(w, 2, "anon", 0, TOPIC, PLAIN);
	hub_conn   *service = talk_join_as(w, 2, "service_role", 0, TOPIC, PLAIN);

	say_json(w, a, "e", "1");
	expect_binary(w, b, TOPIC, "e", 1, "1", 1, "a member hears");
	expect_binary(w, service, TOPIC, "e", 1, "1", 1, "the service role hears");
	expect_nothing(w, stranger, "a stranger does not");
	expect_nothing(w, anon, "nor does anon");

	say_json(w, stranger, "e", "2");
	expect_part(w, stranger, "Unauthorized: You do not have permissions to "
				"read from this Channel topic: room:" ROOM_1,
				"a stranger is told so");
	say_json(w, anon, "e", "3");
	expect_part(w, anon, "\"extension\":\"system\",\"status\":\"error\"",
				"and anon");
	expect_nothing(w, a, "nobody hears them");
	say_json(w, service, "e", "4");
	expect_binary(w, a, TOPIC, "e", 1, "4", 1, "the service role is heard");
	world_skip(w, b);

	world_commit_one(w, event_participant(EVENT_INSERT, 1, 10));
	say_json(w, stranger, "e", "5");
	expect_part(w, stranger, "\"ok\"", "once a member, it may speak");
	expect_binary(w, a, TOPIC, "e", 1, "5", 1, "and is heard");

	/* What waits is taken back; what comes later does not arrive. */
	say_json(w, a, "e", "6");
	world_commit_one(w, event_participant(EVENT_DELETE, 1, 10));
	say_json(w, a, "e", "7");
	expect_nothing(w, stranger, "who is removed hears nothing any more");
	say_json(w, stranger, "e", "8");
	expect_part(w, stranger, "\"error\"", "and is not heard");
	world_commit_one(w, event_participant(EVENT_INSERT, 1, 10));
	say_json(w, a, "e", "9");
	expect_binary(w, stranger, TOPIC, "e", 1, "9", 1,
				  "a member again: the channel goes on");
	world_free(w);
}

/* Between the track and the streamer, somebody may be removed. */
static void
removed_on_the_way(void)
{
	world	   *w = world_new();
	hub_conn   *a = talk_join(w, 2, 1, PLAIN);
	hub_conn   *b = talk_join(w, 2, 2, PLAIN);

	world_send(w, a, "[\"1\",\"9\",\"" TOPIC "\",\"broadcast\","
			   "{\"event\":\"e\"}]");
	world_commit_one(w, event_participant(EVENT_DELETE, 1, 2));
	world_pump(w);
	expect_nothing(w, b, "who hears is decided when the signal comes");
	world_free(w);
}

static void
private_rooms(void)
{
	world	   *w = world_new();
	hub_conn   *pub = talk_join(w, 2, 1, PLAIN);
	hub_conn   *priv = talk_join(w, 2, 2, "\"private\":true");
	hub_conn   *other = talk_join(w, 2, 3, "\"private\":\"true\"");
	hub_conn   *c = world_open(w, 2, 10);

	say_json(w, pub, "e", "1");
	expect_nothing(w, priv, "public and private channels are different");
	say_json(w, priv, "e", "2");
	expect_nothing(w, pub, "in both directions");
	expect_binary(w, other, TOPIC, "e", 1, "2", 1, "private ones are one");

	talk_ask(w, c, 2, "1", TOPIC, "\"private\":true");
	world_wait(w, 5);
	expect(w, c, "[\"1\",\"1\",\"" TOPIC "\",\"phx_reply\",{\"status\":"
		   "\"error\",\"response\":{\"reason\":\"Unauthorized: You do not "
		   "have permissions to read from this Channel topic: room:" ROOM_1
		   "\"}}]", "a stranger's private join is refused");
	talk_ask(w, c, 2, "2", TOPIC, "\"private\":true");
	expect_nothing(w, c, "it is not refused at once");
	world_commit_one(w, event_participant(EVENT_INSERT, 1, 10));
	expect_part(w, c, "\"ok\"", "because it may be a member soon");
	world_free(w);
}

static void
other_topics(void)
{
	world	   *w = world_new();
	hub_conn   *a = talk_join_as(w, 2, "authenticated", 1, "realtime:lobby",
								 ACK);
	hub_conn   *b = talk_join_as(w, 2, "anon", 0, "realtime:lobby", PLAIN);
	hub_conn   *c = world_open(w, 2, 1);

	check_int(w->nasked, 0, "nobody's memberships are asked for");
	say_text(w, a, "realtime:lobby", "{\"event\":\"e\"}");
	expect_part(w, a, "Unauthorized", "other topics are closed");
	expect_nothing(w, b, "to everybody");

	w->config.public_channels = true;
	hub_set_config(w->h, &w->config);
	say_text(w, a, "realtime:lobby", "{\"event\":\"e\"}");
	expect_part(w, a, "\"ok\"", "unless they are opened");
	expect_part(w, b, "\"broadcast\",{\"event\":\"e\"}", "to everybody");
	talk_ask(w, c, 2, "1", "realtime:lobby", "\"private\":true");
	world_wait(w, 2);
	expect_part(w, c, "Unauthorized", "private ones stay closed");
	talk_join_as(w, 2, "service_role", 0, "realtime:lobby",
				 "\"private\":true");
	say_text(w, b, "realtime:lobby", "{\"event\":\"f\"}");
	expect_part(w, a, "\"event\":\"f\"", "anon may speak, too");

	w->config.public_channels = false;
	hub_set_config(w->h, &w->config);
	say_text(w, a, "realtime:lobby", "{\"event\":\"g\"}");
	expect_part(w, a, "Unauthorized", "closed again");
	expect_nothing(w, b, "nobody hears");
	world_free(w);
}

static void
which_topics(void)
{
	static const struct
	{
		const char *topic;
		bool		of_room;
	}			cases[] = {
		{"realtime:room:" ROOM_1, true},
		{"realtime:typing:" ROOM_1, true},
		{"realtime:a:b:" ROOM_1, false},
		{"realtime:x:00000000000000000000000000000001", false},
		{"realtime:x:AA000000-0000-0000-0000-00000000000b", true},
		{"realtime::" ROOM_1, false},
		{"realtime:" ROOM_1, false},
		{"realtime:room:" ROOM_1 ":x", false},
		{"realtime:room:00000000-0000-0000-0000-00000000000", false},
		{"realtime:room: " ROOM_1, false},
		{"realtime:room:", false}
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		world	   *w = world_new();
		hub_conn   *c = world_open(w, 2, 1);

		talk_ask(w, c, 2, "1", cases[i].topic, PLAIN);
		check_int(w->nasked, cases[i].of_room, "%s is%s a conversation's",
				  cases[i].topic, cases[i].of_room ? "" : " not");
		world_free(w);
	}
}

static void
too_many(void)
{
	world	   *w = world_new();
	hub_conn   *a = talk_join(w, 2, 1, ACK);
	int			ok = 0;

	for (int i = 0; i < 200; i++)
	{
		say_json(w, a, "e", "1");
		ok += strstr(world_read(w, a), "\"ok\"") != NULL;
	}
	check_int(ok, 100, "a hundred at once");
	say_json(w, a, "e", "1");
	expect_part(w, a, "{\"reason\":\"Too many messages per second\"}",
				"then they are refused");
	world_wait(w, 1);
	ok = 0;
	for (int i = 0; i < 100; i++)
	{
		say_json(w, a, "e", "1");
		ok += strstr(world_read(w, a), "\"ok\"") != NULL;
	}
	check_int(ok, 30, "thirty more a second later");
	check_int(w->nclosed, 0, "nobody was cut");
	world_free(w);
}

/* A gateway that does not get rid of its signals takes no more broadcasts. */
static void
stuck(void)
{
	world	   *w = world_new();
	hub_conn   *a = world_open(w, 2, 1);
	char	   *text = calloc(1, 200100);
	size_t		size;
	int			refused = 0;

	talk_ask(w, a, 2, "1", TOPIC, ACK);
	expect_part(w, a, "\"ok\"", "joined");
	snprintf(text, 200100, "[\"1\",\"9\",\"" TOPIC "\",\"broadcast\","
			 "{\"event\":\"e\",\"payload\":\"");
	memset(text + strlen(text), 'x', 100000);
	strcat(text, "\"}]");
	for (int i = 0; i < 50; i++)
	{
		world_send(w, a, text);
		refused += strstr(world_read(w, a), "\"error\"") != NULL;
	}
	check(refused > 20 && refused < 40, "some of 50 were refused: %d", refused);
	check(hub_outgoing(w->h, &size) != NULL, "the others wait");
	world_pump(w);
	world_send(w, a, text);
	expect_part(w, a, "\"ok\"", "then there is room again");
	free(text);
	world_free(w);
}

/* Under pressure broadcasts are dropped, and messages are not. */
static void
pressure(void)
{
	world	   *w = world_new();
	hub_conn   *a;
	hub_conn   *slow;
	char	   *content = calloc(1, 3001);
	uint64_t	dropped;
	int			messages = 0;
	const char *got;

	memset(content, 'x', 3000);
	w->config.max_queue_bytes = 64 * 1024;
	hub_set_config(w->h, &w->config);
	a = talk_join(w, 2, 1, PLAIN);
	slow = talk_join(w, 2, 2, "\"postgres_changes\":"
					 "[{\"event\":\"*\",\"schema\":\"public\"}]");
	world_skip(w, slow);

	for (int i = 0; i < 60; i++)
		say_binary(w, a, TOPIC, "e", 0, content, 1000);
	dropped = hub_get_stats(w->h)->dropped;
	check(dropped > 20 && dropped < 40,
		  "a queue that is half full takes no more: %d of 60",
		  (int) dropped);
	for (int i = 0; i < 16; i++)
		world_commit_one(w, event_message(1, content));
	check_int(w->nclosed, 0, "messages take the place of broadcasts");
	check_int((long long) hub_get_stats(w->h)->dropped, 60,
			  "which are dropped");
	while ((got = world_read(w, slow)) != NULL)
		messages += strstr(got, "postgres_changes") != NULL;
	check_int(messages, 16, "every message arrives");
	say_json(w, a, "e", "1");
	expect_binary(w, slow, TOPIC, "e", 1, "1", 1, "and broadcasts again");
	free(content);
	world_free(w);
}

/* Whoever is not there yet, or not any more. */
static void
not_joined(void)
{
	world	   *w = world_new();
	hub_conn   *c = world_open(w, 2, 1);

	world_send(w, c, "[\"1\",\"1\",\"" TOPIC "\",\"phx_join\",{\"config\":"
			   "{" ACK "}}]");
	say_json(w, c, "e", "1");
	expect_part(w, c, "InitializingProjectConnection", "before the reply");
	talk_answer(w);
	expect_part(w, c, "\"ok\"", "joined");
	world_send(w, c, "[\"1\",\"2\",\"" TOPIC "\",\"phx_leave\",{}]");
	world_skip(w, c);
	say_json(w, c, "e", "1");
	expect_part(w, c, "unmatched topic", "after the leave");
	world_free(w);
}

int
main(void)
{
	forms();
	self_and_ack();
	malformed();
	members_only();
	removed_on_the_way();
	private_rooms();
	other_topics();
	which_topics();
	too_many();
	stuck();
	pressure();
	not_joined();
	return check_done();
}
