/*-------------------------------------------------------------------------
 *
 * monitor.h
 *	  What a gateway tells those who watch it: GET /metrics, GET /healthz.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MSG_MONITOR_H
#define MSG_MONITOR_H

#include "admission.h"

/*
 * Answers a request for one of these paths; false: it is for another.  now is
 * in microseconds since 1970; the response lasts until the next call.
 */
extern bool monitor_begin(const admission_rules *rules,
						  const server_conn *conn,
						  const http_request *request, int64_t now,
						  http_response *response);

#endif							/* MSG_MONITOR_H */
