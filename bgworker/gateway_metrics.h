/*-------------------------------------------------------------------------
 *
 * gateway_metrics.h
 *	  What a gateway counts, on its way to shared memory.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MSG_GATEWAY_METRICS_H
#define MSG_GATEWAY_METRICS_H

#include "realtime/hub.h"

/* Once a turn: what has become of the hub's numbers, and how many sockets. */
extern void msg_gateway_measure(const hub_stats *stats, size_t sockets);

/* Somebody was turned away, with a status of HTTP; below 400: nobody was. */
extern void msg_gateway_refused(int status);

#endif							/* MSG_GATEWAY_METRICS_H */
