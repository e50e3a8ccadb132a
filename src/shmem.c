/*-------------------------------------------------------------------------
 *
 * shmem.c
 *	  The one struct in shared memory, made by the postmaster.
 *
 * It is made afresh after a crash of any process, so it holds nothing that
 * must outlive one, and no pointer into a process's own memory.  (The latches
 * that workers show in it are part of the server's own shared memory.)
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"

#include "openhr_msg.h"

MsgShared  *msg_shared = NULL;

static shmem_request_hook_type prev_shmem_request_hook = NULL;
static shmem_startup_hook_type prev_shmem_startup_hook = NULL;

static void request_shmem(void);
static void startup_shmem(void);
static void init_slot(int index, MsgWorkerKind kind, int gateway, int number);

void
msg_shmem_init(void)
{
	prev_shmem_request_hook = shmem_request_hook;
	shmem_request_hook = request_shmem;
	prev_shmem_startup_hook = shmem_startup_hook;
	shmem_startup_hook = startup_shmem;
}

/* Everything here that needs the workers' shared memory says so by this. */
void
msg_require_preload(void)
{
	const char *others = shared_preload_libraries_string;
	bool		alone = (others == NULL || others[0] == '\0');

	if (msg_shared != NULL)
		return;

	ereport(ERROR,
			errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			errmsg("openhr_msg was not loaded at server start"),
			errhint("Set \"shared_preload_libraries = '%s%s%s'\" in "
					"postgresql.conf and restart the server.",
					alone ? "" : others, alone ? "" : ", ", MSG_EXTENSION));
}

static int
count_slots(void)
{
	return MSG_SLOT_GATEWAY(msg_gateways);
}

static Size
shmem_size(void)
{
	return add_size(offsetof(MsgShared, slots),
					mul_size(count_slots(), sizeof(MsgWorkerSlot)));
}

static void
request_shmem(void)
{
	if (prev_shmem_request_hook)
		prev_shmem_request_hook();

	RequestAddinShmemSpace(shmem_size());
	RequestNamedLWLockTranche(MSG_EXTENSION, 1);
}

static void
startup_shmem(void)
{
	bool		found;

	if (prev_shmem_startup_hook)
		prev_shmem_startup_hook();

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	msg_shared = ShmemInitStruct(MSG_EXTENSION, shmem_size(), &found);
	if (!found)
	{
		memset(msg_shared, 0, shmem_size());
		msg_shared->lock = &(GetNamedLWLockTranche(MSG_EXTENSION))->lock;
		ConditionVariableInit(&msg_shared->left);
		pg_atomic_init_u32(&msg_shared->stopped, 0);
		pg_atomic_init_u32(&msg_shared->database, MSG_DATABASE_UNKNOWN);
		pg_atomic_init_u32(&msg_shared->extension_changes, 0);
		pg_atomic_init_u32(&msg_shared->epoch, 0);
		pg_atomic_init_u64(&msg_shared->slot_restart, 0);
		for (int i = 0; i < MSG_SEVERITIES; i++)
			pg_atomic_init_u64(&msg_shared->reports[i], 0);
		pg_atomic_init_u64(&msg_shared->flush_target, 0);

		msg_shared->nslots = count_slots();
		init_slot(MSG_SLOT_STREAMER, MSG_STREAMER, -1, -1);
		for (int g = 0; g < msg_gateways; g++)
		{
			init_slot(MSG_SLOT_GATEWAY(g), MSG_GATEWAY, g, -1);
			for (int e = 0; e < msg_executors; e++)
				init_slot(MSG_SLOT_EXECUTOR(g, e), MSG_EXECUTOR, g, e);
		}
	}
	LWLockRelease(AddinShmemInitLock);
}

static void
init_slot(int index, MsgWorkerKind kind, int gateway, int number)
{
	MsgWorkerSlot *slot = &msg_shared->slots[index];

	slot->kind = kind;
	slot->gateway = gateway;
	slot->number = number;
	slot->state = MSG_WORKER_DOWN;
	slot->link = DSM_HANDLE_INVALID;
	pg_atomic_init_u32(&slot->left_behind, 0);
	pg_atomic_init_u32(&slot->left_behind_seen, 0);
	for (int i = 0; i < MSG_REQUESTS_AHEAD; i++)
		pg_atomic_init_u64(&slot->cancelled[i], 0);
	pg_atomic_init_u64(&slot->connections, 0);
	pg_atomic_init_u64(&slot->channels, 0);
	pg_atomic_init_u64(&slot->events, 0);
	pg_atomic_init_u64(&slot->wakeups, 0);
	pg_atomic_init_u64(&slot->position, 0);
	msg_metrics_init(&slot->metrics);
}
