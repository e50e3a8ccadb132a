/*-------------------------------------------------------------------------
 *
 * replay_test.c
 *	  Broadcasts out of the database that were before a join.
 *
 *-------------------------------------------------------------------------
 */
#include "talk.h"

#define NAME		"room:" ROOM_1
#define WANTED		"\"private\":true,\"broadcast\":{\"replay\":{\"since\":5}}"

/* Somebody who asks; the join is answered when the replay is. */
static hub_conn *
asker(world *w, int vsn, int user)
{
	hub_conn   *c = world_open(w, vsn, user);

	talk_ask(w, c, vsn, "7", TOPIC, WANTED);
	return c;
}

static event_header *
spoken(int number)
{
	char		event[16];

	snprintf(event, sizeof(event), "e%d", number);
	return event_broadcast_as(number, 1, NAME, event, "{}");
}

/* Answer with the broadcasts of these numbers, read at a place. */
static void
answer(world *w, uint64_t fence, int first, int last)
{
	char	   *data = calloc(last - first + 2, 8192);
	size_t		len = 0;

	for (int i = first; i <= last; i++)
	{
		event_header *e = spoken(i);

		e->commit_lsn = fence;
		memcpy(data + len, e, e->size);
		len += (e->size + 7) / 8 * 8;
		free(e);
	}
	hub_replayed(w->h, w->replay.ticket, data, len);
	free(data);
}

static void
expect_replayed(world *w, hub_conn *c, int number)
{
	char		text[256];

	snprintf(text, sizeof(text), "[\"7\",null,\"" TOPIC "\",\"broadcast\","
			 "{\"type\":\"broadcast\",\"event\":\"e%d\",\"payload\":{},"
			 "\"meta\":{\"id\":\"22222222-0000-7000-8000-%012d\","
			 "\"replayed\":true}}]", number, number);
	expect(w, c, text, "%d is replayed", number);
}

static void
expect_live(world *w, hub_conn *c, int number)
{
	char		text[64];

	snprintf(text, sizeof(text), "-%012d\"}}]", number);
	expect_part(w, c, text, "%d comes live", number);
}

static void
forms(void)
{
	world	   *w = world_new();
	hub_conn   *c = asker(w, 2, 1);
	hub_conn   *old;

	check_int(w->replay.asked, 1, "it is asked for");
	check_int(w->replay.since, 5, "since a time");
	check_int(w->replay.limit, 25, "as many as there may be");
	check_str(w->replay.topic, NAME, "of the topic");
	expect_nothing(w, c, "the join waits for it");
	answer(w, 2000, 1, 3);
	expect_part(w, c, "\"status\":\"ok\"", "then it is answered");
	for (int i = 1; i <= 3; i++)
		expect_replayed(w, c, i);
	expect_nothing(w, c, "and that is all");

	old = asker(w, 1, 2);
	answer(w, 2000, 1, 1);
	expect_part(w, old, "\"status\":\"ok\"", "the first version, too");
	expect_part(w, old, "\"replayed\":true", "gets it");

	c = asker(w, 2, 3);
	answer(w, 2000, 1, 0);
	expect_part(w, c, "\"status\":\"ok\"", "when there is nothing");
	expect_nothing(w, c, "nothing comes");
	world_free(w);
}

/* What a client may ask for, and how it is refused. */
static void
options(void)
{
#define PROBLEM(p) "\"reason\":\"UnableToReplayMessages: " p "\""
	static const struct
	{
		const char *config;
		const char *problem;	/* or NULL */
		int			limit;
	}			cases[] = {
		{"\"broadcast\":{\"replay\":{\"since\":1}}",
		PROBLEM("Replay is not allowed for public channels")},
		{"\"private\":true,\"broadcast\":{\"replay\":{}}",
		PROBLEM("Replay params are not valid")},
		{"\"private\":true,\"broadcast\":{\"replay\":true}",
		PROBLEM("Replay params are not valid")},
		{"\"private\":true,\"broadcast\":{\"replay\":{\"since\":\"1\"}}",
		PROBLEM("Replay params are not valid")},
		{"\"private\":true,\"broadcast\":{\"replay\":{\"since\":-1}}",
		PROBLEM("Replay params are not valid")},
		{"\"private\":true,\"broadcast\":{\"replay\":{\"since\":1e3}}",
		PROBLEM("Replay params are not valid")},
		{"\"private\":true,\"broadcast\":{\"replay\":"
			"{\"since\":9000000000000000}}",
		PROBLEM("Replay params are not valid")},
		{"\"private\":true,\"broadcast\":{\"replay\":"
			"{\"since\":1,\"limit\":\"9\"}}",
		PROBLEM("Replay params are not valid")},
		{"\"private\":true,\"broadcast\":{\"replay\":null}", NULL, 0},
		{"\"private\":true,\"broadcast\":{\"replay\":false}", NULL, 0},
		{"\"private\":true,\"broadcast\":{\"replay\":"
		"{\"since\":0,\"limit\":9}}", NULL, 9},
		{"\"private\":true,\"broadcast\":{\"replay\":"
		"{\"since\":0,\"limit\":0}}", NULL, 1},
		{"\"private\":true,\"broadcast\":{\"replay\":"
		"{\"since\":0,\"limit\":1000}}", NULL, 25},
		{"\"private\":true,\"broadcast\":{\"replay\":"
		"{\"since\":0,\"limit\":null}}", NULL, 25},
	};
	world	   *w = world_new();

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		hub_conn   *c = world_open(w, 2, 1);

		w->replay.limit = 0;
		talk_ask(w, c, 2, "1", TOPIC, cases[i].config);
		check_int(w->replay.limit, cases[i].limit, "limit: %s",
				  cases[i].config);
		world_wait(w, 3);
		if (cases[i].problem)
			expect_part(w, c, cases[i].problem, "%s", cases[i].config);
		else if (cases[i].limit == 0)
			expect_part(w, c, "\"status\":\"ok\"", "%s", cases[i].config);
		hub_conn_close(c);
	}
	world_free(w);
}

/* Broadcasts that come while others are read, and some of the same. */
static void
meanwhile(void)
{
	world	   *w = world_new();
	hub_conn   *c = asker(w, 2, 1);
	hub_conn   *other = talk_join(w, 2, 2, "\"private\":true");
	uint64_t	fence;

	world_commit_one(w, spoken(3));
	world_commit_one(w, spoken(4));
	expect_live(w, other, 3);
	expect_live(w, other, 4);
	expect_nothing(w, c, "who waits hears nothing");
	fence = w->lsn + 200;
	answer(w, fence, 1, 3);
	expect_part(w, c, "\"status\":\"ok\"", "the answer");
	for (int i = 1; i <= 3; i++)
		expect_replayed(w, c, i);
	expect_live(w, c, 4);
	expect_nothing(w, c, "each once");

	while (w->lsn + 1 < fence)
		world_commit_one(w, spoken(2));
	expect_nothing(w, c, "also when the stream is behind");
	world_commit_one(w, spoken(5));
	world_commit_one(w, spoken(6));
	expect_live(w, c, 5);
	expect_live(w, c, 6);
	world_commit_one(w, spoken(1));
	expect_live(w, c, 1);
	world_free(w);
}

/* More than can be held back. */
static void
flood(void)
{
	world	   *w = world_new();
	hub_conn   *c = asker(w, 2, 1);

	for (int i = 0; i < 101; i++)
		world_commit_one(w, spoken(100 + i));
	answer(w, w->lsn - 1, 1, 1);
	expect_nothing(w, c, "the answer is of no use");
	check_int(w->replay.asked, 2, "it is asked for again");
	answer(w, w->lsn + 1, 190, 200);
	expect_part(w, c, "\"status\":\"ok\"", "and answered");
	for (int i = 190; i <= 200; i++)
		expect_replayed(w, c, i);
	expect_nothing(w, c, "with that");

	c = asker(w, 2, 1);
	for (int tries = 0; tries < 3; tries++)
	{
		for (int i = 0; i < 101; i++)
			world_commit_one(w, spoken(100 + i));
		answer(w, w->lsn - 1, 1, 1);
	}
	world_wait(w, 2);
	expect_part(w, c, "Realtime was unable to replay messages",
				"in the end it is given up");
	world_free(w);
}

static void
failures(void)
{
	world	   *w = world_new();
	hub_conn   *c;

	talk_join(w, 2, 1, "");		/* the user stays known */
	c = asker(w, 2, 1);
	hub_replayed(w->h, w->replay.ticket, NULL, 0);
	world_wait(w, 2);
	expect_part(w, c, "Realtime was unable to replay messages", "no answer");

	c = asker(w, 2, 1);
	hub_replayed(w->h, w->replay.ticket, "nonsense", 8);
	world_wait(w, 2);
	expect_part(w, c, "Realtime was unable to replay messages", "nonsense");

	c = asker(w, 2, 1);
	answer(w, 1, 1, 26);
	world_wait(w, 2);
	expect_part(w, c, "Realtime was unable to replay messages", "too many");

	w->refuse_loads = true;
	c = asker(w, 2, 1);
	world_wait(w, 4);
	expect_part(w, c, "Realtime was unable to replay messages",
				"nobody to ask");
	w->refuse_loads = false;

	c = asker(w, 2, 1);
	world_wait(w, 9);
	expect_part(w, c, "Realtime was unable to replay messages", "too late");
	answer(w, 1, 1, 1);
	expect_nothing(w, c, "an answer that nobody waits for");

	c = asker(w, 2, 1);
	hub_conn_close(c);
	answer(w, 1, 1, 1);
	check(true, "who has gone is not told");
	world_free(w);
}

/* Removed while it is read. */
static void
removed(void)
{
	world	   *w = world_new();
	hub_conn   *c = asker(w, 2, 1);

	world_commit_one(w, spoken(3));
	world_commit_one(w, event_participant(EVENT_DELETE, 1, 1));
	world_commit_one(w, spoken(4));
	answer(w, w->lsn, 1, 2);
	expect_nothing(w, c, "who is no member hears nothing");
	world_commit_one(w, event_participant(EVENT_INSERT, 1, 1));
	check_int(w->replay.asked, 2, "who is one again asks again");
	answer(w, w->lsn, 1, 2);
	expect_part(w, c, "\"status\":\"ok\"", "and is answered");
	expect_replayed(w, c, 1);
	expect_replayed(w, c, 2);
	expect_nothing(w, c, "with what was read then");
	world_free(w);
}

/* A second join of the topic, and leaving. */
static void
again(void)
{
	world	   *w = world_new();
	hub_conn   *c = asker(w, 2, 1);
	uint64_t	first = w->replay.ticket;

	talk_ask(w, c, 2, "7", TOPIC, WANTED);
	check_int(w->replay.asked, 2, "each join asks");
	hub_replayed(w->h, first, "", 0);
	expect_nothing(w, c, "the first one is over");
	answer(w, 1, 1, 1);
	expect_part(w, c, "\"status\":\"ok\"", "the second one is answered");
	expect_part(w, c, "phx_close", "the first one is closed");
	expect_replayed(w, c, 1);
	world_send(w, c, "[\"7\",\"8\",\"" TOPIC "\",\"phx_leave\",{}]");
	expect_part(w, c, "\"status\":\"ok\"", "it may leave");
	world_free(w);
}

int
main(void)
{
	forms();
	options();
	meanwhile();
	flood();
	failures();
	removed();
	again();
	return check_done();
}
