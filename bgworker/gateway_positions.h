/*-------------------------------------------------------------------------
 *
 * gateway_positions.h
 *	  How far a gateway and its clients are in the stream of changes, and
 *	  what they have missed: the hub's questions to the tables.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OPENHR_MSG_GATEWAY_POSITIONS_H
#define OPENHR_MSG_GATEWAY_POSITIONS_H

#include "calls.h"
#include "realtime/hub.h"

/* The hub's ops. */
extern bool msg_positions_mark(void *arg, uint64_t ticket);
extern bool msg_positions_catch_up(void *arg, uint64_t ticket,
								   const uint8_t profile_id[16],
								   const void *request, size_t len);

extern bool msg_positions_replay(void *arg, uint64_t ticket,
								 const char *topic, size_t len,
								 int64_t since, int limit);

/* Once a turn: have saved what is due. */
extern void msg_positions_save(hub *h, int64_t now);

/* When that is, in microseconds since 1970; 0: never. */
extern int64_t msg_positions_due(const hub *h);

/* An answer to one of these calls.  False: it was to another. */
extern bool msg_positions_answered(hub *h, const MsgCall *call, bool success,
								   const void *payload, size_t len);

#endif							/* OPENHR_MSG_GATEWAY_POSITIONS_H */
