/*-------------------------------------------------------------------------
 *
 * writers.c
 *	  Who publishes: SQL through libpq, or the hub's own port.
 *
 * With a rate, the writers keep to a timetable: a message bears the time at
 * which it was to be sent, and a writer that is late does not push the others
 * back.  So the time that messages spend waiting for a slow server is counted
 * and not left out.
 *
 *-------------------------------------------------------------------------
 */
#include "bench.h"

#include <arpa/inet.h>
#include <libpq-fe.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define MOST_WRITERS	64

/* A message is on its way no longer than for so many turns of its writer. */
#define TURNS			65536

typedef struct writer
{
	pthread_t	thread;
	int			number;
	PGconn	   *conn;
	uint64_t	sent;
	histogram	commits;
	_Atomic int64_t committed[TURNS];
} writer;

/* One parameter each of the INSERT below: arrays, as text. */
typedef struct batch
{
	char	   *rooms;
	char	   *people;
	char	   *texts;
	size_t		texts_len;
	int			count;
} batch;

static const char insert[] =
"INSERT INTO messages (conversation_id, sender_profile_id, content) "
"SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[])";

static const settings *set;
static writer all[MOST_WRITERS];
static int64_t begin;
static atomic_bool ended;

static PGconn *
open_session(void)
{
	PGconn	   *conn = PQconnectdb("");
	PGresult   *result;

	if (PQstatus(conn) != CONNECTION_OK)
		die("could not connect: %s", PQerrorMessage(conn));
	result = PQprepare(conn, "insert", insert, 3, NULL);
	if (PQresultStatus(result) != PGRES_COMMAND_OK)
		die("could not prepare: %s", PQerrorMessage(conn));
	PQclear(result);
	return conn;
}

static void
execute(PGconn *conn, const char *sql)
{
	PGresult   *result = PQexec(conn, sql);

	if (PQresultStatus(result) != PGRES_COMMAND_OK &&
		PQresultStatus(result) != PGRES_TUPLES_OK)
		die("SQL failed: %s", PQerrorMessage(conn));
	PQclear(result);
}

/* The people, rooms and members that the clients are. */
void
writers_fill(const settings *s)
{
	PGconn	   *conn = open_session();
	char		sql[2000];

	snprintf(sql, sizeof(sql),
			 "CREATE TEMP TABLE person AS SELECT n, n / %d AS room, "
			 "('00000000-0000-4000-8000-' || lpad(to_hex(n), 12, '0'))::uuid "
			 "AS id, ('%08x-0000-4000-9000-' || "
			 "lpad(to_hex(n / %d), 12, '0'))::uuid AS room_id "
			 "FROM generate_series(0, %d) n;"
			 "INSERT INTO profiles (id, display_name) "
			 "SELECT id, 'person ' || n FROM person ON CONFLICT DO NOTHING;"
			 "INSERT INTO conversations (id, type, created_by) "
			 "SELECT room_id, 'group', id FROM person WHERE n %% %d = 0 "
			 "ON CONFLICT DO NOTHING;"
			 "INSERT INTO conversation_participants "
			 "(conversation_id, profile_id) SELECT room_id, id FROM person "
			 "ON CONFLICT DO NOTHING;"
			 "SELECT openhr_msg.create_partitions();"
			 "ANALYZE conversations, conversation_participants",
			 s->room_size, (unsigned) s->room_size, s->room_size,
			 s->clients - 1, s->room_size);
	execute(conn, sql);
	PQfinish(conn);
}

/* The postmaster starts another one. */
void
writers_end_gateway(void)
{
	PGconn	   *conn = open_session();

	execute(conn, "SELECT pg_terminate_backend(pid) FROM openhr_msg.status() "
			"WHERE worker = 'gateway'");
	PQfinish(conn);
}

/*
 * A batch of messages for SQL
 */

static void
batch_init(batch *b)
{
	size_t		room = (size_t) set->burst;

	b->rooms = malloc(room * ID_SIZE + 2);
	b->people = malloc(room * ID_SIZE + 2);
	b->texts = malloc(room * ((size_t) set->text_size + 4) + 2);
	if (b->rooms == NULL || b->people == NULL || b->texts == NULL)
		die("out of memory");
}

static void
batch_clear(batch *b)
{
	b->rooms[0] = b->people[0] = b->texts[0] = '{';
	b->texts_len = 1;
	b->count = 0;
}

/* Some text, as people write, which is never the same. */
static void
add_words(char *text, size_t len)
{
	static const char *const words[] = {
		"the", "and", "you", "that", "was", "for", "are", "with", "his", "they",
		"this", "have", "from", "one", "had", "word", "but", "not", "what", "all",
		"were", "when", "your", "can", "said", "there", "use", "each", "which",
		"she", "how", "their", "will", "other", "about", "out", "many", "then",
		"them", "these", "some", "her", "would", "make", "like", "him", "into",
		"time", "has", "look", "two", "more", "write", "see", "number", "way",
		"could", "people", "than", "first", "water", "been", "call", "who",
		"interview", "position", "candidate", "Thursday", "afternoon", "salary",
		"remote", "contract", "experience", "engineer", "manager", "portfolio",
		"reference", "schedule", "available", "company", "office", "team",
		"question", "answer", "meeting", "tomorrow", "Monday", "project"
	};
	static unsigned state = 1;
	size_t		at = 0;

	while (at < len)
	{
		const char *word;

		state = state * 1103515245 + 12345;
		word = words[(state >> 16) % (sizeof(words) / sizeof(words[0]))];
		while (*word != '\0' && at < len)
			text[at++] = *word++;
		if (at < len)
			text[at++] = ' ';
	}
}

static void
batch_add(batch *b, int room, int64_t when, int writer, uint64_t turn)
{
	size_t		at = 1 + (size_t) b->count * ID_SIZE;
	size_t		size = (size_t) set->text_size;
	char	   *text = b->texts + b->texts_len;

	room_id(b->rooms + at, set->room_size, room);
	person_id(b->people + at, room * set->room_size);
	memset(text, 'x', size + 2);
	memcpy(text, "\"@", 2);
	snprintf(text + 2, STAMP_SIZE + 1, STAMP, (long) when, writer,
			 (unsigned long) turn);
	text[STAMP_SIZE + 2] = 'x';
	if (set->words)
		add_words(text + STAMP_SIZE + 2, size - STAMP_SIZE - 1);
	text[size + 1] = '"';
	b->rooms[at + ID_SIZE - 1] = b->people[at + ID_SIZE - 1] = ',';
	text[size + 2] = ',';
	b->texts_len += size + 3;
	b->count++;
}

static void
batch_send(batch *b, PGconn *conn)
{
	const char *values[3] = {b->rooms, b->people, b->texts};
	size_t		ids_len = (size_t) b->count * ID_SIZE;
	PGresult   *result;

	strcpy(b->rooms + ids_len, "}");
	strcpy(b->people + ids_len, "}");
	strcpy(b->texts + b->texts_len - 1, "}");
	result = PQexecPrepared(conn, "insert", 3, values, NULL, NULL, 0);
	if (PQresultStatus(result) != PGRES_COMMAND_OK)
		die("could not send: %s", PQerrorMessage(conn));
	PQclear(result);
}

static void
batch_free(batch *b)
{
	free(b->rooms);
	free(b->people);
	free(b->texts);
}

/*
 * The hub, see hub.c: it is told room and length, and then the frame's text,
 * which looks like those of the gateway.
 */

static int
hub_connect(void)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t) set->port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)
	};
	int			fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char		answer;

	if (fd < 0 ||
		connect(fd, (struct sockaddr *) &address, sizeof(address)) != 0 ||
		send(fd, "P", 1, 0) != 1 || recv(fd, &answer, 1, 0) != 1)
		die("could not connect to the hub: %m");
	return fd;
}

static void
hub_send(int fd, uint8_t *data, size_t len)
{
	while (len > 0)
	{
		ssize_t		n = send(fd, data, len, MSG_NOSIGNAL);

		if (n <= 0)
			die("could not send to the hub: %m");
		data += n;
		len -= (size_t) n;
	}
}

static size_t
hub_message(uint8_t *data, int room, uint64_t seq, int64_t when)
{
	uint32_t	head[2] = {(uint32_t) room, (uint32_t) set->text_size};
	char	   *text = (char *) data + sizeof(head);

	memcpy(data, head, sizeof(head));
	memset(text, 'x', (size_t) set->text_size);
	text[snprintf(text, (size_t) set->text_size,
				  TIME_MARK STAMP "\"," SEQ_MARK "%lu,", (long) when, 0, 0ul,
				  (unsigned long) seq)] = 'x';
	return sizeof(head) + (size_t) set->text_size;
}

static void
hub_burst(uint64_t first)
{
	static int	fd = -1;
	static uint8_t *data = NULL;
	size_t		len = 0;
	int64_t		now = now_ns();

	if (data == NULL)
	{
		fd = hub_connect();
		data = malloc((size_t) set->burst * ((size_t) set->text_size + 8));
		if (data == NULL)
			die("out of memory");
	}
	for (uint64_t n = first; n < first + (uint64_t) set->burst; n++)
		len += hub_message(data + len, (int) (n % (uint64_t) rooms(set)),
						   n / (uint64_t) rooms(set) + 1, now);
	hub_send(fd, data, len);
}

/* Publish one burst, to one room after the other; returns its size. */
uint64_t
writers_burst(const settings *s)
{
	static PGconn *conn = NULL;
	static batch b;
	static uint64_t sent = 0;
	int64_t		now = now_ns();

	set = s;
	if (s->hub)
		hub_burst(sent);
	else
	{
		if (conn == NULL)
		{
			conn = open_session();
			batch_init(&b);
		}
		batch_clear(&b);
		for (uint64_t n = sent; n < sent + (uint64_t) s->burst; n++)
			batch_add(&b, (int) (n % (uint64_t) rooms(s)), now, 0, 0);
		batch_send(&b, conn);
	}
	sent += (uint64_t) s->burst;
	return (uint64_t) s->burst;
}

/*
 * Writers of their own threads
 */

static void
sleep_until(int64_t when)
{
	struct timespec t = {.tv_sec = when / SECOND,.tv_nsec = when % SECOND};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) != 0)
		;
}

/* Each has its share of the rooms, so that none waits for another's lock. */
static void *
write_messages(void *arg)
{
	writer	   *w = arg;
	int			share = rooms(set) / set->writers;
	double		pause = set->rate > 0 ?
		(double) SECOND * set->writers * set->burst / set->rate : 0;
	double		offset = pause * w->number / set->writers;
	batch		b;

	prctl(PR_SET_TIMERSLACK, 1);
	batch_init(&b);
	for (uint64_t turn = 0; !ended; turn++)
	{
		int64_t		when = begin + (int64_t) (offset + pause * (double) turn);
		int64_t		now;

		if (set->rate > 0)
			sleep_until(when);
		else
			when = now_ns();

		batch_clear(&b);
		for (int i = 0; i < set->burst; i++, w->sent++)
			batch_add(&b, w->number * share +
					  (int) (w->sent % (uint64_t) share), when, w->number,
					  turn);
		w->committed[turn % TURNS] = 0;
		batch_send(&b, w->conn);
		now = now_ns();
		w->committed[turn % TURNS] = now;
		if (when >= received.since)
			histogram_add(&w->commits, now - when);
	}
	batch_free(&b);
	return NULL;
}

void
writers_start(const settings *s)
{
	set = s;
	if (s->writers > MOST_WRITERS || s->writers > rooms(s))
		die("%d writers are too many", s->writers);
	ended = false;
	for (int i = 0; i < s->writers; i++)
	{
		all[i].number = i;
		all[i].conn = open_session();
	}
	begin = now_ns();
	for (int i = 0; i < s->writers; i++)
		if (pthread_create(&all[i].thread, NULL, write_messages, &all[i]) != 0)
			die("could not start a thread");
}

/* Returns how many messages were sent. */
uint64_t
writers_stop(histogram *commits)
{
	uint64_t	sent = 0;

	ended = true;
	for (int i = 0; i < set->writers; i++)
	{
		pthread_join(all[i].thread, NULL);
		PQfinish(all[i].conn);
		histogram_merge(commits, &all[i].commits);
		sent += all[i].sent;
	}
	return sent;
}

int64_t
writer_committed(int writer, uint64_t turn)
{
	return all[writer % MOST_WRITERS].committed[turn % TURNS];
}
