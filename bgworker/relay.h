/*-------------------------------------------------------------------------
 *
 * relay.h
 *	  Signals from every gateway to all gateways, in one order.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OPENHR_MSG_RELAY_H
#define OPENHR_MSG_RELAY_H

#include "link.h"

/* No gateway, see below. */
#define MSG_RELAY_NOBODY	(-1)

extern void msg_relay_init(void);

/* The gateway's link is another one now, or NULL.  What waited for it, or was
 * under way, is void. */
extern void msg_relay_set_link(int gateway, MsgLink *link);

/* It does not move: nobody shall be seen there until it does. */
extern void msg_relay_tell_gone(int gateway);

/*
 * Take what the gateways have to say and pass it on, as far as it goes without
 * waiting.  An event may have been sent to gateway "busy" in part only, so
 * nothing else is sent there now.
 */
extern void msg_relay(int busy);

/* Before an event is sent: finish the signal that was sent in part. */
extern MsgLinkResult msg_relay_finish(int gateway);

#endif							/* OPENHR_MSG_RELAY_H */
