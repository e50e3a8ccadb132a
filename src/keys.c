/*-------------------------------------------------------------------------
 *
 * keys.c
 *	  The keys that verify tokens, from the settings and the files that the
 *	  settings name.
 *
 * Compiled into both libraries, as a gateway verifies tokens, too.  Whoever
 * caused an error here learns nothing about the keys: what is wrong with them
 * goes to the server's log only, and so does no statement, because a token may
 * be part of that.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "storage/fd.h"

#include "compat.h"
#include "keys.h"
#include "openhr_msg.h"

#define MAX_KEY_FILE_BYTES	(256 * 1024)

static char *read_key_file(const char *path);
pg_noreturn static void refuse_key_file(const char *path, const char *reason);

token_keys *
msg_load_keys(void)
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
				errhint("The server's log says why."));
	return keys;
}

/* The content of a file, NULL where none is set. */
static char *
read_key_file(const char *path)
{
	FILE	   *file;
	char	   *content;
	size_t		len;
	int			failed;

	if (path[0] == '\0')
		return NULL;

	content = palloc(MAX_KEY_FILE_BYTES + 1);
	file = AllocateFile(path, PG_BINARY_R);
	if (file == NULL)
		refuse_key_file(path, strerror(errno));
	len = fread(content, 1, MAX_KEY_FILE_BYTES + 1, file);
	failed = ferror(file) ? errno : 0;
	FreeFile(file);

	if (failed != 0)
		refuse_key_file(path, strerror(failed));
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
			errhint("The server's log says why."));
}
