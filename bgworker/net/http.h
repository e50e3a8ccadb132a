/*-------------------------------------------------------------------------
 *
 * http.h
 *	  HTTP/1.1 as bytes: a request's head, and that of a response.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NET_HTTP_H
#define NET_HTTP_H

#ifdef POSTGRES_H
#error "the socket server knows nothing of PostgreSQL"
#endif

#include <stdbool.h>
#include <stddef.h>

#define HTTP_MAX_HEAD		16384
#define HTTP_MAX_HEADERS	100
#define HTTP_MAX_RESPONSE_HEAD	2048

typedef struct http_header
{
	const char *name;
	const char *value;
} http_header;

/* All texts lie in the buffer that was parsed. */
typedef struct http_request
{
	const char *method;
	const char *path;			/* as sent, percent signs and all */
	const char *query;			/* behind the question mark, or "" */
	int			minor;			/* HTTP/1.minor */
	int			nheaders;
	http_header headers[HTTP_MAX_HEADERS];
} http_request;

/* What an Upgrade header asks for. */
typedef enum http_upgrade
{
	HTTP_UPGRADE_NONE,
	HTTP_UPGRADE_WEBSOCKET,
	HTTP_UPGRADE_VERSION,		/* to a version of WebSocket that we lack */
	HTTP_UPGRADE_BAD			/* to a WebSocket, but not by RFC 6455 */
} http_upgrade;

/*
 * Size of the head that data begins with, its empty line included, or 0 when
 * that has not come.  The first seen bytes were searched before.
 */
extern size_t http_head_size(const char *data, size_t len, size_t seen);

/* Parse a head in place; 0, or the status to refuse it with. */
extern int	http_parse(char *head, size_t size, http_request *request);

/* The value of a header, or NULL; of several, the first. */
extern const char *http_header_value(const http_request *request,
									 const char *name);

/* How many characters of a token (RFC 9110, 5.6.2) a text begins with. */
extern size_t http_token_size(const char *text);

/*
 * Copy a parameter of the query, decoded.  False when there is none, when it
 * does not fit, or when it holds a zero byte.
 */
extern bool http_query_value(const http_request *request, const char *name,
							 char *value, size_t size);

extern http_upgrade http_wants_upgrade(const http_request *request);

/* Is token in a header that is a list?  Letter case does not matter. */
extern bool http_lists(const http_request *request, const char *name,
					   const char *token);

/*
 * How many bytes come behind the head of a request that is no WebSocket's: 0,
 * or the status to refuse it with.
 */
extern int	http_body_size(const http_request *request, size_t *size);

/*
 * Decode the percent signs of a part of a path; out has room for len + 1
 * bytes.  False when it is malformed, or holds a zero byte.
 */
extern bool http_decode(const char *text, size_t len, char *out,
						size_t *out_len);

/* Lasts until it has been written, which its reader does at once. */
typedef struct http_response
{
	int			status;
	const char *headers;		/* further lines, each with its end; or NULL */
	const char *type;			/* of the body; NULL: JSON */
	const char *body;			/* or NULL */
	size_t		body_len;
} http_response;

/*
 * The head of a response, with the headers that its status asks for; another
 * may follow over the connection (keep), or it is closed.  Returns its size;
 * 0: it does not fit.
 */
extern size_t http_response_head(char *out, size_t size,
								 const http_response *response, bool keep);

/* The body {"error": ...}; the text must not need escaping in JSON. */
extern void http_set_error(http_response *response, int status,
						   const char *error, char *body, size_t size);

#endif							/* NET_HTTP_H */
