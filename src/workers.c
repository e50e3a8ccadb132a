/*-------------------------------------------------------------------------
 *
 * workers.c
 *	  The workers as SQL sees them: status(), stop_workers(), start_workers().
 *
 * Stopping is a word in shared memory that holds for the whole server and
 * from the moment it is said, not from a commit: DROP DATABASE, which it is
 * for, must find the workers gone.  It lasts until start_workers() or a
 * restart of the server, also one after a crash.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/pg_lsn.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "openhr_msg.h"

PG_FUNCTION_INFO_V1(msg_status);
PG_FUNCTION_INFO_V1(msg_slot_epoch);
PG_FUNCTION_INFO_V1(msg_stop_workers);
PG_FUNCTION_INFO_V1(msg_start_workers);

const char *
msg_worker_kind_name(MsgWorkerKind kind)
{
	switch (kind)
	{
		case MSG_STREAMER:
			return "streamer";
		case MSG_GATEWAY:
			return "gateway";
		case MSG_EXECUTOR:
			return "executor";
	}
	pg_unreachable();
}

const char *
msg_worker_state_name(MsgWorkerState state)
{
	switch (state)
	{
		case MSG_WORKER_DOWN:
			return "down";
		case MSG_WORKER_STOPPED:
			return "stopped";
		case MSG_WORKER_WAITING:
			return "waiting";
		case MSG_WORKER_STARTING:
			return "starting";
		case MSG_WORKER_RUNNING:
			return "running";
	}
	pg_unreachable();
}

static void
put_row(ReturnSetInfo *result, MsgWorkerSlot *slot)
{
	pid_t		pid;
	MsgWorkerState state;
	bool		is_stuck = pg_atomic_read_u32(&slot->left_behind) !=
		pg_atomic_read_u32(&slot->left_behind_seen);
	TimestampTz started_at;
	uint64		position = pg_atomic_read_u64(&slot->position);
	bool		is_gateway = slot->kind == MSG_GATEWAY;

	LWLockAcquire(msg_shared->lock, LW_SHARED);
	pid = slot->pid;
	state = slot->state;
	started_at = slot->started_at;
	LWLockRelease(msg_shared->lock);

	Datum		values[] = {
		CStringGetTextDatum(msg_worker_kind_name(slot->kind)),
		Int32GetDatum(slot->gateway),
		Int32GetDatum(slot->number),
		Int32GetDatum(pid),
		CStringGetTextDatum(is_stuck ? "stuck" :
							msg_worker_state_name(state)),
		TimestampTzGetDatum(started_at),
		Int64GetDatum(pg_atomic_read_u64(&slot->connections)),
		Int64GetDatum(pg_atomic_read_u64(&slot->channels)),
		Int64GetDatum(pg_atomic_read_u64(&slot->events)),
		Int64GetDatum(pg_atomic_read_u64(&slot->wakeups)),
		LSNGetDatum(position),
	};
	bool		nulls[lengthof(values)] = {
		[1] = slot->gateway < 0,
		[2] = slot->number < 0,
		[3] = pid == 0,
		[5] = pid == 0,
		[6] = !is_gateway,
		[7] = !is_gateway,
		[10] = XLogRecPtrIsInvalid(position),
	};

	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

Datum
msg_status(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

	msg_require_preload();
	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < msg_shared->nslots; i++)
		put_row(result, &msg_shared->slots[i]);
	return (Datum) 0;
}

Datum
msg_slot_epoch(PG_FUNCTION_ARGS)
{
	msg_require_preload();
	PG_RETURN_INT64(pg_atomic_read_u32(&msg_shared->epoch));
}

/* Tell those who are connected to go; how many are there? */
static int
terminate_connected(void)
{
	int			connected = 0;

	LWLockAcquire(msg_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < msg_shared->nslots; i++)
	{
		MsgWorkerSlot *slot = &msg_shared->slots[i];

		if (!slot->connected)
			continue;
		connected++;
		kill(slot->pid, SIGTERM);
	}
	LWLockRelease(msg_shared->lock);
	return connected;
}

/*
 * A worker leaves by exiting; the postmaster starts it again, and it then
 * parks before it connects.  One that just comes back from there while we
 * wait is told again, which does no harm.
 */
Datum
msg_stop_workers(PG_FUNCTION_ARGS)
{
	msg_require_preload();

	pg_atomic_write_u32(&msg_shared->stopped, 1);
	ConditionVariablePrepareToSleep(&msg_shared->left);
	while (terminate_connected() > 0)
		ConditionVariableSleep(&msg_shared->left, PG_WAIT_EXTENSION);
	ConditionVariableCancelSleep();

	PG_RETURN_VOID();
}

Datum
msg_start_workers(PG_FUNCTION_ARGS)
{
	msg_require_preload();

	pg_atomic_write_u32(&msg_shared->stopped, 0);
	for (int i = 0; i < msg_shared->nslots; i++)
		msg_worker_wake(&msg_shared->slots[i]);

	PG_RETURN_VOID();
}
