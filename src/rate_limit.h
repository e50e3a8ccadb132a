/*-------------------------------------------------------------------------
 *
 * rate_limit.h
 *	  How many messages a profile may send.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OPENHR_MSG_RATE_LIMIT_H
#define OPENHR_MSG_RATE_LIMIT_H

#include "utils/uuid.h"

/*
 * Count a message that the profile is about to send, or refuse it (PT429).
 * Runs SQL: to be called with SPI connected, by code that runs as the owner
 * of the extension.  The lock it takes on the profile's row lasts until the
 * transaction ends; take it before the lock on a conversation.
 */
extern void msg_limit_send(const pg_uuid_t *profile_id);

#endif							/* OPENHR_MSG_RATE_LIMIT_H */
