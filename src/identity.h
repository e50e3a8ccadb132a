/*-------------------------------------------------------------------------
 *
 * identity.h
 *	  Who is speaking in this session: the profile behind a verified token,
 *	  or behind request.jwt.claims where the session may be believed.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OPENHR_MSG_IDENTITY_H
#define OPENHR_MSG_IDENTITY_H

#include "utils/uuid.h"

#include "token.h"

/* Defines openhr_msg.identity, the setting that carries a verified token. */
extern void msg_identity_init(void);

/*
 * The session speaks for a verified token's subject from here on, or for
 * nobody; a rollback undoes it.
 */
extern void msg_take_identity(const token_claims *claims);
extern void msg_forget_identity(void);

/*
 * The same until the transaction ends, for a worker that serves many: claims
 * are those that it, or who it trusts, has verified.  SQL has no way to it.
 */
extern PGDLLEXPORT void msg_lend_identity(const token_claims *claims);
extern PGDLLEXPORT bool msg_has_identity(void);

/*
 * The profile that claims speak for, if they do: whatever its subject is, an
 * anonymous token speaks for nobody.
 */
extern bool msg_claimed_profile(const token_claims *claims,
								pg_uuid_t *profile_id);

/*
 * The caller's profile, or false when the session has none (anonymous, or a
 * service role).  Raises an error when the verified token has expired.
 */
extern bool msg_current_profile(pg_uuid_t *profile_id);

/* The same, but an error (28000) with a hint when there is none. */
extern pg_uuid_t msg_require_profile(void);

/*
 * May the caller act for everybody?  True for a role that bypasses row level
 * security, unless it has taken on an identity.  The role is the one in force
 * outside of SECURITY DEFINER functions, so it may be asked in them; see
 * identity.c.
 */
extern bool msg_is_service(void);

#endif							/* OPENHR_MSG_IDENTITY_H */
