/*-------------------------------------------------------------------------
 *
 * catchup_fuzz.c
 *	  Clients that come back, and a stream that breaks, in any order of things.
 *
 * Each pair of bytes of the input is a step: clients come, with a name or
 * without one, join, leave, stop reading, vanish; people join and leave
 * conversations; messages are said, and at times the stream loses them;
 * executors look at the tables early and answer late, in pieces, or not at all;
 * positions are saved, or not; memory runs out.
 *
 * Beside the hub there is a model of what is true.  By it
 * - a message goes only to who was a member at its commit, and not after the
 *	 reader's removal, unless he is back;
 * - on a channel no message comes twice;
 * - a channel that is told that it is subscribed has got everything since it
 *	 was told so first, and, when its client has a name, since the first time
 *	 that the client was; and from then on it gets each message at once.
 *
 *-------------------------------------------------------------------------
 */
#include "scarce_memory.h"

#include <jansson.h>
#include <limits.h>

#include "hub_tables.h"

#define CONNS		4
#define NAMES		2
#define USERS		3			/* 1 and 2 */
#define ROOMS		3
#define TOPICS		2
#define MAX_STEPS	300
#define MAX_MESSAGES	(MAX_STEPS * 4)
#define WORKERS		4			/* questions that are being worked on */

/* What a client has got, in all its stays. */
typedef struct model_client
{
	bool		known;			/* there is a position of it */
	int64_t		session;
	size_t		position_len;
	uint64_t	position[512];
	int			since;			/* messages there were when it was known */
	bool		got[MAX_MESSAGES];
} model_client;

typedef struct model_channel
{
	model_client *client;		/* or NULL */
	bool		told;
	bool		first;			/* it has never been told */
	int			since;
	bool		got[MAX_MESSAGES];
} model_channel;

typedef struct model_conn
{
	hub_conn   *conn;
	int			user;
	int			name;			/* 0: none */
	bool		choked;
	bool		blurred;		/* it read late: what it reads was said before */
	model_channel channels[TOPICS];
} model_conn;

typedef struct message
{
	int			room;
	unsigned	members;		/* users, as bits */
	uint32_t	xid;
	uint64_t	lsn;
} said;

/* A question that an executor has looked up. */
typedef struct lookup
{
	int			question;		/* -1: none */
	uint64_t	fence;
	uint32_t	xmax;
	int			nmessages;
	unsigned	rooms;
	bool		visible[MAX_MESSAGES];	/* missed, and may be seen */
	bool		found;
	int64_t		session;
	size_t		from_len;
	uint64_t	from[512];
} lookup;

static world *w;
static model_conn conns[CONNS];
static model_client clients[USERS][NAMES + 1][TOPICS];
static said messages[MAX_MESSAGES];
static int	nmessages;
static unsigned members[ROOMS];
static int	removed[USERS][ROOMS];
static lookup loads[WORKERS];
static lookup catchups[WORKERS];
static int	next_load;
static int	next_catchup;
static uint64_t mark_ticket;
static event_mark marked;
static int	nclosed;

static void
expect_that(bool condition)
{
	if (!condition)
		abort();
}

static bool
may_see(int user, int m)
{
	return (messages[m].members & 1U << user) != 0 &&
		m > removed[user][messages[m].room];
}

/* Who is back sees what was said when he was there before. */
static bool
may_see_again(int user, int m)
{
	return (messages[m].members & 1U << user) != 0 &&
		(members[messages[m].room] & 1U << user) != 0;
}

/* ----------
 * Judging what is read
 * ----------
 */

static void
judge_message(model_conn *c, model_channel *ch, int m)
{
	expect_that(m > 0 && m <= nmessages);
	expect_that(c->blurred || may_see(c->user, m) || may_see_again(c->user, m));
	expect_that(!ch->got[m]);
	ch->got[m] = true;
	if (ch->client != NULL)
		ch->client->got[m] = true;
}

/* Subscribed: nothing is missing. */
static void
judge_told(model_conn *c, model_channel *ch)
{
	if (c->blurred)
	{
		ch->told = true;
		return;
	}
	for (int m = 1; m <= nmessages; m++)
	{
		if (!may_see(c->user, m))
			continue;
		if (!ch->first && m > ch->since)
			expect_that(ch->got[m]);
		if (ch->client != NULL && m > ch->client->since)
			expect_that(ch->client->got[m]);
	}
	if (ch->first)
		ch->since = nmessages;
	ch->first = false;
	ch->told = true;
}

static void
judge_frame(model_conn *c, const char *text)
{
	json_t	   *root = json_loads(text, 0, NULL);
	const char *topic = json_string_value(json_array_get(root, 2));
	const char *event = json_string_value(json_array_get(root, 3));
	const json_t *payload = json_array_get(root, 4);
	const json_t *data = json_object_get(payload, "data");
	const char *content = json_string_value(json_object_get(json_object_get(data,
																			"record"),
															"content"));
	model_channel *ch;

	expect_that(topic != NULL && event != NULL);
	ch = &c->channels[topic[strlen(topic) - 1] - '0'];
	if (content != NULL)
		judge_message(c, ch, atoi(content + 1));
	else if (strcmp(event, "system") == 0)
		judge_told(c, ch);
	json_decref(root);
}

static void
read_some(model_conn *c, int most)
{
	while (c->conn != NULL && most-- > 0 && world_read(w, c->conn) != NULL)
	{
		if (w->frame_is_ping)
			hub_conn_pong(c->conn, w->frame, w->frame_len, w->now);
		else
			judge_frame(c, w->frame);
	}
}

static void
read_all(model_conn *c)
{
	read_some(c, INT_MAX);
}

static void
settle(void)
{
	for (; nclosed < w->nclosed; nclosed++)
		for (int i = 0; i < CONNS; i++)
			if (conns[i].conn == w->closed[nclosed].conn)
			{
				hub_conn_close(conns[i].conn);
				conns[i].conn = NULL;
			}
	for (int i = 0; i < CONNS; i++)
		if (!conns[i].choked)
			read_all(&conns[i]);
}

/* ----------
 * Clients
 * ----------
 */

static void
come(model_conn *c, int user, int name)
{
	char		text[2] = {(char) ('a' + name), '\0'};

	if (c->conn != NULL)
		hub_conn_close(c->conn);
	memset(c, 0, sizeof(*c));
	c->user = user;
	c->name = name;
	c->conn = world_open(w, 2, user);
	if (c->conn != NULL && name > 0 &&
		!hub_conn_set_client(c->conn, text, 1))
	{
		hub_conn_close(c->conn);
		c->conn = NULL;
	}
}

/* Frames of the channel before may wait to be read, so nobody rejoins late. */
static void
join(model_conn *c, int topic)
{
	model_channel *ch = &c->channels[topic];
	char		text[512];

	if (c->conn == NULL || c->choked)
		return;
	memset(ch, 0, sizeof(*ch));
	ch->first = true;
	if (c->name > 0)
		ch->client = &clients[c->user][c->name][topic];
	snprintf(text, sizeof(text), "[\"1\",\"2\",\"realtime:t%d\",\"phx_join\","
			 "{\"config\":{\"postgres_changes\":[{\"event\":\"INSERT\","
			 "\"schema\":\"public\",\"table\":\"messages\"}]}}]", topic);
	world_send(w, c->conn, text);
}

static void
leave(model_conn *c, int topic)
{
	char		text[128];

	if (c->conn == NULL)
		return;
	snprintf(text, sizeof(text),
			 "[\"1\",\"2\",\"realtime:t%d\",\"phx_leave\",{}]", topic);
	world_send(w, c->conn, text);
	c->channels[topic].told = false;
}

static void
choke(model_conn *c)
{
	c->choked = !c->choked;
	c->blurred = true;
}

/* ----------
 * What happens
 * ----------
 */

static event_header *
new_message(int room)
{
	event_header *e;
	char		content[16];

	messages[++nmessages].room = room;
	messages[nmessages].members = members[room];
	snprintf(content, sizeof(content), "m%d", nmessages);
	e = event_message(room, content);
	e->seq = nmessages;
	return e;
}

/* Committed, and brought by the stream, or lost by it. */
static void
commit(event_header **events, size_t n, bool lost)
{
	w->lsn += 100;
	w->xid++;
	messages[nmessages].xid = w->xid;
	messages[nmessages].lsn = w->lsn;
	if (!lost)
		world_commit_as(w, w->lsn, w->xid, events, n);
	for (size_t i = 0; lost && i < n; i++)
		free(events[i]);
}

static void
say(int room, bool lost)
{
	event_header *e;

	if (nmessages + 1 == MAX_MESSAGES)
		return;
	e = new_message(room);
	commit(&e, 1, lost);
	settle();
	for (int i = 0; i < CONNS && !lost; i++)
		for (int t = 0; t < TOPICS; t++)
		{
			const model_conn *c = &conns[i];

			expect_that(c->conn == NULL || c->choked || c->blurred ||
						!c->channels[t].told || !may_see(c->user, nmessages) ||
						c->channels[t].got[nmessages]);
		}
}

static void
change_member(int room, int user, bool lost)
{
	bool		joins = !(members[room] & 1U << user);
	event_header *events[2];

	if (nmessages + 1 == MAX_MESSAGES)
		return;
	members[room] ^= 1U << user;
	if (!joins)
		removed[user][room] = nmessages;
	events[0] = new_message(room);
	events[1] = event_participant(joins ? EVENT_INSERT : EVENT_DELETE, room,
								  user);
	commit(events, 2, lost);
}

/* So many things happen that the stream does not bring. */
static void
break_stream(int n)
{
	hub_set_live(w->h, false);
	for (int i = 0; i < n % 4; i++)
	{
		if (n & 4 << i)
			say((n + i) % ROOMS, true);
		else
			change_member((n + i) % ROOMS, 1 + i % 2, true);
	}
	for (int i = 0; i < CONNS; i++)
		for (int t = 0; t < TOPICS; t++)
			conns[i].channels[t].told = false;
	hub_recover(w->h);
	settle();
	hub_set_live(w->h, true);
}

/* ----------
 * The tables
 * ----------
 */

static void
look(lookup *l, int question, int user)
{
	l->question = question;
	l->fence = w->lsn;
	l->xmax = w->xid + 1;
	l->nmessages = nmessages;
	l->rooms = 0;
	for (int room = 0; room < ROOMS; room++)
		if (members[room] & 1U << user)
			l->rooms |= 1U << room;
}

static void
take_up_load(lookup *l)
{
	if (l->question < 0 && next_load < w->nasked)
	{
		look(l, next_load, w->asked[next_load].profile_id[15]);
		next_load++;
	}
}

static void
answer_load(lookup *l, bool fails)
{
	int			rooms[ROOMS];
	int			n = 0;

	if (l->question < 0)
		return;
	for (int room = 0; room < ROOMS; room++)
		if (l->rooms & 1U << room)
			rooms[n++] = room;
	if (fails)
		hub_user_failed(w->h, w->asked[l->question].ticket, "no luck");
	else
		world_answer_at(w, l->question, rooms, n, l->fence, l->xmax, l->xmax,
						NULL, 0);
	l->question = -1;
}

static bool
position_has(const event_position *p, uint32_t xid)
{
	for (uint32_t i = 0; i < p->nmore; i++)
		if (event_position_more(p)[i] == xid)
			return true;
	return xid < p->xmax;
}

static void
resume_from(lookup *l, const missed *asked)
{
	const MsgCatchUp *m = request_head(asked);
	const char *name = request_part(asked, REQUEST_CLIENT);
	const char *topic = request_part(asked, REQUEST_TOPIC);
	model_client *client = &clients[asked->profile_id[15]][name[0] - 'a']
		[topic[m->topic_len - 1] - '0'];

	expect_that(m->client_id_len == 1 && m->from_len == 0);
	l->found = client->known;
	l->session = ++client->session;
	l->from_len = 0;
	if (client->known)
	{
		l->from_len = client->position_len;
		memcpy(l->from, client->position, client->position_len);
		return;
	}
	client->known = true;
	client->since = nmessages;
	((event_position *) client->position)[0] =
		(event_position) {.xmin = l->xmax, .xmax = l->xmax};
	client->position_len = sizeof(event_position);
}

static void
take_up_catchup(lookup *l)
{
	const missed *asked = &w->missed[next_catchup];
	const MsgCatchUp *m;
	const event_position *from;
	int			user;

	if (l->question >= 0 || next_catchup == w->nmissed)
		return;
	m = request_head(asked);
	user = asked->profile_id[15];
	look(l, next_catchup++, user);
	l->session = 0;
	l->found = true;
	if (m->resume)
		resume_from(l, asked);
	else
	{
		l->from_len = m->from_len;
		expect_that(m->from_len <= sizeof(l->from));
		memcpy(l->from, request_part(asked, REQUEST_FROM), m->from_len);
	}
	if (m->until_len > 0)
	{
		const event_mark *until = request_part(asked, REQUEST_UNTIL);

		l->fence = until->fence;
		l->xmax = (uint32_t) until->position.xmax;
	}
	from = (const event_position *) l->from;
	for (int i = 1; i <= nmessages; i++)
		l->visible[i] = l->found && messages[i].xid < l->xmax &&
			(l->rooms & 1U << messages[i].room) != 0 && may_see(user, i) &&
			!position_has(from, messages[i].xid);
}

/* A piece holds so many events, and the next one begins behind them. */
static void
answer_catchup(lookup *l, int most, bool fails)
{
	const missed *asked = &w->missed[l->question >= 0 ? l->question : 0];
	const MsgCatchUp *m;
	reply	   *r;
	int			cursor = 0;
	int			first = 1;

	if (l->question < 0)
		return;
	l->question = -1;
	if (fails)
	{
		hub_catch_up_failed(w->h, asked->ticket, "no luck");
		return;
	}
	m = request_head(asked);
	if (m->cursor_len > 0)
		memcpy(&first, request_part(asked, REQUEST_CURSOR), sizeof(first));
	r = reply_new(l->fence, l->xmax, 0, l->session);
	r->head->found = l->found;
	r->head->from_len = (uint32_t) l->from_len;
	reply_put(r, l->from, l->from_len);
	for (int i = first; i <= l->nmessages && cursor == 0; i++)
		if (l->visible[i] && most-- == 0)
			cursor = i;
	if (cursor > 0)
	{
		r->head->more = 1;
		r->head->cursor_len = sizeof(cursor);
		reply_put(r, &cursor, sizeof(cursor));
	}
	for (int i = first; i <= l->nmessages && i != cursor; i++)
	{
		char		content[16];
		event_header *e;

		if (!l->visible[i])
			continue;
		snprintf(content, sizeof(content), "m%d", i);
		e = event_message(messages[i].room, content);
		e->seq = i;
		e->commit_lsn = l->fence;
		reply_event(r, e, messages[i].xid);
	}
	reply_to(w, asked, r);
}

static void
take_up_mark(void)
{
	if (w->mark == 0)
		return;
	mark_ticket = w->mark;
	w->mark = 0;
	marked = (event_mark) {
		.fence = w->lsn, .position = {.xmin = w->xid + 1, .xmax = w->xid + 1}
	};
}

static void
answer_mark(bool fails)
{
	if (mark_ticket == 0)
		return;
	hub_marked(w->h, mark_ticket, fails ? NULL : &marked, sizeof(marked));
	mark_ticket = 0;
}

static void
save_record(const MsgSavedPosition *m)
{
	const char *name = (const char *) (m + 1);
	const char *topic = name + 8;
	const char *position = topic + m->topic_len + -m->topic_len % 8;
	model_client *client = &clients[m->profile_id[15]][name[0] - 'a']
		[topic[m->topic_len - 1] - '0'];

	if (m->session != client->session ||
		m->position_len > sizeof(client->position))
		return;
	client->position_len = m->position_len;
	memcpy(client->position, position, m->position_len);
}

static void
save(bool fails)
{
	static uint64_t records[16384];
	size_t		len = hub_take_positions(w->h, records, sizeof(records),
										 w->now);
	const char *p = (const char *) records;

	while (!fails && p < (const char *) records + len)
	{
		const MsgSavedPosition *m = (const MsgSavedPosition *) p;

		save_record(m);
		p += sizeof(*m) + m->client_id_len + -m->client_id_len % 8 +
			m->topic_len + -m->topic_len % 8 + m->position_len;
	}
	hub_positions_saved(w->h);
}

/* ----------
 * Steps
 * ----------
 */

static void
step(int op, int arg)
{
	model_conn *c = &conns[arg % CONNS];
	int			more = arg / CONNS;
	lookup	   *load = &loads[arg % WORKERS];
	lookup	   *catchup = &catchups[arg % WORKERS];

	switch (op % 16)
	{
		case 0:
			come(c, 1 + more % 2, more / 2 % (NAMES + 1));
			break;
		case 1:
			join(c, more % TOPICS);
			break;
		case 2:
			leave(c, more % TOPICS);
			break;
		case 3:
			if (more < 32)
				choke(c);
			else
				read_some(c, more % 8);
			break;
		case 4:
		case 5:
			say(arg % ROOMS, false);
			break;
		case 6:
			change_member(arg % ROOMS, 1 + arg / ROOMS % 2, false);
			break;
		case 7:
			break_stream(arg);
			break;
		case 8:
			take_up_load(load);
			if (more % 2)
				answer_load(load, more > 60);
			break;
		case 9:
			answer_load(load, more > 60);
			break;
		case 10:
			take_up_catchup(catchup);
			break;
		case 11:
			answer_catchup(catchup, more % 8 ? 1000 : 1, more > 60);
			break;
		case 12:
			take_up_mark();
			if (arg % 2)
				answer_mark(arg > 250);
			break;
		case 13:
			answer_mark(arg > 250);
			if (arg % 4)
				hub_passed(w->h, w->lsn);
			break;
		case 14:
			world_wait(w, arg % 8);
			save(arg > 250);
			break;
		default:
			if (arg < 16)
				hub_set_live(w->h, arg % 4 != 0);
			else if (arg < 32)
				w->refuse_loads = arg % 2;
			else if (arg < 48)
			{
				armed = true;
				all_fail = false;
				requests_left = arg % 16 * 4;
			}
			else
				world_wait(w, 1);
	}
	settle();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	armed = false;
	requests_left = -1;
	memset(conns, 0, sizeof(conns));
	memset(clients, 0, sizeof(clients));
	memset(members, 0, sizeof(members));
	memset(removed, 0, sizeof(removed));
	for (int i = 0; i < WORKERS; i++)
		loads[i].question = catchups[i].question = -1;
	next_load = next_catchup = nclosed = nmessages = 0;
	mark_ticket = 0;

	w = world_new();
	w->config.max_queue_bytes = 8192;
	world_be_patient(w);
	for (size_t i = 0; i + 1 < size && i < 2 * MAX_STEPS; i += 2)
		step(data[i], data[i + 1]);
	for (int i = 0; i < CONNS; i++)
		read_all(&conns[i]);
	armed = false;
	world_free(w);
	return 0;
}
