/*-------------------------------------------------------------------------
 *
 * admission.h
 *	  Who may open a WebSocket: path, protocol version, origin and key; and
 *	  whom a request comes from.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OPENHR_MSG_ADMISSION_H
#define OPENHR_MSG_ADMISSION_H

#ifdef POSTGRES_H
#error "admission knows nothing of PostgreSQL"
#endif

#include "../src/token.h"
#include "calls.h"
#include "net/server.h"

typedef struct admission_rules
{
	const token_keys *keys;
	const char *const *origins; /* "*" stands for any */
	int			norigins;
} admission_rules;

typedef struct admission
{
	int			vsn;			/* 1 or 2 */
	token_claims claims;
	char		client_id[MSG_CLIENT_ID_MAX + 1];	/* "": it has none */
	char		token[TOKEN_MAX_BYTES + 1];
} admission;

/*
 * The value of Access-Control-Allow-Origin for a request, "" when no browser
 * sent it, or NULL when its origin is not allowed.
 */
extern const char *admission_origin(const admission_rules *rules,
									const http_request *request);

/*
 * Whom a request comes from; json, when it is not NULL, gets the claims as
 * text, to be freed.  False: it cannot be told, for the reason in refusal.
 */
extern bool admission_identify(const admission_rules *rules,
							   const http_request *request, int64_t now,
							   token_claims *claims, char **json,
							   server_refusal *refusal);

/* now is in seconds since 1970.  False: refusal says why. */
extern bool admission_check(const admission_rules *rules,
							const http_request *request, bool websocket,
							int64_t now, admission *result,
							server_refusal *refusal);

#endif							/* OPENHR_MSG_ADMISSION_H */
