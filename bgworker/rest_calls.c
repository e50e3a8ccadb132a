/*-------------------------------------------------------------------------
 *
 * rest_calls.c
 *	  Requests that call an SQL function: the API under /v1, and PostgREST's
 *	  /rest/v1/rpc.
 *
 * What a request brings as path, query and headers becomes one JSON object of
 * arguments.  The body is checked here, strictly, and goes along as it is: to
 * write it anew could change a number in it.  The function's result is the
 * body of the answer as it comes; its errors are told in the style of the
 * route.
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "realtime/datetime.h"
#include "rest_inside.h"

#define MAX_VALUE		256		/* of a parameter of a query */
#define MAX_PAGE		100
#define MAX_KEY			64		/* bytes of an Idempotency-Key */
#define BODY_FACTOR		4		/* content and metadata, with escapes */

#define UNKNOWN_OUTCOME	"It is not known whether this was done"

static const char *const served_roles[] = {
	"authenticated", "service_role", "anon", NULL
};

static bool
is_anonymous(const rest_exchange *x)
{
	return strcmp(x->claims.role, "anon") == 0;
}

/* An error of ours, in the style of the route. */
static void
answer_error(const rest_exchange *x, int status, const char *headers,
			 const char *code, const char *message, const char *details,
			 const char *hint)
{
	char	   *body = x->route->style == ROUTE_V1 ?
		rest_error_v1(message, details, hint) :
		rest_error_rpc(code, message, details, hint);

	rest_answer_with(x, status, headers, body,
					 body != NULL ? strlen(body) : 0);
	free(body);
}

static void
answer_bad(const rest_exchange *x, const char *message)
{
	answer_error(x, 400, "", "PGRST102", message, NULL, NULL);
}

/* ----------
 * Heads
 * ----------
 */

size_t
rest_no_body(const rest *r)
{
	return 0;
}

size_t
rest_call_limit(const rest *r)
{
	size_t		most = r->max_message * BODY_FACTOR + 4096;

	return most < REST_MAX_CALL_BODY ? most : REST_MAX_CALL_BODY;
}

/*
 * What is wrong with the head cannot be answered there, but by a status; so
 * it is kept for when the body has come.
 */
static void
complain(rest_exchange *x, const char *message)
{
	if (x->problem[0] == '\0')
		snprintf(x->problem, sizeof(x->problem), "%s", message);
}

static int
begin_call(rest_exchange *x, const http_request *request)
{
	const char *const *role = served_roles;
	const char *length = http_header_value(request, "content-length");

	while (*role != NULL && strcmp(*role, x->claims.role) != 0)
		role++;
	if (*role == NULL)
		return 403;
	if (length != NULL && strcmp(length, "0") != 0 &&
		!rest_has_type(request, "application/json"))
		return 415;
	x->args = json_object();
	x->reads = strcmp(x->route->method, "GET") == 0;
	return x->args != NULL ? 0 : 503;
}

static void
set_text(rest_exchange *x, const char *name, const char *value)
{
	json_t	   *text = json_string(value);

	/* NULL when it is no UTF-8. */
	if (text == NULL)
		complain(x, "Request is not valid UTF-8");
	else
		json_object_set_new(x->args, name, text);
}

/* A space where a plus was meant: it means that in a query. */
static void
mend_zone(char *time)
{
	size_t		len = strlen(time);

	for (size_t back = 3; back <= 6 && back < len; back++)
		if (time[len - back] == ' ' && len > 11 + back)
			time[len - back] = '+';
}

static bool
is_time(char *value)
{
	int64_t		usec;

	mend_zone(value);
	return strspn(value, "0123456789-") >= 10 &&
		datetime_parse(value, strlen(value), &usec);
}

static bool
is_integer(const char *value)
{
	size_t		digits = strspn(value, "0123456789");

	return digits > 0 && digits <= 18 && value[digits] == '\0';
}

/* Is a parameter of a query what it should be? */
static bool
value_fits(field_kind kind, char *value)
{
	switch (kind)
	{
		case FIELD_TIME:
			return is_time(value);
		case FIELD_INTEGER:
			return is_integer(value);
		case FIELD_LIMIT:
			return is_integer(value) && strlen(value) <= 3 &&
				atoi(value) >= 1 && atoi(value) <= MAX_PAGE;
		case FIELD_BOOLEAN:
			return strcmp(value, "true") == 0 || strcmp(value, "false") == 0;
		default:
			return true;
	}
}

static const char *
kind_text(field_kind kind)
{
	switch (kind)
	{
		case FIELD_STRING:
			return "a string";
		case FIELD_INTEGER:
			return "an integer";
		case FIELD_BOOLEAN:
			return "true or false";
		case FIELD_OBJECT:
			return "an object";
		case FIELD_STRINGS:
			return "an array of strings";
		case FIELD_TIME:
			return "a time (ISO 8601)";
		case FIELD_LIMIT:
			return "between 1 and 100";
	}
	return "";
}

static void
complain_of(rest_exchange *x, const field *f)
{
	char		text[128];

	snprintf(text, sizeof(text), "%s must be %s", f->name,
			 kind_text(f->kind));
	complain(x, text);
}

static const field *
find_field(const field *fields, const char *name, size_t len)
{
	for (; fields->name != NULL; fields++)
		if (strlen(fields->name) == len &&
			memcmp(fields->name, name, len) == 0)
			return fields;
	return NULL;
}

/* The next of a query's parameters; false: there are no more. */
static bool
next_parameter(const char **query, path_part *name)
{
	*query += strspn(*query, "&");
	if (**query == '\0')
		return false;
	name->data = *query;
	name->len = strcspn(*query, "=&");
	*query += strcspn(*query, "&");
	return true;
}

/* That may be there, too: a key for whoever can send no header. */
static bool
is_key(path_part name)
{
	return name.len == strlen("apikey") &&
		memcmp(name.data, "apikey", name.len) == 0;
}

static void
take_query(rest_exchange *x, const http_request *request)
{
	const char *query = request->query;
	path_part	name;

	while (next_parameter(&query, &name))
	{
		const field *f = find_field(x->route->query, name.data, name.len);
		char		value[MAX_VALUE];

		if (is_key(name))
			continue;
		if (f == NULL)
			complain(x, "Unknown parameter in the query");
		else if (!http_query_value(request, f->name, value, sizeof(value)) ||
				 !value_fits(f->kind, value))
			complain_of(x, f);
		else
			set_text(x, f->arg != NULL ? f->arg : f->name, value);
	}
}

/* Changes since a version are another function's. */
static void
choose_list(rest_exchange *x)
{
	if (json_object_get(x->args, "since_version") == NULL)
	{
		if (json_object_get(x->args, "epoch") != NULL)
			complain(x, "epoch goes with since_version");
		return;
	}
	x->function = "list_changes";
	if (json_object_get(x->args, "before") != NULL ||
		json_object_get(x->args, "before_seq") != NULL ||
		json_object_get(x->args, "after_seq") != NULL)
		complain(x, "since_version excludes before, before_seq and after_seq");
}

/* A text in quotes, or without them. */
static void
take_key(rest_exchange *x, const char *key)
{
	char		value[MAX_KEY + 1];
	size_t		len = strlen(key);

	if (len >= 2 && key[0] == '"' && key[len - 1] == '"')
	{
		key++;
		len -= 2;
	}
	if (len == 0 || len > MAX_KEY)
	{
		complain(x, "Idempotency-Key must have 1 to 64 characters");
		return;
	}
	memcpy(value, key, len);
	value[len] = '\0';
	set_text(x, "client_message_id", value);
}

/* The version that an ETag of ours tells. */
static void
take_version(rest_exchange *x, const char *tag)
{
	char		value[32];
	size_t		len = strlen(tag);

	if (strcmp(tag, "*") == 0)
		return;
	if (len < 3 || len >= sizeof(value) || tag[0] != '"' ||
		tag[len - 1] != '"')
		len = 0;
	else
	{
		memcpy(value, tag + 1, len - 2);
		value[len - 2] = '\0';
	}
	if (len == 0 || !is_integer(value))
		complain(x, "If-Match must be one ETag of this message");
	else
		set_text(x, "expected_version", value);
}

int
rest_v1_head(rest_exchange *x, const http_request *request)
{
	const char *key = http_header_value(request, "idempotency-key");
	const char *tag = http_header_value(request, "if-match");
	uint8_t		uuid[16];
	int			status = begin_call(x, request);

	if (status == 0 && is_anonymous(x))
		status = 401;
	if (status != 0)
		return status;
	x->function = x->route->function;
	if (x->route->path_arg != NULL)
	{
		if (!token_parse_uuid(x->params[0].data, uuid))
			complain(x, "The id in the path is not a UUID");
		set_text(x, x->route->path_arg, x->params[0].data);
	}
	take_query(x, request);
	if (strcmp(x->function, "list_messages") == 0)
		choose_list(x);
	if (key != NULL && strcmp(x->function, "send_message") == 0)
		take_key(x, key);
	if (tag != NULL && (strcmp(x->function, "edit_message") == 0 ||
						strcmp(x->function, "delete_message") == 0))
		take_version(x, tag);
	return 0;
}

/* A function's name is no longer than names are. */
int
rest_rpc_head(rest_exchange *x, const http_request *request)
{
	const char *accept = http_header_value(request, "accept");
	const char *query = request->query;
	path_part	part;
	int			status = begin_call(x, request);

	if (status != 0)
		return status;
	x->function = x->params[0].data;
	x->wants_object = accept != NULL &&
		strstr(accept, "application/vnd.pgrst.object") != NULL;
	if (accept != NULL && strstr(accept, "text/csv") != NULL)
		return 406;

	while (next_parameter(&query, &part))
	{
		char		name[MAX_VALUE];
		char		value[MAX_VALUE * 4];
		size_t		len;

		if (is_key(part))
			continue;
		if (!x->reads)
			complain(x, "Query parameters are not supported: results are not filtered");
		else if (part.len >= sizeof(name) ||
				 !http_decode(part.data, part.len, name, &len) ||
				 !http_query_value(request, name, value, sizeof(value)))
			complain(x, "The query cannot be understood");
		else
			set_text(x, name, value);
	}
	return 0;
}

/* ----------
 * Bodies
 * ----------
 */

/* Have it called; it was answered if not. */
static void
call(rest_exchange *x, const char *body, size_t body_len)
{
	char	   *args = json_dumps(x->args, JSON_COMPACT);
	const rest_call wanted = {
		.function = x->function,.claims = &x->claims,
		.claims_json = x->claims_json,.args = args,
		.body = body_len > 0 ? body : NULL,.body_len = body_len,
		.reads = x->reads
	};

	x->calling = args != NULL && x->r->call(x, &wanted);
	free(args);
	if (!x->calling)
		rest_answer(x, 503, NULL);
}

static bool
member_fits(field_kind kind, const json_t *value)
{
	size_t		i;
	const json_t *element;

	if (json_is_null(value))
		return true;
	switch (kind)
	{
		case FIELD_STRING:
		case FIELD_TIME:
			return json_is_string(value);
		case FIELD_INTEGER:
		case FIELD_LIMIT:
			return json_is_integer(value);
		case FIELD_BOOLEAN:
			return json_is_boolean(value);
		case FIELD_OBJECT:
			return json_is_object(value);
		case FIELD_STRINGS:
			if (!json_is_array(value))
				return false;
			json_array_foreach((json_t *) value, i, element)
			{
				if (!json_is_string(element))
					return false;
			}
			return true;
	}
	return false;
}

/* Are these the members that the route knows? */
static void
check_members(rest_exchange *x, json_t *body)
{
	const char *name;
	json_t	   *value;

	json_object_foreach(body, name, value)
	{
		const field *f = find_field(x->route->fields, name, strlen(name));
		const json_t *already = json_object_get(x->args, name);

		if (f == NULL)
			complain(x, "Unknown member in the body");
		else if (!member_fits(f->kind, value))
			complain_of(x, f);
		else if (already != NULL && !json_equal(already, value))
			complain(x, "Idempotency-Key and client_message_id differ");
	}
}

/* body may be NULL: there is none. */
static void
check_required(rest_exchange *x, const json_t *body)
{
	char		text[128];

	for (const field *f = x->route->fields; f->name != NULL; f++)
	{
		if (!f->required || json_object_get(body, f->name) != NULL)
			continue;
		snprintf(text, sizeof(text), "%s is required", f->name);
		complain(x, text);
	}
}

/* NULL, complained of: it is no object. */
static json_t *
parse_body(rest_exchange *x, const char *data, size_t len)
{
	json_t	   *body = json_loadb(data, len, JSON_REJECT_DUPLICATES, NULL);

	if (!json_is_object(body))
	{
		complain(x, "The body must be a JSON object");
		json_decref(body);
		return NULL;
	}
	return body;
}

void
rest_v1_body(rest_exchange *x, const char *data, size_t len, int64_t now)
{
	if (x->problem[0] == '\0')
	{
		json_t	   *body = len > 0 ? parse_body(x, data, len) : NULL;

		if (body != NULL)
			check_members(x, body);
		check_required(x, body);
		json_decref(body);
	}
	if (x->problem[0] != '\0')
		answer_bad(x, x->problem);
	else
		call(x, data, len);
}

void
rest_rpc_body(rest_exchange *x, const char *data, size_t len, int64_t now)
{
	if (len > 0 && x->problem[0] == '\0')
		json_decref(parse_body(x, data, len));
	if (x->problem[0] != '\0')
		answer_bad(x, x->problem);
	else
		call(x, data, len);
}

/* ----------
 * Results
 * ----------
 */

/* Where what was made can be found: rows begin with their id. */
static void
add_location(const rest_exchange *x, const rest_result *result,
			 char *headers, size_t size)
{
	static const char id[] = "{\"id\":\"";
	size_t		len = sizeof(id) - 1;

	if (strcmp(x->function, "create_conversation") == 0 &&
		result->json_len > len + 36 && memcmp(result->json, id, len) == 0)
		snprintf(headers, size, "Location: /v1/conversations/%.36s\r\n",
				 result->json + len);
}

static void
answer_row(const rest_exchange *x, const rest_result *result)
{
	char		headers[128] = "";

	if (result->version > 0 && !result->is_set)
		snprintf(headers, sizeof(headers), "ETag: \"%lld\"\r\n",
				 (long long) result->version);
	else
		add_location(x, result, headers, sizeof(headers));
	rest_answer_with(x, x->route->style == ROUTE_V1 ? x->route->status : 200,
					 headers, result->json, result->json_len);
}

/* The one row of an array, without its brackets. */
static void
answer_object(const rest_exchange *x, const rest_result *result)
{
	char		details[64];

	if (result->rows == 1)
	{
		rest_answer_with(x, 200, "", result->json + 1, result->json_len - 2);
		return;
	}
	snprintf(details, sizeof(details), "The result contains %llu rows",
			 (unsigned long long) result->rows);
	answer_error(x, 406, "", "PGRST116",
				 "Cannot coerce the result to a single JSON object", details,
				 NULL);
}

/* "Retry after 7 seconds." is the detail of who must wait. */
static void
add_wait(int status, const char *details, char *headers, size_t size)
{
	static const char retry[] = "Retry after ";

	if (status == 429 && details != NULL &&
		strncmp(details, retry, sizeof(retry) - 1) == 0)
		snprintf(headers, size, "Retry-After: %d\r\n",
				 atoi(details + sizeof(retry) - 1));
}

/* The document's words where it has some, and capitals as it has them. */
static void
documents_words(const char *message, char *words, size_t size)
{
	if (strcmp(message, "not a participant of the conversation") == 0)
		message = "not a participant";
	snprintf(words, size, "%s", message);
	if (words[0] >= 'a' && words[0] <= 'z')
		words[0] = (char) (words[0] - 'a' + 'A');
}

static void
answer_refusal(const rest_exchange *x, const rest_result *result)
{
	int			status = rest_error_status(result->code, is_anonymous(x));
	char		headers[64] = "";
	char		message[512];

	/* What happened inside is told to those who program, not to a page. */
	if (status >= 500 && x->route->style == ROUTE_V1)
	{
		answer_error(x, status, "", "", x->route->failure, NULL, NULL);
		return;
	}
	add_wait(status, result->details, headers, sizeof(headers));
	if (x->route->style == ROUTE_V1)
		documents_words(result->message, message, sizeof(message));
	answer_error(x, status, headers, result->code,
				 x->route->style == ROUTE_V1 ? message : result->message,
				 result->details, result->hint);
}

void
rest_called(rest_exchange *x, const rest_result *result)
{
	x->calling = false;
	switch (result->outcome)
	{
		case REST_DONE:
			if (result->json == NULL)
				rest_answer(x, 204, NULL);
			else if (x->wants_object && result->is_set)
				answer_object(x, result);
			else
				answer_row(x, result);
			break;
		case REST_REFUSED:
			answer_refusal(x, result);
			break;
		case REST_NOT_TRIED:
			rest_answer(x, 503, NULL);
			break;
		case REST_UNKNOWN:
			answer_error(x, 500, "", "PGRST000", UNKNOWN_OUTCOME, NULL,
						 "Try again with the same Idempotency-Key, or look.");
			break;
	}
}
