/*-------------------------------------------------------------------------
 *
 * admission.c
 *	  Who may open a WebSocket.
 *
 * Clients know /realtime/v1/websocket, or any other prefix before /websocket.
 * The key that comes with the handshake decides what the connection is until
 * a channel brings a token of its own.  The texts of refusals are those that
 * Supabase's server uses, as far as it has them.
 *
 *-------------------------------------------------------------------------
 */
#include "admission.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

static bool is_websocket_path(const char *path);
static int	protocol_version(const http_request *request);
static bool client_id(const http_request *request, char *id, size_t size);
static bool find_token(const http_request *request, char *token, size_t size);
static bool bearer_token(const http_request *request, char *token,
						 size_t size);
static bool copy_token(const char *text, char *token, size_t size);
static void explain(token_status status, server_refusal *refusal);

bool
admission_check(const admission_rules *rules, const http_request *request,
				bool websocket, int64_t now, admission *result,
				server_refusal *refusal)
{
	token_status status;

	if (!is_websocket_path(request->path))
		*refusal = (server_refusal) {404, "not found"};
	else if (!websocket)
		*refusal = (server_refusal) {426, "this is a WebSocket endpoint"};
	else if (admission_origin(rules, request) == NULL)
		*refusal = (server_refusal) {403, "origin is not allowed"};
	else if ((result->vsn = protocol_version(request)) == 0)
		*refusal = (server_refusal) {403, "vsn is not supported"};
	else if (!client_id(request, result->client_id, sizeof(result->client_id)))
		*refusal = (server_refusal) {400, "client_id must be 1 to 64 printable ASCII characters"};
	else if (!find_token(request, result->token, sizeof(result->token)))
		*refusal = (server_refusal) {401, "API key is missing"};
	else
	{
		status = token_verify(rules->keys, result->token,
							  strlen(result->token), now,
							  &result->claims, NULL);
		if (status == TOKEN_OK)
			return true;
		explain(status, refusal);
	}
	return false;
}

static bool
is_websocket_path(const char *path)
{
	static const char suffix[] = "/websocket";
	size_t		len = strlen(path);

	return len >= sizeof(suffix) - 1 &&
		strcmp(path + len - (sizeof(suffix) - 1), suffix) == 0;
}

/* Only browsers send an origin, and only for them it means anything. */
const char *
admission_origin(const admission_rules *rules, const http_request *request)
{
	const char *origin = http_header_value(request, "origin");

	if (origin == NULL)
		return "";
	for (int i = 0; i < rules->norigins; i++)
		if (strcmp(rules->origins[i], "*") == 0)
			return "*";
		else if (strcasecmp(rules->origins[i], origin) == 0)
			return origin;
	return NULL;
}

/*
 * The token is a person's, and the key perhaps only the application's: other
 * than in a handshake, where browsers can send nothing but the key, the token
 * comes first.
 */
bool
admission_identify(const admission_rules *rules, const http_request *request,
				   int64_t now, token_claims *claims, char **json,
				   server_refusal *refusal)
{
	static char token[TOKEN_MAX_BYTES + 1];
	const char *key = http_header_value(request, "apikey");
	token_status status;

	if (!bearer_token(request, token, sizeof(token)) &&
		(key == NULL || !copy_token(key, token, sizeof(token))) &&
		!find_token(request, token, sizeof(token)))
	{
		*refusal = (server_refusal) {401, "No token in the request"};
		return false;
	}
	status = token_verify(rules->keys, token, strlen(token), now, claims,
						  json);
	if (status != TOKEN_OK)
		explain(status, refusal);
	return status == TOKEN_OK;
}

/* vsn=2.0.x or 1.0.x, which is also what its absence means; 0: another. */
static int
protocol_version(const http_request *request)
{
	char		vsn[64];

	if (!http_query_value(request, "vsn", vsn, sizeof(vsn)))
		return 1;
	if (strncmp(vsn, "1.0.", 4) == 0)
		return 1;
	if (strncmp(vsn, "2.0.", 4) == 0)
		return 2;
	return 0;
}

/* The name by which the client comes back; none is fine. */
static bool
client_id(const http_request *request, char *id, size_t size)
{
	static const char name[] = "client_id=";

	id[0] = '\0';
	if (!http_query_value(request, "client_id", id, size))
		return strncmp(request->query, name, sizeof(name) - 1) != 0 &&
			strstr(request->query, "&client_id=") == NULL;
	for (const char *p = id; *p; p++)
	{
		if (*p <= ' ' || *p > '~')
			return false;
	}
	return id[0] != '\0';
}

/*
 * A header beats the query.  A token that is too long for the buffer is as
 * good as none.
 */
static bool
find_token(const http_request *request, char *token, size_t size)
{
	const char *value = http_header_value(request, "x-api-key");

	if (value != NULL)
		return copy_token(value, token, size);
	if (http_query_value(request, "apikey", token, size))
		return copy_token(token, token, size);
	return bearer_token(request, token, size);
}

static bool
bearer_token(const http_request *request, char *token, size_t size)
{
	static const char bearer[] = "Bearer ";
	const char *value = http_header_value(request, "authorization");

	return value != NULL &&
		strncasecmp(value, bearer, sizeof(bearer) - 1) == 0 &&
		copy_token(value + sizeof(bearer) - 1, token, size);
}

/* Copy without white space, in place if need be; false when nothing is left. */
static bool
copy_token(const char *text, char *token, size_t size)
{
	size_t		len = 0;

	for (; *text; text++)
	{
		if (isspace((unsigned char) *text))
			continue;
		if (len + 1 == size)
			return false;
		token[len++] = *text;
	}
	token[len] = '\0';
	return len > 0;
}

static void
explain(token_status status, server_refusal *refusal)
{
	refusal->status = 401;
	switch (status)
	{
		case TOKEN_MALFORMED:
			refusal->error = "The token provided is not a valid JWT";
			break;
		case TOKEN_BAD_SIGNATURE:
			refusal->error = "Failed to validate JWT signature";
			break;
		case TOKEN_NO_KEY:
			refusal->error = "Failed to generate JWT signer, "
				"check your JWT secret or JWKS configuration";
			break;
		case TOKEN_EXPIRED:
			refusal->error = "Token has expired";
			break;
		case TOKEN_MISSING_CLAIM:
			refusal->error = "Fields `role` and `exp` are required in JWT";
			break;
		case TOKEN_NO_MEMORY:
			refusal->status = 503;
			refusal->error = "out of memory";
			break;
		default:
			refusal->error = token_status_text(status);
	}
}
