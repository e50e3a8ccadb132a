/*-------------------------------------------------------------------------
 *
 * routes.h
 *	  Which handler serves a method and a path.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OPENHR_MSG_ROUTES_H
#define OPENHR_MSG_ROUTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rest.h"

#define ROUTE_MAX_PARAMS	2	/* of a path */
#define ROUTE_MAX_METHODS	64	/* bytes of their list */

typedef struct path_part
{
	const char *data;
	size_t		len;
} path_part;

/* How refusals look: as Supabase's servers, PostgREST or the document do. */
typedef enum route_style
{
	ROUTE_BROADCAST,
	ROUTE_RPC,
	ROUTE_V1
} route_style;

/* A field of a body, or a parameter of a query. */
typedef enum field_kind
{
	FIELD_STRING,
	FIELD_INTEGER,
	FIELD_BOOLEAN,
	FIELD_OBJECT,
	FIELD_STRINGS,				/* an array of them */
	FIELD_TIME,					/* ISO 8601 */
	FIELD_LIMIT					/* 1 to 100 */
} field_kind;

typedef struct field
{
	const char *name;			/* NULL: behind the last one */
	field_kind	kind;
	const char *arg;			/* its name in SQL, where it is another */
	bool		required;		/* in a body */
} field;

typedef struct route
{
	const char *method;
	const char *path;			/* "*" stands for any one part */
	route_style style;
	size_t		(*limit) (const rest *r);

	/* 0, or the status to answer. */
	int			(*head) (rest_exchange *x, const http_request *request);
	void		(*body) (rest_exchange *x, const char *data, size_t len,
						 int64_t now);

	/* ROUTE_V1: the function and where its arguments come from. */
	const char *function;
	const char *path_arg;		/* what the star is, or NULL */
	const field *query;
	const field *fields;
	int			status;			/* of success */
	const char *failure;		/* of our own; NULL: no word of it */
} route;

/*
 * The route of a method and a path; parts gets what its stars stand for.  HEAD
 * is GET without the body.  NULL: there is none, and methods lists those that
 * there are for this path, "" if it is unknown.
 */
extern const route *routes_find(const char *method, const char *path,
								path_part *parts, char *methods);

/* How a path's refusals look when its method is not there. */
extern route_style routes_style(const char *path);

/* The handlers of rest_broadcast.c and rest_calls.c. */
extern size_t rest_single_limit(const rest *r);
extern int	rest_single_head(rest_exchange *x, const http_request *request);
extern void rest_single_body(rest_exchange *x, const char *data, size_t len,
							 int64_t now);
extern size_t rest_batch_limit(const rest *r);
extern int	rest_batch_head(rest_exchange *x, const http_request *request);
extern void rest_batch_body(rest_exchange *x, const char *data, size_t len,
							int64_t now);
extern size_t rest_no_body(const rest *r);
extern size_t rest_call_limit(const rest *r);
extern int	rest_v1_head(rest_exchange *x, const http_request *request);
extern void rest_v1_body(rest_exchange *x, const char *data, size_t len,
						 int64_t now);
extern int	rest_rpc_head(rest_exchange *x, const http_request *request);
extern void rest_rpc_body(rest_exchange *x, const char *data, size_t len,
						  int64_t now);

#endif							/* OPENHR_MSG_ROUTES_H */
