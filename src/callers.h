/*-------------------------------------------------------------------------
 *
 * callers.h
 *	  Who calls one of our functions, and what they may do.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OPENHR_MSG_CALLERS_H
#define OPENHR_MSG_CALLERS_H

#include "utils/uuid.h"

#include "compat.h"

typedef struct MsgCaller
{
	bool		is_service;		/* acts for everybody, and has no profile */
	pg_uuid_t	profile_id;		/* unless it is a service */
} MsgCaller;

/* An error (28000) when the session has neither identity nor power. */
extern MsgCaller msg_caller(void);

/*
 * The rest is to be called with SPI connected.
 *
 * Participants may see a conversation, and services when it exists.
 */
extern bool msg_may_see(const MsgCaller *caller,
						const pg_uuid_t *conversation_id);
extern void msg_require_sight(const MsgCaller *caller,
							  const pg_uuid_t *conversation_id);

/*
 * The same for who is going to write: it keeps the caller's participation
 * until the transaction ends, because a removal has to wait for it.  Tells
 * whether the caller may manage the conversation: its admins and services.
 * Who will lock the conversation as well says so: the lock is then the one
 * that a send later in the transaction needs, see rules.c.
 */
extern bool msg_require_participant(const MsgCaller *caller,
									const pg_uuid_t *conversation_id,
									bool locks_conversation);

/* Refuse who may not see a conversation. */
pg_noreturn extern void msg_refuse_sight(const MsgCaller *caller);

#endif							/* OPENHR_MSG_CALLERS_H */
