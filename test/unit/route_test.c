/*-------------------------------------------------------------------------
 *
 * route_test.c
 *	  From events to frames: who gets one, what is in it, and that frames
 *	  are shared.
 *
 *-------------------------------------------------------------------------
 */
#include <time.h>

#include "hub_world.h"

#define MANY	10000

static void
join(world *w, hub_conn *c, const char *topic, const char *items)
{
	char		text[4096];

	snprintf(text, sizeof(text), "[\"1\",\"1\",\"realtime:%s\",\"phx_join\","
			 "{\"config\":{\"postgres_changes\":[%s]}}]", topic, items);
	world_send(w, c, text);
}

/* A member of room 1 (and 2) who has joined. */
static hub_conn *
joined(world *w, int user, const char *topic, const char *items)
{
	hub_conn   *c = world_open(w, 2, user);
	int			asked = w->nasked;

	join(w, c, topic, items);
	if (w->nasked > asked)
		world_answer(w, (const int[]) {1, 2}, 2);
	world_skip(w, c);
	return c;
}

#define MESSAGES	"\"schema\":\"public\",\"table\":\"messages\""
#define ALL			"{\"event\":\"*\",\"schema\":\"public\"}"

static const char *
head_frame(hub_conn *c)
{
	const queue *q = hub_conn_queue(c);

	return q->count > 0 ? (const char *) q->entries[q->head].frame : NULL;
}

static event_header *
event_full(event_action action, int flags)
{
	static const char record[] =
		"{\"id\": \"i\", \"conversation_id\": \"c\", \"content\": \"x\", "
		"\"metadata\": {\"a\": [1.10, 12345678901234567890]}, \"seq\": 8}";
	static const char old[] =
		"{\"conversation_id\": \"c\", \"seq\": 7, \"id\": \"i\"}";
	event_header *e = event_new(EVENT_MESSAGES, action, 1, 1,
								action != EVENT_DELETE ? record : NULL,
								action != EVENT_INSERT ? old : NULL);

	e->flags = (uint8_t) flags;
	return e;
}

static void
content(void)
{
	world	   *w = world_new();
	hub_conn   *c = joined(w, 1, "x", "{\"event\":\"*\"," MESSAGES "}");
	const char *got;

	world_commit_one(w, event_full(EVENT_INSERT, 0));
	got = world_read(w, c);
	check(strstr(got, "\"metadata\": {\"a\": [1.10, 12345678901234567890]}"),
		  "values are passed on byte by byte");
	check(strstr(got, "old_record") == NULL, "INSERT has no old record");
	world_commit_one(w, event_full(EVENT_UPDATE, 0));
	expect_part(w, c, "\"seq\": 8},\"old_record\":{\"conversation_id\": \"c\", "
				"\"seq\": 7, \"id\": \"i\"},\"errors\":null}}]",
				"UPDATE has both records");
	world_commit_one(w, event_full(EVENT_DELETE, 0));
	got = world_read(w, c);
	check(strstr(got, "\"record\":") == NULL, "DELETE has no record");
	check(strstr(got, ",\"old_record\":{\"conv") != NULL, "but an old one");
	world_commit_one(w, event_full(EVENT_INSERT, EVENT_TOO_LARGE));
	expect_part(w, c, ",\"errors\":[\"Error 413: Payload Too Large\"]}}]",
				"too large");
	world_free(w);
}

static void
selection(void)
{
	world	   *w = world_new();
	hub_conn   *c = joined(w, 1, "x", "{\"event\":\"*\"," MESSAGES ","
						   "\"select\":[\"seq\",\"metadata\"]}");
	hub_conn   *d = joined(w, 2, "x", "{\"event\":\"*\"," MESSAGES ","
						   "\"select\":[\"metadata\",\"seq\",\"id\"]},"
						   "{\"event\":\"INSERT\"," MESSAGES "}");

	world_commit_one(w, event_full(EVENT_UPDATE, 0));
	check(head_frame(c) != head_frame(d), "other ids, other frames");
	expect_part(w, c, "\"columns\":[{\"name\":\"id\",\"type\":\"uuid\"},"
				"{\"name\":\"metadata\",\"type\":\"jsonb\"},"
				"{\"name\":\"seq\",\"type\":\"int8\"}],"
				"\"record\":{\"id\":\"i\",\"metadata\":{\"a\": [1.10, "
				"12345678901234567890]},\"seq\":8},"
				"\"old_record\":{\"seq\":7,\"id\":\"i\"}",
				"chosen columns and the key, in the table's order");
	world_skip(w, d);
	world_commit_one(w, event_full(EVENT_INSERT, 0));
	expect_part(w, d, "\"seq\":8},\"errors\"", "one frame for each selection");
	expect_part(w, d, "\"seq\": 8},\"errors\"", "and one for all columns");
	expect_nothing(w, d, "and no more");
	world_free(w);
}

static void
sharing(void)
{
	world	   *w = world_new();
	hub_conn   *a = joined(w, 1, "x", ALL);
	hub_conn   *b = joined(w, 2, "x", ALL);
	hub_conn   *other_topic = joined(w, 3, "y", ALL);
	hub_conn   *v1 = world_open(w, 1, 4);

	world_send(w, v1, "{\"topic\":\"realtime:x\",\"event\":\"phx_join\","
			   "\"payload\":{\"config\":{\"postgres_changes\":[" ALL "]}},"
			   "\"ref\":\"1\"}");
	world_answer(w, (const int[]) {1}, 1);
	world_skip(w, v1);
	world_commit_one(w, event_message(1, "hello"));
	check(head_frame(a) != NULL && head_frame(a) == head_frame(b),
		  "same topic and ids: the same frame");
	check(head_frame(a) != head_frame(other_topic), "another topic's is another");
	check(head_frame(a) != head_frame(v1), "another version's, too");
	check_int(((const frame *) head_frame(a))->refs, 2, "two references");
	hub_conn_close(a);
	expect_part(w, b, "hello", "a frame outlives one of its receivers");
	world_free(w);
}

static void
matching(void)
{
	static const struct
	{
		const char *item;
		bool		insert;
		bool		update;
		bool		delete;
	}			cases[] = {
		{"{\"event\":\"INSERT\"," MESSAGES "}", true, false, false},
		{"{\"event\":\"update\"," MESSAGES "}", false, true, false},
		{"{\"event\":\"DELETE\"," MESSAGES "}", false, false, true},
		{"{\"event\":\"whatever\"," MESSAGES "}", true, true, true},
		{"{\"event\":\"*\",\"table\":\"messages\"}", true, true, true},
		{"{\"event\":\"*\",\"schema\":\"*\"}", true, true, true},
		{"{\"event\":\"*\",\"schema\":\"*\",\"table\":\"*\"}", true, true, true},
		{"{\"event\":\"*\",\"schema\":\"public\",\"table\":\"conversations\"}",
		false, false, false},
		{"{\"event\":\"*\"," MESSAGES ",\"filter\":\"\"}", true, true, true},
		{"{\"event\":\"*\"," MESSAGES ",\"filter\":\"conversation_id=eq."
		"00000000-0000-0000-0000-000000000001\"}", true, true, true},
		{"{\"event\":\"*\"," MESSAGES ",\"filter\":\"conversation_id=eq."
		"00000000-0000-0000-0000-000000000002\"}", false, false, false},
		{"{\"event\":\"*\"," MESSAGES ",\"filter\":\"seq=eq.8\"}", true, true,
		false},
		{"{\"event\":\"*\"," MESSAGES ",\"filter\":\"seq=eq.7\"}", false, false,
		true},
		{"{\"event\":\"*\"," MESSAGES ",\"filter\":\"content=eq.x\"}", true,
		true, false},
		{"{\"event\":\"*\"," MESSAGES ",\"filter\":\"is_edited=is.null\"}",
		false, false, false},
		{"{\"event\":\"*\"," MESSAGES ",\"filter\":\"conversation_id=eq."
			"00000000-0000-0000-0000-000000000001,seq=gt.7\"}", true, true,
		false}
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		static const char *const roles[] = {"authenticated", "service_role"};

		for (int role = 0; role < 2; role++)
		{
			world	   *w = world_new();
			hub_conn   *c = world_open_role(w, 2, roles[role], 1 - role);

			join(w, c, "x", cases[i].item);
			if (role == 0)
				world_answer(w, (const int[]) {1}, 1);
			world_skip(w, c);
			world_commit_one(w, event_full(EVENT_INSERT, 0));
			check_int(world_read(w, c) != NULL, cases[i].insert,
					  "INSERT, %s: %s", roles[role], cases[i].item);
			world_commit_one(w, event_full(EVENT_UPDATE, 0));
			check_int(world_read(w, c) != NULL, cases[i].update,
					  "UPDATE, %s: %s", roles[role], cases[i].item);
			world_commit_one(w, event_full(EVENT_DELETE, 0));
			check_int(world_read(w, c) != NULL, cases[i].delete,
					  "DELETE, %s: %s", roles[role], cases[i].item);
			world_free(w);
		}
	}
}

/* All of a channel's matching ids stand in one frame. */
static void
ids_together(void)
{
	world	   *w = world_new();
	hub_conn   *c = joined(w, 1, "x", ALL ",{\"event\":\"INSERT\"," MESSAGES "},"
						   "{\"event\":\"DELETE\"," MESSAGES "}");
	unsigned	first;
	unsigned	second;

	world_commit_one(w, event_message(1, "x"));
	check_int(sscanf(world_read(w, c), "[null,null,\"realtime:x\","
					 "\"postgres_changes\",{\"ids\":[%u,%u],\"data\"",
					 &first, &second), 2, "two ids of three");
	expect_nothing(w, c, "in one frame");
	world_free(w);
}

static void
columns_change(void)
{
	static const char wider[] = "[{\"name\":\"id\",\"type\":\"uuid\"},"
		"{\"name\":\"extra\",\"type\":\"text\"}]";
	world	   *w = world_new();
	hub_conn   *c = joined(w, 1, "x", ALL);
	size_t		size = sizeof(event_header) + strlen(wider) + 2;
	event_header *e = calloc(1, size);

	e->magic = EVENT_MAGIC;
	e->size = (uint32_t) size;
	e->table = EVENT_MESSAGES;
	e->action = EVENT_INSERT;
	e->columns_len = (uint32_t) strlen(wider);
	e->record_len = 2;
	room_id(e->conversation_id, 1);
	memcpy(e + 1, wider, strlen(wider));
	memcpy((char *) (e + 1) + strlen(wider), "{}", 2);
	world_commit_one(w, e);
	expect_part(w, c, wider, "the event's own columns are told");
	join(w, c, "y", "{\"event\":\"*\"," MESSAGES ",\"select\":[\"extra\"]}");
	expect_part(w, c, "\"ok\"", "and may be asked for from then on");
	expect_part(w, c, "Subscribed", "with success");
	world_free(w);
}

static void
events_that_are_none(void)
{
	event_header *e = event_message(1, "x");
	uint32_t	size = e->size;

	check(hub_event_valid(e, size), "an event is one");
	check(!hub_event_valid(e, size - 1), "not when it is cut short");
	check(!hub_event_valid(e, sizeof(event_header) - 1), "nor without header");
	e->magic++;
	check(!hub_event_valid(e, size), "nor with another magic");
	e->magic--;
	e->table = EVENT_SOURCES;
	check(!hub_event_valid(e, size), "nor of an unknown table");
	e->table = EVENT_BROADCASTS;
	check(hub_event_valid(e, size), "a broadcast is one");
	e->action = EVENT_UPDATE;
	check(!hub_event_valid(e, size), "but not its change");
	e->action = EVENT_INSERT;
	e->table = EVENT_MESSAGES;
	e->action = 'X';
	check(!hub_event_valid(e, size), "nor with an unknown action");
	e->action = EVENT_INSERT;
	e->record_len += 1;
	check(!hub_event_valid(e, size), "nor with lengths beyond its end");
	e->columns_len -= 1;
	check(hub_event_valid(e, size), "lengths that add up are fine");
	e->columns_len = UINT32_MAX;
	e->record_len = size;
	check(!hub_event_valid(e, size), "nor with lengths that overflow");
	free(e);
}

/* A user whose filters cost too much does not hold up anybody else. */
static void
costly_filters(void)
{
	char		items[4096] = "";
	char		text[4096];
	world	   *w = world_new();
	hub_conn   *c;
	hub_conn   *d;

	for (int i = 0; i < 30; i++)
		sprintf(items + strlen(items), "%s{\"event\":\"*\"," MESSAGES ","
				"\"filter\":\"content=match.(a*)*[x%d]\"}",
				i > 0 ? "," : "", i);
	c = joined(w, 1, "x", items);
	d = joined(w, 2, "y", "{\"event\":\"*\"," MESSAGES ","
			   "\"filter\":\"content=match.a$\"}");
	memset(text, 'a', 3000);
	text[3000] = '\0';
	world_commit_one(w, event_message(1, text));
	expect_nothing(w, c, "filters that cannot be judged let nothing pass");
	check(world_read(w, d) != NULL, "others are judged as ever");
	world_free(w);
}

/* A frame above the limit reaches a reader who keeps up, and no other. */
static void
large_frames(void)
{
	char		text[3000];
	world	   *w = world_new();
	hub_conn   *c = joined(w, 1, "x", ALL);
	hub_conn   *slow = joined(w, 2, "x", ALL);

	w->config.max_queue_bytes = 2000;
	hub_set_config(w->h, &w->config);
	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	world_commit_one(w, event_message(2, "small"));
	world_skip(w, c);
	world_commit_one(w, event_message(2, text));
	check_int(w->nclosed, 1, "one is cut");
	check(w->closed[0].conn == slow, "the one that had not read");
	expect_part(w, c, text, "the other gets the large frame");
	world_free(w);
}

static double
seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

/* Ten thousand in rooms of two, then one room of a thousand. */
static void
ten_thousand(void)
{
	static hub_conn *conns[MANY];
	world	   *w = world_new();
	char		items[512];
	char		topic[64];
	double		start;
	uint64_t	frames;
	int			got = 0;

	for (int i = 0; i < MANY; i++)
	{
		int			room = i / 2;

		conns[i] = world_open(w, 2, i + 1);
		snprintf(topic, sizeof(topic), "room:%d", room);
		snprintf(items, sizeof(items), "{\"event\":\"*\"," MESSAGES ","
				 "\"filter\":\"conversation_id=eq.00000000-0000-0000-0000-"
				 "00000000%04x\"}", room);
		join(w, conns[i], topic, items);
		world_answer(w, &room, 1);
	}
	check_int((long long) hub_get_stats(w->h)->channels, MANY, "all joined");
	check_int((long long) hub_get_stats(w->h)->users, MANY, "as many users");
	for (int i = 0; i < MANY; i++)
		world_skip(w, conns[i]);

	frames = hub_get_stats(w->h)->frames;
	start = seconds();
	for (int room = 0; room < MANY / 2; room++)
		world_commit_one(w, event_message(room, "hello"));
	printf("# %d events to rooms of two: %.0f a second\n", MANY / 2,
		   MANY / 2 / (seconds() - start));
	check_int((long long) (hub_get_stats(w->h)->frames - frames), MANY,
			  "each event went to two");
	for (int i = 0; i < MANY; i++)
	{
		got += world_read(w, conns[i]) != NULL;
		got += world_read(w, conns[i]) != NULL;
	}
	check_int(got, MANY, "each reader got one");

	for (int i = 0; i < 1000; i++)
		world_commit_one(w, event_participant(EVENT_INSERT, 6000, i + 1));
	for (int i = 0; i < 1000; i++)
		join(w, conns[i], "big", "{\"event\":\"*\"," MESSAGES ","
			 "\"filter\":\"conversation_id=eq.00000000-0000-0000-0000-"
			 "000000001770\"}");
	for (int i = 0; i < MANY; i++)
		world_skip(w, conns[i]);
	frames = hub_get_stats(w->h)->frames;
	start = seconds();
	for (int i = 0; i < 100; i++)
		world_commit_one(w, event_message(6000, "hello"));
	printf("# 100 events to a room of 1000: %.0f frames a second\n",
		   100 * 1000 / (seconds() - start));
	check_int((long long) (hub_get_stats(w->h)->frames - frames), 100 * 1000,
			  "each event went to a thousand");
	check_int(((const frame *) head_frame(conns[0]))->refs, 1000,
			  "and was one frame");
	world_free(w);
}

int
main(void)
{
	content();
	selection();
	sharing();
	matching();
	ids_together();
	columns_change();
	events_that_are_none();
	costly_filters();
	large_frames();
	ten_thousand();
	return check_done();
}
