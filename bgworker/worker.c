/*-------------------------------------------------------------------------
 *
 * worker.c
 *	  What every worker does the same way; see worker.h.
 *
 * A worker's life: it takes its slot, waits if its last starts have failed,
 * waits while stop_workers() holds, connects, and from then on belongs to the
 * code of its kind until it exits.  The postmaster starts it again a second
 * later, whatever the reason, so leaving the database and giving up are both
 * done by exiting, and a worker parks before it connects and never after.
 *
 * "connected" is set under the lock, in the same breath as "stopped" is
 * looked at, before the connection is made; it is cleared when the process has
 * left the array of processes and has released its replication slot.  So once
 * stop_workers() has seen all of them cleared, nobody stands in the way of
 * DROP DATABASE.
 *
 * A process cannot ask whether a database exists without a connection, a
 * connection to a missing one ends the process, and a connection once made
 * cannot be changed.  So only the streamer tries; the others wait for its
 * word.  When its attempt has ended it, its successor connects to no database
 * at all, watches pg_database, and exits when the database is there.  That
 * makes one line in the log, not one a second, and nothing that could hold up
 * CREATE DATABASE.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "commands/extension.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/relcache.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "compat.h"
#include "worker.h"

/* After failed starts the pause doubles up to this, in milliseconds. */
#define MAX_PAUSE			60000

/* CREATE DATABASE wakes us, unless we were just looking. */
#define DATABASE_RECHECK	10000

PG_MODULE_MAGIC_EXT(.name = "openhr_msg_worker", .version = MSG_VERSION);

MsgWorkerSlot *msg_worker = NULL;

static void take_slot(int slot_index);
static void leave_slot(int code, Datum arg);
static void pause_after_failures(void);
static bool may_connect(void);
static void connect_to_database(void);
static void watch_for_database(void);

void
msg_worker_start(int slot_index)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	pqsignal(SIGINT, SIG_IGN);	/* there is no statement to cancel */
	BackgroundWorkerUnblockSignals();

	take_slot(slot_index);
	pause_after_failures();
	while (!may_connect())
		msg_worker_wait(-1);
	connect_to_database();
	msg_settle_session();
}

static void
take_slot(int slot_index)
{
	msg_worker = &msg_shared->slots[slot_index];

	/*
	 * Not before_shmem_exit: our clean-up has to come after that of the
	 * replication slot and of the array of processes, see above.
	 */
	on_shmem_exit(leave_slot, (Datum) 0);

	pg_atomic_write_u64(&msg_worker->connections, 0);
	pg_atomic_write_u64(&msg_worker->channels, 0);
	pg_atomic_write_u64(&msg_worker->events, 0);
	pg_atomic_write_u64(&msg_worker->wakeups, 0);
	msg_metrics_clear_gauges(&msg_worker->metrics);

	LWLockAcquire(msg_shared->lock, LW_EXCLUSIVE);
	msg_worker->pid = MyProcPid;
	msg_worker->state = MSG_WORKER_STARTING;
	msg_worker->started_at = GetCurrentTimestamp();
	msg_worker->latch = MyLatch;
	LWLockRelease(msg_shared->lock);
}

static void
leave_slot(int code, Datum arg)
{
	uint32		found = MSG_DATABASE_FOUND;

	msg_metrics_clear_gauges(&msg_worker->metrics);
	LWLockAcquire(msg_shared->lock, LW_EXCLUSIVE);
	msg_worker->pid = 0;
	msg_worker->state = MSG_WORKER_DOWN;
	msg_worker->connected = false;
	msg_worker->latch = NULL;
	LWLockRelease(msg_shared->lock);

	if (msg_worker->kind == MSG_STREAMER)
		pg_atomic_compare_exchange_u32(&msg_shared->database, &found,
									   MSG_DATABASE_UNKNOWN);
	ConditionVariableBroadcast(&msg_shared->left);

	/* It may be waiting for a gateway. */
	msg_worker_wake(&msg_shared->slots[MSG_SLOT_STREAMER]);
}

/*
 * The first restart comes after the postmaster's second, later ones ever
 * later, until the worker got to work once.
 */
static void
pause_after_failures(void)
{
	uint32		failures = msg_worker->failures++;
	TimestampTz until;
	long		left;

	if (failures < 2)
		return;

	until = TimestampTzPlusMilliseconds(msg_worker->started_at,
										failures > 6 ? MAX_PAUSE :
										Min(1000 << (failures - 1),
											MAX_PAUSE));
	while ((left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(),
												   until)) > 0)
		msg_worker_wait(left);
}

/* Is now the time to connect?  If so, we count as connected already. */
static bool
may_connect(void)
{
	bool		stopped;
	bool		ready;

	LWLockAcquire(msg_shared->lock, LW_EXCLUSIVE);
	stopped = pg_atomic_read_u32(&msg_shared->stopped) != 0;
	ready = !stopped &&
		(msg_worker->kind == MSG_STREAMER ||
		 pg_atomic_read_u32(&msg_shared->database) == MSG_DATABASE_FOUND);
	msg_worker->connected = ready;
	msg_worker->state = stopped ? MSG_WORKER_STOPPED : MSG_WORKER_STARTING;
	LWLockRelease(msg_shared->lock);

	return ready;
}

static void
connect_to_database(void)
{
	if (msg_worker->kind != MSG_STREAMER)
	{
		BackgroundWorkerInitializeConnection(msg_database, NULL, 0);
		return;
	}

	if (pg_atomic_read_u32(&msg_shared->database) == MSG_DATABASE_MISSING)
		watch_for_database();

	/* What our successor shall believe when this ends us. */
	pg_atomic_write_u32(&msg_shared->database, MSG_DATABASE_MISSING);
	BackgroundWorkerInitializeConnection(msg_database, NULL, 0);
	pg_atomic_write_u32(&msg_shared->database, MSG_DATABASE_FOUND);

	for (int i = 0; i < msg_shared->nslots; i++)
		msg_worker_wake(&msg_shared->slots[i]);
}

/*
 * Not get_database_oid(): without a database the index can be used only when
 * another process has left its description since the server's start.
 */
static bool
database_exists(void)
{
	Relation	rel;
	SysScanDesc scan;
	ScanKeyData key;
	bool		exists;

	StartTransactionCommand();
	rel = table_open(DatabaseRelationId, AccessShareLock);
	ScanKeyInit(&key, Anum_pg_database_datname, BTEqualStrategyNumber,
				F_NAMEEQ, CStringGetDatum(msg_database));
	scan = systable_beginscan(rel, DatabaseNameIndexId,
							  criticalSharedRelcachesBuilt, NULL, 1, &key);
	exists = HeapTupleIsValid(systable_getnext(scan));
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	CommitTransactionCommand();
	return exists;
}

static void
watch_for_database(void)
{
	bool		waited = false;

	/* We hold no connection to the database that stop_workers() is about. */
	LWLockAcquire(msg_shared->lock, LW_EXCLUSIVE);
	msg_worker->connected = false;
	msg_worker->state = MSG_WORKER_WAITING;
	LWLockRelease(msg_shared->lock);

	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	while (!database_exists())
	{
		if (!waited)
			ereport(LOG,
					errmsg("openhr_msg waits for database \"%s\"",
						   msg_database),
					errhint("Create it, or set \"openhr_msg.database\" in postgresql.conf and restart the server."));
		waited = true;
		msg_worker_wait(DATABASE_RECHECK);
	}

	/* If it was there all the time, something else is wrong: try rarely. */
	if (waited)
		msg_worker->failures = 0;
	pg_atomic_write_u32(&msg_shared->database, MSG_DATABASE_UNKNOWN);
	proc_exit(1);
}

void
msg_worker_set_state(MsgWorkerState state)
{
	LWLockAcquire(msg_shared->lock, LW_EXCLUSIVE);
	msg_worker->state = state;
	LWLockRelease(msg_shared->lock);

	if (state == MSG_WORKER_RUNNING || state == MSG_WORKER_WAITING)
		msg_worker->failures = 0;
	if (msg_worker->kind == MSG_STREAMER)
		for (int g = 0; g < msg_gateways; g++)
			msg_worker_wake(&msg_shared->slots[MSG_SLOT_GATEWAY(g)]);
}

MsgWorkerState
msg_worker_state(MsgWorkerSlot *slot)
{
	MsgWorkerState state;

	LWLockAcquire(msg_shared->lock, LW_SHARED);
	state = slot->state;
	LWLockRelease(msg_shared->lock);
	return state;
}

bool
msg_worker_interrupts(void)
{
	CHECK_FOR_INTERRUPTS();

	if (!ConfigReloadPending)
		return false;
	ConfigReloadPending = false;
	ProcessConfigFile(PGC_SIGHUP);
	return true;
}

void
msg_worker_wait(long timeout)
{
	int			events = WL_LATCH_SET | WL_EXIT_ON_PM_DEATH;

	if (timeout >= 0)
		events |= WL_TIMEOUT;
	WaitLatch(MyLatch, events, timeout, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);

	msg_worker_count_wakeup();
	CHECK_FOR_INTERRUPTS();
}

void
msg_worker_count_wakeup(void)
{
	msg_metrics_add(&msg_worker->wakeups, 1);
	msg_metrics_count(&msg_worker->metrics, MSG_COUNT_WAKEUPS, 1);
}

bool
msg_worker_extension_exists(void)
{
	MemoryContext old = CurrentMemoryContext;
	bool		exists;

	StartTransactionCommand();
	exists = OidIsValid(get_extension_oid(MSG_EXTENSION, true));
	CommitTransactionCommand();
	MemoryContextSwitchTo(old);
	return exists;
}
