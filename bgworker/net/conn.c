/*-------------------------------------------------------------------------
 *
 * conn.c
 *	  One connection, from its first byte to its last.
 *
 *	  CONN_HEAD --> CONN_OPEN --> CONN_CLOSING ---> (freed)
 *		  |             |   |                         ^
 *		  |             |   +----> CONN_LEAVING ------+
 *		  +-------------+--------> CONN_DRAINING -----+
 *		  |                             ^
 *		  +-> CONN_BODY --> CONN_ANSWER-+                (exchange.c)
 *		  ^                      |
 *		  +--- CONN_ANSWERED <---+
 *
 * A request that is refused, and a peer that broke the protocol, are answered
 * and then drained: if we closed with unread input in the kernel, TCP would
 * reset the connection, and the answer might never arrive.  A close of ours
 * waits for the peer's; a close of the peer's is answered, and we leave.  Each
 * wait has its deadline.
 *
 * Output goes out at once, in as few writes as there are 16 kB.  What the
 * socket does not take of one write stays with libwebsockets; the connection
 * is choked then, nothing more is written, and nothing is read from a peer
 * that does not read.  It ends when the socket was writable again, or by
 * DEADLINE_WRITE.  Whoever calls finds the connection's memory intact: what
 * must go is marked dead, and torn down by server_flush() or by the return
 * value of libwebsockets' callback.
 *
 *-------------------------------------------------------------------------
 */
#include "conn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static const unsigned deadline_ms[DEADLINE_KINDS] = {
	[DEADLINE_HEAD] = 10000,
	[DEADLINE_IDLE] = 60000,
	[DEADLINE_BODY] = 10000,
	[DEADLINE_ANSWER] = 7000,
	[DEADLINE_MESSAGE] = 20000,
	[DEADLINE_CLOSE] = 5000,
	[DEADLINE_WRITE] = 10000
};

static const char too_many[] = "too many connections";

static void disown(server_conn *conn);
static void deadline_start(server *srv, deadline *d, deadline_kind kind);
static void read_head(server_conn *conn, uint8_t *data, size_t len);
static bool keep_head(server_conn *conn, const uint8_t *data, size_t len);
static void serve_request(server_conn *conn, char *head, size_t size,
						  size_t len);
static void open_websocket(server_conn *conn, const http_request *request);
static void send_away(server_conn *conn, const http_request *request);
static bool accept_websocket(server_conn *conn, const http_request *request);
static void read_frames(server_conn *conn, uint8_t *data, size_t len);
static void take_item(server_conn *conn, ws_event event, const ws_item *item);
static void close_with(server_conn *conn, int code, const char *reason,
					   conn_state next);
static void finish(server_conn *conn);
static void mark_due(server_conn *conn);

server_conn *
conn_new(server *srv)
{
	server_conn *conn = calloc(1, sizeof(server_conn));

	if (conn == NULL)
		return NULL;

	conn->srv = srv;
	conn->state = CONN_HEAD;
	list_init(&conn->due);
	list_init(&conn->reading.link);
	list_init(&conn->writing.link);
	list_push(&srv->conns, &conn->all);
	deadline_start(srv, &conn->reading, DEADLINE_HEAD);
	srv->count++;
	return conn;
}

void
conn_free(server_conn *conn)
{
	server	   *srv = conn->srv;

	disown(conn);
	exchange_end(conn);
	exchange_sent(conn);
	list_remove(&conn->all);
	list_remove(&conn->due);
	list_remove(&conn->reading.link);
	list_remove(&conn->writing.link);
	ws_decoder_free(&conn->ws);
	tls_free(conn->tls);
	free(conn->head);
	free(conn->last);
	free(conn);
	srv->count--;
}

/* It is none of the owner's any more. */
static void
disown(server_conn *conn)
{
	server	   *srv = conn->srv;

	if (conn->user == NULL)
		return;
	srv->ops.closed(srv->arg, conn->user);
	conn->user = NULL;
	srv->open--;
}

static void
deadline_start(server *srv, deadline *d, deadline_kind kind)
{
	list_remove(&d->link);
	uv_update_time(&srv->loop);	/* it may not have run for long */
	d->due = uv_now(&srv->loop) + deadline_ms[kind];
	list_push(&srv->deadlines[kind], &d->link);
}

/* Give up on everybody who let a deadline pass. */
void
conn_expire(server *srv)
{
	for (int kind = 0; kind < DEADLINE_KINDS; kind++)
	{
		list	   *head = &srv->deadlines[kind];

		while (!list_is_empty(head))
		{
			deadline   *d = list_entry(deadline, link, head->next);

			if (d->due > uv_now(&srv->loop))
				break;
			list_remove(&d->link);
			if (kind == DEADLINE_ANSWER)
			{
				server_conn *conn = list_entry(server_conn, reading, d);

				srv->ops.expired(srv->arg, conn->exchange);
				if (conn->state != CONN_ANSWER)
					continue;
			}
			if (kind == DEADLINE_HEAD || kind == DEADLINE_BODY)
				srv->ops.refused(srv->arg, 408, "request takes too long");
			if (kind == DEADLINE_IDLE)
				conn_kill(list_entry(server_conn, reading, d));
			else
				conn_reset(kind == DEADLINE_WRITE ?
						   list_entry(server_conn, writing, d) :
						   list_entry(server_conn, reading, d));
		}
	}
}

/*
 * There are as many connections as there may be.  Whoever has been told to go,
 * or else has been making up a request for the longest time, goes now: those
 * that come and ask for nothing must not keep others out.
 */
bool
conn_make_room(server *srv)
{
	static const deadline_kind kinds[] = {
		DEADLINE_CLOSE, DEADLINE_IDLE, DEADLINE_HEAD, DEADLINE_BODY
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
	{
		list_node  *node = list_shift(&srv->deadlines[kinds[i]]);

		if (node == NULL)
			continue;
		if (kinds[i] != DEADLINE_CLOSE && kinds[i] != DEADLINE_IDLE)
			srv->ops.refused(srv->arg, 503, too_many);
		conn_reset(list_entry(server_conn, reading.link, node));
		return true;
	}
	srv->ops.refused(srv->arg, 503, too_many);
	return false;
}

/*
 * Input.
 */

void
conn_input(server_conn *conn, uint8_t *data, size_t len)
{
	switch (conn->state)
	{
		case CONN_HEAD:
			read_head(conn, data, len);
			break;
		case CONN_BODY:
			exchange_input(conn, (const char *) data, len);
			break;
		case CONN_OPEN:
		case CONN_CLOSING:
			read_frames(conn, data, len);
			break;
		case CONN_ANSWER:
			conn->keep = false;
			break;
		case CONN_ANSWERED:
			conn->state = CONN_DRAINING;
			break;
		case CONN_DRAINING:
		case CONN_LEAVING:
			break;
	}
}

/* Most requests come in one piece and are used in place. */
static void
read_head(server_conn *conn, uint8_t *data, size_t len)
{
	size_t		seen = conn->head_len;
	size_t		size;
	char	   *head = (char *) data;

	if (conn->kept)
	{
		conn->kept = false;
		deadline_start(conn->srv, &conn->reading, DEADLINE_HEAD);
	}
	if (seen > 0)
	{
		if (!keep_head(conn, data, len))
			return;
		head = conn->head;
		len = conn->head_len;
	}

	size = http_head_size(head, len, seen);
	if (size > HTTP_MAX_HEAD || (size == 0 && len > HTTP_MAX_HEAD))
		conn_fail(conn, 431, "request header is too large");
	else if (size > 0)
	{
		serve_request(conn, head, size, len);
		if (conn->state == CONN_OPEN && len > size)
			read_frames(conn, (uint8_t *) head + size, len - size);
	}
	else if (seen == 0)
		keep_head(conn, data, len);

	if (conn->state != CONN_HEAD)
	{
		free(conn->head);
		conn->head = NULL;
		conn->head_len = 0;
	}
}

/* Add a piece to those of the request that have come. */
static bool
keep_head(server_conn *conn, const uint8_t *data, size_t len)
{
	char	   *head = realloc(conn->head, conn->head_len + len);

	if (head == NULL)
	{
		conn_kill(conn);
		return false;
	}
	memcpy(head + conn->head_len, data, len);
	conn->head = head;
	conn->head_len += len;
	return true;
}

/* len bytes have come, of which the head has size. */
static void
serve_request(server_conn *conn, char *head, size_t size, size_t len)
{
	http_request request;
	int			status = http_parse(head, size, &request);

	if (status != 0)
	{
		conn_fail(conn, status, "request cannot be understood");
		return;
	}
	switch (http_wants_upgrade(&request))
	{
		case HTTP_UPGRADE_NONE:
			exchange_begin(conn, &request, head + size, len - size);
			break;
		case HTTP_UPGRADE_WEBSOCKET:
			open_websocket(conn, &request);
			break;
		case HTTP_UPGRADE_VERSION:
			conn_fail(conn, 426, "WebSocket version 13 is required");
			break;
		case HTTP_UPGRADE_BAD:
			conn_fail(conn, 400, "WebSocket handshake is not valid");
			break;
	}
}

static void
open_websocket(server_conn *conn, const http_request *request)
{
	server	   *srv = conn->srv;
	server_refusal refusal = {0};

	if (srv->open >= (size_t) srv->config.max_connections)
	{
		send_away(conn, request);
		return;
	}
	if (srv->config.compression)
		extensions_negotiate(request, &conn->deflate);
	conn->user = srv->ops.request(srv->arg, conn, request, &refusal);
	if (conn->user == NULL)
		conn_fail(conn, refusal.status, refusal.error);
	else
	{
		srv->open++;
		accept_websocket(conn, request);
	}
}

/*
 * One connection too many.  Some clients never try again after a refused
 * handshake, but do after a close, so that is how they are told to come back.
 */
static void
send_away(server_conn *conn, const http_request *request)
{
	conn->srv->ops.refused(conn->srv->arg, 503, too_many);
	if (accept_websocket(conn, request))
		close_with(conn, WS_CLOSE_TRY_LATER, too_many, CONN_CLOSING);
}

void
conn_count_answer(server_conn *conn, int status)
{
	if (status >= 100 && status < 600)
		conn->srv->answers[status / 100]++;
}

void
conn_fail(server_conn *conn, int status, const char *error)
{
	char		head[HTTP_MAX_RESPONSE_HEAD];
	char		body[256];
	http_response response;

	conn->srv->ops.refused(conn->srv->arg, status, error);
	conn_count_answer(conn, status);
	http_set_error(&response, status, error, body, sizeof(body));
	conn_end(conn, head, http_response_head(head, sizeof(head), &response,
												false),
			 response.body, conn->bodyless ? 0 : response.body_len,
			 CONN_DRAINING);
}

static bool
accept_websocket(server_conn *conn, const http_request *request)
{
	char		accept[WS_ACCEPT_SIZE];
	char		taken[EXTENSIONS_MAX_REPLY] = "";
	char		reply[EXTENSIONS_MAX_REPLY + 256];
	int			len;

	/* http_wants_upgrade() has checked the key. */
	ws_accept_key(http_header_value(request, "sec-websocket-key"), accept);
	if (conn->deflate.window > 0)
		extensions_reply(taken, sizeof(taken), &conn->deflate);
	len = snprintf(reply, sizeof(reply),
				   "HTTP/1.1 101 Switching Protocols\r\n"
				   "Upgrade: websocket\r\n"
				   "Connection: Upgrade\r\n"
				   "Sec-WebSocket-Accept: %s\r\n"
				   "%s\r\n", accept, taken);

	list_remove(&conn->reading.link);
	ws_decoder_init(&conn->ws, conn->srv->config.max_message,
					conn->deflate.window > 0 ? conn->srv->inflater : NULL);
	conn->state = CONN_OPEN;
	return conn_write(conn, (uint8_t *) reply, len);
}

static void
read_frames(server_conn *conn, uint8_t *data, size_t len)
{
	bool		complete = false;
	ws_item		item;
	ws_event	event;

	while ((conn->state == CONN_OPEN || conn->state == CONN_CLOSING) &&
		   !conn->dead &&
		   (event = ws_decode(&conn->ws, &data, &len, &item)) != WS_MORE)
	{
		take_item(conn, event, &item);
		if (event == WS_MESSAGE)
			complete = true;
	}

	/* A frame or message that has begun must also end. */
	if (conn->state == CONN_OPEN)
	{
		bool		armed = !list_is_empty(&conn->reading.link);

		if (!ws_decoder_is_busy(&conn->ws))
			list_remove(&conn->reading.link);
		else if (complete || !armed)
			deadline_start(conn->srv, &conn->reading, DEADLINE_MESSAGE);
	}
}

static void
take_item(server_conn *conn, ws_event event, const ws_item *item)
{
	server	   *srv = conn->srv;
	uint8_t		frame[WS_MAX_CONTROL + 2];

	switch (event)
	{
		case WS_MESSAGE:
			/* Once we asked for the close, only the peer's is waited for. */
			if (conn->state == CONN_OPEN)
				srv->ops.receive(srv->arg, conn->user, item->binary,
								 item->data, item->len);
			break;
		case WS_PING:
			/* Answering the latest only is allowed (5.5.3). */
			if (conn->state == CONN_OPEN && !conn->choked)
				conn_write(conn, frame,
							ws_pong_frame(frame, item->data, item->len));
			break;
		case WS_CLOSE:
			if (conn->state == CONN_OPEN)
				close_with(conn, item->code, "", CONN_LEAVING);
			else if (conn->ended)
				conn_kill(conn);
			else
				conn->state = CONN_LEAVING;
			break;
		case WS_ERROR:
			if (conn->state == CONN_OPEN)
				close_with(conn, item->code, "", CONN_DRAINING);
			else
				conn_kill(conn);
			break;
		case WS_PONG:
			if (conn->state == CONN_OPEN)
				srv->ops.pong(srv->arg, conn->user, item->data, item->len);
			break;
		case WS_MORE:
			break;
	}
}

/*
 * Output.
 */

static void
close_with(server_conn *conn, int code, const char *reason, conn_state next)
{
	uint8_t		frame[WS_MAX_CONTROL + 2];

	conn_end(conn, frame, ws_close_frame(frame, code, reason), NULL, 0, next);
}

/* Our side is to end with these bytes; conn_flush() writes them. */
void
conn_end(server_conn *conn, const void *head, size_t head_len,
		 const void *body, size_t body_len, conn_state next)
{
	conn->last = malloc(head_len + body_len);
	if (conn->last == NULL)
	{
		conn_kill(conn);
		return;
	}
	memcpy(conn->last, head, head_len);
	if (body_len > 0)
		memcpy(conn->last + head_len, body, body_len);
	conn->last_len = head_len + body_len;
	conn->state = next;
	list_remove(&conn->reading.link);
	mark_due(conn);
}

/* The peer, or the owner, has so much time. */
void
conn_await(server_conn *conn, deadline_kind kind)
{
	deadline_start(conn->srv, &conn->reading, kind);
}

/* Write what the owner has, until the socket takes no more. */
void
server_write(server_conn *conn)
{
	server	   *srv = conn->srv;

	while (conn->user && !conn->choked && !conn->dead)
	{
		size_t		len = srv->ops.fill(srv->arg, conn->user,
										srv->out, sizeof(srv->out));

		if (len == 0)
			break;
		conn_write(conn, srv->out, len);
	}
}

/* Write what there is; what is queued precedes the close frame. */
void
conn_flush(server_conn *conn)
{
	server_write(conn);
	if (conn->choked || conn->dead)
		return;

	if (conn->last)
	{
		uint8_t    *last = conn->last;
		bool		written;

		conn->last = NULL;
		conn->ended = true;
		written = conn_write(conn, last, conn->last_len);
		free(last);
		if (!written)
		{
			exchange_waits(conn, conn->last_len);
			return;
		}
	}
	if (!conn->ended)
		return;
	if (conn->state == CONN_ANSWERED)
		exchange_next(conn);
	else
		finish(conn);
}

/* There is no way to say anything more. */
void
conn_give_up(server_conn *conn)
{
	disown(conn);
	exchange_end(conn);
	free(conn->last);
	conn->last = NULL;
	conn->ended = true;
	conn->state = CONN_DRAINING;
	list_remove(&conn->reading.link);
	mark_due(conn);
}

/* All of our side is with the kernel. */
static void
finish(server_conn *conn)
{
	if (conn->tls != NULL && !tls_end(conn))
		return;
	disown(conn);
	exchange_end(conn);
	if (conn->state == CONN_LEAVING)
	{
		conn_kill(conn);
		return;
	}
	if (conn->state == CONN_DRAINING)
		shutdown(conn->fd, SHUT_WR);
	if (list_is_empty(&conn->reading.link))
		deadline_start(conn->srv, &conn->reading, DEADLINE_CLOSE);
}

/* Hand bytes to the client, by TLS or not; false as of conn_put(). */
bool
conn_write(server_conn *conn, const uint8_t *bytes, size_t len)
{
	return conn->tls != NULL ? tls_write(conn, bytes, len) :
		conn_put(conn, bytes, len);
}

/*
 * Hand bytes to the socket.  As a rule it takes them all, and libwebsockets,
 * which keeps nothing for it then, need not know.  False: it is choked, and
 * libwebsockets has kept what did not fit, or it is dead.
 */
bool
conn_put(server_conn *conn, const uint8_t *bytes, size_t len)
{
	ssize_t		sent;

	/* One write of TLS may be several of these. */
	if (conn->choked)
		sent = 0;
	else
		sent = send(conn->fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (sent == (ssize_t) len)
		return true;
	if (sent > 0)
	{
		bytes += sent;
		len -= (size_t) sent;
	}
	if (lws_write(conn->wsi, (uint8_t *) bytes, len, LWS_WRITE_RAW) < 0)
	{
		conn_kill(conn);
		return false;
	}
	if (conn->choked)
		return false;
	if (!lws_partial_buffered(conn->wsi))
		return true;

	/*
	 * With unsent output libwebsockets does not read, but is still told by
	 * the kernel that it could, again and again.
	 */
	conn->choked = true;
	lws_rx_flow_control(conn->wsi, 0);
	deadline_start(conn->srv, &conn->writing, DEADLINE_WRITE);
	return false;
}

/* libwebsockets has got rid of what it kept. */
void
conn_writable(server_conn *conn)
{
	if (conn->choked)
	{
		conn->choked = false;
		list_remove(&conn->writing.link);
		lws_rx_flow_control(conn->wsi, 1);
		exchange_sent(conn);
	}
	conn_flush(conn);
}

static void
mark_due(server_conn *conn)
{
	if (list_is_empty(&conn->due))
		list_push(&conn->srv->due, &conn->due);
}

void
conn_kill(server_conn *conn)
{
	conn->dead = true;
	mark_due(conn);
}

/* Tear it down without waiting for anything in the kernel to be delivered. */
void
conn_reset(server_conn *conn)
{
	struct linger now = {.l_onoff = 1,.l_linger = 0};

	setsockopt(conn->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	conn_kill(conn);
}

void
server_want_write(server_conn *conn)
{
	mark_due(conn);
}

void
server_close(server_conn *conn, int code, const char *reason)
{
	if (conn->state == CONN_OPEN)
		close_with(conn, code, reason, CONN_CLOSING);
}

void
server_cut(server_conn *conn, int code, const char *reason)
{
	if (conn->choked)
		conn_reset(conn);
	else
		server_close(conn, code, reason);
}
