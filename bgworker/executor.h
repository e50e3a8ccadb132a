/*-------------------------------------------------------------------------
 *
 * executor.h
 *	  An executor's inside: HTTP requests, which it serves in the names of
 *	  their callers.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OPENHR_MSG_EXECUTOR_H
#define OPENHR_MSG_EXECUTOR_H

#include "lib/stringinfo.h"

#include "calls.h"

extern void msg_request_init(void);

/* Serve MSG_CALL_REQUEST: a MsgRequestResult is appended to reply. */
extern void msg_request_serve(const MsgCall *call, const void *payload,
							  StringInfo reply);

/* There is nothing else to do: make durable what was answered. */
extern void msg_request_flush(void);

/* The extension is another one now. */
extern void msg_request_forget_plans(void);

#endif							/* OPENHR_MSG_EXECUTOR_H */
