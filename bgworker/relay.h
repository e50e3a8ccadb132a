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

/*
 * Take what the gateways have to say and pass it on, as far as it goes without
 * waiting.  links are those of all gateways, NULL where there is none; one
 * that breaks is closed.  An event has been sent to gateway "busy" in part
 * only, so nothing else may be sent there now.
 */
extern void msg_relay(MsgLink **links, int busy);

/* The gateway has got another link, or none: what was to be sent is void. */
extern void msg_relay_new_link(int gateway);

/* Before an event is sent: finish the signal that was sent in part. */
extern MsgLinkResult msg_relay_finish(int gateway, MsgLink *link);

#endif							/* OPENHR_MSG_RELAY_H */
