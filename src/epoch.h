/*-------------------------------------------------------------------------
 *
 * epoch.h
 *	  How long places in conversations (seq, version) keep their meaning.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OPENHR_MSG_EPOCH_H
#define OPENHR_MSG_EPOCH_H

#include "c.h"

/* An error (PT410) when it is another than the present one. */
extern void msg_require_epoch(const text *epoch);

#endif							/* OPENHR_MSG_EPOCH_H */
