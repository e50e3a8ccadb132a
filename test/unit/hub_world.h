/*-------------------------------------------------------------------------
 *
 * hub_world.h
 *	  A hub with everything around it that a test needs: connections whose
 *	  frames can be read, made-up events, and a shell that can be told what
 *	  to answer.
 *
 *-------------------------------------------------------------------------
 */
#ifndef HUB_WORLD_H
#define HUB_WORLD_H

#include <stdlib.h>
#include <string.h>

#include "calls.h"
#include "realtime/hub.h"
#include "realtime/signals.h"

#include "check.h"
#include "token_maker.h"

#define SECRET		"a secret of at least thirty-two bytes, surely"
#define NOW_USEC	(NOW * 1000000)
#define MAX_ASKED	20000

#define MESSAGE_COLUMNS \
	"[{\"name\":\"id\",\"type\":\"uuid\"}," \
	"{\"name\":\"conversation_id\",\"type\":\"uuid\"}," \
	"{\"name\":\"sender_profile_id\",\"type\":\"uuid\"}," \
	"{\"name\":\"content\",\"type\":\"text\"}," \
	"{\"name\":\"metadata\",\"type\":\"jsonb\"}," \
	"{\"name\":\"created_at\",\"type\":\"timestamptz\"}," \
	"{\"name\":\"is_edited\",\"type\":\"bool\"}," \
	"{\"name\":\"seq\",\"type\":\"int8\"}]"
#define CONVERSATION_COLUMNS \
	"[{\"name\":\"id\",\"type\":\"uuid\"},{\"name\":\"title\",\"type\":\"text\"}]"
#define PARTICIPANT_COLUMNS \
	"[{\"name\":\"id\",\"type\":\"uuid\"}," \
	"{\"name\":\"conversation_id\",\"type\":\"uuid\"}," \
	"{\"name\":\"profile_id\",\"type\":\"uuid\"}]"
#define BROADCAST_COLUMNS \
	"[{\"name\":\"id\",\"type\":\"uuid\"}," \
	"{\"name\":\"topic\",\"type\":\"text\"}," \
	"{\"name\":\"event\",\"type\":\"text\"}," \
	"{\"name\":\"payload\",\"type\":\"jsonb\"}]"

#define REVOCATION_COLUMNS \
	"[{\"name\":\"profile_id\",\"type\":\"uuid\"}," \
	"{\"name\":\"revoked_at\",\"type\":\"timestamptz\"}]"

/* Rooms and people are known by numbers; this is how they look as uuids. */
#define ROOM(n)		("00000000-0000-0000-0000-0000000000" #n)
#define ROOM_BASE	0
#define USER_BASE	0xaa

typedef struct asked
{
	uint64_t	ticket;
	uint8_t		profile_id[16];
} asked;

/* What the hub wants to know that was missed. */
typedef struct missed
{
	uint64_t	ticket;
	uint8_t		profile_id[16];
	uint8_t    *request;
	size_t		len;
} missed;

typedef struct closed
{
	hub_conn   *conn;
	int			code;
} closed;

typedef struct world
{
	hub		   *h;
	token_keys *keys;
	hub_config	config;
	int64_t		now;			/* microseconds */
	bool		refuse_loads;	/* load_user says false */
	int			nasked;
	asked	   *asked;
	uint64_t	mark;			/* ticket of an open question, or 0 */
	int			nmissed;
	missed	   *missed;
	struct
	{
		int			asked;
		uint64_t	ticket;		/* of the last question */
		int64_t		since;
		int			limit;
		char		topic[256];
	}			replay;
	int			ndirty;
	bool		drains;			/* sockets take what they are given */
	int			nclosed;
	closed	   *closed;
	int64_t		revoked_at;		/* of whomever is asked for */
	uint64_t	lsn;			/* of the last commit */
	uint32_t	xid;
	char	   *frame;			/* the one read last, terminated */
	size_t		frame_len;
	bool		frame_is_binary;
	bool		frame_is_ping;
} world;

static inline bool
world_load_user(void *arg, uint64_t ticket, const uint8_t profile_id[16])
{
	world	   *w = arg;

	if (w->refuse_loads || w->nasked == MAX_ASKED)
		return false;
	w->asked[w->nasked].ticket = ticket;
	memcpy(w->asked[w->nasked++].profile_id, profile_id, 16);
	return true;
}

static inline bool
world_take_mark(void *arg, uint64_t ticket)
{
	world	   *w = arg;

	w->mark = ticket;
	return true;
}

static inline bool
world_catch_up(void *arg, uint64_t ticket, const uint8_t profile_id[16],
			   const void *request, size_t len)
{
	world	   *w = arg;
	missed	   *m = &w->missed[w->nmissed];

	if (w->refuse_loads || w->nmissed == MAX_ASKED)
		return false;
	w->nmissed++;
	m->ticket = ticket;
	memcpy(m->profile_id, profile_id, 16);
	m->request = malloc(len);
	memcpy(m->request, request, len);
	m->len = len;
	return true;
}

static inline bool
world_replay(void *arg, uint64_t ticket, const char *topic, size_t len,
			 int64_t since, int limit)
{
	world	   *w = arg;

	if (w->refuse_loads)
		return false;
	w->replay.ticket = ticket;
	w->replay.asked++;
	w->replay.since = since;
	w->replay.limit = limit;
	snprintf(w->replay.topic, sizeof(w->replay.topic), "%.*s", (int) len,
			 topic);
	return true;
}

static inline void
world_dirty(void *arg, hub_conn *conn)
{
	world	   *w = arg;

	(void) conn;
	w->ndirty++;
}

static inline void
world_drain(void *arg, hub_conn *conn)
{
	world	   *w = arg;
	uint8_t		bytes[4096];

	while (w->drains &&
		   queue_take(hub_conn_queue(conn), bytes, sizeof(bytes)) > 0)
		;
}

static inline void
world_close(void *arg, hub_conn *conn, int code, const char *reason)
{
	world	   *w = arg;

	(void) reason;
	w->closed[w->nclosed].conn = conn;
	w->closed[w->nclosed++].code = code;
}

static inline void
world_log(void *arg, const char *line)
{
	(void) arg;
	(void) line;
}

/* The argument of a test's post is where its result goes. */
static inline void
world_posted(void *arg, void *post_arg, hub_post_result result)
{
	(void) arg;
	*(int *) post_arg = result;
}

/* ----------
 * The world
 * ----------
 */

static inline bool
world_describe(world *w)
{
	return hub_set_table(w->h, EVENT_CONVERSATIONS, "public",
						 CONVERSATION_COLUMNS,
						 strlen(CONVERSATION_COLUMNS)) &&
		hub_set_table(w->h, EVENT_PARTICIPANTS, "public", PARTICIPANT_COLUMNS,
					  strlen(PARTICIPANT_COLUMNS)) &&
		hub_set_table(w->h, EVENT_MESSAGES, "public", MESSAGE_COLUMNS,
					  strlen(MESSAGE_COLUMNS));
}

typedef void (*posted_op) (void *arg, void *post_arg, hub_post_result result);

/* Not live, and nothing known of the tables. */
static inline world *
world_new_bare_with(posted_op posted)
{
	const hub_ops ops = {
		.load_user = world_load_user,
		.take_mark = world_take_mark,
		.catch_up = world_catch_up,
		.replay = world_replay,
		.dirty = world_dirty,
		.drain = world_drain,
		.close = world_close,
		.log = world_log,
		.posted = posted
	};
	token_config tokens = {.secret = SECRET};
	char		error[256];
	world	   *w = calloc(1, sizeof(world));

	w->asked = calloc(MAX_ASKED, sizeof(asked));
	w->missed = calloc(MAX_ASKED, sizeof(missed));
	w->closed = calloc(MAX_ASKED, sizeof(closed));
	w->keys = token_keys_new(&tokens, error, sizeof(error));
	w->config.max_queue_bytes = 1024 * 1024;
	w->config.max_channels = 100;
	w->config.max_bindings = 100;
	w->config.idle_timeout = 90;
	w->config.presence_grace = 5;
	w->config.receipts = true;
	w->config.keys = w->keys;
	w->now = NOW_USEC;
	w->lsn = 1000;
	w->xid = 100;
	w->h = hub_new(&w->config, &ops, w);
	if (w->h != NULL)
		hub_tick(w->h, w->now);
	return w;
}

static inline world *
world_new_bare(void)
{
	return world_new_bare_with(world_posted);
}

static inline world *
world_new_with(posted_op posted)
{
	world	   *w = world_new_bare_with(posted);

	world_describe(w);
	hub_set_live(w->h, true);
	return w;
}

static inline world *
world_new(void)
{
	return world_new_with(world_posted);
}

static inline void
world_free(world *w)
{
	if (w->h != NULL)
		hub_free(w->h);
	token_keys_free(w->keys);
	for (int i = 0; i < w->nmissed; i++)
		free(w->missed[i].request);
	free(w->missed);
	free(w->asked);
	free(w->closed);
	free(w->frame);
	free(w);
}

/* From now on nobody is cut for being idle. */
static inline void
world_be_patient(world *w)
{
	w->config.idle_timeout = 1000000;
	hub_set_config(w->h, &w->config);
}

/* Bring the signals that wait to the hub itself, as its shell does. */
static inline void
world_pump(world *w)
{
	const void *signal;
	size_t		size;

	while ((signal = hub_outgoing(w->h, &size)) != NULL)
	{
		if (!signal_valid(signal, size))
			check(false, "signal is valid");
		hub_signal(w->h, signal, size, w->now);
		hub_sent(w->h);
	}
}

/* .. and let so much time pass that changes of presence are told. */
static inline void
world_tell(world *w)
{
	world_pump(w);
	w->now += 60000;
	hub_tick(w->h, w->now);
	world_pump(w);
}

static inline void
world_wait(world *w, int seconds)
{
	for (int i = 0; i < seconds; i++)
	{
		w->now += 1000000;
		hub_tick(w->h, w->now);
		world_pump(w);
	}
}

/* ----------
 * People and tokens
 * ----------
 */

static inline void
user_id(uint8_t *id, int user)
{
	memset(id, 0, 16);
	id[0] = USER_BASE;
	id[14] = (uint8_t) (user >> 8);
	id[15] = (uint8_t) user;
}

static inline void
room_id(uint8_t *id, int room)
{
	memset(id, 0, 16);
	id[14] = (uint8_t) (room >> 8);
	id[15] = (uint8_t) room;
}

/* A token that says when it was issued; to be freed. */
static inline char *
token_issued(const char *role, int user, int64_t iat, int64_t exp)
{
	maker_key	key = {.secret = SECRET};
	char		sub[64] = "";
	char		issued[64] = "";
	char		payload[256];

	if (user > 0)
		snprintf(sub, sizeof(sub),
				 ",\"sub\":\"aa000000-0000-0000-0000-00000000%04x\"", user);
	if (iat > 0)
		snprintf(issued, sizeof(issued), ",\"iat\":%lld", (long long) iat);
	snprintf(payload, sizeof(payload), "{\"role\":\"%s\",\"exp\":%lld%s%s}",
			 role, (long long) exp, sub, issued);
	return make_token(&key, EVP_sha256(), "{\"alg\":\"HS256\"}", payload);
}

static inline char *
token_for(const char *role, int user, int64_t exp)
{
	return token_issued(role, user, 0, exp);
}

static inline hub_conn *
world_open_role(world *w, int vsn, const char *role, int user)
{
	token_claims claims = {.has_profile = user > 0, .exp = NOW + 3600};
	char		token[64];

	snprintf(claims.role, sizeof(claims.role), "%s", role);
	user_id(claims.profile_id, user);
	snprintf(token, sizeof(token), "%s of %d", role, user);
	return hub_conn_open(w->h, w, vsn, &claims, token, w->now);
}

static inline hub_conn *
world_open(world *w, int vsn, int user)
{
	return world_open_role(w, vsn, "authenticated", user);
}

static inline void
world_send(world *w, hub_conn *conn, const char *text)
{
	hub_conn_receive(conn, false, text, strlen(text), w->now);
}

/* ----------
 * What comes out
 * ----------
 */

/* The payload of the next frame of a connection, or NULL. */
static inline const char *
world_read(world *w, hub_conn *conn)
{
	static uint8_t bytes[4 * 1024 * 1024];
	queue	   *q = hub_conn_queue(conn);
	size_t		wanted = 2;
	size_t		header = 2;
	size_t		len;

	free(w->frame);
	w->frame = NULL;
	if (queue_take(q, bytes, wanted) != wanted)
		return NULL;
	len = bytes[1];
	if (len >= 126)
	{
		size_t		width = len == 126 ? 2 : 8;

		queue_take(q, bytes + 2, width);
		len = 0;
		for (size_t i = 0; i < width; i++)
			len = len << 8 | bytes[2 + i];
		header += width;
	}
	if (len > 0)
		queue_take(q, bytes + header, len);
	w->frame = calloc(1, len + 1);
	memcpy(w->frame, bytes + header, len);
	w->frame_len = len;
	w->frame_is_binary = bytes[0] == 0x82;
	w->frame_is_ping = bytes[0] == 0x89;
	return w->frame;
}

#define expect(w, conn, wanted, ...) \
	check_str_result(world_read(w, conn), wanted, __FILE__, __LINE__, \
					 __VA_ARGS__)

/* The next frame must contain a text. */
#define expect_part(w, conn, part, ...) \
	world_expect_part(w, conn, part, __FILE__, __LINE__, __VA_ARGS__)

static inline bool __attribute__((format(printf, 6, 7)))
world_expect_part(world *w, hub_conn *conn, const char *part,
				  const char *file, int line, const char *format,...)
{
	const char *got = world_read(w, conn);
	bool		good = got != NULL && strstr(got, part) != NULL;
	va_list		args;

	va_start(args, format);
	if (!check_vresult(good, file, line, format, args))
		printf("# got %s, wanted a part %s\n", got ? got : "(null)", part);
	va_end(args);
	return good;
}

#define expect_nothing(w, conn, ...) expect(w, conn, NULL, __VA_ARGS__)

static inline void
world_skip(world *w, hub_conn *conn)
{
	while (world_read(w, conn) != NULL)
		;
}

/* ----------
 * Memberships
 * ----------
 */

/* Answer a question: the rooms, and what the snapshot saw. */
static inline bool
world_answer_at(world *w, int question, const int *rooms, uint32_t nrooms,
				uint64_t fence, uint32_t xmin, uint32_t xmax,
				const uint32_t *xip, uint32_t nxip)
{
	size_t		len = sizeof(event_snapshot) + nxip * 4 + nrooms * 16;
	event_snapshot *s = malloc(len);
	uint8_t    *ids = (uint8_t *) (s + 1) + nxip * 4;
	bool		good;

	s->fence = fence;
	s->revoked_at = w->revoked_at;
	s->xmin = xmin;
	s->xmax = xmax;
	s->nxip = nxip;
	s->nids = nrooms;
	if (nxip > 0)
		memcpy(s + 1, xip, nxip * 4);
	for (uint32_t i = 0; i < nrooms; i++)
		room_id(ids + i * 16, rooms[i]);
	good = hub_user_loaded(w->h, w->asked[question].ticket, s, len);
	free(s);
	return good;
}

/* Answer the last question: a snapshot that saw all so far. */
static inline bool
world_answer(world *w, const int *rooms, uint32_t nrooms)
{
	return world_answer_at(w, w->nasked - 1, rooms, nrooms, w->lsn,
						   w->xid + 1, w->xid + 1, NULL, 0);
}

/* ----------
 * Events
 * ----------
 */

static inline event_header *
event_new(event_table table, event_action action, int room, int user,
		  const char *record, const char *old)
{
	static const char *const columns[] = {
		CONVERSATION_COLUMNS, PARTICIPANT_COLUMNS, MESSAGE_COLUMNS,
		BROADCAST_COLUMNS, REVOCATION_COLUMNS
	};
	bool		row = action != EVENT_COMMIT && action != EVENT_TRUNCATE;
	size_t		columns_len = row ? strlen(columns[table]) : 0;
	size_t		record_len = record != NULL ? strlen(record) : 0;
	size_t		old_len = old != NULL ? strlen(old) : 0;
	size_t		size = sizeof(event_header) + columns_len + record_len +
		old_len;
	event_header *e = calloc(1, size);
	char	   *text = (char *) (e + 1);

	e->magic = EVENT_MAGIC;
	e->size = (uint32_t) size;
	e->table = table;
	e->action = action;
	e->commit_time = INT64_C(1700000000123456);
	e->columns_len = (uint32_t) columns_len;
	e->record_len = (uint32_t) record_len;
	e->old_record_len = (uint32_t) old_len;
	room_id(e->conversation_id, room);
	if (user > 0)
		user_id(e->profile_id, user);
	if (row)
		memcpy(text, columns[table], columns_len);
	if (record != NULL)
		memcpy(text + columns_len, record, record_len);
	if (old != NULL)
		memcpy(text + columns_len + record_len, old, old_len);
	return e;
}

static inline event_header *
event_message(int room, const char *content)
{
	char		record[8192];

	snprintf(record, sizeof(record), "{\"id\":\"11111111-0000-7000-8000-"
			 "000000000001\",\"conversation_id\":"
			 "\"00000000-0000-0000-0000-00000000%04x\",\"content\":\"%s\","
			 "\"seq\":7}", room, content);
	return event_new(EVENT_MESSAGES, EVENT_INSERT, room, 0, record, NULL);
}

static inline event_header *
event_participant(event_action action, int room, int user)
{
	char		record[256];

	snprintf(record, sizeof(record), "{\"id\":\"p\",\"conversation_id\":"
			 "\"00000000-0000-0000-0000-00000000%04x\",\"profile_id\":"
			 "\"aa000000-0000-0000-0000-00000000%04x\"}", room, user);
	return event_new(EVENT_PARTICIPANTS, action, room, user,
					 action == EVENT_INSERT ? record : NULL,
					 action == EVENT_DELETE ? record : NULL);
}

/* topic and event are written as they stand in JSON, without quotes. */
static inline event_header *
event_broadcast_as(int number, int room, const char *topic, const char *event,
				   const char *payload)
{
	char		record[8192];

	snprintf(record, sizeof(record), "{\"id\":\"22222222-0000-7000-8000-"
			 "%012d\",\"conversation_id\":null,\"topic\":\"%s\","
			 "\"event\":\"%s\",\"payload\":%s,\"created_at\":\"now\"}",
			 number, topic, event, payload);
	return event_new(EVENT_BROADCASTS, EVENT_INSERT, room, 0, record, NULL);
}

static inline event_header *
event_broadcast(int room, const char *topic, const char *event,
				const char *payload)
{
	return event_broadcast_as(1, room, topic, event, payload);
}

/* From then on, in seconds, a user's tokens are no good. */
static inline event_header *
event_revocation(event_action action, int user, int64_t revoked_at)
{
	event_header *e = event_new(EVENT_REVOCATIONS, action, 0, user, "{}",
								action == EVENT_UPDATE ? "{}" : NULL);

	e->seq = revoked_at;
	return e;
}

/* Commit events as one transaction at a given place; they are freed. */
static inline void
world_commit_as(world *w, uint64_t lsn, uint32_t xid, event_header **events,
				size_t n)
{
	for (size_t i = 0; i < n; i++)
	{
		events[i]->commit_lsn = lsn;
		events[i]->xid = xid;
		events[i]->ordinal = (uint32_t) i;
		if (!hub_event_valid(events[i], events[i]->size))
			check(false, "event is valid");
	}
	for (size_t i = 0; i < n; i++)
		hub_learn(w->h, events[i]);
	hub_route(w->h, (const event_header *const *) events, n);
	hub_commit(w->h);
	for (size_t i = 0; i < n; i++)
		free(events[i]);
}

static inline void
world_commit(world *w, event_header **events, size_t n)
{
	w->lsn += 100;
	w->xid++;
	world_commit_as(w, w->lsn, w->xid, events, n);
}

static inline void
world_commit_one(world *w, event_header *e)
{
	world_commit(w, &e, 1);
}

#endif							/* HUB_WORLD_H */
