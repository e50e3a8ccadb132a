/*-------------------------------------------------------------------------
 *
 * receipts.h
 *	  That messages have arrived, and were read.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OPENHR_MSG_RECEIPTS_H
#define OPENHR_MSG_RECEIPTS_H

#include "utils/uuid.h"

/*
 * In a conversation of two: a profile has read the other's messages from first
 * to last (seq).  It has, or will get, the lock of the conversation.  Runs SQL.
 */
extern void msg_tick_read(const pg_uuid_t *conversation_id,
						  const pg_uuid_t *profile_id,
						  int64 first, int64 last);

#endif							/* OPENHR_MSG_RECEIPTS_H */
