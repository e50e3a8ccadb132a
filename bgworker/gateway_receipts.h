/*-------------------------------------------------------------------------
 *
 * gateway_receipts.h
 *	  What has arrived at a gateway's clients, on its way to the tables.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OPENHR_MSG_GATEWAY_RECEIPTS_H
#define OPENHR_MSG_GATEWAY_RECEIPTS_H

#include "realtime/hub.h"

/* Once a turn: ask for a batch to be written, when it is time. */
extern void msg_receipts_tell(hub *h, int64_t now);

/* The answer to it. */
extern void msg_receipts_told(hub *h, bool success, const void *payload,
							  size_t len, int64_t now);

/* Microseconds since 1970, when there is something to do; 0: never. */
extern int64_t msg_receipts_due(const hub *h);

#endif							/* OPENHR_MSG_GATEWAY_RECEIPTS_H */
