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
	EVENT_MESSAGES = 2
} event_table;

#define EVENT_TABLES	3

typedef enum event_action
{
	EVENT_INSERT = 'I',
	EVENT_UPDATE = 'U',
	EVENT_DELETE = 'D',
	EVENT_TRUNCATE = 'T'		/* no ids, no texts */
} event_action;

/* The row's unchanged TOASTed columns were not logged: keys are missing. */
#define EVENT_PARTIAL		0x01
/* The conversation's participant row of this profile has just been removed,
 * or its key changed: see profile_id. */

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
	int64_t		seq;			/* messages: seq; else 0 */
	int64_t		version;		/* messages: version; else 0 */
	uint8_t		conversation_id[16];	/* conversations: the row's own id */
	uint8_t		profile_id[16]; /* participants: whose; messages: sender's;
								 * zero when unknown or NULL */
	uint32_t	record_len;		/* 0 for DELETE */
	uint32_t	old_record_len; /* 0 for INSERT; identity columns */
} event_header;

#define event_columns(e)	((const char *) ((e) + 1))
#define event_record(e)		(event_columns(e) + (e)->columns_len)
#define event_old_record(e)	(event_record(e) + (e)->record_len)

#endif							/* OPENHR_MSG_EVENT_H */
