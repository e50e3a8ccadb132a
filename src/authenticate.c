/*-------------------------------------------------------------------------
 *
 * authenticate.c
 *	  openhr_msg.authenticate(): a token becomes the session's identity.
 *
 * The keys come from settings and files that the caller may not read; they
 * are read here, by the server, and kept for the life of the backend.  They
 * are made anew when a setting or a file's stamp (device, inode, size, time)
 * differs from what they were made of.  The stamp is taken before the file is
 * read: if the file is replaced in between, the next call sees that.
 *
 * A caller learns why a token was refused, but nothing about the keys: what
 * is wrong with a file goes to the server's log only.  The statement does not,
 * because the token is part of it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/stat.h>
#include <time.h>

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "compat.h"
#include "identity.h"
#include "keys.h"
#include "log.h"
#include "openhr_msg.h"
#include "revocations.h"
#include "token.h"

static const token_keys *current_keys(void);
static char *keys_fingerprint(void);
static void append_field(StringInfo buf, const char *value);
static void append_file_stamp(StringInfo buf, const char *path);
static bool is_revoked(const token_claims *claims);
pg_noreturn static void refuse_token(token_status status,
									 const token_claims *claims, int64 now);
static Datum claims_as_jsonb(char *json);

PG_FUNCTION_INFO_V1(msg_authenticate);

Datum
msg_authenticate(PG_FUNCTION_ARGS)
{
	int64		now = (int64) time(NULL);
	token_claims claims;
	token_status status;
	char	   *json;
	text	   *token;
	Datum		result;

	msg_hide_statement();
	if (PG_ARGISNULL(0))
	{
		msg_forget_identity();
		PG_RETURN_NULL();
	}

	token = PG_GETARG_TEXT_PP(0);
	status = token_verify(current_keys(),
						  VARDATA_ANY(token), VARSIZE_ANY_EXHDR(token),
						  now, &claims, &json);
	if (status != TOKEN_OK)
		refuse_token(status, &claims, now);

	result = claims_as_jsonb(json);
	if (is_revoked(&claims))
		refuse_token(TOKEN_REVOKED, &claims, now);
	msg_take_identity(&claims);
	PG_RETURN_DATUM(result);
}

static const token_keys *
current_keys(void)
{
	static token_keys *keys = NULL;
	static char *made_of = NULL;
	char	   *fingerprint = keys_fingerprint();

	if (made_of == NULL || strcmp(made_of, fingerprint) != 0)
	{
		token_keys *fresh = msg_load_keys();

		token_keys_free(keys);
		keys = fresh;
		if (made_of != NULL)
			pfree(made_of);
		made_of = NULL;			/* should the next line fail */
		made_of = MemoryContextStrdup(TopMemoryContext, fingerprint);
	}

	pfree(fingerprint);
	return keys;
}

/* Everything that decides what the keys are, as one string. */
static char *
keys_fingerprint(void)
{
	StringInfoData buf;

	initStringInfo(&buf);
	append_field(&buf, msg_jwt_secret);
	append_field(&buf, msg_jwt_audience);
	append_field(&buf, msg_jwt_issuer);
	append_file_stamp(&buf, msg_jwt_secret_file);
	append_file_stamp(&buf, msg_jwt_jwks_file);
	return buf.data;
}

static void
append_field(StringInfo buf, const char *value)
{
	appendStringInfo(buf, "%zu:%s,", strlen(value), value);
}

static void
append_file_stamp(StringInfo buf, const char *path)
{
	struct stat st = {0};

	append_field(buf, path);

	/* A file that is not there is reported by who reads it. */
	if (path[0] != '\0' && stat(path, &st) == 0)
		appendStringInfo(buf, "%llu.%llu.%lld.%lld.%09ld,",
						 (unsigned long long) st.st_dev,
						 (unsigned long long) st.st_ino,
						 (long long) st.st_size,
						 (long long) st.st_mtim.tv_sec,
						 (long) st.st_mtim.tv_nsec);
}

static bool
is_revoked(const token_claims *claims)
{
	pg_uuid_t	profile_id;

	return msg_claimed_profile(claims, &profile_id) &&
		msg_token_is_revoked(&profile_id, claims->iat);
}

static void
refuse_token(token_status status, const token_claims *claims, int64 now)
{
	ereport(ERROR,
			errcode(status == TOKEN_NO_MEMORY ? ERRCODE_OUT_OF_MEMORY :
					ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
			errmsg("%s", token_status_text(status)),
			status == TOKEN_EXPIRED ?
			errdetail("It expired %lld seconds ago.",
					  (long long) (now - claims->exp)) : 0,
			status == TOKEN_NO_KEY ?
			errhint("Keys come from openhr_msg.jwt_secret, openhr_msg.jwt_secret_file and openhr_msg.jwt_jwks_file; the token's \"alg\" and \"kid\" must match one of them.") : 0);
}

static Datum
claims_as_jsonb(char *json)
{
	char	   *copy = pstrdup(json);

	free(json);
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(copy));
}
