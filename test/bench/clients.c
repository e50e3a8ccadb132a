/*-------------------------------------------------------------------------
 *
 * clients.c
 *	  Thousands of WebSocket clients on one thread.
 *
 * They say what supabase-js says, and read as little of the answers as they
 * can, so that the machine's time goes to the server under test.  Each has
 * one channel, with one binding for its room.
 *
 * What they do beyond joining and reading is in talk.c and storm.c.
 *
 *-------------------------------------------------------------------------
 */
#include "clients.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define MOST_EVENTS		512
#define INPUT_SIZE		(512 * 1024)

/* So many handshakes at a time. */
#define MOST_ENTERING	256

totals		received;

const settings *set;
client	   *all;
static int	epoll_fd;
static int	entered;			/* clients that have begun */
static uint8_t input[INPUT_SIZE];

/* Heartbeats go round: one client after the other. */
static uint64_t beats;
static int64_t first_beat;

static size_t
base64url(char *to, const void *from, size_t len)
{
	size_t		n = (size_t) EVP_EncodeBlock((unsigned char *) to, from,
											 (int) len);

	while (n > 0 && to[n - 1] == '=')
		to[--n] = '\0';
	for (char *p = to; *p != '\0'; p++)
		*p = *p == '+' ? '-' : *p == '/' ? '_' : *p;
	return n;
}

static void
make_token(char *token, size_t size, int person)
{
	char		id[ID_SIZE];
	char		claims[200];
	unsigned char mac[EVP_MAX_MD_SIZE];
	unsigned	mac_len;
	size_t		len;

	person_id(id, person);
	snprintf(claims, sizeof(claims),
			 "{\"sub\":\"%s\",\"role\":\"authenticated\",\"exp\":%ld}",
			 id, (long) time(NULL) + 86400);
	snprintf(token, size, "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.");
	len = strlen(token);
	len += base64url(token + len, claims, strlen(claims));
	HMAC(EVP_sha256(), set->secret, (int) strlen(set->secret),
		 (unsigned char *) token, len, mac, &mac_len);
	token[len++] = '.';
	base64url(token + len, mac, mac_len);
}

/* Small messages to a peer that reads: they always fit. */
static void
send_all(client *c, const void *data, size_t len)
{
	if (send(c->fd, data, len, MSG_NOSIGNAL) != (ssize_t) len &&
		errno != EPIPE && errno != ECONNRESET)
		die("client %d could not send: %m", client_number(c));
}

/* A masked frame; the mask is zero, which is one of all masks. */
void
client_send(client *c, int opcode, const void *data, size_t len)
{
	uint8_t		frame[2048] = {(uint8_t) opcode};
	size_t		at = 2;

	if (len + 8 > sizeof(frame))
		die("message of %zu bytes is too large", len);
	if (len < 126)
		frame[1] = (uint8_t) (0x80 | len);
	else
	{
		frame[1] = 0x80 | 126;
		frame[at++] = (uint8_t) (len >> 8);
		frame[at++] = (uint8_t) len;
	}
	at += 4;
	memcpy(frame + at, data, len);
	send_all(c, frame, at + len);
}

/*
 * From nothing to a joined channel
 */

/* Connect, and wait for that or not; false: it is not possible. */
bool
client_connect(client *c, int flags)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t) set->port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)
	};
	struct epoll_event event = {.events = EPOLLIN,.data.ptr = c};
	int			one = 1;

	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
	if (c->fd < 0)
		die("client %d has no socket: %m", client_number(c));
	if (connect(c->fd, (struct sockaddr *) &address, sizeof(address)) != 0 &&
		errno != EINPROGRESS)
	{
		close(c->fd);
		return false;
	}
	if (flags & SOCK_NONBLOCK)
		event.events |= EPOLLOUT | EPOLLONESHOT;
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &event);
	c->state = CLIENT_CONNECTING;
	return true;
}

/* The request, on a connection. */
void
client_shake(client *c)
{
	static const char deflate[] = "Sec-WebSocket-Extensions: "
		"permessage-deflate; client_max_window_bits\r\n";
	struct epoll_event event = {.events = EPOLLIN,.data.ptr = c};
	char		token[512];
	char		id[40] = "";
	char		request[1200];

	epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &event);
	make_token(token, sizeof(token), client_number(c));
	if (set->storm)
		snprintf(id, sizeof(id), "&client_id=client-%d", client_number(c));
	snprintf(request, sizeof(request),
			 "GET /realtime/v1/websocket?apikey=%s%s&vsn=2.0.0 HTTP/1.1\r\n"
			 "Host: localhost\r\n"
			 "Upgrade: websocket\r\nConnection: Upgrade\r\n"
			 "Sec-WebSocket-Key: c2l4dGVlbiBieXRlcyBvaw==\r\n"
			 "Sec-WebSocket-Version: 13\r\n%s\r\n", token, id,
			 set->deflate ? deflate : "");
	send_all(c, request, strlen(request));
	c->state = CLIENT_SHAKING;
}

static void
enter(client *c)
{
	if (!client_connect(c, 0))
		die("client %d could not connect: %m", client_number(c));
	client_shake(c);
}

void
client_join(client *c)
{
	char		room[ID_SIZE];
	char		token[512];
	char		text[1600];

	room_id(room, set->room_size, client_number(c) / set->room_size);
	make_token(token, sizeof(token), client_number(c));
	snprintf(text, sizeof(text),
			 "[\"1\",\"1\",\"realtime:messages:%s\",\"phx_join\",{\"config\":"
			 "{\"broadcast\":{\"ack\":false,\"self\":true},"
			 "\"presence\":{\"key\":\"\",\"enabled\":%s},"
			 "\"postgres_changes\":[{\"event\":\"INSERT\","
			 "\"schema\":\"public\",\"table\":\"messages\","
			 "\"filter\":\"conversation_id=eq.%s\"}],\"private\":false},"
			 "\"access_token\":\"%s\"}]", room,
			 set->presence ? "true" : "false", room, token);
	client_send(c, TEXT, text, strlen(text));
	c->state = CLIENT_JOINING;
}

/* Bytes of a complete answer to the request; 0: more is to come. */
static size_t
read_answer(client *c, const uint8_t *data, size_t len)
{
	const uint8_t *end = memmem(data, len, "\r\n\r\n", 4);

	if (end == NULL)
		return 0;
	if (memmem(data, len, " 101 ", 5) == NULL)
	{
		if (!set->storm)
			die("client %d was refused: %.*s", client_number(c), (int) len,
				data);
		received.refused++;
		return len;
	}
	client_join(c);
	return (size_t) (end + 4 - data);
}

static void
subscribed(client *c)
{
	c->subscribed = true;
	received.joined++;
}

static void
read_reply(client *c, const char *text, size_t len)
{
	if (memmem(text, len, "\"phx_reply\"", 11) == NULL)
		return;
	if (memmem(text, len, "\"status\":\"ok\"", 13) == NULL)
		die("client %d could not join: %.*s", client_number(c), (int) len, text);
	c->state = CLIENT_JOINED;
	if (!set->storm)
		subscribed(c);
}

/* What was missed comes before that. */
static void
read_system(client *c, const char *text, size_t len)
{
	static const char mark[] = "\"Subscribed to PostgreSQL\"";

	if (memmem(text, len, mark, sizeof(mark) - 1) != NULL)
		subscribed(c);
}

/*
 * Messages
 */

/*
 * What stands behind a mark, or NULL.  Frames are much alike: it is where it
 * was in the last one, or nearby.
 */
static const char *
behind(const char *mark, size_t mark_len, const char *text, size_t len,
	   size_t *usual)
{
	const char *at = text + *usual;

	if (*usual + mark_len > len || memcmp(at, mark, mark_len) != 0)
		at = memmem(text, len, mark, mark_len);
	if (at == NULL)
		return NULL;
	*usual = (size_t) (at - text);
	return at + mark_len;
}

/* When it was sent, and by whom: how long did that take? */
static void
read_stamp(const char *stamp)
{
	char	   *at;
	int64_t		when = strtoll(stamp, &at, 10);
	int			writer = (int) strtol(at, &at, 10);
	int64_t		committed = writer_committed(writer, strtoull(at, NULL, 10));

	if (when < received.since)
		return;
	histogram_add(&received.latency, received.last - when);
	histogram_add(&received.after_commit,
				  committed > 0 ? received.last - committed : 0);
}

static void
read_message(client *c, const char *text, size_t len)
{
	static size_t usual_time;
	static size_t usual_seq;
	const char *sent = behind(TIME_MARK, sizeof(TIME_MARK) - 1, text, len,
							  &usual_time);
	const char *at;
	uint64_t	seq;

	if (sent == NULL)
		return;					/* something else, as the answer to a beat */
	at = behind(SEQ_MARK, sizeof(SEQ_MARK) - 1, sent,
				len - (size_t) (sent - text), &usual_seq);
	if (at == NULL)
		die("message without a number: %.*s", (int) len, text);

	seq = strtoull(at, NULL, 10);
	if (c->known > 0 && seq > c->known + 1)
		received.gaps++;
	if (seq <= c->seq)
		received.duplicates++;
	c->seq = seq;
	if (seq > c->known)
		c->known = seq;

	received.frames++;
	received.last = now_ns();
	read_stamp(sent);
}

static void
read_text(client *c, const char *text, size_t len)
{
	if (c->state != CLIENT_JOINED)
		read_reply(c, text, len);
	else if (set->presence)
		talk_read_presence(text, len);
	else
		read_message(c, text, len);
	if (!c->subscribed && c->state == CLIENT_JOINED)
		read_system(c, text, len);
}

static void
read_packed(client *c, const uint8_t *data, size_t len)
{
	size_t		text_len;
	const char *text = unpack(data, len, &text_len);

	read_text(c, text, text_len);
}

/* Bytes of the frame that data begins with; 0: it is not complete. */
static size_t
read_frame(client *c, const uint8_t *data, size_t len)
{
	size_t		at = 2;
	uint64_t	size;

	if (len < 2)
		return 0;
	size = data[1];
	if (size >= 126)
	{
		at += size == 126 ? 2 : 8;
		if (len < at)
			return 0;
		size = 0;
		for (size_t i = 2; i < at; i++)
			size = size << 8 | data[i];
	}
	if (size > INPUT_SIZE / 2)
		die("frame of %lu bytes", (unsigned long) size);
	if (len < at + size)
		return 0;

	if (c->state == CLIENT_JOINED)
		received.bytes += size;
	if (data[0] == TEXT)
		read_text(c, (const char *) data + at, size);
	else if (data[0] == PACKED_TEXT)
		read_packed(c, data + at, size);
	else if (data[0] == PING)
		client_send(c, PONG, data + at, size);
	else if (data[0] != CLOSE)
		die("frame of kind %02x", data[0]);
	return at + size;
}

static void
leave(client *c)
{
	client_drop(c);
	received.closed++;
}

/* Without the goodbyes of TCP, which would keep the ports busy. */
void
client_drop(client *c)
{
	struct linger at_once = {.l_onoff = 1};

	setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	close(c->fd);
	free(c->rest);
	c->rest = NULL;
	c->rest_len = 0;
	received.joined -= c->subscribed;
	c->subscribed = false;
	c->state = CLIENT_CLOSED;
}

/* Keep the beginning of a frame until the rest has come. */
static void
keep(client *c, const uint8_t *data, size_t len)
{
	free(c->rest);
	c->rest = NULL;
	c->rest_len = len;
	if (len == 0)
		return;
	c->rest = malloc(len);
	if (c->rest == NULL)
		die("out of memory");
	memcpy(c->rest, data, len);
}

static void
read_input(client *c)
{
	size_t		len = c->rest_len;
	size_t		at = 0;
	size_t		n;
	ssize_t		got = recv(c->fd, input + len, INPUT_SIZE - len - 1,
						   MSG_DONTWAIT);

	if (got < 0 && errno == EAGAIN)
		return;
	if (got <= 0)
	{
		leave(c);
		return;
	}
	if (len > 0)
		memcpy(input, c->rest, len);
	len += (size_t) got;
	input[len] = '\0';			/* for numbers at the very end */

	do
	{
		n = c->state == CLIENT_SHAKING ?
			read_answer(c, input + at, len - at) :
			read_frame(c, input + at, len - at);
		at += n;
	} while (n > 0 && at < len);
	if (c->rest_len > 0 || at < len)
		keep(c, input + at, len - at);
}

/*
 * The loop
 */

/* Beats are spread evenly; returns when the next one is due. */
static int64_t
send_beats(int64_t now)
{
	static const char beat[] = "[null,\"2\",\"phoenix\",\"heartbeat\",{}]";
	double		pause = set->heartbeat * (double) SECOND / set->clients;
	int64_t		due;

	if (set->heartbeat == 0)
		return INT64_MAX;
	while ((due = first_beat + (int64_t) (pause * (double) beats)) <= now)
	{
		client	   *c = &all[beats++ % (uint64_t) set->clients];

		if (c->state == CLIENT_JOINED)
			client_send(c, TEXT, beat, sizeof(beat) - 1);
	}
	return due;
}

/* One turn, which ends by itself at the given time. */
void
clients_turn(int64_t until)
{
	struct epoll_event events[MOST_EVENTS];
	int64_t		now = now_ns();
	int64_t		due = send_beats(now);
	int			n;

	if (due < until)
		until = due;
	n = epoll_wait(epoll_fd, events, MOST_EVENTS,
				   until > now ? (int) ((until - now) / 1000000) + 1 : 0);
	for (int i = 0; i < n; i++)
	{
		client	   *c = events[i].data.ptr;

		if (c->state == CLIENT_CONNECTING)
			storm_connected(c);
		else
			read_input(c);
	}
}

void
clients_start(const settings *s)
{
	set = s;
	all = calloc((size_t) s->clients, sizeof(client));
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (all == NULL || epoll_fd < 0)
		die("could not prepare %d clients: %m", s->clients);
}

bool
clients_join(double seconds)
{
	int64_t		until = now_ns() + (int64_t) (seconds * (double) SECOND);

	first_beat = INT64_MAX / 2;
	while (received.joined < set->clients && now_ns() < until)
	{
		while (entered < set->clients &&
			   entered - received.joined < MOST_ENTERING)
			enter(&all[entered++]);
		clients_turn(until);
	}
	first_beat = now_ns();
	return received.joined == set->clients;
}

/* Until so many frames have come in all, or the time is up. */
bool
clients_read(int64_t until, uint64_t frames)
{
	while (received.frames < frames && now_ns() < until)
		clients_turn(until);
	return received.frames >= frames;
}

void
clients_stop(void)
{
	for (int i = 0; i < entered; i++)
		if (all[i].state != CLIENT_CLOSED)
			client_drop(&all[i]);
}
