/*-------------------------------------------------------------------------
 *
 * admission.h
 *	  Who may open a WebSocket: path, protocol version, origin and key.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OPENHR_MSG_ADMISSION_H
#define OPENHR_MSG_ADMISSION_H

#ifdef POSTGRES_H
#error "admission knows nothing of PostgreSQL"
#endif

#include "../src/token.h"
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
	char		token[TOKEN_MAX_BYTES + 1];
} admission;

/* now is in seconds since 1970.  False: refusal says why. */
extern bool admission_check(const admission_rules *rules,
							const http_request *request, bool websocket,
							int64_t now, admission *result,
							server_refusal *refusal);

#endif							/* OPENHR_MSG_ADMISSION_H */
