/*-------------------------------------------------------------------------
 *
 * settings.c
 *	  The settings, in one table in the order of the README.
 *
 * Contexts are chosen by who reads a setting: what decides which processes
 * and sockets exist needs a restart; what the workers read each time follows
 * a reload; what only a backend reads may be set by a superuser for one
 * database, role or session.  No setting that protects somebody can be
 * changed by an ordinary user.
 *
 * When the library was not preloaded (LOAD, or as an output plugin only), the
 * server refuses to define settings that need a restart.  They are then
 * defined as following a reload, which nobody reads, so that their lines in
 * postgresql.conf stay valid.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>

#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/varlena.h"

#include "address.h"
#include "openhr_msg.h"

/* RFC 7518, 3.2: an HMAC key is at least as long as the hash. */
#define MIN_SECRET_BYTES	32

char	   *msg_database = NULL;
char	   *msg_listen_addresses = NULL;
int			msg_port = 0;
int			msg_gateways = 0;
int			msg_executors = 0;
char	   *msg_jwt_secret = NULL;
char	   *msg_jwt_secret_file = NULL;
char	   *msg_jwt_jwks_file = NULL;
char	   *msg_jwt_audience = NULL;
char	   *msg_jwt_issuer = NULL;
char	   *msg_ssl_cert_file = NULL;
char	   *msg_ssl_key_file = NULL;
char	   *msg_allowed_origins = NULL;
char	   *msg_metrics_clients = NULL;
int			msg_max_connections = 0;
int			msg_max_message_bytes = 0;
int			msg_max_queue_bytes = 0;
int			msg_rate_limit = 0;
int			msg_rate_limit_window = 0;
bool		msg_public_channels = false;
int			msg_presence_grace = 0;
bool		msg_delivery_receipts = false;
bool		msg_compression = false;
int			msg_max_slot_lag = 0;
char	   *msg_region = NULL;

static bool check_database(char **newval, void **extra, GucSource source);
static bool check_secret(char **newval, void **extra, GucSource source);
static bool check_list(char **newval, void **extra, GucSource source);
static bool check_addresses(char **newval, void **extra, GucSource source);
static bool check_region(char **newval, void **extra, GucSource source);

typedef struct Setting
{
	const char *name;
	const char *summary;
	GucContext	context;
	int			flags;

	/* Exactly one of the three is set. */
	char	  **text;
	int		   *number;
	bool	   *flag;

	const char *text_default;
	GucStringCheckHook text_check;
	int			number_default;
	int			min;
	int			max;
	bool		flag_default;
} Setting;

#define TEXT(variable, value, check) \
	.text = &variable, .text_default = value, .text_check = check
#define NUMBER(variable, value, lowest, highest) \
	.number = &variable, .number_default = value, .min = lowest, .max = highest
#define FLAG(variable, value) \
	.flag = &variable, .flag_default = value

static const Setting settings[] = {
	{"openhr_msg.database",
		"Database that the background workers serve.",
		PGC_POSTMASTER, 0,
	TEXT(msg_database, "postgres", check_database)},
	{"openhr_msg.listen_addresses",
		"Host names or addresses that the gateways listen on.",
		PGC_POSTMASTER, GUC_LIST_INPUT,
	TEXT(msg_listen_addresses, "localhost", check_list)},
	{"openhr_msg.port",
		"TCP port that the gateways listen on.",
		PGC_POSTMASTER, 0,
	NUMBER(msg_port, 4000, 1, 65535)},
	{"openhr_msg.gateways",
		"Number of gateway processes.",
		PGC_POSTMASTER, 0,
	NUMBER(msg_gateways, 1, 1, 64)},
	{"openhr_msg.executors",
		"Number of executor processes of each gateway.",
		PGC_POSTMASTER, 0,
	NUMBER(msg_executors, 2, 1, 64)},
	{"openhr_msg.jwt_secret",
		"Secret that verifies tokens signed by HS256, HS384 or HS512.",
		PGC_SIGHUP, GUC_SUPERUSER_ONLY,
	TEXT(msg_jwt_secret, "", check_secret)},
	{"openhr_msg.jwt_secret_file",
		"File with an HMAC secret, a public key or a certificate (PEM).",
		PGC_SIGHUP, GUC_SUPERUSER_ONLY,
	TEXT(msg_jwt_secret_file, "", NULL)},
	{"openhr_msg.jwt_jwks_file",
		"File with a JSON Web Key Set that verifies tokens.",
		PGC_SIGHUP, GUC_SUPERUSER_ONLY,
	TEXT(msg_jwt_jwks_file, "", NULL)},
	{"openhr_msg.jwt_audience",
		"Audience that a token must be meant for; empty accepts any.",
		PGC_SIGHUP, 0,
	TEXT(msg_jwt_audience, "", NULL)},
	{"openhr_msg.jwt_issuer",
		"Issuer that a token must come from; empty accepts any.",
		PGC_SIGHUP, 0,
	TEXT(msg_jwt_issuer, "", NULL)},
	{"openhr_msg.ssl_cert_file",
		"File with the gateways' certificate (PEM); empty: no TLS.",
		PGC_SIGHUP, 0,
	TEXT(msg_ssl_cert_file, "", NULL)},
	{"openhr_msg.ssl_key_file",
		"File with the private key of the certificate (PEM).",
		PGC_SIGHUP, 0,
	TEXT(msg_ssl_key_file, "", NULL)},
	{"openhr_msg.allowed_origins",
		"Web origins whose pages may connect; * accepts any.",
		PGC_SIGHUP, GUC_LIST_INPUT,
	TEXT(msg_allowed_origins, "*", check_list)},
	{"openhr_msg.metrics_clients",
		"Addresses that may read /metrics without a token; * is any.",
		PGC_SIGHUP, 0,
	TEXT(msg_metrics_clients, "127.0.0.0/8, ::1", check_addresses)},
	{"openhr_msg.max_connections",
		"Largest number of connections of one gateway.",
		PGC_POSTMASTER, 0,
	NUMBER(msg_max_connections, 12000, 1, 1000000)},
	{"openhr_msg.max_message_bytes",
		"Largest frame from a client, and content or metadata of a message.",
		PGC_SIGHUP, GUC_UNIT_BYTE,
	NUMBER(msg_max_message_bytes, 16 * 1024, 1024, 16 * 1024 * 1024)},
	{"openhr_msg.max_queue_bytes",
		"Unsent data at which a slow connection is cut.",
		PGC_SIGHUP, GUC_UNIT_BYTE,
	NUMBER(msg_max_queue_bytes, 1024 * 1024, 64 * 1024, 1024 * 1024 * 1024)},
	{"openhr_msg.rate_limit",
		"Messages that a profile may send in a window; 0 is no limit.",
		PGC_SUSET, 0,
	NUMBER(msg_rate_limit, 30, 0, 1000000)},
	{"openhr_msg.rate_limit_window",
		"Length of the window of openhr_msg.rate_limit.",
		PGC_SUSET, GUC_UNIT_S,
	NUMBER(msg_rate_limit_window, 60, 1, 86400)},
	{"openhr_msg.public_channels",
		"Allows broadcast and presence on topics of no conversation.",
		PGC_SIGHUP, 0,
	FLAG(msg_public_channels, false)},
	{"openhr_msg.presence_grace",
		"Time for which a lost connection is still shown as present.",
		PGC_SIGHUP, GUC_UNIT_S,
	NUMBER(msg_presence_grace, 5, 0, 3600)},
	{"openhr_msg.delivery_receipts",
		"Writes down which messages have arrived at their readers' clients.",
		PGC_SIGHUP, 0,
	FLAG(msg_delivery_receipts, true)},
	{"openhr_msg.compression",
		"Compresses large frames for the clients that offer it.",
		PGC_SIGHUP, 0,
	FLAG(msg_compression, true)},
	{"openhr_msg.max_slot_lag",
		"WAL that the replication slot may hold back before it is dropped.",
		PGC_SIGHUP, GUC_UNIT_MB,
	NUMBER(msg_max_slot_lag, 1024, 1, INT_MAX)},
	{"openhr_msg.region",
		"Where this server is, as a label of its metrics.",
		PGC_SIGHUP, 0,
	TEXT(msg_region, "", check_region)},
};

void
msg_define_settings(void)
{
	for (size_t i = 0; i < lengthof(settings); i++)
	{
		const Setting *s = &settings[i];
		GucContext	context = s->context;

		if (context == PGC_POSTMASTER &&
			!process_shared_preload_libraries_in_progress)
			context = PGC_SIGHUP;

		if (s->text)
			DefineCustomStringVariable(s->name, s->summary, NULL,
									   s->text, s->text_default,
									   context, s->flags,
									   s->text_check, NULL, NULL);
		else if (s->flag)
			DefineCustomBoolVariable(s->name, s->summary, NULL,
									 s->flag, s->flag_default,
									 context, s->flags,
									 NULL, NULL, NULL);
		else
			DefineCustomIntVariable(s->name, s->summary, NULL,
									s->number, s->number_default,
									s->min, s->max,
									context, s->flags,
									NULL, NULL, NULL);
	}

	MarkGUCPrefixReserved(MSG_EXTENSION);
}

static bool
check_database(char **newval, void **extra, GucSource source)
{
	size_t		len = strlen(*newval);

	if (len > 0 && len < NAMEDATALEN)
		return true;

	GUC_check_errdetail("A database's name has between 1 and %d bytes.",
						NAMEDATALEN - 1);
	return false;
}

/* The message replaces the server's own, which would show the secret. */
static bool
check_secret(char **newval, void **extra, GucSource source)
{
	size_t		len = strlen(*newval);

	if (len == 0 || len >= MIN_SECRET_BYTES)
		return true;

	GUC_check_errmsg("secret in parameter \"openhr_msg.jwt_secret\" is too short");
	GUC_check_errdetail("A secret has at least %d bytes.", MIN_SECRET_BYTES);
	return false;
}

static bool
check_list(char **newval, void **extra, GucSource source)
{
	char	   *copy = pstrdup(*newval);
	List	   *items = NIL;
	bool		valid = SplitGUCList(copy, ',', &items);

	list_free(items);
	pfree(copy);
	if (!valid)
		GUC_check_errdetail("List syntax is invalid.");
	return valid;
}

static bool
check_addresses(char **newval, void **extra, GucSource source)
{
	if (address_list_valid(*newval))
		return true;

	GUC_check_errdetail("Entries are numeric addresses, such as 10.0.0.7, or with the length of a prefix, such as 10.0.0.0/8.");
	return false;
}

/* It is part of every scrape. */
static bool
check_region(char **newval, void **extra, GucSource source)
{
	const char *c = *newval;

	while (*c >= ' ' && *c != 0x7f && !IS_HIGHBIT_SET(*c))
		c++;
	if (*c == '\0' && c - *newval < NAMEDATALEN)
		return true;

	GUC_check_errdetail("A region has at most %d characters, all of them printable ASCII.",
						NAMEDATALEN - 1);
	return false;
}

/*
 * Settings made for the server, the database or the owner's role are meant for
 * people; they must not change what a worker runs as, finds, or writes, nor
 * how long it may wait.
 */
void
msg_settle_session(void)
{
	static const char *const fixed[][2] = {
		{"role", "none"},
		{"search_path", "pg_catalog, pg_temp"},
		{"default_transaction_isolation", "read committed"},
		{"default_transaction_read_only", "off"},
		{"default_transaction_deferrable", "off"},
		{"session_replication_role", "origin"},
		{"lock_timeout", "0"},
		{"DateStyle", "ISO"},
		{"IntervalStyle", "postgres"},
		{"TimeZone", "UTC"},
		{"extra_float_digits", "1"},
		{"bytea_output", "hex"},
		{"transaction_timeout", "0"},	/* not in every release */
	};

	for (size_t i = 0; i < lengthof(fixed); i++)
		if (GetConfigOption(fixed[i][0], true, false) != NULL)
			SetConfigOption(fixed[i][0], fixed[i][1],
							PGC_SUSET, PGC_S_OVERRIDE);
}
