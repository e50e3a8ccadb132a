/*-------------------------------------------------------------------------
 *
 * slot.h
 *	  The life of the replication slot.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OPENHR_MSG_SLOT_H
#define OPENHR_MSG_SLOT_H

#include "replication/logical.h"

/*
 * Acquire the slot, made anew when there is none that can be used, and begin
 * to decode from it, the output going through prepare and write.  NULL when
 * msg_shared->extension_changes is no longer changes before the new slot was
 * ready, or when the new slot lags already: look around, then try again.
 */
extern LogicalDecodingContext *
			msg_slot_open(uint32 changes,
						  LogicalOutputPluginWriterPrepareWrite prepare,
						  LogicalOutputPluginWriterWrite write);
extern void msg_slot_close(LogicalDecodingContext *ctx);

/* The extension is gone, so the slot shall go, too. */
extern void msg_slot_drop(void);

/* Everything before lsn has been delivered. */
extern void msg_slot_confirm(XLogRecPtr lsn);

/* Let the slot that we hold advance, when it could and has not for long. */
extern void msg_slot_help(void);

/* Does the slot that we hold keep more WAL than it may? */
extern bool msg_slot_lags(void);

/* Remember that decoding failed at lsn. */
extern void msg_slot_failed(XLogRecPtr lsn);

#endif							/* OPENHR_MSG_SLOT_H */
