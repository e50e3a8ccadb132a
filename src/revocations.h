/*-------------------------------------------------------------------------
 *
 * revocations.h
 *	  Tokens that are not accepted any more, though they have not expired.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OPENHR_MSG_REVOCATIONS_H
#define OPENHR_MSG_REVOCATIONS_H

#include "datatype/timestamp.h"
#include "utils/uuid.h"

/*
 * When the tokens of a profile were revoked: whole seconds since 1970; 0:
 * never.  Needs a transaction.
 */
extern PGDLLEXPORT int64 msg_revoked_at(const pg_uuid_t *profile_id);

/* A row's revoked_at in that form. */
extern int64 msg_revocation_seconds(TimestampTz revoked_at);

/* Does that concern a token issued then?  (0: it does not tell.) */
extern bool msg_token_is_revoked(const pg_uuid_t *profile_id, int64 iat);

#endif							/* OPENHR_MSG_REVOCATIONS_H */
