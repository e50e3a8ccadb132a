/*-------------------------------------------------------------------------
 *
 * live.h
 *	  Rows of our tables as they are now, written as the events that would
 *	  have told of them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OPENHR_MSG_LIVE_H
#define OPENHR_MSG_LIVE_H

#include "access/htup.h"
#include "lib/stringinfo.h"
#include "utils/relcache.h"

#include "event.h"

/*
 * Append the event of a row.  Of the stamp the action (INSERT or UPDATE), xid,
 * commit_lsn, ordinal and commit_time count.  The relation is one of ours or a
 * partition of one, else it is an error.
 */
extern void decode_live_row(StringInfo out, Relation relation,
							HeapTuple tuple, const event_header *stamp);

/*
 * Append the DELETE of a row that was, by its old_record; the stamp has its
 * ids, too.
 */
extern void decode_live_removal(StringInfo out, Relation relation,
								const event_header *stamp,
								const char *old_record, int len);

/* Append the old_record of a row that is being removed. */
extern void decode_live_old_record(StringInfo out, Relation relation,
								   HeapTuple tuple);

#endif							/* OPENHR_MSG_LIVE_H */
