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
 * is wrong with a file goes to the server's log only.  No error here shows
 * the statement that caused it, because the token is part of that.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/stat.h>
#include <time.h>

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "storage/fd.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "identity.h"
#include "openhr_msg.h"
#include "token.h"

#define MAX_KEY_FILE_BYTES	(256 * 1024)

static const token_keys *current_keys(void);
static char *keys_fingerprint(void);
static void append_field(StringInfo buf, const char *value);
static void append_file_stamp(StringInfo buf, const char *path);
static token_keys *load_keys(void);
static char *read_key_file(const char *path);
static void refuse_key_file(const char *path, const char *reason)
			pg_attribute_noreturn();
static void refuse_token(token_status status, const token_claims *claims,
						 int64 now)
			pg_attribute_noreturn();
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
		token_keys *fresh = load_keys();

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

static token_keys *
load_keys(void)
{
	token_config config = {
		.secret = msg_jwt_secret,
		.secret_text = read_key_file(msg_jwt_secret_file),
		.jwks_text = read_key_file(msg_jwt_jwks_file),
		.audience = msg_jwt_audience,
		.issuer = msg_jwt_issuer,
	};
	char		error[256];
	token_keys *keys = token_keys_new(&config, error, sizeof(error));

	if (keys == NULL)
		ereport(ERROR,
				errcode(ERRCODE_CONFIG_FILE_ERROR),
				errmsg("the keys that verify tokens cannot be used"),
				errdetail_log("%s", error),
				errhint("The server's log says why."),
				errhidestmt(true));
	return keys;
}

/* The content of a file, NULL where none is set. */
static char *
read_key_file(const char *path)
{
	FILE	   *file;
	char	   *content;
	size_t		len;

	if (path[0] == '\0')
		return NULL;

	content = palloc(MAX_KEY_FILE_BYTES + 1);
	file = AllocateFile(path, PG_BINARY_R);
	if (file == NULL)
		refuse_key_file(path, strerror(errno));
	len = fread(content, 1, MAX_KEY_FILE_BYTES + 1, file);
	if (ferror(file))
		refuse_key_file(path, strerror(errno));
	FreeFile(file);

	if (len > MAX_KEY_FILE_BYTES)
		refuse_key_file(path, "it is too large");
	content[len] = '\0';
	if (strlen(content) != len)
		refuse_key_file(path, "it contains a null byte");
	return content;
}

static void
refuse_key_file(const char *path, const char *reason)
{
	ereport(ERROR,
			errcode(ERRCODE_CONFIG_FILE_ERROR),
			errmsg("the keys that verify tokens cannot be read"),
			errdetail_log("File \"%s\": %s.", path, reason),
			errhint("The server's log says why."),
			errhidestmt(true));
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
			errhint("Keys come from openhr_msg.jwt_secret, openhr_msg.jwt_secret_file and openhr_msg.jwt_jwks_file; the token's \"alg\" and \"kid\" must match one of them.") : 0,
			errhidestmt(true));
}

static Datum
claims_as_jsonb(char *json)
{
	char	   *copy = pstrdup(json);

	free(json);
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(copy));
}
