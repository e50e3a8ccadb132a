/*-------------------------------------------------------------------------
 *
 * gateway_metrics.h
 *	  What a gateway counts, on its way to shared memory.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MSG_GATEWAY_METRICS_H
#define MSG_GATEWAY_METRICS_H

#include "net/server.h"
#include "realtime/hub.h"

/* Once a turn: what has become of these numbers. */
extern void msg_gateway_measure(const hub_stats *stats, const server *srv);

/* When the certificate expires, in seconds since 1970; 0: there is none. */
extern void msg_gateway_certificate(int64_t expiry);

/* Somebody was turned away, with a status of HTTP; below 400: nobody was. */
extern void msg_gateway_refused(int status);

#endif							/* MSG_GATEWAY_METRICS_H */
