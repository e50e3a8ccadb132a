/*-------------------------------------------------------------------------
 *
 * token.h
 *	  JSON Web Tokens (RFC 7519): keys and verification.
 *
 * Pure C over jansson and libcrypto: used by backends
 * (openhr_msg.authenticate) and by the gateway, and compiled into both.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OPENHR_MSG_TOKEN_H
#define OPENHR_MSG_TOKEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TOKEN_LEEWAY	30		/* seconds, for exp and nbf */
#define TOKEN_MAX_BYTES	8192

/* Where a verifier's keys and rules come from; NULL or "" means not set. */
typedef struct token_config
{
	const char *secret;			/* HMAC secret */
	const char *secret_text;	/* content of jwt_secret_file: an HMAC secret,
								 * or a PEM public key or certificate */
	const char *jwks_text;		/* content of jwt_jwks_file (RFC 7517) */
	const char *audience;		/* required aud, or not checked */
	const char *issuer;			/* required iss, or not checked */
} token_config;

typedef struct token_keys token_keys;

typedef enum token_status
{
	TOKEN_OK,
	TOKEN_MALFORMED,			/* not a JWT */
	TOKEN_BAD_SIGNATURE,
	TOKEN_NO_KEY,				/* algorithm refused, or no key for the kid */
	TOKEN_EXPIRED,
	TOKEN_NOT_YET_VALID,
	TOKEN_BAD_AUDIENCE,
	TOKEN_BAD_ISSUER,
	TOKEN_MISSING_CLAIM,		/* role or exp absent, or of a wrong type */
	TOKEN_NO_MEMORY,
	TOKEN_REVOKED				/* never by token_verify(): keys cannot tell */
} token_status;

typedef struct token_claims
{
	bool		has_profile;	/* sub is there and a uuid */
	uint8_t		profile_id[16];
	char		role[64];
	int64_t		exp;			/* seconds since 1970 */
	int64_t		iat;			/* 0: absent */
} token_claims;

/*
 * Keys from a configuration; NULL with a message (no key material in it) in
 * *error when the configuration cannot be used.  A configuration without any
 * key gives a token_keys that refuses every token.
 */
extern token_keys *token_keys_new(const token_config *config,
								  char *error, size_t error_size);
extern void token_keys_free(token_keys *keys);

/*
 * Verify at time now (seconds since 1970).  When json is not NULL it gets the
 * claims as JSON text, to be freed by free().  claims->exp is filled also for
 * TOKEN_EXPIRED, so that a message can tell for how long.
 */
extern token_status token_verify(const token_keys *keys, const char *token,
								 size_t len, int64_t now,
								 token_claims *claims, char **json);

/*
 * Claims that somebody else has verified; nothing is checked, and what is
 * absent or of a wrong type stays empty.  False when it is no JSON object.
 */
extern bool token_parse_claims(const char *json, size_t len,
							   token_claims *claims);

/* A uuid in its usual form of 36 characters, and no other. */
extern bool token_parse_uuid(const char *text, uint8_t uuid[16]);

/* English, without the token: "token has expired" and so on. */
extern const char *token_status_text(token_status status);

#endif							/* OPENHR_MSG_TOKEN_H */
