/*-------------------------------------------------------------------------
 *
 * membership_test.c
 *	  Who is a member when: snapshots that lie somewhere in the stream,
 *	  people who come and go, and what is taken back when they go.
 *
 *-------------------------------------------------------------------------
 */
#include "hub_world.h"

static const int room_1[] = {1};

static void
join(world *w, hub_conn *c, const char *items)
{
	char		text[4096];

	snprintf(text, sizeof(text), "[\"1\",\"1\",\"realtime:x\",\"phx_join\","
			 "{\"config\":{\"postgres_changes\":[%s]}}]", items);
	world_send(w, c, text);
}

#define ALL		"{\"event\":\"*\",\"schema\":\"public\"}"
#define PINNED	"{\"event\":\"*\",\"schema\":\"public\",\"table\":\"messages\"," \
	"\"filter\":\"conversation_id=eq.00000000-0000-0000-0000-000000000001\"}"

static bool
gets_change(world *w, hub_conn *c)
{
	const char *got = world_read(w, c);

	return got != NULL && strstr(got, "postgres_changes\",{\"ids\"") != NULL;
}

/*
 * A participant event of user 1 and room 1 comes before the answer, and the
 * snapshot sees it or not.  Is the user a member at the end?
 */
static void
event_while_loading(void)
{
	static const struct
	{
		const char *name;
		bool		before;		/* in the snapshot's content */
		event_action action;
		uint64_t	lsn;
		uint32_t	xid;
		bool		member;
	}			cases[] = {
		/* fence 1500, xmin 200, xmax 210, in progress 203 */
		{"joined before, seen", true, EVENT_INSERT, 1400, 150, true},
		{"left before, seen", false, EVENT_DELETE, 1400, 150, false},
		{"joined before the fence, not seen", false, EVENT_INSERT, 1450, 203,
		true},
		{"left before the fence, not seen", true, EVENT_DELETE, 1450, 203,
		false},
		{"joined before the fence, begun later", false, EVENT_INSERT, 1490,
		211, true},
		{"left before the fence, begun later", true, EVENT_DELETE, 1490, 211,
		false},
		{"joined behind the fence", false, EVENT_INSERT, 1600, 205, true},
		{"left behind the fence", true, EVENT_DELETE, 1600, 205, false},
		{"an old leave, seen, and joined again since", true, EVENT_DELETE,
		1400, 199, true},
		{"an old join, seen, and left again since", false, EVENT_INSERT, 1400,
		205, false}
	};
	static const uint32_t xip[] = {203};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		for (int late = 0; late < 2; late++)
		{
			world	   *w = world_new();
			hub_conn   *c = world_open(w, 2, 1);
			event_header *e = event_participant(cases[i].action, 1, 1);

			/* While the question is under way, or after the answer. */
			join(w, c, PINNED);
			if (!late)
				world_commit_as(w, cases[i].lsn, cases[i].xid, &e, 1);
			world_answer_at(w, 0, room_1, cases[i].before ? 1 : 0, 1500, 200,
							210, xip, 1);
			if (late)
				world_commit_as(w, cases[i].lsn, cases[i].xid, &e, 1);
			world_skip(w, c);
			w->lsn = 2000;
			world_commit_one(w, event_message(1, "x"));
			check(gets_change(w, c) == cases[i].member, "%s, %s answer",
				  cases[i].name, late ? "after" : "before");
			world_free(w);
		}
	}
}

/* What the snapshot has seen is not delivered. */
static void
seen_is_not_delivered(void)
{
	static const uint32_t xip[] = {203};
	world	   *w = world_new();
	hub_conn   *c = world_open(w, 2, 1);
	event_header *e;

	join(w, c, ALL);
	world_answer_at(w, 0, room_1, 1, 1500, 200, 210, xip, 1);
	world_skip(w, c);
	e = event_message(1, "x");
	world_commit_as(w, 1400, 150, &e, 1);
	expect_nothing(w, c, "a message that the snapshot saw");
	e = event_message(1, "x");
	world_commit_as(w, 1450, 203, &e, 1);
	check(gets_change(w, c), "a message before the fence, but not seen");
	e = event_message(1, "x");
	world_commit_as(w, 1501, 150, &e, 1);
	check(gets_change(w, c), "a message behind the fence");
	world_free(w);
}

/* Transaction ids go round: 5 comes after 4294967290. */
static void
ids_go_round(void)
{
	static const uint32_t xip[] = {4294967294U};
	static const struct
	{
		uint32_t	xid;
		bool		seen;
	}			cases[] = {
		{4294967280U, true}, {4294967294U, false}, {4294967295U, true},
		{3, true}, {9, true}, {10, false}, {11, false}
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		world	   *w = world_new();
		hub_conn   *c = world_open(w, 2, 1);
		event_header *e = event_message(1, "x");

		join(w, c, ALL);
		world_answer_at(w, 0, room_1, 1, 1500, 4294967290U, 10, xip, 1);
		world_skip(w, c);
		world_commit_as(w, 1400, cases[i].xid, &e, 1);
		check(gets_change(w, c) == !cases[i].seen, "transaction %u",
			  cases[i].xid);
		world_free(w);
	}
}

static void
come_and_go(void)
{
	world	   *w = world_new();
	hub_conn   *c = world_open(w, 2, 1);
	hub_conn   *d = world_open(w, 2, 2);
	event_header *events[4];

	join(w, c, ALL);
	world_answer(w, NULL, 0);
	join(w, d, ALL);
	world_answer(w, room_1, 1);
	world_skip(w, c);
	world_skip(w, d);

	/* One transaction; the message comes first, and its membership counts. */
	events[0] = event_message(1, "welcome");
	events[1] = event_participant(EVENT_INSERT, 1, 1);
	events[2] = event_new(EVENT_MESSAGES, EVENT_COMMIT, 0, 0, NULL, NULL);
	world_commit(w, events, 3);
	expect_part(w, c, "welcome", "the new member sees the transaction");
	expect_part(w, c, "\"table\":\"conversation_participants\"",
				"and her own joining");
	world_skip(w, d);

	/* Removed in the transaction in which a message is written. */
	events[0] = event_participant(EVENT_DELETE, 1, 1);
	events[1] = event_message(1, "secret");
	world_commit(w, events, 2);
	expect_part(w, c, "\"type\":\"DELETE\"", "who is removed is told so");
	expect_nothing(w, c, "and nothing else");
	expect_part(w, d, "\"type\":\"DELETE\"", "the others are told, too");
	expect_part(w, d, "secret", "and go on reading");
	world_commit_one(w, event_participant(EVENT_DELETE, 1, 2));
	expect_nothing(w, c, "the next removal is none of her business");
	world_skip(w, d);

	/* In and out in one transaction leaves nothing. */
	events[0] = event_participant(EVENT_INSERT, 1, 1);
	events[1] = event_message(1, "x");
	events[2] = event_participant(EVENT_DELETE, 1, 1);
	world_commit(w, events, 3);
	world_commit_one(w, event_message(1, "y"));
	expect_nothing(w, c, "who was never in is told nothing");
	/* Out and in again. */
	events[0] = event_participant(EVENT_INSERT, 1, 1);
	world_commit(w, events, 1);
	world_skip(w, c);
	events[0] = event_participant(EVENT_DELETE, 1, 1);
	events[1] = event_participant(EVENT_INSERT, 1, 1);
	events[2] = event_message(1, "z");
	world_commit(w, events, 3);
	expect_part(w, c, "\"type\":\"DELETE\"", "out");
	expect_part(w, c, "\"type\":\"INSERT\"", "and in");
	expect_part(w, c, "\"z\"", "is in");
	world_free(w);
}

static void
conversation_deleted(void)
{
	world	   *w = world_new();
	hub_conn   *c = world_open(w, 2, 1);
	hub_conn   *d = world_open(w, 2, 2);
	hub_conn   *stranger = world_open(w, 2, 3);
	event_header *events[4];

	join(w, c, ALL);
	world_answer(w, room_1, 1);
	join(w, d, ALL);
	world_answer(w, room_1, 1);
	join(w, stranger, ALL);
	world_answer(w, NULL, 0);
	world_skip(w, c);
	world_skip(w, stranger);
	events[0] = event_new(EVENT_CONVERSATIONS, EVENT_DELETE, 1, 0, NULL,
						  "{\"id\":\"1\"}");
	events[1] = event_participant(EVENT_DELETE, 1, 1);
	events[2] = event_participant(EVENT_DELETE, 1, 2);
	events[3] = event_new(EVENT_MESSAGES, EVENT_DELETE, 1, 0, NULL,
						  "{\"id\":\"1\"}");
	world_commit(w, events, 4);
	expect_part(w, c, "\"conversations\"", "those who lost it are told of it");
	expect_part(w, c, "\"conversation_participants\"", "and of themselves");
	expect_part(w, c, "\"conversation_participants\"", "and of the other");
	expect_nothing(w, c, "but not of its messages");
	expect_nothing(w, stranger, "strangers are told nothing");
	world_free(w);
}

static void
queued_frames_are_taken_back(void)
{
	world	   *w = world_new();
	hub_conn   *c = world_open(w, 2, 1);
	uint8_t		bytes[8192];
	size_t		len;

	join(w, c, ALL);
	world_answer(w, (const int[]) {1, 2}, 2);
	world_skip(w, c);
	world_commit_one(w, event_message(1, "first"));
	len = queue_take(hub_conn_queue(c), bytes, 10);
	world_commit_one(w, event_message(1, "secret"));
	world_commit_one(w, event_message(2, "other"));
	world_commit_one(w, event_message(1, "secret"));
	world_commit_one(w, event_participant(EVENT_DELETE, 1, 1));

	len += queue_take(hub_conn_queue(c), bytes + 10, sizeof(bytes) - 10);
	expect_nothing(w, c, "all is written");
	check(memmem(bytes, len, "first", 5) != NULL,
		  "a frame once started is ended");
	check(memmem(bytes, len, "secret", 6) == NULL,
		  "what was not yet written is taken back");
	check(memmem(bytes, len, "other", 5) != NULL,
		  "other conversations are not");
	check(memmem(bytes, len, "\"DELETE\"", 8) != NULL,
		  "the removal is told");
	world_free(w);
}

/* Who is put out and in again in one transaction loses nothing. */
static void
not_taken_back(void)
{
	world	   *w = world_new();
	hub_conn   *c = world_open(w, 2, 1);
	event_header *events[2];

	join(w, c, ALL);
	world_answer(w, room_1, 1);
	world_skip(w, c);
	world_commit_one(w, event_message(1, "before"));
	events[0] = event_participant(EVENT_DELETE, 1, 1);
	events[1] = event_participant(EVENT_INSERT, 1, 1);
	world_commit(w, events, 2);
	expect_part(w, c, "before", "what was queued before stays");
	expect_part(w, c, "\"DELETE\"", "then out");
	expect_part(w, c, "\"INSERT\"", "and in");

	/* In, out, in and out: was there before, and is not any more. */
	world_commit_one(w, event_message(1, "secret"));
	for (int i = 0; i < 3; i++)
	{
		event_header *e = event_participant(i % 2 == 0 ? EVENT_DELETE :
											EVENT_INSERT, 1, 1);

		e->commit_lsn = w->lsn + 1;
		hub_learn(w->h, e);
		free(e);
	}
	events[0] = event_participant(EVENT_DELETE, 1, 1);
	events[0]->commit_lsn = w->lsn + 1;
	hub_route(w->h, (const event_header *const *) events, 1);
	hub_commit(w->h);
	free(events[0]);
	expect_part(w, c, "\"DELETE\"", "taken back, and told");
	world_free(w);
}

/* What waits for a channel goes with the channel. */
static void
taken_back_with_the_channel(void)
{
	static const struct
	{
		const char *name;
		const char *text;
	}			cases[] = {
		{"left", "[\"1\",\"2\",\"realtime:x\",\"phx_leave\",{}]"},
		{"joined again", "[\"2\",\"2\",\"realtime:x\",\"phx_join\","
		"{\"config\":{\"postgres_changes\":[" ALL "]}}]"},
		{"another token", NULL},
	};
	char		other[1024];
	char	   *token = token_for("authenticated", 2, NOW + 3600);

	snprintf(other, sizeof(other), "[\"1\",null,\"realtime:x\","
			 "\"access_token\",{\"access_token\":\"%s\"}]", token);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		world	   *w = world_new();
		hub_conn   *c = world_open(w, 2, 1);
		uint8_t		bytes[8192];
		size_t		len;

		join(w, c, ALL);
		world_answer(w, room_1, 1);
		world_skip(w, c);
		world_commit_one(w, event_message(1, "first"));
		len = queue_take(hub_conn_queue(c), bytes, 10);
		world_commit_one(w, event_message(1, "secret"));
		world_send(w, c, cases[i].text ? cases[i].text : other);
		len += queue_take(hub_conn_queue(c), bytes + 10, sizeof(bytes) - 10);
		check(memmem(bytes, len, "first", 5) != NULL,
			  "%s: a frame once started is ended", cases[i].name);
		check(memmem(bytes, len, "secret", 6) == NULL,
			  "%s: the rest is taken back", cases[i].name);
		world_free(w);
	}
	free(token);
}

/* A large transaction: memberships first, and then its events in pieces. */
static void
in_pieces(void)
{
	world	   *w = world_new();
	hub_conn   *in = world_open(w, 2, 1);
	hub_conn   *out = world_open(w, 2, 2);
	hub_conn   *late = world_open(w, 2, 3);
	event_header *events[4];

	join(w, in, ALL);
	world_answer(w, NULL, 0);
	join(w, out, ALL);
	world_answer(w, room_1, 1);
	world_skip(w, in);
	world_skip(w, out);
	world_commit_one(w, event_message(1, "before"));
	join(w, late, ALL);

	events[0] = event_message(1, "one");
	events[1] = event_participant(EVENT_DELETE, 1, 2);
	events[2] = event_participant(EVENT_INSERT, 1, 1);
	events[3] = event_participant(EVENT_INSERT, 1, 3);
	for (int i = 0; i < 4; i++)
	{
		events[i]->commit_lsn = w->lsn + 100;
		events[i]->xid = w->xid + 1;
		events[i]->ordinal = (uint32_t) i;
		hub_learn(w->h, events[i]);
	}

	/* Somebody's memberships come in between, from before the commit. */
	hub_route(w->h, (const event_header *const *) events, 1);
	world_answer(w, NULL, 0);
	for (int i = 1; i < 4; i++)
		hub_route(w->h, (const event_header *const *) events + i, 1);
	hub_commit(w->h);
	for (int i = 0; i < 4; i++)
		free(events[i]);

	expect_part(w, in, "\"one\"", "who is added gets all of it");
	expect_part(w, in, "\"DELETE\"", "who was put out");
	expect_part(w, in, "\"INSERT\"", "who came");
	expect_part(w, in, "\"INSERT\"", "and who came, too");
	expect_part(w, out, "\"DELETE\"", "who is removed is told only that");
	expect_nothing(w, out, "of all pieces");
	expect_part(w, late, "\"ok\"", "who joins meanwhile is answered");
	expect_part(w, late, "Subscribed", "and subscribed");
	expect_part(w, late, "\"DELETE\"", "and told the rest");
	world_commit_one(w, event_message(1, "after"));
	expect_nothing(w, out, "the lost are forgotten");
	world_free(w);
}

/* What a message said is not written after its tombstone. */
static void
tombstones(void)
{
	static const event_action actions[] = {EVENT_UPDATE, EVENT_DELETE};

	for (int i = 0; i < 2; i++)
	{
		world	   *w = world_new();
		hub_conn   *c = world_open(w, 2, 1);
		hub_conn   *service = world_open_role(w, 2, "service_role", 0);
		hub_conn   *both[] = {c, service};
		event_header *e;

		join(w, c, ALL);
		world_answer(w, (const int[]) {1, 2}, 2);
		join(w, service, "{\"event\":\"INSERT\",\"schema\":\"public\"}");
		world_skip(w, c);
		world_skip(w, service);
		for (int n = 0; n < 4; n++)
		{
			e = event_message(n == 2 ? 2 : 1, n == 0 ? "secret" : "other");
			e->seq = n == 1 ? 8 : 7;
			if (n == 3)
			{
				e->action = actions[i];
				e->flags |= EVENT_TOMBSTONE;
			}
			world_commit_one(w, e);
		}
		for (int n = 0; n < 2; n++)
		{
			expect_part(w, both[n], "other", "another message stays");
			expect_part(w, both[n], "other", "one of another room, too");
		}
		expect_part(w, c, actions[i] == EVENT_UPDATE ? "UPDATE" : "DELETE",
					"the tombstone comes");
		expect_nothing(w, service, "to who asked for it");
		world_free(w);
	}
}

static void
shared_by_connections(void)
{
	world	   *w = world_new();
	hub_conn   *c = world_open(w, 2, 1);
	hub_conn   *d = world_open(w, 1, 1);

	join(w, c, ALL);
	world_send(w, d, "{\"topic\":\"realtime:x\",\"event\":\"phx_join\","
			   "\"payload\":{\"config\":{\"postgres_changes\":[" ALL "]}},"
			   "\"ref\":\"1\"}");
	check_int(w->nasked, 1, "two connections of a profile, one question");
	world_answer(w, room_1, 1);
	world_skip(w, c);
	expect_part(w, d, "\"ok\"", "both are answered");
	check_int(hub_get_stats(w->h)->users, 1, "one user in memory");
	hub_conn_close(c);
	check_int(hub_get_stats(w->h)->users, 1, "kept for the other");
	hub_conn_close(d);
	check_int(hub_get_stats(w->h)->users, 0, "and dropped with the last");
	world_free(w);
}

static void
loads_that_fail(void)
{
	world	   *w = world_new();
	hub_conn   *c = world_open(w, 2, 1);
	event_snapshot bad = {.nids = 5};

	w->refuse_loads = true;
	join(w, c, ALL);
	check_int(w->nasked, 0, "nobody to ask");
	w->refuse_loads = false;
	world_wait(w, 1);
	check_int(w->nasked, 1, "asked later");
	hub_user_failed(w->h, w->asked[0].ticket, "no");
	world_wait(w, 2);
	expect_part(w, c, "UnableToConnectToProject", "failed: the join is, too");
	check_int(hub_get_stats(w->h)->users, 0, "the user is forgotten");
	hub_user_failed(w->h, w->asked[0].ticket, "no");
	check(world_answer(w, room_1, 1), "answers that come late are passed over");

	join(w, c, ALL);
	check(!hub_user_loaded(w->h, w->asked[1].ticket, &bad, sizeof(bad)),
		  "a malformed answer is refused");
	world_wait(w, 2);
	expect_part(w, c, "UnableToConnectToProject", "and fails the join");

	join(w, c, ALL);
	for (int i = 0; i < 1025; i++)
		world_commit_one(w, event_participant(EVENT_INSERT, i + 10, 1));
	check_int(w->nasked, 3, "too many changes meanwhile: the answer is void");
	world_wait(w, 1);
	check_int(w->nasked, 4, "and the question asked again");
	world_answer_at(w, 2, NULL, 0, w->lsn, 0, 0, NULL, 0);
	expect_nothing(w, c, "the void answer has no effect");
	world_answer(w, room_1, 1);
	expect_part(w, c, "\"ok\"", "the new one has");
	world_free(w);
}

/* Who goes while waiting is not waited for. */
static void
gone_while_waiting(void)
{
	world	   *w = world_new();
	hub_conn   *c = world_open(w, 2, 1);
	hub_conn   *d = world_open(w, 2, 1);
	hub_conn   *late;

	join(w, c, ALL);
	join(w, d, ALL);
	world_send(w, c, "[\"1\",\"2\",\"realtime:x\",\"phx_leave\",{}]");
	expect_part(w, c, "phx_reply", "left before the answer");
	expect_part(w, c, "phx_close", "and closed");
	hub_conn_close(d);
	check_int(hub_get_stats(w->h)->users, 0, "nobody waits");
	world_answer(w, room_1, 1);
	expect_nothing(w, c, "the answer has no effect");

	hub_set_live(w->h, false);
	join(w, c, ALL);
	join(w, c, ALL);
	late = world_open(w, 2, 2);
	join(w, late, ALL);
	hub_conn_close(late);
	hub_set_live(w->h, true);
	check_int(w->nasked, 2, "one of three still wants to be answered");
	world_answer(w, room_1, 1);
	expect_part(w, c, "phx_reply", "she is");
	join(w, c, PINNED);
	join(w, c, "{\"event\":\"*\",\"schema\":\"public\",\"table\":\"messages\","
		 "\"filter\":\"conversation_id=eq.00000000-0000-0000-0000-"
		 "000000000009\"}");
	hub_conn_close(c);
	world_commit_one(w, event_message(1, "x"));
	check_int(hub_get_stats(w->h)->channels, 0, "nothing is left behind");
	world_free(w);
}

static void
truncate_and_reset(void)
{
	world	   *w = world_new();
	hub_conn   *c = world_open(w, 2, 1);

	join(w, c, ALL);
	world_answer(w, room_1, 1);
	world_skip(w, c);
	world_commit_one(w, event_new(EVENT_MESSAGES, EVENT_TRUNCATE, 0, 0, NULL,
								  NULL));
	expect_nothing(w, c, "truncated messages are not told");
	check_int(w->nclosed, 0, "and close nothing");
	world_commit_one(w, event_new(EVENT_PARTICIPANTS, EVENT_TRUNCATE, 0, 0,
								  NULL, NULL));
	check_int(w->nclosed, 1, "truncated participants do");
	check_int(w->closed[0].code, HUB_CLOSE_RESTART, "with code 1012");
	check_int(hub_get_stats(w->h)->users, 0, "and nobody is a member");
	world_free(w);
}

int
main(void)
{
	event_while_loading();
	seen_is_not_delivered();
	ids_go_round();
	come_and_go();
	conversation_deleted();
	queued_frames_are_taken_back();
	not_taken_back();
	taken_back_with_the_channel();
	in_pieces();
	tombstones();
	shared_by_connections();
	loads_that_fail();
	gone_while_waiting();
	truncate_and_reset();
	return check_done();
}
