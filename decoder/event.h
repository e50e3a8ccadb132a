/*-------------------------------------------------------------------------
 *
 * event.h
 *	  The binary event: one changed row of our tables, as the output plugin
 *	  writes it and a gateway reads it.
 *
 * An event never leaves the machine it was made on, so numbers are in host
 * order.  Layout: the header, then three JSON texts without terminators, each
 * of the length that the header gives: columns, record, old_record.  The
 * header has what routing needs; a gateway copies the texts and looks into
 * them only for a subscription whose filter asks for it.
 *
 * A transaction's events follow one another and end with EVENT_COMMIT, so
 * that a reader can judge who sees what by the state at the commit.  A reader
 * need not hold the events of a very large one for that: behind the first ones
 * (EVENT_HEAD_*), the streamer first sends copies of all further events that
 * change who sees what, marked EVENT_AHEAD, and then the further events.
 *
 * A DELETE from a table whose replica identity has no such column comes with
 * zero ids: the reader knows only that something is gone.
 *
 * This file is shared with code that knows nothing of PostgreSQL: no type of
 * the server's may appear in it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef OPENHR_MSG_EVENT_H
#define OPENHR_MSG_EVENT_H

#include <stdint.h>

#define EVENT_MAGIC		0x6f6d7331	/* "oms1" */

typedef enum event_table
{
	EVENT_CONVERSATIONS = 0,
	EVENT_PARTICIPANTS = 1,
	EVENT_MESSAGES = 2,
	EVENT_BROADCASTS = 3,		/* INSERT only; gateways make a broadcast of it */
	EVENT_REVOCATIONS = 4		/* of tokens; INSERT and UPDATE only */
} event_table;

#define EVENT_TABLES	3		/* that clients can follow: the first ones */
#define EVENT_SOURCES	5		/* that are told */

typedef enum event_action
{
	EVENT_INSERT = 'I',
	EVENT_UPDATE = 'U',
	EVENT_DELETE = 'D',
	EVENT_TRUNCATE = 'T',		/* no ids, no texts */
	EVENT_COMMIT = 'C'			/* the transaction's last event: no table, no
								 * ids, no texts; sent only after others */
} event_action;

/* Flags. */
#define EVENT_PARTIAL		0x01	/* unchanged TOASTed columns were not
									 * logged: their keys are missing */
#define EVENT_TOO_LARGE		0x02	/* a text passed EVENT_MAX_TEXT: only keys
									 * with short values are left in it */

#define EVENT_TOMBSTONE		0x04	/* messages: it is deleted, and its content
									 * shall not be read any more */
#define EVENT_AHEAD			0x08	/* a copy; the event itself is to come */

#define EVENT_MAX_TEXT		(1024 * 1024)

/* So much of a transaction comes as it is; sizes are rounded up to 8 bytes. */
#define EVENT_HEAD_EVENTS	1000
#define EVENT_HEAD_BYTES	(4 * 1024 * 1024)

typedef struct event_header
{
	uint32_t	magic;
	uint32_t	size;			/* of the whole event, this header included */
	uint8_t		table;			/* event_table */
	uint8_t		action;			/* event_action */
	uint8_t		flags;
	uint8_t		pad;
	uint32_t	xid;			/* top-level transaction */
	uint64_t	commit_lsn;		/* end of the commit record */
	uint32_t	ordinal;		/* place in its transaction, from 0 */
	uint32_t	columns_len;
	int64_t		commit_time;	/* microseconds since 1970-01-01 UTC */
	int64_t		seq;			/* messages: seq; revocations: revoked_at,
								 * whole seconds since 1970; else 0 */
	int64_t		version;		/* messages: version; else 0 */
	uint8_t		conversation_id[16];	/* conversations: the row's own id */
	uint8_t		profile_id[16]; /* participants, revocations: whose; messages:
								 * sender's; zero when unknown or NULL */
	uint32_t	record_len;		/* 0 for DELETE */
	uint32_t	old_record_len; /* 0 for INSERT; identity columns */
} event_header;

/*
 * What the reader of a snapshot knows of the WAL: an event is part of the
 * snapshot when its commit is at or before the fence and its xid is one that
 * the snapshot sees.  Behind the struct: nxip transaction ids that the
 * snapshot does not see, then nids uuids of 16 bytes (the snapshot's content).
 */
typedef struct event_snapshot
{
	uint64_t	fence;			/* WAL insert position, read after the
								 * snapshot was taken */
	int64_t		revoked_at;		/* as in a revocation's event; 0: never */
	uint32_t	xmin;			/* below: seen */
	uint32_t	xmax;			/* at or above: not seen */
	uint32_t	nxip;
	uint32_t	nids;
} event_snapshot;

/*
 * A place in the stream of changes: of which transactions somebody has all
 * changes.  That are those which a snapshot sees, and some that committed after
 * it was taken.  Behind the struct: nxip ids that the snapshot does not see,
 * those of subtransactions included, then nmore ids of the others, both
 * ascending.
 */
typedef struct event_position
{
	int64_t		taken_at;		/* microseconds since 1970-01-01 UTC */
	uint64_t	xmin;			/* below: seen */
	uint64_t	xmax;			/* at or above: not seen */
	uint32_t	nxip;
	uint32_t	nmore;
} event_position;

#define event_position_xip(p)	((const uint64_t *) ((p) + 1))
#define event_position_more(p)	(event_position_xip(p) + (p)->nxip)
#define event_position_size(p) \
	(sizeof(event_position) + \
	 sizeof(uint64_t) * ((uint64_t) (p)->nxip + (p)->nmore))

/* A position at which somebody looked at the tables; nmore is 0. */
typedef struct event_mark
{
	uint64_t	fence;			/* WAL insert position, read after the
								 * snapshot was taken */
	event_position position;
} event_mark;

#define event_columns(e)	((const char *) ((e) + 1))
#define event_record(e)		(event_columns(e) + (e)->columns_len)
#define event_old_record(e)	(event_record(e) + (e)->record_len)

#endif							/* OPENHR_MSG_EVENT_H */
