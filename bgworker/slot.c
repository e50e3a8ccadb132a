/*-------------------------------------------------------------------------
 *
 * slot.c
 *	  The life of the replication slot; see slot.h.
 *
 * The tables are the log; the slot only tells what happened in which order,
 * and can be made anew at any time.  What is lost then is the knowledge of
 * what clients have been told already, so each new slot starts a new epoch, in
 * which the gateways read from the tables what each client has missed.  That
 * one cure serves every ill: a slot that was dropped by hand, or
 * invalidated by max_slot_wal_keep_size, or belongs to the database that
 * openhr_msg.database named before; one that keeps more WAL than
 * openhr_msg.max_slot_lag; and a transaction that cannot be decoded, or
 * crashes who tries, when trying again a few times did not help.
 *
 * The slot is confirmed in memory whenever the streamer runs out of WAL, and
 * marked dirty, so that the next checkpoint, the one of a shutdown included,
 * writes it.  No fsync of our own is needed: after a crash the slot may lie
 * further back, but then no client is connected who could be told twice.
 * When only the streamer was restarted, "position" in shared memory tells the
 * exact place to go on from.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "replication/decode.h"
#include "replication/slot.h"
#include "storage/spin.h"
#include "storage/standby.h"
#include "utils/inval.h"

#include "attempts.h"
#include "compat.h"
#include "openhr_msg.h"
#include "slot.h"
#include "wal.h"
#include "worker.h"

/* Attempts to decode what there is before we give up on it. */
#define MAX_FAILURES		5

/* While a slot is being made we wait for WAL that others cause. */
#define CREATION_RECHECK	1000

static bool look_at_slot(ReplicationSlotPersistentData *data, bool *invalid);
static const char *reason_to_drop(const ReplicationSlotPersistentData *data,
								  bool invalid);
static bool create_slot(uint32 changes);
static bool find_start(LogicalDecodingContext *ctx, uint32 changes);

static uint64
max_lag(void)
{
	return (uint64) msg_max_slot_lag * 1024 * 1024;
}

static bool
too_far(XLogRecPtr restart_lsn)
{
	return !XLogRecPtrIsInvalid(restart_lsn) &&
		GetFlushRecPtr(NULL) > restart_lsn + max_lag();
}

static void
begin_epoch(void)
{
	pg_atomic_write_u64(&msg_worker->position, InvalidXLogRecPtr);
	pg_atomic_write_u64(&msg_shared->slot_restart, InvalidXLogRecPtr);
	pg_atomic_fetch_add_u32(&msg_shared->epoch, 1);
}

LogicalDecodingContext *
msg_slot_open(uint32 changes,
			  LogicalOutputPluginWriterPrepareWrite prepare,
			  LogicalOutputPluginWriterWrite write)
{
	ReplicationSlotPersistentData data;
	bool		invalid;
	const char *reason;
	int			failures;
	LogicalDecodingContext *ctx;
	List	   *options;

	if (look_at_slot(&data, &invalid) &&
		(reason = reason_to_drop(&data, invalid)) != NULL)
	{
		ReplicationSlotDrop(MSG_SLOT_NAME, true);
		ereport(WARNING,
				errmsg("dropped replication slot \"%s\" because %s",
					   MSG_SLOT_NAME, reason),
				errdetail("What clients miss is read from the tables."));
	}
	if (!look_at_slot(&data, &invalid) && !create_slot(changes))
		return NULL;

	slot_acquire(MSG_SLOT_NAME);
	failures = msg_attempts_failed();
	if (failures > 0)
		ereport(LOG,
				errmsg("decoding begins again at %X/%X, attempt %d of %d",
					   LSN_FORMAT_ARGS(MyReplicationSlot->data.restart_lsn),
					   failures + 1, MAX_FAILURES));
	msg_attempt_begins();

	options = list_make1(makeDefElem("format",
									 (Node *) makeString("binary"), -1));
	ctx = CreateDecodingContext(Max(MyReplicationSlot->data.confirmed_flush,
									pg_atomic_read_u64(&msg_worker->position)),
								options, false, &msg_wal_routine,
								prepare, write, NULL);

	pg_atomic_write_u64(&msg_shared->slot_restart,
						MyReplicationSlot->data.restart_lsn);

	/* Old WAL is decoded by the catalogs of its time, not by today's. */
	InvalidateSystemCaches();
	XLogBeginRead(ctx->reader, MyReplicationSlot->data.restart_lsn);
	return ctx;
}

void
msg_slot_close(LogicalDecodingContext *ctx)
{
	msg_attempt_is_broken_off();
	FreeDecodingContext(ctx);
	ReplicationSlotRelease();
}

void
msg_slot_drop(void)
{
	ReplicationSlotPersistentData data;
	bool		invalid;

	if (!look_at_slot(&data, &invalid) || data.database != MyDatabaseId)
		return;

	ReplicationSlotDrop(MSG_SLOT_NAME, true);
	begin_epoch();
	ereport(LOG,
			errmsg("dropped replication slot \"%s\" with the extension",
				   MSG_SLOT_NAME));
}

/* Is there a slot of our name?  It is an error when it is not ours. */
static bool
look_at_slot(ReplicationSlotPersistentData *data, bool *invalid)
{
	ReplicationSlot *slot = SearchNamedReplicationSlot(MSG_SLOT_NAME, true);

	if (slot == NULL)
		return false;

	SpinLockAcquire(&slot->mutex);
	*data = slot->data;
	*invalid = slot_is_invalid(slot);
	SpinLockRelease(&slot->mutex);

	if (!OidIsValid(data->database) ||
		strcmp(NameStr(data->plugin), MSG_EXTENSION) != 0)
		ereport(ERROR,
				errcode(ERRCODE_DUPLICATE_OBJECT),
				errmsg("replication slot \"%s\" is used for something else",
					   MSG_SLOT_NAME),
				errhint("Drop it, so that openhr_msg can make its own."));
	return true;
}

/* Why the slot cannot be used any further, or NULL. */
static const char *
reason_to_drop(const ReplicationSlotPersistentData *data, bool invalid)
{
	if (data->database != MyDatabaseId)
		return "it belongs to another database";
	if (invalid)
		return "the server has invalidated it";
	if (too_far(data->restart_lsn))
		return "it holds back more WAL than \"openhr_msg.max_slot_lag\"";
	if (msg_attempts_failed() >= MAX_FAILURES)
		return "the WAL that it stands at cannot be decoded";
	return NULL;
}

/*
 * The slot is ephemeral until it is ready, so that nothing is left of it
 * when this is interrupted.
 */
static bool
create_slot(uint32 changes)
{
	LogicalDecodingContext *ctx;
	bool		ready;

	begin_epoch();
	CheckLogicalDecodingRequirements();
	slot_create(MSG_SLOT_NAME, RS_EPHEMERAL);
	ctx = CreateInitDecodingContext(MSG_EXTENSION, NIL, false,
									InvalidXLogRecPtr, &msg_wal_routine,
									NULL, NULL, NULL);
	ready = find_start(ctx, changes);
	FreeDecodingContext(ctx);
	if (ready)
		ReplicationSlotPersist();
	ReplicationSlotRelease();
	return ready;
}

/*
 * Read until decoding can start.  That takes as long as the oldest of the
 * transactions that run now; the server logs what it waits for.  (This is the
 * server's DecodingContextFindStartpoint() for a reader that does not wait.)
 */
static bool
find_start(LogicalDecodingContext *ctx, uint32 changes)
{
	ReplicationSlot *slot = MyReplicationSlot;

	XLogBeginRead(ctx->reader, slot->data.restart_lsn);
	while (!DecodingContextReady(ctx))
	{
		if (msg_wal_next(ctx->reader))
		{
			LogicalDecodingProcessRecord(ctx, ctx->reader);
			CHECK_FOR_INTERRUPTS();
		}
		else
			msg_worker_wait(CREATION_RECHECK);

		if (msg_slot_lags() ||
			pg_atomic_read_u32(&msg_shared->extension_changes) != changes)
			return false;
	}

	SpinLockAcquire(&slot->mutex);
	slot->data.confirmed_flush = ctx->reader->EndRecPtr;
	SpinLockRelease(&slot->mutex);
	return true;
}

void
msg_slot_confirm(XLogRecPtr lsn)
{
	/* After a start we read WAL from before what was confirmed. */
	if (lsn > MyReplicationSlot->data.confirmed_flush)
	{
		LogicalConfirmReceivedLocation(lsn);
		ReplicationSlotMarkDirty();
	}
	pg_atomic_write_u64(&msg_shared->slot_restart,
						MyReplicationSlot->data.restart_lsn);
	if (lsn > pg_atomic_read_u64(&msg_worker->position))
		pg_atomic_write_u64(&msg_worker->position, lsn);
}

/*
 * The slot lets go of WAL when decoding meets a record of the transactions
 * that are running, which the server writes every 15 seconds.  On a server
 * that fills max_slot_lag faster than that, the slot would seem to lag though
 * nothing holds it up; so we have more of these records written there.
 */
void
msg_slot_help(void)
{
	static XLogRecPtr written = InvalidXLogRecPtr;
	XLogRecPtr	since = Max(written, MyReplicationSlot->data.restart_lsn);

	if (GetFlushRecPtr(NULL) > since + max_lag() / 4)
	{
		written = LogStandbySnapshot();
		XLogFlush(written);
	}
}

bool
msg_slot_lags(void)
{
	return too_far(MyReplicationSlot->data.restart_lsn);
}

void
msg_slot_failed(XLogRecPtr lsn)
{
	ereport(LOG,
			errmsg("decoding failed at %X/%X, attempt %d of %d",
				   LSN_FORMAT_ARGS(lsn), msg_attempt_fails(), MAX_FAILURES));
}
