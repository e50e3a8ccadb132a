/*-------------------------------------------------------------------------
 *
 * catchup_calls.h
 *	  Calls about positions, and what was missed since.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OPENHR_MSG_CATCHUP_CALLS_H
#define OPENHR_MSG_CATCHUP_CALLS_H

#include "lib/stringinfo.h"

#include "calls.h"

typedef struct MsgCatchUpCall
{
	const MsgCall *call;
	const void *payload;
	StringInfo	reply;			/* the answer is appended */
} MsgCatchUpCall;

extern bool msg_is_catchup_call(uint32 kind);

/*
 * Answer it, in a transaction with an active snapshot and SPI.  arg is a
 * MsgCatchUpCall.
 */
extern void msg_answer_catchup(void *arg);

#endif							/* OPENHR_MSG_CATCHUP_CALLS_H */
