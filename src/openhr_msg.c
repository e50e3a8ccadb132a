/*-------------------------------------------------------------------------
 *
 * openhr_msg.c
 *	  What happens when the library is loaded.
 *
 * Preloaded by the postmaster, it asks for shared memory, registers the
 * background workers and lets every backend wake them at commit.  Loaded in
 * any other way (LOAD, a function called, logical decoding by a server that
 * does not preload it) it defines its settings and is quiet, so that the
 * output plugin works everywhere.
 *
 * The workers are static: the postmaster starts them again whenever they
 * exit, and no backend has to.  Their code is in a library of its own, so
 * that no ordinary backend maps a line of network code.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "commands/dbcommands.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "postmaster/bgworker_internals.h"
#include "postmaster/postmaster.h"

#include "compat.h"
#include "identity.h"
#include "log.h"
#include "openhr_msg.h"

#define RESTART_SECONDS		1

PG_MODULE_MAGIC_EXT(.name = MSG_EXTENSION, .version = MSG_VERSION);

extern PGDLLEXPORT void _PG_init(void);

static void register_workers(void);
static int	free_worker_slots(void);
static void register_worker(int index, const char *function,
							const char *type, const char *name);

void
_PG_init(void)
{
	msg_define_settings();
	msg_identity_init();
	msg_log_init();

	if (!process_shared_preload_libraries_in_progress)
		return;

	msg_shmem_init();
	msg_wakeup_init();
	register_workers();
}

static void
register_workers(void)
{
	int			wanted = MSG_SLOT_GATEWAY(msg_gateways);
	int			available = free_worker_slots();

	if (IsBinaryUpgrade || !IsPostmasterEnvironment)
		return;

	if (wal_level < WAL_LEVEL_LOGICAL)
		ereport(WARNING,
				errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				errmsg("openhr_msg delivers no messages while \"wal_level\" is below \"logical\""),
				errhint("Set \"wal_level = logical\" in postgresql.conf and restart the server."));

	if (available < wanted)
	{
		ereport(WARNING,
				errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				errmsg("openhr_msg starts no workers: it needs %d, and of \"max_worker_processes\" %d are left",
					   wanted, available),
				errhint("Raise \"max_worker_processes\" by %d or more and restart the server.",
						wanted - available));
		return;
	}

	register_worker(MSG_SLOT_STREAMER, "msg_streamer_main",
					"openhr_msg streamer", "openhr_msg streamer");
	for (int g = 0; g < msg_gateways; g++)
	{
		register_worker(MSG_SLOT_GATEWAY(g), "msg_gateway_main",
						"openhr_msg gateway",
						psprintf("openhr_msg gateway %d", g));
		for (int e = 0; e < msg_executors; e++)
			register_worker(MSG_SLOT_EXECUTOR(g, e), "msg_executor_main",
							"openhr_msg executor",
							psprintf("openhr_msg executor %d.%d", g, e));
	}
}

/*
 * The server and the libraries before us may have registered some.  Those that
 * are left to us are ours for good, whoever asks for one later.
 */
static int
free_worker_slots(void)
{
	int			available = max_worker_processes;
	static_worker_iter iter;

	static_worker_foreach(iter, &BackgroundWorkerList)
		available--;
	return available;
}

static void
register_worker(int index, const char *function, const char *type,
				const char *name)
{
	BackgroundWorker worker = {
		.bgw_flags = BGWORKER_SHMEM_ACCESS |
			BGWORKER_BACKEND_DATABASE_CONNECTION,
		.bgw_start_time = BgWorkerStart_RecoveryFinished,
		.bgw_restart_time = RESTART_SECONDS,
		.bgw_library_name = "openhr_msg_worker",
		.bgw_main_arg = Int32GetDatum(index),
	};

	strlcpy(worker.bgw_function_name, function, BGW_MAXLEN);
	strlcpy(worker.bgw_type, type, BGW_MAXLEN);
	strlcpy(worker.bgw_name, name, BGW_MAXLEN);
	RegisterBackgroundWorker(&worker);
}

PG_FUNCTION_INFO_V1(msg_check_server);

/*
 * Called once by the install script: can the extension live here?  If so, the
 * workers will hear of it when the script's transaction commits.
 */
Datum
msg_check_server(PG_FUNCTION_ARGS)
{
	msg_require_preload();

	if (GetDatabaseEncoding() != PG_UTF8)
		ereport(ERROR,
				errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				errmsg("openhr_msg cannot be used in a database of encoding \"%s\"",
					   GetDatabaseEncodingName()),
				errdetail("Messages go out as JSON, which is UTF-8."),
				errhint("Create the database with ENCODING 'UTF8' TEMPLATE template0."));

	if (!msg_is_served_database())
	{
		const char *name = get_database_name(MyDatabaseId);

		ereport(WARNING,
				errmsg("the workers of openhr_msg serve database \"%s\", not \"%s\"",
					   msg_database, name),
				errhint("Set \"openhr_msg.database = '%s'\" in postgresql.conf and restart the server.",
						name));
	}

	msg_extension_changed(InvalidOid);
	PG_RETURN_VOID();
}
