/*-------------------------------------------------------------------------
 *
 * rest_broadcast.c
 *	  Broadcasts over HTTP, one or a batch, as Supabase's clients send them.
 *
 * A body is checked and handed to the hub as a post; the hub says it when it
 * knows that its sender may, and tells what became of it.
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rest_inside.h"

/* The text of a batch may be so many times that of a message .. */
#define BATCH_FACTOR	16

/* .. but not more than this, because it is much larger once it is parsed. */
#define BATCH_MOST		(1024 * 1024)

static void
answer_wait(const rest_exchange *x, int64_t milliseconds)
{
	char		headers[64];

	snprintf(headers, sizeof(headers), "Retry-After: %lld\r\n",
			 (long long) (milliseconds + 999) / 1000);
	rest_answer_with(x, 429, headers, NULL, 0);
}

static bool
begin_post(rest_exchange *x)
{
	x->post = hub_post_new(x->r->rooms, &x->claims, x);
	if (x->post == NULL)
		rest_answer(x, 503, NULL);
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
			rest_answer(x, 202, NULL);
			break;
		case HUB_POST_FORBIDDEN:
			/* What is not allowed in a batch is left out, all of it perhaps. */
			rest_answer(x, x->single ? 403 : 202, NULL);
			break;
		case HUB_POST_BUSY:
		case HUB_POST_FAILED:
			rest_answer(x, 503, NULL);
			break;
	}
}

/* One message: the path tells topic and event, the body is the payload. */

size_t
rest_single_limit(const rest *r)
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

int
rest_single_head(rest_exchange *x, const http_request *request)
{
	x->single = true;
	x->private = is_true(request, "private");
	x->raw = rest_has_type(request, "application/octet-stream");
	return x->raw || rest_has_type(request, "application/json") ? 0 : 415;
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
	rest_answer(x, 422, body);
}

void
rest_single_body(rest_exchange *x, const char *data, size_t len, int64_t now)
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
		rest_answer(x, 503, NULL);
	else
		send_post(x, now);
}

/* Several messages, each with its topic and event. */

size_t
rest_batch_limit(const rest *r)
{
	size_t		most = r->max_message < BATCH_MOST / BATCH_FACTOR ?
		r->max_message * BATCH_FACTOR : BATCH_MOST;

	return most > r->max_message ? most : r->max_message;
}

int
rest_batch_head(rest_exchange *x, const http_request *request)
{
	return rest_has_type(request, "application/json") ? 0 : 415;
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
	rest_answer(x, 422, body);
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
	rest_answer(x, 503, NULL);
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
		rest_answer(x, 429, "{\"message\":\"Too many messages to broadcast, "
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

void
rest_batch_body(rest_exchange *x, const char *data, size_t len, int64_t now)
{
	json_t	   *root = json_loadb(data, len, 0, NULL);
	const json_t *messages = json_object_get(root, "messages");

	if (root == NULL)
		rest_answer(x, 400, "{\"message\":\"Request is not valid JSON\"}");
	else if (!json_is_array(messages) || json_array_size(messages) == 0)
		answer_errors(x, "messages", messages == NULL ||
					  json_is_array(messages) ? "can't be blank" :
					  "is invalid");
	else
		take_messages(x, messages, now);
	json_decref(root);
}
