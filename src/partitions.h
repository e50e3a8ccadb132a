/*-------------------------------------------------------------------------
 *
 * partitions.h
 *	  The months of messages.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OPENHR_MSG_PARTITIONS_H
#define OPENHR_MSG_PARTITIONS_H

/*
 * Make the month that a message sent now belongs to, if it is missing.  To be
 * called before the transaction reads messages; it costs next to nothing when
 * the month is there, and never raises an error because it is not.
 */
extern void msg_partition_ensure_current(void);

#endif							/* OPENHR_MSG_PARTITIONS_H */
