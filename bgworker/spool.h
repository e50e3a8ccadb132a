/*-------------------------------------------------------------------------
 *
 * spool.h
 *	  The events of a large transaction that are to be sent later, in a
 *	  temporary file.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OPENHR_MSG_SPOOL_H
#define OPENHR_MSG_SPOOL_H

#include "../decoder/event.h"

extern void msg_spool_put(const event_header *event);

/* Hand out what was put, in its order, and forget it. */
extern void msg_spool_replay(void (*take) (const event_header *event));

#endif							/* OPENHR_MSG_SPOOL_H */
