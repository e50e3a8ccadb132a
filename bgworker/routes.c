/*-------------------------------------------------------------------------
 *
 * routes.c
 *	  The table of what is answered over HTTP.
 *
 * A route of the API (/v1) is a line that says which SQL function it is, and
 * where the function's arguments come from: one from the path, others from the
 * query or the body.  What it does, and who may do it, is the function's to
 * say; so whoever calls it by SQL, by supabase.rpc() or here gets the same.
 *
 *-------------------------------------------------------------------------
 */
#include "routes.h"

#include <stdio.h>
#include <string.h>

static const field nothing[] = {{NULL}};

static const field list_conversations_query[] = {
	{"limit", FIELD_LIMIT, "max", false},
	{"before", FIELD_TIME, NULL, false},
	{"include_archived", FIELD_BOOLEAN, NULL, false},
	{NULL}
};

static const field create_conversation_fields[] = {
	{"participants", FIELD_STRINGS, NULL, true},
	{"title", FIELD_STRING, NULL, false},
	{"type", FIELD_STRING, NULL, false},
	{"match_id", FIELD_STRING, NULL, false},
	{NULL}
};

static const field list_messages_query[] = {
	{"limit", FIELD_LIMIT, "max", false},
	{"before", FIELD_TIME, NULL, false},
	{"before_seq", FIELD_INTEGER, NULL, false},
	{"after_seq", FIELD_INTEGER, NULL, false},
	{"since_version", FIELD_INTEGER, NULL, false},
	{"epoch", FIELD_STRING, NULL, false},
	{NULL}
};

static const field send_message_fields[] = {
	{"content", FIELD_STRING, NULL, true},
	{"content_type", FIELD_STRING, NULL, false},
	{"reply_to_message_id", FIELD_STRING, NULL, false},
	{"metadata", FIELD_OBJECT, NULL, false},
	{"client_message_id", FIELD_STRING, NULL, false},
	{NULL}
};

static const field edit_message_fields[] = {
	{"content", FIELD_STRING, NULL, true},
	{NULL}
};

static const field mark_read_fields[] = {
	{"up_to_seq", FIELD_INTEGER, NULL, false},
	{NULL}
};

static const field report_message_fields[] = {
	{"reason", FIELD_STRING, NULL, true},
	{"severity", FIELD_STRING, NULL, false},
	{NULL}
};

#define V1_READ(path_text, sql, arg, query_fields, words) \
	{.method = "GET", .path = path_text, .style = ROUTE_V1, \
	 .limit = rest_no_body, .head = rest_v1_head, .body = rest_v1_body, \
	 .function = sql, .path_arg = arg, .query = query_fields, \
	 .fields = nothing, .status = 200, .failure = words}

#define V1_WRITE(verb, path_text, sql, arg, body_fields, code, words) \
	{.method = verb, .path = path_text, .style = ROUTE_V1, \
	 .limit = rest_call_limit, .head = rest_v1_head, .body = rest_v1_body, \
	 .function = sql, .path_arg = arg, .query = nothing, \
	 .fields = body_fields, .status = code, .failure = words}

static const route routes[] = {
	V1_READ("/v1/conversations", "list_conversations", NULL,
			list_conversations_query, "Failed to list conversations"),
	V1_WRITE("POST", "/v1/conversations", "create_conversation", NULL,
			 create_conversation_fields, 201,
			 "Failed to create conversation"),
	V1_READ("/v1/conversations/*", "get_conversation", "conversation_id",
			nothing, "Failed to get conversation"),
	V1_READ("/v1/conversations/*/messages", "list_messages",
			"conversation_id", list_messages_query,
			"Failed to list messages"),
	V1_WRITE("POST", "/v1/conversations/*/messages", "send_message",
			 "conversation_id", send_message_fields, 201,
			 "Failed to send message"),
	V1_WRITE("POST", "/v1/conversations/*/read", "mark_read",
			 "conversation_id", mark_read_fields, 200,
			 "Failed to mark as read"),
	V1_WRITE("PATCH", "/v1/messages/*", "edit_message", "message_id",
			 edit_message_fields, 200, "Failed to edit message"),
	V1_WRITE("DELETE", "/v1/messages/*", "delete_message", "message_id",
			 nothing, 200, "Failed to delete message"),
	V1_WRITE("POST", "/v1/messages/*/report", "report_message", "message_id",
			 report_message_fields, 201, "Failed to report message"),
	{.method = "POST",.path = "/rest/v1/rpc/*",.style = ROUTE_RPC,
		.limit = rest_call_limit,.head = rest_rpc_head,
	.body = rest_rpc_body},
	{.method = "GET",.path = "/rest/v1/rpc/*",.style = ROUTE_RPC,
		.limit = rest_no_body,.head = rest_rpc_head,
	.body = rest_rpc_body},
	{.method = "POST",.path = "/realtime/v1/api/broadcast",
		.limit = rest_batch_limit,.head = rest_batch_head,
	.body = rest_batch_body},
	{.method = "POST",.path = "/realtime/v1/api/broadcast/*/events/*",
		.limit = rest_single_limit,.head = rest_single_head,
	.body = rest_single_body}
};

static path_part
next_part(const char **path)
{
	path_part	part;

	part.data = *path + 1;
	part.len = strcspn(part.data, "/");
	*path = part.data + part.len;
	return part;
}

/* Is it the path of a route?  Then parts gets what its stars stand for. */
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

static bool
method_matches(const char *method, const route *r)
{
	return strcmp(method, r->method) == 0 ||
		(strcmp(method, "HEAD") == 0 && strcmp(r->method, "GET") == 0);
}

static void
add_method(char *methods, const char *method)
{
	size_t		len = strlen(methods);

	snprintf(methods + len, ROUTE_MAX_METHODS - len, "%s%s%s",
			 len > 0 ? ", " : "", method,
			 strcmp(method, "GET") == 0 ? ", HEAD" : "");
}

const route *
routes_find(const char *method, const char *path, path_part *parts,
			char *methods)
{
	const route *found = NULL;
	path_part	others[ROUTE_MAX_PARAMS];

	methods[0] = '\0';
	for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++)
	{
		memset(others, 0, sizeof(others));
		if (!path_matches(path, routes[i].path, others))
			continue;
		add_method(methods, routes[i].method);
		memcpy(parts, others, sizeof(others));
		if (method_matches(method, &routes[i]))
			found = &routes[i];
	}
	return found;
}

route_style
routes_style(const char *path)
{
	path_part	parts[ROUTE_MAX_PARAMS];

	for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++)
		if (path_matches(path, routes[i].path, parts))
			return routes[i].style;
	return ROUTE_V1;
}
