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

/*
 * Enter a client's id for a message; the key is conversation, sender and the
 * client's id.  False when it is taken.  Waits for a concurrent attempt.  The
 * other arguments, of which the last two may be NULL, make the request's
 * hash.
 */
extern bool msg_claim_key(const Datum key[3], const pg_uuid_t *message_id,
						  const text *content, const text *content_type,
						  const pg_uuid_t *reply_to_message_id,
						  Jsonb *metadata);

#endif							/* OPENHR_MSG_MESSAGES_H */
