/*-------------------------------------------------------------------------
 *
 * gateway_requests.h
 *	  HTTP requests that call SQL functions: from a gateway to its executors,
 *	  and back.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OPENHR_MSG_GATEWAY_REQUESTS_H
#define OPENHR_MSG_GATEWAY_REQUESTS_H

#include "rest.h"

#define MSG_REQUESTS_OPEN	2048

extern void msg_requests_init(void);

/* See struct rest; they raise no error. */
extern bool msg_requests_call(rest_exchange *x, const rest_call *call);
extern void msg_requests_forget(rest_exchange *x);

/*
 * An executor has answered; payload is NULL when it has not and may have done
 * it.  The gateway's loop calls it, not a callback.
 */
extern void msg_requests_answered(uint64_t ticket, bool success,
								  const void *payload, size_t len);

/* Once a turn: answer those whose commit has become durable. */
extern void msg_requests_release(void);

/* Milliseconds until that is worth a look at the latest, or -1. */
extern long msg_requests_timeout(void);

#endif							/* OPENHR_MSG_GATEWAY_REQUESTS_H */
