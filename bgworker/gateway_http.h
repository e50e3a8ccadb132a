/*-------------------------------------------------------------------------
 *
 * gateway_http.h
 *	  A gateway's requests that are for no WebSocket: the socket server's
 *	  callbacks for them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MSG_GATEWAY_HTTP_H
#define MSG_GATEWAY_HTTP_H

#include "rest.h"

extern void msg_http_set(hub *rooms, const admission_rules *rules,
						 size_t max_message);

/* See server_ops, and hub_ops.posted. */
extern void *msg_http_begin(void *arg, server_conn *conn,
							const http_request *request, size_t body_size,
							http_response *response);
extern void msg_http_body(void *arg, void *exchange, const char *data,
						  size_t len);
extern void msg_http_expired(void *arg, void *exchange);
extern void msg_http_done(void *arg, void *exchange);
extern void msg_http_posted(void *arg, void *exchange,
							hub_post_result result);

#endif							/* MSG_GATEWAY_HTTP_H */
