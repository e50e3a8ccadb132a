/*-------------------------------------------------------------------------
 *
 * catchup_tables.h
 *	  The tables that catching up reads, in the order of their indexes.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OPENHR_MSG_CATCHUP_TABLES_H
#define OPENHR_MSG_CATCHUP_TABLES_H

#include "access/genam.h"
#include "access/htup.h"
#include "access/sdir.h"
#include "access/stratnum.h"
#include "datatype/timestamp.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"
#include "utils/uuid.h"

#define MSG_SOURCE_COLUMNS	8

/* A table, and the index in whose order it is read. */
typedef struct MsgSource
{
	Relation	heap;
	Relation	index;
	AttrNumber	key[2];			/* columns of the index: a uuid, and a uuid or
								 * int8 */
	AttrNumber	column[MSG_SOURCE_COLUMNS];
} MsgSource;

/* Columns of each, as places in column[]. */
enum
{
	CONVERSATION_CREATED_AT, CONVERSATION_UPDATED_AT
};
enum
{
	PARTICIPANT_CONVERSATION, PARTICIPANT_PROFILE, PARTICIPANT_JOINED_AT
};
enum
{
	MESSAGE_SEQ, MESSAGE_VERSION, MESSAGE_CREATED_AT, MESSAGE_UPDATED_AT,
	MESSAGE_DELIVERED_AT, MESSAGE_READ_AT, MESSAGE_IS_EDITED,
	MESSAGE_IS_DELETED
};
enum
{
	DEPARTURE_ID, DEPARTURE_CONVERSATION, DEPARTURE_PROFILE,
	DEPARTURE_LEFT_AT, DEPARTURE_WAS_DELETED, DEPARTURE_OLD_RECORD
};

typedef struct MsgTables
{
	Snapshot	snapshot;
	MsgSource	conversations;	/* by id */
	MsgSource	memberships;	/* participants by profile, conversation */
	MsgSource	participants;	/* by conversation, profile */
	MsgSource	own_departures; /* by profile, id */
	MsgSource	departures;		/* by conversation, id */
	int			nmonths;		/* -1: not opened yet */
	MsgSource  *months;			/* of messages, by conversation, version */
} MsgTables;

/* Rows of a source, or of several, merged by the second key (int8). */
typedef struct MsgRows
{
	ScanDirection direction;
	int			nscans;
	struct MsgOneScan *scans;
	struct MsgOneScan *current;
} MsgRows;

/* Read by the active snapshot. */
extern MsgTables *msg_tables_open(void);
extern void msg_tables_close(MsgTables *tables);

/*
 * Rows whose first key is this one and, with a strategy, whose second key is
 * so to bound.
 */
extern MsgRows *msg_rows_start(MsgTables *tables, const MsgSource *source,
							   const pg_uuid_t *key,
							   StrategyNumber strategy, Datum bound);
extern MsgRows *msg_message_rows_start(MsgTables *tables,
									   const pg_uuid_t *conversation_id,
									   StrategyNumber strategy, int64 version,
									   ScanDirection direction);

/* The next row, good until the call after; *source is where it is from. */
extern HeapTuple msg_rows_next(MsgRows *rows, const MsgSource **source);
extern void msg_rows_end(MsgRows *rows);

/* Columns. */
extern Datum msg_row_value(const MsgSource *source, HeapTuple tuple,
						   int column, bool *isnull);
extern pg_uuid_t msg_row_uuid(const MsgSource *source, HeapTuple tuple,
							  int column);
extern int64 msg_row_number(const MsgSource *source, HeapTuple tuple,
							int column);
extern bool msg_row_flag(const MsgSource *source, HeapTuple tuple, int column);

/* Of a column that is null, the beginning of time. */
extern TimestampTz msg_row_time(const MsgSource *source, HeapTuple tuple,
								int column);

#endif							/* OPENHR_MSG_CATCHUP_TABLES_H */
