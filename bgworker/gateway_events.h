/*-------------------------------------------------------------------------
 *
 * gateway_events.h
 *	  A gateway's end of the event stream: whole transactions, each once, and
 *	  the signals that the gateways have for one another.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OPENHR_MSG_GATEWAY_EVENTS_H
#define OPENHR_MSG_GATEWAY_EVENTS_H

#include "realtime/hub.h"

extern void msg_events_init(hub *h);

/*
 * Take what has come, for a turn, or the next transaction only; true when
 * there may be more to take at once.
 */
extern bool msg_events_receive(bool one_transaction, int64_t now);

/* Bring on its way what the hub has to say to all gateways. */
extern void msg_events_publish(int64_t now);

/* Has the streamer attached our link? */
extern bool msg_events_connected(void);

/* Start anew: what was seen before, and what is under way, says nothing. */
extern void msg_events_forget(void);

#endif							/* OPENHR_MSG_GATEWAY_EVENTS_H */
