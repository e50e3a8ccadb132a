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
	MSG_CALL_DESCRIBE = 2,

	/*
	 * Write that messages have arrived.  The payload is an array of
	 * MsgReceipt; that of the reply is an array of uint32, the places in it
	 * of those that could not be written now.
	 */
	MSG_CALL_RECEIPTS = 3
} MsgCallKind;

typedef struct MsgCall
{
	uint64_t	ticket;
	uint32_t	kind;
	uint32_t	len;			/* of the payload that follows */
	uint8_t		profile_id[16];
} MsgCall;

/* The largest payload of a call. */
#define MSG_CALL_PAYLOAD	(256 * 1024)

typedef struct MsgReceipt
{
	uint8_t		conversation_id[16];
	uint8_t		profile_id[16];
	int64_t		first;
	int64_t		last;
} MsgReceipt;

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
