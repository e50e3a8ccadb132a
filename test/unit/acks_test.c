/*-------------------------------------------------------------------------
 *
 * acks_test.c
 *	  What has arrived: who is pinged and when, and which receipts come out of
 *	  the pongs.
 *
 * In each test, user n is a member of the rooms that join() names.
 *
 *-------------------------------------------------------------------------
 */
#include "hub_world.h"

#define PING	0x89

/* A connection that follows all messages of its user, with a filter or not. */
static hub_conn *
join_filtered(world *w, int user, const int *rooms, uint32_t nrooms,
			  const char *filter)
{
	hub_conn   *c = world_open(w, 2, user);
	char		text[512];
	int			asked = w->nasked;

	snprintf(text, sizeof(text), "[\"1\",\"1\",\"realtime:all\",\"phx_join\","
			 "{\"config\":{\"postgres_changes\":[{\"event\":\"*\","
			 "\"schema\":\"public\",\"table\":\"messages\"%s%s%s}]}}]",
			 filter ? ",\"filter\":\"" : "", filter ? filter : "",
			 filter ? "\"" : "");
	world_send(w, c, text);
	if (w->nasked > asked)
		world_answer(w, rooms, nrooms);
	world_skip(w, c);
	return c;
}

static hub_conn *
join(world *w, int user)
{
	static const int rooms[] = {1, 2};

	return join_filtered(w, user, rooms, 2, NULL);
}

/* One that follows the messages of room 2 by name. */
static hub_conn *
join_pinned(world *w, int user)
{
	return join_filtered(w, user, NULL, 0, "conversation_id=eq."
						 "00000000-0000-0000-0000-000000000002");
}

static void
say(world *w, int room, int sender, int64_t seq)
{
	event_header *e = event_message(room, seq % 2 ? "odd" : "even");

	if (sender > 0)
		user_id(e->profile_id, sender);
	e->seq = seq;
	world_commit_one(w, e);
}

/* Read all that waits; the number of a ping that was the last, or 0. */
static uint64_t
read_ping(world *w, hub_conn *c)
{
	uint64_t	number = 0;
	uint8_t		bytes[16384];
	size_t		len;

	while ((len = queue_take(hub_conn_queue(c), bytes, sizeof(bytes))) > 0)
	{
		number = 0;
		if (len >= 10 && bytes[len - 10] == PING && bytes[len - 9] == 8)
			memcpy(&number, bytes + len - 8, 8);
	}
	(void) w;
	return number;
}

static void
pong(world *w, hub_conn *c, uint64_t number)
{
	hub_conn_pong(c, (char *) &number, sizeof(number), w->now);
}

/* Let a second pass, and answer the ping if there is one. */
static bool
acknowledge(world *w, hub_conn *c)
{
	uint64_t	number;

	world_wait(w, 1);
	number = read_ping(w, c);
	if (number != 0)
		pong(w, c, number);
	return number != 0;
}

/* All receipts that wait must be these: "room user first last, ...". */
#define expect_receipts(w, wanted, ...) \
	check_receipts(w, wanted, __FILE__, __LINE__, __VA_ARGS__)

static void __attribute__((format(printf, 5, 6)))
check_receipts(world *w, const char *wanted, const char *file, int line,
			   const char *format,...)
{
	hub_receipt r[100];
	size_t		n = hub_take_receipts(w->h, r, 100);
	char		got[4096] = "";
	va_list		args;

	for (size_t i = 0; i < n; i++)
		snprintf(got + strlen(got), sizeof(got) - strlen(got),
				 "%s%d %d %lld %lld", i > 0 ? ", " : "",
				 r[i].conversation_id[15], r[i].profile_id[15],
				 (long long) r[i].first, (long long) r[i].last);
	va_start(args, format);
	if (!check_vresult(strcmp(got, wanted) == 0, file, line, format, args))
		printf("# got \"%s\", wanted \"%s\"\n", got, wanted);
	va_end(args);
}

static void
one_client(void)
{
	world	   *w = world_new();
	hub_conn   *c = join(w, 1);
	uint64_t	number;

	world_wait(w, 3);
	check_int(read_ping(w, c), 0, "who is sent nothing is not pinged");
	say(w, 1, 2, 7);
	check_int(read_ping(w, c), 0, "no ping with the message");
	world_wait(w, 1);
	number = read_ping(w, c);
	check(number != 0, "a ping within a second");
	expect_receipts(w, "", "no receipt before the pong");
	say(w, 1, 2, 8);
	world_wait(w, 3);
	check_int(read_ping(w, c), 0, "one ping at a time");
	pong(w, c, number + 1);
	hub_conn_pong(c, "", 0, w->now);
	hub_conn_pong(c, (char *) &number, 7, w->now);
	expect_receipts(w, "", "a pong of another ping says nothing");
	check_int(hub_receipts_due(w->h), 0, "nothing to do yet");
	pong(w, c, number);
	check(hub_receipts_due(w->h) > w->now &&
		  hub_receipts_due(w->h) < w->now + 1000000, "soon there is");
	expect_receipts(w, "1 1 7 7", "what was sent before the ping");
	check_int(hub_receipts_due(w->h), 0, "nothing to do any more");
	pong(w, c, number);
	expect_receipts(w, "", "the same pong again says nothing");
	acknowledge(w, c);
	expect_receipts(w, "1 1 8 8", "the message behind the ping");
	check(!acknowledge(w, c), "then there is no ping any more");
	world_free(w);
}

static void
ranges(void)
{
	world	   *w = world_new();
	hub_conn   *c = join(w, 1);

	for (int seq = 1; seq <= 5; seq++)
		say(w, 1, 2, seq);
	say(w, 2, 3, 1);
	say(w, 1, 2, 6);
	say(w, 2, 3, 3);
	acknowledge(w, c);
	expect_receipts(w, "1 1 1 6, 2 1 1 1, 2 1 3 3",
					"a range for each conversation, and no gap in any");
	say(w, 1, 1, 7);
	check(!acknowledge(w, c), "the own message asks for no ping");
	say(w, 1, 2, 8);
	say(w, 1, 1, 9);
	say(w, 1, 0, 10);
	acknowledge(w, c);
	expect_receipts(w, "1 1 8 8, 1 1 10 10", "nor is it in a receipt");
	world_free(w);
}

static void
filtered(void)
{
	static const int rooms[] = {1};
	world	   *w = world_new();
	hub_conn   *c = join_filtered(w, 1, rooms, 1, "content=eq.odd");

	for (int seq = 1; seq <= 6; seq++)
		say(w, 1, 2, seq);
	acknowledge(w, c);
	expect_receipts(w, "1 1 1 1, 1 1 3 3, 1 1 5 5",
					"what a filter keeps back has not arrived");
	world_free(w);
}

static void
other_events(void)
{
	world	   *w = world_new();
	hub_conn   *c = join(w, 1);
	hub_conn   *service = world_open_role(w, 2, "service_role", 0);
	hub_conn   *silent = world_open(w, 2, 1);
	event_header *e = event_new(EVENT_MESSAGES, EVENT_UPDATE, 1, 2,
								"{\"content\":\"x\"}", "{}");

	e->seq = 3;
	world_commit_one(w, e);
	check(!acknowledge(w, c), "an edit is no delivery");
	say(w, 3, 2, 1);
	check(!acknowledge(w, c), "nor is a message of another conversation");
	world_send(w, service, "[\"1\",\"1\",\"realtime:all\",\"phx_join\","
			   "{\"config\":{\"postgres_changes\":[{\"event\":\"*\","
			   "\"schema\":\"public\",\"table\":\"messages\"}]}}]");
	say(w, 1, 2, 4);
	check(!acknowledge(w, service), "a service receives for nobody");
	check(!acknowledge(w, silent), "nor does who has joined nothing");
	w->config.receipts = false;
	hub_set_config(w->h, &w->config);
	acknowledge(w, c);
	expect_receipts(w, "1 1 4 4", "the member has it");
	say(w, 1, 2, 5);
	check(!acknowledge(w, c), "no ping when nobody wants to know");
	world_free(w);
}

static void
tabs(void)
{
	world	   *w = world_new();
	hub_conn   *one = join(w, 1);
	hub_conn   *two = join(w, 1);
	hub_conn   *other = join(w, 2);
	uint64_t	first,
				second;

	say(w, 1, 3, 1);
	say(w, 1, 3, 2);
	world_wait(w, 1);
	first = read_ping(w, one);
	second = read_ping(w, two);
	check(first != 0 && second != 0 && first != second, "each tab is pinged");
	pong(w, two, first);
	expect_receipts(w, "", "a pong is good for its own connection only");
	pong(w, two, second);
	expect_receipts(w, "1 1 1 2", "the first tab that answers counts");
	pong(w, one, first);
	expect_receipts(w, "", "the second one says nothing new");
	hub_conn_close(one);
	say(w, 1, 3, 3);
	acknowledge(w, two);
	expect_receipts(w, "1 1 3 3", "one tab is gone");
	check_int(hub_get_stats(w->h)->receipts, 2, "two receipts");
	(void) other;
	world_free(w);
}

/* A number of the histogram of how old messages were when they had arrived. */
static uint64_t
measured(world *w)
{
	uint64_t	n = 0;

	for (int b = 0; b < LATENCY_BUCKETS; b++)
		n += hub_get_stats(w->h)->acknowledged.buckets[b];
	return n;
}

static void
counted(void)
{
	world	   *w = world_new();
	hub_conn   *one = join(w, 1);
	hub_conn   *two = join(w, 1);
	uint64_t	first;
	uint64_t	second;

	say(w, 1, 3, 1);
	say(w, 1, 3, 2);
	acknowledge(w, one);
	check_int(hub_get_stats(w->h)->delivered, 2, "two messages have arrived");
	check_int(measured(w), 1, "the older one is measured");
	second = read_ping(w, two);
	say(w, 1, 3, 3);
	say(w, 1, 3, 4);
	world_wait(w, 1);
	first = read_ping(w, one);
	pong(w, two, second);
	check_int(hub_get_stats(w->h)->delivered, 2,
			  "the ones that are known do not count again");
	world_wait(w, 1);
	second = read_ping(w, two);
	pong(w, two, second);
	check_int(hub_get_stats(w->h)->delivered, 4, "the others do");
	pong(w, one, first);
	check_int(hub_get_stats(w->h)->delivered, 4, "once");
	check_int(measured(w), 4, "every pong is measured");
	world_free(w);
}

static void
dropped(void)
{
	world	   *w = world_new();
	hub_conn   *c = join(w, 1);
	hub_conn   *pinned;
	uint64_t	number;

	say(w, 1, 2, 1);
	say(w, 2, 2, 1);
	world_commit_one(w, event_participant(EVENT_DELETE, 1, 1));
	acknowledge(w, c);
	expect_receipts(w, "", "what was taken back has not arrived");
	world_commit_one(w, event_participant(EVENT_INSERT, 1, 1));
	say(w, 1, 2, 2);
	world_wait(w, 1);
	number = read_ping(w, c);
	world_commit_one(w, event_participant(EVENT_DELETE, 1, 1));
	pong(w, c, number);
	expect_receipts(w, "", "who is removed has no receipts");
	pinned = join_pinned(w, 1);
	say(w, 2, 2, 2);
	world_wait(w, 1);
	number = read_ping(w, pinned);
	world_commit_one(w, event_participant(EVENT_DELETE, 2, 1));
	pong(w, pinned, number);
	expect_receipts(w, "", "not even when his channel is of that room");
	world_commit_one(w, event_participant(EVENT_INSERT, 2, 1));
	acknowledge(w, c);
	say(w, 2, 2, 3);
	world_send(w, c, "[\"1\",\"2\",\"realtime:all\",\"phx_leave\",{}]");
	acknowledge(w, c);
	expect_receipts(w, "", "who leaves does not get what waited");
	world_free(w);
}

static void
large_rooms(void)
{
	world	   *w = world_new();
	hub_conn   *conns[51];

	world_be_patient(w);
	for (int i = 0; i < 51; i++)
		conns[i] = join(w, i + 1);
	say(w, 1, 99, 1);
	check(!acknowledge(w, conns[0]), "a room of 51 has no receipts");
	hub_conn_close(conns[50]);
	say(w, 1, 99, 2);
	check(acknowledge(w, conns[0]), "one of 50 has");
	expect_receipts(w, "1 1 2 2", "... of what was sent since");
	conns[50] = join(w, 51);
	say(w, 1, 99, 3);
	check(!acknowledge(w, conns[0]), "somebody joins");
	world_commit_one(w, event_participant(EVENT_DELETE, 1, 51));
	say(w, 1, 99, 4);
	check(acknowledge(w, conns[0]), "somebody is removed");
	world_commit_one(w, event_participant(EVENT_INSERT, 1, 51));
	say(w, 1, 99, 5);
	acknowledge(w, conns[0]);
	expect_receipts(w, "1 1 4 4", "... and taken in again");
	world_free(w);
}

/* As many ranges as a connection may have, and more. */
static void
many(void)
{
	static int	rooms[400];
	world	   *w = world_new();
	hub_receipt r[500];
	hub_conn   *c;

	for (int i = 0; i < 400; i++)
		rooms[i] = i + 1;
	c = join_filtered(w, 1, rooms, 400, NULL);
	for (int i = 0; i < 400; i++)
		say(w, rooms[i], 2, 1);
	acknowledge(w, c);
	check_int(hub_take_receipts(w->h, r, 500), 256, "there is a limit");
	check_int(hub_get_stats(w->h)->receipts_lost, 400 - 256,
			  "the rest is counted as lost");
	say(w, 400, 2, 2);
	acknowledge(w, c);
	check_int(hub_take_receipts(w->h, r, 500), 1, "then there is room again");
	world_free(w);
}

static void
again(void)
{
	world	   *w = world_new();
	hub_conn   *c = join(w, 1);
	hub_receipt r;
	int			tries = 1;

	say(w, 1, 2, 1);
	acknowledge(w, c);
	while (hub_take_receipts(w->h, &r, 1) == 1 && tries < 100)
	{
		hub_receipts_again(w->h, &r, 1, w->now);
		if (tries++ == 1)
			check(hub_receipts_due(w->h) >= w->now + 500000,
				  "what failed is tried later");
	}
	check_int(tries, 11, "ten times in all");
	check_int(hub_get_stats(w->h)->receipts_lost, 1, "then it is lost");
	world_free(w);
}

/* A full queue gets no ping on top. */
static void
slow(void)
{
	world	   *w = world_new();
	hub_conn   *c;
	int64_t		seq = 0;

	w->config.max_queue_bytes = 8192;
	hub_set_config(w->h, &w->config);
	c = join(w, 1);
	while (queue_bytes(hub_conn_queue(c)) <= 4096)
		say(w, 1, 2, ++seq);
	world_wait(w, 5);
	check_int(read_ping(w, c), 0, "no ping while much waits");
	check(acknowledge(w, c), "but when it was written");
	check_int(w->nclosed, 0, "nobody was cut");
	world_free(w);
}

int
main(void)
{
	one_client();
	ranges();
	filtered();
	other_events();
	tabs();
	counted();
	dropped();
	large_rooms();
	many();
	again();
	slow();
	return check_done();
}
