/*-------------------------------------------------------------------------
 *
 * identity.c
 *	  Whom a connection or a channel speaks for: the content of its token.
 *
 *-------------------------------------------------------------------------
 */
#include <stdio.h>
#include <string.h>

#include "rooms.h"

/* Times beyond this are as good as never, and safe to add to. */
#define MAX_EXP		(INT64_C(1) << 40)

static void
token_hash(hub *h, uint64_t hash[2], const char *token, size_t len)
{
	hash_seed	swapped = {h->seed.k1, h->seed.k0};

	hash[0] = seeded_hash(&h->seed, token, len);
	hash[1] = seeded_hash(&swapped, token, len);
}

/* claims may be NULL: there is no token that says anything. */
void
identity_set(hub *h, identity *identity, const token_claims *claims,
			 const char *token, size_t len)
{
	memset(identity, 0, sizeof(*identity));
	if (claims == NULL)
		return;
	if (strcmp(claims->role, "service_role") == 0)
		identity->kind = IDENTITY_SERVICE;
	else if (claims->has_profile && strcmp(claims->role, "anon") != 0)
		identity->kind = IDENTITY_USER;
	else
		identity->kind = IDENTITY_ANON;
	identity->has_profile = claims->has_profile &&
		identity->kind != IDENTITY_ANON;
	memcpy(identity->profile_id, claims->profile_id, UUID_SIZE);
	identity->iat = claims->iat;
	identity->exp = claims->exp < MAX_EXP ? claims->exp : MAX_EXP;
	token_hash(h, identity->token, token, len);
}

bool
identity_same_token(hub *h, const identity *identity, const char *token,
					size_t len)
{
	uint64_t	hash[2];

	token_hash(h, hash, token, len);
	return identity->kind != IDENTITY_NONE &&
		memcmp(hash, identity->token, sizeof(hash)) == 0;
}

/* As token_verify() judges it. */
bool
identity_expired(const identity *identity, int64_t now_s)
{
	return identity->exp + TOKEN_LEEWAY <= now_s;
}

/* A token of the payload; NULL: none that counts. */
const char *
identity_token(const json_t *payload, const char *key, size_t *len)
{
	const json_t *value = json_object_get(payload, key);
	const char *token = json_string_value(value);

	if (token == NULL)
		return NULL;
	*len = json_string_length(value);
	while (*len > 0 && strchr(" \t\r\n", token[*len - 1]) != NULL)
		(*len)--;
	while (*len > 0 && strchr(" \t\r\n", *token) != NULL)
	{
		token++;
		(*len)--;
	}
	/* Keys of the new style are for a gateway in front of us. */
	if (strncmp(token, "sb_", 3) == 0)
		return NULL;
	return token;
}

/* Whom a token speaks for; exp is also set when it has expired. */
token_status
identity_verify(hub *h, identity *identity, const char *token, size_t len)
{
	token_claims claims;
	token_status status;

	memset(&claims, 0, sizeof(claims));
	memset(identity, 0, sizeof(*identity));
	if (h->config.keys == NULL)
		return TOKEN_NO_KEY;
	if (len > TOKEN_MAX_BYTES)
		return TOKEN_MALFORMED;
	status = token_verify(h->config.keys, token, len, h->now, &claims, NULL);
	if (status == TOKEN_OK)
	{
		identity_set(h, identity, &claims, token, len);
		if (identity_revoked(h, identity))
			status = TOKEN_REVOKED;
	}
	else if (status == TOKEN_EXPIRED)
		identity->exp = claims.exp < MAX_EXP ? claims.exp : MAX_EXP;
	return status;
}

/* The words that clients know; a join's error has a code in front of them. */
void
identity_problem(buf *b, token_status status, int64_t expired_s,
				 bool with_code)
{
	const char *code = "InvalidJWTToken";
	const char *text = token_status_text(status);
	char		expired[64];

	switch (status)
	{
		case TOKEN_EXPIRED:
			snprintf(expired, sizeof(expired),
					 "Token has expired %lld seconds ago",
					 (long long) expired_s);
			text = expired;
			break;
		case TOKEN_MISSING_CLAIM:
			text = "Fields `role` and `exp` are required in JWT";
			break;
		case TOKEN_MALFORMED:
			code = "MalformedJWT";
			text = "The token provided is not a valid JWT";
			break;
		case TOKEN_BAD_SIGNATURE:
			code = "JwtSignatureError";
			text = "Failed to validate JWT signature";
			break;
		case TOKEN_NO_KEY:
			code = "JwtSignerError";
			text = "Failed to generate JWT signer, check your JWT secret or "
				"JWKS configuration";
			break;
		case TOKEN_REVOKED:
			text = TOKEN_IS_REVOKED;
			break;
		case TOKEN_OK:
		case TOKEN_NOT_YET_VALID:
		case TOKEN_BAD_AUDIENCE:
		case TOKEN_BAD_ISSUER:
		case TOKEN_NO_MEMORY:
			break;
	}
	if (with_code)
		buf_printf(b, "%s: ", code);
	buf_text(b, text);
}
