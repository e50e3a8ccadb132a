/*-------------------------------------------------------------------------
 *
 * identity.c
 *	  Who is speaking in this session.
 *
 * An identity comes from one of two places.
 *
 * A token that authenticate() verified in this session lives in a setting,
 * openhr_msg.identity.  The machinery of settings then gives it the right
 * life: a rollback brings the previous one back, DISCARD ALL and RESET forget
 * it, a function's SET clause hides it for a while, parallel workers inherit
 * it.  Anybody may set the setting to '', which is nobody.  Every other value
 * is refused unless it comes from msg_take_identity() in this very call, or
 * from the leader of a starting parallel worker, whose value was checked
 * there; so neither SET nor ALTER ROLE nor a start-up option can forge it.
 * The parsed form travels as the hook's "extra", so that using it costs
 * nothing.  It expires while the session lives: that is checked at each use,
 * by the real clock, because a long statement must not outlive its token.
 * It may also be revoked: for that the table is looked at, whoever vouches for
 * the identity, at its first use and then once in a second of its use.
 *
 * An executor serves one caller after another.  It lends itself the identity
 * of each by the same setting, but for one transaction only (SET LOCAL), so
 * that nothing of it can be left over, however the transaction ends.
 *
 * request.jwt.claims is how PostgREST tells whom it verified.  Everybody can
 * SET it, so it is believed only when the session user (whom SET ROLE does
 * not change) is a member of openhr_msg_authenticator.  Its parsed form is
 * cached until the text changes.
 *
 * In a security-restricted operation (index expressions under ANALYZE, a
 * refresh of a materialized view ...) somebody else's code runs on behalf of
 * the session and must not speak in its name: there nobody is speaking.
 *
 * Which user is a service?
 * ------------------------
 * The outer user, the one in force outside of all SECURITY DEFINER functions:
 * our own triggers and functions run as their owner, and that must not lend
 * the owner's power to who called them.  (So the owner of another SECURITY
 * DEFINER function does not lend it either.)  A session that has taken on an
 * identity gave the power up, unless the token itself names a role that
 * bypasses row level security and no profile, which is what PostgREST sets for
 * service_role.
 *
 * The price of asking for the outer user: a trigger on somebody's table that
 * a foreign key's action runs within a service's statement is the service to
 * us, though the server runs it as the table's owner.  To get there, that
 * owner needs the REFERENCES privilege on a table that services delete from.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <time.h>

#include "access/parallel.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "compat.h"
#include "identity.h"
#include "revocations.h"
#include "token.h"

#define IDENTITY_SETTING	"openhr_msg.identity"
#define AUTHENTICATOR_ROLE	"openhr_msg_authenticator"
#define ANONYMOUS_ROLE		"anon"
#define UUID_TEXT_LEN		36

typedef struct Identity
{
	bool		has_profile;
	pg_uuid_t	profile_id;
	char		role[sizeof(((token_claims *) NULL)->role)];
	int64		exp;			/* seconds since 1970; of a token only */
	int64		iat;			/* 0: not known */
} Identity;

/* The setting, its parsed form, and the value being let in, if any. */
static char *identity_setting = NULL;
static const Identity *verified = NULL;
static const char *admitted = NULL;

/* Counts changes of roles and memberships. */
static uint32 role_changes = 0;

static bool check_identity(char **newval, void **extra, GucSource source);
static void assign_identity(const char *newval, void *extra);
static void count_role_change(Datum arg, int cacheid, uint32 hashvalue);
static char *identity_text(const token_claims *claims);
static void set_identity(const char *value, GucAction action);
static bool parse_identity(const char *value, Identity *identity);
static const Identity *current_identity(void);
static void check_expiry(const Identity *identity);
static void check_revocation(const Identity *identity);
static bool session_is_believed(void);
static const Identity *claimed_identity(void);
static const Identity *older_claimed_identity(void);
static void fill_identity(Identity *identity, const token_claims *claims);

void
msg_identity_init(void)
{
	DefineCustomStringVariable(IDENTITY_SETTING,
							   "Identity that openhr_msg.authenticate() verified.",
							   NULL,
							   &identity_setting, "",
							   PGC_USERSET,
							   GUC_NO_SHOW_ALL | GUC_NOT_IN_SAMPLE |
							   GUC_DISALLOW_IN_FILE,
							   check_identity, assign_identity, NULL);

	CacheRegisterSyscacheCallback(AUTHOID, count_role_change, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, count_role_change,
								  (Datum) 0);
}

static bool
check_identity(char **newval, void **extra, GucSource source)
{
	Identity	identity;

	if ((*newval)[0] == '\0')
		return true;

	if (!InitializingParallelWorker &&
		(admitted == NULL || strcmp(*newval, admitted) != 0))
	{
		GUC_check_errcode(ERRCODE_INSUFFICIENT_PRIVILEGE);
		GUC_check_errmsg("permission denied to set parameter \"%s\"",
						 IDENTITY_SETTING);
		GUC_check_errhint("Call openhr_msg.authenticate() with a token.");
		return false;
	}

	if (!parse_identity(*newval, &identity))
		return false;

	*extra = guc_malloc(LOG, sizeof(Identity));
	if (*extra == NULL)
		return false;
	memcpy(*extra, &identity, sizeof(Identity));
	return true;
}

static void
assign_identity(const char *newval, void *extra)
{
	verified = extra;
}

static void
count_role_change(Datum arg, int cacheid, uint32 hashvalue)
{
	role_changes++;
}

/*
 * The setting's text: exp, iat, profile or "-", role (which may hold spaces).
 */
static char *
identity_text(const token_claims *claims)
{
	Identity	identity;
	char	   *profile = "-";

	fill_identity(&identity, claims);
	if (identity.has_profile)
		profile = DatumGetCString(DirectFunctionCall1(uuid_out,
													  UUIDPGetDatum(&identity.profile_id)));

	return psprintf(INT64_FORMAT " " INT64_FORMAT " %s %s",
					identity.exp, identity.iat, profile, identity.role);
}

void
msg_take_identity(const token_claims *claims)
{
	set_identity(identity_text(claims), GUC_ACTION_SET);
}

void
msg_forget_identity(void)
{
	set_identity("", GUC_ACTION_SET);
}

void
msg_lend_identity(const token_claims *claims)
{
	set_identity(identity_text(claims), GUC_ACTION_LOCAL);
}

bool
msg_has_identity(void)
{
	return verified != NULL;
}

static void
set_identity(const char *value, GucAction action)
{
	if (InSecurityRestrictedOperation())
		ereport(ERROR,
				errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				errmsg("cannot authenticate within security-restricted operation"));

	admitted = value;
	PG_TRY();
	{
		(void) set_config_option(IDENTITY_SETTING, value,
								 PGC_USERSET, PGC_S_SESSION,
								 action, true, 0, false);
	}
	PG_FINALLY();
	{
		admitted = NULL;
	}
	PG_END_TRY();
}

static bool
parse_identity(const char *value, Identity *identity)
{
	char	   *end;
	char		profile[UUID_TEXT_LEN + 1];
	size_t		len;

	memset(identity, 0, sizeof(Identity));

	errno = 0;
	identity->exp = strtoll(value, &end, 10);
	if (errno != 0 || *end != ' ')
		return false;
	identity->iat = strtoll(end + 1, &end, 10);
	if (errno != 0 || *end != ' ')
		return false;

	value = end + 1;
	len = strcspn(value, " ");
	if (value[len] != ' ' || len >= sizeof(profile))
		return false;
	strlcpy(profile, value, len + 1);
	if (strcmp(profile, "-") != 0)
	{
		if (!token_parse_uuid(profile, identity->profile_id.data))
			return false;
		identity->has_profile = true;
	}

	value += len + 1;
	return strlcpy(identity->role, value,
				   sizeof(identity->role)) < sizeof(identity->role);
}

bool
msg_current_profile(pg_uuid_t *profile_id)
{
	const Identity *identity = current_identity();

	if (identity == NULL || !identity->has_profile)
		return false;
	*profile_id = identity->profile_id;
	return true;
}

pg_uuid_t
msg_require_profile(void)
{
	pg_uuid_t	profile_id;

	if (!msg_current_profile(&profile_id))
		ereport(ERROR,
				errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
				errmsg("this session acts for no profile"),
				errhint("Call openhr_msg.authenticate() with a token whose \"sub\" is a profile's id."));
	return profile_id;
}

bool
msg_is_service(void)
{
	const Identity *identity = current_identity();

	if (InSecurityRestrictedOperation() ||
		!has_bypassrls_privilege(GetOuterUserId()))
		return false;

	if (identity == NULL)
		return true;
	if (identity->has_profile)
		return false;

	return has_bypassrls_privilege(get_role_oid(identity->role, true));
}

PG_FUNCTION_INFO_V1(msg_uid);

Datum
msg_uid(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *profile_id = palloc(sizeof(pg_uuid_t));

	if (!msg_current_profile(profile_id))
		PG_RETURN_NULL();
	PG_RETURN_UUID_P(profile_id);
}

/* NULL when nobody has been verified. */
static const Identity *
current_identity(void)
{
	const Identity *identity = verified;

	if (InSecurityRestrictedOperation())
		return NULL;

	if (identity != NULL)
		check_expiry(identity);
	else if (session_is_believed())
		identity = claimed_identity();

	if (identity != NULL && identity->has_profile)
		check_revocation(identity);
	return identity;
}

static void
check_expiry(const Identity *identity)
{
	if (identity->exp <= (int64) time(NULL) - TOKEN_LEEWAY)
		ereport(ERROR,
				errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
				errmsg("the token of this session has expired"),
				errhint("Call openhr_msg.authenticate() with a new token, or with NULL to go on without one."));
}

static void
check_revocation(const Identity *identity)
{
	static struct
	{
		pg_uuid_t	profile_id;
		int64		iat;
		int64		second;		/* of this check */
	}			passed;
	int64		now = (int64) time(NULL);

	if (passed.second == now && passed.iat == identity->iat &&
		memcmp(&passed.profile_id, &identity->profile_id, UUID_LEN) == 0)
		return;

	if (msg_token_is_revoked(&identity->profile_id, identity->iat))
		ereport(ERROR,
				errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
				errmsg("the token of this session has been revoked"),
				errhint("Call openhr_msg.authenticate() with a new token, or with NULL to go on without one."));
	passed.profile_id = identity->profile_id;
	passed.iat = identity->iat;
	passed.second = now;
}

/* May the session user say whom PostgREST verified? */
static bool
session_is_believed(void)
{
	static struct
	{
		Oid			user;
		uint32		role_changes;
		bool		believed;
	}			cache;
	Oid			user = GetSessionUserId();
	uint32		changes = role_changes;
	Oid			authenticator;

	if (cache.user == user && cache.role_changes == changes)
		return cache.believed;

	authenticator = get_role_oid(AUTHENTICATOR_ROLE, true);
	cache.believed = superuser_arg(user) ||
		(OidIsValid(authenticator) && is_member_of_role(user, authenticator));
	cache.user = user;
	cache.role_changes = changes;
	return cache.believed;
}

/* What request.jwt.claims says, or the settings of older PostgRESTs. */
static const Identity *
claimed_identity(void)
{
	static char *parsed_text = NULL;
	static Identity identity;
	const char *text = GetConfigOption("request.jwt.claims", true, false);
	token_claims claims;

	if (text == NULL || text[0] == '\0')
		return older_claimed_identity();

	if (parsed_text != NULL && strcmp(parsed_text, text) == 0)
		return &identity;

	if (!token_parse_claims(text, strlen(text), &claims))
		ereport(ERROR,
				errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				errmsg("invalid value for parameter \"request.jwt.claims\""),
				errdetail("It is not a JSON object."));

	if (parsed_text != NULL)
		pfree(parsed_text);
	parsed_text = NULL;
	fill_identity(&identity, &claims);
	parsed_text = MemoryContextStrdup(TopMemoryContext, text);
	return &identity;
}

/* One setting a claim, by PostgREST before version 9. */
static const Identity *
older_claimed_identity(void)
{
	static Identity identity;
	const char *sub = GetConfigOption("request.jwt.claim.sub", true, false);
	const char *role = GetConfigOption("request.jwt.claim.role", true, false);
	const char *iat = GetConfigOption("request.jwt.claim.iat", true, false);
	token_claims claims = {0};

	if ((sub == NULL || sub[0] == '\0') && (role == NULL || role[0] == '\0'))
		return NULL;

	if (sub != NULL)
		claims.has_profile = token_parse_uuid(sub, claims.profile_id);
	if (role != NULL)
		strlcpy(claims.role, role, sizeof(claims.role));
	if (iat != NULL)
		claims.iat = strtoll(iat, NULL, 10);
	fill_identity(&identity, &claims);
	return &identity;
}

bool
msg_claimed_profile(const token_claims *claims, pg_uuid_t *profile_id)
{
	if (!claims->has_profile || strcmp(claims->role, ANONYMOUS_ROLE) == 0)
		return false;
	memcpy(profile_id->data, claims->profile_id, UUID_LEN);
	return true;
}

static void
fill_identity(Identity *identity, const token_claims *claims)
{
	memset(identity, 0, sizeof(Identity));
	identity->exp = claims->exp;
	identity->iat = claims->iat;
	strlcpy(identity->role, claims->role, sizeof(identity->role));
	identity->has_profile = msg_claimed_profile(claims,
												&identity->profile_id);
}
