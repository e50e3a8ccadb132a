/*-------------------------------------------------------------------------
 *
 * http.h
 *	  HTTP/1.1 as bytes: a request's head, and short answers in JSON.
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
#define HTTP_MAX_REPLY		1024

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

/*
 * A whole answer that closes the connection, with the headers that its status
 * asks for and {"error": ...}.  The text must not need escaping in JSON.
 */
extern size_t http_reply(char *out, size_t size, int status,
						 const char *error);

#endif							/* NET_HTTP_H */
