/*-------------------------------------------------------------------------
 *
 * rest.c
 *	  What the gateway answers over HTTP: which handler serves a request, and
 *	  what all of them have in common.
 *
 * A route (routes.c) is a method, a path, the most bytes of a body, and two
 * functions: one looks at the head, and one gets the whole body and answers,
 * or has asked somebody by then and answers later.  Nothing of the request but
 * what the exchange has kept of it is there after its head was looked at.
 *
 * What is common: browsers may call from the origins that are allowed, who
 * calls is told by a token, a body has a limit.  A request is judged by its
 * head, so nobody sends a body in vain, or fills memory without a token.
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#include "rest_inside.h"

#define MAX_ID		64			/* of a request */
#define MAX_CORS	512			/* bytes, so that there is room for the rest */

/* ----------
 * Answers
 * ----------
 */

/* What goes with a status unless something else is said. */
static const char *
status_text(int status)
{
	switch (status)
	{
		case 400:
			return "Request cannot be understood";
		case 401:
		case 403:
			return "Unauthorized";
		case 404:
			return "Not Found";
		case 405:
			return "Method Not Allowed";
		case 413:
			return "Payload too large";
		case 415:
			return "Unsupported Media Type. Use application/json";
		case 429:
			return "Too many requests";
		case 503:
			return "Try again later";
		default:
			return NULL;
	}
}

/* In its style; lasts until the next call. */
static const char *
status_body(route_style style, int status)
{
	static char body[256];
	const char *text = status_text(status);

	if (text == NULL)
		return NULL;
	if (style == ROUTE_BROADCAST && status == 415)
		return "{\"error\":\"Unsupported Media Type. "
			"Use application/json or application/octet-stream\"}";
	if (style == ROUTE_RPC)
		snprintf(body, sizeof(body), "{\"code\":\"%s\",\"details\":null,"
				 "\"hint\":null,\"message\":\"%s\"}",
				 status == 400 ? "PGRST102" : status == 401 ? "PGRST301" :
				 status == 405 ? "PGRST117" : "PGRST000", text);
	else
		snprintf(body, sizeof(body), "{\"%s\":\"%s\"}",
				 style == ROUTE_V1 ? "error" : "message", text);
	return body;
}

static void
fill_response(http_response *response, route_style style, int status,
			  const char *headers, const char *body, size_t body_len)
{
	if (body == NULL && (body = status_body(style, status)) != NULL)
		body_len = strlen(body);
	*response = (http_response) {
		.status = status,.headers = headers,.body = body,
		.body_len = body != NULL ? body_len : 0
	};
}

void
rest_answer_with(const rest_exchange *x, int status, const char *headers,
				 const char *body, size_t body_len)
{
	char		all[REST_MAX_HEADERS + 512];
	http_response response;

	snprintf(all, sizeof(all), "%s%s", headers, x->headers);
	fill_response(&response, x->route->style, status, all, body, body_len);
	x->r->answer(x->socket, &response);
}

void
rest_answer(const rest_exchange *x, int status, const char *body)
{
	rest_answer_with(x, status, "", body, body != NULL ? strlen(body) : 0);
}

/* ----------
 * Heads
 * ----------
 */

bool
rest_has_type(const http_request *request, const char *type)
{
	const char *value = http_header_value(request, "content-type");
	size_t		len = strlen(type);

	return value != NULL && strncasecmp(value, type, len) == 0 &&
		strchr("; \t", value[len]) != NULL;
}

/* What lets a browser give the answer to a page.  False: it must not. */
static bool
add_cors(char *headers, const rest *r, const http_request *request)
{
	const char *origin = admission_origin(r->rules, request);
	size_t		used = strlen(headers);
	int			len;

	if (origin == NULL)
		return false;
	if (origin[0] == '\0')
		return true;
	len = snprintf(headers + used, MAX_CORS - used,
				   "Access-Control-Allow-Origin: %s\r\n"
				   "Vary: Origin\r\n", origin);
	return len > 0 && (size_t) len < MAX_CORS - used;
}

/* A browser asks whether a page may call us. */
static void
preflight(const char *methods, const char *common, http_response *response)
{
	static char headers[REST_MAX_HEADERS + 512];

	snprintf(headers, sizeof(headers), "%s"
			 "Access-Control-Allow-Methods: %s, OPTIONS\r\n"
			 "Access-Control-Allow-Headers: apikey, authorization, "
			 "content-type, x-client-info, x-api-key, accept-profile, "
			 "content-profile, prefer, idempotency-key, if-match, "
			 "x-request-id, x-retry-count\r\n"
			 "Access-Control-Max-Age: 86400\r\n", common, methods);
	fill_response(response, ROUTE_V1, 204, headers, NULL, 0);
}

static void
wrong_method(route_style style, const char *methods, const char *common,
			 http_response *response)
{
	static char headers[REST_MAX_HEADERS + 128];

	snprintf(headers, sizeof(headers), "Allow: %s, OPTIONS\r\n%s", methods,
			 common);
	fill_response(response, style, 405, headers, NULL, 0);
}

/* The caller's id of the request, or one of ours. */
static void
add_request_id(char *headers, const http_request *request)
{
	static uint64_t started;
	static uint64_t number;
	const char *id = http_header_value(request, "x-request-id");
	size_t		used = strlen(headers);
	char		ours[40];

	if (id == NULL || id[0] == '\0' || strlen(id) > MAX_ID ||
		http_token_size(id) != strlen(id))
	{
		while (started == 0)
			if (getrandom(&started, sizeof(started), GRND_NONBLOCK) < 0)
				started = (uint64_t) random() + 1;
		snprintf(ours, sizeof(ours), "%016llx-%llx",
				 (unsigned long long) started,
				 (unsigned long long) ++number);
		id = ours;
	}
	snprintf(headers + used, REST_MAX_HEADERS - used, "X-Request-Id: %s\r\n"
			 "Access-Control-Expose-Headers: ETag, Location, Retry-After, "
			 "X-Request-Id\r\n", id);
}

/* The exchange, with the path's parts to be decoded; NULL: no memory. */
static rest_exchange *
exchange_new(const rest *r, void *socket, const route *route,
			 const path_part *parts)
{
	rest_exchange *x = calloc(1, sizeof(rest_exchange) + parts[0].len +
							  parts[1].len + ROUTE_MAX_PARAMS);

	if (x == NULL)
		return NULL;
	x->r = r;
	x->socket = socket;
	x->route = route;
	x->params[0].data = x->text;
	x->params[1].data = x->text + parts[0].len + 1;
	return x;
}

static bool
decode_params(rest_exchange *x, const path_part *parts)
{
	for (int i = 0; i < ROUTE_MAX_PARAMS; i++)
	{
		if (!http_decode(parts[i].data, parts[i].len,
						 (char *) x->params[i].data, &x->params[i].len))
			return false;
	}
	return true;
}

/* Why a token is not accepted, where the style has words for it. */
static void
explain_refusal(const rest_exchange *x, const server_refusal *refusal,
				http_response *response)
{
	static char body[256];

	if (x->route->style == ROUTE_BROADCAST)
		return;
	snprintf(body, sizeof(body), x->route->style == ROUTE_V1 ?
			 "{\"error\":\"%s\"}" : "{\"code\":\"PGRST301\",\"details\":null,"
			 "\"hint\":null,\"message\":\"%s\"}", refusal->error);
	response->body = body;
	response->body_len = strlen(body);
}

/* 0: the body may come; else the status to answer. */
static int
judge(rest_exchange *x, const http_request *request, size_t body_size,
	  const path_part *parts, int64_t now, http_response *response)
{
	server_refusal refusal = {0};
	bool		calls = x->route->style != ROUTE_BROADCAST;
	int			status;

	if (!admission_identify(x->r->rules, request, now / 1000000, &x->claims,
							calls ? &x->claims_json : NULL, &refusal))
	{
		explain_refusal(x, &refusal, response);
		return refusal.status;
	}
	if (!decode_params(x, parts))
		return 400;
	status = x->route->head(x, request);
	if (status == 0 && body_size > x->route->limit(x->r))
		status = 413;
	return status;
}

static rest_exchange *
begin(const rest *r, void *socket, const http_request *request,
	  size_t body_size, int64_t now, const route *route,
	  const path_part *parts, const char *headers, http_response *response)
{
	rest_exchange *x = exchange_new(r, socket, route, parts);
	http_response refused = {0};
	int			status;

	if (x == NULL)
	{
		fill_response(response, route->style, 503, headers, NULL, 0);
		return NULL;
	}
	strcpy(x->headers, headers);
	status = judge(x, request, body_size, parts, now, &refused);
	if (status == 0)
		return x;
	rest_free(x);
	fill_response(response, route->style, status, headers, refused.body,
				  refused.body_len);
	return NULL;
}

rest_exchange *
rest_begin(const rest *r, void *socket, const http_request *request,
		   size_t body_size, int64_t now, http_response *response)
{
	static char headers[REST_MAX_HEADERS];
	char		methods[ROUTE_MAX_METHODS];
	path_part	parts[ROUTE_MAX_PARAMS];
	const route *route = routes_find(request->method, request->path, parts,
									 methods);
	route_style style = route != NULL ? route->style :
		routes_style(request->path);

	*response = (http_response) {0};
	if (methods[0] == '\0')
		return NULL;
	headers[0] = '\0';
	if (!add_cors(headers, r, request))
	{
		fill_response(response, style, 403, NULL, NULL, 0);
		return NULL;
	}
	if (style != ROUTE_BROADCAST)
		add_request_id(headers, request);
	if (strcmp(request->method, "OPTIONS") == 0)
		preflight(methods, headers, response);
	else if (route == NULL)
		wrong_method(style, methods, headers, response);
	else
		return begin(r, socket, request, body_size, now, route, parts,
					 headers, response);
	return NULL;
}

void
rest_body(rest_exchange *x, const char *data, size_t len, int64_t now)
{
	x->route->body(x, data, len, now);
}

/* What becomes of it now is nothing to tell any more. */
static void
give_up(rest_exchange *x)
{
	if (x->post != NULL)
		hub_post_free(x->post);
	x->post = NULL;
	if (x->calling)
		x->r->forget(x);
	x->calling = false;
}

void
rest_expired(rest_exchange *x)
{
	give_up(x);
	rest_answer(x, 503, NULL);
}

void
rest_free(rest_exchange *x)
{
	give_up(x);
	json_decref(x->args);
	free(x->claims_json);
	free(x);
}
