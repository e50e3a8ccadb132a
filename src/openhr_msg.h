/*-------------------------------------------------------------------------
 *
 * openhr_msg.h
 *	  What the backend half and the background workers share: settings,
 *	  the table of workers in shared memory, and the wake-up.
 *
 * All shared state is one struct, MsgShared, made once by the postmaster.
 * Its lock protects the worker slots only, and is held for the copying of a
 * few words; counters are atomics.  A backend touches it at commit, once, and
 * only when the transaction changed one of our tables.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OPENHR_MSG_H
#define OPENHR_MSG_H

#include "access/xlogdefs.h"
#include "datatype/timestamp.h"
#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "storage/dsm.h"
#include "storage/lwlock.h"
#include "storage/proc.h"

#include "metrics.h"

#define MSG_EXTENSION	"openhr_msg"
#define MSG_SCHEMA		"openhr_msg"	/* schema of the functions */
#define MSG_SLOT_NAME	"openhr_msg"

/* Settings, in the order of the README; see settings.c. */
extern PGDLLEXPORT char *msg_database;
extern PGDLLEXPORT char *msg_listen_addresses;
extern PGDLLEXPORT int msg_port;
extern PGDLLEXPORT int msg_gateways;
extern PGDLLEXPORT int msg_executors;
extern PGDLLEXPORT char *msg_jwt_secret;
extern PGDLLEXPORT char *msg_jwt_secret_file;
extern PGDLLEXPORT char *msg_jwt_jwks_file;
extern PGDLLEXPORT char *msg_jwt_audience;
extern PGDLLEXPORT char *msg_jwt_issuer;
extern PGDLLEXPORT char *msg_ssl_cert_file;
extern PGDLLEXPORT char *msg_ssl_key_file;
extern PGDLLEXPORT char *msg_allowed_origins;
extern PGDLLEXPORT char *msg_metrics_clients;
extern PGDLLEXPORT int msg_max_connections;
extern PGDLLEXPORT int msg_max_message_bytes;	/* bytes */
extern PGDLLEXPORT int msg_max_queue_bytes; /* bytes, per connection */
extern PGDLLEXPORT int msg_rate_limit;	/* messages per window, 0 = none */
extern PGDLLEXPORT int msg_rate_limit_window;	/* seconds */
extern PGDLLEXPORT bool msg_public_channels;
extern PGDLLEXPORT int msg_presence_grace;	/* seconds */
extern PGDLLEXPORT bool msg_delivery_receipts;
extern PGDLLEXPORT bool msg_compression;
extern PGDLLEXPORT int msg_max_slot_lag;	/* megabytes */
extern PGDLLEXPORT char *msg_region;

extern void msg_define_settings(void);

/* For a worker that has just connected. */
extern PGDLLEXPORT void msg_settle_session(void);

/* Kinds of workers; a slot in shared memory for each process. */
typedef enum MsgWorkerKind
{
	MSG_STREAMER,
	MSG_GATEWAY,
	MSG_EXECUTOR
} MsgWorkerKind;

typedef enum MsgWorkerState
{
	MSG_WORKER_DOWN,			/* no process */
	MSG_WORKER_STOPPED,			/* alive, parked by stop_workers() */
	MSG_WORKER_WAITING,			/* connected, waits for the extension */
	MSG_WORKER_STARTING,		/* slot creation, catching up, binding */
	MSG_WORKER_RUNNING
} MsgWorkerState;

/* HTTP requests that an executor has at a time: the next one lies ready. */
#define MSG_REQUESTS_AHEAD	2

typedef struct MsgWorkerSlot
{
	MsgWorkerKind kind;
	int			gateway;		/* which gateway it is, or serves; -1 */
	int			number;			/* which executor of that gateway; -1 */

	/* Protected by MsgShared.lock. */
	pid_t		pid;			/* 0 when down */
	MsgWorkerState state;
	bool		connected;		/* may hold a connection to the database */
	TimestampTz started_at;
	Latch	   *latch;			/* NULL when down */

	/*
	 * The gateway publishes here the segment of the queue that this slot's
	 * peer attaches: a gateway's own slot carries its event queue (read by
	 * the gateway, written by the streamer), an executor's slot its pair of
	 * call queues.  The number changes with every new segment.
	 */
	dsm_handle	link;			/* DSM_HANDLE_INVALID: none published */
	uint32		link_number;

	/* Starts that did not get to work yet; by the owner only. */
	uint32		failures;

	/*
	 * Gateway: how many times the streamer went on without it, since it did
	 * not take its events; by the streamer only.  And how many of these it
	 * knows of; by itself only.  It is stuck while they differ.
	 */
	pg_atomic_uint32 left_behind;
	pg_atomic_uint32 left_behind_seen;

	/*
	 * Executor: tickets of requests that nobody waits for any more; by its
	 * gateway only, which then sends SIGUSR2.  Two can be under way.
	 */
	pg_atomic_uint64 cancelled[MSG_REQUESTS_AHEAD];

	/* Written by the owner only, read by status() without a lock. */
	pg_atomic_uint64 connections;	/* gateway: open sockets */
	pg_atomic_uint64 channels;	/* gateway: joined channels */
	pg_atomic_uint64 events;	/* events routed, or calls served */
	pg_atomic_uint64 wakeups;	/* turns of the loop */
	pg_atomic_uint64 position;	/* streamer, gateway: last LSN done */
	MsgMetrics	metrics;
} MsgWorkerSlot;

/* What the streamer, first to connect, knows of openhr_msg.database. */
typedef enum MsgDatabase
{
	MSG_DATABASE_UNKNOWN,
	MSG_DATABASE_FOUND,
	MSG_DATABASE_MISSING
} MsgDatabase;

typedef struct MsgShared
{
	LWLock	   *lock;			/* the worker slots' mutable part */

	/* Somebody left the database: a slot's connected became false. */
	ConditionVariable left;

	/* Set by stop_workers(): nobody connects to the database. */
	pg_atomic_uint32 stopped;

	pg_atomic_uint32 database;	/* MsgDatabase */

	/* Bumped when CREATE or DROP EXTENSION openhr_msg commits. */
	pg_atomic_uint32 extension_changes;

	/* Bumped when the slot was lost or re-created: positions before it are
	 * not comparable with those after it. */
	pg_atomic_uint32 epoch;

	/* The slot needs WAL from here on; 0: there is none. */
	pg_atomic_uint64 slot_restart;

	/* Reports about messages, by severity; by whoever commits one. */
	pg_atomic_uint64 reports[MSG_SEVERITIES];

	/* Highest commit of ours that may not be flushed yet (async commit). */
	pg_atomic_uint64 flush_target;

	int			nslots;
	MsgWorkerSlot slots[FLEXIBLE_ARRAY_MEMBER];
} MsgShared;

extern PGDLLEXPORT MsgShared *msg_shared;

/* Index of a worker in slots[]. */
#define MSG_SLOT_STREAMER		0
#define MSG_SLOT_GATEWAY(g)		(1 + (g) * (1 + msg_executors))
#define MSG_SLOT_EXECUTOR(g, e)	(MSG_SLOT_GATEWAY(g) + 1 + (e))

/* workers.c */
extern PGDLLEXPORT const char *msg_worker_kind_name(MsgWorkerKind kind);
extern PGDLLEXPORT const char *msg_worker_state_name(MsgWorkerState state);

/* shmem.c */
extern void msg_shmem_init(void);
extern void msg_require_preload(void);

/*
 * wakeup.c: this transaction changed one of our tables, so wake the streamer
 * when it commits.
 */
extern void msg_wakeup_init(void);
extern void msg_wakeup_at_commit(void);

/*
 * The same for CREATE and DROP EXTENSION, before which the extension was this
 * one (or none); nothing in another database.
 */
extern void msg_extension_changed(Oid before);
extern bool msg_is_served_database(void);

/* Set the latch of a worker, if it runs. */
extern PGDLLEXPORT void msg_worker_wake(MsgWorkerSlot *slot);

#endif							/* OPENHR_MSG_H */
