/*-------------------------------------------------------------------------
 *
 * rest_inside.h
 *	  An exchange's inside, shared by the files of the HTTP handlers.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OPENHR_MSG_REST_INSIDE_H
#define OPENHR_MSG_REST_INSIDE_H

#include <jansson.h>

#include "rest.h"
#include "routes.h"

#define REST_MAX_HEADERS	768 /* those that all answers have */

struct rest_exchange
{
	const rest *r;
	void	   *socket;
	const route *route;
	token_claims claims;
	char		headers[REST_MAX_HEADERS];

	/* Broadcasts */
	hub_post   *post;
	bool		single;
	bool		raw;			/* the body is no JSON */
	bool		private;

	/* Calls */
	const char *function;
	char	   *claims_json;
	json_t	   *args;			/* from path, query and headers */
	bool		wants_object;	/* one row, and no array */
	bool		reads;
	bool		calling;		/* rest_called() is to come */
	char		problem[128];	/* with the head or the body */

	path_part	params[ROUTE_MAX_PARAMS];
	char		text[];			/* of params */
};

/* rest.c: answer, with what goes with the status or (not NULL) another body. */
extern void rest_answer(const rest_exchange *x, int status, const char *body);
extern void rest_answer_with(const rest_exchange *x, int status,
							 const char *headers, const char *body,
							 size_t body_len);

/* The media type of the body, without its parameters. */
extern bool rest_has_type(const http_request *request, const char *type);

/* rest_errors.c: bodies of refusals, to be freed; NULL: no memory. */
extern char *rest_error_v1(const char *message, const char *details,
						   const char *hint);
extern char *rest_error_rpc(const char *code, const char *message,
							const char *details, const char *hint);

/* The status that goes with an error of a function. */
extern int	rest_error_status(const char *code, bool anonymous);

#endif							/* OPENHR_MSG_REST_INSIDE_H */
