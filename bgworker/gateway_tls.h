/*-------------------------------------------------------------------------
 *
 * gateway_tls.h
 *	  A gateway's certificate, from the settings.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MSG_GATEWAY_TLS_H
#define MSG_GATEWAY_TLS_H

#include "net/server.h"

/* At start and upon a reload. */
extern void msg_tls_read(server *srv);

/* May clients be let in?  Not without TLS where TLS is wanted. */
extern bool msg_tls_ready(void);

#endif							/* MSG_GATEWAY_TLS_H */
