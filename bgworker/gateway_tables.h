/*-------------------------------------------------------------------------
 *
 * gateway_tables.h
 *	  What a gateway must know of our tables: their schema and columns.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OPENHR_MSG_GATEWAY_TABLES_H
#define OPENHR_MSG_GATEWAY_TABLES_H

/* Before postgres.h, which it must not see. */
#include "realtime/hub.h"

#include "postgres.h"

#include "datatype/timestamp.h"

#include "gateway_calls.h"

/* The extension is another one, or none: nothing is known. */
extern void msg_tables_forget(uint32 extension);
extern bool msg_tables_known(void);

/* Ask an executor, when it is time to. */
extern void msg_tables_ask(TimestampTz now);
extern void msg_tables_hurry(void);

/* When that is; 0: there is nothing to ask. */
extern TimestampTz msg_tables_due(void);

/* The answer. */
extern void msg_tables_answered(hub *h, const MsgCall *call, bool success,
								const char *payload, Size len);

#endif							/* OPENHR_MSG_GATEWAY_TABLES_H */
