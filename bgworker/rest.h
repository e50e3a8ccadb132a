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

typedef struct rest
{
	hub		   *rooms;
	const admission_rules *rules;
	size_t		max_message;	/* bytes */

	/* How an exchange is answered later: once, and never from rest_begin(). */
	void		(*answer) (void *socket, const http_response *response);
} rest;

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

/* The whole body; answered now or, when the hub has told, later. */
extern void rest_body(rest_exchange *x, const char *data, size_t len,
					  int64_t now);
extern void rest_posted(rest_exchange *x, hub_post_result result);

/* It has taken too long: it is answered now. */
extern void rest_expired(rest_exchange *x);

/* Nobody waits for the answer any more. */
extern void rest_free(rest_exchange *x);

#endif							/* OPENHR_MSG_REST_H */
