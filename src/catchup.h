/*-------------------------------------------------------------------------
 *
 * catchup.h
 *	  What somebody has missed, as events, in batches.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OPENHR_MSG_CATCHUP_H
#define OPENHR_MSG_CATCHUP_H

#include "lib/stringinfo.h"
#include "utils/uuid.h"

#include "event.h"

/* A batch; a single event may be larger. */
#define MSG_MISSED_EVENTS	500
#define MSG_MISSED_BYTES	(256 * 1024)

typedef struct MsgWanted
{
	pg_uuid_t	profile_id;
	const pg_uuid_t *conversation_id;	/* NULL: all */
	uint8		tables;			/* 1 << event_table */
	const event_position *from;
	const event_mark *until;	/* newer than "from" */
	bool		all_due;		/* first batch: "until" sees too little, so
								 * everything that can be read is due */
	const char *cursor;			/* NULL: the first batch */
	Size		cursor_len;
	uint32		max_events;
	int			max_bytes;
} MsgWanted;

typedef struct MsgMissed
{
	bool		more;
	uint32		nevents;
	StringInfoData events;		/* each at a multiple of 8 */
	StringInfoData cursor;		/* for the next batch, if there are more */
} MsgMissed;

/* Read by the active snapshot, which is not older than the mark. */
extern PGDLLEXPORT void msg_catch_up(const MsgWanted *wanted,
									 MsgMissed *missed);

#endif							/* OPENHR_MSG_CATCHUP_H */
