/*-------------------------------------------------------------------------
 *
 * broadcasts.h
 *	  Broadcasts from SQL, told again to who comes later.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OPENHR_MSG_BROADCASTS_H
#define OPENHR_MSG_BROADCASTS_H

#include "datatype/timestamp.h"
#include "lib/stringinfo.h"

/*
 * Append the events of the latest broadcasts of a topic since a time, the
 * oldest first, each at a multiple of 8 from here.  SPI is connected.
 */
extern PGDLLEXPORT void msg_replay_broadcasts(StringInfo out,
											  const char *topic, Size len,
											  TimestampTz since, int limit);

#endif							/* OPENHR_MSG_BROADCASTS_H */
