/*-------------------------------------------------------------------------
 *
 * messages.h
 *	  What the functions and the rules of messages share.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OPENHR_MSG_MESSAGES_H
#define OPENHR_MSG_MESSAGES_H

#include "utils/jsonb.h"
#include "utils/uuid.h"

/* None of them is null. */
typedef struct MsgKey
{
	Datum		conversation_id;
	Datum		sender;
	Datum		client_message_id;
} MsgKey;

/*
 * Take a client's id for a message.  False when it is taken already, with the
 * message that has it in *message_id; a conflict (PT409) when that one was
 * another request.  The last two arguments may be NULL.  Runs SQL.
 */
extern bool msg_claim_key(const MsgKey *key, pg_uuid_t *message_id,
						  const text *content, const text *content_type,
						  const pg_uuid_t *reply_to_message_id,
						  Jsonb *metadata);

/*
 * Tell the rules that the next message comes from send_message(), which has
 * claimed its key: the id is kept.
 */
extern void msg_announce_message(const pg_uuid_t *message_id);

#endif							/* OPENHR_MSG_MESSAGES_H */
