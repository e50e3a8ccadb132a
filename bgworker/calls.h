/*-------------------------------------------------------------------------
 *
 * calls.h
 *	  What a gateway asks an executor, and how it is answered.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OPENHR_MSG_CALLS_H
#define OPENHR_MSG_CALLS_H

#include <stdint.h>

#include "../decoder/event.h"

/* In milliseconds: an executor answers within this, if only with an error. */
#define MSG_CALL_TIMEOUT	4000

typedef enum MsgCallKind
{
	/*
	 * The conversations of a profile, and when its tokens were revoked.  The
	 * reply is an event_snapshot with the conversations' ids, so that the
	 * asker can tell which events it holds already.
	 */
	MSG_CALL_LOAD_USER = 1,

	/*
	 * Our tables: the schema's name with its terminator, then for each of
	 * EVENT_TABLES tables a uint32 length and the columns as JSON.
	 */
	MSG_CALL_DESCRIBE = 2
} MsgCallKind;

typedef struct MsgCall
{
	uint64_t	ticket;
	uint32_t	kind;
	uint8_t		profile_id[16];
} MsgCall;

typedef enum MsgReplyStatus
{
	MSG_REPLY_OK = 0,
	MSG_REPLY_ERROR = 1			/* payload: message text, no data in it */
} MsgReplyStatus;

typedef struct MsgReply
{
	uint64_t	ticket;
	uint32_t	kind;			/* of the call */
	uint32_t	status;
	uint32_t	len;			/* of the payload that follows */
	uint32_t	pad;
} MsgReply;

#endif							/* OPENHR_MSG_CALLS_H */
