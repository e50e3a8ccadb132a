/*-------------------------------------------------------------------------
 *
 * hub_fuzz.c
 *	  The hub in any order of things: clients come, join, leave, refresh
 *	  their tokens, stop reading; people join and leave conversations;
 *	  questions are answered late, or not; memory runs out.
 *
 * Each pair of bytes of the input is a step.  Beside the hub there is a model
 * of what is true: who is a member of what, as of each commit.  By it every
 * frame is judged when it is read.  A message goes only to who was a member
 * at its commit, in the order of commits and once; none goes after its
 * reader's removal, or after the revocation of the reader's tokens; and a
 * channel that was told that it is subscribed gets each one, or its connection
 * is cut.
 *
 *-------------------------------------------------------------------------
 */
#include "scarce_memory.h"

#include <jansson.h>

#include "hub_world.h"

#define CONNS		4
#define TOPICS		3
#define USERS		4			/* 0 is the service role */
#define REVOKED		3			/* the one whose tokens may be revoked */
#define ROOMS		3
#define MAX_STEPS	400
#define MAX_LOADS	8

typedef struct model_channel
{
	bool		told;			/* that it is subscribed */
	bool		blind;			/* perhaps of what was before its last join */
	unsigned	users;			/* whom it has spoken for, as bits */
	unsigned	rooms;			/* what it asks for, as bits */
	int			last;			/* message that came last */
} model_channel;

typedef struct model_conn
{
	hub_conn   *conn;
	int			vsn;
	bool		choked;
	model_channel channels[TOPICS];
} model_conn;

/* What an executor has read, but not answered yet. */
typedef struct model_load
{
	int			question;		/* index of world.asked, -1: none */
	uint64_t	fence;
	uint32_t	xmax;
	unsigned	rooms;
	bool		revoked;
} model_load;

static world *w;
static model_conn conns[CONNS];
static model_load loads[MAX_LOADS];
static int	next_question;
static int	nclosed;
static unsigned members[ROOMS]; /* users, as bits */
static int	removed[USERS][ROOMS];	/* messages there were at the removal */
static bool revoked;
static int	nmessages;
static struct
{
	int			room;
	unsigned	members;
}			messages[MAX_STEPS * 4];

static const char *const items[] = {
	"{\"event\":\"*\",\"schema\":\"*\"}",
	"{\"event\":\"*\",\"schema\":\"public\",\"table\":\"messages\"}",
	"{\"event\":\"*\",\"schema\":\"public\",\"table\":\"messages\","
	"\"filter\":\"conversation_id=eq."
	"00000000-0000-0000-0000-000000000001\"}",
	"{\"event\":\"INSERT\",\"schema\":\"public\",\"table\":\"messages\","
	"\"select\":[\"content\"]}",
	"{\"event\":\"*\",\"schema\":\"public\",\"table\":\"messages\","
	"\"filter\":\"content=like.m%\"},{\"event\":\"*\",\"schema\":\"public\","
	"\"table\":\"conversations\"}",
	"{\"event\":\"*\",\"schema\":\"public\",\"filter\":\"nonsense\"}"
};
static const unsigned item_rooms[] = {7, 7, 2, 7, 7, 0};

#define ITEMS	(sizeof(items) / sizeof(items[0]))

static void
expect_that(bool condition)
{
	if (!condition)
		abort();
}

/* ----------
 * Judging what is read
 * ----------
 */

static void
judge_message(model_channel *ch, const char *content)
{
	int			m = atoi(content + 1);
	int			room;
	bool		seen = false;

	expect_that(content[0] == 'm' && m > 0 && m <= nmessages);
	room = messages[m].room;
	for (int user = 0; user < USERS; user++)
		if (ch->users & 1U << user)
			seen |= user == 0 || ((messages[m].members & 1U << user) != 0 &&
								  m > removed[user][room]);
	expect_that(seen);
	expect_that((ch->rooms & 1U << room) != 0);
	expect_that(m > ch->last);
	ch->last = m;
}

static void
judge_frame(model_conn *c, const char *text)
{
	json_t	   *root = json_loads(text, 0, NULL);
	bool		array = c->vsn == 2;
	const char *topic = json_string_value(array ? json_array_get(root, 2) :
										  json_object_get(root, "topic"));
	const char *event = json_string_value(array ? json_array_get(root, 3) :
										  json_object_get(root, "event"));
	const json_t *payload = array ? json_array_get(root, 4) :
		json_object_get(root, "payload");
	model_channel *ch;

	expect_that(topic != NULL && event != NULL && json_is_object(payload));
	if (strcmp(topic, "phoenix") != 0)
	{
		int			number = topic[strlen(topic) - 1] - '0';
		const json_t *record =
			json_object_get(json_object_get(payload, "data"), "record");
		const char *content =
			json_string_value(json_object_get(record, "content"));
		const char *said =
			json_string_value(json_object_get(payload, "message"));

		expect_that(number >= 0 && number < TOPICS);
		ch = &c->channels[number];
		if (content != NULL)
			judge_message(ch, content);
		else if (strcmp(event, "phx_close") == 0)
			ch->told = false;
		else if (strcmp(event, "system") == 0 &&
				 strncmp(said, "Token expires", 13) != 0)
			ch->told = strcmp(said, "Subscribed to PostgreSQL") == 0;
	}
	json_decref(root);
}

static void
read_all(model_conn *c)
{
	while (c->conn != NULL && world_read(w, c->conn) != NULL)
		judge_frame(c, w->frame);
}

/* The shell's duty: what was cut is closed; and readers read. */
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
 * Steps
 * ----------
 */

static void
open_conn(model_conn *c, int user)
{
	static const char *const roles[] = {"service_role", "authenticated"};

	if (c->conn != NULL)
		hub_conn_close(c->conn);
	memset(c, 0, sizeof(*c));
	c->vsn = 1 + (user & 1);
	c->conn = world_open_role(w, c->vsn, roles[user > 0], user);
	for (int i = 0; i < TOPICS; i++)
		c->channels[i].users = 1U << user;
}

/* Whatever a client does to a channel ends what it was told of it. */
static void
push(model_conn *c, int topic, const char *event, const char *payload)
{
	char		text[2048];

	if (c->conn == NULL)
		return;
	snprintf(text, sizeof(text), c->vsn == 2 ?
			 "[\"1\",\"2\",\"realtime:t%d\",\"%s\",%s]" :
			 "{\"topic\":\"realtime:t%d\",\"event\":\"%s\",\"payload\":%s,"
			 "\"ref\":\"2\",\"join_ref\":\"1\"}", topic, event, payload);
	c->channels[topic].told = false;
	c->channels[topic].blind = c->choked;
	world_send(w, c->conn, text);
}

static const char *
token_of(int user, bool expired)
{
	static char *tokens[USERS][2];

	if (tokens[user][expired] == NULL)
		tokens[user][expired] =
			token_for(user > 0 ? "authenticated" : "service_role", user,
					  expired ? NOW + 20 : NOW + 100000);
	return tokens[user][expired];
}

static void
join(model_conn *c, int topic, int item, const char *more)
{
	char		payload[1024];

	snprintf(payload, sizeof(payload), "{\"config\":{\"postgres_changes\":"
			 "[%s]}%s}", items[item], more);
	if (c->choked)
		c->channels[topic].rooms |= item_rooms[item];
	else
		c->channels[topic].rooms = item_rooms[item];
	push(c, topic, "phx_join", payload);
}

static void
refresh(model_conn *c, int topic, int user, bool expired)
{
	char		payload[1024];
	bool		told = c->channels[topic].told;

	snprintf(payload, sizeof(payload), "{\"access_token\":\"%s\"}",
			 user < USERS ? token_of(user, expired) : "no.token.this");
	if (user < USERS)
		c->channels[topic].users |= 1U << user;
	push(c, topic, "access_token", payload);

	/* For the same person nothing changes, and perhaps nothing is said. */
	if (user < USERS && c->channels[topic].users == 1U << user)
		c->channels[topic].told = told;
}

/* Who may see what is said in a room now. */
static unsigned
readers(int room)
{
	return revoked ? members[room] & ~(1U << REVOKED) : members[room];
}

/* Who is told of everything in this room, and reads? */
static bool
must_get(const model_conn *c, const model_channel *ch, int room)
{
	if (c->conn == NULL || c->choked || ch->blind || !ch->told ||
		!(ch->rooms & 1U << room))
		return false;

	/* Of two persons we do not know which one it is now. */
	return ch->users == 1 || (ch->users & (ch->users - 1)) == 0 ?
		ch->users == 1 || (ch->users & readers(room)) != 0 : false;
}

static void
say(int room)
{
	bool		due[CONNS][TOPICS];
	char		content[16];

	for (int i = 0; i < CONNS; i++)
		for (int t = 0; t < TOPICS; t++)
			due[i][t] = must_get(&conns[i], &conns[i].channels[t], room);
	messages[++nmessages].room = room;
	messages[nmessages].members = readers(room);
	snprintf(content, sizeof(content), "m%d", nmessages);
	world_commit_one(w, event_message(room, content));
	settle();
	for (int i = 0; i < CONNS; i++)
		for (int t = 0; t < TOPICS; t++)
			expect_that(!due[i][t] || conns[i].conn == NULL ||
						conns[i].channels[t].last == nmessages);
}

/* Somebody joins or leaves, and something is said in the same transaction. */
static void
change_member(int room, int user)
{
	bool		joins = !(members[room] & 1U << user);
	event_header *events[2];
	char		content[16];

	members[room] ^= 1U << user;
	if (!joins)
		removed[user][room] = nmessages;
	messages[++nmessages].room = room;
	messages[nmessages].members = readers(room);
	snprintf(content, sizeof(content), "m%d", nmessages);
	events[0] = event_message(room, content);
	events[1] = event_participant(joins ? EVENT_INSERT : EVENT_DELETE, room,
								  user);
	world_commit(w, events, 2);
}

/* From this commit on, one person's tokens are no good, for ever. */
static void
revoke(void)
{
	revoked = true;
	world_commit_one(w, event_revocation(EVENT_INSERT, REVOKED, NOW));
	for (int room = 0; room < ROOMS; room++)
		removed[REVOKED][room] = nmessages;
}

/* An executor takes a question up: the snapshot is of now. */
static void
take_up(model_load *l)
{
	int			user;

	if (l->question >= 0 || next_question == w->nasked)
		return;
	l->question = next_question++;
	l->fence = w->lsn;
	l->xmax = w->xid + 1;
	l->rooms = 0;
	user = w->asked[l->question].profile_id[15];
	l->revoked = revoked && user == REVOKED;
	for (int room = 0; room < ROOMS; room++)
		if (members[room] & 1U << user)
			l->rooms |= 1U << room;
}

static void
answer(model_load *l, bool fails)
{
	int			rooms[ROOMS];
	int			n = 0;

	if (l->question < 0)
		return;
	for (int room = 0; room < ROOMS; room++)
		if (l->rooms & 1U << room)
			rooms[n++] = room;
	w->revoked_at = l->revoked ? NOW : 0;
	if (fails)
		hub_user_failed(w->h, w->asked[l->question].ticket, "no luck");
	else
		world_answer_at(w, l->question, rooms, n, l->fence, l->xmax, l->xmax,
						NULL, 0);
	l->question = -1;
}

/* Nobody is a member of anything any more; all come back. */
static void
truncate_all(void)
{
	memset(members, 0, sizeof(members));
	world_commit_one(w, event_new(EVENT_PARTICIPANTS, EVENT_TRUNCATE, 0, 0,
								  NULL, NULL));
	for (int user = 0; user < USERS; user++)
		for (int room = 0; room < ROOMS; room++)
			removed[user][room] = nmessages;
}

static void
step(int op, int arg)
{
	model_conn *c = &conns[arg % CONNS];
	model_load *l = &loads[arg % MAX_LOADS];
	int			more = arg / CONNS;
	int			topic = more % TOPICS;
	int			last = more / TOPICS;

	switch (op % 16)
	{
		case 0:
			open_conn(c, more % USERS);
			break;
		case 1:
		case 2:
			join(c, topic, last % ITEMS, op % 16 == 1 ? "" :
				 ",\"access_token\":\"\"");
			break;
		case 3:
			push(c, topic, "phx_leave", "{}");
			break;
		case 4:
			refresh(c, topic, last % (USERS + 1), last > USERS);
			break;
		case 5:
		case 6:
			say(arg % ROOMS);
			break;
		case 7:
			change_member(arg % ROOMS, 1 + arg / ROOMS % (USERS - 1));
			break;
		case 8:
			take_up(l);
			break;
		case 9:
			answer(l, arg >= 240);
			break;
		case 10:
			take_up(l);
			answer(l, false);
			break;
		case 11:
			world_wait(w, arg % 8);
			break;
		case 12:
			hub_set_live(w->h, arg % 4 != 0);
			break;
		case 13:
			c->choked = !c->choked;
			break;
		case 14:
			armed = true;
			all_fail = false;
			requests_left = arg % 64;
			break;
		default:
			if (arg == 0)
				hub_reset(w->h, HUB_CLOSE_RESTART, "lost");
			else if (arg == 1)
				truncate_all();
			else if (arg == 2)
				revoke();
			else if (arg < 8)
				w->refuse_loads = arg % 2;
			else if (c->conn != NULL)
				world_send(w, c->conn, "[null,\"3\",\"phoenix\","
						   "\"heartbeat\",{}]");
	}
	settle();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	armed = false;
	requests_left = -1;
	memset(conns, 0, sizeof(conns));
	memset(members, 0, sizeof(members));
	memset(removed, 0, sizeof(removed));
	revoked = false;
	for (int i = 0; i < MAX_LOADS; i++)
		loads[i].question = -1;
	next_question = nclosed = nmessages = 0;

	w = world_new();
	w->config.max_queue_bytes = 4096;
	hub_set_config(w->h, &w->config);
	for (size_t i = 0; i + 1 < size && i < 2 * MAX_STEPS; i += 2)
		step(data[i], data[i + 1]);
	for (int i = 0; i < CONNS; i++)
		read_all(&conns[i]);
	armed = false;
	world_free(w);
	return 0;
}
