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

/* Take what has come, for a turn; true when there is more to do at once. */
extern bool msg_events_receive(int64_t now);

/* Bring on its way what the hub has to say to all gateways. */
extern void msg_events_publish(int64_t now);

/* Has the streamer attached our link? */
extern bool msg_events_connected(void);

/* Positions start anew: what was seen before says nothing any more. */
extern void msg_events_forget(void);

#endif							/* OPENHR_MSG_GATEWAY_EVENTS_H */
