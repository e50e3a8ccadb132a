/*-------------------------------------------------------------------------
 *
 * gateway_http.c
 *	  A gateway's requests that are for no WebSocket.
 *
 * It stands between the socket server, the handlers (rest.c) and the hub,
 * which know nothing of one another.  As everything that they call, it raises
 * no error.
 *
 *-------------------------------------------------------------------------
 */
/* Before postgres.h, which they must not see. */
#include "gateway_http.h"
#include "gateway_metrics.h"
#include "gateway_requests.h"
#include "monitor.h"

#include "postgres.h"

#include "datatype/timestamp.h"
#include "utils/timestamp.h"

#include "refusals.h"

#define MAX_ERROR	256

static rest handlers;

static void
answer(void *socket, const http_response *response)
{
	server_answer(socket, response);
}

void
msg_http_set(hub *rooms, const admission_rules *rules, size_t max_message)
{
	handlers = (rest) {
		rooms, rules, max_message, answer, msg_requests_call,
		msg_requests_forget
	};
}

/* Microseconds since 1970. */
static int64
unix_time(void)
{
	return GetCurrentTimestamp() +
		(int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
}

/* There is no such path, unless it is that of the WebSocket. */
static void
turn_away(const http_request *request, http_response *response)
{
	static char body[MAX_ERROR];
	static admission nobody;
	server_refusal refusal = {0};

	admission_check(handlers.rules, request, false, 0, &nobody, &refusal);
	http_set_error(response, refusal.status, refusal.error, body,
				   sizeof(body));
}

void *
msg_http_begin(void *arg, server_conn *conn, const http_request *request,
			   size_t body_size, http_response *response)
{
	rest_exchange *exchange;

	if (monitor_begin(handlers.rules, conn, request, unix_time(), response))
		return NULL;
	exchange = rest_begin(&handlers, conn, request, body_size,
						  unix_time(), response);
	if (exchange == NULL && response->status != 404 &&
		response->status != 405)
		msg_gateway_refused(response->status);
	if (exchange == NULL && response->status == 0)
		turn_away(request, response);
	else if (exchange == NULL && response->status == 401)
		msg_refusals_count("token of an HTTP request is not valid");
	return exchange;
}

void
msg_http_body(void *arg, void *exchange, const char *data, size_t len)
{
	rest_body(exchange, data, len, unix_time());
}

void
msg_http_expired(void *arg, void *exchange)
{
	rest_expired(exchange);
}

void
msg_http_done(void *arg, void *exchange)
{
	rest_free(exchange);
}

void
msg_http_posted(void *arg, void *exchange, hub_post_result result)
{
	rest_posted(exchange, result);
}
