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
#include "../src/token.h"

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
	MSG_CALL_RECEIPTS = 3,

	/* Where the stream of changes is.  The reply is an event_mark. */
	MSG_CALL_MARK = 4,

	/*
	 * What a profile has missed.  The payload is a MsgCatchUp, that of the
	 * reply a MsgCaughtUp.
	 */
	MSG_CALL_CATCH_UP = 5,

	/*
	 * Write how far clients have come.  The payload is a row of
	 * MsgSavedPosition; the reply is empty.
	 */
	MSG_CALL_SAVE_POSITIONS = 6,

	/*
	 * The latest broadcasts of a topic.  The payload is a MsgReplay; the reply
	 * is their events, each at a multiple of 8, the oldest first.
	 */
	MSG_CALL_REPLAY = 7,

	/*
	 * Call a function in somebody's name, for an HTTP request.  The payload
	 * is a MsgRequest, that of the reply a MsgRequestResult.  It is not asked
	 * a second time when nobody answered, unless it only reads.
	 */
	MSG_CALL_REQUEST = 8
} MsgCallKind;

typedef struct MsgCall
{
	uint64_t	ticket;
	uint32_t	kind;
	uint32_t	len;			/* of the payload that follows */
	uint8_t		profile_id[16];
} MsgCall;

/* The largest payload of a call; an answer is not much larger. */
#define MSG_CALL_PAYLOAD	(256 * 1024)

typedef struct MsgReceipt
{
	uint8_t		conversation_id[16];
	uint8_t		profile_id[16];
	int64_t		first;
	int64_t		last;
} MsgReceipt;

/*
 * What of the tables is missed by who has all changes up to a position: rows
 * of conversations that the profile is a member of now, and what was removed.
 * Behind the struct, each beginning at a multiple of 8: the client's id, the
 * topic, from, until, cursor.
 *
 * With resume, "from" is what was saved for the client and the topic; a client
 * that is not known begins now, and is known from then on.
 */
typedef struct MsgCatchUp
{
	uint8_t		tables;			/* 1 << event_table */
	uint8_t		pinned;			/* one conversation only */
	uint8_t		resume;
	uint8_t		pad[5];
	uint8_t		conversation_id[16];
	uint32_t	client_id_len;	/* 0 without resume */
	uint32_t	topic_len;		/* 0 without resume */
	uint32_t	from_len;		/* an event_position, or 0 */
	uint32_t	until_len;		/* an event_mark, or 0: until now */
	uint32_t	cursor_len;
	uint32_t	pad2;
} MsgCatchUp;

/*
 * Behind the struct, each beginning at a multiple of 8: the mark that it is
 * complete for, what it began from, where to go on, and each event.  With more
 * set there is more to come: by the same call with these as until, from and
 * cursor, and without resume.  Each row comes in the order of its
 * conversation's versions, at most once, as it is in the mark; one that has
 * changed behind the mark is left for the next time.
 */
typedef struct MsgCaughtUp
{
	uint8_t		found;			/* resume: the client was known */
	uint8_t		more;
	uint8_t		pad[6];
	int64_t		session;		/* resume: tells this stay of the client from
								 * those before */
	uint32_t	until_len;
	uint32_t	from_len;
	uint32_t	cursor_len;
	uint32_t	nevents;
} MsgCaughtUp;

/*
 * Ignored when the client has come back since, in another session.  Behind
 * the struct, each beginning at a multiple of 8: the client's id, the topic,
 * an event_position; and then the next one.
 */
typedef struct MsgSavedPosition
{
	uint8_t		profile_id[16];
	int64_t		session;
	uint32_t	client_id_len;
	uint32_t	topic_len;
	uint32_t	position_len;
	uint32_t	pad;
} MsgSavedPosition;

/* Behind the struct: the topic, without "realtime:". */
typedef struct MsgReplay
{
	int64_t		since;			/* milliseconds since 1970 */
	uint32_t	limit;
	uint32_t	topic_len;
} MsgReplay;

#define MSG_CLIENT_ID_MAX	64	/* bytes */

/*
 * Behind the struct, without gaps, each with a terminator that its length does
 * not count: the claims as JSON, the function's name, and two JSON objects
 * with its arguments, the second of which may be missing (length 0).
 */
typedef struct MsgRequest
{
	token_claims claims;		/* verified */
	uint8_t		reads;			/* may change nothing */
	uint8_t		others_wait;	/* do not wait for the disk, say what to wait
								 * for instead */
	uint8_t		pad[2];
	uint32_t	claims_len;
	uint32_t	function_len;
	uint32_t	args_len;
	uint32_t	body_len;
} MsgRequest;

/*
 * Behind the struct, without gaps: the result as JSON; or, when there is a
 * code, the texts of an error, each with a terminator that its length does not
 * count.  A text that is not there has length UINT32_MAX and no terminator.
 */
typedef struct MsgRequestResult
{
	char		code[12];		/* "": it went well */
	uint8_t		is_void;		/* the function returns nothing */
	uint8_t		is_set;			/* the JSON is an array .. */
	uint8_t		cancelled;		/* nobody waited for it any more */
	uint8_t		pad;
	uint64_t	rows;			/* .. of so many */
	int64_t		version;		/* of the row; 0: it has none */
	uint64_t	lsn;			/* durable once this is flushed; 0: it is */
	uint32_t	json_len;
	uint32_t	message_len;
	uint32_t	details_len;
	uint32_t	hint_len;
} MsgRequestResult;

#define MSG_NO_TEXT		UINT32_MAX

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
