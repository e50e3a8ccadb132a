/*-------------------------------------------------------------------------
 *
 * http.c
 *	  HTTP/1.1 as bytes (RFC 9110, RFC 9112).
 *
 * The parser is strict: what two parsers could read in two ways is refused,
 * such as folded lines, a space before a colon, bare line feeds, and control
 * characters.  It works in place and allocates nothing; the head's size and
 * the number of headers are bounded by its caller and by http_request.
 *
 *-------------------------------------------------------------------------
 */
#include "http.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "extensions.h"
#include "websocket.h"

typedef struct http_status
{
	int			status;
	const char *reason;
	const char *headers;		/* whole lines */
} http_status;

/* The last one stands for every status that is not here. */
static const http_status statuses[] = {
	{200, "OK", ""},
	{201, "Created", ""},
	{202, "Accepted", ""},
	{204, "No Content", ""},
	{400, "Bad Request", ""},
	{401, "Unauthorized", "WWW-Authenticate: Bearer\r\n"},
	{403, "Forbidden", ""},
	{404, "Not Found", ""},
	{405, "Method Not Allowed", ""},
	{406, "Not Acceptable", ""},
	{409, "Conflict", ""},
	{410, "Gone", ""},
	{411, "Length Required", ""},
	{412, "Precondition Failed", ""},
	{413, "Content Too Large", ""},
	{415, "Unsupported Media Type", ""},
	{417, "Expectation Failed", ""},
	{422, "Unprocessable Content", ""},
	{426, "Upgrade Required",
	"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"},
	{429, "Too Many Requests", ""},
	{431, "Request Header Fields Too Large", ""},
	{503, "Service Unavailable", ""},
	{505, "HTTP Version Not Supported", ""},
	{500, "Internal Server Error", ""}
};

static int	parse_request_line(char *line, http_request *request);
static int	parse_header(char *line, http_header *header);
static bool is_token(const char *text, size_t len);
static bool is_repeated(const http_request *request, const char *name);
static bool has_token(const char *list, const char *token);
static int	hex_value(char c);

size_t
http_head_size(const char *data, size_t len, size_t seen)
{
	const char *end;

	/* The empty line may have begun in what was seen. */
	seen = seen > 3 ? seen - 3 : 0;
	end = memmem(data + seen, len - seen, "\r\n\r\n", 4);
	return end ? (size_t) (end - data) + 4 : 0;
}

int
http_parse(char *head, size_t size, http_request *request)
{
	char	   *line = head;
	char	   *stop = head + size - 2; /* the empty line */
	int			status = 0;

	request->nheaders = 0;

	while (line < stop && status == 0)
	{
		char	   *end = memchr(line, '\r', stop - line);

		if (end == NULL || end[1] != '\n')
			return 400;
		*end = '\0';

		/* Control characters, among them bare line ends and zero bytes. */
		for (const char *c = line; c < end; c++)
			if (((unsigned char) *c < ' ' && *c != '\t') || *c == 0x7f)
				return 400;

		if (line == head)
			status = parse_request_line(line, request);
		else if (request->nheaders == HTTP_MAX_HEADERS)
			status = 431;
		else
			status = parse_header(line,
								  &request->headers[request->nheaders++]);
		line = end + 2;
	}

	if (status == 0 &&
		((request->minor > 0 && http_header_value(request, "host") == NULL) ||
		 is_repeated(request, "host")))
		return 400;
	return status;
}

/* METHOD SP /path?query SP HTTP/1.x */
static int
parse_request_line(char *line, http_request *request)
{
	char	   *target = strchr(line, ' ');
	char	   *version = target ? strchr(target + 1, ' ') : NULL;
	char	   *query;

	if (version == NULL || !is_token(line, target - line))
		return 400;
	*target++ = '\0';
	*version++ = '\0';

	if (strncmp(version, "HTTP/", 5) != 0)
		return 400;
	if (strcmp(version, "HTTP/1.1") != 0 && strcmp(version, "HTTP/1.0") != 0)
		return 505;
	if (*target != '/')
		return 400;

	query = strchr(target, '?');
	if (query)
		*query++ = '\0';

	request->method = line;
	request->path = target;
	request->query = query ? query : "";
	request->minor = version[7] - '0';
	return 0;
}

static int
parse_header(char *line, http_header *header)
{
	char	   *value = strchr(line, ':');
	char	   *end;

	if (value == NULL || !is_token(line, value - line))
		return 400;
	*value++ = '\0';

	value += strspn(value, " \t");
	end = value + strlen(value);
	while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	*end = '\0';

	header->name = line;
	header->value = value;
	return 0;
}

size_t
http_token_size(const char *text)
{
	static const char allowed[] = "!#$%&'*+-.^_`|~0123456789"
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

	return strspn(text, allowed);
}

static bool
is_token(const char *text, size_t len)
{
	return len > 0 && http_token_size(text) == len;
}

const char *
http_header_value(const http_request *request, const char *name)
{
	for (int i = 0; i < request->nheaders; i++)
		if (strcasecmp(request->headers[i].name, name) == 0)
			return request->headers[i].value;
	return NULL;
}

/* Does a header that must not come twice do so? */
static bool
is_repeated(const http_request *request, const char *name)
{
	int			count = 0;

	for (int i = 0; i < request->nheaders; i++)
		count += strcasecmp(request->headers[i].name, name) == 0;
	return count > 1;
}

/* Is token in a header that is a list, perhaps one over several lines? */
bool
http_lists(const http_request *request, const char *name, const char *token)
{
	for (int i = 0; i < request->nheaders; i++)
		if (strcasecmp(request->headers[i].name, name) == 0 &&
			has_token(request->headers[i].value, token))
			return true;
	return false;
}

/* Is token in a comma-separated list?  Letter case does not matter. */
static bool
has_token(const char *list, const char *token)
{
	size_t		len = strlen(token);

	while (list)
	{
		list += strspn(list, ", \t");
		if (strncasecmp(list, token, len) == 0 &&
			strchr(", \t", list[len]) != NULL)
			return true;
		list = strchr(list, ',');
	}
	return false;
}

bool
http_query_value(const http_request *request, const char *name,
				 char *value, size_t size)
{
	const char *p = request->query;
	size_t		name_len = strlen(name);
	size_t		len = 0;

	while (strncmp(p, name, name_len) != 0 || p[name_len] != '=')
	{
		p = strchr(p, '&');
		if (p == NULL)
			return false;
		p++;
	}

	for (p += name_len + 1; *p && *p != '&'; p++)
	{
		char		c = *p == '+' ? ' ' : *p;

		if (c == '%' && hex_value(p[1]) >= 0 && hex_value(p[2]) >= 0)
		{
			c = hex_value(p[1]) << 4 | hex_value(p[2]);
			p += 2;
		}
		if (c == '\0' || len + 1 >= size)
			return false;
		value[len++] = c;
	}
	value[len] = '\0';
	return true;
}

static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 'a' - 'A';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

http_upgrade
http_wants_upgrade(const http_request *request)
{
	const char *version = http_header_value(request, "sec-websocket-version");
	const char *key = http_header_value(request, "sec-websocket-key");
	const char *length = http_header_value(request, "content-length");
	char		accept[WS_ACCEPT_SIZE];
	deflate_terms terms;

	if (!http_lists(request, "upgrade", "websocket"))
		return HTTP_UPGRADE_NONE;

	/* No body, in nobody's reading: frames begin behind the empty line. */
	if (strcmp(request->method, "GET") != 0 || request->minor < 1 ||
		!http_lists(request, "connection", "upgrade") ||
		http_header_value(request, "transfer-encoding") != NULL ||
		(length != NULL && strcmp(length, "0") != 0) ||
		is_repeated(request, "content-length") ||
		is_repeated(request, "sec-websocket-key") ||
		is_repeated(request, "sec-websocket-version") ||
		!extensions_negotiate(request, &terms))
		return HTTP_UPGRADE_BAD;

	if (version == NULL || strcmp(version, "13") != 0)
		return HTTP_UPGRADE_VERSION;

	return key != NULL && ws_accept_key(key, accept) ?
		HTTP_UPGRADE_WEBSOCKET : HTTP_UPGRADE_BAD;
}

/* Digits only, as many as there are in no number that overflows. */
static bool
parse_length(const char *text, size_t *length)
{
	size_t		digits = strspn(text, "0123456789");

	*length = 0;
	if (digits == 0 || digits > 15 || text[digits] != '\0')
		return false;
	for (; *text; text++)
		*length = *length * 10 + (size_t) (*text - '0');
	return true;
}

int
http_body_size(const http_request *request, size_t *size)
{
	const char *length = http_header_value(request, "content-length");
	const char *expect = http_header_value(request, "expect");

	*size = 0;
	if (is_repeated(request, "content-length") ||
		(length != NULL && !parse_length(length, size)))
		return 400;
	if (http_header_value(request, "transfer-encoding") != NULL)
		return length != NULL ? 400 : 411;
	if (expect != NULL && strcasecmp(expect, "100-continue") != 0)
		return 417;
	return 0;
}

bool
http_decode(const char *text, size_t len, char *out, size_t *out_len)
{
	size_t		n = 0;

	for (size_t i = 0; i < len; i++)
	{
		char		c = text[i];

		if (c == '%')
		{
			if (i + 2 >= len || hex_value(text[i + 1]) < 0 ||
				hex_value(text[i + 2]) < 0)
				return false;
			c = (char) (hex_value(text[i + 1]) << 4 | hex_value(text[i + 2]));
			i += 2;
		}
		if (c == '\0')
			return false;
		out[n++] = c;
	}
	out[n] = '\0';
	*out_len = n;
	return true;
}

size_t
http_response_head(char *out, size_t size, const http_response *response,
				   bool keep)
{
	const http_status *known = statuses;
	char		length[48] = "";
	char		type[128] = "";
	char		later[32] = "";
	int			len;

	while (known->status != response->status && known->status != 500)
		known++;
	if (known->status != 204)
		snprintf(length, sizeof(length), "Content-Length: %zu\r\n",
				 response->body_len);

	if (response->body_len > 0)
		snprintf(type, sizeof(type), "Content-Type: %s\r\n",
				 response->type ? response->type : "application/json");

	/* Not all at once again. */
	if (known->status == 503 &&
		(response->headers == NULL ||
		 strstr(response->headers, "Retry-After:") == NULL))
		snprintf(later, sizeof(later), "Retry-After: %d\r\n",
				 5 + (int) (random() % 11));

	len = snprintf(out, size,
				   "HTTP/1.1 %d %s\r\n"
				   "%s%s"
				   "%s%s%s%s\r\n",
				   known->status, known->reason,
				   type, length, keep ? "" : "Connection: close\r\n",
				   known->headers, later,
				   response->headers ? response->headers : "");

	return len < 0 || (size_t) len >= size ? 0 : (size_t) len;
}

void
http_set_error(http_response *response, int status, const char *error,
			   char *body, size_t size)
{
	int			len = snprintf(body, size, "{\"error\":\"%s\"}", error);

	*response = (http_response) {.status = status};
	if (len > 0 && (size_t) len < size)
	{
		response->body = body;
		response->body_len = (size_t) len;
	}
}
