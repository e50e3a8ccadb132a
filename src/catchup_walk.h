/*-------------------------------------------------------------------------
 *
 * catchup_walk.h
 *	  The state of catching up, within a batch and from batch to batch.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OPENHR_MSG_CATCHUP_WALK_H
#define OPENHR_MSG_CATCHUP_WALK_H

#include "access/transam.h"
#include "utils/palloc.h"

#include "catchup.h"
#include "catchup_tables.h"

/* Conversations in a cursor. */
#define MAX_LISTED		1000

/* Rows looked at in a batch. */
#define MAX_LOOKS		25000

/* What is next. */
typedef enum Stage
{
	STAGE_LEFT,					/* what the profile has left */
	STAGE_LIST,					/* conversations with news */
	STAGE_DEPARTURES,			/* and of each of these: */
	STAGE_CONVERSATION,
	STAGE_PARTICIPANTS,
	STAGE_FIND,					/* the last message that is not missed */
	STAGE_MESSAGES,
	STAGE_DONE
} Stage;

/*
 * Behind the struct, the ids of the conversations that are listed and not done.
 */
typedef struct Cursor
{
	uint32		stage;
	uint32		nids;
	uint32		all_due;		/* see MsgWanted */
	uint32		pad;
	pg_uuid_t	walked;			/* memberships up to here are listed */
	pg_uuid_t	last;			/* departure, or profile, that is done */
	int64		version;		/* FIND: missed from here on; MESSAGES: done */
	int64		seen_seq;		/* not missed: it and all below are known */
	int64		new_seq;		/* it and all above are new */
} Cursor;

typedef struct Walk
{
	const MsgWanted *wanted;
	MsgMissed  *missed;
	MsgTables  *tables;
	MemoryContext event_context;	/* reset after every event */
	FullTransactionId next;
	int64		new_since;		/* rows from then on are new */
	int			looks;
	uint32		pending;		/* events written, and not yet kept */
	Cursor		cursor;
	pg_uuid_t  *ids;			/* cursor.nids of them */

	/* Of the first of the ids. */
	bool		entered;
	TimestampTz since;			/* the profile has joined it meanwhile */
} Walk;

/* As new_seq: nothing is known to be new. */
#define NO_SEQ	PG_INT64_MAX

/* catchup.c */
extern bool walk_is_wanted(const Walk *walk, event_table table);
extern void walk_go_to(Walk *walk, Stage stage);
extern void walk_next_conversation(Walk *walk);
extern bool walk_is_missed(Walk *walk, HeapTuple tuple);
extern bool walk_is_due(const Walk *walk, HeapTuple tuple);
extern bool walk_is_tired(const Walk *walk);
extern bool walk_is_new(const Walk *walk, TimestampTz time);

/* catchup_tell.c: each does some of its stage; false when the batch is full. */
extern bool walk_tell_left(Walk *walk);
extern bool walk_tell_departures(Walk *walk);
extern bool walk_tell_conversation(Walk *walk);
extern bool walk_tell_participants(Walk *walk);
extern bool walk_find_messages(Walk *walk);
extern bool walk_tell_messages(Walk *walk);

static inline bool
is_same_id(const pg_uuid_t *a, const pg_uuid_t *b)
{
	return memcmp(a, b, UUID_LEN) == 0;
}

#endif							/* OPENHR_MSG_CATCHUP_WALK_H */
