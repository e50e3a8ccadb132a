/*-------------------------------------------------------------------------
 *
 * gateway_rules.c
 *	  Whom a gateway lets in: the keys that verify tokens, and the origins of
 *	  web pages, from the settings.
 *
 * Files are read here, at start and on reload only.  A reload that brings no
 * good keys leaves the old ones in force.  Keys that were replaced are freed
 * only when everybody has been told of the new ones.
 *
 *-------------------------------------------------------------------------
 */
/* Before postgres.h, which it must not see. */
#include "gateway_rules.h"

#include "postgres.h"

#include "utils/memutils.h"
#include "utils/varlena.h"

#include "keys.h"
#include "openhr_msg.h"

#define ERROR_SIZE	256

static admission_rules rules;
static token_keys *keys = NULL;
static token_keys *replaced = NULL;

static token_keys *no_keys(void);
static void take_keys(void);
static void take_origins(void);

const admission_rules *
msg_rules_read(void)
{
	token_keys *old_keys = keys;

	take_keys();
	take_origins();
	rules.keys = keys;
	if (keys != old_keys)
		replaced = old_keys;
	return &rules;
}

void
msg_rules_settle(void)
{
	token_keys_free(replaced);
	replaced = NULL;
}

/* Keys that refuse every token. */
static token_keys *
no_keys(void)
{
	token_config nothing = {0};
	char		error[ERROR_SIZE];
	token_keys *none = token_keys_new(&nothing, error, sizeof(error));

	if (none == NULL)
		ereport(ERROR,
				errcode(ERRCODE_OUT_OF_MEMORY),
				errmsg("%s", error));
	return none;
}

/* Keys that are no good leave the old ones in force. */
static void
take_keys(void)
{
	MemoryContext scratch = AllocSetContextCreate(TopMemoryContext,
												  "openhr_msg keys",
												  ALLOCSET_DEFAULT_SIZES);

	MemoryContextSwitchTo(scratch);
	PG_TRY();
	{
		keys = msg_load_keys();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(TopMemoryContext);
		EmitErrorReport();
		FlushErrorState();
		if (keys == NULL)
			keys = no_keys();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(TopMemoryContext);
	MemoryContextDelete(scratch);

	if (msg_jwt_secret[0] == '\0' && msg_jwt_secret_file[0] == '\0' &&
		msg_jwt_jwks_file[0] == '\0')
		ereport(WARNING,
				errcode(ERRCODE_CONFIG_FILE_ERROR),
				errmsg("no client can connect, because there is no key that verifies its token"),
				errhint("Set \"openhr_msg.jwt_secret\", \"openhr_msg.jwt_secret_file\" or \"openhr_msg.jwt_jwks_file\" in postgresql.conf and reload it."));
}

static void
take_origins(void)
{
	static char *list = NULL;
	static const char **origins = NULL;
	List	   *items = NIL;
	ListCell   *lc;

	if (list)
		pfree(list);
	if (origins)
		pfree(origins);

	/* The setting's check hook has seen that this succeeds. */
	list = pstrdup(msg_allowed_origins);
	(void) SplitGUCList(list, ',', &items);

	origins = palloc((list_length(items) + 1) * sizeof(char *));
	rules.norigins = 0;
	foreach(lc, items)
		origins[rules.norigins++] = lfirst(lc);
	rules.origins = origins;
	list_free(items);
}
