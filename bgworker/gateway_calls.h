/*-------------------------------------------------------------------------
 *
 * gateway_calls.h
 *	  A gateway's questions to its executors, and their answers.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OPENHR_MSG_GATEWAY_CALLS_H
#define OPENHR_MSG_GATEWAY_CALLS_H

#include "calls.h"

typedef void (*MsgAnswered) (const MsgCall *call, bool success,
							 const void *payload, Size len);

/* At most max_calls can be open at a time. */
extern void msg_calls_init(int max_calls, MsgAnswered answered);

/*
 * Take a question, about a profile or (NULL) not; false when there are too
 * many.  Never raises an error, so that it may be called from anywhere.
 */
extern bool msg_calls_ask(uint64 ticket, MsgCallKind kind,
						  const uint8 *profile_id);

/*
 * The same for a call that brings something along, at most MSG_CALL_PAYLOAD
 * bytes, which are copied.
 */
extern bool msg_calls_tell(uint64 ticket, MsgCallKind kind,
						   const uint8 *profile_id, const void *payload,
						   Size len);

/*
 * The same for an HTTP request.  letter is a MsgCall, which is filled here, and
 * behind it a MsgRequest of len bytes; it was got by malloc, and is taken when
 * true is returned.  What is answered without success and without a payload may
 * have been done or not.
 */
extern bool msg_calls_request(uint64 ticket, const uint8 *profile_id,
							  MsgCall *letter, Size len);

/* Nobody waits for the answer to a request, which may still come. */
extern void msg_calls_cancel(uint64 ticket);

/* Once a turn: hand on what was answered; and ask what can be asked. */
extern void msg_calls_receive(void);
extern void msg_calls_dispatch(void);

/* How many are not answered? */
extern int	msg_calls_open(void);

/* Milliseconds until an executor that does not answer is given up, or -1. */
extern long msg_calls_timeout(void);

#endif							/* OPENHR_MSG_GATEWAY_CALLS_H */
