/*-------------------------------------------------------------------------
 *
 * wakeup.c
 *	  Waking the workers when a transaction that concerns them commits.
 *
 * Our triggers set a flag of this backend; the commit callback, registered
 * once in every backend, looks at it and sets the streamer's latch.  So a
 * transaction that does not touch our tables pays for one test of a flag.
 *
 * The callback runs after the commit became visible and must not raise an
 * error, so it takes no lock: it reads the latch's address, which is either
 * NULL or that of a PGPROC.  Those outlive every process; at worst a process
 * that took the PGPROC over sees its latch set for nothing.
 *
 * With synchronous_commit = off the commit is not flushed yet, and the
 * streamer reads flushed WAL only.  The callback tells it how far it has to
 * flush by itself rather than wait for the WAL writer.
 *
 * When the extension or a database came or went, the workers look at the
 * catalogs, and must not find there what their caches remember.  So they are
 * woken a little later, when the commit has sent its invalidations.
 *
 * What no callback of ours sees (COMMIT PREPARED of a transaction that
 * another session prepared, rows applied while triggers are disabled) is
 * found by the streamer's timeout.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "commands/dbcommands.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/resowner.h"

#include "openhr_msg.h"

/* What this transaction did so far. */
static bool tables_changed = false;
static bool extension_changed = false;
static Oid	extension_before;	/* the extension when that began, or none */
static bool database_changed = false;

/* It has committed, but its invalidations are not sent yet. */
static bool extension_committed = false;
static bool database_committed = false;

static object_access_hook_type prev_object_access_hook = NULL;

static void on_xact_event(XactEvent event, void *arg);
static void on_release(ResourceReleasePhase phase, bool is_commit,
					   bool is_top_level, void *arg);
static void on_object_access(ObjectAccessType access, Oid class_id,
							 Oid object_id, int sub_id, void *arg);

void
msg_wakeup_init(void)
{
	RegisterXactCallback(on_xact_event, NULL);
	RegisterResourceReleaseCallback(on_release, NULL);
	prev_object_access_hook = object_access_hook;
	object_access_hook = on_object_access;
}

void
msg_wakeup_at_commit(void)
{
	tables_changed = true;
}

void
msg_extension_changed(Oid before)
{
	if (extension_changed || !msg_is_served_database())
		return;
	extension_changed = true;
	extension_before = before;
}

/* Is this session in the database that the workers serve? */
bool
msg_is_served_database(void)
{
	char	   *name = get_database_name(MyDatabaseId);

	return name && strcmp(name, msg_database) == 0;
}

void
msg_worker_wake(MsgWorkerSlot *slot)
{
	Latch	   *latch = *(Latch *volatile *) &slot->latch;

	if (latch != NULL)
		SetLatch(latch);
}

static void
raise_flush_target(XLogRecPtr target)
{
	uint64		current = pg_atomic_read_u64(&msg_shared->flush_target);

	while (current < target &&
		   !pg_atomic_compare_exchange_u64(&msg_shared->flush_target,
										   &current, target))
		;
}

/* What was done to the extension may have been rolled back to a savepoint. */
static void
check_extension(void)
{
	if (extension_changed &&
		get_extension_oid(MSG_EXTENSION, true) == extension_before)
		extension_changed = false;
}

static void
on_xact_event(XactEvent event, void *arg)
{
	if (!tables_changed && !extension_changed && !database_changed)
		return;

	switch (event)
	{
		case XACT_EVENT_COMMIT:
			if (synchronous_commit == SYNCHRONOUS_COMMIT_OFF)
				raise_flush_target(XactLastCommitEnd);
			if (tables_changed)
				msg_worker_wake(&msg_shared->slots[MSG_SLOT_STREAMER]);
			extension_committed = extension_changed;
			database_committed = database_changed;
			break;

		case XACT_EVENT_PRE_PREPARE:

			/* Nothing would tell the workers of its commit. */
			check_extension();
			if (extension_changed)
				ereport(ERROR,
						errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("cannot PREPARE a transaction that has created or dropped extension \"%s\"",
							   MSG_EXTENSION));
			return;

		case XACT_EVENT_PRE_COMMIT:
			check_extension();
			return;				/* not decided yet */

		case XACT_EVENT_PARALLEL_PRE_COMMIT:
			return;

		case XACT_EVENT_PARALLEL_COMMIT:	/* the leader commits */
		case XACT_EVENT_PREPARE:
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PARALLEL_ABORT:
			break;
	}

	tables_changed = false;
	extension_changed = false;
	database_changed = false;
}

/* The invalidations are sent before the transaction's locks are released. */
static void
on_release(ResourceReleasePhase phase, bool is_commit, bool is_top_level,
		   void *arg)
{
	if (phase != RESOURCE_RELEASE_AFTER_LOCKS || !is_top_level)
		return;

	if (extension_committed)
	{
		pg_atomic_fetch_add_u32(&msg_shared->extension_changes, 1);
		for (int i = 0; i < msg_shared->nslots; i++)
			msg_worker_wake(&msg_shared->slots[i]);
	}
	else if (database_committed)
		msg_worker_wake(&msg_shared->slots[MSG_SLOT_STREAMER]);
	extension_committed = false;
	database_committed = false;
}

/*
 * Our extension goes, in whatever way.  (That it comes is told by its install
 * script: here its row could not be looked up yet.)  And any database comes or
 * gets a name: it may be the one that the streamer waits for.
 */
static void
on_object_access(ObjectAccessType access, Oid class_id, Oid object_id,
				 int sub_id, void *arg)
{
	if (prev_object_access_hook)
		prev_object_access_hook(access, class_id, object_id, sub_id, arg);

	if (class_id == ExtensionRelationId && access == OAT_DROP)
	{
		char	   *name = get_extension_name(object_id);

		if (name && strcmp(name, MSG_EXTENSION) == 0)
			msg_extension_changed(object_id);
	}
	else if (class_id == DatabaseRelationId &&
			 (access == OAT_POST_CREATE || access == OAT_POST_ALTER))
		database_changed = true;
}
