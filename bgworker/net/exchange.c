/*-------------------------------------------------------------------------
 *
 * exchange.c
 *	  A request that is no WebSocket's: its body, and its answer.
 *
 * The owner decides by the head whether the body is wanted, gets all of it at
 * once, and answers at once or later.
 *
 * Then the next request may come over the same connection, if the owner took
 * this one, all of it was read, and the client wants that.  One at a time: a client that sends more
 * before it has its answer gets that, and then the connection is closed (RFC
 * 9112, 9.3.2), so that nobody has several requests under way at once, and an
 * answer never waits for a request before it.
 *
 * A body has the length that was announced, and a deadline.  Most come in one
 * piece and are used in place; the memory for the others is bounded, and when
 * there is no more of it, whoever has been at it for the longest time goes.
 *
 *-------------------------------------------------------------------------
 */
#include "conn.h"

#include <stdlib.h>
#include <string.h>

#define MAX_BODY_BYTES	(16 * 1024 * 1024)	/* of all connections */

/* The same for answers whose readers are behind; small ones always go. */
#define MAX_UNSENT_BYTES	(32 * 1024 * 1024)
#define SMALL_ANSWER	(64 * 1024)

static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";

static const char *
problem_text(int status)
{
	switch (status)
	{
		case 411:
			return "Content-Length is missing";
		case 417:
			return "expectation cannot be met";
		default:
			return "length of the request is not valid";
	}
}

/* data is what has come behind the head. */
void
exchange_begin(server_conn *conn, const http_request *request,
			   const char *data, size_t len)
{
	server	   *srv = conn->srv;
	http_response response = {0};
	size_t		size;
	int			status = http_body_size(request, &size);

	conn->bodyless = strcmp(request->method, "HEAD") == 0;
	conn->whole = status == 0 && len == size;
	conn->keep = request->minor > 0 && len <= size &&
		!http_lists(request, "connection", "close");
	if (status != 0)
		conn_fail(conn, status, problem_text(status));
	else if (srv->open >= (size_t) srv->config.max_connections)
		conn_fail(conn, 503, "too many connections");
	else
	{
		conn->exchange = srv->ops.begin(srv->arg, conn, request, size,
										&response);
		if (conn->exchange == NULL)
		{
			server_answer(conn, &response);
			return;
		}
		srv->open++;
		conn->body_size = size;
		conn->state = CONN_BODY;
		conn_await(conn, DEADLINE_BODY);
		if (len < size && request->minor > 0 &&
			http_header_value(request, "expect") != NULL)
			conn_write(conn, (uint8_t *) go_on, sizeof(go_on) - 1);
		exchange_input(conn, data, len);
	}
}

static void
free_body(server_conn *conn)
{
	if (conn->body == NULL)
		return;
	free(conn->body);
	conn->body = NULL;
	conn->srv->body_bytes -= conn->body_size;
}

/* Get memory for a body, if need be at the cost of others. */
static bool
make_room(server_conn *conn)
{
	server	   *srv = conn->srv;

	list_foreach_safe(node, &srv->deadlines[DEADLINE_BODY])
	{
		server_conn *other = list_entry(server_conn, reading.link, node);

		if (srv->body_bytes + conn->body_size <= MAX_BODY_BYTES)
			break;
		if (other == conn || other->body == NULL)
			continue;
		free_body(other);
		list_remove(&other->reading.link);
		srv->ops.refused(srv->arg, 503, "too many requests at once");
		conn_reset(other);
	}
	conn->body = malloc(conn->body_size);
	if (conn->body == NULL)
	{
		conn_kill(conn);
		return false;
	}
	srv->body_bytes += conn->body_size;
	return true;
}

static void
deliver(server_conn *conn, const char *data)
{
	server	   *srv = conn->srv;

	conn->state = CONN_ANSWER;
	conn->whole = true;
	conn_await(conn, DEADLINE_ANSWER);
	srv->ops.body(srv->arg, conn->exchange, data, conn->body_size);
	free_body(conn);
}

void
exchange_input(server_conn *conn, const char *data, size_t len)
{
	size_t		missing = conn->body_size - conn->body_len;

	if (conn->dead)
		return;
	if (len > missing)
	{
		conn->keep = false;
		len = missing;
	}
	if (len == conn->body_size)
	{
		deliver(conn, data);
		return;
	}
	if (len == 0 || (conn->body == NULL && !make_room(conn)))
		return;
	memcpy(conn->body + conn->body_len, data, len);
	conn->body_len += len;
	if (conn->body_len == conn->body_size)
		deliver(conn, conn->body);
}

void
server_answer(server_conn *conn, const http_response *response)
{
	static const http_response too_much = {.status = 503};
	char		head[HTTP_MAX_RESPONSE_HEAD];
	bool		keep = conn->keep && conn->whole && conn->exchange != NULL;
	size_t		len;

	if (response->body_len > SMALL_ANSWER &&
		conn->srv->unsent_bytes > MAX_UNSENT_BYTES)
		response = &too_much;
	len = http_response_head(head, sizeof(head), response, keep);
	conn_count_answer(conn, response->status);
	if (len == 0)
		conn_kill(conn);
	else
		conn_end(conn, head, len, response->body,
				 conn->bodyless ? 0 : response->body_len,
				 keep ? CONN_ANSWERED : CONN_DRAINING);
}

/* The answer is with the kernel: another request may come. */
void
exchange_next(server_conn *conn)
{
	exchange_end(conn);
	conn->ended = false;
	conn->body_len = conn->body_size = 0;
	conn->bodyless = false;
	conn->kept = true;
	conn->state = CONN_HEAD;
	conn_await(conn, DEADLINE_IDLE);
}

/* It is none of the owner's any more. */
void
exchange_end(server_conn *conn)
{
	server	   *srv = conn->srv;

	free_body(conn);
	if (conn->exchange == NULL)
		return;
	srv->ops.done(srv->arg, conn->exchange);
	conn->exchange = NULL;
	srv->open--;
}

/* The answer waits in our memory for its reader. */
void
exchange_waits(server_conn *conn, size_t len)
{
	conn->unsent = len;
	conn->srv->unsent_bytes += len;
}

/* It does so no more. */
void
exchange_sent(server_conn *conn)
{
	conn->srv->unsent_bytes -= conn->unsent;
	conn->unsent = 0;
}
