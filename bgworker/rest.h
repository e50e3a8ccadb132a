/*-------------------------------------------------------------------------
 *
 * rest.h
 *	  What the gateway answers over HTTP, beside WebSockets.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OPENHR_MSG_REST_H
#define OPENHR_MSG_REST_H

#ifdef POSTGRES_H
#error "the HTTP handlers know nothing of PostgreSQL"
#endif

#include "admission.h"
#include "realtime/hub.h"

typedef struct rest_exchange rest_exchange;

/*
 * A function in schema openhr_msg that shall be called in somebody's name.
 * Its arguments are the members of two JSON objects; what is in the first one
 * is not looked for in the second.
 */
typedef struct rest_call
{
	const char *function;
	const token_claims *claims;
	const char *claims_json;
	const char *args;			/* an object */
	const char *body;			/* an object, or NULL */
	size_t		body_len;
	bool		reads;			/* shall change nothing */
} rest_call;

typedef enum rest_outcome
{
	REST_DONE,
	REST_REFUSED,				/* an error, of a function or before it */
	REST_NOT_TRIED,				/* nothing was done: try again */
	REST_UNKNOWN				/* whoever did it did not say how it ended */
} rest_outcome;

/* What became of a call; lasts as long as the callback. */
typedef struct rest_result
{
	rest_outcome outcome;

	/* REST_DONE */
	const char *json;			/* NULL: the function returns nothing */
	size_t		json_len;
	bool		is_set;			/* json is an array of rows .. */
	uint64_t	rows;			/* .. so many */
	int64_t		version;		/* of the row; 0: it has none */

	/* REST_REFUSED; texts are UTF-8, NULL: there is none */
	const char *code;			/* an SQLSTATE, or one of PostgREST's */
	const char *message;
	const char *details;
	const char *hint;
} rest_result;

typedef struct rest
{
	hub		   *rooms;
	const admission_rules *rules;
	size_t		max_message;	/* bytes */

	/* How an exchange is answered later: once, and never from rest_begin(). */
	void		(*answer) (void *socket, const http_response *response);

	/*
	 * Have a function called; rest_called() tells what became of it, never
	 * from within.  False: there are too many such calls.
	 */
	bool		(*call) (rest_exchange *x, const rest_call *call);

	/* Nobody waits for the call's result any more. */
	void		(*forget) (rest_exchange *x);
} rest;

/* The largest body of a call. */
#define REST_MAX_CALL_BODY	(192 * 1024)

/*
 * A request's head; socket is the shell's own pointer, and times are in
 * microseconds since 1970.  Returns the exchange, whose body is wanted, or
 * NULL and fills response, which lasts until the next call; its status is 0
 * when nothing is known of the path.
 */
extern rest_exchange *rest_begin(const rest *r, void *socket,
								 const http_request *request,
								 size_t body_size, int64_t now,
								 http_response *response);

/* The whole body; answered now or, when the hub or a call has told, later. */
extern void rest_body(rest_exchange *x, const char *data, size_t len,
					  int64_t now);
extern void rest_posted(rest_exchange *x, hub_post_result result);
extern void rest_called(rest_exchange *x, const rest_result *result);

/* It has taken too long: it is answered now. */
extern void rest_expired(rest_exchange *x);

/* Nobody waits for the answer any more. */
extern void rest_free(rest_exchange *x);

#endif							/* OPENHR_MSG_REST_H */
