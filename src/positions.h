/*-------------------------------------------------------------------------
 *
 * positions.h
 *	  Places in the stream of changes, and which rows are behind them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OPENHR_MSG_POSITIONS_H
#define OPENHR_MSG_POSITIONS_H

#include "access/htup_details.h"
#include "access/transam.h"
#include "datatype/timestamp.h"

#include "event.h"

/*
 * Where the active snapshot is; the fence is read now.  What the own
 * transaction has written is not seen.
 */
extern PGDLLEXPORT event_mark *msg_take_mark(void);

/*
 * Does it see less than the snapshot, since that does not know all who are in
 * progress?
 */
extern PGDLLEXPORT bool msg_mark_is_rough(void);

/* A position's bytes as they came from elsewhere: NULL when they are none. */
extern PGDLLEXPORT const event_position *msg_check_position(const void *bytes,
															Size len);

/* Does it have the changes of this transaction? */
extern bool msg_position_sees(const event_position *position, uint64 xid);

/* Who wrote a row, also when it is frozen by now; next is the next id. */
extern uint64 msg_row_xid(HeapTuple tuple, FullTransactionId next);

/* As values of SQL: the snapshot (pg_snapshot), and what else (xid8[]). */
extern Datum msg_position_seen(const event_position *position);
extern Datum msg_position_more(const event_position *position);
extern event_position *msg_make_position(Datum seen, Datum more,
										 TimestampTz taken_at);

/* From PostgreSQL's microseconds to those of Unix, and back. */
extern int64 msg_unix_time(TimestampTz time);
extern PGDLLEXPORT TimestampTz msg_time_of_unix(int64 time);

#endif							/* OPENHR_MSG_POSITIONS_H */
