/*-------------------------------------------------------------------------
 *
 * partitions.h
 *	  The months of messages.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OPENHR_MSG_PARTITIONS_H
#define OPENHR_MSG_PARTITIONS_H

#include "datatype/timestamp.h"

/* A month of the calendar (UTC) is a number: months since the year 0. */
extern int	msg_month_of(TimestampTz time);
extern TimestampTz msg_month_start(int month);

/*
 * Make the month that a message sent now belongs to, if it is missing.  To be
 * called before the transaction reads messages; it costs next to nothing when
 * the month is there, and never raises an error because it is not.
 */
extern void msg_partition_ensure_current(void);

#endif							/* OPENHR_MSG_PARTITIONS_H */
