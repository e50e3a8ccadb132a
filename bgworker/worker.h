/*-------------------------------------------------------------------------
 *
 * worker.h
 *	  What every worker does the same way: its slot in shared memory,
 *	  signals, parking while stop_workers() holds, connecting, and waiting for
 *	  the extension.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OPENHR_MSG_WORKER_H
#define OPENHR_MSG_WORKER_H

#include "openhr_msg.h"

extern MsgWorkerSlot *msg_worker;	/* this process's slot */

/*
 * Take the slot, set signals, park while stopped, connect to
 * openhr_msg.database.  Registered clean-up undoes it all at exit.
 */
extern void msg_worker_start(int slot_index);

/* A change of the streamer's state wakes the gateways. */
extern void msg_worker_set_state(MsgWorkerState state);
extern MsgWorkerState msg_worker_state(MsgWorkerSlot *slot);

/*
 * Signals since the last call: reload on SIGHUP (true: settings may have
 * changed), exit on SIGTERM.  stop_workers() ends a connected worker by
 * SIGTERM; the next one parks before it connects.
 */
extern bool msg_worker_interrupts(void);

/*
 * Wait until the latch is set or timeout (milliseconds, -1: none) has passed,
 * reset it, and count the wake-up.  Exits on SIGTERM, reads no settings.
 */
extern void msg_worker_wait(long timeout);

/* For a worker that waits by other means. */
extern void msg_worker_count_wakeup(void);

/*
 * Is the extension there?  Runs a short transaction of its own, in which a
 * wait of the server's may take a wake-up: do not sleep on the answer before
 * msg_shared->extension_changes was compared.
 */
extern bool msg_worker_extension_exists(void);

extern PGDLLEXPORT void msg_streamer_main(Datum arg);
extern PGDLLEXPORT void msg_gateway_main(Datum arg);
extern PGDLLEXPORT void msg_executor_main(Datum arg);

#endif							/* OPENHR_MSG_WORKER_H */
