/*-------------------------------------------------------------------------
 *
 * monitor.c
 *	  What a gateway tells those who watch it: GET /metrics, GET /healthz.
 *
 * Both are answered from shared memory alone, at once, and in the callback of
 * the socket server: no error may be raised, and no lock is taken.
 *
 * The numbers are those of all workers, so it does not matter which gateway is
 * asked.  They are not for everybody, and the port is: they are told to the
 * addresses of openhr_msg.metrics_clients, as long as no proxy says that it
 * asks for somebody else, and to whoever has a token of service_role.  Whether
 * the service works may be known to all.
 *
 *-------------------------------------------------------------------------
 */
/* Before postgres.h, which they must not see. */
#include "monitor.h"

#include <sys/socket.h>

#include "postgres.h"

#include "address.h"
#include "worker.h"

#define JSON_TYPE		"application/json"
#define METRICS_TYPE	"text/plain; version=0.0.4; charset=utf-8"
#define NO_CACHE		"Cache-Control: no-store\r\n"

/* A text that grows, or fails to. */
typedef struct Text
{
	char	   *data;
	size_t		len;
	size_t		size;
	bool		failed;
	const char *family;			/* of the last sample */
} Text;

static void answer_metrics(const admission_rules *rules,
						   const server_conn *conn,
						   const http_request *request, int64_t now,
						   http_response *response);
static void answer_health(http_response *response);
static void answer_error(int status, const char *error,
						 http_response *response);
static bool may_scrape(const admission_rules *rules, const server_conn *conn,
					   const http_request *request, int64_t now);
static void put_sample(void *arg, const MsgSample *sample);

bool
monitor_begin(const admission_rules *rules, const server_conn *conn,
			  const http_request *request, int64_t now,
			  http_response *response)
{
	bool		metrics = strcmp(request->path, "/metrics") == 0;

	if (!metrics && strcmp(request->path, "/healthz") != 0)
		return false;

	if (strcmp(request->method, "GET") != 0 &&
		strcmp(request->method, "HEAD") != 0)
	{
		answer_error(405, "method is not allowed", response);
		response->headers = "Allow: GET, HEAD\r\n";
	}
	else if (metrics)
		answer_metrics(rules, conn, request, now, response);
	else
		answer_health(response);
	return true;
}

static void
answer_error(int status, const char *error, http_response *response)
{
	static char body[128];

	http_set_error(response, status, error, body, sizeof(body));
}

/* ----------
 * Metrics
 * ----------
 */

static void
answer_metrics(const admission_rules *rules, const server_conn *conn,
			   const http_request *request, int64_t now,
			   http_response *response)
{
	static Text text;

	if (!may_scrape(rules, conn, request, now))
	{
		answer_error(403, "metrics are not for everybody", response);
		return;
	}

	text.len = 0;
	text.failed = false;
	text.family = NULL;
	msg_metrics_collect(put_sample, &text);
	if (text.failed)
		answer_error(503, "out of memory", response);
	else
		*response = (http_response) {
			.status = 200,.headers = NO_CACHE,.type = METRICS_TYPE,
			.body = text.data,.body_len = text.len
		};
}

/* Who comes through a proxy has the proxy's address. */
static bool
is_forwarded(const http_request *request)
{
	return http_header_value(request, "forwarded") != NULL ||
		http_header_value(request, "x-forwarded-for") != NULL ||
		http_header_value(request, "x-real-ip") != NULL ||
		http_header_value(request, "via") != NULL;
}

static bool
may_scrape(const admission_rules *rules, const server_conn *conn,
		   const http_request *request, int64_t now)
{
	struct sockaddr_storage peer;
	token_claims claims;
	server_refusal refusal;

	if (!is_forwarded(request) && server_peer(conn, &peer) &&
		address_list_has(msg_metrics_clients, (struct sockaddr *) &peer))
		return true;
	return admission_identify(rules, request, now / 1000000, &claims, NULL,
							  &refusal) &&
		strcmp(claims.role, "service_role") == 0;
}

static void
put_bytes(Text *text, const char *bytes, size_t len)
{
	if (text->len + len > text->size)
	{
		size_t		size = Max(2 * text->size, text->len + len + 16384);
		char	   *data = text->failed ? NULL : realloc(text->data, size);

		if (data == NULL)
		{
			text->failed = true;
			return;
		}
		text->data = data;
		text->size = size;
	}
	memcpy(text->data + text->len, bytes, len);
	text->len += len;
}

static void
put(Text *text, const char *bytes)
{
	put_bytes(text, bytes, strlen(bytes));
}

static void
put_value(Text *text, double value)
{
	char		number[32];

	if (value == (double) (int64) value)
		snprintf(number, sizeof(number), INT64_FORMAT, (int64) value);
	else
		snprintf(number, sizeof(number), "%.9g", value);
	put(text, number);
}

static void
put_label_value(Text *text, const char *value)
{
	for (; *value; value++)
		switch (*value)
		{
			case '\\':
				put(text, "\\\\");
				break;
			case '"':
				put(text, "\\\"");
				break;
			case '\n':
				put(text, "\\n");
				break;
			default:
				put_bytes(text, value, 1);
		}
}

static void
put_family(Text *text, const MsgSample *sample)
{
	put(text, "# HELP ");
	put(text, sample->family);
	put(text, " ");
	put(text, sample->help);
	put(text, "\n# TYPE ");
	put(text, sample->family);
	put(text, " ");
	put(text, sample->type);
	put(text, "\n");
	text->family = sample->family;
}

static void
put_sample(void *arg, const MsgSample *sample)
{
	Text	   *text = arg;

	if (text->family == NULL || strcmp(text->family, sample->family) != 0)
		put_family(text, sample);
	put(text, sample->family);
	put(text, sample->suffix);
	for (int i = 0; i < sample->nlabels; i++)
	{
		put(text, i > 0 ? "," : "{");
		put(text, sample->labels[i].name);
		put(text, "=\"");
		put_label_value(text, sample->labels[i].value);
		put(text, "\"");
	}
	put(text, sample->nlabels > 0 ? "} " : " ");
	put_value(text, sample->value);
	put(text, "\n");
}

/* ----------
 * Health
 * ----------
 */

/* A worker changes its state under a lock, but one look at it needs none. */
static MsgWorkerState
state_of(int slot)
{
	return ((volatile MsgWorkerSlot *) &msg_shared->slots[slot])->state;
}

static const char *
slot_state(void)
{
	uint64		lag;

	if (!msg_slot_lag(&lag))
		return "missing";
	return lag > (uint64) msg_max_slot_lag * 1024 * 1024 ?
		"lagging" : "ready";
}

/*
 * This gateway is there, or it could not say so.  One of its executors will
 * do: the others may just be starting again.
 */
static void
answer_health(http_response *response)
{
	static char body[256];
	MsgWorkerState streamer = state_of(MSG_SLOT_STREAMER);
	const char *slot = slot_state();
	int			executors = 0;
	bool		healthy;

	for (int e = 0; e < msg_executors; e++)
		executors += state_of(MSG_SLOT_EXECUTOR(msg_worker->gateway, e)) ==
			MSG_WORKER_RUNNING;
	healthy = streamer == MSG_WORKER_RUNNING && strcmp(slot, "ready") == 0 &&
		executors > 0;

	snprintf(body, sizeof(body),
			 "{\"status\":\"%s\",\"gateway\":%d,\"streamer\":\"%s\","
			 "\"slot\":\"%s\",\"executors\":{\"running\":%d,\"wanted\":%d}}",
			 healthy ? "ok" : "unavailable", msg_worker->gateway,
			 msg_worker_state_name(streamer), slot, executors, msg_executors);
	*response = (http_response) {
		.status = healthy ? 200 : 503,.headers = NO_CACHE,.type = JSON_TYPE,
		.body = body,.body_len = strlen(body)
	};
}
