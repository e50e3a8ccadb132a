/*-------------------------------------------------------------------------
 *
 * uuid7.h
 *	  Ids that sort by the time at which they were made (RFC 9562, version 7).
 *
 *-------------------------------------------------------------------------
 */
#ifndef OPENHR_MSG_UUID7_H
#define OPENHR_MSG_UUID7_H

#include "datatype/timestamp.h"
#include "utils/uuid.h"

/* A new id of now; greater than every id that this backend made before. */
extern void msg_uuid_v7(pg_uuid_t *uuid);

/* The smallest id of the given time's millisecond. */
extern void msg_uuid_v7_floor(TimestampTz time, pg_uuid_t *uuid);

/* The time that an id carries, to the millisecond. */
extern TimestampTz msg_uuid_v7_time(const pg_uuid_t *uuid);

#endif							/* OPENHR_MSG_UUID7_H */
