/*-------------------------------------------------------------------------
 *
 * rest.c
 *	  What the gateway answers over HTTP: which handler serves a request, and
 *	  what all of them have in common.
 *
 * A handler is a method, a path, the most bytes of a body, and two functions:
 * one looks at the head, and one gets the whole body and answers, or has asked
 * somebody by then and answers later.  Nothing of the request but what the
 * exchange has kept of it is there after its head was looked at.
 *
 * What is common: browsers may call from the origins that are allowed, who
 * calls is told by a token, a body has a limit.  A request is judged by its
 * head, so nobody sends a body in vain, or fills memory without a token.
 *
 *-------------------------------------------------------------------------
 */
#include "rest.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MAX_PARAMS		2		/* of a path */
#define MAX_CORS		512

/* The text of a batch may be so many times that of a message .. */
#define BATCH_FACTOR	16

/* .. but not more than this, because it is much larger once it is parsed. */
#define BATCH_MOST		(1024 * 1024)

typedef struct path_part
{
	const char *data;
	size_t		len;
} path_part;

typedef struct handler
{
	const char *path;			/* "*" stands for any one part */
	size_t		(*limit) (const rest *r);
	int			(*head) (rest_exchange *x, const http_request *request);
	void		(*body) (rest_exchange *x, const char *data, size_t len,
						 int64_t now);
} handler;

struct rest_exchange
{
	const rest *r;
	void	   *socket;
	const handler *handler;
	token_claims claims;
	hub_post   *post;
	bool		single;
	bool		raw;			/* the body is no JSON */
	bool		private;
	char		cors[MAX_CORS];
	path_part	params[MAX_PARAMS];
	char		text[];			/* of params */
};

static size_t single_limit(const rest *r);
static int	single_head(rest_exchange *x, const http_request *request);
static void single_body(rest_exchange *x, const char *data, size_t len,
						int64_t now);
static size_t batch_limit(const rest *r);
static int	batch_head(rest_exchange *x, const http_request *request);
static void batch_body(rest_exchange *x, const char *data, size_t len,
					   int64_t now);

/* All are called by POST. */
static const handler handlers[] = {
	{"/realtime/v1/api/broadcast", batch_limit, batch_head, batch_body},
	{"/realtime/v1/api/broadcast/*/events/*", single_limit, single_head,
	single_body}
};

/* ----------
 * Answers
 * ----------
 */

/* What goes with a status unless something else is said. */
static const char *
status_body(int status)
{
	switch (status)
	{
		case 400:
			return "{\"message\":\"Request cannot be understood\"}";
		case 401:
		case 403:
			return "{\"message\":\"Unauthorized\"}";
		case 405:
			return "{\"message\":\"Method Not Allowed\"}";
		case 413:
			return "{\"message\":\"Payload too large\"}";
		case 415:
			return "{\"error\":\"Unsupported Media Type. "
				"Use application/json or application/octet-stream\"}";
		case 429:
			return "{\"message\":\"Too many requests\"}";
		case 503:
			return "{\"message\":\"Try again later\"}";
		default:
			return NULL;
	}
}

static void
fill_response(http_response *response, int status, const char *headers,
			  const char *body)
{
	if (body == NULL)
		body = status_body(status);
	*response = (http_response) {
		.status = status,.headers = headers,.body = body,
		.body_len = body != NULL ? strlen(body) : 0
	};
}

/* Answer, with what goes with the status or (not NULL) another body. */
static void
answer(const rest_exchange *x, int status, const char *body)
{
	http_response response;

	fill_response(&response, status, x->cors, body);
	x->r->answer(x->socket, &response);
}

static void
answer_wait(const rest_exchange *x, int64_t milliseconds)
{
	char		headers[MAX_CORS + 64];
	http_response response;

	snprintf(headers, sizeof(headers), "Retry-After: %lld\r\n%s",
			 (long long) (milliseconds + 999) / 1000, x->cors);
	fill_response(&response, 429, headers, NULL);
	x->r->answer(x->socket, &response);
}

/* ----------
 * Heads
 * ----------
 */

static path_part
next_part(const char **path)
{
	path_part	part;

	part.data = *path + 1;
	part.len = strcspn(part.data, "/");
	*path = part.data + part.len;
	return part;
}

/* Is it the path of a handler?  Then parts gets what its stars stand for. */
static bool
path_matches(const char *path, const char *pattern, path_part *parts)
{
	while (*path == '/' && *pattern == '/')
	{
		path_part	part = next_part(&path);
		path_part	wanted = next_part(&pattern);

		if (wanted.len == 1 && wanted.data[0] == '*')
			*parts++ = part;
		else if (part.len != wanted.len ||
				 memcmp(part.data, wanted.data, part.len) != 0)
			return false;
	}
	return *path == '\0' && *pattern == '\0';
}

static const handler *
find_handler(const char *path, path_part *parts)
{
	for (size_t i = 0; i < sizeof(handlers) / sizeof(handlers[0]); i++)
	{
		memset(parts, 0, sizeof(path_part) * MAX_PARAMS);
		if (path_matches(path, handlers[i].path, parts))
			return &handlers[i];
	}
	return NULL;
}

/* What lets a browser give the answer to a page.  False: it must not. */
static bool
fill_cors(char *cors, const rest *r, const http_request *request)
{
	const char *origin = admission_origin(r->rules, request);
	int			len;

	cors[0] = '\0';
	if (origin == NULL)
		return false;
	if (origin[0] == '\0')
		return true;
	len = snprintf(cors, MAX_CORS, "Access-Control-Allow-Origin: %s\r\n"
				   "Vary: Origin\r\n", origin);
	return len > 0 && len < MAX_CORS;
}

/* A browser asks whether a page may call us. */
static void
preflight(const char *cors, http_response *response)
{
	static char headers[MAX_CORS + 256];

	snprintf(headers, sizeof(headers), "%s"
			 "Access-Control-Allow-Methods: POST, OPTIONS\r\n"
			 "Access-Control-Allow-Headers: apikey, authorization, "
			 "content-type, x-client-info, x-api-key\r\n"
			 "Access-Control-Max-Age: 86400\r\n", cors);
	fill_response(response, 204, headers, NULL);
}

static void
wrong_method(const char *cors, http_response *response)
{
	static char headers[MAX_CORS + 64];

	snprintf(headers, sizeof(headers), "Allow: POST, OPTIONS\r\n%s", cors);
	fill_response(response, 405, headers, NULL);
}

/* The exchange, with the path's parts decoded; NULL: no memory. */
static rest_exchange *
exchange_new(const rest *r, void *socket, const path_part *parts)
{
	rest_exchange *x = calloc(1, sizeof(rest_exchange) + parts[0].len +
							  parts[1].len + MAX_PARAMS);

	if (x == NULL)
		return NULL;
	x->r = r;
	x->socket = socket;
	x->params[0].data = x->text;
	x->params[1].data = x->text + parts[0].len + 1;
	return x;
}

static bool
decode_params(rest_exchange *x, const path_part *parts)
{
	for (int i = 0; i < MAX_PARAMS; i++)
	{
		if (!http_decode(parts[i].data, parts[i].len,
						 (char *) x->params[i].data, &x->params[i].len))
			return false;
	}
	return true;
}

/* 0: the body may come; else the status to answer. */
static int
judge(rest_exchange *x, const http_request *request, size_t body_size,
	  const path_part *parts, int64_t now)
{
	int			status;

	if (!admission_identify(x->r->rules, request, now / 1000000, &x->claims))
		return 401;
	if (!decode_params(x, parts))
		return 400;
	status = x->handler->head(x, request);
	if (status == 0 && body_size > x->handler->limit(x->r))
		status = 413;
	return status;
}

rest_exchange *
rest_begin(const rest *r, void *socket, const http_request *request,
		   size_t body_size, int64_t now, http_response *response)
{
	static char cors[MAX_CORS];
	path_part	parts[MAX_PARAMS];
	const handler *handler = find_handler(request->path, parts);
	rest_exchange *x;
	int			status;

	*response = (http_response) {0};
	if (handler == NULL)
		return NULL;
	if (!fill_cors(cors, r, request))
		fill_response(response, 403, NULL, NULL);
	else if (strcmp(request->method, "OPTIONS") == 0)
		preflight(cors, response);
	else if (strcmp(request->method, "POST") != 0)
		wrong_method(cors, response);
	else if ((x = exchange_new(r, socket, parts)) == NULL)
		fill_response(response, 503, cors, NULL);
	else
	{
		x->handler = handler;
		memcpy(x->cors, cors, sizeof(cors));
		status = judge(x, request, body_size, parts, now);
		if (status == 0)
			return x;
		rest_free(x);
		fill_response(response, status, cors, NULL);
	}
	return NULL;
}

void
rest_body(rest_exchange *x, const char *data, size_t len, int64_t now)
{
	x->handler->body(x, data, len, now);
}

void
rest_expired(rest_exchange *x)
{
	/* What becomes of it now is nothing to tell any more. */
	if (x->post != NULL)
		hub_post_free(x->post);
	x->post = NULL;
	answer(x, 503, NULL);
}

void
rest_free(rest_exchange *x)
{
	if (x->post != NULL)
		hub_post_free(x->post);
	free(x);
}

/* ----------
 * Broadcasts
 * ----------
 */

/* The media type of the body, without its parameters. */
static bool
has_type(const http_request *request, const char *type)
{
	const char *value = http_header_value(request, "content-type");
	size_t		len = strlen(type);

	return value != NULL && strncasecmp(value, type, len) == 0 &&
		strchr("; \t", value[len]) != NULL;
}

static bool
begin_post(rest_exchange *x)
{
	x->post = hub_post_new(x->r->rooms, &x->claims, x);
	if (x->post == NULL)
		answer(x, 503, NULL);
	return x->post != NULL;
}

/* All messages are there: say them, unless these are too many. */
static void
send_post(rest_exchange *x, int64_t now)
{
	int64_t		wait = hub_post_wait(x->post, now);

	if (wait > 0)
		answer_wait(x, wait);
	else
		hub_post_send(x->post, now);
}

void
rest_posted(rest_exchange *x, hub_post_result result)
{
	switch (result)
	{
		case HUB_POST_SAID:
			answer(x, 202, NULL);
			break;
		case HUB_POST_FORBIDDEN:
			/* What is not allowed in a batch is left out, all of it perhaps. */
			answer(x, x->single ? 403 : 202, NULL);
			break;
		case HUB_POST_BUSY:
		case HUB_POST_FAILED:
			answer(x, 503, NULL);
			break;
	}
}

/* One message: the path tells topic and event, the body is the payload. */

static size_t
single_limit(const rest *r)
{
	return r->max_message;
}

static bool
is_true(const http_request *request, const char *name)
{
	char		value[8];

	return http_query_value(request, name, value, sizeof(value)) &&
		strcmp(value, "true") == 0;
}

static int
single_head(rest_exchange *x, const http_request *request)
{
	x->single = true;
	x->private = is_true(request, "private");
	x->raw = has_type(request, "application/octet-stream");
	return x->raw || has_type(request, "application/json") ? 0 : 415;
}

/* A text of JSON's, and so UTF-8, of a length between one and most? */
static const char *
name_problem(const json_t *name, size_t most)
{
	if (!json_is_string(name))
		return name == NULL ? "can't be blank" : "is invalid";
	if (json_string_length(name) == 0)
		return "can't be blank";
	return json_string_length(name) > most ? "is too long" : NULL;
}

static const char *
param_problem(path_part param, size_t most)
{
	json_t	   *text = json_stringn(param.data, param.len);
	const char *problem = text == NULL ? "is invalid" :
		name_problem(text, most);

	json_decref(text);
	return problem;
}

static bool
is_json(const char *data, size_t len)
{
	json_t	   *parsed = json_loadb(data, len, JSON_DECODE_ANY, NULL);
	bool		good = parsed != NULL;

	json_decref(parsed);
	return good;
}

static void
answer_errors(const rest_exchange *x, const char *field, const char *problem)
{
	char		body[128];

	snprintf(body, sizeof(body), "{\"errors\":{\"%s\":[\"%s\"]}}", field,
			 problem);
	answer(x, 422, body);
}

static void
single_body(rest_exchange *x, const char *data, size_t len, int64_t now)
{
	const hub_said said = {
		.topic = x->params[0].data,.topic_len = x->params[0].len,
		.event = x->params[1].data,.event_len = x->params[1].len,
		.payload = data,.payload_len = len,
		.private = x->private,.raw = x->raw
	};
	const char *topic = param_problem(x->params[0], HUB_POST_MAX_TOPIC);
	const char *event = param_problem(x->params[1], HUB_POST_MAX_EVENT);

	if (topic != NULL)
		answer_errors(x, "topic", topic);
	else if (event != NULL)
		answer_errors(x, "event", event);
	else if (!x->raw && !is_json(data, len))
		answer_errors(x, "payload", "is not valid JSON");
	else if (!begin_post(x))
		return;
	else if (!hub_post_add(x->post, &said))
		answer(x, 503, NULL);
	else
		send_post(x, now);
}

/* Several messages, each with its topic and event. */

static size_t
batch_limit(const rest *r)
{
	size_t		most = r->max_message < BATCH_MOST / BATCH_FACTOR ?
		r->max_message * BATCH_FACTOR : BATCH_MOST;

	return most > r->max_message ? most : r->max_message;
}

static int
batch_head(rest_exchange *x, const http_request *request)
{
	return has_type(request, "application/json") ? 0 : 415;
}

/* What is wrong with a message?  NULL: nothing. */
static const char *
message_problem(const json_t *message, const char **field)
{
	const json_t *id = json_object_get(message, "id");
	const json_t *private = json_object_get(message, "private");
	const char *problem;

	*field = "topic";
	problem = name_problem(json_object_get(message, *field),
						   HUB_POST_MAX_TOPIC);
	if (problem != NULL)
		return problem;
	*field = "event";
	problem = name_problem(json_object_get(message, *field),
						   HUB_POST_MAX_EVENT);
	if (problem != NULL)
		return problem;
	*field = "payload";
	if (json_object_get(message, *field) == NULL)
		return "can't be blank";
	*field = "id";
	if (id != NULL && !json_is_null(id))
		problem = name_problem(id, HUB_POST_MAX_EVENT);
	if (problem != NULL)
		return problem;
	*field = "private";
	return private == NULL || json_is_null(private) ||
		json_is_boolean(private) ? NULL : "is invalid";
}

/* As the place in the list shows: those before it are fine. */
static void
answer_message_error(const rest_exchange *x, size_t place, const char *field,
					 const char *problem)
{
	char		body[1024];
	int			len = snprintf(body, sizeof(body), "{\"errors\":{\"messages\":[");

	for (size_t i = 0; i < place; i++)
		len += snprintf(body + len, sizeof(body) - (size_t) len, "{},");
	snprintf(body + len, sizeof(body) - (size_t) len,
			 "{\"%s\":[\"%s\"]}]}}", field, problem);
	answer(x, 422, body);
}

/* False: it was answered, because there is no memory. */
static bool
add_message(rest_exchange *x, const json_t *message, char *payload)
{
	const json_t *topic = json_object_get(message, "topic");
	const json_t *event = json_object_get(message, "event");
	const hub_said said = {
		.topic = json_string_value(topic),
		.topic_len = json_string_length(topic),
		.event = json_string_value(event),
		.event_len = json_string_length(event),
		.payload = payload,
		.payload_len = payload != NULL ? strlen(payload) : 0,
		.id = json_string_value(json_object_get(message, "id")),
		.private = json_is_true(json_object_get(message, "private"))
	};

	if (payload != NULL && hub_post_add(x->post, &said))
		return true;
	answer(x, 503, NULL);
	return false;
}

/* False: it was answered. */
static bool
take_message(rest_exchange *x, size_t place, const json_t *message)
{
	const char *field;
	const char *problem = message_problem(message, &field);
	char	   *payload;
	bool		good;

	if (problem != NULL)
	{
		answer_message_error(x, place, field, problem);
		return false;
	}
	payload = json_dumps(json_object_get(message, "payload"),
						 JSON_COMPACT | JSON_ENCODE_ANY);
	if (payload != NULL && strlen(payload) > x->r->max_message)
	{
		answer_message_error(x, place, "payload", "is too long");
		good = false;
	}
	else
		good = add_message(x, message, payload);
	free(payload);
	return good;
}

static void
take_messages(rest_exchange *x, const json_t *messages, int64_t now)
{
	size_t		i;
	const json_t *message;

	if (json_array_size(messages) > HUB_POST_MOST)
	{
		answer(x, 429, "{\"message\":\"Too many messages to broadcast, "
			   "please reduce the batch size\"}");
		return;
	}
	if (!begin_post(x))
		return;
	json_array_foreach((json_t *) messages, i, message)
	{
		if (!take_message(x, i, message))
			return;
	}
	send_post(x, now);
}

static void
batch_body(rest_exchange *x, const char *data, size_t len, int64_t now)
{
	json_t	   *root = json_loadb(data, len, 0, NULL);
	const json_t *messages = json_object_get(root, "messages");

	if (root == NULL)
		answer(x, 400, "{\"message\":\"Request is not valid JSON\"}");
	else if (!json_is_array(messages) || json_array_size(messages) == 0)
		answer_errors(x, "messages", messages == NULL ||
					  json_is_array(messages) ? "can't be blank" :
					  "is invalid");
	else
		take_messages(x, messages, now);
	json_decref(root);
}
