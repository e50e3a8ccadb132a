/*-------------------------------------------------------------------------
 *
 * catchup_test.c
 *	  Clients that come back, and a stream that was broken: what is asked of
 *	  the tables, what is told and when, and which positions are saved.
 *
 * User 1 is a member of rooms 1 and 2, and follows all messages.
 *
 *-------------------------------------------------------------------------
 */
#include "hub_tables.h"

#define PING	0x89

#define JOIN \
	"[\"1\",\"1\",\"realtime:all\",\"phx_join\"," \
	"{\"config\":{\"postgres_changes\":[{\"event\":\"*\"," \
	"\"schema\":\"public\",\"table\":\"messages\"}]}}]"

#define SUBSCRIBED	"Subscribed to PostgreSQL"

static const int rooms[] = {1, 2};

/* ----------
 * People
 * ----------
 */

/* Without a name when client is NULL. */
static hub_conn *
come(world *w, const char *client)
{
	hub_conn   *c = world_open(w, 2, 1);
	int			asked = w->nasked;

	if (client != NULL)
		check(hub_conn_set_client(c, client, strlen(client)),
			  "a client may have a name");
	world_send(w, c, JOIN);
	if (w->nasked > asked)
		world_answer(w, rooms, 2);
	if (client == NULL)
		expect_part(w, c, "\"status\":\"ok\"", "the join is answered at once");
	else
		expect_nothing(w, c, "the join waits until it is known from where");
	return c;
}

static void
say(world *w, const char *content)
{
	static int64_t seq = 0;
	event_header *e = event_message(1, content);

	e->seq = ++seq;
	user_id(e->profile_id, 2);
	world_commit_one(w, e);
}

/* The pings of a connection are answered, the way they come. */
static void
answer_pings(world *w, hub_conn *c)
{
	uint8_t		bytes[65536];
	size_t		len;

	hub_tick(w->h, w->now += 1000000);
	while ((len = queue_take(hub_conn_queue(c), bytes, sizeof(bytes))) > 0)
	{
		if (len >= 10 && bytes[len - 10] == PING && bytes[len - 9] == 8)
			hub_conn_pong(c, (char *) bytes + len - 8, 8, w->now);
	}
}

/* ----------
 * The tables
 * ----------
 */

/* Answer the open question for a mark: it sees all that happened so far. */
static bool
answer_mark(world *w)
{
	event_mark	m = {
		.fence = w->lsn,
		.position = {.taken_at = w->now, .xmin = w->xid + 1, .xmax = w->xid + 1}
	};
	uint64_t	ticket = w->mark;

	w->mark = 0;
	return ticket != 0 && hub_marked(w->h, ticket, &m, sizeof(m));
}

/* The hub has a mark that sees all, and all is routed. */
static void
settle_mark(world *w)
{
	hub_tick(w->h, w->now += 1000000);
	check(answer_mark(w), "a mark is asked for");
	hub_passed(w->h, w->lsn);
}

/* Answer the last question. */
static bool
reply_send(world *w, reply *r)
{
	return reply_to(w, &w->missed[w->nmissed - 1], r);
}

/* .. with the first piece, so that the join is answered. */
static void
reply_first(world *w, hub_conn *c, reply *r)
{
	reply_send(w, r);
	expect_part(w, c, "\"status\":\"ok\"", "the join is answered");
}

static const MsgCatchUp *
last_request(world *w)
{
	return request_head(&w->missed[w->nmissed - 1]);
}

static const void *
last_part(world *w, int n)
{
	return request_part(&w->missed[w->nmissed - 1], n);
}

/* The position that is saved next; the rest of them is thrown away. */
static const event_position *
saved(world *w, int64_t *session)
{
	static uint64_t records[8192];
	size_t		len = hub_take_positions(w->h, records, sizeof(records), w->now);
	const MsgSavedPosition *m = (const MsgSavedPosition *) records;
	const uint8_t *part = (const uint8_t *) (m + 1);

	hub_positions_saved(w->h);
	if (len == 0)
		return NULL;
	*session = m->session;
	part += m->client_id_len + -m->client_id_len % 8;
	part += m->topic_len + -m->topic_len % 8;
	return (const event_position *) part;
}

/* ----------
 * Coming back
 * ----------
 */

static void
test_unnamed(void)
{
	world	   *w = world_new();
	hub_conn   *c = come(w, NULL);
	int64_t		session;

	expect_part(w, c, SUBSCRIBED, "who has no name has missed nothing");
	say(w, "hello");
	expect_part(w, c, "hello", "and gets what comes");
	check_int(w->nmissed, 0, "the tables are not asked");
	hub_conn_close(c);
	check(saved(w, &session) == NULL, "and nothing is saved");
	world_free(w);
}

static void
test_first_time(void)
{
	world	   *w = world_new();
	hub_conn   *c = come(w, "laptop");
	const MsgCatchUp *m = last_request(w);

	check_int(w->nmissed, 1, "a client with a name: the tables are asked");
	check(m->resume && m->client_id_len == 6 &&
		  memcmp(last_part(w, REQUEST_CLIENT), "laptop", 6) == 0, ".. for its name");
	check(m->topic_len == 12 &&
		  memcmp(last_part(w, REQUEST_TOPIC), "realtime:all", 12) == 0,
		  ".. and topic");
	check_int(m->tables, 1 << EVENT_MESSAGES, ".. what it has asked for");
	check(!m->pinned && m->from_len == 0 && m->until_len == 0,
		  ".. from wherever it was");
	say(w, "meanwhile");
	expect_nothing(w, c, "what happens now is held back");
	reply_first(w, c, reply_new(w->lsn - 100, w->xid, 0, 1));
	expect_part(w, c, "meanwhile", "who comes for the first time gets that");
	expect_part(w, c, SUBSCRIBED, ".. and is subscribed");
	say(w, "later");
	expect_part(w, c, "later", "from then on it follows the stream");
	world_free(w);
}

static void
test_return(void)
{
	world	   *w = world_new();
	hub_conn   *c = come(w, "laptop");
	reply	   *r = reply_new(w->lsn + 100, w->xid + 2, 50, 2);

	reply_event(r, event_message(1, "missed"), 60);
	reply_event(r, event_message(2, "also missed"), 61);
	reply_event(r, event_message(3, "of others"), 62);
	say(w, "seen by the mark");
	say(w, "behind it");
	reply_first(w, c, r);
	expect_part(w, c, "missed", "what was missed comes first");
	expect_part(w, c, "also missed", ".. in its order");
	expect_part(w, c, "behind it", "what the mark has seen comes once");
	expect_part(w, c, SUBSCRIBED, "then it is subscribed");
	world_commit_as(w, w->lsn - 150, w->xid - 1, (event_header *[]) {
		event_message(1, "late, and seen")}, 1);
	expect_nothing(w, c, "also what comes late in the stream comes once");
	say(w, "new");
	expect_part(w, c, "new", "and then whatever comes");
	world_free(w);
}

static void
test_pieces(void)
{
	world	   *w = world_new();
	hub_conn   *c = come(w, "laptop");
	reply	   *r = reply_new(w->lsn, w->xid + 1, 50, 2);

	reply_more(r, "go on here");
	reply_event(r, event_message(1, "first"), 60);
	reply_first(w, c, r);
	expect_part(w, c, "first", "a piece is told when it comes");
	check_int(w->nmissed, 2, "and the next one asked for");
	check(!last_request(w)->resume && last_request(w)->cursor_len == 10 &&
		  memcmp(last_part(w, REQUEST_CURSOR), "go on here", 10) == 0,
		  "from where that ended");
	check_int(((const event_position *) last_part(w, REQUEST_FROM))->xmax, 50,
			  ".. with the same beginning");
	check_int(((const event_mark *) last_part(w, REQUEST_UNTIL))->position.xmax,
			  w->xid + 1, ".. and the same end");
	say(w, "meanwhile");
	r = reply_new(w->lsn - 100, w->xid, 50, 0);
	reply_event(r, event_message(1, "second"), 61);
	reply_send(w, r);
	expect_part(w, c, "second", "then the next piece");
	expect_part(w, c, "meanwhile", "then what was held back");
	world_free(w);
}

static void
test_too_much_held_back(void)
{
	world	   *w = world_new();
	hub_conn   *c = come(w, "laptop");
	char		long_text[4096];

	memset(long_text, 'x', sizeof(long_text) - 1);
	long_text[sizeof(long_text) - 1] = '\0';
	for (int i = 0; i < 300; i++)
		say(w, long_text);
	reply_first(w, c, reply_new(1000, 101, 50, 2));
	check_int(w->nmissed, 2, "when too much was held back, there is another round");
	check_int(((const event_position *) last_part(w, REQUEST_FROM))->xmax, 101,
			  "from where the last one ended");
	expect_nothing(w, c, "nothing of it is told");
	reply_send(w, reply_new(w->lsn, w->xid + 1, 0, 0));
	expect_part(w, c, SUBSCRIBED, "and then it is there");
	world_free(w);
}

static void
test_slow_reader(void)
{
	world	   *w = world_new();
	hub_conn   *c;
	reply	   *r;
	int			n = 0;

	w->config.max_queue_bytes = 20000;
	world_be_patient(w);
	c = come(w, "laptop");
	r = reply_new(w->lsn, w->xid + 1, 50, 2);
	for (int i = 0; i < 100; i++)
		reply_event(r, event_message(1, "missed"), 60);
	reply_first(w, c, r);
	check(queue_bytes(hub_conn_queue(c)) < 20000,
		  "a reader gets no more than his queue takes");
	for (int i = 0; i < 200; i++)
	{
		const char *frame = world_read(w, c);

		if (frame == NULL)
			hub_tick(w->h, w->now += 1000000);
		else if (strstr(frame, "missed") != NULL)
			n++;
	}
	check_int(n, 100, "but all of it in the end");
	check_int(w->nclosed, 0, "and stays");

	c = come(w, "telephone");
	r = reply_new(w->lsn, w->xid + 1, 50, 2);
	for (int i = 0; i < 100; i++)
		reply_event(r, event_message(1, "missed"), 60);
	reply_first(w, c, r);
	world_wait(w, 70);
	check_int(w->nclosed, 1, "who takes nothing at all is cut");
	world_free(w);
}

static void
test_failure(void)
{
	world	   *w = world_new();
	hub_conn   *c = come(w, "laptop");

	hub_catch_up_failed(w->h, w->missed[0].ticket, "no");
	check_int(w->nmissed, 1, "a failure is not tried again at once");
	world_wait(w, 2);
	check_int(w->nmissed, 2, ".. but soon");
	say(w, "meanwhile");
	hub_catch_up_failed(w->h, w->missed[1].ticket, "no");
	world_wait(w, 3);
	check_int(w->nmissed, 3, ".. and once more");
	reply_first(w, c, reply_new(w->lsn, w->xid + 1, 0, 1));
	expect_part(w, c, SUBSCRIBED, "and then all is well");
	hub_conn_close(c);

	c = come(w, "telephone");
	for (int i = 0; i < 3; i++)
	{
		hub_catch_up_failed(w->h, w->missed[w->nmissed - 1].ticket, "no");
		world_wait(w, 2);
	}
	check(w->nclosed == 1 && w->closed[0].code == HUB_CLOSE_TRY_LATER,
		  "with no luck it is asked to come back");
	world_free(w);
}

static void
test_malformed(void)
{
	world	   *w = world_new();
	reply	   *r;

	come(w, "laptop");
	check(!hub_caught_up(w->h, w->missed[0].ticket, "x", 1),
		  "an answer that is too short is none");
	come(w, "laptop");
	r = reply_new(w->lsn, w->xid + 1, 50, 1);
	r->head->until_len = 1000000;
	check(!reply_send(w, r), "nor is one with wrong lengths");
	come(w, "laptop");
	r = reply_new(w->lsn, w->xid + 1, 50, 1);
	r->head->nevents = 3;
	reply_send(w, r);
	check_int(w->nclosed, 3, "nor one with too few events; who asked is cut");
	world_free(w);
}

static void
test_removed_meanwhile(void)
{
	world	   *w = world_new();
	hub_conn   *c = come(w, "laptop");
	reply	   *r = reply_new(w->lsn, w->xid + 1, 50, 1);

	reply_event(r, event_message(1, "secret"), 60);
	say(w, "held back, and secret");
	world_commit_one(w, event_participant(EVENT_DELETE, 1, 1));
	reply_first(w, c, r);
	expect_part(w, c, SUBSCRIBED, "who is removed meanwhile sees nothing of it");
	world_free(w);
}

/* ----------
 * Positions
 * ----------
 */

static void
test_positions(void)
{
	world	   *w = world_new();
	hub_conn   *c = come(w, "laptop");
	const event_position *p;
	int64_t		session = 0;

	reply_first(w, c, reply_new(w->lsn, w->xid + 1, 0, 7));
	answer_pings(w, c);
	answer_mark(w);
	hub_passed(w->h, w->lsn);
	say(w, "one");
	say(w, "two");
	world_skip(w, c);
	w->now += 10000000;
	check(saved(w, &session) == NULL, "what is not acknowledged does not count");
	say(w, "three");
	answer_pings(w, c);
	check(saved(w, &session) == NULL, "a position is not saved at once");
	say(w, "four");
	w->now += 10000000;
	p = saved(w, &session);
	check(p != NULL && session == 7, ".. but after a while");
	check(p != NULL && p->xmax == 101 && p->nmore == 3 &&
		  event_position_more(p)[0] == 101 && event_position_more(p)[2] == 103,
		  "it is the mark, and what was acknowledged since");

	answer_pings(w, c);
	answer_mark(w);
	hub_passed(w->h, w->lsn);
	say(w, "five");
	answer_pings(w, c);
	hub_conn_close(c);
	p = saved(w, &session);
	check(p != NULL && p->xmax == 105 && p->nmore == 2 &&
		  event_position_more(p)[1] == 105,
		  "then it is the next mark, and what came after that was asked for");

	world_free(w);
}

static void
test_position_of_a_moment(void)
{
	world	   *w = world_new();
	hub_conn   *c = come(w, "laptop");
	int64_t		session;

	settle_mark(w);
	hub_conn_close(c);
	check(saved(w, &session) == NULL,
		  "who leaves before he has caught up is where he was");
	c = come(w, "laptop");
	reply_first(w, c, reply_new(w->lsn, w->xid + 1, 50, 3));
	hub_conn_close(c);
	check(saved(w, &session) == NULL,
		  "so is who has acknowledged nothing");
	world_free(w);
}

/* The client is back before its old connection is known to be dead. */
static void
test_superseded(void)
{
	world	   *w = world_new();
	hub_conn   *old = come(w, "laptop");
	hub_conn   *c;
	int64_t		session = 0;
	static uint64_t records[1024];

	reply_first(w, old, reply_new(w->lsn, w->xid + 1, 0, 1));
	say(w, "one");
	answer_pings(w, old);
	c = come(w, "laptop");
	check_int(w->nmissed, 1, "how far it was is saved before it is read");
	check(hub_take_positions(w->h, records, sizeof(records), w->now) > 0,
		  ".. for its old connection");
	check_int(w->nmissed, 1, ".. which takes a while");
	hub_positions_saved(w->h);
	check_int(w->nmissed, 2, ".. and then it is read");
	say(w, "two");
	answer_pings(w, old);
	w->now += 10000000;
	check(saved(w, &session) == NULL, "the old one does not count any more");
	reply_first(w, c, reply_new(w->lsn, w->xid + 1, 102, 2));
	expect_part(w, c, SUBSCRIBED, "the new one goes on");
	world_free(w);
}

/* ----------
 * A broken stream
 * ----------
 */

/* As the shell does it. */
static void
recover(world *w)
{
	hub_set_live(w->h, false);
	hub_recover(w->h);
	hub_set_live(w->h, true);
}

static void
test_recovery(void)
{
	world	   *w = world_new();
	hub_conn   *c = come(w, NULL);
	reply	   *r;

	recover(w);
	check(w->nclosed == 1 && w->closed[0].conn == c &&
		  w->closed[0].code == HUB_CLOSE_RESTART,
		  "without a mark it is not known what was missed");
	world_free(w);

	w = world_new();
	c = come(w, NULL);
	world_skip(w, c);
	settle_mark(w);
	say(w, "before");
	expect_part(w, c, "before", "the stream runs");
	hub_set_live(w->h, false);
	hub_recover(w->h);
	check_int(w->nclosed, 0, "everybody stays");
	hub_set_live(w->h, true);
	check_int(w->nasked, 2, "memberships are read again");
	say(w, "soon after");
	expect_nothing(w, c, "meanwhile nothing is told");
	check_int(w->nmissed, 0, "nor asked");
	world_answer(w, (int[]) {1, 3}, 2);
	check_int(w->nmissed, 1, "then what was missed is asked for");
	check(!last_request(w)->resume &&
		  ((const event_position *) last_part(w, REQUEST_FROM))->nmore == 1,
		  ".. from the mark and what was routed since");
	say(w, "held back");
	r = reply_new(w->lsn - 100, w->xid, 0, 0);
	reply_event(r, event_message(1, "missed"), 90);
	reply_event(r, event_message(2, "not any more"), 91);
	reply_event(r, event_message(3, "newly"), 92);
	reply_send(w, r);
	expect_part(w, c, "missed", "and told");
	expect_part(w, c, "newly", ".. also of what is new to the user, not of what is lost");
	expect_part(w, c, "held back", "and then the stream again");
	expect_part(w, c, SUBSCRIBED, ".. with the word that all is well");
	world_free(w);
}

/* Twice, the second time while the first is being made good for. */
static void
test_recovery_again(void)
{
	world	   *w = world_new();
	hub_conn   *c = come(w, NULL);
	uint64_t	first;

	world_skip(w, c);
	settle_mark(w);
	recover(w);
	world_answer(w, rooms, 2);
	check_int(w->nmissed, 1, "a break is being made good for");
	first = w->missed[0].ticket;
	recover(w);
	world_answer(w, rooms, 2);
	check_int(w->nmissed, 2, "at the next one it is asked again");
	check_int(((const event_position *) last_part(w, REQUEST_FROM))->xmax, 101,
			  ".. from the same place, as nothing was told");
	check(hub_caught_up(w->h, first, "x", 1), "the first answer is for nobody");
	reply_send(w, reply_new(w->lsn, w->xid + 1, 0, 0));
	expect_part(w, c, SUBSCRIBED, "the second one is");

	/* Before there is a mark again. */
	say(w, "one");
	expect_part(w, c, "one", "the stream runs");
	recover(w);
	world_answer(w, rooms, 2);
	check(w->nmissed == 3 && w->nclosed == 0,
		  "soon after it is known from where to go on");
	check(((const event_position *) last_part(w, REQUEST_FROM))->xmax == 101 &&
		  ((const event_position *) last_part(w, REQUEST_FROM))->nmore == 1,
		  ".. from where it ended, and what was routed since");
	world_free(w);
}

int
main(void)
{
	test_unnamed();
	test_first_time();
	test_return();
	test_pieces();
	test_too_much_held_back();
	test_slow_reader();
	test_failure();
	test_malformed();
	test_removed_meanwhile();
	test_positions();
	test_position_of_a_moment();
	test_superseded();
	test_recovery();
	test_recovery_again();
	return check_done();
}
